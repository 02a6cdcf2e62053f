//! What a configured gateway runs on, and what a reload replaces: routes, certificates, upstreams, and the configuration
//! they are of.
//!
//! Invariant: all of it is of one configuration; a load that fails leaves all of it as it was.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use stagedoor::admin::Token;
use stagedoor::admin::operations::{LastError, NotReloaded, Reloaded};
use stagedoor::config::{self, Config, Defaults, Loaded};
use stagedoor::demo;
use stagedoor::devca;
use stagedoor::files::Directory;
use stagedoor::filter::LogHandle;
use stagedoor::gateway::{Gateway, Hooks, Needs, Site};
use stagedoor::sockets::Sockets;
use stagedoor::tls::{self, ClientIdentity, Prepared, Store};
use stagedoor::upstream::Upstreams;
use stagedoor::{Bind, ListenerConfig, Metrics, ServerHandle, ServerSlot, ServiceFactory, SessionInfo};
use stagedoor_protocol::Fields;
use tokio::sync::{mpsc, oneshot};

use super::{Blueprint, Flags};
use crate::failure::{Exit, Failure};

/// Certificates of listeners, by the listener's name.
pub(super) type Stores = HashMap<String, Arc<Store>>;

/// See the module.
pub(crate) struct Engine {
    /// The file that is read again.
    pub(super) file: Option<PathBuf>,
    pub(super) flags: Flags,
    pub(super) defaults: Defaults,
    pub(super) metrics: Metrics,
    pub(super) log: LogHandle,
    pub(super) show_query: bool,
    pub(super) observed: bool,
    /// Of the admin address.
    pub(super) token: Option<Token>,
    sockets: Sockets,
    slot: ServerSlot,
    pub(super) site: Arc<ArcSwap<Site>>,
    pub(super) stores: Arc<ArcSwap<Stores>>,
    demo_files: Option<Directory>,
    current: Mutex<Current>,
    /// One load at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// The files that matter are others now.
    pub(super) moved: tokio::sync::Notify,
    /// Somebody wants a reload and to hear how it went.
    pub(super) orders: mpsc::Sender<Order>,
}

/// Who asked for a reload.
pub(super) type Order = oneshot::Sender<Result<Reloaded, NotReloaded>>;

/// What is in force.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) config: Arc<Config>,
    pub(super) loaded: Option<Arc<Loaded>>,
    pub(super) upstreams: Upstreams,
    pub(super) loaded_at: SystemTime,
    pub(super) last_error: Option<LastError>,
}

