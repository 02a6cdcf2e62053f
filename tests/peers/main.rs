//! Bigger programs of others, where they are installed. Node, Prometheus and a browser drive the compiled gateway and
//! handlers of the library as their users would; Node, nghttpd and nginx are servers for our client;
//! those who run gateways for a living judge `deploy/`.
//!
//! They run as child processes on free ports of 127.0.0.1 and end with their test; what is waited for is a line they
//! say. With `CI=true` an absent one is a failure.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod boards;
mod browser;
mod crates;
mod deploy;
mod grpc;
mod live_page;
mod nghttpd;
mod nginx;
mod node;
mod ours;
mod pictures;
mod prometheus;
mod rules;
mod through;
