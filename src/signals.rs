//! Signals: TERM and INT ask to stop, HUP asks for a reload. Stops nothing itself.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask this process to stop.
pub(crate) struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    /// Takes the signals over from the system. Must run on a runtime with I/O.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn take() -> io::Result<Self> {
        let mut hup = signal(SignalKind::hangup())?;
        actix_rt::spawn(async move {
            while hup.recv().await.is_some() {
                tracing::info!("HUP: there is no configuration to reload, the demo is built in");
            }
        });
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// The next signal to stop, by name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "TERM",
            _ = self.int.recv() => "INT",
        }
    }
}
