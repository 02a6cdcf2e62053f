//! A session of ours, in the hands of who makes requests on it.

use std::rc::Rc;
use std::task::Poll;

use http_body::Body as _;
use stagedoor_metrics::{CloseReason, Outcome};
use stagedoor_protocol::{ErrorCode, RequestHead};

use super::abort::{Abort, AbortSignal};
use super::call::{Call, Sending, Upload, Waiting};
use super::desk::Desk;
use super::easy::length_of;
use super::error::{RequestError, SessionEnd, StreamError};
use super::line::{InLine, Line};
use super::options::RequestOptions;
use super::request::RequestParts;
use super::stream::ClientStream;
use super::target::Target;
use crate::body::Body;
use crate::close::CloseSession;
use crate::config::StreamTimeouts;
use crate::session::SessionHandle;
use crate::supervise::Contained;

/// The handles of one session; the last to go ends it when its streams have ended.
struct Held(Rc<Desk>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.orphaned();
    }
}

/// A session of ours. Clones share it; it belongs to one arbiter. When the last handle is dropped the session ends with
/// its last stream.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// session.ready().await?;
/// assert!(session.takes_requests());
/// let answer = session.send(http::Request::get("/").body(())?).await?;
/// assert_eq!(answer.status(), 200);
/// let end = session.close().await;
/// assert!(!session.takes_requests());
/// println!("{end}");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone)]
pub struct ClientSession {
    held: Rc<Held>,
    signal: Option<AbortSignal>,
}

impl ClientSession {
    pub(super) fn new(desk: Rc<Desk>, signal: Option<AbortSignal>) -> Self {
        Self { held: Rc::new(Held(desk)), signal }
    }

    fn desk(&self) -> &Rc<Desk> {
        &self.held.0
    }

    /// Where it connects to.
    pub fn target(&self) -> &Target {
        &self.desk().target
    }

    /// The session itself, once its connection is up and while it is: settings, PING, GOAWAY, events, numbers.
    pub fn handle(&self) -> Option<SessionHandle> {
        self.desk().link().map(SessionHandle::new)
    }

    /// Waits until the connection can be used. Requests need not wait for it.
    /// # Errors
    /// What it failed by.
    pub async fn ready(&self) -> Result<(), SessionEnd> {
        std::future::poll_fn(|cx| self.desk().poll_ready(cx)).await
    }

    /// Whether the server offers extended CONNECT (RFC 8441); waits for its SETTINGS.
    /// # Errors
    /// What the session ended by before they came.
    pub async fn offers_connect_protocol(&self) -> Result<bool, SessionEnd> {
        std::future::poll_fn(|cx| self.desk().poll_connect_protocol(cx)).await
    }

    /// Whether a request made now would be taken: connecting or open, no GOAWAY, not closing.
    pub fn takes_requests(&self) -> bool {
        self.desk().takes_requests().is_ok()
    }

    /// It is still connecting.
    pub fn is_connecting(&self) -> bool {
        self.desk().is_connecting()
    }

    /// The origins this session may be used for (RFC 8336): the one it was made for, those of ORIGIN frames, without
    /// those that were answered with 421. `None` in cleartext and when the session is over. Whether the certificate
    /// covers them is the caller's to judge.
    pub fn origin_set(&self) -> Option<Vec<String>> {
        self.desk().origins()
    }

    /// Requests that wait for the connection or for the peer's concurrency limit.
    pub fn queued(&self) -> usize {
        self.desk().queued()
    }

    /// The code of the peer's GOAWAY, once it sent one.
    pub fn goaway_code(&self) -> Option<ErrorCode> {
        self.desk().goaway()
    }

