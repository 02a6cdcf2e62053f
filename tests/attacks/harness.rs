//! An attacker beside a neighbour: what a flood costs while it lasts, how it ends, and that the neighbour is served.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use crate::support::client::{Client, Io, Speaks, nothing};
use crate::support::exposition::Scrape;
use crate::support::raw::{GOAWAY, HEADERS, SETTINGS};
use crate::support::{Gateway, PATIENCE, run};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// ENHANCE_YOUR_CALM.
pub(crate) const CALM: u32 = 0xb;
/// Resident memory may grow by so much under an attack.
const MEMORY: u64 = 16 << 20;
/// Time of a processor that one attack and its neighbour may take; a debug build takes ten times what a release takes.
const PROCESSOR: Duration = Duration::from_secs(4);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags]);
    octets.extend(stream.to_be_bytes());
    octets.extend(payload);
    octets
}

/// Literal fields, none of them indexed (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The header block of a request.
pub(crate) fn head(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)])
}

pub(crate) fn request(stream: u32, method: &str, path: &str, end: bool) -> Vec<u8> {
    frame(HEADERS, 4 | u8::from(end), stream, &head(method, path))
}

/// What an attacked session said before it was over.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Code and debug text of the last GOAWAY.
    pub(crate) goaway: Option<(u32, String)>,
    /// RST_STREAM frames by their code.
    pub(crate) resets: Vec<u32>,
    /// Frames of ours it took, more or less.
    pub(crate) said: usize,
    /// From the first octet of the flood to the end.
    pub(crate) after: Duration,
}

/// One attack.
pub(crate) struct Attack<'a> {
    /// Settings of the attacker.
    pub(crate) settings: &'a [(u16, u32)],
    /// What it says first.
    pub(crate) first: Vec<u8>,
    /// What it says then, again and again; nothing ends it.
    pub(crate) flood: &'a dyn Fn(usize) -> Vec<u8>,
}

impl Attack<'_> {
    /// An attack without a beginning.
    pub(crate) fn flood(flood: &dyn Fn(usize) -> Vec<u8>) -> Attack<'_> {
        Attack { settings: &[], first: Vec::new(), flood }
    }
}

/// Runs the attack over cleartext and over TLS: each time the session ends with `code` and the name of `limit`, it is counted
/// as `kind` of abuse once, the gateway stays small and idle, and a neighbour is served all the while.
pub(crate) fn ends(attack: &Attack<'_>, limit: &str, kind: &str) {
    ends_by(attack, &[(limit, kind)]);
}

/// The same where it depends on how much comes at once which of several limits is met first.
pub(crate) fn ends_by(attack: &Attack<'_>, limits: &[(&str, &str)]) {
    let gateway = Gateway::start();
    run(async {
        for speaks in [Speaks::H2c, Speaks::H2] {
            let ending = meet(&gateway, speaks, attack).await;
            let (code, debug) = ending.goaway.clone().unwrap_or_else(|| panic!("{speaks:?}: {ending:?}"));
            assert_eq!(code, CALM, "{speaks:?}: {ending:?}");
            let limit = debug.strip_prefix("limit reached: ").unwrap_or_default();
            let kind = limits.iter().find(|(name, _)| *name == limit).map(|(_, kind)| *kind);
            let kind = kind.unwrap_or_else(|| panic!("{speaks:?}: {debug:?} is none of {limits:?}"));
            let listener = if speaks == Speaks::H2 { "public" } else { "plain" };
            let closed = [("listener", listener), ("reason", "abuse")];
            let scrape = until(&gateway, "stagedoor_sessions_closed_total", &closed, 1.0).await;
            let tripped = scrape.value("stagedoor_abuse_total", &[("listener", listener), ("kind", kind)]);
            assert!(tripped >= 1.0, "{speaks:?}: {kind} was not counted");
        }
    });
}

/// Asks until the series add up to `sum`; a session that was told to go is counted when its socket has parted.
pub(crate) async fn until(gateway: &Gateway, name: &str, labels: &[(&str, &str)], sum: f64) -> Scrape {
    loop {
        let scrape = scrape(gateway).await;
        if scrape.sum(name, labels) == sum {
            return scrape;
        }
    }
}

/// Asks until the admin listener answers: a process out of descriptors turns its connections away like everybody's.
pub(crate) async fn until_admin_answers(gateway: &Gateway) {
    loop {
        let mut admin = Client::admin(gateway).await;
        let request = admin.request("GET", "/livez").body(nothing()).unwrap();
        if admin.whole(request).await.is_ok() {
            return;
        }
    }
}

