//! Signals: TERM and INT ask to stop, HUP asks for a reload. Stops and reloads nothing itself.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals this process listens to.
pub(crate) struct Signals {
    term: RefCell<Signal>,
    int: RefCell<Signal>,
    hup: RefCell<Signal>,
}

impl Signals {
    /// Takes the signals over from the system. Must run on a runtime with I/O.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn take() -> io::Result<Self> {
        let taken = |kind| signal(kind).map(RefCell::new);
        Ok(Self {
            term: taken(SignalKind::terminate())?,
            int: taken(SignalKind::interrupt())?,
            hup: taken(SignalKind::hangup())?,
        })
    }

    /// The next signal to stop, by name.
    pub(crate) async fn next(&self) -> &'static str {
        tokio::select! {
            () = came(&self.term) => "TERM",
            () = came(&self.int) => "INT",
        }
    }

    /// The next order to reload.
    pub(crate) async fn reload(&self) {
        came(&self.hup).await;
    }
}

async fn came(signal: &RefCell<Signal>) {
    // A stream of signals does not end.
    poll_fn(|cx| signal.borrow_mut().poll_recv(cx)).await;
}
