//! The whole gateway over sockets: the compiled binary, real TLS, other people's clients.
//!
//! One file an idea: the demo's paths, bodies, faults, drain, start-up, protocol selection, observation from without and within, the access
//! log, what runs behind the listeners, files, the commands `get`, `bench`, `dashboards`, `completions` and `man`, those that look at a running gateway, the short soak, and
//! programs of others.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod access_log;
mod admin_socket;
mod bench;
mod bodies;
mod dashboards;
mod demo;
mod drain;
mod faults;
mod files;
mod files_hostile;
mod generated;
mod get;
mod live;
mod looked_at;
mod negotiation;
mod observation;
mod operations;
mod programs;
mod soak;
mod startup;
mod terminal;
mod terminal_strange;
