//! One test per attack of docs/security.md against the compiled gateway, over cleartext and TLS: the end of the guilty
//! session, memory and processor time while it lasts, and a neighbour that is served all the while.
//!
//! Limits that take minutes to reach by default are tested with the fake clock in `protocol/tests/limits.rs` and
//! `actors/tests/`; docs/security.md names the test of each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod connections;
mod control;
mod harness;
mod headers;
mod streams;
