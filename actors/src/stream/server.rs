//! A stream in the handler's own hands: head, octets, trailers and end one by one, where [`crate::Response`] says
//! all in one value. What `Body::Stream` pulls, a handler pushes here.
//!
//! Invariants: no call sends what RFC 9113 §8.1 forbids (a second head, a body after END_STREAM or where none may
//! be); a write waits while the peer takes nothing; END_STREAM rides on HEADERS or on the last DATA where the end
//! is known in the same turn. A handler that goes without ending its stream has it reset (INTERNAL_ERROR), or
//! answered 500 where nothing was said.

use std::future::poll_fn;
use std::ops::Deref;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use stagedoor_metrics::Method;
use stagedoor_protocol::{Fields, RequestHead, ResponseHead, UserError};

use super::finish::{head_of, trailed};
use super::{Phase, StreamHandle, StreamMisuse};
use crate::body::RequestBody;
use crate::link::{Flow, ToSession};
use crate::service::{Request, Response};
use crate::tunnel::Tunnel;

/// See the module. Made by [`Request::into_stream`]; also a [`StreamHandle`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// use stagedoor_actors::{Reply, Request, Service, StreamMisuse};
/// use stagedoor_protocol::Fields;
///
/// struct Count;
///
/// impl Service for Count {
///     fn call(&self, request: Request) -> Reply {
///         let mut stream = request.into_stream();
///         Reply::driven(async move {
///             let said: Result<(), StreamMisuse> = async {
///                 stream.respond(200, Fields::from_iter([("content-type", "text/plain")]))?;
///                 stream.write("1 2 ").await?;
///                 stream.write("3").await?;
///                 stream.trailers(Fields::from_iter([("x-sum", "6")]))
///             }
///             .await;
///             said.unwrap_or_else(|error| println!("{error}"));
///         })
///     }
/// }
/// # let service = std::rc::Rc::new(Count);
/// # let (_host, session) = in_memory(service)?;
/// # let mut answer = session.send(http::Request::get("/").body(())?).await?;
/// # assert_eq!(answer.body_mut().collect_up_to(100).await?, "1 2 3");
/// # Ok(())
/// # })
/// # }
/// ```
pub struct ServerStream {
    handle: StreamHandle,
    head: RequestHead,
    body: RequestBody,
    sent: Option<Sent>,
    dated: bool,
}

/// The head that was sent.
struct Sent {
    status: u16,
    flow: Rc<Flow>,
    declared: Option<u64>,
    given: u64,
}

impl ServerStream {
    pub(crate) fn new(request: Request) -> Self {
        let handle = request.handle();
        Self { handle, head: request.head, body: request.body, sent: None, dated: true }
    }

    /// The request's head.
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The request's body.
    pub fn body(&mut self) -> &mut RequestBody {
        &mut self.body
    }

    /// A handle of the stream that may be kept elsewhere.
    pub fn handle(&self) -> StreamHandle {
        self.handle.clone()
    }

    /// Leaves the `date` field out of the head.
    pub fn without_date(&mut self) {
        self.dated = false;
    }

    /// The status that was sent, once one was.
    pub fn status(&self) -> Option<u16> {
        self.sent.as_ref().map(|sent| sent.status)
    }

    fn method(&self) -> Method {
        Method::from_token(self.head.method_octets())
    }

    fn ready_for_head(&self) -> Result<(), StreamMisuse> {
        match self.phase() {
            Phase::Open => Ok(()),
            Phase::HeadSent | Phase::Ended => Err(StreamMisuse::HeadSent),
            Phase::Closed => Err(self.gone()),
        }
    }

    /// Sends the head; a body may follow. The answer to HEAD, and 204, 205 and 304, end the stream right there.
    /// # Errors
    /// [`StreamMisuse::Status`] outside 200 to 599, [`StreamMisuse::HeadSent`] the second time,
    /// [`StreamMisuse::Refused`] for a field that cannot be sent, [`StreamMisuse::Closed`].
    pub fn respond(&mut self, status: u16, fields: Fields) -> Result<(), StreamMisuse> {
        self.ready_for_head()?;
        let bodiless = self.method() == Method::Head || matches!(status, 204 | 205 | 304);
        let head = self.make_head(status, fields, None)?;
        let declared = declared(&head).filter(|_| !bodiless);
        let flow = Rc::new(Flow::default());
        let (id, route) = (self.id(), self.handle.route());
        let link = Rc::clone(self.handle.link());
        if bodiless {
            link.answer(ToSession::SendWhole { id, route, head, body: Bytes::new() });
        } else {
            link.answer(ToSession::SendHead { id, route, head, flow: Rc::clone(&flow) });
        }
        self.sent = Some(Sent { status, flow, declared, given: 0 });
        Ok(())
    }

