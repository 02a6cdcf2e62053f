//! The configured gateway over sockets: the compiled binary on a file of its own, under load while that file, its
//! certificates or the process itself are exchanged.
//!
//! One file an idea: reload, replacement by another process, drain, certificates, what routes do, PROXY protocol and Unix
//! sockets, the commands around it, and sessions with upstreams. The upstream is a gateway too, on its demo.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod harness;
mod load;

mod certificates;
mod commands;
mod drain;
mod edges;
mod reload;
mod replace;
mod routes;
mod upstreams;
