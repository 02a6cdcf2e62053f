//! `Metrics`, the one handle of the process: lists listeners, routes and shards, and renders them.
//! Counts nothing itself (`shard.rs`) and adds nothing up (`collect.rs`).
//!
//! Invariant: what is listed stays listed. A shard is never removed, so a counter never goes back while
//! the process lives; a name is listed once, so no series appears twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use prometheus::core::Collector;

use crate::collect;
use crate::live::LiveSessions;
use crate::shard::{ListenerId, RouteId, Shard, unpoisoned};

/// The metrics of a process; a clone is the same metrics.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) namespace: String,
    pub(crate) listeners: Mutex<Vec<Arc<Listener>>>,
    pub(crate) routes: Mutex<Vec<Arc<str>>>,
    pub(crate) shards: Mutex<BTreeMap<u16, Arc<Shard>>>,
    pub(crate) ready: AtomicBool,
    pub(crate) draining: AtomicBool,
    pub(crate) overloaded: AtomicBool,
    pub(crate) build: Mutex<Option<Build>>,
    live: LiveSessions,
}

/// A listening socket as `listener_info` shows it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) address: Mutex<String>,
    pub(crate) accepting: AtomicBool,
}

/// What runs, as `build_info` shows it.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) version: String,
    pub(crate) revision: String,
}

impl Metrics {
    /// The `Content-Type` of [`Self::render_text`].
    pub const TEXT_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Metrics with nothing listed. `namespace` takes the place of `stagedoor` in the catalogue's names.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self(Arc::new(Inner {
            namespace: namespace.to_owned(),
            listeners: Mutex::default(),
            // In the order of `RouteId::UNMATCHED` and `RouteId::ADMIN`.
            routes: Mutex::new(vec!["_unmatched".into(), "_admin".into()]),
            shards: Mutex::default(),
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            overloaded: AtomicBool::new(false),
            build: Mutex::default(),
            live: LiveSessions::default(),
        }))
    }

    /// Lists a listener; a name already listed keeps its id and takes the new address.
    ///
    /// # Panics
    /// Past 65 535 listeners.
    pub fn add_listener(&self, name: &str, address: &str) -> ListenerId {
        let mut listeners = unpoisoned(&self.0.listeners);
        let place = match listeners.iter().position(|known| &*known.name == name) {
            Some(place) => {
                address.clone_into(&mut unpoisoned(&listeners[place].address));
                place
            }
            None => {
                listeners.push(Arc::new(Listener {
                    name: name.into(),
                    address: Mutex::new(address.to_owned()),
                    accepting: AtomicBool::new(false),
                }));
                listeners.len() - 1
            }
        };
        ListenerId(u16::try_from(place).expect("fewer than 65 536 listeners"))
    }

    /// Lists a route; a name already listed keeps its id.
    ///
    /// # Panics
    /// Past 65 535 routes.
    pub fn add_route(&self, name: &str) -> RouteId {
        let mut routes = unpoisoned(&self.0.routes);
        let place = routes.iter().position(|known| &**known == name).unwrap_or_else(|| {
            routes.push(name.into());
            routes.len() - 1
        });
        RouteId(u16::try_from(place).expect("fewer than 65 536 routes"))
    }

    /// The interned name of a listener, for [`SessionStats`](crate::SessionStats).
    #[must_use]
    pub fn listener_name(&self, id: ListenerId) -> Option<Arc<str>> {
        unpoisoned(&self.0.listeners).get(usize::from(id.get())).map(|listener| Arc::clone(&listener.name))
    }

    /// The shard of arbiter `worker`, made on first use and the same ever after: a worker started anew on
    /// its arbiter goes on where it was. Only that arbiter's thread may count in it, so the thread that
    /// runs the listeners takes a number of its own.
    #[must_use]
    pub fn shard(&self, worker: u16) -> Arc<Shard> {
        Arc::clone(unpoisoned(&self.0.shards).entry(worker).or_default())
    }

    /// Whether both are handles of one registry.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Every open session.
    #[must_use]
    pub fn live(&self) -> &LiveSessions {
        &self.0.live
    }

    /// Whether the process takes traffic.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether the process drains.
    pub fn set_draining(&self, draining: bool) {
        self.0.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether the process takes no new sessions, or sheds idle ones.
    pub fn set_overloaded(&self, overloaded: bool) {
        self.0.overloaded.store(overloaded, Ordering::Relaxed);
    }

    /// What runs; `build_info` is shown once this is known.
    pub fn set_build(&self, version: &str, revision: &str) {
        *unpoisoned(&self.0.build) = Some(Build { version: version.into(), revision: revision.into() });
    }

    /// Whether a listener accepts connections; false until said otherwise.
    pub fn set_accepting(&self, id: ListenerId, accepting: bool) {
        if let Some(listener) = unpoisoned(&self.0.listeners).get(usize::from(id.get())) {
            listener.accepting.store(accepting, Ordering::Relaxed);
        }
    }

    /// A collector for a foreign [`prometheus::Registry`]. Leaves `process_*` out, which such a registry
    /// has from elsewhere.
    #[must_use]
    pub fn collector(&self) -> impl Collector + 'static {
        collect::GatewayCollector::new(Arc::clone(&self.0))
    }

    /// Everything as Prometheus text 0.0.4, `process_*` included. Takes milliseconds: call it on a
    /// blocking thread, not on an arbiter.
    #[must_use]
    pub fn render_text(&self) -> Vec<u8> {
        collect::render_text(&self.0)
    }
}
