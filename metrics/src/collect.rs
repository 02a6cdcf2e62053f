//! The scrape: sums the shards into Prometheus families, built anew each time.
//! Counts nothing and keeps nothing between two scrapes; never waits for an actor.
//!
//! Invariants: names, labels and buckets come from `catalogue.rs`; the number of series depends on the
//! configuration alone, not on how many sessions or streams are open.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, TextEncoder};

use crate::catalogue;
use crate::cell::Cell;
use crate::histogram::Merged;
use crate::labels::{
    AbuseKind, ActorKind, CloseReason, ConnectionResult, Direction, FrameType, H2Code, Method, Origin,
    Outcome, Protocol, Scope, TimeoutAction, TimeoutKind, TlsResult, TlsVersion,
};
use crate::metrics::Inner;
use crate::process::ProcessFigures;
use crate::series::Families;
use crate::shard::{ActorCounts, ListenerCells, RouteCells, Shard, unpoisoned};
use crate::status;

/// Every family but `process_*`, for a foreign registry.
pub(crate) struct GatewayCollector {
    inner: Arc<Inner>,
    descriptions: Vec<Desc>,
}

impl GatewayCollector {
    /// # Panics
    /// If the namespace is not a valid start of a metric name.
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let descriptions = catalogue::families()
            .filter(|family| !family.is_of_process())
            .map(|family| {
                let labels = family.labels.iter().map(|label| label.name.to_owned()).collect();
                let name = family.name_in(&inner.namespace).into_owned();
                Desc::new(name, family.help.to_owned(), labels, HashMap::new())
                    .expect("the catalogue's names are valid")
            })
            .collect();
        Self { inner, descriptions }
    }
}

impl fmt::Debug for GatewayCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayCollector").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Collector for GatewayCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        gateway_families(&self.inner)
    }
}

/// All families as text 0.0.4.
pub(crate) fn render_text(inner: &Inner) -> Vec<u8> {
    let mut families = gateway_families(inner);
    families.extend(process_families());
    let mut text = Vec::with_capacity(64 * 1024);
    TextEncoder::new().encode(&families, &mut text).expect("no family is empty or without a name");
    text
}

/// The shards as one scrape sees them: handles by listener and route, so that locks are held briefly.
struct View<'a> {
    inner: &'a Inner,
    listeners: Vec<ListenerView>,
    /// By route name, over all listeners.
    routes: BTreeMap<Arc<str>, Vec<Arc<RouteCells>>>,
    shards: Vec<Arc<Shard>>,
}

struct ListenerView {
    name: Arc<str>,
    address: String,
    accepting: bool,
    cells: Vec<Arc<ListenerCells>>,
    routes: BTreeMap<Arc<str>, Vec<Arc<RouteCells>>>,
}

impl<'a> View<'a> {
    fn of(inner: &'a Inner) -> Self {
        let shards: Vec<_> = unpoisoned(&inner.shards).values().cloned().collect();
        let listed = unpoisoned(&inner.listeners).clone();
        let mut listeners: Vec<_> = listed
            .iter()
            .map(|listener| ListenerView {
                name: Arc::clone(&listener.name),
                address: unpoisoned(&listener.address).clone(),
                accepting: listener.accepting.load(Ordering::Relaxed),
                cells: Vec::new(),
                routes: BTreeMap::new(),
            })
            .collect();
        // What is listed from here on, and its handles, are left to the next scrape.
        let names = unpoisoned(&inner.routes).clone();
        let mut routes = BTreeMap::<_, Vec<_>>::new();
        for shard in &shards {
            for (id, cells) in shard.known_listeners() {
                if let Some(listener) = listeners.get_mut(usize::from(id.get())) {
                    listener.cells.push(cells);
                }
            }
            for ((listener, route), cells) in shard.known_routes() {
                let listener = listeners.get_mut(usize::from(listener.get()));
                if let (Some(listener), Some(name)) = (listener, names.get(usize::from(route.get()))) {
                    routes.entry(Arc::clone(name)).or_default().push(Arc::clone(&cells));
                    listener.routes.entry(Arc::clone(name)).or_default().push(cells);
                }
            }
        }
        Self { inner, listeners, routes, shards }
    }

    /// One actor counter of one kind, over all shards.
    fn actors(&self, kind: ActorKind, cell: impl Fn(&ActorCounts) -> &Cell) -> f64 {
        self.shards.iter().map(|shard| cell(&shard.actors()[kind]).get()).sum::<u64>() as f64
    }
}

impl ListenerView {
    /// One cell, over all shards.
    fn sum(&self, cell: impl Fn(&ListenerCells) -> &Cell) -> f64 {
        self.cells.iter().map(|cells| cell(cells).get()).sum::<u64>() as f64
    }

