//! Listeners that come, go and change while the server runs: all of a set of changes, or none.
//!
//! A session keeps what it began with. Invariant: what can fail is done by [`ServerHandle::prepare`], before anything that
//! runs has changed; new sockets listen before old ones close, and a socket that is asked for again is never closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::posts::{Handle, New};
use super::{BindError, ReconfigureError, ServerHandle};
use crate::config::ListenerConfig;
use crate::listener::{Bind, Bound, PostId};
use crate::service::ServiceFactory;

/// What is to change; see [`ServerHandle::prepare`].
///
/// ```
/// use std::time::Duration;
///
/// use stagedoor_actors::{Changes, ListenerConfig, ReconfigureError, ServerHandle, facade};
///
/// async fn change(server: &ServerHandle) -> Result<usize, ReconfigureError> {
///     let config = ListenerConfig::new("new", ([127, 0, 0, 1], 8081).into());
///     let hello = facade::handler(async |_: facade::HttpRequest| "hello");
///     let changes = Changes::new().add(config, hello, false).remove("old", Duration::from_secs(10));
///     server.reload(changes).await
/// }
/// ```
#[derive(Default)]
pub struct Changes {
    added: Vec<(ListenerConfig, ServiceFactory, bool)>,
    changed: Vec<(ListenerConfig, Option<ServiceFactory>)>,
    removed: Vec<(String, Duration)>,
}

impl Changes {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another listener, as by [`ServerBuilder::listen`](super::ServerBuilder::listen).
    #[must_use]
    pub fn add(mut self, config: ListenerConfig, service: ServiceFactory, keep_while_draining: bool) -> Self {
        self.added.push((config, service, keep_while_draining));
        self
    }

    /// The listener of this name is told all anew. It keeps its service.
    #[must_use]
    pub fn reconfigure(mut self, config: ListenerConfig) -> Self {
        self.changed.push((config, None));
        self
    }

    /// The same, and it has another service for sessions that begin from now on.
    #[must_use]
    pub fn reconfigure_with(mut self, config: ListenerConfig, service: ServiceFactory) -> Self {
        self.changed.push((config, Some(service)));
        self
    }

    /// The listener stops accepting, its sessions are drained and cut off after `grace`; then it is forgotten.
    #[must_use]
    pub fn remove(mut self, listener: &str, grace: Duration) -> Self {
        self.removed.push((listener.to_owned(), grace));
        self
    }
}

/// Changes that can be made: every configuration is sound, every socket listens. Dropping it gives them up, and with them
/// whoever connected to a new socket meanwhile. No other change begins while it lives.
///
/// ```
/// use stagedoor_actors::{Changes, ReconfigureError, ServerHandle};
///
/// /// Changes two servers, or none.
/// async fn both(one: (&ServerHandle, Changes), two: (&ServerHandle, Changes)) -> Result<(), ReconfigureError> {
///     let first = one.0.prepare(one.1).await?;
///     let second = two.0.prepare(two.1).await?;
///     first.commit().await;
///     second.commit().await;
///     Ok(())
/// }
/// ```
#[must_use = "nothing changes before it is committed"]
pub struct Prepared {
    server: ServerHandle,
    added: Vec<New>,
    changed: Vec<Changed>,
    removed: Vec<(Arc<Handle>, Duration)>,
    _turn: OwnedMutexGuard<()>,
}

/// A listener that is told all anew, with the sockets it has then.
struct Changed {
    handle: Arc<Handle>,
    config: Arc<ListenerConfig>,
    service: Option<ServiceFactory>,
    sockets: Vec<Bound>,
}

