//! A session of ours before its connection is up: one future that connects and shakes hands, under a deadline of its
//! own, while requests wait at the desk.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use stagedoor_metrics::{CloseReason, ConnectionResult};

use super::common::{Common, Facts};
use super::http2::Http2;
use super::{Engine, Step};
use crate::client::ConnectError;
use crate::client::desk::Keeper;
use crate::close::CloseSession;
use crate::transport::Transport;

/// A connection that can be used.
pub(crate) struct Established {
    pub(crate) io: Transport,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) facts: Facts,
}

/// What brings it up.
pub(crate) type Establishing = Pin<Box<dyn Future<Output = Result<Established, ConnectError>>>>;

/// See the module.
pub(crate) struct Connecting {
    establish: Establishing,
    /// Until it goes to the engine that follows.
    desk: Option<Keeper>,
    given_up: bool,
}

impl Connecting {
    pub(crate) fn new(establish: Establishing, desk: Keeper) -> Self {
        Self { establish, desk: Some(desk), given_up: false }
    }

    pub(super) fn turn(&mut self, common: &mut Common, cx: &mut Context<'_>, now: Instant) -> Step {
        let Some(desk) = &self.desk else { return Step::Gone };
        if self.given_up {
            return Step::Close(common.cut_off_order());
        }
        desk.attend(cx.waker());
        if desk.is_orphan() && desk.queued() == 0 {
            let order = CloseSession::new(CloseReason::Drain).now();
            return Step::Close(order.with_detail("nobody holds the session"));
        }
        match self.establish.as_mut().poll(cx) {
            Poll::Pending => Step::Wait,
            Poll::Ready(Ok(established)) => {
                let Some(desk) = self.desk.take() else { return Step::Gone };
                common.set_peer(established.peer);
                let link = common.opened_as(common.protocol, established.facts, now);
                let http2 = Http2::client(established.io, common, link, desk, now);
                Step::Become(Engine::Http2(Box::new(http2)))
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(parent: &common.span, %error, "no connection");
                let (result, reason) = match &error {
                    ConnectError::Tls { .. } | ConnectError::NoHttp2 { .. } => {
                        (ConnectionResult::TlsError, CloseReason::TlsError)
                    }
                    ConnectError::Timeout { .. } => {
                        (ConnectionResult::Timeout, CloseReason::HandshakeTimeout)
                    }
                    _ => (ConnectionResult::Error, CloseReason::IoError),
                };
                common.account(result);
                let order = CloseSession::new(reason).with_detail(error.to_string());
                desk.closed(error.into());
                Step::Close(order)
            }
        }
    }

    /// A graceful close: nothing was sent, there is nothing to wait for.
    pub(crate) fn give_up(&mut self) {
        if let Some(desk) = &self.desk {
            desk.closing();
        }
        self.given_up = true;
    }

    pub(crate) fn abort(self, common: &mut Common, order: &CloseSession) -> Engine {
        // Counted once: after a failure this changes nothing.
        common.account(ConnectionResult::Error);
        if let Some(desk) = &self.desk {
            let error = crate::client::desk::ended(order.reason, Some(order.code), &order.detail);
            desk.closed(error);
        }
        Engine::Gone
    }
}
