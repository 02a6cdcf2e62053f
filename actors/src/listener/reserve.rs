//! One descriptor kept aside. When there is none left for a connection, it is given up for a moment so that the
//! connection can be taken and closed: its client hears at once what it would else wait for in vain.

use std::fs::File;

/// See the module.
pub(crate) struct Reserve(Option<File>);

impl Reserve {
    pub(crate) fn new() -> Self {
        let mut reserve = Self(None);
        reserve.refill();
        reserve
    }

    /// Gives the descriptor up; false when there was none.
    pub(crate) fn spend(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Takes one again, where there is one.
    pub(crate) fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }
}
