//! What a session holds in memory, in octets: one account, and a credit for each thing that is charged to it.
//!
//! A credit gives back what it took when it is dropped, whatever path led there. Decides nothing: the connection compares
//! the account with its budget. Invariant: the account is the sum of its living credits, so zero when none is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is charged to one session. A clone is the same account; it may be read from any thread, and outlives the connection.
///
/// ```
/// use stagedoor_protocol::Account;
///
/// let account = Account::default();
/// let mut credit = account.charge(100);
/// credit.resize(40);
/// assert_eq!(account.charged(), 40);
/// drop(credit);
/// assert_eq!(account.charged(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Account(Arc<AtomicUsize>);

impl Account {
    /// Octets charged now.
    #[inline]
    pub fn charged(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A credit that holds nothing yet.
    pub fn credit(&self) -> Credit {
        Credit { account: self.clone(), octets: 0 }
    }

    /// A credit of `octets`.
    pub fn charge(&self, octets: usize) -> Credit {
        let mut credit = self.credit();
        credit.resize(octets);
        credit
    }
}

/// Octets charged to an [`Account`] for one thing, until it is dropped.
///
/// ```
/// use stagedoor_protocol::Account;
///
/// let account = Account::default();
/// let mut queue = account.credit();
/// queue.resize(7);
/// assert_eq!((queue.octets(), account.charged()), (7, 7));
/// ```
#[derive(Debug)]
#[must_use = "dropped at once, it charges nothing"]
pub struct Credit {
    account: Account,
    octets: usize,
}

impl Credit {
    /// Octets this credit holds.
    #[inline]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// The thing takes `octets` now.
    #[inline]
    pub fn resize(&mut self, octets: usize) {
        if octets != self.octets {
            // Adding the difference, which wraps where it is negative.
            self.account.0.fetch_add(octets.wrapping_sub(self.octets), Ordering::Relaxed);
            self.octets = octets;
        }
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_the_sum_of_its_credits() {
        let account = Account::default();
        let mut one = account.charge(10);
        let other = account.charge(5);
        one.resize(3);
        assert_eq!((account.charged(), one.octets()), (8, 3));
        drop(other);
        assert_eq!(account.charged(), 3);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = account.charge(100);
            panic!("on purpose");
        }));
        assert!(caught.is_err());
        drop(one);
        assert_eq!(account.charged(), 0);
    }
}
