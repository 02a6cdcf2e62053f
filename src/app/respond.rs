//! Responses of a kind: [`Html`], and [`Sse`] for server-sent events.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http_body::Frame;
use pin_project_lite::pin_project;
use stagedoor_actors::{Body, IntoResponse, Response};
use std::convert::Infallible;

/// Text as HTML.
///
/// ```
/// use stagedoor::{Html, IntoResponse as _};
///
/// let page = Html("<h1>hello</h1>").into_response();
/// assert_eq!(page.fields.get_str("content-type"), Some("text/html; charset=utf-8"));
/// ```
#[derive(Clone, Debug)]
pub struct Html<T>(pub T);

impl<T: Into<String>> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        Response::new(200)
            .with_field("content-type", "text/html; charset=utf-8")
            .with_body(Body::full(Bytes::from(self.0.into())))
    }
}

/// Server-sent events (HTML, "Server-sent events"): what `events` gives until it ends or the client goes, when it is
/// dropped. Events are asked for only as the client takes them.
///
/// ```
/// use futures_util::stream;
/// use stagedoor::{Sse, SseEvent, get};
///
/// let endpoint = get(|| async {
///     Sse(stream::iter(["one", "two"]).map(|word| SseEvent::data(word)))
/// });
/// # use futures_util::StreamExt as _;
/// ```
#[derive(Clone, Debug)]
pub struct Sse<S>(pub S);

/// One server-sent event.
///
/// ```
/// use stagedoor::{App, Sse, SseEvent, get};
///
/// async fn ticks() -> Sse<impl futures_util::Stream<Item = SseEvent>> {
///     Sse(futures_util::stream::iter([SseEvent::data("one\ntwo").event("tick").id("7")]))
/// }
///
/// let app = App::new().route("/ticks", get(ticks));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/ticks").await.assert_text("data: one\ndata: two\nevent: tick\nid: 7\n\n");
/// # });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    text: String,
}

impl SseEvent {
    /// An event with data; each line of them is a line of the event.
    pub fn data(data: impl AsRef<str>) -> Self {
        let mut event = Self::default();
        for line in lines(data.as_ref()) {
            event.line("data", line);
        }
        event
    }

    /// Its type; `message` where none is given. Line ends in it are left out.
    #[must_use]
    pub fn event(mut self, name: impl AsRef<str>) -> Self {
        self.line("event", &one_line(name.as_ref()));
        self
    }

    /// Its id, which a client that comes back says in `last-event-id`. Line ends in it are left out.
    #[must_use]
    pub fn id(mut self, id: impl AsRef<str>) -> Self {
        self.line("id", &one_line(id.as_ref()));
        self
    }

    /// Words that a client takes no notice of: they keep what is between us awake.
    pub fn comment(words: impl AsRef<str>) -> Self {
        let mut event = Self::default();
        for line in lines(words.as_ref()) {
            event.line("", line);
        }
        event
    }

    fn line(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        writeln!(self.text, "{name}: {value}").ok();
    }

    fn finish(mut self) -> Bytes {
        self.text.push('\n');
        self.text.into()
    }
}

/// Lines however they end; a stream of events knows CR, LF and both.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn one_line(text: &str) -> String {
    text.chars().filter(|letter| !matches!(letter, '\r' | '\n' | '\0')).collect()
}

impl<S: Stream<Item = SseEvent> + 'static> IntoResponse for Sse<S> {
    fn into_response(self) -> Response {
        Response::new(200)
            .with_field("content-type", "text/event-stream")
            .with_field("cache-control", "no-store")
            .with_body(Body::stream(Events { events: self.0 }))
    }
}

pin_project! {
    struct Events<S> {
        #[pin]
        events: S,
    }
}

impl<S: Stream<Item = SseEvent>> http_body::Body for Events<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.project().events.poll_next(cx).map(|event| event.map(|event| Ok(Frame::data(event.finish()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_lines_and_an_empty_one() {
        let event = SseEvent::data("one\r\ntwo\rthree\n").id("7").event("tick\ndata: forged");
        assert_eq!(
            event.finish(),
            "data: one\ndata: two\ndata: three\ndata: \nid: 7\nevent: tickdata: forged\n\n"
        );
        assert_eq!(SseEvent::comment("still here").finish(), ": still here\n\n");
    }
}
