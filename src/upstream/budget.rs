//! How many retries an upstream may see: a share of its requests over ten seconds, and a few a second always, so that
//! retries help a server that fails now and then and do not bury one that fails always.
//!
//! Shared by all workers; a request costs one atomic addition.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds that are looked back at.
const WINDOW: u64 = 10;
/// Retries a second that are always allowed.
const ALWAYS: u64 = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Budget {
    share: f64,
    requests: [AtomicU64; WINDOW as usize],
    retries: [AtomicU64; WINDOW as usize],
}

/// A second and a count in one word.
fn add(slot: &AtomicU64, second: u64) {
    let mark = second << 32;
    let seen = slot.load(Ordering::Relaxed);
    if seen & !0xffff_ffff == mark & !0xffff_ffff {
        slot.fetch_add(1, Ordering::Relaxed);
    } else {
        // Who loses this race counts one too few: it is a budget, not a ledger.
        slot.store(mark | 1, Ordering::Relaxed);
    }
}

fn sum(slots: &[AtomicU64], second: u64) -> u64 {
    let recent = |seen: u64| {
        let age = (second & 0xffff_ffff).wrapping_sub(seen >> 32);
        if age < WINDOW { seen & 0xffff_ffff } else { 0 }
    };
    slots.iter().map(|slot| recent(slot.load(Ordering::Relaxed))).sum()
}

impl Budget {
    pub(crate) fn new(share: f64) -> Self {
        Self { share, requests: Default::default(), retries: Default::default() }
    }

    /// A request is made, in this second.
    #[inline]
    pub(crate) fn request(&self, second: u64) {
        add(&self.requests[(second % WINDOW) as usize], second);
    }

    /// A retry is wanted: true where it may be made, and it is counted then.
    pub(crate) fn retry(&self, second: u64) -> bool {
        let (made, allowed) = self.spent(second);
        if made >= allowed {
            return false;
        }
        add(&self.retries[(second % WINDOW) as usize], second);
        true
    }

    /// Retries of the last ten seconds, and how many there might have been.
    pub(crate) fn spent(&self, second: u64) -> (u64, u64) {
        let requests = sum(&self.requests, second);
        let allowed = (requests as f64 * self.share) as u64 + ALWAYS * WINDOW;
        (sum(&self.retries, second), allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_requests_and_a_few_always() {
        let budget = Budget::new(0.2);
        let few = (0..100).filter(|_| budget.retry(7)).count();
        assert_eq!(few, 30, "three a second over ten seconds");
        for _ in 0..1000 {
            budget.request(7);
        }
        let more = (0..1000).filter(|_| budget.retry(7)).count();
        assert_eq!(more, 200, "a fifth of a thousand, beside the thirty");
    }

    #[test]
    fn what_was_spent_is_given_back_after_ten_seconds() {
        let budget = Budget::new(0.0);
        assert_eq!((0..100).filter(|_| budget.retry(5)).count(), 30);
        assert!(!budget.retry(14));
        assert!(budget.retry(15));
        assert_eq!(budget.spent(15), (1, 30));
    }
}
