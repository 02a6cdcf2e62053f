//! Rate limits: so many requests a second for each key, by the generic cell rate algorithm (GCRA: a bucket that is kept
//! as one moment, the one at which it will be full again).
//!
//! Shared by all workers, in shards by key so that they seldom meet at a lock. Knows no routes and answers nothing.
//!
//! Invariant: at most [`KEYS`] keys are known, in maps of two generations. A key that is asked for moves into the young
//! one; when that is half full, or older than any bucket takes to fill, the old one is dropped, and with it the keys that
//! nobody asked for longest. A key that was dropped begins with a full bucket, which is what an idle one had anyway.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::RateLimit;

/// Keys that a route's limit knows at most.
pub(super) const KEYS: usize = 100_000;
const SHARDS: usize = 16;
/// Of one generation of one shard.
const GENERATION: usize = KEYS / SHARDS / 2;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// An address; of IPv6 its /64.
    Address(IpAddr),
    /// A value, by its hash: whoever sends a long one makes us keep no more.
    Value(u64),
    /// Those that have neither.
    Nobody,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Limiter {
    pub(super) of: RateLimit,
    /// Nanoseconds a request takes of a bucket.
    each: u64,
    /// Nanoseconds a bucket holds.
    full: u64,
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

/// Of each key the moment, in nanoseconds, at which its bucket is full again.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Key, u64>,
    old: HashMap<Key, u64>,
    /// When `young` began.
    since: u64,
}

impl Limiter {
    /// A limit of `of.rate` requests a second after `of.burst` at once.
    pub(super) fn new(of: RateLimit) -> Self {
        let each = (1e9 / of.rate.max(1e-9)).clamp(1.0, 1e18) as u64;
        let full = each.saturating_mul(u64::from(of.burst.max(1)));
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { of, each, full, shards, hasher: RandomState::new() }
    }

    /// The key of an address.
    pub(super) fn address(address: Option<IpAddr>) -> Key {
        match address {
            Some(IpAddr::V6(address)) => {
                let network = address.to_bits() >> 64 << 64;
                Key::Address(IpAddr::V6(network.into()))
            }
            Some(address) => Key::Address(address),
            None => Key::Nobody,
        }
    }

    /// The key of a value.
    pub(super) fn value(&self, value: Option<&[u8]>) -> Key {
        value.map_or(Key::Nobody, |value| Key::Value(self.hasher.hash_one(value)))
    }

    /// Counts a request.
    /// # Errors
    /// It is one too many; the next may come after this long.
    pub(super) fn ask(&self, key: Key) -> Result<(), Duration> {
        static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = BEGIN.elapsed().as_nanos();
        self.ask_at(key, u64::try_from(now).unwrap_or(u64::MAX))
    }

    /// The same `now` nanoseconds after some beginning.
    fn ask_at(&self, key: Key, now: u64) -> Result<(), Duration> {
        let place = self.hasher.hash_one(key) as usize % SHARDS;
        let Some(shard) = self.shards.get(place) else { return Ok(()) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.age(now, self.full);
        let known = shard.young.get(&key).or_else(|| shard.old.get(&key)).copied();
        let empty = known.unwrap_or(0).max(now).saturating_add(self.each);
        let result = match empty.saturating_sub(now).checked_sub(self.full) {
            None | Some(0) => Ok(empty),
            Some(early) => Err((known.unwrap_or(0), early)),
        };
        // One that asks too often is remembered all the same.
        let moment = match result {
            Ok(moment) | Err((moment, _)) => moment,
        };
        shard.young.insert(key, moment);
        result.map(|_| ()).map_err(|(_, early)| Duration::from_nanos(early))
    }

    /// Keys that are known.
    #[cfg(test)]
    fn keys(&self) -> usize {
        let count = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(count).sum()
    }
}

impl Shard {
    /// Begins a new generation where it is time.
    fn age(&mut self, now: u64, full: u64) {
        let stale = now.saturating_sub(self.since) > full;
        if self.young.len() < GENERATION && !(stale && !(self.young.is_empty() && self.old.is_empty())) {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RatePer;

    const SECOND: u64 = 1_000_000_000;

    fn limiter(rate: f64, burst: u32) -> Limiter {
        Limiter::new(RateLimit { per: RatePer::Client, rate, burst })
    }

    fn key(number: u32) -> Key {
        Limiter::address(Some(IpAddr::V4(number.into())))
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = limiter(2.0, 3);
        for _ in 0..3 {
            assert_eq!(limiter.ask_at(key(1), SECOND), Ok(()));
        }
        assert_eq!(limiter.ask_at(key(1), SECOND), Err(Duration::from_millis(500)));
        assert_eq!(limiter.ask_at(key(2), SECOND), Ok(()), "others are not held up");
        assert_eq!(limiter.ask_at(key(1), SECOND * 3 / 2 - 1), Err(Duration::from_nanos(1)));
        assert_eq!(limiter.ask_at(key(1), SECOND * 3 / 2), Ok(()));
        assert!(limiter.ask_at(key(1), SECOND * 3 / 2).is_err());
        for _ in 0..3 {
            assert_eq!(limiter.ask_at(key(1), SECOND * 60), Ok(()), "full again, and no fuller");
        }
        assert!(limiter.ask_at(key(1), SECOND * 60).is_err());
    }

    #[test]
    fn keys_are_bounded_and_who_asks_is_remembered() {
        let limiter = limiter(0.001, 1);
        assert_eq!(limiter.ask_at(key(0), 0), Ok(()));
        for number in 1..300_000 {
            limiter.ask_at(key(number), u64::from(number)).ok();
            if number % 1000 == 0 {
                assert!(limiter.ask_at(key(0), u64::from(number)).is_err(), "it asks, so it is remembered");
            }
        }
        assert!(limiter.keys() <= KEYS, "{}", limiter.keys());
    }

    #[test]
    fn idle_keys_go() {
        let limiter = limiter(10.0, 10);
        for number in 0..1000 {
            limiter.ask_at(key(number), 0).ok();
        }
        for turn in 1..4 {
            for number in 0..1000 {
                limiter.ask_at(Key::Value(number % 100), turn * 10 * SECOND).ok();
            }
        }
        assert!(limiter.keys() <= 200, "{}", limiter.keys());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| Limiter::address(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        let limiter = limiter(1.0, 1);
        assert_eq!(limiter.value(Some(b"a")), limiter.value(Some(b"a")));
        assert_ne!(limiter.value(Some(b"a")), limiter.value(None));
    }
}