pub(crate) async fn scrape(gateway: &Gateway) -> Scrape {
    let mut admin = Client::admin(gateway).await;
    Scrape::read(admin.get("/metrics").await.text())
}

/// Runs the attack on one session beside a neighbour, and looks what it costs.
pub(crate) async fn meet(gateway: &Gateway, speaks: Speaks, attack: &Attack<'_>) -> Ending {
    let mut neighbour = Client::connect(gateway, speaks).await;
    // Warm: pages, tables, the first connection.
    for _ in 0..20 {
        assert_eq!(neighbour.get("/bytes/13").await.body.len(), 13);
    }
    let before = Usage::of(gateway);
    let over = Cell::new(false);
    let attacker = async {
        let ending = tokio::time::timeout(PATIENCE / 2, fight(gateway, speaks, attack)).await;
        over.set(true);
        ending.expect("the attack is ended in time")
    };
    let served = async {
        let (mut count, mut most) = (0, before.resident);
        while !over.get() || count < 20 {
            assert_eq!(neighbour.get("/bytes/13").await.body.len(), 13, "the neighbour is served");
            most = most.max(Usage::of(gateway).resident);
            count += 1;
        }
        most
    };
    let (ending, most) = tokio::join!(attacker, served);
    let spent = Usage::of(gateway).processor - before.processor;
    let grown = most.saturating_sub(before.resident);
    assert!(grown < MEMORY, "{speaks:?}: grown by {grown} octets: {ending:?}");
    assert!(spent < PROCESSOR, "{speaks:?}: {spent:?} of a processor: {ending:?}");
    ending
}

/// One session from preface to end.
async fn fight(gateway: &Gateway, speaks: Speaks, attack: &Attack<'_>) -> Ending {
    let io = Client::socket(gateway, speaks).await;
    let (reading, mut writing) = tokio::io::split(io);
    let settings: Vec<u8> = attack
        .settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &settings), &frame(SETTINGS, 1, 0, &[]), &attack.first];
    writing.write_all(&hello.concat()).await.ok();
    let began = Instant::now();
    let over = Cell::new(false);
    let listen = async {
        let ending = listen(reading).await;
        over.set(true);
        ending
    };
    let (mut ending, said) = tokio::join!(listen, shout(writing, attack.flood, &over));
    ending.said = said;
    ending.after = began.elapsed();
    ending
}

/// Says the flood until nobody takes it any more.
async fn shout(
    mut writing: WriteHalf<Box<dyn Io>>,
    flood: &dyn Fn(usize) -> Vec<u8>,
    over: &Cell<bool>,
) -> usize {
    for said in 0..4_000_000 {
        let octets = flood(said);
        if octets.is_empty() || over.get() || writing.write_all(&octets).await.is_err() {
            return said;
        }
        if said % 64 == 0 {
            writing.flush().await.ok();
            tokio::task::yield_now().await;
        }
    }
    panic!("four million frames were taken");
}

/// Hears the session to its end.
async fn listen(mut reading: ReadHalf<Box<dyn Io>>) -> Ending {
    let mut ending = Ending::default();
    let mut buffer = Vec::new();
    let mut room = vec![0; 16 << 10];
    loop {
        match reading.read(&mut room).await {
            Ok(0) | Err(_) => return ending,
            Ok(count) => buffer.extend(&room[..count]),
        }
        while buffer.len() >= 9 {
            let length = u32::from_be_bytes([0, buffer[0], buffer[1], buffer[2]]) as usize;
            if buffer.len() < 9 + length {
                break;
            }
            let frame: Vec<u8> = buffer.drain(..9 + length).collect();
            let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
            match frame[3] {
                GOAWAY => {
                    let debug = String::from_utf8_lossy(&frame[17..]).into_owned();
                    ending.goaway = Some((word(13), debug));
                }
                3 => ending.resets.push(word(9)),
                _ => {}
            }
        }
    }
}

/// What the kernel says of the gateway.
pub(crate) struct Usage {
    pub(crate) resident: u64,
    pub(crate) processor: Duration,
    pub(crate) descriptors: usize,
}

impl Usage {
    pub(crate) fn of(gateway: &Gateway) -> Self {
        let id = gateway.process.id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it lives");
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_ascii_whitespace()
            .skip(1)
            .map(|word| word.parse().unwrap_or(0))
            .collect();
        // Fields 14, 15 and 24 of proc_pid_stat(5); the first one here is field 4.
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Self {
            resident: fields[20] * rustix::param::page_size() as u64,
            processor: Duration::from_secs_f64((fields[10] + fields[11]) as f64 / ticks),
            descriptors: std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count),
        }
    }
}
