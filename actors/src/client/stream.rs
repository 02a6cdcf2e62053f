//! A request under way, in the hands of who made it: [`ClientStream`], and [`ResponseBody`] for who only reads.
//!
//! Invariants: a response that is not whole is an error to its reader, whatever code the peer puts on it; dropping the
//! last handle of an unfinished stream resets it with CANCEL.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use stagedoor_metrics::Outcome;
use stagedoor_protocol::{ErrorCode, Fields, RequestHead, ResponseHead, StreamId};

use super::call::{Call, News};
use super::error::{SendError, StreamError};
use crate::convert;

/// A handle of a call; the last to go lets it go.
pub(super) struct Guard(Rc<Call>);

impl Guard {
    fn new(call: Rc<Call>) -> Self {
        call.held();
        Self(call)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.released();
    }
}

/// What a stream brings, in order. [`Event::Closed`] is the last.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::client::{Event, RequestOptions};
///
/// let mut stream = session.request("/", RequestOptions::default())?;
/// while let Some(event) = stream.next_event().await {
///     match event {
///         Event::Informational(head) => println!("{} comes first", head.status),
///         Event::Response(head) => assert_eq!(head.status, 200),
///         Event::Closed(end) => end?,
///         other => println!("{other:?}"),
///     }
/// }
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// 100: the body is wanted (RFC 9110 §10.1.1).
    Continue(ResponseHead),
    /// Any other informational head: 102 to 199.
    Informational(ResponseHead),
    /// The server pushes a response (RFC 9113 §8.4). Dropping it cancels it.
    Push(PushedStream),
    /// The final head.
    Response(ResponseHead),
    /// Trailers, after the last octet of the body has arrived (it may not have been read yet).
    Trailers(Fields),
    /// Both sides are done, or the stream was reset.
    Closed(Result<(), StreamError>),
}

/// How far a stream has come.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::client::{RequestOptions, StreamState};
///
/// let stream = session.request("/", RequestOptions::default())?;
/// assert_eq!((stream.state(), stream.id()), (StreamState::Pending, None));
/// stream.closed().await?;
/// assert_eq!(stream.state(), StreamState::Closed);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// It waits for the connection or for the peer's concurrency limit; it has no identifier.
    Pending,
    /// It is open on at least one side.
    Open,
    /// It is over.
    Closed,
}

/// A request under way. Dropping it before its end cancels it.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::Body;
/// use stagedoor_actors::client::{RequestOptions, RequestParts};
/// use stagedoor_actors::facade::{HttpRequest, HttpResponse, local_handler};
///
/// let echo = async |request: HttpRequest| HttpResponse::new(Body::stream(request.into_body()));
/// let service = local_handler(echo);
/// # let (_host, session) = in_memory(service)?;
/// let mut stream = session.request(RequestParts::post("/"), RequestOptions::default())?;
/// stream.send_data("one".into()).await?;
/// assert_eq!(stream.response().await?.status, 200);
/// assert_eq!(stream.chunk().await.transpose()?.as_deref(), Some(&b"one"[..]));
/// stream.finish_with("two".into()).await?;
/// assert_eq!(stream.chunk().await.transpose()?.as_deref(), Some(&b"two"[..]));
/// # Ok(())
/// # })
/// # }
/// ```
pub struct ClientStream {
    guard: Guard,
}

impl ClientStream {
    pub(super) fn new(call: Rc<Call>) -> Self {
        Self { guard: Guard::new(call) }
    }

    fn call(&self) -> &Rc<Call> {
        &self.guard.0
    }

    /// The stream's identifier; `None` while it is pending.
    pub fn id(&self) -> Option<StreamId> {
        self.call().id()
    }

    /// When it got its identifier: from then on the server is waited for.
    pub fn opened_at(&self) -> Option<Instant> {
        self.call().opened_at()
    }

    /// How far it has come.
    pub fn state(&self) -> StreamState {
        match (self.call().is_closed(), self.call().is_pending()) {
            (true, _) => StreamState::Closed,
            (false, true) => StreamState::Pending,
            (false, false) => StreamState::Open,
        }
    }

    /// The code of the RST_STREAM or GOAWAY that ended it; NO_ERROR after a good end, `None` before any.
    pub fn code(&self) -> Option<ErrorCode> {
        match self.call().end()? {
            Ok(()) => Some(ErrorCode::NO_ERROR),
            Err(error) => error.code(),
        }
    }

    /// Waits until the head is sent.
    /// # Errors
    /// [`StreamError`] where it never will be.
    pub async fn opened(&self) -> Result<StreamId, StreamError> {
        std::future::poll_fn(|cx| self.call().poll_opened(cx)).await
    }

