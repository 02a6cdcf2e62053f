//! `stagedoor::testing`, as somebody who embeds stagedoor uses it: through the facade alone.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod clients;
mod clock;
mod crowd;
mod failures;
mod handlers;
mod peers;
