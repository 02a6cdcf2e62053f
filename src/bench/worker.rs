//! One thread of a load: its connections, and on each of them as many lanes as streams are asked for. A lane makes one
//! request after the other.
//!
//! A connection that takes no more requests, after GOAWAY for one, is replaced; requests the server certainly did not look
//! at go to the new one (RFC 9113 §8.7). Invariants: a request that may have been processed is never made again; a server
//! that is away is asked ever less often, and given up after [`ATTEMPTS`].

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use stagedoor::client::{
    self, ClientSession, Error, Options, RequestOptions, RequestParts, SessionEnd, StreamError,
};

use super::tally::{Tally, kind};
use super::{Plan, Shared, Stop};

/// Connections in a row that brought no answer before the server is given up.
const ATTEMPTS: u32 = 12;

/// The longest pause before the next attempt; the first one is a hundredth.
const PAUSE: Duration = Duration::from_millis(500);

/// Times one request may be refused before it counts as failed.
const REFUSALS: u32 = 100;

/// How long connections may take to say good-bye.
const PARTING: Duration = Duration::from_secs(1);

/// Puts a share of the load on.
pub(super) async fn run(plan: &Plan, shared: &Shared, connections: usize) -> Tally {
    let tally = RefCell::new(Tally::new());
    let begun = Cell::new(0_u64);
    let options = plan.url.options();
    let slots: Vec<Slot<'_>> = (0..connections).map(|_| Slot::new(plan, &options, shared, &tally)).collect();
    let mut lanes: FuturesUnordered<_> =
        slots.iter().flat_map(|slot| (0..plan.streams).map(|_| lane(slot, &begun))).collect();
    let mut stop = shared.stop.clone();
    tokio::select! {
        () = async { while lanes.next().await.is_some() {} } => {}
        // The sender lives as long as the control, which waits for this thread.
        _ = stop.wait_for(|stop| *stop == Stop::Now) => {}
    }
    drop(lanes);
    let sessions: Vec<_> = slots.iter().filter_map(|slot| slot.session.take()).collect();
    drop(slots);
    // A server that does not answer is no reason to wait.
    let _ = tokio::time::timeout(PARTING, join_all(sessions.iter().map(ClientSession::close))).await;
    let mut tally = tally.into_inner();
    tally.unfinished = begun.get() - tally.answered() - tally.failed();
    tally
}

