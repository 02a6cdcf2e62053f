//! How many messages wait at one actor: written by whoever sends, so the one number here with more than one
//! writer. Holds no message and no name.
//!
//! Invariant: each message that was put in is taken out once, handled or dropped, so that an empty mailbox reads zero.

use std::sync::atomic::{AtomicI64, Ordering};

/// The messages that wait at one actor.
///
/// ```
/// use stagedoor_metrics::Mailbox;
///
/// let mailbox = Mailbox::new();
/// mailbox.enter();
/// mailbox.enter();
/// mailbox.leave();
/// assert_eq!(mailbox.waiting(), 1);
/// ```
#[derive(Debug, Default)]
pub struct Mailbox(AtomicI64);

impl Mailbox {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// A message was sent; any thread.
    pub fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A message was handled, or dropped unheard; any thread.
    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many wait; may be a moment old.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        u64::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(0)
    }
}
