//! Every example as a newcomer meets it: started by its name, asked from outside, ended by Ctrl-C.
//!
//! What is run are the binaries that cargo has built of `examples/`, each on a free port. [`inventory`] holds that none is left
//! out. That an example reads well is for readers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

#[allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
#[path = "../support/echo_grpc.rs"]
mod echo_grpc;
#[path = "../support/mod.rs"]
mod support;

mod alike;
mod chat;
mod grpc;
mod inventory;
mod program;
mod single;
