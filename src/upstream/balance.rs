//! Who is asked next: one of the endpoints that are up, by the upstream's way of balancing.
//!
//! Looks and chooses, changes nothing. Where no endpoint is up all are taken for up (better a try than a certain error).
//! Invariant: an endpoint that was tried before is chosen again for the same request only where no other is up.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::endpoint::Endpoint;
use crate::config::Balance;

/// What a choice depends on.
pub(crate) struct Choice<'a> {
    pub(crate) balance: &'a Balance,
    /// What the request hashes to, where that is how to balance and it has what is hashed.
    pub(crate) key: Option<u64>,
    /// Endpoints asked before, by id.
    pub(crate) tried: &'a [u64],
    /// [`millis`](super::endpoint::millis).
    pub(crate) now: u64,
    /// A number that grows with each request of the upstream.
    pub(crate) turn: usize,
}

/// See the module.
pub(crate) fn pick(endpoints: &[Arc<Endpoint>], choice: &Choice<'_>) -> Option<Arc<Endpoint>> {
    if let [only] = endpoints {
        return Some(only).filter(|only| !only.is_gone()).cloned();
    }
    let untried = |endpoint: &Arc<Endpoint>| !choice.tried.contains(&endpoint.id);
    let up = |endpoint: &Arc<Endpoint>| endpoint.is_up(choice.now);
    // The best there are.
    let level = if endpoints.iter().any(|endpoint| up(endpoint) && untried(endpoint)) {
        Level::UpUntried
    } else if endpoints.iter().any(up) {
        Level::Up
    } else if endpoints.iter().any(|endpoint| !endpoint.is_gone() && untried(endpoint)) {
        Level::Untried
    } else {
        Level::Any
    };
    let usable = |endpoint: &&Arc<Endpoint>| match level {
        Level::UpUntried => up(endpoint) && untried(endpoint),
        Level::Up => up(endpoint),
        Level::Untried => !endpoint.is_gone() && untried(endpoint),
        Level::Any => !endpoint.is_gone(),
    };
    let candidates = || endpoints.iter().filter(usable);
    let nth = |n: usize| candidates().nth(n);
    let chosen = match (choice.balance, choice.key) {
        (Balance::Hash(_), Some(key)) => candidates().max_by(|a, b| rank(key, a).total_cmp(&rank(key, b))),
        (Balance::RoundRobin, _) => in_turn(candidates, choice.turn),
        (Balance::Least, _) => {
            let count = candidates().count();
            // Equals have their turns.
            let first = if count == 0 { 0 } else { choice.turn % count };
            let rotated = candidates().skip(first).chain(candidates().take(first));
            rotated.min_by(|a, b| load(a).total_cmp(&load(b)))
        }
        (Balance::P2c | Balance::Hash(_), _) => match candidates().count() {
            0 => None,
            1 => nth(0),
            count => {
                let first = below(count);
                let second = (first + 1 + below(count - 1)) % count;
                let (a, b) = (nth(first), nth(second));
                a.zip(b).map(|(a, b)| if load(b) < load(a) { b } else { a })
            }
        },
    };
    chosen.cloned()
}

/// Whom to choose among.
#[derive(Clone, Copy)]
enum Level {
    UpUntried,
    /// All that are up were tried: a refusal was of a connection, not of the server.
    Up,
    Untried,
    Any,
}

/// Requests in flight for each unit of weight.
fn load(endpoint: &Endpoint) -> f64 {
    (endpoint.active.load(Ordering::Relaxed) + 1) as f64 / f64::from(endpoint.weight)
}

/// By weight, each share once a round; the shares of a heavy endpoint are spread over the round.
fn in_turn<'a, I>(candidates: impl Fn() -> I, turn: usize) -> Option<&'a Arc<Endpoint>>
where
    I: Iterator<Item = &'a Arc<Endpoint>>,
{
    let (mut whole, mut heaviest) = (0, 1);
    for endpoint in candidates() {
        whole += usize::from(endpoint.weight);
        heaviest = heaviest.max(endpoint.weight);
    }
    if whole == 0 {
        return None;
    }
    let stride = if heaviest == 1 { 1 } else { stride(whole) };
    let mut place = (turn % whole) * stride % whole;
    candidates().find(|endpoint| match place.checked_sub(usize::from(endpoint.weight)) {
        Some(rest) => {
            place = rest;
            false
        }
        None => true,
    })
}

/// A number near the golden section of `whole` without a common divisor: multiples of it visit every place once a round,
/// neighbours far apart.
fn stride(whole: usize) -> usize {
    fn common(a: usize, b: usize) -> usize {
        if b == 0 { a } else { common(b, a % b) }
    }
    let near = (whole as f64 * 0.618) as usize;
    (near.max(1)..whole).find(|stride| common(*stride, whole) == 1).unwrap_or(1)
}

/// Where an endpoint stands for a key (rendezvous hashing, by weight): a key moves only when its endpoint goes.
fn rank(key: u64, endpoint: &Endpoint) -> f64 {
    let mixed = mix(key ^ hash(endpoint.label.as_bytes()));
    // A fraction above 0 and below 1.
    let fraction = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(endpoint.weight) / fraction.ln()
}

/// FNV-1a: the same in every process and on every machine.
pub(crate) fn hash(octets: &[u8]) -> u64 {
    octets
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3))
}

