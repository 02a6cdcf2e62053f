//! Families about streams and requests, all of a listener or route together.

use super::view::View;
use crate::catalogue;
use crate::histogram::Merged;
use crate::labels::{Method, Outcome, Protocol, WaitOn};
use crate::series::Families;
use crate::status;

pub(super) fn families(view: &View<'_>, out: &mut Families<'_>) {
    stream_families(view, out);
    request_families(view, out);
    cost_families(view, out);
}

fn stream_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::STREAMS_ACTIVE, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                let active: i64 =
                    listener.cells.iter().map(|cells| cells.streams_active[*protocol].get()).sum();
                out.value([&listener.name, protocol.label()], active as f64);
            }
        }
    });
    out.family(&catalogue::STREAMS_OPENED, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                let labels = [&listener.name, protocol.label()];
                out.value(labels, listener.sum(|cells| &cells.streams_opened[*protocol]));
            }
        }
    });
    out.family(&catalogue::STREAMS_CLOSED, |out| {
        for listener in &view.listeners {
            for outcome in Outcome::ALL {
                let labels = [&listener.name, outcome.label()];
                out.value(labels, listener.sum(|cells| &cells.streams_closed[*outcome]));
            }
        }
    });
}

fn request_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::REQUESTS, |out| {
        for listener in &view.listeners {
            for (route, cells) in &listener.routes {
                for method in Method::ALL {
                    let mut codes = [0; status::SLOTS];
                    for cells in cells {
                        cells.add_requests(*method, &mut codes);
                    }
                    for (slot, count) in codes.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                        let code = status::label(slot);
                        out.value([&listener.name, route, method.label(), &code], count as f64);
                    }
                }
            }
        }
    });
    out.family(&catalogue::REQUEST_DURATION, |out| {
        for listener in &view.listeners {
            for (route, cells) in &listener.routes {
                let examples = cells.iter().map(|cells| &cells.duration_examples);
                let merged = Merged::of(cells.iter().map(|cells| &cells.request_duration));
                out.histogram([&listener.name, route], &merged.with_examples(examples));
            }
        }
    });
    out.family(&catalogue::RESPONSE_START, |out| {
        for listener in &view.listeners {
            for (route, cells) in &listener.routes {
                let examples = cells.iter().map(|cells| &cells.start_examples);
                let merged = Merged::of(cells.iter().map(|cells| &cells.response_start));
                out.histogram([&listener.name, route], &merged.with_examples(examples));
            }
        }
    });
    out.family(&catalogue::REQUEST_BODY_BYTES, |out| {
        for (route, cells) in &view.routes {
            let parts = cells.iter().map(|cells| &cells.request_body_bytes);
            out.histogram([&**route], &Merged::of(parts));
        }
    });
    out.family(&catalogue::RESPONSE_BODY_BYTES, |out| {
        for (route, cells) in &view.routes {
            let parts = cells.iter().map(|cells| &cells.response_body_bytes);
            out.histogram([&**route], &Merged::of(parts));
        }
    });
}

/// What streams waited for, and what routes were spared or cost.
fn cost_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::STREAM_WAIT_SECONDS, |out| {
        for listener in &view.listeners {
            for (route, cells) in &listener.routes {
                for on in WaitOn::ALL {
                    let nanos: u64 = cells.iter().map(|cells| cells.stream_wait_nanos[*on].get()).sum();
                    out.value([&listener.name, route, on.label()], nanos as f64 / 1e9);
                }
            }
        }
    });
    // Every route that is listed, so that `rate` sees the first event.
    out.family(&catalogue::RATE_LIMITED, |out| {
        for route in &view.listed {
            out.value([&*route.name], route.rate_limited.get() as f64);
        }
    });
    out.family(&catalogue::FILE_READ_BYTES, |out| {
        for route in &view.listed {
            let cells = view.routes.get(&route.name).into_iter().flatten();
            out.value([&*route.name], cells.map(|cells| cells.file_read_bytes.get()).sum::<u64>() as f64);
        }
    });
}
