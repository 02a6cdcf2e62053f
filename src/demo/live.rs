//! `/hints` and `/events`: answers that begin before they are complete.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use stagedoor_actors::{Body, Request, Response, StreamMisuse};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::answer;

/// What `/hints` lets a browser fetch early.
const LINKS: [&str; 1] = ["</files/style.css>; rel=preload; as=style"];

/// Time between two events.
const PACE: Duration = Duration::from_secs(1);

/// `/hints`: 103 with `link` (RFC 8297), then 200; on HTTP/1.1 the 200 alone, with the same `link`.
pub(super) fn hints(request: &Request) -> Response {
    match request.handle().early_hints(LINKS) {
        Ok(()) | Err(StreamMisuse::NotHttp2) => {}
        Err(error) => tracing::debug!(%error, "no hints"),
    }
    let response = answer::text(200, "103 came first, where the protocol has it\n");
    LINKS.iter().fold(response, |response, link| response.with_field("link", link))
}

/// `/events`: server-sent events, one a second, until the client goes. `last-event-id` goes on counting.
pub(super) fn events(request: &Request) -> Response {
    let last = request.head.fields().get("last-event-id");
    let last = last.and_then(|value| std::str::from_utf8(value).ok()).and_then(|text| text.parse().ok());
    Response::new(200)
        .with_field("content-type", "text/event-stream")
        .with_field("cache-control", "no-store")
        .with_body(Body::stream(Events {
            count: last.unwrap_or(0),
            session: request.session.id.clone(),
            ticks: None,
        }))
}

struct Events {
    count: u64,
    session: String,
    ticks: Option<Pin<Box<Interval>>>,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let ticks = self.ticks.get_or_insert_with(|| {
            let mut ticks = interval(PACE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            Box::pin(ticks)
        });
        if ticks.poll_tick(cx).is_pending() {
            return Poll::Pending;
        }
        self.count = self.count.wrapping_add(1);
        let (count, session) = (self.count, &self.session);
        let event =
            format!("id: {count}\nevent: tick\ndata: {{\"count\":{count},\"session\":\"{session}\"}}\n\n");
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