    /// The final head of the response. Informational heads and pushes stay for [`Self::next_event`].
    /// # Errors
    /// [`StreamError`] where none comes. A head that was taken already is [`StreamError::Gone`].
    pub async fn response(&mut self) -> Result<ResponseHead, StreamError> {
        match std::future::poll_fn(|cx| self.call().poll_response(cx)).await? {
            Some(head) => Ok(head),
            None => Err(StreamError::Gone(self.id().unwrap_or(StreamId::CONNECTION))),
        }
    }

    /// [`Self::response`] for hand-written futures.
    pub fn poll_response(&mut self, cx: &Context<'_>) -> Poll<Result<ResponseHead, StreamError>> {
        self.call()
            .poll_response(cx)
            .map(|head| head?.ok_or_else(|| StreamError::Gone(self.id().unwrap_or(StreamId::CONNECTION))))
    }

    /// An informational head that came and was not taken yet.
    pub fn informational(&mut self) -> Option<ResponseHead> {
        self.call().take_informational()
    }

    /// The whole body of the response where all of it is here, in one piece, without trailers; none otherwise, and nothing
    /// is taken then.
    pub fn whole(&mut self) -> Option<Bytes> {
        self.call().inbound()?.take_whole()
    }

    /// Nothing is left to be read of the response, trailers included.
    pub fn is_read_out(&self) -> bool {
        self.call().inbound().is_some_and(|inbound| inbound.is_over())
    }

    /// What came next beside the octets of the body; `None` after [`Event::Closed`].
    pub async fn next_event(&mut self) -> Option<Event> {
        let news = std::future::poll_fn(|cx| self.call().poll_news(cx)).await?;
        Some(match news {
            News::Informational(head) if head.status == 100 => Event::Continue(head),
            News::Informational(head) => Event::Informational(head),
            News::Push(push) => Event::Push(push),
            News::Response(head) => Event::Response(head),
            News::Trailers(fields) => Event::Trailers(fields),
            News::Closed(end) => Event::Closed(end),
        })
    }

    /// Waits for the end of both sides. The body has to be read, or does not fit the window.
    /// # Errors
    /// What ended it early.
    pub async fn closed(&self) -> Result<(), StreamError> {
        std::future::poll_fn(|cx| self.call().poll_closed(cx)).await
    }

    /// The next octets of the response; `None` at its end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, StreamError>> {
        std::future::poll_fn(|cx| self.call().poll_chunk(cx)).await
    }

    /// [`Self::chunk`] for hand-written futures.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        self.call().poll_chunk(cx)
    }

    /// Trailers of the response, once [`Self::chunk`] has said `None`.
    pub fn trailers(&mut self) -> Option<Fields> {
        self.call().inbound()?.take_trailers()
    }

    /// The body of the response to keep without the stream.
    pub fn into_body(self) -> ResponseBody {
        ResponseBody::new(self.guard, None)
    }

    /// Sends octets; waits while the peer, or the session's queue, takes none.
    /// # Errors
    /// [`SendError`]; octets before it may have been sent.
    pub async fn send_data(&mut self, mut data: Bytes) -> Result<(), SendError> {
        self.call().check(data.len(), false)?;
        while !data.is_empty() {
            let room = std::future::poll_fn(|cx| self.call().poll_room(cx)).await?;
            let piece = data.split_to(room.min(data.len()));
            self.call().give(piece, false);
        }
        Ok(())
    }

    /// [`Self::send_data`] for hand-written futures: takes as much as there is room for and says how much.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, SendError>> {
        if let Err(error) = self.call().check(data.len(), false) {
            return Poll::Ready(Err(error));
        }
        self.call().poll_room(cx).map(|room| {
            let taken = room?.min(data.len());
            if taken > 0 {
                self.call().give(Bytes::copy_from_slice(&data[..taken]), false);
            }
            Ok(taken)
        })
    }

    /// Sends the last octets; END_STREAM rides on them.
    /// # Errors
    /// As [`Self::send_data`], and fewer octets than `content-length`.
    pub async fn finish_with(&mut self, mut data: Bytes) -> Result<(), SendError> {
        self.call().check(data.len(), true)?;
        loop {
            // Without octets there is no need for room, only for a number.
            let room = match data.is_empty() {
                true => {
                    self.opened().await?;
                    0
                }
                false => std::future::poll_fn(|cx| self.call().poll_room(cx)).await?,
            };
            let piece = data.split_to(room.min(data.len()));
            let end = data.is_empty();
            self.call().give(piece, end);
            if end {
                return Ok(());
            }
        }
    }

    /// Ends this side.
    /// # Errors
    /// As [`Self::finish_with`].
    pub async fn finish(&mut self) -> Result<(), SendError> {
        self.finish_with(Bytes::new()).await
    }

    /// Ends this side of a stream that has its number; harmless where it has ended.
    pub(super) fn end(&mut self) {
        if self.call().check(0, true).is_ok() {
            self.call().give(Bytes::new(), true);
        }
    }

    /// Ends this side with trailers.
    /// # Errors
    /// As [`Self::finish_with`], and [`SendError::Invalid`].
    pub async fn send_trailers(&mut self, fields: Fields) -> Result<(), SendError> {
        fields.check_trailers(self.call().strict())?;
        self.call().check(0, true)?;
        self.opened().await?;
        self.call().give_trailers(fields);
        Ok(())
    }

    /// Resets the stream. A pending one is never sent; one that is over is left alone.
    pub fn reset(&self, code: ErrorCode) {
        self.call().reset(StreamError::ResetByUs(code), code, Outcome::ResetByUs);
    }
}

