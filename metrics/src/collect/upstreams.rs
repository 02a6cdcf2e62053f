//! Families about upstreams and their endpoints.

use super::view::{UpstreamView, View};
use crate::catalogue;
use crate::cell::Gauge;
use crate::histogram::Merged;
use crate::labels::{CloseReason, EjectionReason, HealthResult, Protocol, RetryResult, UpstreamFailure};
use crate::series::Families;
use crate::upstream::{SLOTS, UpstreamCells, code};

pub(super) fn families(view: &View<'_>, out: &mut Families<'_>) {
    endpoint_families(view, out);
    connection_families(view, out);
    request_families(view, out);
}

fn endpoint_families(view: &View<'_>, out: &mut Families<'_>) {
    let endpoints = view.inner.endpoints.held();
    out.family(&catalogue::UPSTREAM_ENDPOINT_UP, |out| {
        for (label, cells) in &endpoints {
            out.value([label], f64::from(u8::from(cells.is_up())));
        }
    });
    out.family(&catalogue::UPSTREAM_HEALTH_CHECKS, |out| {
        for (label, cells) in &endpoints {
            for result in HealthResult::ALL {
                out.value([label, result.label()], cells.checks[*result].get() as f64);
            }
        }
    });
    out.family(&catalogue::UPSTREAM_EJECTIONS, |out| {
        for upstream in &view.upstreams {
            for reason in EjectionReason::ALL {
                let labels = [&*upstream.name, reason.label()];
                out.value(labels, upstream.sum(|cells| &cells.ejections[*reason]));
            }
        }
    });
}

fn connection_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::UPSTREAM_CONNECTIONS_ACTIVE, |out| {
        for upstream in &view.upstreams {
            for protocol in Protocol::ALL {
                let active = level(upstream, |cells| &cells.connections_active[*protocol]);
                out.value([&*upstream.name, protocol.label()], active);
            }
        }
    });
    out.family(&catalogue::UPSTREAM_CONNECTIONS_CLOSED, |out| {
        for upstream in &view.upstreams {
            for reason in CloseReason::ALL {
                let labels = [&*upstream.name, reason.label()];
                out.value(labels, upstream.sum(|cells| &cells.connections_closed[*reason]));
            }
        }
    });
    out.family(&catalogue::UPSTREAM_CONNECT_DURATION, |out| {
        for upstream in &view.upstreams {
            let parts = upstream.cells.iter().map(|cells| &cells.connect_duration);
            out.histogram([&*upstream.name], &Merged::of(parts));
        }
    });
}

fn request_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::UPSTREAM_REQUESTS_ACTIVE, |out| {
        for upstream in &view.upstreams {
            out.value([&*upstream.name], level(upstream, |cells| &cells.requests_active));
        }
    });
    out.family(&catalogue::UPSTREAM_REQUESTS_PENDING, |out| {
        for upstream in &view.upstreams {
            out.value([&*upstream.name], level(upstream, |cells| &cells.requests_pending));
        }
    });
    out.family(&catalogue::UPSTREAM_REQUESTS, |out| {
        for upstream in &view.upstreams {
            let mut codes = [0; SLOTS];
            upstream.cells.iter().for_each(|cells| cells.add_requests(&mut codes));
            for (slot, count) in codes.into_iter().enumerate() {
                out.value([&*upstream.name, &code(slot)], count as f64);
            }
        }
    });
    out.family(&catalogue::UPSTREAM_REQUEST_DURATION, |out| {
        for upstream in &view.upstreams {
            let merged = Merged::of(upstream.cells.iter().map(|cells| &cells.request_duration));
            let examples = upstream.cells.iter().map(|cells| &cells.duration_examples);
            out.histogram([&*upstream.name], &merged.with_examples(examples));
        }
    });
    out.family(&catalogue::UPSTREAM_RETRIES, |out| {
        for upstream in &view.upstreams {
            for result in RetryResult::ALL {
                let labels = [&*upstream.name, result.label()];
                out.value(labels, upstream.sum(|cells| &cells.retries[*result]));
            }
        }
    });
    out.family(&catalogue::UPSTREAM_FAILURES, |out| {
        for upstream in &view.upstreams {
            for reason in UpstreamFailure::ALL {
                let labels = [&*upstream.name, reason.label()];
                out.value(labels, upstream.sum(|cells| &cells.failures[*reason]));
            }
        }
    });
}

/// A gauge over all shards. Shards count on while this reads, hence no less than zero.
fn level(upstream: &UpstreamView, gauge: impl Fn(&UpstreamCells) -> &Gauge) -> f64 {
    upstream.cells.iter().map(|cells| gauge(cells).get()).sum::<i64>().max(0) as f64
}
