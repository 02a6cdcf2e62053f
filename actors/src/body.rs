//! Bodies, both ways, with backpressure.
//!
//! A request's body is a queue the session fills (HTTP/2) or hyper's own body (HTTP/1.1); octets are credited
//! to the peer's windows when the handler takes them, and when it lets go of the body unread. A response's
//! body is polled only while the session takes octets.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use stagedoor_protocol::{ErrorCode, Fields, ResponseHead, StreamId};

use crate::chunks::Chunks;
use crate::convert;
use crate::link::{Link, Note, ToSession};
use crate::session::http1::Incoming;

/// Why a body ended before its end.
///
/// ```
/// use stagedoor_actors::BodyError;
///
/// fn is_the_clients(error: &BodyError) -> bool {
///     matches!(error, BodyError::Reset(_) | BodyError::TooLarge)
/// }
/// assert!(is_the_clients(&BodyError::TooLarge));
/// assert!(!is_the_clients(&BodyError::SessionClosed));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The peer reset the stream.
    #[error("the peer reset the stream with {0}")]
    Reset(ErrorCode),
    /// The session ended.
    #[error("the session ended")]
    SessionClosed,
    /// The connection broke, or the message was malformed.
    #[error("the body is broken: {0}")]
    Broken(String),
    /// It has more octets than were allowed ([`RequestBody::limit`]).
    #[error("the body is larger than allowed")]
    TooLarge,
}

/// A response body that is produced while it is sent.
///
/// ```
/// use bytes::Bytes;
/// use http_body::Body as _;
/// use http_body_util::{BodyExt as _, Full};
/// use stagedoor_actors::Body;
/// use stagedoor_actors::body::BoxBody;
///
/// let produced: BoxBody = Box::pin(Full::new(Bytes::from("hello")).map_err(Into::into));
/// assert_eq!(produced.size_hint().exact(), Some(5));
/// let body = Body::Stream(produced);
/// ```
pub type BoxBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = Box<dyn std::error::Error>>>>;

/// The body of a response.
///
/// ```
/// use bytes::Bytes;
/// use stagedoor_actors::Body;
///
/// assert!(matches!(Body::full(Bytes::new()), Body::Empty));
/// assert!(matches!(Body::from("hello"), Body::Full(octets) if octets == "hello"));
/// // Any body of the `http-body` crate:
/// let produced = Body::stream(http_body_util::Full::new(Bytes::from("hello")));
/// assert!(matches!(produced, Body::Stream(_)));
/// ```
pub enum Body {
    /// None: END_STREAM rides on HEADERS.
    Empty,
    /// Known whole: head, body and end are one message.
    Full(Bytes),
    /// Produced as capacity comes back; may end with trailers. An error resets the stream (INTERNAL_ERROR).
    Stream(BoxBody),
    /// Not a body but a tunnel, see [`crate::Tunnel`]; status and fields of the response are left aside.
    Tunnel(Box<TunnelBody>),
}

/// A tunnel whose head waits to be sent, and the task that serves it.
pub struct TunnelBody {
    pub(crate) head: ToSession,
    pub(crate) run: Pin<Box<dyn Future<Output = ()>>>,
}

impl Body {
    /// Octets known whole; none is [`Body::Empty`].
    pub fn full(octets: Bytes) -> Self {
        if octets.is_empty() { Self::Empty } else { Self::Full(octets) }
    }

    /// A body that is polled as the peer takes it.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn std::error::Error>>,
    {
        Self::Stream(Box::pin(MapError { body }))
    }
}

pin_project! {
    /// Makes every error the one type of [`BoxBody`].
    struct MapError<B> {
        #[pin]
        body: B,
    }
}

impl<B> http_body::Body for MapError<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.project().body.poll_frame(cx).map(|frame| frame.map(|result| result.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request. Octets given out are credited to the peer's windows. Also an [`http_body::Body`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::{Reply, Request, Response, Service};
///
/// struct Length;
///
/// impl Service for Length {
///     fn call(&self, request: Request) -> Reply {
///         Reply::later(async move {
///             match request.body.collect(1 << 20).await {
///                 Ok(octets) => Response::text(octets.len().to_string()),
///                 Err(_) => Response::new(413),
///             }
///         })
///     }
/// }
/// # let service = std::rc::Rc::new(Length);
/// # let (_host, session) = in_memory(service)?;
/// # let mut answer = session.send(http::Request::post("/").body("tea")?).await?;
/// # assert_eq!(answer.body_mut().collect_up_to(100).await?, "3");
/// # Ok(())
/// # })
/// # }
/// ```
pub struct RequestBody {
    source: Source,
    content_length: Option<u64>,
    trailers: Option<Fields>,
    limit: Option<BodyLimit>,
}

/// How much of a request body may still come, see [`RequestBody::limit`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::{Reply, Request, Response, Service};
///
/// struct Careful;
///
/// impl Service for Careful {
///     fn call(&self, mut request: Request) -> Reply {
///         let limit = request.body.limit(4);
///         Reply::later(async move {
///             while let Some(Ok(_)) = request.body.chunk().await {}
///             Response::new(if limit.is_crossed() { 413 } else { 204 })
///         })
///     }
/// }
/// # let service = std::rc::Rc::new(Careful);
/// # let (_host, session) = in_memory(service)?;
/// # assert_eq!(session.send(http::Request::post("/").body("fives")?).await?.status(), 413);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BodyLimit(Rc<Cell<Option<u64>>>);

impl BodyLimit {
    /// More came than was allowed.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        self.0.get().is_none()
    }

    /// Counts a chunk; false when it is too much.
    fn pass(&self, octets: usize) -> bool {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(octets as u64)));
        !self.is_crossed()
    }
}

