//! stagedoor among actors of yours: the one place where types of `actix` are seen.
//!
//! [`mailbox`] lets an actor of yours answer requests: each is a [`StreamRequest`] in its mailbox, which may be on any
//! arbiter. [`forward`] sends it what happens in a server. [`OnArbiters`] runs a server on arbiters you have. [`Host`] and
//! [`Session`] are the actors themselves, over any stream of octets.
//!
//! ```
//! use actix::prelude::*;
//! use stagedoor::actor::{StreamRequest, mailbox};
//! use stagedoor::{App, StatusCode};
//!
//! struct Jobs(usize);
//!
//! impl Actor for Jobs {
//!     type Context = Context<Self>;
//! }
//!
//! impl Handler<StreamRequest> for Jobs {
//!     type Result = ();
//!
//!     fn handle(&mut self, request: StreamRequest, _: &mut Self::Context) {
//!         self.0 += 1;
//!         // Who asked may be gone meanwhile.
//!         request.respond((StatusCode::ACCEPTED, format!("job {}\n", self.0))).ok();
//!     }
//! }
//!
//! # actix::System::new().block_on(async {
//! let app = App::new().route("/jobs/{kind}", mailbox(Jobs(0).start().recipient()));
//! # });
//! ```

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use actix::dev::SendError;
use actix::{ArbiterHandle, Message, Recipient};
use http::{HeaderMap, Method, Uri};
use stagedoor_actors::{IntoResponse, Reply, Response, SessionInfo, convert};
use stagedoor_protocol::{Fields, RequestHead, StreamId};
use tokio::sync::oneshot;

use crate::app::{Answers, Call, Endpoint, Params};
use crate::send_body::SendBody;
use crate::server::{Server, Threads};

pub use stagedoor_actors::actor::forward;
pub use stagedoor_actors::{
    CloseSession, CloseStream, Host, ServerHandshake, Session, SessionEnded, perform_server_handshake,
};

/// Seconds after which a client whose request found a full mailbox is asked to come back.
const RETRY_AFTER: &str = "1";

/// A request as a message: what it asks, its body, and the duty to answer.
///
/// It may be kept, and sent on to other actors and threads. Dropping it without an answer is answered 500. When the
/// stream ends first, [`Self::is_gone`] says so and an answer is refused; nothing else happens.
pub struct StreamRequest {
    /// Method, target and fields, in raw order.
    pub head: RequestHead,
    /// What the pattern of its route took from the path.
    pub params: Params,
    /// Its body, read with backpressure from wherever it is.
    pub body: SendBody,
    /// The stream it came on.
    pub stream: StreamId,
    /// The session it came on.
    pub session: Arc<SessionInfo>,
    answer: oneshot::Sender<Answer>,
}

impl Message for StreamRequest {
    type Result = ();
}

/// An answer on its way to the arbiter of its stream.
struct Answer {
    status: u16,
    fields: Fields,
    body: AnswerBody,
}

type SentBody =
    http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>;

enum AnswerBody {
    Whole(bytes::Bytes),
    Streamed(SentBody),
}

/// The stream ended before it was answered: its client went, its deadline passed, or its session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream ended before it was answered")]
pub struct Gone;

/// What cannot be sent to the arbiter of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError {
    /// See [`Gone`].
    #[error(transparent)]
    Gone(#[from] Gone),
    /// A body that is produced on this thread alone, or a tunnel: [`StreamRequest::respond_with`] takes bodies that
    /// are `Send`. The request was answered 500.
    #[error("this response has a body that cannot leave its thread")]
    Local,
}

