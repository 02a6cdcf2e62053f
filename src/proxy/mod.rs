//! Sends requests on to an upstream and their answers back: one [`Proxy`] a worker, which keeps that worker's
//! connections.
//!
//! Chooses no route and edits nothing but fields of one hop. Invariants: a request is made again only where that does
//! nothing twice, and within the upstream's budget; a slow client slows the upstream, because nothing is read that is not
//! taken; what a client no longer wants is cancelled upstream.

mod body;
mod count;
mod deadlines;
mod failure;
mod hops;
mod http1;
mod http2;
mod pool;
mod tunnel;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use stagedoor_actors::{Request, Response, SessionHandle, counting_here};
use stagedoor_metrics::{EjectionReason, Metrics, RetryResult, RouteId, Shard, UpstreamFailure};
use stagedoor_protocol::{RequestHead, StreamId};

use crate::config::{Balance, HashKey};
use crate::fault::Fault;
use crate::upstream::{Endpoint, Upstream, hash, millis};
use body::Source;
use count::{Counts, Ticket};
use deadlines::Deadlines;
use failure::{Failure, Reach};
use pool::Pool;
use watch::Watch;

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

thread_local! {
    static HERE: RefCell<Option<Rc<Proxy>>> = const { RefCell::new(None) };
}

/// The proxy of one worker.
pub struct Proxy {
    here: Option<(Metrics, Arc<Shard>)>,
    pools: RefCell<BTreeMap<u64, Rc<Pool>>>,
    counts: RefCell<BTreeMap<u64, Rc<Counts>>>,
    deadlines: Rc<Deadlines>,
    sweeping: Cell<bool>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("pools", &self.pools.borrow().len()).finish_non_exhaustive()
    }
}

/// What a try brought.
enum Answered {
    Http1(http1::Answered),
    Http2(http2::Answered),
}

impl Answered {
    fn status(&self) -> u16 {
        match self {
            Self::Http1(answered) => answered.status,
            Self::Http2(answered) => answered.head.status,
        }
    }
}

impl Proxy {
    /// The proxy of the calling thread.
    #[must_use]
    pub fn here() -> Rc<Self> {
        HERE.with_borrow_mut(|here| Rc::clone(here.get_or_insert_with(Self::new)))
    }

    fn new() -> Rc<Self> {
        Rc::new(Self {
            here: counting_here(),
            pools: RefCell::default(),
            counts: RefCell::default(),
            deadlines: Rc::default(),
            sweeping: Cell::new(false),
        })
    }

    /// Sends a request on as its head stands (edits and forwarding fields are made already; hop-by-hop fields are this
    /// function's business) and gives the answer back. Tunnels, trailers and informational heads pass.
    ///
    /// The request is taken apart at once, so that the future, one for each request under way, is small.
    /// # Errors
    /// What kept an answer from coming.
    pub fn exchange(
        self: &Rc<Self>,
        request: Request,
        to: &Arc<Upstream>,
    ) -> impl Future<Output = Result<Response, Fault>> + use<> {
        request.waits_for_upstream();
        let key = key(&to.config.balance, &request);
        if request.tunnel().is_some() {
            let (proxy, to) = (Rc::clone(self), Arc::clone(to));
            let tunnel = async move { tunnel::exchange(&proxy, request, &to, key).await };
            return Either::Left(Box::pin(tunnel));
        }
        let Request { mut head, body, stream, session, route } = request;
        hops::strip_request(head.fields_mut());
        let head = Rc::new(head);
        let source = (!body.is_empty()).then(|| Source::new(body, session.clone()));
        Either::Right(self.tries(head, source, session, (stream, route), to, key))
    }

