//! The attacker: floods one session, and the next as soon as the server has ended that one.
//!
//! Frames are made beforehand and written as fast as the socket takes them; whatever comes is read, so that GOAWAY is
//! seen and no answer holds the server up. It is polite until the flood begins: preface, SETTINGS and their
//! acknowledgement. Invariant: between two looks at the stop sign it never waits longer than `GLANCE`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stagedoor_protocol::ErrorCode;
use stagedoor_protocol::frame::{flag, kind};

use crate::flood::{Flood, Shots};
use crate::wire::{self, Frame, Frames, frame};

/// How and whom.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// With what.
    pub flood: Flood,
    /// Sessions at once.
    pub sessions: u32,
    /// Go on after GOAWAY until the socket is gone.
    pub persistent: bool,
}

/// Floods until `stop`; `begun` is called when the first octets of the first flood are out.
///
/// # Errors
/// When a thread cannot be made. What a server does to a session is in the report.
pub fn run(orders: Orders, stop: &AtomicBool, begun: &(dyn Fn() + Sync)) -> Result<Report> {
    let told = AtomicBool::new(false);
    let once = || {
        if !told.swap(true, Ordering::Relaxed) {
            begun();
        }
    };
    let attack = || {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            match begin(&orders) {
                Ok(socket) => tally.add(flood(&orders, socket, stop, &once)),
                Err(error) => tally.refused(&error),
            }
        }
        tally
    };
    let tallies = thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, attack);
        let threads = (0..orders.sessions).map(start).collect::<io::Result<Vec<_>>>();
        if threads.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        let ended = threads?.into_iter().map(|thread| thread.join());
        ended.collect::<thread::Result<Vec<Tally>>>().map_err(|_| io::Error::other("a thread panicked"))
    })
    .context("threads of the attacker")?;
    let mut all = Tally::default();
    tallies.into_iter().for_each(|tally| all.merge(tally));
    Ok(all.report())
}

/// A session that is ready for its flood.
fn begin(orders: &Orders) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, orders.port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(POLITE))?;
    socket.write_all(&wire::hello(orders.flood.window()))?;
    let mut frames = Frames::default();
    let mut room = [0; 4096];
    while !frames.by_ref().any(|frame| frame.is_settings()) {
        match socket.read(&mut room)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => frames.push(&room[..count]),
        }
    }
    socket.write_all(&frame(kind::SETTINGS, flag::ACK, 0, &[]))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What one session came to.
struct Flooded {
    frames: u64,
    octets: u64,
    lasted: Duration,
    /// None: the stop sign came first.
    end: Option<String>,
}

