//! Responses the client did not ask for (RFC 9113 §8.4): the promise goes out at once, in the order of the messages;
//! the stream that answers it is hatched when the session runs its streams.
//!
//! Invariant: a promised stream is an entry like any other: it ends once and is counted once.

use std::sync::Arc;
use std::time::Instant;

use stagedoor_metrics::{Method, Outcome, RouteId};
use stagedoor_protocol::StreamId;

use super::{Entry, Http2};
use crate::link::{Push, Start};
use crate::service::Reply;
use crate::session::common::Common;
use crate::session::ended::Ended;
use crate::session::events::SessionEvent;
use crate::session::spans;
use crate::supervise::Contained;

/// A promise that is out, and the answer that will keep it.
pub(super) struct Promised {
    id: StreamId,
    method: Method,
    route: RouteId,
    reply: Contained<Reply>,
}

impl Http2 {
    /// Sends the promise.
    #[cold]
    pub(super) fn promise(&mut self, push: Push) {
        let Push { parent, head, route, reply, told } = push;
        match self.conn.send_push(parent, &head) {
            Ok(id) => {
                let method = Method::from_token(head.method_octets());
                self.link.tell(|| SessionEvent::StreamOpened { id, head: Arc::new(head) });
                self.promised.push(Promised { id, method, route, reply });
                told.keep(Ok(id));
            }
            Err(error) => {
                tracing::debug!(parent: &self.link.span, stream = parent.get(), %error, "not pushed");
                told.keep(Err(error.into()));
            }
        }
        self.stirred = true;
    }

    /// A promise is out and its stream not yet begun.
    pub(super) fn is_promised(&self, id: StreamId) -> bool {
        self.promised.iter().any(|promised| promised.id == id)
    }

    /// Starts the streams of promises.
    #[cold]
    pub(super) fn keep_promises(&mut self, common: &mut Common, now: Instant) {
        for promised in std::mem::take(&mut self.promised) {
            let Promised { id, method, route, reply } = promised;
            common.stream_opened(self.protocol);
            let mut entry = Entry::new(now, method);
            entry.route = route;
            if !self.conn.is_open(id) {
                // The client would not have it, and was faster than the answer: its end was told already.
                let over = self.conn.is_closed();
                let outcome = if over { Outcome::SessionClosed } else { Outcome::ResetByPeer };
                common.stream_ended(id, Ended::of(&mut entry, outcome), now);
                self.conn.release_stream(id);
                continue;
            }
            entry.alive = true;
            if let Some(span) = spans::bare(&self.link, id) {
                entry.parts().span = Some(span);
            }
            self.charging.target.clear();
            self.hatch(id, entry, method, Start::Push(route, reply), common, now);
        }
    }
}
