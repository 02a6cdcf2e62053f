//! Bigger programs of others, where they are installed: Node's http2 client, Prometheus, a browser.
//!
//! Each drives the compiled gateway as its users would. With `CI=true` an absent one is a failure.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod node;
mod ours;
mod prometheus;