impl Engine {
    /// Reads certificates, opens directories, sets up upstreams. Nothing listens or runs yet.
    pub(super) fn new(
        blueprint: Blueprint,
        sockets: Sockets,
        metrics: Metrics,
        log: LogHandle,
        show_query: bool,
        token: Option<Token>,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Order>), Failure> {
        let Blueprint { config, file, flags, sessions, observed, .. } = blueprint;
        let config = Arc::new(config);
        let wants_demo = config.routes.iter().any(|route| matches!(route.action, config::Action::Demo));
        let demo_files = wants_demo.then(|| devca::state_dir().ok()).flatten().and_then(|state| {
            let unpacked = demo::unpack_files(&state);
            unpacked.inspect_err(|error| tracing::warn!(%error, "the demo has no /files/")).ok()
        });
        let mut stores = Stores::new();
        for listener in &config.listeners {
            if let Some(told) = &listener.tls {
                let store =
                    Store::open(told, None, &metrics).map_err(|errors| unusable(&listener.name, &errors))?;
                stores.insert(listener.name.clone(), store);
            }
        }
        let upstreams = Upstreams::new(&config.upstreams, &metrics, None)
            .map_err(|error| Failure::new(Exit::Input, error.to_string()))?;
        let stores = Arc::new(ArcSwap::from_pointee(stores));
        let slot = ServerSlot::default();
        let needs = Needs {
            metrics: &metrics,
            server: Arc::clone(&slot),
            upstreams: &upstreams,
            demo_files: demo_files.clone(),
            hooks: hooks(&metrics, &stores),
            previous: None,
        };
        let site =
            Site::new(&config, &needs).map_err(|error| Failure::new(Exit::Input, error.to_string()))?;
        let (file, loaded) = file.map(|(path, loaded)| (path, Arc::new(*loaded))).unzip();
        let current = Current { config, loaded, upstreams, loaded_at: SystemTime::now(), last_error: None };
        let (orders, ordered) = mpsc::channel(8);
        let engine = Self {
            file,
            flags,
            defaults: Defaults { sessions: u32::try_from(sessions).unwrap_or(u32::MAX) },
            metrics,
            log,
            show_query,
            observed,
            token,
            sockets,
            slot,
            site: Arc::new(ArcSwap::from_pointee(site)),
            stores,
            demo_files,
            current: Mutex::new(current),
            turn: tokio::sync::Mutex::default(),
            moved: tokio::sync::Notify::new(),
            orders,
        };
        Ok((Arc::new(engine), ordered))
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.held().config)
    }

    /// The server, for those who are made before it is.
    pub(super) fn slot(&self) -> ServerSlot {
        Arc::clone(&self.slot)
    }

    pub(super) fn server(&self) -> Option<&ServerHandle> {
        self.slot.get()
    }

    /// What it is configured by.
    pub(super) fn source(&self) -> String {
        self.file.as_ref().map_or_else(|| "command line".to_owned(), |file| file.display().to_string())
    }

    /// Every listener as the server is told of it.
    pub(super) fn listeners(&self, observed: bool) -> Result<Vec<(ListenerConfig, ServiceFactory)>, Failure> {
        let config = self.config();
        let stores = self.stores.load();
        let made = config.listeners.iter().map(|listener| {
            let mut engine = self.listener(listener, &config, &stores)?;
            engine.observed = observed;
            Ok((engine, self.factory(&listener.name)))
        });
        made.collect()
    }

    pub(super) fn factory(&self, listener: &str) -> ServiceFactory {
        Gateway::factory(Arc::clone(&self.site), listener)
    }

    pub(super) fn listener(
        &self,
        listener: &config::Listener,
        config: &Config,
        stores: &Stores,
    ) -> Result<ListenerConfig, Failure> {
        let tls = match (&listener.tls, stores.get(&listener.name)) {
            (Some(told), Some(store)) => {
                let made = tls::server_config(told, store);
                Some(Arc::new(made.map_err(|error| unusable(&listener.name, &[error]))?))
            }
            _ => None,
        };
        let made = self.sockets.listener(listener, &config.server, tls);
        let mut made = made.map_err(|error| {
            Failure::new(Exit::Reach, format!("listener {:?}: {error}", listener.name)).with_way_out(
                "start it with the sockets it names (systemd.socket(5), LISTEN_FDS), or give it an address",
            )
        })?;
        made.observed = self.observed;
        made.show_query = self.show_query;
        // What clients and servers say twice is passed on as it is.
        made.options.strict_single_value_fields = false;
        Ok(made)
    }

    /// What the admin listener binds.
    pub(super) fn binds(&self, bind: &config::Bind) -> Result<Vec<Bind>, Failure> {
        self.sockets
            .binds(bind)
            .map_err(|error| Failure::new(Exit::Reach, format!("listener \"admin\": {error}")))
    }

    /// A site for another configuration.
    pub(super) fn site_of(
        &self,
        config: &Config,
        upstreams: &Upstreams,
    ) -> Result<Site, stagedoor::gateway::SiteError> {
        let previous = self.site.load();
        let needs = Needs {
            metrics: &self.metrics,
            server: self.slot(),
            upstreams,
            demo_files: self.demo_files.clone(),
            hooks: hooks(&self.metrics, &self.stores),
            previous: Some(&previous),
        };
        Site::new(config, &needs)
    }

    /// The server runs: checks, resolvers and whoever waited for it begin.
    pub(super) fn started(&self, server: &ServerHandle) -> Result<(), Failure> {
        // Only this function fills the slot.
        let _ = self.slot.set(server.clone());
        let current = self.held().clone();
        current.upstreams.start(&current.config.server.dns_servers).map_err(|error| {
            Failure::new(Exit::Input, error.to_string()).with_way_out("name servers by server.dns_servers")
        })
    }

    /// Reads certificates for another configuration: those of new listeners, and for those that are there.
    pub(super) fn prepare(config: &Config) -> Result<HashMap<String, Prepared>, Failure> {
        let mut prepared = HashMap::new();
        for listener in &config.listeners {
            if let Some(told) = &listener.tls {
                let read = Prepared::read(told, None).map_err(|errors| unusable(&listener.name, &errors))?;
                prepared.insert(listener.name.clone(), read);
            }
        }
        Ok(prepared)
    }
}

fn unusable(listener: &str, errors: &[tls::TlsError]) -> Failure {
    let what: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let failure = Failure::new(Exit::Input, format!("listener {listener:?}: {}", what.join("; ")));
    match errors.first() {
        Some(error) => failure.with_way_out(error.help()),
        None => failure,
    }
}

/// What routes ask of certificates and tell the metrics.
fn hooks(metrics: &Metrics, stores: &Arc<ArcSwap<Stores>>) -> Hooks {
    let stores = Arc::clone(stores);
    let covers = move |listener: &str, sni: &str, host: &str| {
        stores.load().get(listener).is_none_or(|store| store.serves(sni, host))
    };
    let metrics = metrics.clone();
    Hooks {
        covers: Some(Arc::new(covers)),
        certificate: Some(Arc::new(tell_certificate)),
        limited: Some(Arc::new(move |route| metrics.rate_limited(route).inc())),
    }
}

/// Who the client is, by the certificate it showed.
fn tell_certificate(session: &SessionInfo, fields: &mut Fields) {
    let shown = session.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
    let Some(identity) = shown.and_then(|certificate| ClientIdentity::parse(certificate.der())) else {
        return;
    };
    fields.push("x-client-cert-subject", &identity.subject);
    if !identity.san.is_empty() {
        fields.push("x-client-cert-san", &identity.san);
    }
    fields.push("x-client-cert-fingerprint", &identity.fingerprint);
}