/// What a running server can be told by [`ServerHandle::reload`].
///
/// ```
/// use stagedoor_actors::{Changes, ReconfigureError, Reload, ServerHandle};
///
/// /// Takes every listener away but one.
/// struct Only(&'static str);
///
/// impl Reload for Only {
///     type Error = ReconfigureError;
///
///     fn changes(self, running: &ServerHandle) -> Result<Changes, ReconfigureError> {
///         let others = running.addresses().into_iter().map(|(name, _)| name).filter(|name| name != self.0);
///         Ok(others.fold(Changes::new(), |changes, name| changes.remove(&name, std::time::Duration::ZERO)))
///     }
/// }
/// ```
pub trait Reload {
    /// Why it cannot.
    type Error: From<ReconfigureError>;

    /// What is to be changed of a server that runs.
    /// # Errors
    /// What cannot be; nothing has changed then.
    fn changes(self, running: &ServerHandle) -> Result<Changes, Self::Error>;
}

impl Reload for Changes {
    type Error = ReconfigureError;

    fn changes(self, _: &ServerHandle) -> Result<Changes, ReconfigureError> {
        Ok(self)
    }
}

impl ServerHandle {
    /// Makes changes, all or none. Says how many sessions the listeners that were removed have left.
    /// # Errors
    /// What cannot be; nothing has changed then.
    pub async fn reload<R: Reload>(&self, changes: R) -> Result<usize, R::Error> {
        Ok(self.prepare(changes.changes(self)?).await?.commit().await)
    }

    /// Looks at every configuration and binds every new address; changes nothing yet. An address that moves from one
    /// listener to another in the same set takes its socket along, with whoever waits in its queue.
    /// # Errors
    /// [`ReconfigureError`]: the first thing that cannot be. Nothing has changed then.
    pub async fn prepare(&self, changes: Changes) -> Result<Prepared, ReconfigureError> {
        let turn = Arc::clone(&self.0.changing).lock_owned().await;
        let Changes { added, changed, removed } = changes;
        let told = changed.iter().map(|(config, _)| config);
        for config in added.iter().map(|(config, ..)| config).chain(told) {
            config.check()?;
        }
        let mut left: Vec<Arc<Handle>> =
            self.0.posts().iter().filter(|handle| !handle.is_leaving()).cloned().collect();
        let mut take = |name: &str| match left.iter().position(|handle| handle.name() == name) {
            Some(place) => Ok(left.swap_remove(place)),
            None => Err(ReconfigureError::NoListener(name.to_owned())),
        };
        let removed: Vec<_> = removed
            .into_iter()
            .map(|(name, grace)| Ok((take(&name)?, grace)))
            .collect::<Result<_, ReconfigureError>>()?;
        let changed: Vec<_> = changed
            .into_iter()
            .map(|(config, service)| Ok((take(&config.name)?, Arc::new(config), service)))
            .collect::<Result<_, ReconfigureError>>()?;
        let mut names: Vec<&str> = left
            .iter()
            .chain(changed.iter().map(|(handle, ..)| handle))
            .map(|handle| handle.name())
            .collect();
        for (config, ..) in &added {
            if names.contains(&&*config.name) {
                return Err(ReconfigureError::Exists(config.name.clone()));
            }
            names.push(&config.name);
        }
        let mut spare = Spare::default();
        let giving =
            removed.iter().map(|(handle, _)| handle).chain(changed.iter().map(|(handle, ..)| handle));
        giving.for_each(|handle| spare.take_in(handle));
        // Each keeps what it has first: only what it gives up is anybody's.
        let kept: Vec<_> =
            changed.iter().map(|(handle, config, _)| spare.keep(handle.id(), config)).collect();
        let changed = changed
            .into_iter()
            .zip(kept)
            .map(|((handle, config, service), kept)| {
                let sockets = spare.bind(&config, kept)?;
                Ok(Changed { handle, config, service, sockets })
            })
            .collect::<Result<_, ReconfigureError>>()?;
        let added = added
            .into_iter()
            .map(|(config, factory, keep)| {
                let sockets = spare.bind(&config, vec![None; config.bind.len()])?;
                Ok(New { config: Arc::new(config), factory, keep, sockets })
            })
            .collect::<Result<_, ReconfigureError>>()?;
        Ok(Prepared { server: self.clone(), added, changed, removed, _turn: turn })
    }

