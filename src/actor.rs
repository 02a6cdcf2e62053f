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

use std::error::Error;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use actix::dev::SendError;
use actix::{ArbiterHandle, Message, Recipient};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use stagedoor_actors::{Body, IntoResponse, Reply, Response, SessionInfo, WholeResponse, convert};
use stagedoor_protocol::{RequestHead, StreamId};
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
///
/// ```
/// use stagedoor::actor::{Gone, StreamRequest};
///
/// /// Works for as long as somebody waits, on any thread.
/// async fn work(mut request: StreamRequest) -> Result<(), Gone> {
///     let count = tokio::select! {
///         () = request.gone() => return Err(Gone),
///         count = async { 42 } => count,
///     };
///     let path = request.head.path().unwrap_or_default();
///     let text = format!("{count} for {path}\n");
///     request.respond_with(http::Response::new(text))
/// }
/// ```
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
enum Answer {
    Whole(WholeResponse),
    Streamed(http::response::Parts, SentBody),
}

type SentBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// The stream ended before it was answered: its client went, its deadline passed, or its session is over.
///
/// ```
/// use stagedoor::StatusCode;
/// use stagedoor::actor::{Gone, RespondError, StreamRequest};
///
/// fn answer(request: StreamRequest) -> Result<(), Gone> {
///     match request.respond((StatusCode::OK, "done\n")) {
///         Err(RespondError::Gone(gone)) => Err(gone),
///         // Text can go anywhere.
///         _ => Ok(()),
///     }
/// }
/// ```
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
        let whole = response.into_response().into_whole().ok_or(RespondError::Local)?;
        self.answer.send(Answer::Whole(whole)).map_err(|_| Gone.into())
    }

    /// Answers with a response of the `http` crate, whose body may be produced while it is sent, and end with trailers.
    /// # Errors
    /// [`Gone`].
    pub fn respond_with<B>(self, response: http::Response<B>) -> Result<(), Gone>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = response.into_parts();
        let body = SentBody::new(body.map_err(Into::into));
        self.answer.send(Answer::Streamed(parts, body)).map_err(|_| Gone)
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
                let full = (StatusCode::SERVICE_UNAVAILABLE, "too many requests wait here; come back soon\n");
                return full.into_response().with_field("retry-after", RETRY_AFTER).into();
            }
            Err(SendError::Closed(_)) => {
                handle.blame("actor_gone");
                tracing::error!("the actor that answers here is gone");
                return Response::internal_error().into();
            }
        }
        Reply::later(async move {
            match answered.await {
                Ok(Answer::Whole(whole)) => whole.into(),
                Ok(Answer::Streamed(parts, body)) => {
                    let error = |error: Box<dyn Error + Send + Sync>| -> Box<dyn Error> { error };
                    http::Response::from_parts(parts, Body::stream(body.map_err(error))).into_response()
                }
                Err(_) => {
                    handle.blame("not_answered");
                    tracing::error!("a request was dropped without an answer");
                    Response::internal_error()
                }
            }
        })
    }
}

/// Runs a server's sessions on arbiters that are there already. No other type is to have it.
///
/// ```no_run
/// use stagedoor::actor::OnArbiters as _;
/// use stagedoor::{Server, get};
///
/// # async fn serve() -> stagedoor::Result<()> {
/// let arbiter = actix::Arbiter::new();
/// let home = get(async || "beside your actors\n");
/// Server::new().listen("127.0.0.1:8080").route("/", home).on_arbiters([arbiter.handle()]).run().await
/// # }
/// ```
pub trait OnArbiters: sealed::Sealed {
    /// One worker on each of these arbiters, in place of threads of its own. They are left running when the server stops.
    ///
    /// A handler that blocks one of them blocks everything that lives there.
    fn on_arbiters(self, arbiters: impl IntoIterator<Item = ArbiterHandle>) -> Self;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Server {}
}

impl OnArbiters for Server {
    fn on_arbiters(mut self, arbiters: impl IntoIterator<Item = ArbiterHandle>) -> Self {
        self.threads = Threads::Shared(arbiters.into_iter().collect());
        self
    }
}