    /// Makes a request. It is sent at once, when the connection is up, or when the peer allows another stream, in the
    /// order of the calls.
    /// # Errors
    /// [`RequestError`]: nothing was sent.
    pub fn request(
        &self,
        parts: impl Into<RequestParts>,
        options: RequestOptions,
    ) -> Result<ClientStream, RequestError> {
        let desk = self.desk();
        let parts = parts.into();
        let bodyless = matches!(parts.method(), "GET" | "HEAD" | "DELETE");
        let connect = parts.is_connect();
        let head = parts.head(&desk.target)?;
        head.check(desk.strict)?;
        if head.protocol().is_some() && desk.connect_protocol() == Some(false) {
            return Err(RequestError::ConnectProtocol);
        }
        let declared = length_of(head.fields()).filter(|_| !connect);
        let (head, upload, declared) = upload(head, options.body, options.end_stream, bodyless, declared)?;
        if [&options.signal, &self.signal].into_iter().flatten().any(AbortSignal::is_aborted) {
            return Err(RequestError::Aborted);
        }
        let sending = match upload {
            Upload::Handle => Sending::Octets { sent: 0, declared },
            Upload::Nothing | Upload::Full(_) | Upload::Stream(_) => Sending::Nothing,
        };
        let call = Call::new(Rc::clone(desk), sending);
        let timeouts = options.timeouts.map(Box::new);
        desk.enqueue(Waiting {
            call: Rc::clone(&call),
            head: Rc::new(head),
            upload,
            timeouts,
            in_line: None,
        })?;
        for signal in [options.signal.as_ref(), self.signal.as_ref()].into_iter().flatten() {
            let listener: Rc<dyn Abort> = call.clone();
            signal.attach(Rc::downgrade(&listener));
        }
        if let Some(abort_when) = options.abort_when {
            let call = Rc::clone(&call);
            actix_rt::spawn(async move {
                tokio::select! {
                    () = abort_when => call.abort(),
                    _ = std::future::poll_fn(|cx| call.poll_closed(cx)) => {}
                }
            });
        }
        if let Some(timeout) = options.response_timeout {
            let call = Rc::clone(&call);
            actix_rt::spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(timeout) => {
                        call.reset(StreamError::TimedOut, ErrorCode::CANCEL, Outcome::Timeout);
                    }
                    () = std::future::poll_fn(|cx| call.poll_answered(cx)) => {}
                }
            });
        }
        Ok(ClientStream::new(call))
    }

    /// Makes a request of a head that is whole already, for who passes on what others sent: nothing is left out or added,
    /// and what is wrong with it is told by the stream ([`StreamError::Misused`]). The head is shared, so that the
    /// request can be made again elsewhere. `line` is told for how long the request waits.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # actix_rt::System::new().block_on(async {
    /// # use stagedoor_actors::facade::{HttpRequest, local_handler};
    /// # let service = local_handler(async |_: HttpRequest| "hello");
    /// # let (_host, session) = in_memory(service)?;
    /// use std::rc::Rc;
    ///
    /// use stagedoor_actors::Body;
    /// use stagedoor_actors::client::Line;
    /// use stagedoor_protocol::RequestHead;
    ///
    /// struct Nobody;
    ///
    /// impl Line for Nobody {
    ///     fn joined(&self) {}
    ///     fn left(&self) {}
    /// }
    ///
    /// let head = Rc::new(RequestHead::new("GET", "http", "example.org", "/"));
    /// let mut stream = session.pass_on(head, Body::Empty, None, Rc::new(Nobody))?;
    /// assert_eq!(stream.response().await?.status, 200);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    /// # Errors
    /// [`RequestError`]: nothing was sent.
    pub fn pass_on(
        &self,
        head: Rc<RequestHead>,
        body: Body,
        timeouts: Option<StreamTimeouts>,
        line: Rc<dyn Line>,
    ) -> Result<ClientStream, RequestError> {
        let upload = match body {
            Body::Tunnel(_) => return Err(RequestError::NotABody),
            Body::Empty => Upload::Nothing,
            Body::Full(octets) if octets.is_empty() => Upload::Nothing,
            Body::Full(octets) => Upload::Full(octets),
            Body::Stream(body) if body.is_end_stream() => Upload::Nothing,
            Body::Stream(body) => Upload::Stream(Contained::new(body)),
        };
        let desk = self.desk();
        let call = Call::new(Rc::clone(desk), Sending::Nothing);
        let timeouts = timeouts.map(Box::new);
        let in_line = Some(InLine::new(line));
        desk.enqueue(Waiting { call: Rc::clone(&call), head, upload, timeouts, in_line })?;
        Ok(ClientStream::new(call))
    }

    /// Streams the peer allows at once (SETTINGS_MAX_CONCURRENT_STREAMS); before its SETTINGS what
    /// [`Options::initial_max_streams`](super::Options::initial_max_streams) says.
    pub fn stream_limit(&self) -> u32 {
        self.desk().stream_limit()
    }

    /// Ends the session when its streams have ended, or after its `drain`; waits for that. Requests that were not sent
    /// are told [`StreamError::Closing`].
    pub async fn close(&self) -> SessionEnd {
        self.end(CloseSession::new(CloseReason::Drain).with_detail("closed by the application"));
        self.ended().await
    }

    /// Ends the session by an order: `CloseSession::new(reason).now()` cuts its streams off.
    pub fn end(&self, order: CloseSession) {
        if !order.hard {
            // A request made in this very turn is not taken any more.
            self.desk().closing();
        }
        self.desk().order(order);
    }

    /// Waits until the session is over; says why it is.
    pub async fn ended(&self) -> SessionEnd {
        std::future::poll_fn(|cx| self.desk().poll_closed(cx)).await
    }

    /// Waits until the session is over without being a handle that keeps it.
    pub fn ended_apart(&self) -> impl Future<Output = SessionEnd> + use<> {
        let desk = Rc::clone(self.desk());
        std::future::poll_fn(move |cx| desk.poll_closed(cx))
    }

    /// Why the session is over, once it is.
    pub fn error(&self) -> Option<SessionEnd> {
        let waker = std::task::Waker::noop();
        match self.desk().poll_closed(&std::task::Context::from_waker(waker)) {
            Poll::Ready(error) => Some(error),
            Poll::Pending => None,
        }
    }
}

