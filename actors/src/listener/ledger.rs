//! Who holds how many sessions of a listener. Outlives the Listener actor, so that a restart forgets nothing;
//! locked when a session opens or ends, never in between.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stagedoor_metrics::ConnectionResult;
use tokio::sync::Notify;

use crate::events::LimitKind;
use crate::overload::Overload;

/// Sessions on each arbiter, over all listeners.
pub(crate) type Loads = Arc<[AtomicUsize]>;

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The listener has as many sessions as it may.
    Listener,
    /// The address has.
    Address,
}

impl From<Full> for ConnectionResult {
    fn from(full: Full) -> Self {
        match full {
            Full::Listener => Self::RefusedLimit,
            Full::Address => Self::RefusedAddress,
        }
    }
}

impl From<Full> for LimitKind {
    fn from(full: Full) -> Self {
        match full {
            Full::Listener => Self::Sessions,
            Full::Address => Self::AddressSessions,
        }
    }
}

/// A session that was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The arbiter it goes to.
    pub(crate) worker: usize,
    /// Its address was counted, and is to be given back.
    pub(crate) booked: bool,
}

/// The books of one listener.
pub(crate) struct Ledger {
    most: AtomicUsize,
    /// [`usize::MAX`] is no limit: addresses are not counted then.
    most_per_address: AtomicUsize,
    sessions: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    loads: Loads,
    /// The arbiters it may use.
    among: Range<usize>,
    /// Counts the sessions of all listeners that it guards.
    overload: Option<Arc<Overload>>,
    changed: Notify,
}

impl Ledger {
    pub(crate) fn new(
        most: usize,
        most_per_address: Option<usize>,
        loads: Loads,
        among: Range<usize>,
        overload: Option<Arc<Overload>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            most: AtomicUsize::new(most),
            most_per_address: AtomicUsize::new(most_per_address.unwrap_or(usize::MAX)),
            sessions: AtomicUsize::new(0),
            addresses: Mutex::default(),
            loads,
            among,
            overload,
            changed: Notify::new(),
        })
    }

    /// Other limits, for sessions that begin from now on. Those that live stay; addresses are counted from the moment that
    /// they have a limit.
    pub(crate) fn limit(&self, most: usize, most_per_address: Option<usize>) {
        self.most.store(most, Ordering::Relaxed);
        self.most_per_address.store(most_per_address.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Books a session and says which arbiter has the fewest. Without an address, as behind a proxy that has not yet said
    /// for whom it speaks, [`Ledger::book`] follows.
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> Result<Admitted, Full> {
        if self.sessions.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed) {
            return Err(Full::Listener);
        }
        let booked = match address {
            Some(address) => self.book(address)?,
            None => false,
        };
        self.sessions.fetch_add(1, Ordering::Relaxed);
        if let Some(overload) = &self.overload {
            overload.opened();
        }
        let mine = self.loads.iter().enumerate().filter(|(worker, _)| self.among.contains(worker));
        let worker = mine.min_by_key(|(_, load)| load.load(Ordering::Relaxed));
        let worker = worker.map_or(self.among.start, |(worker, _)| worker);
        if let Some(load) = self.loads.get(worker) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Admitted { worker, booked })
    }

    /// Counts a session for an address; says whether addresses are counted.
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn book(&self, address: IpAddr) -> Result<bool, Full> {
        let most = self.most_per_address.load(Ordering::Relaxed);
        if most == usize::MAX {
            return Ok(false);
        }
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let held = addresses.entry(holder(address)).or_insert(0);
        if *held >= most {
            return Err(Full::Address);
        }
        *held += 1;
        Ok(true)
    }

    /// Gives back what was booked for an address.
    pub(crate) fn unbook(&self, address: Option<IpAddr>) {
        let Some(address) = address.map(holder) else { return };
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = addresses.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                addresses.remove(&address);
                if addresses.is_empty() {
                    addresses.shrink_to_fit();
                }
            }
        }
    }

    /// A session is over; `address` is what was booked for it.
    pub(crate) fn release(&self, address: Option<IpAddr>, worker: u16) {
        self.unbook(address);
        if let Some(load) = self.loads.get(usize::from(worker)) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        if let Some(overload) = &self.overload {
            overload.closed();
        }
        self.changed.notify_waiters();
    }

    /// Sessions open now.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Resolves when a session ends after this call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }
}

/// Whom an address counts for: itself, or its /64, of which an IPv6 host has all addresses.
fn holder(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(workers: usize) -> Loads {
        (0..workers).map(|_| AtomicUsize::new(0)).collect()
    }

    #[test]
    fn limits_hold_in_all_and_per_address_and_give_back() {
        let ledger = Ledger::new(3, Some(2), loads(1), 0..1, None);
        let [a, b] = [Some(IpAddr::from([127, 0, 0, 1])), Some(IpAddr::from([127, 0, 0, 2]))];
        assert!(ledger.admit(a).is_ok() && ledger.admit(a).is_ok());
        assert_eq!(ledger.admit(a), Err(Full::Address));
        assert!(ledger.admit(b).is_ok());
        assert_eq!(ledger.admit(b), Err(Full::Listener));
        ledger.release(a, 0);
        assert!(ledger.admit(a).is_ok());
        for address in [a, a, b] {
            ledger.release(address, 0);
        }
        assert_eq!(ledger.sessions(), 0);
        assert!(ledger.addresses.lock().unwrap().is_empty());
    }

    #[test]
    fn what_was_not_booked_is_not_given_back() {
        let ledger = Ledger::new(9, None, loads(1), 0..1, None);
        let a = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(ledger.admit(Some(a)), Ok(Admitted { worker: 0, booked: false }));
        ledger.limit(9, Some(1));
        assert_eq!(ledger.admit(Some(a)), Ok(Admitted { worker: 0, booked: true }));
        ledger.release(None, 0);
        assert_eq!(ledger.admit(Some(a)), Err(Full::Address), "the first was never counted");
        // A proxy: taken in first, counted when it is known for whom.
        assert_eq!(ledger.admit(None), Ok(Admitted { worker: 0, booked: false }));
        assert_eq!(ledger.book(a), Err(Full::Address));
        ledger.unbook(Some(a));
        assert_eq!(ledger.book(a), Ok(true));
        ledger.limit(1, None);
        assert_eq!(ledger.admit(Some(a)), Err(Full::Listener));
    }

    #[test]
    fn the_arbiter_with_the_fewest_sessions_is_next() {
        let ledger = Ledger::new(10, None, loads(4), 0..3, None);
        let next = || ledger.admit(None).map(|admitted| admitted.worker);
        let order: Vec<_> = (0..4).map(|_| next()).collect();
        assert_eq!(order, [Ok(0), Ok(1), Ok(2), Ok(0)]);
        ledger.release(None, 1);
        assert_eq!(next(), Ok(1));
    }
}
