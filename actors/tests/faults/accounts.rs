//! Handlers that keep account of every octet, what sessions tell of themselves, and whether both agree in the end.
//!
//! Octets are a pattern of their stream and place, so that what arrives anywhere is known to be the right octets in
//! the right order by looking at them. [`Accounts::settle`] holds the promises of a session that is over, however it
//! came to that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use stagedoor_actors::{
    Body, Reply, Request, Response, ServerStream, Service, SessionEvent, SessionHandle, SessionStatistics,
    Tunnel,
};
use stagedoor_metrics::{CloseReason, Direction, ListenerCells, Outcome, Protocol};
use stagedoor_protocol::Fields;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

use crate::common::dice::Dice;
use crate::common::faulty::Book;
use crate::common::peer::{fields, get_head};
use crate::common::{Held, Stage, service, settle};

/// Octet `at` of every body on `stream`, whoever sends it.
fn octet(stream: u32, at: usize) -> u8 {
    (stream as usize * 31 + at * 7 + (at >> 8)) as u8
}

pub fn pattern(stream: u32, from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|at| octet(stream, at)).collect()
}

/// The octets are those that `stream` has from `from` on.
pub fn check(stream: u32, from: usize, octets: &[u8]) {
    let wrong = octets.iter().enumerate().position(|(at, found)| *found != octet(stream, from + at));
    assert_eq!(wrong, None, "octets of stream {stream} from {from} on are not what was sent");
}

/// What a handler did on its stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Octets it gave to its session.
    pub wrote: usize,
    /// It ended its body in good order.
    pub ended: bool,
    /// Octets of the peer it has read.
    pub read: usize,
    /// It has read to the end.
    pub read_all: bool,
}

/// See the module.
#[derive(Default)]
pub struct Accounts {
    pub streams: RefCell<BTreeMap<u32, Account>>,
    begun: Cell<usize>,
    begins: tokio::sync::Notify,
    dropped: Rc<Cell<usize>>,
    watched: Cell<usize>,
    told_closed: Cell<usize>,
    events: RefCell<Vec<(String, SessionEvent)>>,
}

/// The life of a session, as its events tell it.
pub struct Life {
    pub opened: bool,
    pub reason: CloseReason,
    pub statistics: SessionStatistics,
    pub outcomes: BTreeMap<u32, Outcome>,
}

impl Accounts {
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    pub fn of(&self, stream: u32) -> Account {
        self.streams.borrow().get(&stream).copied().unwrap_or_default()
    }

    fn note(&self, stream: u32, note: impl FnOnce(&mut Account)) {
        note(self.streams.borrow_mut().entry(stream).or_default());
    }

    /// The next octets of a stream, on account.
    fn draw(&self, stream: u32, count: usize) -> Bytes {
        let from = self.of(stream).wrote;
        self.note(stream, |account| account.wrote += count);
        pattern(stream, from, count).into()
    }

    fn took(&self, stream: u32, octets: &[u8]) {
        check(stream, self.of(stream).read, octets);
        self.note(stream, |account| account.read += octets.len());
    }

    /// A handler has begun; it is over when what is returned is dropped.
    fn begin(self: &Rc<Self>, request: &Request) -> Held {
        self.begun.set(self.begun.get() + 1);
        self.note(request.stream.get(), |_| {});
        self.begins.notify_waiters();
        self.watched.set(self.watched.get() + 1);
        let (accounts, handle) = (Rc::clone(self), request.handle());
        spawn_local(async move {
            handle.closed().await;
            accounts.told_closed.set(accounts.told_closed.get() + 1);
        });
        Held(Rc::clone(&self.dropped))
    }

    /// Waits for the handler of a stream.
    pub async fn has_begun(&self, stream: u32) {
        while !self.streams.borrow().contains_key(&stream) {
            self.begins.notified().await;
        }
    }

    /// From now on the sessions of `stage` are heard.
    pub fn listen(self: &Rc<Self>, stage: &Stage) {
        let accounts = Rc::clone(self);
        stage.host.observe(move |session: &SessionHandle, event: &SessionEvent| {
            accounts.events.borrow_mut().push((session.id.clone(), event.clone()));
        });
    }

    /// The life of the one session that was heard.
    fn life(&self) -> Life {
        let events = self.events.borrow();
        assert!(events.iter().all(|(id, _)| *id == events[0].0), "one session");
        life_of(events.iter().map(|(_, event)| event))
    }

    /// The one session of `stage` is over: everything that began has ended once, and nothing is left. Where the pipe is
    /// the session's own, `book` has the octets it must have counted.
    pub async fn settle(&self, stage: &Stage, book: Option<&Book>) -> Life {
        let ended = tokio::time::timeout(Duration::from_secs(600), stage.ended()).await;
        let ended = ended.expect("the session ends");
        settle().await;
        stage.is_swept(ended.reason);
        let life = self.life();
        assert_eq!(life.reason, ended.reason, "one reason for all");
        assert!(!matches!(life.reason, CloseReason::Panic | CloseReason::Other), "{}", life.reason);
        counted(&stage.cells, &life, book);
        assert_eq!(self.begun.get(), self.dropped.get(), "each handler was dropped once");
        assert_eq!(self.watched.get(), self.told_closed.get(), "each handle was told of the end");
        life
    }
}