    /// Sends a whole response: head, body and end together where they are known.
    /// # Errors
    /// As [`Self::respond`], and those of a body that is produced while it is sent.
    pub async fn send(&mut self, response: Response) -> Result<(), StreamMisuse> {
        use crate::body::Body;
        self.ready_for_head()?;
        let Response { status, mut fields, mut body, dated, trailers } = response;
        if let Some(trailers) = trailers
            && !matches!(body, Body::Tunnel(_))
        {
            body = Body::Stream(trailed(body, *trailers));
        }
        self.dated &= dated;
        let body = match body {
            Body::Empty => Bytes::new(),
            Body::Full(octets) => octets,
            Body::Stream(mut body) => {
                self.respond(status, fields)?;
                if self.phase() == Phase::Ended {
                    // The answer to HEAD, or a status without a body.
                    return Ok(());
                }
                while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                    let frame = match frame {
                        Ok(frame) => frame,
                        Err(error) => {
                            tracing::debug!(%error, "a response body failed");
                            self.handle.reset(stagedoor_protocol::ErrorCode::INTERNAL_ERROR)?;
                            return Err(self.gone());
                        }
                    };
                    match frame.into_data() {
                        Ok(data) => self.write(data).await?,
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                return self.trailers(crate::convert::to_fields(&trailers));
                            }
                        }
                    }
                }
                return self.finish();
            }
            Body::Tunnel(tunnel) => {
                self.handle.link().begin_tunnel(tunnel.head);
                tunnel.run.await;
                return Ok(());
            }
        };
        let is_head = self.method() == Method::Head;
        if !fields.contains("content-length") && !matches!(status, 204 | 205 | 304) {
            fields.push("content-length", body.len().to_string());
        }
        let head = self.make_head(status, fields, None)?;
        let body = if is_head || matches!(status, 204 | 205 | 304) { Bytes::new() } else { body };
        let (id, route) = (self.id(), self.handle.route());
        self.handle.link().answer(ToSession::SendWhole { id, route, head, body });
        self.sent = Some(Sent { status, flow: Rc::default(), declared: None, given: 0 });
        Ok(())
    }

    fn make_head(
        &self,
        status: u16,
        fields: Fields,
        length: Option<u64>,
    ) -> Result<ResponseHead, StreamMisuse> {
        if !(200..600).contains(&status) {
            return Err(StreamMisuse::Status(status));
        }
        let head = head_of(status, fields, length, self.dated, self.handle.link().now());
        head.check(self.handle.strict())?;
        Ok(head)
    }

    /// Sends octets; waits while the peer takes none. The first write sends a head of 200 where none was sent.
    /// # Errors
    /// [`StreamMisuse::Ended`], [`StreamMisuse::NoBody`], [`StreamMisuse::Closed`], and
    /// [`StreamMisuse::Refused`] for more octets than content-length says.
    pub async fn write(&mut self, data: impl Into<Bytes>) -> Result<(), StreamMisuse> {
        let mut data = data.into();
        self.begin_body(data.len(), false)?;
        while !data.is_empty() {
            let room = self.room().await?;
            let part = data.split_to(room.min(data.len()));
            self.give(part);
        }
        Ok(())
    }

    /// Octets and the end in one operation: END_STREAM rides on the last of them.
    /// # Errors
    /// As [`Self::write`] and [`Self::finish`]; one error for both.
    pub async fn write_end(&mut self, data: impl Into<Bytes>) -> Result<(), StreamMisuse> {
        let data = data.into();
        self.begin_body(data.len(), true)?;
        if data.is_empty() && self.phase() == Phase::Ended {
            return Ok(());
        }
        self.write(data).await?;
        self.finish()
    }

    /// Ends the response. With nothing sent before: 200 without a body.
    /// # Errors
    /// [`StreamMisuse::Ended`] the second time, [`StreamMisuse::Closed`], [`StreamMisuse::Refused`] for fewer
    /// octets than content-length says.
    pub fn finish(&mut self) -> Result<(), StreamMisuse> {
        if self.sent.is_none() {
            self.ready_for_head()?;
            let mut fields = Fields::new();
            if self.method() != Method::Head {
                // The answer to HEAD speaks of a body that is not sent; zero could be a lie.
                fields.push("content-length", "0");
            }
            let head = self.make_head(200, fields, None)?;
            let (id, route) = (self.id(), self.handle.route());
            self.handle.link().answer(ToSession::SendWhole { id, route, head, body: Bytes::new() });
            self.sent = Some(Sent { status: 200, flow: Rc::default(), declared: None, given: 0 });
            return Ok(());
        }
        self.begin_body(0, true)?;
        self.handle.link().end(self.id());
        Ok(())
    }

    /// Ends the response with trailers; an empty set is a plain end.
    /// # Errors
    /// As [`Self::finish`]; [`StreamMisuse::HeadMissing`] before the head; [`StreamMisuse::Refused`] for a
    /// pseudo-header or any other field that cannot be sent.
    pub fn trailers(&mut self, fields: Fields) -> Result<(), StreamMisuse> {
        if self.sent.is_none() && self.phase() == Phase::Open {
            return Err(StreamMisuse::HeadMissing);
        }
        if fields.is_empty() {
            return self.finish();
        }
        self.begin_body(0, true)?;
        fields.check_trailers(self.handle.strict())?;
        let id = self.id();
        self.handle.link().answer(ToSession::SendTrailers { id, fields });
        Ok(())
    }

    /// Makes a tunnel of the stream: 2xx to CONNECT, 101 to an HTTP/1.1 upgrade (RFC 9113 §8.5, RFC 8441 §5).
    /// # Errors
    /// [`StreamMisuse::NoTunnel`] where the request asks for none, and as [`Self::respond`].
    pub fn tunnel(self, fields: Fields) -> Result<Tunnel, StreamMisuse> {
        self.ready_for_head()?;
        let handle = self.handle.clone();
        let (head, tunnel) = crate::tunnel::open(&handle, &self.head, self.body, fields, self.dated)?;
        handle.link().begin_tunnel(head);
        Ok(tunnel)
    }

    /// What every piece of the body must pass.
    fn begin_body(&mut self, octets: usize, end: bool) -> Result<(), StreamMisuse> {
        match self.phase() {
            Phase::Open => self.respond(200, Fields::new())?,
            Phase::HeadSent => {}
            Phase::Ended => return Err(self.over(octets)),
            Phase::Closed => return Err(self.gone()),
        }
        if self.phase() == Phase::Ended {
            // The implicit head ended the stream: the answer to HEAD.
            return if octets == 0 { Ok(()) } else { Err(self.over(octets)) };
        }
        let id = self.id();
        let Some(sent) = &self.sent else { return Err(StreamMisuse::HeadMissing) };
        let given = sent.given + octets as u64;
        match sent.declared {
            Some(declared) if given > declared || (end && given < declared) => {
                Err(UserError::ContentLength { id, sent: given, declared }.into())
            }
            _ => Ok(()),
        }
    }

    fn over(&self, octets: usize) -> StreamMisuse {
        match &self.sent {
            Some(sent)
                if octets > 0
                    && (self.method() == Method::Head || matches!(sent.status, 204 | 205 | 304)) =>
            {
                StreamMisuse::NoBody { method: self.head.method().to_owned(), status: sent.status }
            }
            _ => StreamMisuse::Ended,
        }
    }

    /// Octets the session takes now.
    async fn room(&self) -> Result<usize, StreamMisuse> {
        let Some(sent) = &self.sent else { return Err(StreamMisuse::HeadMissing) };
        poll_fn(|cx| {
            if self.phase() == Phase::Closed {
                return Poll::Ready(Err(self.gone()));
            }
            self.handle.also_wake(cx.waker());
            sent.flow.poll_capacity(cx).map(Ok)
        })
        .await
    }

    fn give(&mut self, data: Bytes) {
        let id = self.id();
        if let Some(sent) = &mut self.sent {
            sent.given += data.len() as u64;
            sent.flow.spend(data.len());
        }
        self.handle.link().answer(ToSession::SendData { id, data, end: false });
    }
}

impl Deref for ServerStream {
    type Target = StreamHandle;

    fn deref(&self) -> &StreamHandle {
        &self.handle
    }
}

fn declared(head: &ResponseHead) -> Option<u64> {
    let value = head.fields.get("content-length")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}
