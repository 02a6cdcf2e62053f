//! A reload: the configuration is read again, everything it needs is made ready, and only then is anything replaced.
//!
//! Sessions survive: new streams see the new routes, streams that run keep the old ones, listeners that stay keep their
//! sockets. Invariant: a load that fails changes nothing, is counted, and says all that is wrong.

use std::sync::Arc;
use std::time::SystemTime;

use stagedoor::admin::Token;
use stagedoor::admin::operations::{LastError, NotReloaded, Reloaded};
use stagedoor::config::{self, Config, Loaded};
use stagedoor::tls::Store;
use stagedoor::upstream::Upstreams;
use stagedoor::{Changes, notify};
use stagedoor_metrics::ReloadResult;

use super::engine::{Current, Engine, Stores};

impl Engine {
    /// Reads the file again; all or nothing.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<Reloaded, NotReloaded> {
        if self.file.is_none() {
            tracing::info!("there is no configuration file to read again");
            return Err(NotReloaded::NoFile);
        }
        let _turn = self.turn.lock().await;
        notify::reloading();
        let result = self.load().await;
        let now = SystemTime::now();
        match &result {
            Ok(reloaded) => {
                self.metrics.config_reloaded(ReloadResult::Ok, now);
                tracing::info!(changed = reloaded.changed.len(), "the configuration was reloaded");
                for sentence in &reloaded.changed {
                    tracing::info!("{sentence}");
                }
                for sentence in &reloaded.needs_restart {
                    tracing::warn!("only a new process will do: {sentence}");
                }
            }
            Err(NotReloaded::Refused { count, errors }) => {
                self.metrics.config_reloaded(ReloadResult::Error, now);
                tracing::error!(count, "the configuration was not reloaded; the old one stays:\n{errors}");
                self.held().last_error = Some(LastError { at: now, errors: errors.clone() });
            }
            Err(NotReloaded::NoFile) => {}
        }
        notify::ready(match &result {
            Ok(_) => "serving; the configuration was reloaded",
            Err(_) => "serving; the last reload was refused",
        });
        result
    }

    async fn load(self: &Arc<Self>) -> Result<Reloaded, NotReloaded> {
        let server = self.server().ok_or_else(|| refused("the server does not run yet"))?.clone();
        let engine = Arc::clone(self);
        // Files are read: not on an arbiter.
        let made = tokio::task::spawn_blocking(move || engine.make()).await;
        let made = made.map_err(|error| refused(error.to_string()))??;
        let Made { loaded, config, upstreams, site, mut prepared, token } = made;
        let before = self.held().clone();
        let mut stores = Stores::clone(&self.stores.load());
        let mut fresh = Fresh { engine: self, stores: Vec::new() };
        let mut changes = Changes::new();
        for listener in &config.listeners {
            let known = before.config.listeners.iter().find(|known| known.name == listener.name);
            // A store that is there is told only when everything else is certain.
            if listener.tls.is_some() && !stores.contains_key(&listener.name) {
                let Some(read) = prepared.remove(&listener.name) else {
                    return Err(refused("a certificate was not read"));
                };
                let store = Store::new(read, &self.metrics);
                fresh.stores.push(Arc::clone(&store));
                stores.insert(listener.name.clone(), store);
            }
            if known == Some(listener)
                && config.server.trusted_proxies == before.config.server.trusted_proxies
            {
                continue;
            }
            let made =
                self.listener(listener, &config, &stores).map_err(|failure| refused(failure.message()))?;
            changes = match known {
                Some(_) => changes.reconfigure(made),
                None => changes.add(made, self.factory(&listener.name), false),
            };
        }
        let gone =
            |known: &&config::Listener| !config.listeners.iter().any(|listener| listener.name == known.name);
        for known in before.config.listeners.iter().filter(gone) {
            changes = changes.remove(&known.name, config.server.drain.timeout);
            stores.remove(&known.name);
        }
        let ready = server.prepare(changes).await.map_err(|error| refused(error.to_string()))?;
        upstreams.start(&config.server.dns_servers).map_err(|error| refused(error.to_string()))?;
        // From here on nothing fails.
        if let (Some(known), Some(token)) = (&self.token, &token) {
            known.become_another(token);
        }
        fresh.stores.clear();
        for (name, prepared) in prepared {
            if let Some(store) = stores.get(&name) {
                store.put(prepared);
            }
        }
        stores.retain(|name, _| config.listeners.iter().any(|one| one.name == *name && one.tls.is_some()));
        let stores = Arc::new(stores);
        for (name, store) in self.stores.swap(Arc::clone(&stores)).iter() {
            if !stores.contains_key(name) {
                store.retire();
            }
        }
        // What is gone may have had a certificate that others show too.
        stores.values().for_each(|store| store.announce());
        self.site.store(Arc::new(site));
        ready.commit().await;
        before.upstreams.retire_but(&upstreams);
        self.metrics.set_tables(config.tables.clone());
        if !self.flags.says_log()
            && config.log.level != before.config.log.level
            && let Err(error) = self.log.set(&config.log.level)
        {
            tracing::warn!(%error, "the log filter stays as it was");
        }
        let reloaded = differences(&before.config, &config);
        *self.held() = Current {
            config,
            loaded: Some(loaded),
            upstreams,
            loaded_at: SystemTime::now(),
            last_error: None,
        };
        self.moved.notify_one();
        Ok(reloaded)
    }

    /// Everything that can be made without changing anything. It blocks.
    fn make(&self) -> Result<Made, NotReloaded> {
        let Some(file) = &self.file else { return Err(NotReloaded::NoFile) };
        let loaded =
            config::load(file, crate::configure::environment(), &self.defaults).map_err(|faults| {
                NotReloaded::Refused { count: faults.errors(), errors: faults.render(false) }
            })?;
        let mut config = loaded.config.clone();
        self.flags.apply(&mut config).map_err(|failure| refused(failure.message()))?;
        let prepared = Self::prepare(&config).map_err(|failure| refused(failure.message()))?;
        let before = self.held().upstreams.clone();
        let upstreams = Upstreams::new(&config.upstreams, &self.metrics, Some(&before));
        let upstreams = upstreams.map_err(|error| refused(error.to_string()))?;
        let site = self.site_of(&config, &upstreams).map_err(|error| refused(error.to_string()))?;
        let token = config.admin.token_file.as_deref().map(crate::serve::read_token).transpose();
        let token = token.map_err(|failure| refused(failure.message()))?;
        Ok(Made { loaded: Arc::new(loaded), config: Arc::new(config), upstreams, site, prepared, token })
    }
}

