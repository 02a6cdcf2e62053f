//! Sessions that are resumed (RFC 8446 §2.2, RFC 5077): tickets, and ids of a bounded number of sessions.
//!
//! rustls takes over from a session what its client proved when it began, and asks nothing anew. So nothing is
//! resumed on a listener that asks clients for certificates: an authority that is believed no longer and a
//! certificate that has expired count from the next connection on.
//!
//! Invariant: keys and sessions are of one listener alone; what another let in cannot be resumed here.

use std::sync::Arc;

use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use stagedoor_actors::crypto;

use super::TlsError;
use super::clients::Clients;

/// Sessions that are resumed by id: TLS 1.2 without tickets. Some hundred octets each.
const SESSIONS: usize = 4096;

/// Tickets and ids of one listener.
#[derive(Debug)]
pub(super) struct Resumption {
    clients: Arc<Clients>,
    /// Their key is new every 6 hours, the one before is good for as long again. `None`: sessions are resumed by id alone.
    tickets: Option<Arc<dyn ProducesTickets>>,
    sessions: Arc<ServerSessionMemoryCache>,
}

impl Resumption {
    pub(super) fn new(clients: Arc<Clients>) -> Result<Self, TlsError> {
        let sessions = ServerSessionMemoryCache::new(SESSIONS);
        Ok(Self { clients, tickets: crypto::ticketer()?, sessions })
    }

    fn on(&self) -> bool {
        !self.clients.asks()
    }

    fn tickets(&self) -> Option<&dyn ProducesTickets> {
        self.tickets.as_deref().filter(|_| self.on())
    }
}

impl ProducesTickets for Resumption {
    fn enabled(&self) -> bool {
        self.tickets().is_some()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.as_ref().map_or(0, |tickets| tickets.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets()?.decrypt(cipher)
    }
}

impl StoresServerSessions for Resumption {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.on() && self.sessions.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.on().then(|| self.sessions.get(key)).flatten()
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.on().then(|| self.sessions.take(key)).flatten()
    }

    fn can_cache(&self) -> bool {
        self.on()
    }
}