enum Source {
    Nothing,
    Http2(Rc<Inbound>),
    Http1(Box<Incoming>),
}

impl RequestBody {
    /// No body at all.
    pub(crate) fn nothing() -> Self {
        Self { source: Source::Nothing, content_length: None, trailers: None, limit: None }
    }

    pub(crate) fn http2(inbound: Rc<Inbound>, content_length: Option<u64>) -> Self {
        Self { source: Source::Http2(inbound), content_length, trailers: None, limit: None }
    }

    pub(crate) fn http1(incoming: Incoming, content_length: Option<u64>) -> Self {
        Self { source: Source::Http1(Box::new(incoming)), content_length, trailers: None, limit: None }
    }

    /// Nothing to read, now and later: no octets and no trailers.
    pub fn is_empty(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Http2(inbound) => inbound.is_over(),
            Source::Http1(incoming) => incoming.is_end_stream(),
        }
    }

    /// 100 (Continue) goes out when the body is first waited for.
    pub(crate) fn ask_for_it(&self) {
        if let Source::Http2(inbound) = &self.source {
            inbound.unasked.set(true);
        }
    }

    /// The next octets; `None` at the end (then [`Self::trailers`] may have some).
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// [`Self::chunk`] for hand-written futures.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.limit.as_ref().is_some_and(BodyLimit::is_crossed) {
            return Poll::Ready(Some(Err(BodyError::TooLarge)));
        }
        let chunk = match &mut self.source {
            Source::Nothing => Poll::Ready(None),
            Source::Http2(inbound) => inbound.poll_chunk(cx),
            Source::Http1(incoming) => incoming.poll_chunk(cx, &mut self.trailers),
        };
        match (&self.limit, chunk) {
            (Some(limit), Poll::Ready(Some(Ok(octets)))) => {
                Poll::Ready(Some(match limit.pass(octets.len()) {
                    true => Ok(octets),
                    false => Err(BodyError::TooLarge),
                }))
            }
            (_, chunk) => chunk,
        }
    }

    /// Lets at most `octets` octets through from now on. The chunk that would cross it, and every one after it, is
    /// [`BodyError::TooLarge`]; what is returned tells so to whoever gave the body away.
    pub fn limit(&mut self, octets: u64) -> BodyLimit {
        let limit = BodyLimit(Rc::new(Cell::new(Some(octets))));
        self.limit = Some(limit.clone());
        limit
    }

    /// The whole body, of at most `limit` octets; trailers are dropped.
    /// # Errors
    /// [`BodyError::TooLarge`] as soon as it is known, and whatever breaks it.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        if self.content_length.is_some_and(|length| length > limit as u64) {
            return Err(BodyError::TooLarge);
        }
        if let Some(whole) = self.take_whole(limit) {
            return Ok(whole);
        }
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if all.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// All that is left, where it has come already, is one piece of at most `limit` octets, and no trailers follow it.
    pub fn take_whole(&mut self, limit: usize) -> Option<Bytes> {
        let Source::Http2(inbound) = &self.source else { return None };
        if self.limit.is_some() || inbound.unread() > limit {
            return None;
        }
        inbound.take_whole()
    }

    /// Trailers, once `chunk` has said `None`.
    pub fn trailers(&mut self) -> Option<Fields> {
        match &self.source {
            Source::Http2(inbound) => inbound.take_trailers(),
            Source::Nothing | Source::Http1(_) => self.trailers.take(),
        }
    }

    /// Declared length in octets, where the head says one.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.poll_chunk(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(chunk)) => Poll::Ready(Some(chunk.map(Frame::data))),
            Poll::Ready(None) => {
                Poll::Ready(self.trailers().map(|fields| Ok(Frame::trailers(convert::to_headers(&fields)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.source, self.content_length) {
            (Source::Nothing, _) => SizeHint::with_exact(0),
            (Source::Http2(inbound), Some(length)) => {
                SizeHint::with_exact(length.saturating_sub(inbound.taken()))
            }
            (Source::Http1(incoming), Some(_)) => incoming.size_hint(),
            (_, None) => SizeHint::default(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Source::Http2(inbound) = &self.source {
            inbound.let_go();
        }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody").field("content_length", &self.content_length).finish_non_exhaustive()
    }
}

/// Octets of an HTTP/2 request body between the session that receives and the handler that reads. Holds at
/// most what the stream's receive window allows.
pub(crate) struct Inbound {
    link: Rc<Link>,
    id: StreamId,
    state: RefCell<State>,
    /// The client waits for 100 (Continue) before it sends.
    unasked: Cell<bool>,
}

#[derive(Default)]
struct State {
    chunks: Chunks,
    unread: usize,
    taken: u64,
    end: End,
    trailers: Option<Box<Fields>>,
    /// Who waits for octets, and since when.
    reader: Option<(Waker, Instant)>,
}

#[derive(Default)]
enum End {
    #[default]
    Open,
    Ended,
    Failed(BodyError),
}

impl Inbound {
    pub(crate) fn new(link: Rc<Link>, id: StreamId) -> Self {
        Self { link, id, state: RefCell::default(), unasked: Cell::new(false) }
    }

    /// Octets came; true when a reader was woken.
    pub(crate) fn push(&self, data: Bytes, end: bool) -> bool {
        let mut state = self.state.borrow_mut();
        if end {
            state.end = End::Ended;
        } else if data.is_empty() {
            // No news, and no progress.
            return false;
        }
        if !data.is_empty() {
            state.unread += data.len();
            state.chunks.push_back(data);
        }
        Self::wake(&mut state)
    }

    /// Trailers came; nothing follows.
    pub(crate) fn finish(&self, trailers: Fields) -> bool {
        let mut state = self.state.borrow_mut();
        state.trailers = Some(Box::new(trailers));
        state.end = End::Ended;
        Self::wake(&mut state)
    }

    /// Nothing follows, and the body is not whole.
    pub(crate) fn fail(&self, error: BodyError) -> bool {
        let mut state = self.state.borrow_mut();
        if matches!(state.end, End::Open) {
            state.end = End::Failed(error);
        }
        Self::wake(&mut state)
    }

    fn wake(state: &mut State) -> bool {
        state.reader.take().map(|(reader, _)| reader.wake()).is_some()
    }

    /// Since when a handler waits for octets.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.state.borrow().reader.as_ref().map(|(_, since)| *since)
    }

    /// Octets the handler has not taken.
    pub(crate) fn unread(&self) -> usize {
        self.state.borrow().unread
    }

    pub(crate) fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.chunks.is_empty() && state.trailers.is_none() && matches!(state.end, End::Ended)
    }

    /// Everything has arrived, whether it was read or not.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.state.borrow().end, End::Ended)
    }

    pub(crate) fn taken(&self) -> u64 {
        self.state.borrow().taken
    }

    /// Everything, where it has ended without trailers and is one piece at most.
    pub(crate) fn take_whole(&self) -> Option<Bytes> {
        let mut state = self.state.borrow_mut();
        if !matches!(state.end, End::Ended) || state.trailers.is_some() || state.chunks.len() > 1 {
            return None;
        }
        let Some(chunk) = state.chunks.pop_front() else { return Some(Bytes::new()) };
        state.unread -= chunk.len();
        state.taken += chunk.len() as u64;
        drop(state);
        self.link.send(ToSession::Consumed { id: self.id, octets: chunk.len() });
        Some(chunk)
    }

    pub(crate) fn take_trailers(&self) -> Option<Fields> {
        self.state.borrow_mut().trailers.take().map(|trailers| *trailers)
    }

    pub(crate) fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.state.borrow_mut();
        if let Some(chunk) = state.chunks.pop_front() {
            state.unread -= chunk.len();
            state.taken += chunk.len() as u64;
            drop(state);
            self.link.send(ToSession::Consumed { id: self.id, octets: chunk.len() });
            return Poll::Ready(Some(Ok(chunk)));
        }
        match &state.end {
            End::Ended => Poll::Ready(None),
            End::Failed(error) => Poll::Ready(Some(Err(error.clone()))),
            End::Open => {
                let known = state.reader.take();
                let since = known.as_ref().map_or_else(|| self.link.now(), |(_, since)| *since);
                state.reader = Some((cx.waker().clone(), since));
                if known.is_none() {
                    self.link.send(ToSession::Note { id: self.id, note: Note::Awaits });
                }
                if self.unasked.take() {
                    let head = Box::new(ResponseHead::new(100, Fields::new()));
                    self.link.send(ToSession::Inform { id: self.id, head });
                }
                Poll::Pending
            }
        }
    }

    pub(crate) fn let_go(&self) {
        let mut state = self.state.borrow_mut();
        let unread = std::mem::take(&mut state.unread);
        state.chunks.clear();
        let open = matches!(state.end, End::Open);
        drop(state);
        if open || unread > 0 {
            self.link.send(ToSession::BodyDropped { id: self.id, unread });
        }
    }
}
