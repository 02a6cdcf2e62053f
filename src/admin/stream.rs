//! Event streams (HTML: server-sent events): a task writes, the response reads.
//!
//! Invariant: what nobody reads is not made: the task waits for room, and ends when the response is gone.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use serde::Serialize;
use stagedoor_actors::{Body, Response};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events that wait for the client.
const WAITING: usize = 16;

/// Where a task writes events.
pub(super) struct Events(Sender<Bytes>);

impl Events {
    /// Writes one event; false when nobody reads any more.
    pub(super) async fn write(&self, name: &str, data: &impl Serialize) -> bool {
        let mut event = format!("event: {name}\ndata: ").into_bytes();
        if let Err(error) = serde_json::to_writer(&mut event, data) {
            tracing::error!(%error, name, "an event is no JSON");
            return true;
        }
        event.extend_from_slice(b"\n\n");
        self.0.send(event.into()).await.is_ok()
    }

    /// Resolves when nobody reads any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A response whose events `write` makes, on the arbiter of the session that asked.
pub(super) fn respond<F: Future<Output = ()> + 'static>(write: impl FnOnce(Events) -> F) -> Response {
    let (sender, receiver) = channel(WAITING);
    actix_rt::spawn(write(Events(sender)));
    super::fresh(200, "text/event-stream").with_body(Body::stream(Written(receiver)))
}

struct Written(Receiver<Bytes>);

impl http_body::Body for Written {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
