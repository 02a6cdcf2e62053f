//! The facade of stagedoor: what an application needs to serve HTTP/2 and HTTP/1.1 from actors of its own
//! process, and the parts the `stagedoor` command is made of ([`admin`], [`demo`], [`devca`]).
//!
//! Holds no engine: connections live in `stagedoor-actors`, HTTP/2 in `stagedoor-protocol`, the figures in
//! `stagedoor-metrics`. Starts nothing by itself, and reads no configuration but where [`config::load`] is asked to.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use stagedoor::{HttpRequest, ListenerConfig, Metrics, ServerBuilder, handler};
//!
//! async fn hello(request: HttpRequest) -> String {
//!     format!("hello, session {}\n", request.body().session().id)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! actix_rt::System::new().block_on(async {
//!     let plain = ListenerConfig::new("plain", "127.0.0.1:8080".parse()?);
//!     let server = ServerBuilder::new(Metrics::new("stagedoor"), 2)
//!         .listen(plain, handler(hello), false)
//!         .start()
//!         .await?;
//!     // ... until it is time to go:
//!     server.drain(Duration::from_secs(30)).await;
//!     server.stop().await;
//!     Ok(())
//! })
//! # }
//! ```

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