/// What follows the head; adds `content-length` where the length is known and the head does not say it.
fn upload(
    mut head: RequestHead,
    body: Option<Body>,
    end_stream: Option<bool>,
    bodyless: bool,
    declared: Option<u64>,
) -> Result<(RequestHead, Upload, Option<u64>), RequestError> {
    let length = match &body {
        None => end_stream.unwrap_or(bodyless).then_some(0),
        Some(Body::Empty) => Some(0),
        Some(Body::Tunnel(_)) => return Err(RequestError::NotABody),
        Some(Body::Full(octets)) => Some(octets.len() as u64),
        Some(Body::Stream(body)) => body.size_hint().exact(),
    };
    if end_stream == Some(true) && length != Some(0) {
        return Err(RequestError::EndWithBody);
    }
    match (length, declared) {
        (Some(length), Some(declared)) if length != declared => {
            return Err(RequestError::ContentLength { length, declared });
        }
        // A method that has a meaning for content says that there is none (RFC 9110 §8.6).
        (Some(length), None) if head.method() != "CONNECT" && (length > 0 || !bodyless) => {
            head.fields_mut().push("content-length", length.to_string());
        }
        _ => {}
    }
    let upload = match body {
        None if length == Some(0) => Upload::Nothing,
        None => Upload::Handle,
        Some(Body::Empty | Body::Tunnel(_)) => Upload::Nothing,
        Some(Body::Full(octets)) if octets.is_empty() => Upload::Nothing,
        Some(Body::Full(octets)) => Upload::Full(octets),
        Some(Body::Stream(body)) if body.is_end_stream() => Upload::Nothing,
        Some(Body::Stream(body)) => Upload::Stream(Contained::new(body)),
    };
    Ok((head, upload, declared))
}

impl std::fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSession")
            .field("authority", &self.target().authority)
            .field("open", &self.desk().is_open())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}