    /// Asks one endpoint after the other, as long as it is worth it.
    fn tries(
        self: &Rc<Self>,
        mut head: Rc<RequestHead>,
        source: Option<Rc<Source>>,
        session: SessionHandle,
        of: (StreamId, RouteId),
        to: &Arc<Upstream>,
        key: Option<u64>,
    ) -> impl Future<Output = Result<Response, Fault>> + use<> {
        let counts = self.counts(to);
        let mut ticket = Ticket::new(&counts, &session, of);
        let idempotent =
            matches!(head.method_octets(), b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE");
        let patient = is_grpc(&head);
        to.requested(millis(session.now()));
        let (proxy, to) = (Rc::clone(self), Arc::clone(to));
        async move {
            let (this, to) = (&proxy, &to);
            let retry = &to.config.retry;
            let mut tried = Vec::new();
            loop {
                let now = millis(session.now());
                let Some(endpoint) = to.pick(key, &tried, now) else {
                    counts.cells.failures[UpstreamFailure::DestinationUnavailable].inc();
                    let what = "the upstream has no endpoint";
                    return Err(
                        Failure::new(UpstreamFailure::DestinationUnavailable, Reach::Final, what).fault()
                    );
                };
                let pool = this.pool(to, &endpoint, &counts);
                let deadline = this.deadlines.register();
                let mut watch = Watch::new(deadline, session.clone(), of, &pool);
                let over_http2 = endpoint.speaks_http2(to.protocol());
                let answered = if over_http2 {
                    let fitting = Rc::make_mut(&mut head);
                    fitting.pass_on(if endpoint.tls { "https" } else { "http" });
                    let answered = http2::exchange(&pool, &head, source.as_ref(), &mut watch, patient).await;
                    answered.map(Answered::Http2)
                } else {
                    // Most of this future would be for what is said over HTTP/1.1 alone.
                    let answered = Box::pin(http1::exchange(&pool, &head, source.as_ref(), &mut watch)).await;
                    answered.map(Answered::Http1)
                };
                let tries = tried.len() as u32;
                let untouched = source.as_ref().is_none_or(|source| !source.is_touched());
                match answered {
                    Ok(answered) => {
                        let status = answered.status();
                        if status >= 500 {
                            this.blame(to, &endpoint, &counts, EjectionReason::Consecutive5xx, now);
                            let listed = retry.on.statuses.contains(&status) && idempotent && untouched;
                            if listed && tries < retry.attempts && this.may_retry(to, &counts, now) {
                                tried.push(endpoint.id);
                                continue;
                            }
                        } else {
                            endpoint.succeeded();
                        }
                        ticket.answered(status);
                        return Ok(match answered {
                            Answered::Http1(answered) => answered.respond(ticket, watch),
                            Answered::Http2(answered) => answered.respond(ticket),
                        });
                    }
                    Err(failure) => {
                        counts.cells.failures[failure.cause].inc();
                        if let Some(reason) = failure.counts_against() {
                            this.blame(to, &endpoint, &counts, reason, now);
                        }
                        // ALPN has just said that this endpoint speaks HTTP/1.1: that is no failure of it.
                        let learnt = over_http2 && pool.has_learnt(&endpoint);
                        let worth = untouched && (learnt || failure.may_be_retried(&retry.on, idempotent));
                        let left = tries < retry.attempts || failure.reach == Reach::Stale && tries < 2;
                        if !worth {
                            counts.cells.retries[RetryResult::NotRetryable].inc();
                        } else if learnt || (left && this.may_retry(to, &counts, now)) {
                            if !learnt {
                                tried.push(endpoint.id);
                            }
                            continue;
                        }
                        let (upstream, url) = (&*to.config.name, &*endpoint.url);
                        let (cause, error) = (failure.cause.label(), &*failure.detail);
                        if counts.is_worth_a_warning(now) {
                            tracing::warn!(
                                upstream,
                                endpoint = url,
                                cause,
                                error,
                                "no answer of an upstream"
                            );
                        } else {
                            tracing::debug!(
                                upstream,
                                endpoint = url,
                                cause,
                                error,
                                "no answer of an upstream"
                            );
                        }
                        return Err(match source.and_then(|source| source.failed()) {
                            Some(error) => Fault::new(400, "http_request_error", error.to_string()),
                            None => failure.fault(),
                        });
                    }
                }
            }
        }
    }

    /// A retry that is worth it: whether there is one left in the budget.
    fn may_retry(&self, to: &Upstream, counts: &Counts, now: u64) -> bool {
        let may = to.may_retry(now);
        let result = if may { RetryResult::Sent } else { RetryResult::BudgetExhausted };
        counts.cells.retries[result].inc();
        may
    }

    fn blame(&self, to: &Upstream, endpoint: &Endpoint, counts: &Counts, reason: EjectionReason, now: u64) {
        if to.failed(endpoint, now) {
            counts.cells.ejections[reason].inc();
        }
    }

    fn counts(&self, to: &Arc<Upstream>) -> Rc<Counts> {
        let mut counts = self.counts.borrow_mut();
        let made = || Rc::new(Counts::new(to, self.here.as_ref()));
        Rc::clone(counts.entry(to.id).or_insert_with(made))
    }

    fn pool(self: &Rc<Self>, to: &Arc<Upstream>, endpoint: &Arc<Endpoint>, counts: &Rc<Counts>) -> Rc<Pool> {
        if let Some(pool) = self.pools.borrow().get(&endpoint.id) {
            return Rc::clone(pool);
        }
        let pool = Pool::new(Arc::clone(to), Arc::clone(endpoint), Rc::clone(counts));
        self.pools.borrow_mut().insert(endpoint.id, Rc::clone(&pool));
        if !self.sweeping.replace(true) {
            actix_rt::spawn(Rc::clone(self).sweep());
        }
        pool
    }

    /// Looks at idle connections as long as there are pools.
    async fn sweep(self: Rc<Self>) {
        while self.sweeping.get() {
            tokio::time::sleep(SWEEP).await;
            let now = tokio::time::Instant::now().into_std();
            self.pools.borrow_mut().retain(|_, pool| pool.sweep(now));
            let pools = self.pools.borrow();
            self.counts.borrow_mut().retain(|id, _| pools.values().any(|pool| pool.upstream.id == *id));
            self.sweeping.set(!pools.is_empty());
        }
    }
}

/// The call may rest for as long as it likes.
fn is_grpc(head: &RequestHead) -> bool {
    head.fields().get("content-type").is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// What the request hashes to, where the upstream balances by that.
fn key(balance: &Balance, request: &Request) -> Option<u64> {
    let Balance::Hash(key) = balance else { return None };
    let fields = request.head.fields();
    match key {
        HashKey::Client => request.session.info().peer.map(|peer| hash(peer.ip().to_string().as_bytes())),
        HashKey::Header(name) => fields.get(name).map(hash),
        HashKey::Cookie(name) => cookie(&fields.cookie()?, name).map(hash),
        HashKey::Path => request.head.path_octets().split(|octet| *octet == b'?').next().map(hash),
    }
}

/// The value of a cookie (RFC 6265 §4.2.1).
fn cookie<'a>(cookies: &'a [u8], name: &str) -> Option<&'a [u8]> {
    cookies.split(|octet| *octet == b';').find_map(|pair| {
        let (known, value) = pair.split_at(pair.iter().position(|octet| *octet == b'=')?);
        (known.trim_ascii() == name.as_bytes()).then(|| value[1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let cookies = b"a=1; user=x; xuser=y; user=z";
        assert_eq!(cookie(cookies, "user"), Some(&b"x"[..]));
        assert_eq!(cookie(cookies, "xuser"), Some(&b"y"[..]));
        assert_eq!(cookie(cookies, "b"), None);
        assert_eq!(cookie(b"user", "user"), None);
    }
}