impl std::fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientStream")
            .field("id", &self.id())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// A response the server sends without having been asked. Dropping it cancels it.
///
/// ```
/// use stagedoor_actors::client::{Event, PushedStream, StreamError};
///
/// async fn take(event: Event) -> Result<(), StreamError> {
///     if let Event::Push(PushedStream { head, mut stream }) = event {
///         println!("{} is pushed: {}", head.path().unwrap_or("-"), stream.response().await?.status);
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct PushedStream {
    /// The request it answers.
    pub head: RequestHead,
    /// Where the response comes; nothing can be sent on it.
    pub stream: ClientStream,
}

/// The body of a response. Octets given out are credited to the peer's windows; dropping it unread cancels the stream.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// let answer = session.send(http::Request::get("/").body(())?).await?;
/// let mut body = answer.into_body();
/// assert_eq!(body.content_length(), Some(5));
/// let mut octets = 0;
/// while let Some(chunk) = body.chunk().await {
///     octets += chunk?.len();
/// }
/// assert_eq!((octets, body.trailers()), (5, None));
/// # Ok(())
/// # })
/// # }
/// ```
pub struct ResponseBody {
    guard: Guard,
    content_length: Option<u64>,
}

impl ResponseBody {
    pub(super) fn new(guard: Guard, content_length: Option<u64>) -> Self {
        Self { guard, content_length }
    }

    pub(super) fn of(stream: ClientStream, content_length: Option<u64>) -> Self {
        Self::new(stream.guard, content_length)
    }

    /// The next octets; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, StreamError>> {
        std::future::poll_fn(|cx| self.guard.0.poll_chunk(cx)).await
    }

    /// Trailers, once [`Self::chunk`] has said `None`.
    pub fn trailers(&mut self) -> Option<Fields> {
        self.guard.0.inbound()?.take_trailers()
    }

    /// The whole rest, of at most `limit` octets.
    /// # Errors
    /// A body that is not whole, or longer: [`CollectError`].
    pub async fn collect_up_to(&mut self, limit: usize) -> Result<Bytes, CollectError> {
        let mut whole = bytes::BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if whole.len() + chunk.len() > limit {
                return Err(CollectError::TooLong(limit));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Declared length in octets, where the head says one.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }
}

/// A body that was not collected.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::client::CollectError;
///
/// let mut answer = session.send(http::Request::get("/").body(())?).await?;
/// let error = answer.body_mut().collect_up_to(4).await.unwrap_err();
/// assert!(matches!(error, CollectError::TooLong(4)), "{error}");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// It is not whole.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// It is longer than was allowed, in octets.
    #[error("the body has more than {0} octets")]
    TooLong(usize),
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        match this.guard.0.poll_chunk(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(chunk)) => Poll::Ready(Some(chunk.map(Frame::data))),
            Poll::Ready(None) => {
                Poll::Ready(this.trailers().map(|fields| Ok(Frame::trailers(convert::to_headers(&fields)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.guard.0.inbound().is_some_and(|inbound| inbound.is_over())
    }

    fn size_hint(&self) -> SizeHint {
        match (self.content_length, self.guard.0.inbound()) {
            (Some(length), Some(inbound)) => SizeHint::with_exact(length.saturating_sub(inbound.taken())),
            _ => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").field("content_length", &self.content_length).finish_non_exhaustive()
    }
}

impl PushedStream {
    pub(crate) fn new(head: RequestHead, call: Rc<Call>) -> Self {
        Self { head, stream: ClientStream::new(call) }
    }
}