    /// Sessions of a protocol open now. Shards count on while this reads, hence no less than zero.
    fn sessions_active(&self, protocol: Protocol) -> f64 {
        let closed: f64 = CloseReason::ALL
            .iter()
            .map(|reason| self.sum(|cells| &cells.sessions_closed[protocol][*reason]))
            .sum();
        (self.sum(|cells| &cells.sessions_opened[protocol]) - closed).max(0.0)
    }
}

fn gateway_families(inner: &Inner) -> Vec<MetricFamily> {
    let view = View::of(inner);
    let mut out = Families::new(&inner.namespace);
    listener_families(&view, &mut out);
    session_families(&view, &mut out);
    protocol_families(&view, &mut out);
    stream_families(&view, &mut out);
    request_families(&view, &mut out);
    actor_families(&view, &mut out);
    state_families(&view, &mut out);
    out.finish()
}

fn listener_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::LISTENER_INFO, |out| {
        for listener in &view.listeners {
            out.value([&listener.name, &listener.address], 1.0);
        }
    });
    out.family(&catalogue::LISTENER_ACCEPTING, |out| {
        for listener in &view.listeners {
            out.value([&listener.name], f64::from(u8::from(listener.accepting)));
        }
    });
    out.family(&catalogue::LISTENER_CONNECTIONS, |out| {
        for listener in &view.listeners {
            for result in ConnectionResult::ALL {
                let labels = [&listener.name, result.label()];
                out.value(labels, listener.sum(|cells| &cells.connections[*result]));
            }
        }
    });
    out.family(&catalogue::TLS_HANDSHAKES, |out| {
        for listener in &view.listeners {
            for result in TlsResult::ALL {
                for version in TlsVersion::ALL {
                    let labels = [&listener.name, result.label(), version.label()];
                    out.value(labels, listener.sum(|cells| &cells.tls_handshakes[*result][*version]));
                }
            }
        }
    });
    out.family(&catalogue::TLS_HANDSHAKE_DURATION, |out| {
        for listener in &view.listeners {
            let parts = listener.cells.iter().map(|cells| &cells.tls_handshake_duration);
            out.histogram([&*listener.name], &Merged::of(parts));
        }
    });
}

fn session_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::SESSIONS_ACTIVE, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                out.value([&listener.name, protocol.label()], listener.sessions_active(*protocol));
            }
        }
    });
    out.family(&catalogue::SESSIONS_OPENED, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                let labels = [&listener.name, protocol.label()];
                out.value(labels, listener.sum(|cells| &cells.sessions_opened[*protocol]));
            }
        }
    });
    out.family(&catalogue::SESSIONS_CLOSED, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                for reason in CloseReason::ALL {
                    let labels = [&listener.name, protocol.label(), reason.label()];
                    out.value(labels, listener.sum(|cells| &cells.sessions_closed[*protocol][*reason]));
                }
            }
        }
    });
    out.family(&catalogue::SESSION_LIFETIME, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                let parts = listener.cells.iter().map(|cells| &cells.session_lifetime[*protocol]);
                out.histogram([&listener.name, protocol.label()], &Merged::of(parts));
            }
        }
    });
    out.family(&catalogue::SESSION_LIFETIME_STREAMS, |out| {
        for listener in &view.listeners {
            let parts = listener.cells.iter().map(|cells| &cells.session_lifetime_streams);
            out.histogram([&*listener.name], &Merged::of(parts));
        }
    });
    out.family(&catalogue::NETWORK_BYTES, |out| {
        for listener in &view.listeners {
            for direction in Direction::ALL {
                let labels = [&listener.name, direction.label()];
                out.value(labels, listener.sum(|cells| &cells.network_bytes[*direction]));
            }
        }
    });
    out.family(&catalogue::WRITE_QUEUE_BYTES, |out| {
        for listener in &view.listeners {
            let bytes: i64 = listener.cells.iter().map(|cells| cells.write_queue_bytes.get()).sum();
            out.value([&*listener.name], bytes as f64);
        }
    });
    out.family(&catalogue::SESSION_MEMORY, |out| {
        for listener in &view.listeners {
            let bytes: i64 = listener.cells.iter().map(|cells| cells.session_memory_bytes.get()).sum();
            out.value([&*listener.name], bytes as f64);
        }
    });
}