/// One request after the other.
async fn lane(slot: &Slot<'_>, begun: &Cell<u64>) {
    let (plan, shared) = (slot.plan, slot.shared);
    loop {
        // A connection comes before the request: one that cannot be made was never begun.
        if shared.is_over() || slot.session().await.is_err() || !shared.begin() {
            return;
        }
        begun.set(begun.get() + 1);
        let began = Instant::now();
        let result = request(slot, plan).await;
        let now = Instant::now();
        let mut tally = slot.tally.borrow_mut();
        match result {
            Ok((status, octets)) => {
                tally.answer(status, octets, began, now);
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(failed) => {
                tally.fail(failed.kind, failed.words, now);
                shared.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A request that was not answered.
struct Unanswered {
    kind: &'static str,
    words: String,
}

/// Makes a request until a server has looked at it: status and octets of the body.
async fn request(slot: &Slot<'_>, plan: &Plan) -> Result<(u16, u64), Unanswered> {
    let mut refusals = 0;
    loop {
        let (session, generation) =
            slot.session().await.map_err(|words| Unanswered { kind: "connect", words })?;
        let error = match exchange(&session, plan, slot.shared).await {
            Ok(answer) => {
                slot.failures.set(0);
                return Ok(answer);
            }
            Err(error) => error,
        };
        if let Error::Stream(StreamError::SessionClosed(end)) = &error {
            slot.lost(generation, end);
        }
        if !error.is_retry_safe() || refusals == REFUSALS {
            return Err(Unanswered { kind: kind(&error), words: error.to_string() });
        }
        refusals += 1;
        slot.tally.borrow_mut().moved += 1;
        if session.takes_requests() {
            // Refused, and no reason to leave the connection: less haste.
            tokio::time::sleep(Duration::from_millis(refusals.into())).await;
        }
    }
}

async fn exchange(session: &ClientSession, plan: &Plan, shared: &Shared) -> Result<(u16, u64), Error> {
    let mut parts = RequestParts::get(&plan.url.path);
    parts.fields = plan.fields.clone();
    let mut stream = session.request(parts, RequestOptions::default())?;
    let head = stream.response().await?;
    let mut octets = 0;
    while let Some(chunk) = stream.chunk().await {
        let count = chunk?.len() as u64;
        octets += count;
        shared.octets.fetch_add(count, Ordering::Relaxed);
    }
    Ok((head.status, octets))
}

/// The place of one connection, and the connection that is there now.
struct Slot<'a> {
    plan: &'a Plan,
    options: &'a Options,
    shared: &'a Shared,
    tally: &'a RefCell<Tally>,
    session: RefCell<Option<ClientSession>>,
    /// Which one that is.
    generation: Cell<u64>,
    /// The connection there has been counted as up.
    counted: Cell<bool>,
    /// Connections that did not come up, or broke, since the last answer.
    failures: Cell<u32>,
    /// No attempt before it.
    next: Cell<Option<Instant>>,
    /// Why there are no attempts any more.
    given_up: RefCell<Option<String>>,
}

impl<'a> Slot<'a> {
    fn new(plan: &'a Plan, options: &'a Options, shared: &'a Shared, tally: &'a RefCell<Tally>) -> Self {
        Self {
            plan,
            options,
            shared,
            tally,
            session: RefCell::new(None),
            generation: Cell::new(0),
            counted: Cell::new(false),
            failures: Cell::new(0),
            next: Cell::new(None),
            given_up: RefCell::new(None),
        }
    }

    /// A connection that is up and takes requests; a new one where there is none.
    /// # Errors
    /// In words, why there will be none any more.
    async fn session(&self) -> Result<(ClientSession, u64), String> {
        loop {
            if let Some(words) = &*self.given_up.borrow() {
                return Err(words.clone());
            }
            if let Some(next) = self.next.get()
                && next > Instant::now()
            {
                tokio::time::sleep_until(next.into()).await;
                continue;
            }
            let session = self.current()?;
            let generation = self.generation.get();
            match session.ready().await {
                Ok(()) if session.takes_requests() => {
                    if !self.counted.replace(true) {
                        self.shared.connected.store(true, Ordering::Relaxed);
                        self.tally.borrow_mut().connections += 1;
                    }
                    return Ok((session, generation));
                }
                // It went away while we waited: `current` replaces it.
                Ok(()) => {}
                Err(end) => self.lost(generation, &end),
            }
        }
    }

    fn current(&self) -> Result<ClientSession, String> {
        let mut place = self.session.borrow_mut();
        if let Some(session) = &*place {
            if session.takes_requests() || session.is_connecting() {
                return Ok(session.clone());
            }
            if session.goaway_code().is_some() {
                self.tally.borrow_mut().goaways += 1;
            }
        }
        // The one before ends with its last stream.
        let session = client::connect(&self.plan.url.origin, self.options.clone())
            .map_err(|error| error.to_string())?;
        self.counted.set(false);
        self.generation.set(self.generation.get() + 1);
        *place = Some(session.clone());
        Ok(session)
    }

    /// A connection did not come up, or broke. Every lane that was on it says so; it counts once.
    fn lost(&self, generation: u64, end: &SessionEnd) {
        if generation != self.generation.get() || self.session.take().is_none() {
            return;
        }
        let failures = self.failures.get() + 1;
        self.failures.set(failures);
        // Where nobody ever was, nobody is waited for.
        if failures >= ATTEMPTS || !self.shared.connected.load(Ordering::Relaxed) {
            let words = end.to_string();
            self.tally.borrow_mut().unreachable = Some(words.clone());
            *self.given_up.borrow_mut() = Some(words);
            return;
        }
        let pause = (PAUSE / 100 * 2_u32.saturating_pow(failures - 1)).min(PAUSE);
        self.next.set(Some(Instant::now() + pause));
    }
}
