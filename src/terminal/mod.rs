//! The commands that look at a running gateway and steer it, over its admin API: `top`, `sessions`, `session`, `close`,
//! `drain`, `resume`, `reload`, `tap`, `log`, `upstreams`, `certs`.
//!
//! Only what the API says is shown; nothing is read from the gateway's process. Invariant: whatever reaches a terminal went
//! through `text.rs`, and a reader of stdout that has enough is no failure.

pub(crate) mod args;
mod commands;
mod connection;
mod running;
mod shapes;
mod sse;
mod tables;
mod tap;
mod text;
#[cfg(feature = "top")]
mod top;

use std::io::{self, IsTerminal as _};

use args::Look;

use crate::failure::Failure;
use crate::output::Output;

/// Runs one.
///
/// # Errors
/// What the gateway refused, and a gateway that cannot be reached.
pub(crate) fn run(look: &Look) -> Result<(), Failure> {
    actix_rt::System::new().block_on(async {
        match look {
            #[cfg(feature = "top")]
            Look::Top(args) => top::run(args).await,
            Look::Sessions(args) => commands::sessions(args).await,
            Look::Session(args) => commands::session(args).await,
            Look::Close(args) => commands::close(args).await,
            Look::Drain(args) => commands::drain(args).await,
            Look::Resume(args) => commands::resume(args).await,
            Look::Reload(args) => running::reload(args).await,
            Look::Upstreams(args) => running::upstreams(args).await,
            Look::Certs(args) => running::certs(args).await,
            Look::Tap(args) => tap::run(args).await,
            Look::Log(args) => commands::log(args).await,
        }
    })
}

/// Columns of the terminal on stdout; as many as there may be where it is none.
fn room() -> usize {
    const USUAL: usize = 80;
    if !io::stdout().is_terminal() {
        return usize::MAX;
    }
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => USUAL,
    }
}

/// Writes `text` to stdout.
async fn print(text: String) -> Result<(), Failure> {
    let mut output = Output::open(None)?;
    output.write(text.into()).await?;
    output.finish().await
}