    /// Adds a listener and lets it accept.
    /// # Errors
    /// [`ReconfigureError`]; nothing has changed then.
    pub async fn add_listener(
        &self,
        config: ListenerConfig,
        service: ServiceFactory,
        keep_while_draining: bool,
    ) -> Result<(), ReconfigureError> {
        let changes = Changes::new().add(config, service, keep_while_draining);
        self.prepare(changes).await?.commit().await;
        Ok(())
    }

    /// Takes a listener down for good: it stops accepting, its sessions are drained and cut off after `grace`; then it is
    /// forgotten. Waits for none of them; says how many there are. What was counted of it stays.
    /// # Errors
    /// [`ReconfigureError::NoListener`].
    pub async fn remove_listener(&self, listener: &str, grace: Duration) -> Result<usize, ReconfigureError> {
        Ok(self.prepare(Changes::new().remove(listener, grace)).await?.commit().await)
    }

    /// Tells the listener of that name all anew: TLS, limits, windows, deadlines, for sessions that begin from now on, and
    /// addresses. It keeps its service, and a socket it has already stays as it is, `reuse_port` included. What
    /// [`Self::update_settings`] and [`Self::set_timeouts`] told it is forgotten.
    /// # Errors
    /// [`ReconfigureError`]; nothing has changed then.
    pub async fn reconfigure(&self, config: ListenerConfig) -> Result<(), ReconfigureError> {
        self.prepare(Changes::new().reconfigure(config)).await?.commit().await;
        Ok(())
    }
}

impl Prepared {
    /// Makes the changes. Says how many sessions the listeners that were removed have left.
    pub async fn commit(self) -> usize {
        let Self { server, added, changed, removed, _turn } = self;
        // Whoever takes a socket over accepts from it before the other stops.
        for new in added {
            server.0.open(new).await;
        }
        for Changed { handle, config, service, sockets } in changed {
            server.0.change(&handle, config, service, sockets).await;
        }
        let mut left = 0;
        for (handle, grace) in removed {
            left += server.retire(handle, grace).await;
        }
        left
    }
}

/// Sockets of listeners that change or go.
#[derive(Default)]
struct Spare(Vec<(PostId, Bound)>);

impl Spare {
    fn take_in(&mut self, handle: &Handle) {
        let door = handle.post.door();
        self.0.extend(door.sockets.iter().map(|socket| (handle.id(), socket.asked_as(&socket.asked))));
    }

    fn take(&mut self, fits: impl Fn(PostId, &Bound) -> bool, bind: &Bind) -> Option<Bound> {
        let place = self.0.iter().position(|(post, socket)| fits(*post, socket))?;
        Some(self.0.swap_remove(place).1.asked_as(bind))
    }

    /// For each address of a listener the socket that it has.
    fn keep(&mut self, own: PostId, config: &ListenerConfig) -> Vec<Option<Bound>> {
        let keep = |bind| self.take(|post, socket| post == own && socket.is(bind), bind);
        config.bind.iter().map(keep).collect()
    }

    /// Binds what a listener does not have, or takes it over from one that gives it up.
    fn bind(
        &mut self,
        config: &ListenerConfig,
        kept: Vec<Option<Bound>>,
    ) -> Result<Vec<Bound>, ReconfigureError> {
        let mut sockets = Vec::with_capacity(config.bind.len());
        for (bind, kept) in config.bind.iter().zip(kept) {
            let socket = match kept.or_else(|| self.take(|_, socket| socket.place == *bind, bind)) {
                Some(socket) => socket,
                None => Bound::new(bind, &config.bind, config.reuse_port)
                    .map_err(|source| Arc::new(BindError::new(&config.name, bind, source)))
                    .map_err(ReconfigureError::Bind)?,
            };
            sockets.push(socket);
        }
        Ok(sockets)
    }
}
