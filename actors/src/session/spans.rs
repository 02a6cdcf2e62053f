//! The span of a stream: who it is when it begins, what became of it when it ends. Whoever does not listen pays
//! one look at whether the span is wanted.
//!
//! Invariant: a span that is wanted lives until the stream is counted, however long before that its actor is gone,
//! so its last fields are always recorded.

use std::rc::Rc;
use std::time::{Duration, Instant};

use stagedoor_protocol::{RequestHead, StreamId};
use tracing::Span;
use tracing::field::{Empty, display};

use super::ended::Ended;
use crate::link::Link;
use crate::session::SessionHandle;
use crate::trace;

/// The span of a stream of which no more is known than its number; none where nobody wants it.
#[inline]
pub(crate) fn bare(link: &Link, id: StreamId) -> Option<Box<Span>> {
    let span = tracing::debug_span!(
        parent: &link.span,
        "stream",
        id = id.get(),
        method = Empty,
        path = Empty,
        trace_id = Empty,
        span_id = Empty,
        parent_id = Empty,
        sampled = Empty,
        route = Empty,
        status = Empty,
        outcome = Empty,
        cause = Empty,
        bytes_in = Empty,
        bytes_out = Empty,
        duration_seconds = Empty,
        start_seconds = Empty,
        wait_request_body_seconds = Empty,
        wait_handler_seconds = Empty,
        wait_upstream_seconds = Empty,
        wait_peer_stream_window_seconds = Empty,
        wait_peer_connection_window_seconds = Empty,
        wait_scheduler_seconds = Empty,
        wait_socket_seconds = Empty,
    );
    (!span.is_disabled()).then(|| Box::new(span))
}

/// The span of a stream that begins with `head`; none where nobody wants it.
#[inline]
pub(crate) fn of_request(link: &Rc<Link>, id: StreamId, head: &RequestHead) -> Option<Box<Span>> {
    let span = bare(link, id)?;
    describe(&span, &SessionHandle::new(Rc::clone(link)), id, head);
    Some(span)
}

#[cold]
fn describe(span: &Span, session: &SessionHandle, id: StreamId, head: &RequestHead) {
    let target = head.path().or_else(|| head.authority()).unwrap_or_default();
    // What follows the question mark may be anybody's secret.
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let trace = trace::of_stream(head, session, id);
    span.record("method", head.method());
    span.record("path", path);
    span.record("trace_id", display(format_args!("{:032x}", trace.trace_id)));
    span.record("span_id", display(format_args!("{:016x}", trace.span_id)));
    if let Some(parent) = trace.parent {
        span.record("parent_id", display(format_args!("{parent:016x}")));
        if !trace.is_sampled() {
            span.record("sampled", false);
        }
    }
}

/// The fields of a wait, in the order of `stagedoor_metrics::WaitOn::ALL`.
const WAITS: [&str; 7] = [
    "wait_request_body_seconds",
    "wait_handler_seconds",
    "wait_upstream_seconds",
    "wait_peer_stream_window_seconds",
    "wait_peer_connection_window_seconds",
    "wait_scheduler_seconds",
    "wait_socket_seconds",
];

/// The last a span hears: how its stream ended, and where its time went.
#[cold]
pub(crate) fn ended(span: &Span, ended: &Ended, route: &str, nanos: u64, now: Instant) {
    span.record("route", route);
    if ended.status != 0 {
        span.record("status", ended.status);
    }
    span.record("outcome", ended.outcome.label());
    if let Some(cause) = ended.cause() {
        span.record("cause", cause);
    }
    span.record("bytes_in", ended.bytes_in);
    span.record("bytes_out", ended.bytes_out);
    span.record("duration_seconds", Duration::from_nanos(nanos).as_secs_f64());
    if let Some(head) = ended.times().head {
        span.record("start_seconds", head.as_secs_f64());
    }
    for (field, wait) in WAITS.into_iter().zip(ended.wait_times(now)).filter(|(_, wait)| !wait.is_zero()) {
        span.record(field, wait.as_secs_f64());
    }
    tracing::debug!(parent: span, "stream closed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_named_as_the_metrics_name_them() {
        let named = stagedoor_metrics::WaitOn::ALL.iter().map(|on| format!("wait_{}_seconds", on.label()));
        assert_eq!(named.collect::<Vec<_>>(), WAITS);
    }
}
