//! HTTP/2 and HTTP/1.1 for your own program: every connection is a `Session` actor, every request on it a `Stream`, and both can
//! be seen, counted and ended while they live. The engine is ours, from the octets up.
//!
//! ```no_run
//! use stagedoor::{Path, Server, get};
//!
//! async fn hello(Path(name): Path<String>) -> String {
//!     format!("hello {name}\n")
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> stagedoor::Result<()> {
//!     Server::new().listen("127.0.0.1:8080").route("/hello/{name}", get(hello)).run().await
//! }
//! ```
//!
//! # The way of a request
//!
//! ```text
//! socket -bytes-> Session -handle_input-> protocol::Connection -events-> Session -messages-> Stream -call-> handler
//! socket <-bytes- Session <-poll_output-- protocol::Connection <-send_*- Session <-messages- Stream <-response-+
//! ```
//!
//! A session lives on one thread with its streams, so a handler needs neither `Send` nor locks. It runs inside of its stream: when
//! the stream ends first, its future is dropped; when it panics, its stream ends and nobody else's. Whatever closes a session, a
//! timeout, a limit, a drain or you, does it by one message, [`Close`].
//!
//! # Four ways to handle a stream
//!
//! - [`get`], [`post`] and their like: an `async fn` of extractors ([`Path`], [`State`], [`SendBody`] ...) that returns an answer.
//! - [`on_stream`]: the stream in your hands, as a [`ServerStream`]: head, octets, trailers, pushes, tunnels, one by one.
//! - [`tower()`]: an axum `Router`, tonic `Routes`, or any service with its layers, as it is.
//! - [`actor::mailbox`]: an actor of yours that gets each request as a message and answers when it likes.
//!
//! All are endpoints of an [`App`], and a [`Server`] serves it behind [`Listen`]ers. [`ServerHandle`] looks at a server that runs,
//! changes it, and takes it down; [`Event`]s tell what happens in it. [`client`] makes requests over the same engine.
//! [`facade::handler`] and [`ServerBuilder`] are the layer below, [`actor::Host`] runs a session over any stream of octets, and the
//! crate `stagedoor-protocol` is HTTP/2 without I/O. `docs/embedding.md` tells all of it, with what goes wrong and what you get;
//! `examples/` has a program for each idea.
//!
//! # Features
//!
//! | feature | brings |
//! | --- | --- |
//! | `aws-lc-rs` (default), `ring` | the cryptography of TLS and of development certificates; choose one |
//! | `json` | bodies and queries that serde reads and writes |
//! | `hyper-http2` | WebSockets of axum over HTTP/2 |
//! | `testing` | what tests of an application want: a clock that stands still |
//! | `gateway`, `top` (default), `otlp` | the gateway and the command `stagedoor`; applications switch the default off |
//!
//! What `gateway` makes public is there for the command; versions promise nothing of it.
//!
//! Starts nothing by itself, installs no allocator, no log and no handler of signals, and reads no configuration but where
//! `config::load` is asked to.

#[cfg(feature = "gateway")]
pub mod access;
#[cfg(feature = "gateway")]
pub mod admin;
#[cfg(feature = "gateway")]
pub mod config;
#[cfg(feature = "gateway")]
pub mod demo;
pub mod devca;
#[cfg(feature = "gateway")]
pub mod fault;
#[cfg(feature = "gateway")]
pub mod filter;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(feature = "gateway")]
mod hex;
#[cfg(feature = "gateway")]
mod lifecycle;
#[cfg(feature = "gateway")]
pub mod notify;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(feature = "gateway")]
pub mod proxy;
#[cfg(feature = "gateway")]
mod seen;
#[cfg(feature = "gateway")]
pub mod sockets;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "gateway")]
pub mod tls;
#[cfg(feature = "gateway")]
pub mod upstream;
#[cfg(feature = "gateway")]
pub mod watch;

pub use http::StatusCode;
#[cfg(feature = "gateway")]
pub use lifecycle::{Lifecycle, ServerSlot, Stage};
pub use stagedoor_actors::CloseSession as Close;
pub use stagedoor_actors::client;
pub use stagedoor_actors::facade::{self, HttpRequest, HttpResponse, IntoResponse, handler};
pub use stagedoor_actors::files;
pub use stagedoor_actors::redact::Redact;
pub use stagedoor_actors::trace::{self, TraceContext};
pub use stagedoor_actors::{
    Address, Bind, BindError, Body, BodyError, BodyLimit, Budgets, Changes, Closed, ConfigError,
    DrainProgress, Expectation, Http2Options, Inherited, Limit, Limits, ListenerConfig, MaxAge, Observer,
    OverloadLimits, Padding, Phase, Prepared, Problem, ProxyProtocol, Rate, ReconfigureError, Reply, Request,
    RequestBody, ResetStream, Response, ServerBuilder, ServerHandle, ServerStream, Service, ServiceFactory,
    SessionError, SessionEvent, SessionHandle, SessionInfo, SessionStatistics, SessionView, StartError,
    StreamHandle, StreamMisuse, StreamTimeouts, StreamTimes, StreamView, Timeouts, Tunnel, TunnelTo, Windows,
};
pub use stagedoor_actors::{DrainStep, Event, Events, LimitKind, PanicPlace, Reload};
pub use stagedoor_metrics::{
    CloseReason, Metrics, Outcome, RouteId, SessionId, TimeoutAction, TimeoutKind, WaitOn, prometheus,
};
pub use stagedoor_protocol::{ErrorCode, Fields, RequestHead, ResponseHead, StreamId, UserError, Window};
pub mod actor;
mod app;
mod asked;
pub mod prelude;
mod send_body;
mod server;
mod tower;

pub use app::{
    App, BODY_LIMIT, BodyTooLarge, Call, Endpoint, FromHead, FromParam, FromParams, FromRequest, Handler,
    Html, OnStream, Params, Path, Rejection, RouteError, Shared, Sse, SseEvent, State, Unfit, ViaHead,
    ViaRequest, any, delete, get, local, on, on_stream, patch, post, put,
};
#[cfg(feature = "json")]
pub use app::{Json, Query};
pub use send_body::SendBody;
pub use server::{Error, Listen, Result, Server, Tls};
pub use tower::{Via, tower, tower_local};

/// What the page for embedders shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct EmbeddingPage;
