//! HTTP/1.1: exchanges one after the other, then a drain in the middle of the last, or a tunnel; once without a fault,
//! then with one at each call.

use std::cell::Cell;
use std::rc::Rc;

use stagedoor_actors::CloseSession;
use stagedoor_metrics::{CloseReason, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::accounts::{Accounts, check, pattern};
use crate::common::faulty::{Act, Call, Faulty};
use crate::common::{Stage, run_paused};
use crate::visitor::PATIENCE;
use crate::visits::{Fault, is_deadline, try_each};

/// What comes back: octets in order, and nothing after the end.
struct Incoming {
    io: ReadHalf<DuplexStream>,
    buffer: Vec<u8>,
}

impl Incoming {
    /// More octets; none at the end, whether it is a good one or not.
    async fn more(&mut self) -> Option<()> {
        let mut room = [0; 4_096];
        let count = timeout(PATIENCE, self.io.read(&mut room)).await.ok()?.ok()?;
        self.buffer.extend(&room[..count]);
        (count > 0).then_some(())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn octets(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Status and fields.
    async fn head(&mut self) -> Option<(u16, Vec<String>)> {
        let status = self.line().await?.split(' ').nth(1)?.parse().ok()?;
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some((status, fields));
            }
            fields.push(line.to_ascii_lowercase());
        }
    }

    /// Takes a body and looks at every octet; how many there were, and whether that is all.
    async fn body(&mut self, stream: u32, fields: &[String]) -> (usize, bool) {
        let mut got = 0;
        if let Some(length) = fields.iter().find_map(|field| field.strip_prefix("content-length: ")) {
            let length: usize = length.parse().unwrap();
            while got < length {
                if self.buffer.is_empty() && self.more().await.is_none() {
                    return (got, false);
                }
                let part = self.octets(self.buffer.len().min(length - got)).await.unwrap();
                check(stream, got, &part);
                got += part.len();
            }
            return (got, true);
        }
        assert!(fields.iter().any(|field| field == "transfer-encoding: chunked"), "{fields:?}");
        loop {
            let Some(size) = self.line().await else { return (got, false) };
            let size = usize::from_str_radix(&size, 16).unwrap();
            if size == 0 {
                while let Some(trailer) = self.line().await {
                    if trailer.is_empty() {
                        return (got, true);
                    }
                }
                return (got, false);
            }
            let Some(part) = self.octets(size).await else {
                check(stream, got, &self.buffer);
                return (got + self.buffer.len(), false);
            };
            check(stream, got, &part);
            got += part.len();
            if self.octets(2).await.is_none() {
                return (got, false);
            }
        }
    }
}

/// A client that keeps account.
pub struct Caller {
    incoming: Incoming,
    out: WriteHalf<DuplexStream>,
    accounts: Rc<Accounts>,
    next: u32,
    /// Octets of bodies that were sent, and whether to their end, by exchange.
    sent: Vec<(u32, usize, bool)>,
}

impl Caller {
    pub fn new(io: DuplexStream, accounts: &Rc<Accounts>) -> Self {
        let (read, out) = tokio::io::split(io);
        let incoming = Incoming { io: read, buffer: Vec::new() };
        Self { incoming, out, accounts: Rc::clone(accounts), next: 1, sent: Vec::new() }
    }

    /// An exchange; none where it did not go through. `after` is done once the handler has begun.
    pub async fn exchange(&mut self, head: &str, body: usize, after: impl AsyncFnOnce()) -> Option<()> {
        let id = self.next;
        self.next += 2;
        let octets = pattern(id, 0, body);
        let mut request = head.as_bytes().to_vec();
        match head.contains("chunked") {
            // In two pieces; an empty one would be the last.
            true => {
                let (one, two) = octets.split_at(body / 3);
                for part in [one, two].into_iter().filter(|part| !part.is_empty()) {
                    request.extend(format!("{:x}\r\n", part.len()).as_bytes());
                    request.extend([part, b"\r\n"].concat());
                }
                request.extend(b"0\r\n\r\n");
            }
            false => request.extend(octets),
        }
        let (incoming, out, accounts) = (&mut self.incoming, &mut self.out, &self.accounts);
        let talk = async {
            accounts.has_begun(id).await;
            after().await;
        };
        let write =
            async { timeout(PATIENCE, out.write_all(&request)).await.is_ok_and(|wrote| wrote.is_ok()) };
        let read = async {
            let (status, fields) = incoming.head().await?;
            let (got, whole) = if status == 200 { incoming.body(id, &fields).await } else { (0, false) };
            Some((status, got, whole))
        };
        let (wrote, _, answer) = tokio::join!(write, timeout(PATIENCE, talk), read);
        // What was not written to the end may have arrived to any point.
        self.sent.push((id, body, wrote));
        let (status, got, whole) = answer?;
        let account = self.accounts.of(id);
        if status == 200 {
            assert!(got <= account.wrote, "{head} {got} {account:?}");
        }
        if whole {
            assert!(
                account.ended && got == account.wrote,
                "ended and is not whole: {head} {got} {account:?}"
            );
        }
        (wrote && whole).then_some(())
    }

    /// Lets go of the connection.
    pub fn hang_up(&mut self) {
        (self.incoming.io, self.out) = tokio::io::split(tokio::io::duplex(1).0);
    }

    /// For the exchanges before `end`.
    pub fn agrees(&self, end: u32) {
        for (id, account) in self.accounts.streams.borrow().range(..end) {
            let Some((_, sent, _)) = self.sent.iter().find(|(sent, ..)| sent == id) else { continue };
            assert!(account.read <= *sent, "stream {id} read octets nobody sent: {account:?}");
            assert!(
                !account.read_all || account.read == *sent,
                "stream {id} was read to an end that is none"
            );
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A drain in the middle of the last of many exchanges.
    Drain,
    Tunnel,
    /// An answer to a request whose body nobody reads, and which does not come.
    Early,
}

impl Ending {
    pub const ALL: [Self; 3] = [Self::Drain, Self::Tunnel, Self::Early];

    fn reason(self) -> CloseReason {
        match self {
            Self::Drain => CloseReason::Drain,
            Self::Tunnel => CloseReason::Upgraded,
            Self::Early => CloseReason::ClientClosed,
        }
    }
}

const TUNNEL: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

async fn call(caller: &mut Caller, ending: Ending, order: impl AsyncFnOnce()) -> Option<()> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    caller.exchange(&get("/whole"), 0, async || {}).await?;
    if ending == Ending::Drain {
        let fields = "host: a\r\ncontent-length: 25000\r\n\r\n";
        caller.exchange(&format!("POST /echo HTTP/1.1\r\n{fields}"), 25_000, async || {}).await?;
        let fields = "host: a\r\ntransfer-encoding: chunked\r\n\r\n";
        caller.exchange(&format!("POST /echo HTTP/1.1\r\n{fields}"), 15_000, async || {}).await?;
        caller.exchange(&get("/pieces"), 0, async || {}).await?;
        caller.exchange(&get("/late"), 0, order).await?;
        assert!(caller.incoming.more().await.is_none(), "nothing follows");
        return Some(());
    }
    if ending == Ending::Early {
        let fields = "host: a\r\ncontent-length: 40000\r\n\r\n";
        caller.exchange(&format!("POST /whole HTTP/1.1\r\n{fields}"), 100, async || {}).await?;
        assert!(caller.incoming.more().await.is_none(), "nothing follows");
        return Some(());
    }
    // In one piece with the first octets of what follows it.
    let id = caller.next;
    let octets = pattern(id, 0, 2_000);
    caller.sent.push((id, 2_000, true));
    caller.out.write_all(&[TUNNEL.as_bytes(), &octets[..500]].concat()).await.ok()?;
    let (status, _) = caller.incoming.head().await?;
    assert_eq!(status, 101);
    caller.out.write_all(&octets[500..]).await.ok()?;
    caller.out.shutdown().await.ok()?;
    while caller.incoming.more().await.is_some() {}
    check(id, 0, &caller.incoming.buffer);
    (caller.incoming.buffer.len() == 2_005).then_some(())
}

pub fn live(ending: Ending, fault: Fault) -> [usize; 4] {
    let calls = Rc::new(Cell::new([0; 4]));
    let counted = Rc::clone(&calls);
    run_paused(async move {
        let accounts = Accounts::new();
        let stage = Stage::new(accounts.service());
        accounts.listen(&stage);
        let (ours, theirs, book) = Faulty::pair(8_000, fault.plan());
        let session = stage.host.spawn_session(ours, None);
        let mut caller = Caller::new(theirs, &accounts);
        let ordered = Cell::new(false);
        let order = async || {
            ordered.set(true);
            session.send(CloseSession::new(CloseReason::Drain)).await.ok();
        };
        let whole = call(&mut caller, ending, order).await;
        caller.hang_up();
        // Only so does it hear of it: HTTP/1.1 has no way to ask, and a body of no declared length may take its time.
        book.release();
        let life = accounts.settle(&stage, Some(&book)).await;
        // The end of a tunnel is the end of the socket: there nothing tells a cut from a good end.
        let cut = fault.act == Act::End && ending == Ending::Tunnel;
        caller.agrees(if cut { 3 } else { u32::MAX });
        let planned = ending.reason();
        let expected = match fault.reason() {
            CloseReason::Drain => planned,
            reason if book.faults.get() > 0 => reason,
            _ => planned,
        };
        let over = ending != Ending::Drain || ordered.get();
        let fits = life.reason == expected
            || (over && life.reason == planned)
            || (fault.act == Act::Hold && is_deadline(life.reason));
        assert!(fits, "{} is no reason for that, but {expected}", life.reason);
        if fault.is_harmless() || book.faults.get() == 0 {
            assert!(whole.is_some(), "everything went through");
            assert!(
                life.outcomes.values().all(|outcome| *outcome == Outcome::Complete),
                "{:?}",
                life.outcomes
            );
        }
        counted.set(Call::ALL.map(|call| book.calls(call)));
    });
    calls.get()
}

#[test]
fn on_http1_a_fault_at_any_call_ends_it_well() {
    for ending in Ending::ALL {
        let calls = live(ending, Fault::NONE);
        try_each(&format!("HTTP/1.1, {ending:?}"), calls, |fault| _ = live(ending, fault));
    }
}
