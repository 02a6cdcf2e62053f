//! A session on an in-memory pipe, a client that speaks raw frames, and what to look at afterwards.
#![allow(dead_code, unreachable_pub)]

pub mod dice;
pub mod faulty;
pub mod peer;
pub mod sockets;
pub mod throttle;
pub mod tls;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use stagedoor_actors::{Host, ListenerConfig, Reply, Request, Response, Service, SessionEnded};
use stagedoor_metrics::{
    ActorKind, CloseReason, ListenerCells, ListenerId, Metrics, Outcome, Protocol, Shard,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Runs a test inside an actix System; a test that hangs fails.
pub fn run(test: impl Future<Output = ()>) {
    System::new().block_on(async {
        tokio::time::timeout(Duration::from_secs(3600), test).await.expect("the test hangs");
    });
}

/// The same with a clock that stands still until everybody waits.
pub fn run_paused(test: impl Future<Output = ()>) {
    run(async {
        tokio::time::pause();
        test.await;
    });
}

type Answer = Box<dyn Fn(Request) -> Reply>;

/// A service of one closure.
pub struct Closure(Answer);

impl Service for Closure {
    fn call(&self, request: Request) -> Reply {
        (self.0)(request)
    }
}

pub fn service(answer: impl Fn(Request) -> Reply + 'static) -> Rc<dyn Service> {
    Rc::new(Closure(Box::new(answer)))
}

pub fn hello() -> Rc<dyn Service> {
    service(|_| Response::text("hello, world\n").into())
}

/// Counts drops: what a handler's future holds.
pub struct Held(pub Rc<Cell<usize>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A service whose handlers never answer, and how many of them were dropped.
pub fn forever() -> (Rc<dyn Service>, Rc<Cell<usize>>) {
    let dropped = Rc::new(Cell::new(0));
    let held = Rc::clone(&dropped);
    let service = service(move |request| {
        let held = Held(Rc::clone(&held));
        Reply::later(async move {
            let _kept = (held, request);
            std::future::pending().await
        })
    });
    (service, dropped)
}

struct Ear(UnboundedSender<SessionEnded>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<SessionEnded> for Ear {
    type Result = ();
    fn handle(&mut self, ended: SessionEnded, _: &mut Self::Context) {
        self.0.send(ended).ok();
    }
}

/// A host and everything its sessions leave behind.
pub struct Stage {
    pub host: Rc<Host>,
    pub metrics: Metrics,
    pub shard: std::sync::Arc<Shard>,
    pub cells: std::sync::Arc<ListenerCells>,
    pub listener: ListenerId,
    ends: RefCell<UnboundedReceiver<SessionEnded>>,
}

pub fn config() -> ListenerConfig {
    ListenerConfig::new("test", ([127, 0, 0, 1], 0).into())
}

impl Stage {
    pub fn new(service: Rc<dyn Service>) -> Self {
        Self::with(config(), service)
    }

    pub fn with(config: ListenerConfig, service: Rc<dyn Service>) -> Self {
        let metrics = Metrics::new("stagedoor");
        let listener = metrics.add_listener(&config.name, "memory");
        let host = Host::new(&metrics, 0, config, service);
        let shard = metrics.shard(0);
        let (sender, ends) = unbounded_channel();
        host.tell_ends_to(Ear(sender).start().recipient());
        Self { host, cells: shard.listener(listener), shard, metrics, listener, ends: RefCell::new(ends) }
    }

    /// A session and the other end of its pipe.
    pub fn connect(&self) -> (Addr<stagedoor_actors::Session>, DuplexStream) {
        self.connect_buffered(1 << 20)
    }

    pub fn connect_buffered(&self, octets: usize) -> (Addr<stagedoor_actors::Session>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(octets);
        (self.host.spawn_session(ours, None), theirs)
    }

    /// The next end of a session.
    #[allow(clippy::await_holding_refcell_ref)]
    pub async fn ended(&self) -> SessionEnded {
        self.ends.borrow_mut().recv().await.expect("the ear lives")
    }

    /// That one session ended for `reason`, and that nothing of it is left.
    pub async fn ends_once(&self, reason: CloseReason) {
        let ended = self.ended().await;
        assert_eq!(ended.reason, reason);
        settle().await;
        self.is_swept(reason);
    }

    /// One session has ended for `reason`, was told and counted once, and left nothing.
    pub fn is_swept(&self, reason: CloseReason) {
        assert!(self.ends.borrow_mut().try_recv().is_err(), "told once");
        assert!(self.metrics.live().is_empty(), "registry empty");
        is_counted_once(&self.cells, reason);
        for kind in [ActorKind::Session, ActorKind::Stream] {
            assert_eq!(self.shard.actors()[kind].alive.get(), 0, "{kind} actors gone");
        }
    }

    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.cells.streams_closed[outcome].get()
    }
}

/// One session of this listener was opened and closed, for `reason`, and nothing of it is open or queued.
pub fn is_counted_once(cells: &ListenerCells, reason: CloseReason) {
    let all = Protocol::ALL.iter().flat_map(|protocol| cells.sessions_closed[*protocol].iter());
    let counted: Vec<_> =
        all.filter(|(_, cell)| cell.get() > 0).map(|(reason, cell)| (reason, cell.get())).collect();
    assert_eq!(counted, [(reason, 1)], "observed once");
    let opened: u64 = Protocol::ALL.iter().map(|protocol| cells.sessions_opened[*protocol].get()).sum();
    assert_eq!(opened, 1);
    for protocol in Protocol::ALL {
        assert_eq!(cells.streams_active[*protocol].get(), 0, "no stream open");
    }
    assert_eq!(cells.write_queue_bytes.get(), 0);
}

/// Lets everything that can run, run.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags]);
    octets.extend(stream.to_be_bytes());
    octets.extend(payload);
    octets
}

/// Preface and empty SETTINGS.
pub fn hello_octets() -> Vec<u8> {
    [PREFACE, &frame(4, 0, 0, &[])].concat()
}

/// HEADERS of `GET /` at authority `a`.
pub fn get(stream: u32) -> Vec<u8> {
    frame(1, 0x5, stream, &[0x82, 0x86, 0x84, 0x41, 1, b'a'])
}

/// HEADERS of `POST /` at authority `a`, body to follow.
pub fn post(stream: u32) -> Vec<u8> {
    frame(1, 0x4, stream, &[0x83, 0x86, 0x84, 0x41, 1, b'a'])
}

pub fn settings_ack() -> Vec<u8> {
    frame(4, 1, 0, &[])
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A client that reads frames.
pub struct Raw {
    pub io: DuplexStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub fn new(io: DuplexStream) -> Self {
        Self { io, buffer: Vec::new() }
    }

    /// Says hello and acknowledges the server's SETTINGS.
    pub async fn shake(&mut self) {
        self.send(&hello_octets()).await;
        self.until(|frame| frame.kind == 4 && frame.flags == 0).await;
        self.send(&settings_ack()).await;
    }

    pub async fn send(&mut self, octets: &[u8]) {
        self.io.write_all(octets).await.expect("the session reads");
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<RawFrame> {
        loop {
            if self.buffer.len() >= 9 {
                let length = u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]) as usize;
                if self.buffer.len() >= 9 + length {
                    let octets: Vec<u8> = self.buffer.drain(..9 + length).collect();
                    let stream = u32::from_be_bytes([octets[5], octets[6], octets[7], octets[8]]);
                    let payload = octets[9..].to_vec();
                    return Some(RawFrame { kind: octets[3], flags: octets[4], stream, payload });
                }
            }
            let mut chunk = [0; 4096];
            match self.io.read(&mut chunk).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend(&chunk[..count]),
            }
        }
    }

    pub async fn until(&mut self, wanted: impl Fn(&RawFrame) -> bool) -> RawFrame {
        loop {
            let frame = self.next().await.expect("the frame comes before the end");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Reads to the end; says the codes of the GOAWAY frames on the way.
    pub async fn goaways(&mut self) -> Vec<u32> {
        let mut codes = Vec::new();
        while let Some(frame) = self.next().await {
            if frame.kind == 7 {
                let code = [frame.payload[4], frame.payload[5], frame.payload[6], frame.payload[7]];
                codes.push(u32::from_be_bytes(code));
            }
        }
        codes
    }
}
