//! Listener, Session and Stream actors over `stagedoor-protocol`.
//!
//! ```text
//! Supervisor > Listener -sockets-> Worker (one per arbiter) > Session > Stream -> Service
//! ```
//! A [`Service`] answers requests; [`ServerBuilder`] runs it behind listeners, [`Host`] behind any stream of
//! octets. Every session ends by [`CloseSession`], every stream is an actor its session owns. Speaks HTTP/2
//! through the protocol machine and HTTP/1.1 through hyper, and sends [`files`]; knows no routes or upstreams.

mod brood;
mod chunks;
mod clock;
mod envelope;
mod host;
mod link;
mod overload;
mod postmortem;
mod promise;
mod scratch;
mod supervise;
mod turns;
mod worker;

pub mod actor;
pub mod body;
pub mod client;
pub mod close;
pub mod config;
pub mod convert;
pub mod crypto;
pub mod events;
pub mod facade;
pub mod files;
pub mod listener;
pub mod redact;
pub mod server;
pub mod service;
pub mod session;
pub mod stream;
pub mod tap;
pub mod trace;
pub mod transport;
pub mod tunnel;
pub mod view;

pub use body::{Body, BodyError, BodyLimit, RequestBody};
pub use close::CloseSession;
pub use config::{
    ConfigError, Http2Options, Limits, ListenerConfig, MaxAge, Problem, ProxyProtocol, StreamTimeouts,
    Timeouts, Windows,
};
pub use events::{DrainStep, Event, Events, LimitKind, PanicPlace};
pub use facade::IntoResponse;
pub use host::{ADMIN, Host, counting_here};
pub use listener::{Address, Bind, Inherited, SessionEnded};
pub use overload::OverloadLimits;
pub use postmortem::PostMortems;
pub use redact::Redact;
pub use server::{
    BindError, Changes, DrainProgress, NoTap, Prepared, ReconfigureError, Reload, ServerBuilder,
    ServerHandle, StartError,
};
pub use service::{Expectation, Reply, Request, Response, Service, ServiceFactory, WholeResponse};
pub use session::{
    Acknowledged, Answer, Certificate, EventStream, GoAway, Handshaking, Observer, ObserverFactory, Pong,
    ResetStream, ServerHandshake, Session, SessionError, SessionEvent, SessionHandle, SessionInfo,
    SessionSnapshot, SessionStatistics, StreamTimes, TlsFacts, perform_server_handshake,
};
pub use stagedoor_protocol::{AltSvcTarget, Budgets, ConnectionState, Limit, Padding, Rate, Reaction};
pub use stream::{CloseStream, Closed, Phase, Pushed, ServerStream, Stream, StreamHandle, StreamMisuse};
pub use trace::TraceContext;
pub use tunnel::{Tunnel, TunnelTo};
pub use view::{PostMortem, SessionView, StreamView};