impl StreamRequest {
    /// The method; `None` where it is none that the `http` crate knows how to hold.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        Method::from_bytes(self.head.method_octets()).ok()
    }

    /// The target; `None` where it is no URI of the `http` crate.
    #[must_use]
    pub fn uri(&self) -> Option<Uri> {
        convert::to_uri(&self.head)
    }

    /// The fields as a header map.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        convert::to_headers(self.head.fields())
    }

    /// Nobody waits for the answer any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Waits until nobody waits for the answer any more: for work that is given up then.
    pub async fn gone(&mut self) {
        self.answer.closed().await;
    }

    /// Answers with what is a response and known whole: text, octets, a status, JSON.
    /// # Errors
    /// [`RespondError`].
    pub fn respond(self, response: impl IntoResponse) -> Result<(), RespondError> {
        let Response { status, fields, body, .. } = response.into_response();
        let body = match body {
            stagedoor_actors::Body::Empty => bytes::Bytes::new(),
            stagedoor_actors::Body::Full(octets) => octets,
            _ => return Err(RespondError::Local),
        };
        let answer = Answer { status, fields, body: AnswerBody::Whole(body) };
        self.answer.send(answer).map_err(|_| Gone.into())
    }

    /// Answers with a response of the `http` crate, whose body may be produced while it is sent, and end with trailers.
    /// # Errors
    /// [`Gone`].
    pub fn respond_with<B>(self, response: http::Response<B>) -> Result<(), Gone>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = response.into_parts();
        let body = SentBody::new(http_body_util::BodyExt::map_err(body, Into::into));
        let fields = convert::to_fields(&parts.headers);
        let answer = Answer { status: parts.status.as_u16(), fields, body: AnswerBody::Streamed(body) };
        self.answer.send(answer).map_err(|_| Gone)
    }
}

impl fmt::Debug for StreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRequest")
            .field("head", &self.head)
            .field("session", &self.session.id)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Lets an actor answer: each request is a message in its mailbox.
///
/// A full mailbox is answered 503 with `retry-after`, and an actor that is gone 500: nothing is queued without a bound,
/// which is the mailbox's own (`Context::set_mailbox_capacity`).
pub fn mailbox(recipient: Recipient<StreamRequest>) -> Endpoint {
    Endpoint::made(Arc::new(move || Rc::new(Mailbox(recipient.clone()))))
}

struct Mailbox(Recipient<StreamRequest>);

impl Answers for Mailbox {
    fn answer(&self, call: Call) -> Reply {
        let Call { request, params, .. } = call;
        let handle = request.handle();
        let (answer, answered) = oneshot::channel();
        let message = StreamRequest {
            params,
            body: SendBody::new(request.body),
            stream: request.stream,
            session: request.session.shared_info(),
            head: request.head,
            answer,
        };
        match self.0.try_send(message) {
            Ok(()) => {}
            Err(SendError::Full(_)) => {
                handle.blame("mailbox_full");
                return said(503, "too many requests wait here; come back soon\n")
                    .with_field("retry-after", RETRY_AFTER)
                    .into();
            }
            Err(SendError::Closed(_)) => {
                handle.blame("actor_gone");
                tracing::error!("the actor that answers here is gone");
                return said(500, "internal server error\n").into();
            }
        }
        Reply::later(async move {
            let Ok(Answer { status, fields, body }) = answered.await else {
                handle.blame("not_answered");
                tracing::error!("a request was dropped without an answer");
                return said(500, "internal server error\n");
            };
            let mut response = Response::new(status);
            response.fields = fields;
            response.body = match body {
                AnswerBody::Whole(octets) => stagedoor_actors::Body::full(octets),
                AnswerBody::Streamed(body) => {
                    let error =
                        |error: Box<dyn std::error::Error + Send + Sync>| -> Box<dyn std::error::Error> {
                            error
                        };
                    stagedoor_actors::Body::stream(http_body_util::BodyExt::map_err(body, error))
                }
            };
            response
        })
    }
}

fn said(status: u16, words: &'static str) -> Response {
    let mut response = Response::text(words);
    response.status = status;
    response
}

/// Runs a server's sessions on arbiters that are there already.
pub trait OnArbiters {
    /// One worker on each of these arbiters, in place of threads of its own. They are left running when the server stops.
    ///
    /// A handler that blocks one of them blocks everything that lives there.
    fn on_arbiters(self, arbiters: impl IntoIterator<Item = ArbiterHandle>) -> Self;
}

impl OnArbiters for Server {
    fn on_arbiters(mut self, arbiters: impl IntoIterator<Item = ArbiterHandle>) -> Self {
        self.threads = Threads::Shared(arbiters.into_iter().collect());
        self
    }
}
