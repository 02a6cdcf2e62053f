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
//!     server.drain(Duration::ZERO, Duration::from_secs(30), |_| ()).await;
//!     server.stop().await;
//!     Ok(())
//! })
//! # }
//! ```

pub mod access;
pub mod admin;
pub mod config;
pub mod demo;
pub mod devca;
pub mod fault;
pub mod filter;
pub mod gateway;
mod hex;
mod lifecycle;
pub mod notify;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod proxy;
mod seen;
pub mod sockets;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
pub mod upstream;
pub mod watch;

pub use lifecycle::{Lifecycle, ServerSlot, Stage};
pub use stagedoor_actors::client;
pub use stagedoor_actors::facade::{self, HttpRequest, HttpResponse, IntoResponse, handler};
pub use stagedoor_actors::files;
pub use stagedoor_actors::redact::Redact;
pub use stagedoor_actors::trace::{self, TraceContext};
pub use stagedoor_actors::{
    Address, Bind, BindError, Body, BodyError, BodyLimit, Budgets, Changes, Closed, DrainProgress,
    Expectation, Http2Options, Inherited, Limit, Limits, ListenerConfig, MaxAge, OverloadLimits, Phase,
    Prepared, ProxyProtocol, Rate, ReconfigureError, Reply, Request, RequestBody, Response, ServerBuilder,
    ServerHandle, ServerStream, Service, ServiceFactory, SessionHandle, SessionInfo, StartError,
    StreamHandle, StreamMisuse, Timeouts, Tunnel, TunnelTo, Windows,
};
pub use stagedoor_metrics::{Metrics, RouteId};
pub use stagedoor_protocol::{Fields, RequestHead, StreamId, Window};