/// The finaliser of SplitMix64: near keys come far apart.
fn mix(mut key: u64) -> u64 {
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// A number below `count`, at random; 0 where there is none.
fn below(count: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new({
            use std::hash::{BuildHasher as _, RandomState};
            RandomState::new().hash_one(0)
        });
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    (mix(state) % count.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EndpointAddress, HashKey};

    fn endpoints(weights: &[u16]) -> Vec<Arc<Endpoint>> {
        let tcp = |n| EndpointAddress::Tcp { host: format!("10.0.0.{n}"), port: 80 };
        let made = weights.iter().enumerate();
        made.map(|(n, weight)| Arc::new(super::super::endpoint::tests::made(false, tcp(n), *weight)))
            .collect()
    }

    fn place(endpoints: &[Arc<Endpoint>], chosen: Option<Arc<Endpoint>>) -> Option<usize> {
        let chosen = chosen?;
        endpoints.iter().position(|endpoint| endpoint.id == chosen.id)
    }

    fn choose(endpoints: &[Arc<Endpoint>], balance: &Balance, turn: usize, tried: &[u64]) -> Option<usize> {
        place(endpoints, pick(endpoints, &Choice { balance, key: None, tried, now: 1, turn }))
    }

    #[test]
    fn round_robin_takes_turns() {
        let three = endpoints(&[1, 1, 1]);
        let order: Vec<_> =
            (0..6).filter_map(|turn| choose(&three, &Balance::RoundRobin, turn, &[])).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn weights_are_shares_and_heavy_ones_are_spread() {
        let two = endpoints(&[3, 1]);
        let order: Vec<_> = (0..8).filter_map(|turn| choose(&two, &Balance::RoundRobin, turn, &[])).collect();
        assert_eq!(order.iter().filter(|place| **place == 1).count(), 2);
        assert!(order.windows(4).all(|run| run.contains(&1)), "{order:?}");
        let two = endpoints(&[1000, 999]);
        let order: Vec<_> =
            (0..1999).filter_map(|turn| choose(&two, &Balance::RoundRobin, turn, &[])).collect();
        assert_eq!(order.iter().filter(|place| **place == 1).count(), 999);
        assert!(order.windows(5).all(|run| run.contains(&0) && run.contains(&1)));
    }

    #[test]
    fn the_least_busy_is_asked() {
        let three = endpoints(&[1, 1, 2]);
        for (place, active) in [(0, 3), (1, 2), (2, 4)] {
            three[place].active.store(active, Ordering::Relaxed);
        }
        assert_eq!(
            choose(&three, &Balance::Least, 0, &[]),
            Some(2),
            "four of weight two are fewer than two of one"
        );
        let two = endpoints(&[1, 1]);
        let order: Vec<_> = (0..4).filter_map(|turn| choose(&two, &Balance::Least, turn, &[])).collect();
        assert_eq!(order, [0, 1, 0, 1], "equals have their turns");
    }

    #[test]
    fn of_two_at_random_the_less_busy() {
        let two = endpoints(&[1, 1]);
        two[0].active.store(10, Ordering::Relaxed);
        assert!((0..50).all(|turn| choose(&two, &Balance::P2c, turn, &[]) == Some(1)));
        let many = endpoints(&[1; 8]);
        let seen: std::collections::BTreeSet<_> =
            (0..400).filter_map(|turn| choose(&many, &Balance::P2c, turn, &[])).collect();
        assert_eq!(seen.len(), 8, "nobody is left out");
    }

    #[test]
    fn a_key_stays_where_it_is_when_others_go() {
        let five = endpoints(&[1; 5]);
        let balance = Balance::Hash(HashKey::Client);
        let of = |key: u64, tried: &[u64]| {
            place(&five, pick(&five, &Choice { balance: &balance, key: Some(key), tried, now: 1, turn: 0 }))
        };
        let before: Vec<_> = (0..500).map(|key| of(hash(&[key as u8, (key >> 8) as u8]), &[])).collect();
        let gone = five[2].id;
        for (key, before) in (0..500u64).zip(&before) {
            let after = of(hash(&[key as u8, (key >> 8) as u8]), &[gone]);
            assert!(if *before == Some(2) { after != Some(2) } else { after == *before });
        }
        for place in 0..5 {
            let share = before.iter().filter(|before| **before == Some(place)).count();
            assert!((50..160).contains(&share), "{place}: {share} of 500");
        }
    }

    #[test]
    fn who_is_out_is_not_asked_unless_all_are() {
        let three = endpoints(&[1, 1, 1]);
        let check =
            |ok| super::super::endpoint::Check { ok, detail: String::new(), at: std::time::Instant::now() };
        three[0].checked(check(false), false);
        three[1].eject(std::time::Duration::from_secs(5), 1);
        for balance in [Balance::RoundRobin, Balance::P2c, Balance::Least] {
            assert!((0..20).all(|turn| choose(&three, &balance, turn, &[]) == Some(2)), "{balance:?}");
        }
        three[2].checked(check(false), false);
        let seen: std::collections::BTreeSet<_> =
            (0..20).filter_map(|turn| choose(&three, &Balance::RoundRobin, turn, &[])).collect();
        assert_eq!(seen.len(), 3, "better a try than a certain error");
    }

    #[test]
    fn others_come_before_who_was_asked_already() {
        let two = endpoints(&[1, 1]);
        let ids: Vec<u64> = two.iter().map(|endpoint| endpoint.id).collect();
        assert!((0..20).all(|turn| choose(&two, &Balance::P2c, turn, &ids[..1]) == Some(1)));
        assert!(choose(&two, &Balance::P2c, 0, &ids).is_some(), "a refusal may have been of a connection");
        assert_eq!(choose(&two[..1], &Balance::P2c, 0, &ids), Some(0));
        two[1].set_gone();
        assert!((0..20).all(|turn| choose(&two, &Balance::P2c, turn, &ids[..1]) == Some(0)));
        assert_eq!(choose(&[], &Balance::P2c, 0, &[]), None);
    }
}
