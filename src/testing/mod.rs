//! Tests of handlers without sockets: a server in memory, a client of it, a scripted HTTP/2 peer and a fake clock.
//!
//! For who embeds stagedoor; behind the feature `testing`, which belongs into `[dev-dependencies]`. What runs is the
//! engine that serves sockets, over pipes: sessions and streams are the same actors, with the same limits and
//! timers. Opens no socket and starts no thread. It is no mock: what a handler does here it does in production.
//!
//! ```
//! use stagedoor::{HttpRequest, handler, testing};
//!
//! async fn hello(request: HttpRequest) -> String {
//!     format!("hello {}", &request.uri().path()[1..])
//! }
//!
//! testing::run(async {
//!     let server = testing::Server::new(handler(hello));
//!     let client = server.client().await;
//!     client.get("/you").await.assert_status(200).assert_text("hello you");
//! });
//! ```
//!
//! [`run()`] makes a plain `#[test]` of it. A [`Server`] has metrics and a configuration of its own; a [`Client`] gives
//! whole answers, and streams for who reads and writes bit by bit. Where a well-behaved client is not enough, a
//! [`Peer`] speaks frames: it resets streams, keeps windows small, stops to read, breaks the protocol.
//!
//! ```
//! use std::{cell::Cell, rc::Rc};
//!
//! use stagedoor::testing::{ErrorCode, Server, run, settle};
//! use stagedoor::{HttpRequest, facade::local_handler};
//!
//! run(async {
//!     let broken = Rc::new(Cell::new(false));
//!     let seen = Rc::clone(&broken);
//!     let server = Server::new(local_handler(move |request: HttpRequest| {
//!         let seen = Rc::clone(&seen);
//!         async move { seen.set(request.into_body().collect(100).await.is_err()) }
//!     }));
//!     let mut peer = server.peer().await;
//!     let upload = peer.post("/").await;
//!     peer.data(upload, "half of", false).await;
//!     settle().await;
//!     peer.rst_stream(upload, ErrorCode::CANCEL).await;
//!     settle().await;
//!     assert!(!broken.get(), "the handler is dropped where it waits: its stream is gone");
//!     assert_eq!(server.open_streams(), 0);
//! });
//! ```
//!
//! With [`run_paused`] time stands still until everybody waits, and then jumps to the next timer: a [`Clock`] moves an
//! hour in no time, and every timer on the way is due at its own moment.
//!
//! ```
//! use std::time::Duration;
//! use stagedoor::{HttpRequest, handler, testing};
//!
//! testing::run_paused(async |clock| {
//!     let server = testing::Server::new(handler(async |_: HttpRequest| "hello"))
//!         .config(|config| config.timeouts.idle = Duration::from_secs(90));
//!     let client = server.client().await;
//!     client.get("/").await;
//!     clock.advance(Duration::from_millis(89_999)).await;
//!     assert_eq!(server.open_sessions(), 1);
//!     clock.advance(Duration::from_millis(1)).await;
//!     assert!(!client.takes_requests(), "the server has said GOAWAY");
//! });
//! ```
//!
//! Everything ends with the test: a server that is dropped cuts its sessions off, a client that is dropped ends its
//! session, and [`run()`] lets both happen. What does not come within a deadline fails the test in words, where it was
//! asked for; nothing waits for ever (see [`run()`]).
//!
//! Invariant: all of it lives on the thread of the test. Nothing here is for production; functions panic to fail a test.

mod client;
mod frame;
mod peer;
mod pipe;
mod response;
mod run;
mod server;

pub use client::Client;
pub use frame::{Data, Frame, GoAway, Headers};
pub use peer::Peer;
pub use response::{Informational, Response};
pub use run::{Clock, run, run_paused, settle};
pub use server::{IntoService, Server};
pub use stagedoor_protocol::frame::{flag, kind};
pub use stagedoor_protocol::{ErrorCode, Settings};