fn protocol_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::H2_FRAMES, |out| {
        for listener in &view.listeners {
            for direction in Direction::ALL {
                for frame in FrameType::ALL {
                    let labels = [&listener.name, direction.label(), frame.label()];
                    out.value(labels, listener.sum(|cells| &cells.h2_frames[*direction][*frame]));
                }
            }
        }
    });
    out.family(&catalogue::H2_ERRORS, |out| {
        for listener in &view.listeners {
            for scope in Scope::ALL {
                for origin in Origin::ALL {
                    for code in H2Code::ALL {
                        let labels = [&listener.name, scope.label(), origin.label(), code.label()];
                        out.value(labels, listener.sum(|cells| &cells.h2_errors[*scope][*origin][*code]));
                    }
                }
            }
        }
    });
    out.family(&catalogue::H2_FLOW_STALLS, |out| {
        for listener in &view.listeners {
            for scope in Scope::ALL {
                let labels = [&listener.name, scope.label()];
                out.value(labels, listener.sum(|cells| &cells.h2_flow_stalls[*scope]));
            }
        }
    });
    out.family(&catalogue::H2_FLOW_STALLED_SECONDS, |out| {
        for listener in &view.listeners {
            for scope in Scope::ALL {
                let labels = [&listener.name, scope.label()];
                out.value(labels, listener.sum(|cells| &cells.h2_flow_stalled_nanos[*scope]) / 1e9);
            }
        }
    });
    out.family(&catalogue::H2_PING_RTT, |out| {
        for listener in &view.listeners {
            let parts = listener.cells.iter().map(|cells| &cells.h2_ping_rtt);
            out.histogram([&*listener.name], &Merged::of(parts));
        }
    });
    out.family(&catalogue::TIMEOUTS, |out| {
        for listener in &view.listeners {
            for kind in TimeoutKind::ALL {
                for action in TimeoutAction::ALL {
                    let labels = [&listener.name, kind.label(), action.label()];
                    out.value(labels, listener.sum(|cells| &cells.timeouts[*kind][*action]));
                }
            }
        }
    });
    out.family(&catalogue::ABUSE, |out| {
        for listener in &view.listeners {
            for kind in AbuseKind::ALL {
                out.value([&listener.name, kind.label()], listener.sum(|cells| &cells.abuse[*kind]));
            }
        }
    });
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
                let parts = cells.iter().map(|cells| &cells.request_duration);
                out.histogram([&listener.name, route], &Merged::of(parts));
            }
        }
    });
    out.family(&catalogue::RESPONSE_START, |out| {
        for listener in &view.listeners {
            for (route, cells) in &listener.routes {
                let parts = cells.iter().map(|cells| &cells.response_start);
                out.histogram([&listener.name, route], &Merged::of(parts));
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

fn actor_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::ACTORS, |out| {
        for kind in ActorKind::ALL {
            let alive: i64 = view.shards.iter().map(|shard| shard.actors()[*kind].alive.get()).sum();
            out.value([kind.label()], alive as f64);
        }
    });
    let mut counter = |family, cell: fn(&ActorCounts) -> &Cell| {
        out.family(family, |out| {
            for kind in ActorKind::ALL {
                out.value([kind.label()], view.actors(*kind, cell));
            }
        });
    };
    counter(&catalogue::ACTOR_STARTED, |counts| &counts.started);
    counter(&catalogue::ACTOR_RESTARTS, |counts| &counts.restarts);
    counter(&catalogue::ACTOR_PANICS, |counts| &counts.panics);
    counter(&catalogue::ACTOR_MAILBOX_FULL, |counts| &counts.mailbox_full);
}

fn state_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::BUILD_INFO, |out| {
        if let Some(build) = &*unpoisoned(&view.inner.build) {
            out.value([&build.version, &build.revision], 1.0);
        }
    });
    for (family, flag) in [
        (&catalogue::READY, &view.inner.ready),
        (&catalogue::DRAINING, &view.inner.draining),
        (&catalogue::OVERLOADED, &view.inner.overloaded),
    ] {
        out.family(family, |out| out.value([], f64::from(u8::from(flag.load(Ordering::Relaxed)))));
    }
}

fn process_families() -> Vec<MetricFamily> {
    let figures = ProcessFigures::read();
    let mut out = Families::new("");
    for (family, figure) in [
        (&catalogue::PROCESS_CPU_SECONDS, figures.cpu_seconds),
        (&catalogue::PROCESS_RESIDENT_MEMORY_BYTES, figures.resident_bytes),
        (&catalogue::PROCESS_OPEN_FDS, figures.open_fds),
        (&catalogue::PROCESS_MAX_FDS, figures.max_fds),
        (&catalogue::PROCESS_START_TIME_SECONDS, figures.start_time),
    ] {
        out.family(family, |out| {
            if let Some(figure) = figure {
                out.value([], figure);
            }
        });
    }
    out.finish()
}
