//! What is watched over while a request is under way: its deadlines, what the server says before its answer, and how many
//! wait in line.

use std::rc::Rc;
use std::task::Context;
use std::time::Instant;

use stagedoor_actors::SessionHandle;
use stagedoor_actors::client::Line as _;
use stagedoor_metrics::{RouteId, UpstreamFailure};
use stagedoor_protocol::{ResponseHead, StreamId};

use super::body::Source;
use super::deadlines::Deadline;
use super::failure::{Failure, Reach};
use super::pool::Pool;

/// See the module.
pub(crate) struct Watch {
    deadline: Deadline,
    client: SessionHandle,
    stream: StreamId,
    route: RouteId,
    pool: Rc<Pool>,
    /// When the request was handed over.
    began: Instant,
    /// Since when an answer's next octets are waited for.
    waiting: Option<Instant>,
}

/// A request that waits in line.
pub(crate) struct Pending(Rc<Pool>);

impl Pending {
    pub(crate) fn new(pool: &Rc<Pool>) -> Self {
        pool.joined();
        Self(Rc::clone(pool))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.left();
    }
}

impl Watch {
    pub(crate) fn new(
        deadline: Deadline,
        client: SessionHandle,
        (stream, route): (StreamId, RouteId),
        pool: &Rc<Pool>,
    ) -> Self {
        let began = client.now();
        Self { deadline, client, stream, route, pool: Rc::clone(pool), began, waiting: None }
    }

    /// Which session of this worker the client's is.
    pub(crate) fn client(&self) -> u64 {
        self.client.info().number
    }

    /// The time of the client's turn.
    pub(crate) fn now(&self) -> Instant {
        self.client.now()
    }

    /// The request is handed over.
    pub(crate) fn begin(&mut self) {
        self.began = self.client.now();
    }

    /// The request was handed over then.
    pub(crate) fn begin_at(&mut self, began: Instant) {
        self.began = began;
    }

    /// The client can be told what comes before the answer.
    pub(crate) fn wants_informational(&self) -> bool {
        self.client.info().is_http2()
    }

    /// Tells it. 100 is not passed on: it was sent, or will be, when its body is read.
    pub(crate) fn inform(&self, head: ResponseHead) {
        if head.status == 100 || !self.wants_informational() {
            return;
        }
        let told = self.client.stream(self.stream, self.route).informational(head.status, head.fields);
        if let Err(error) = told {
            tracing::debug!(%error, "an informational head is not passed on");
        }
    }

    /// There was no head in time. The time runs from the last octet of the request that went on.
    pub(crate) fn is_late(&mut self, source: Option<&Rc<Source>>, cx: &Context<'_>) -> Option<Failure> {
        let moved = source.map_or(self.began, |source| source.moved().max(self.began));
        let config = &self.pool.upstream.config;
        let response =
            Some(config.timeouts.response).filter(|limit| !limit.is_zero()).map(|limit| moved + limit);
        let per_try = config.retry.per_try.map(|limit| self.began + limit);
        let due = [response, per_try].into_iter().flatten().min()?;
        self.deadline.is_over(due, cx).then(|| match response {
            Some(response) if response <= due => Failure::timed_out("no head of an answer in time"),
            _ => Failure::slow_try(),
        })
    }

    /// Octets of the answer came.
    pub(crate) fn moved(&mut self) {
        if self.waiting.take().is_some() {
            self.deadline.rest();
        }
    }

    /// Octets of an answer of declared length are waited for, and none came for too long.
    pub(crate) fn is_stalled(&mut self, cx: &Context<'_>) -> Option<Failure> {
        let limit = self.pool.upstream.config.timeouts.stall;
        if limit.is_zero() {
            return None;
        }
        let since = *self.waiting.get_or_insert_with(|| self.client.now());
        let what = "the answer does not go on";
        let over = self.deadline.is_over(since + limit, cx);
        over.then(|| Failure::new(UpstreamFailure::Stall, Reach::Final, what))
    }
}
