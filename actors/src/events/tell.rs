//! What the parts of a server say to its hub: the events of sessions in the words of a whole server.
//!
//! An outlet is shared by the sessions of one listener on one arbiter, so that a session that begins touches nothing
//! that other threads write.

use std::sync::Arc;

use stagedoor_metrics::SessionId;
use stagedoor_protocol::Limit;

use super::{Event, Hub, LimitKind};
use crate::session::{SessionEvent, SessionInfo};

/// The way of a listener's sessions to the hub.
pub(crate) struct Outlet {
    hub: Hub,
    listener: Arc<str>,
}

impl Outlet {
    pub(crate) fn new(hub: Hub, listener: Arc<str>) -> Self {
        Self { hub, listener }
    }

    /// Somebody reads.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.hub.is_heard()
    }

    /// As [`Hub::tell`]; the event gets the listener's name.
    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce(Arc<str>) -> Event) {
        self.hub.tell(|| event(Arc::clone(&self.listener)));
    }

    /// A session met one of its limits so many times.
    #[inline]
    pub(crate) fn limit_hit(&self, session: SessionId, limit: Limit, times: u32) {
        self.tell(|listener| Event::LimitHit {
            session: Some(session),
            listener: Some(listener),
            limit: LimitKind::Protective(limit),
            times,
        });
    }

    /// What a session told, where a whole server tells it too.
    pub(crate) fn pass_on(&self, info: &SessionInfo, event: &SessionEvent) {
        if let Some(event) = self.translate(info, event) {
            self.hub.publish(event);
        }
    }

    fn translate(&self, info: &SessionInfo, event: &SessionEvent) -> Option<Event> {
        let session = info.session_id();
        let listener = || Arc::clone(&self.listener);
        Some(match event {
            SessionEvent::Opened => Event::SessionOpened {
                session,
                listener: listener(),
                peer: info.peer,
                protocol: info.protocol,
                info: Arc::new(info.clone()),
            },
            SessionEvent::Closed { reason, statistics } => Event::SessionClosed {
                session,
                listener: listener(),
                peer: info.peer,
                reason: *reason,
                statistics: Arc::new((**statistics).clone()),
            },
            SessionEvent::StreamOpened { id, head } => {
                Event::StreamOpened { session, stream: *id, head: Arc::clone(head) }
            }
            SessionEvent::StreamClosed {
                id,
                outcome,
                status,
                lasted,
                octets,
                times,
                route,
                waits,
                cause,
            } => Event::StreamClosed {
                session,
                stream: *id,
                outcome: *outcome,
                status: *status,
                lasted: *lasted,
                octets: *octets,
                times: *times,
                route: *route,
                waits: *waits,
                cause: *cause,
            },
            SessionEvent::Timeout { kind, action, stream } => Event::Timeout {
                session,
                listener: listener(),
                stream: *stream,
                kind: *kind,
                action: *action,
            },
            // How the protocol gets on: told on the session's thread.
            SessionEvent::RemoteSettings { .. }
            | SessionEvent::LocalSettings { .. }
            | SessionEvent::GoAway { .. }
            | SessionEvent::Ping { .. }
            | SessionEvent::AltSvc { .. }
            | SessionEvent::Origin { .. }
            | SessionEvent::FrameError { .. }
            | SessionEvent::StreamAnswered { .. }
            | SessionEvent::Error { .. }
            | SessionEvent::Lagged { .. } => return None,
        })
    }
}
