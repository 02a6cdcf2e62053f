//! The proxy of the library between raw clients and scripted upstreams, over real sockets.
//!
//! The upstreams here do what well-behaved servers never do: they refuse, reset, stall, close halfway, say GOAWAY and lie
//! about lengths. One file an idea: exchanges, fields, retries, deadlines, limits, balance, tunnels, smuggling, DNS,
//! backpressure.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod balance;
mod dns;
mod exchange;
mod fields;
mod frames;
mod front;
mod limits;
mod pressure;
mod retries;
mod smuggling;
mod text;
mod timeouts;
mod tunnels;
mod waits;
