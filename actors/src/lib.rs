//! Listener, Session and Stream actors over `stagedoor-protocol`.

pub mod body;
pub mod config;
pub mod server;
pub mod service;
pub mod session;
pub mod view;

pub use body::{Body, BodyError, RequestBody};
pub use config::{Limits, ListenerConfig, MaxAge, Timeouts, Windows};
pub use server::{BindError, DrainProgress, ServerBuilder, ServerHandle};
pub use service::{Reply, Request, Response, Service, ServiceFactory};
pub use session::SessionInfo;
