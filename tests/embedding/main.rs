//! What people rely on who put stagedoor into applications of their own: servers that start, change and stop in any kind
//! of runtime, handlers of every kind, actors as handlers, axum and tonic as they are, and mistakes that are told.
//!
//! Over real sockets of 127.0.0.1 on free ports. One file an idea.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, clippy::pedantic)]
#[path = "../support/echo_grpc.rs"]
mod echo_grpc;

mod actors;
mod alone;
mod axum_app;
mod bad_use;
mod facade;
mod grpc;
mod site;
mod ways;