fn flood(orders: &Orders, mut socket: TcpStream, stop: &AtomicBool, begun: &dyn Fn()) -> Flooded {
    let mut shots = Shots::new(orders.flood, "http", &format!("localhost:{}", orders.port));
    let mut frames = Frames::default();
    let mut room = vec![0; 64 << 10];
    let began = Instant::now();
    let mut goaway = None;
    let end = loop {
        if stop.load(Ordering::Relaxed) || shots.spent() {
            break None;
        }
        let written = socket.write(shots.waiting());
        if let Ok(count) = written {
            shots.fired(count);
            begun();
        }
        let read = socket.read(&mut room);
        match &read {
            Ok(0) => break goaway.or(Some("closed".to_owned())),
            Ok(count) => frames.push(&room[..*count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => break goaway.or(Some(format!("{:?}", error.kind()))),
        }
        if let Some(frame) = frames.by_ref().filter(|frame| frame.kind == kind::GOAWAY).last() {
            goaway.get_or_insert(words_of(&frame));
            if !orders.persistent {
                break goaway;
            }
        }
        let would_block =
            |result: &io::Result<usize>| result.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        if would_block(&written) && would_block(&read) {
            let mut socket = [PollFd::new(&socket, PollFlags::IN | PollFlags::OUT)];
            // An interrupted or failed poll is only a shorter one.
            let _ = poll(&mut socket, Some(&GLANCE));
        }
    };
    Flooded { frames: shots.frames(), octets: shots.octets(), lasted: began.elapsed(), end }
}

/// `GOAWAY ENHANCE_YOUR_CALM "pings"`.
fn words_of(goaway: &Frame) -> String {
    let text = String::from_utf8_lossy(goaway.payload.get(8..).unwrap_or_default());
    let text: String = text.chars().filter(|sign| !sign.is_control()).collect();
    let code = ErrorCode(goaway.number(4));
    if text.is_empty() { format!("GOAWAY {code}") } else { format!("GOAWAY {code} \"{text}\"") }
}

/// What became of the sessions so far.
#[derive(Default)]
struct Tally {
    frames: u64,
    octets: u64,
    ended: Vec<Duration>,
    open: Duration,
    refused: u64,
    ends: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, session: Flooded) {
        self.frames += session.frames;
        self.octets += session.octets;
        match session.end {
            Some(end) => {
                self.ended.push(session.lasted);
                *self.ends.entry(end).or_default() += 1;
            }
            None => self.open = self.open.max(session.lasted),
        }
    }

    fn refused(&mut self, error: &io::Error) {
        self.refused += 1;
        *self.ends.entry(format!("refused: {:?}", error.kind())).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.frames += other.frames;
        self.octets += other.octets;
        self.ended.extend(other.ended);
        self.open = self.open.max(other.open);
        self.refused += other.refused;
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }

    fn report(mut self) -> Report {
        self.ended.sort_unstable();
        let most = self.ends.iter().max_by_key(|(_, count)| **count);
        Report {
            frames: self.frames,
            octets: self.octets,
            ended: self.ended.len() as u64,
            median: self.ended.get(self.ended.len() / 2).copied().unwrap_or_default(),
            slowest: self.ended.last().copied().unwrap_or_default(),
            open: self.open,
            refused: self.refused,
            usual_end: most.map(|(end, _)| end.clone()).unwrap_or_default(),
        }
    }
}

/// What the attacker tells when it is done. It crosses a pipe as the line that [`fmt::Display`] writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames that were sent.
    pub frames: u64,
    /// Their octets.
    pub octets: u64,
    /// Sessions the server ended.
    pub ended: u64,
    /// From the first octet of the flood to the end, the session in the middle.
    pub median: Duration,
    /// The one that lasted longest.
    pub slowest: Duration,
    /// Age of the oldest session that was still flooding when the attacker was stopped; zero where there was none.
    pub open: Duration,
    /// Sessions that did not even begin.
    pub refused: u64,
    /// How the server ended most sessions.
    pub usual_end: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, octets, ended, refused, usual_end, .. } = self;
        let [median, slowest, open] = [self.median, self.slowest, self.open].map(|time| time.as_micros());
        write!(f, "{frames} {octets} {ended} {median} {slowest} {open} {refused} {usual_end}")
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.splitn(8, ' ');
        let mut number = || -> Result<u64> { Ok(words.next().context("a report breaks off")?.parse()?) };
        Ok(Self {
            frames: number()?,
            octets: number()?,
            ended: number()?,
            median: Duration::from_micros(number()?),
            slowest: Duration::from_micros(number()?),
            open: Duration::from_micros(number()?),
            refused: number()?,
            usual_end: words.next().unwrap_or_default().to_owned(),
        })
    }
}

/// How long a server may take to say its SETTINGS.
const POLITE: Duration = Duration::from_secs(2);
/// How long the attacker waits for a socket before it looks at the stop sign.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_survives_its_pipe() {
        let mut tally = Tally::default();
        for micros in [5, 9, 7] {
            let end = Some("GOAWAY ENHANCE_YOUR_CALM \"pings\"".to_owned());
            tally.add(Flooded { frames: 2, octets: 34, lasted: Duration::from_micros(micros), end });
        }
        tally.add(Flooded { frames: 1, octets: 17, lasted: Duration::from_micros(11), end: None });
        tally.refused(&ErrorKind::ConnectionRefused.into());
        let report = tally.report();
        assert_eq!((report.median.as_micros(), report.slowest.as_micros()), (7, 9));
        assert_eq!((report.frames, report.ended, report.open.as_micros()), (7, 3, 11));
        assert_eq!(report.to_string().parse::<Report>().unwrap(), report);
    }
}