/// What a session told of itself: in order, `Closed` once and last, each stream opened and closed once.
pub fn life_of<'a>(events: impl Iterator<Item = &'a SessionEvent>) -> Life {
    let mut life: Option<Life> = None;
    let (mut opened, mut open) = (false, Vec::new());
    let mut outcomes = BTreeMap::new();
    for (at, event) in events.enumerate() {
        assert!(life.is_none(), "nothing is told after the end: {event:?}");
        match event {
            SessionEvent::Opened => {
                assert_eq!(at, 0, "told first");
                opened = true;
            }
            SessionEvent::StreamOpened { id, .. } => {
                assert!(opened && !open.contains(&id.get()), "stream {id} is opened twice");
                open.push(id.get());
            }
            SessionEvent::StreamClosed { id, outcome, .. } => {
                assert!(open.contains(&id.get()), "stream {id} is closed and never was open");
                let before = outcomes.insert(id.get(), *outcome);
                assert_eq!(before, None, "stream {id} is closed twice");
            }
            SessionEvent::Closed { reason, statistics } => {
                let (statistics, outcomes) = ((**statistics).clone(), outcomes.clone());
                life = Some(Life { opened, reason: *reason, statistics, outcomes });
            }
            _ => {}
        }
    }
    assert_eq!(outcomes.len(), open.len(), "every stream is closed: {open:?} and {outcomes:?}");
    life.expect("the end is told")
}

/// The cells of a listener agree with the life of its one session.
pub fn counted(cells: &ListenerCells, life: &Life, book: Option<&Book>) {
    let opened: u64 = Protocol::ALL.iter().map(|protocol| cells.streams_opened[*protocol].get()).sum();
    let mut begun = opened;
    for outcome in Outcome::ALL {
        let told = life.outcomes.values().filter(|told| *told == outcome).count() as u64;
        let counted = cells.streams_closed[*outcome].get();
        if *outcome == Outcome::Refused {
            // Counted and never begun: nobody is told.
            begun -= counted - told;
        } else {
            assert_eq!(counted, told, "streams that ended as {outcome}");
        }
    }
    assert_eq!(begun, life.outcomes.len() as u64, "streams begun");
    assert_eq!(life.statistics.streams, begun);
    let network = [Direction::Rx, Direction::Tx].map(|direction| cells.network_bytes[direction].get());
    assert_eq!(network, [life.statistics.bytes_in, life.statistics.bytes_out], "one count for all");
    if let Some(book) = book {
        assert_eq!(network, [book.received.get(), book.sent.get()], "octets are conserved");
    }
}

/// A body that gives so many octets in pieces, a piece a time; then trailers, where there are some.
struct Pieces {
    accounts: Rc<Accounts>,
    stream: u32,
    left: usize,
    trailers: bool,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

const PIECE: usize = 9_000;

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Some(pause) = &mut this.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        if this.left > 0 {
            let count = this.left.min(PIECE);
            this.left -= count;
            let octets = this.accounts.draw(this.stream, count);
            if this.left.is_multiple_of(2) {
                this.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(1))));
            }
            return Poll::Ready(Some(Ok(Frame::data(octets))));
        }
        this.accounts.note(this.stream, |account| account.ended = true);
        if std::mem::take(&mut this.trailers) {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("7"));
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(None)
    }
}

impl Accounts {
    fn pieces(self: &Rc<Self>, stream: u32, octets: usize, trailers: bool) -> Body {
        let accounts = Rc::clone(self);
        Body::stream(Pieces { accounts, stream, left: octets, trailers, pause: None })
    }

    fn whole(&self, stream: u32, octets: usize) -> Response {
        let body = self.draw(stream, octets);
        self.note(stream, |account| account.ended = true);
        Response::new(200).with_body(Body::full(body))
    }

    /// Sends back what comes, as it comes, and trailers.
    async fn echo(self: Rc<Self>, mut stream: ServerStream, held: Held) {
        let (_held, id) = (held, stream.id().get());
        if stream.respond(200, Fields::new()).is_err() {
            return;
        }
        while let Some(chunk) = stream.body().chunk().await {
            let Ok(chunk) = chunk else { return };
            self.took(id, &chunk);
            let back = self.draw(id, chunk.len());
            if stream.write(back).await.is_err() {
                return;
            }
        }
        self.note(id, |account| (account.read_all, account.ended) = (true, true));
        stream.trailers(fields(&[("x-sum", "7")])).ok();
    }