/// A configuration made ready.
struct Made {
    loaded: Arc<Loaded>,
    config: Arc<Config>,
    upstreams: Upstreams,
    site: stagedoor::gateway::Site,
    prepared: std::collections::HashMap<String, stagedoor::tls::Prepared>,
    token: Option<Token>,
}

/// Certificates of listeners that are not there yet. Where the load fails they were never there.
struct Fresh<'a> {
    engine: &'a Engine,
    stores: Vec<Arc<Store>>,
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if self.stores.is_empty() {
            return;
        }
        self.stores.iter().for_each(|store| store.retire());
        self.engine.stores.load().values().for_each(|store| store.announce());
    }
}

fn refused(error: impl Into<String>) -> NotReloaded {
    NotReloaded::Refused { count: 1, errors: error.into() }
}

/// What a person would say has changed.
fn differences(before: &Config, after: &Config) -> Reloaded {
    let mut told = Reloaded::default();
    compare(&mut told.changed, "listener", &before.listeners, &after.listeners, |one| &one.name);
    compare(&mut told.changed, "upstream", &before.upstreams, &after.upstreams, |one| &one.name);
    compare(&mut told.changed, "route", &before.routes, &after.routes, |one| &one.name);
    let names = |config: &Config| config.routes.iter().map(|route| route.name.clone()).collect::<Vec<_>>();
    if told.changed.is_empty() && names(before) != names(after) {
        told.changed.push("the order of routes changed".to_owned());
    }
    let parts = [
        (before.server.drain != after.server.drain, "server.drain changed"),
        (before.server.trusted_proxies != after.server.trusted_proxies, "server.trusted_proxies changed"),
        (before.tables != after.tables, "metrics changed"),
        (before.log.level != after.log.level, "log.level changed"),
    ];
    told.changed.extend(parts.iter().filter(|(changed, _)| *changed).map(|(_, what)| (*what).to_owned()));
    let fixed = [
        (before.server.workers != after.server.workers, "server.workers changed"),
        (before.admin != after.admin, "admin changed"),
        (before.log.access != after.log.access, "log.access changed"),
        (before.server.dns_servers != after.server.dns_servers, "server.dns_servers changed"),
    ];
    told.needs_restart
        .extend(fixed.iter().filter(|(changed, _)| *changed).map(|(_, what)| (*what).to_owned()));
    told
}

fn compare<T: PartialEq>(
    told: &mut Vec<String>,
    kind: &str,
    before: &[T],
    after: &[T],
    name: impl Fn(&T) -> &String,
) {
    for one in after {
        match before.iter().find(|known| name(known) == name(one)) {
            None => told.push(format!("{kind} {:?} is new", name(one))),
            Some(known) if known != one => told.push(format!("{kind} {:?} changed", name(one))),
            Some(_) => {}
        }
    }
    for known in before {
        if !after.iter().any(|one| name(one) == name(known)) {
            told.push(format!("{kind} {:?} is gone", name(known)));
        }
    }
}