    /// Sends back what comes until the peer ends, then a little more.
    async fn tunnel(self: Rc<Self>, mut tunnel: Tunnel, held: Held) {
        let (_held, id) = (held, tunnel.stream().get());
        let mut room = [0; 3_000];
        loop {
            match tunnel.read(&mut room).await {
                Ok(0) => break,
                Ok(count) => {
                    self.took(id, &room[..count]);
                    let back = self.draw(id, count);
                    if tunnel.write_all(&back).await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
        self.note(id, |account| account.read_all = true);
        let last = self.draw(id, 5);
        if tunnel.write_all(&last).await.is_ok() {
            self.note(id, |account| account.ended = true);
        }
    }

    /// Answers by path: the handlers of a rich life.
    pub fn service(self: &Rc<Self>) -> Rc<dyn Service> {
        let accounts = Rc::clone(self);
        service(move |request| accounts.answer(request))
    }

    fn answer(self: &Rc<Self>, request: Request) -> Reply {
        let (accounts, held, id) = (Rc::clone(self), self.begin(&request), request.stream.get());
        if request.tunnel().is_some() {
            let Ok(tunnel) = request.into_stream().tunnel(Fields::new()) else {
                return Response::new(500).into();
            };
            return Reply::driven(accounts.tunnel(tunnel, held));
        }
        match request.head.path().unwrap_or_default() {
            "/whole" => self.whole(id, 12_000).into(),
            "/empty" => {
                self.note(id, |account| account.ended = true);
                Response::new(204).into()
            }
            "/pieces" => {
                let body = self.pieces(id, 50_000, true);
                Response::new(200).with_body(body).into()
            }
            "/late" => Reply::later(async move {
                let (_held, request) = (held, request);
                // The peer knows by it that the request has arrived.
                request.handle().informational(102, Fields::new()).ok();
                tokio::time::sleep(Duration::from_millis(200)).await;
                accounts.whole(id, 3_000)
            }),
            "/stuck" => Reply::later(async move {
                let (_held, _request) = (held, request);
                std::future::pending().await
            }),
            "/page" => {
                let pushed = Rc::clone(self);
                let mut stream = request.into_stream();
                Reply::driven(async move {
                    let _held = held;
                    stream.informational(103, fields(&[("link", "</style>")])).ok();
                    // The promised stream is known before its answer is made.
                    let told = Rc::new(Cell::new(0));
                    let number = Rc::clone(&told);
                    let late = async move {
                        while number.get() == 0 {
                            tokio::task::yield_now().await;
                        }
                        pushed.whole(number.get(), 10_000)
                    };
                    if let Ok(promise) = stream.push(get_head("/style"), Reply::later(late))
                        && let Ok(promised) = promise.await
                    {
                        told.set(promised.get());
                    }
                    let page = accounts.draw(id, 2_000);
                    accounts.note(id, |account| account.ended = true);
                    stream.write_end(page).await.ok();
                })
            }
            "/echo" => Reply::driven(accounts.echo(request.into_stream(), held)),
            "/any" => {
                let seed =
                    request.head.fields().get("x-seed").and_then(|seed| std::str::from_utf8(seed).ok());
                let dice = Dice::new(seed.and_then(|seed| seed.parse().ok()).unwrap_or(1));
                accounts.anything(request, held, &dice)
            }
            _ => Response::new(404).into(),
        }
    }

    /// Whatever the dice say.
    fn anything(self: Rc<Self>, request: Request, held: Held, dice: &Dice) -> Reply {
        let id = request.stream.get();
        match dice.below(8) {
            0 => self.whole(id, dice.below(40_000) as usize).into(),
            1 => {
                let body = self.pieces(id, dice.below(150_000) as usize, dice.below(2) == 0);
                Response::new(200).with_body(body).into()
            }
            2 => Reply::driven(self.echo(request.into_stream(), held)),
            3 if dice.below(3) == 0 => panic!("on purpose"),
            _ => Reply::driven(self.steps(request.into_stream(), held, dice.clone())),
        }
    }

    /// One thing after the other.
    async fn steps(self: Rc<Self>, mut stream: ServerStream, held: Held, dice: Dice) {
        let (_held, id) = (held, stream.id().get());
        for _ in 0..dice.below(12) {
            match dice.below(9) {
                0..=2 => {
                    let octets = self.draw(id, dice.below(30_000) as usize);
                    if stream.write(octets).await.is_err() {
                        return;
                    }
                }
                3..=5 => match tokio::time::timeout(Duration::from_millis(20), stream.body().chunk()).await {
                    Ok(Some(Ok(chunk))) => self.took(id, &chunk),
                    Ok(Some(Err(_))) => return,
                    Ok(None) => self.note(id, |account| account.read_all = true),
                    Err(_) => {}
                },
                6 => tokio::time::sleep(Duration::from_millis(dice.below(40))).await,
                7 if dice.below(6) == 0 => drop(stream.reset(stagedoor_protocol::ErrorCode::CANCEL)),
                7 if dice.below(6) == 0 => panic!("on purpose"),
                _ => tokio::task::yield_now().await,
            }
        }
        self.note(id, |account| account.ended = true);
        match dice.below(3) {
            0 => drop(stream.trailers(fields(&[("x-sum", "7")]))),
            1 => drop(stream.finish()),
            _ => {
                let last = self.draw(id, 10);
                drop(stream.write_end(last).await);
            }
        }
    }
}
