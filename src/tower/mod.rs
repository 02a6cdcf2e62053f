//! A `tower` service as an endpoint: an axum `Router`, tonic `Routes`, or anything with layers around it.
//!
//! The service sees `http::Request<SendBody>` and answers with any [`http_body::Body`]. It runs inside the stream's
//! actor: when the stream ends first its future is dropped, as with every handler. Chooses no routes.
//!
//! Invariant: a request is given to a service only after that very clone of it said that it is ready.

mod answer;
mod upgrade;

use std::cell::RefCell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Buf;
use http::uri::Authority;
use pin_project_lite::pin_project;
use stagedoor_actors::{Reply, Request, Response, SessionInfo, convert};
use stagedoor_protocol::StreamId;
use tower_service::Service;

use crate::app::{Answers, Call, Endpoint, Params};
use crate::send_body::SendBody;
use answer::answer;

/// Serves requests with a `tower` service: a clone of it for each listener on each worker, and one of that for each request.
///
/// A request carries [`Via`] as an extension: its session, its stream, the parameters of its route; and for extended
/// CONNECT the [`Protocol`](crate::facade::Protocol). CONNECT, extended CONNECT and upgrades of HTTP/1.1 also carry what
/// `hyper::upgrade::on` takes: a WebSocket of axum works on all three.
///
/// ```
/// # use std::convert::Infallible;
/// # use std::task::{Context, Poll};
/// #[derive(Clone)]
/// struct Hello;
///
/// impl tower_service::Service<http::Request<stagedoor::SendBody>> for Hello {
///     type Response = http::Response<String>;
///     type Error = Infallible;
///     type Future = std::future::Ready<Result<Self::Response, Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, request: http::Request<stagedoor::SendBody>) -> Self::Future {
///         std::future::ready(Ok(http::Response::new(format!("hello {}\n", request.uri().path()))))
///     }
/// }
///
/// let server = stagedoor::Server::new().listen("127.0.0.1:0").fallback(stagedoor::tower(Hello));
/// ```
pub fn tower<S, B>(service: S) -> Endpoint
where
    S: Service<http::Request<SendBody>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // It is cloned for each worker; that it can be shared is not asked of it.
    let service = Mutex::new(service);
    tower_local(move || service.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// [`tower`] for services that must stay on one thread: `make` is called on each worker's, once for each listener.
///
/// ```
/// use std::cell::Cell;
/// use std::convert::Infallible;
/// use std::rc::Rc;
/// use std::task::{Context, Poll};
///
/// #[derive(Clone, Default)]
/// struct Counting(Rc<Cell<u64>>);
///
/// impl tower_service::Service<http::Request<stagedoor::SendBody>> for Counting {
///     type Response = http::Response<String>;
///     type Error = Infallible;
///     type Future = std::future::Ready<Result<Self::Response, Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, _: http::Request<stagedoor::SendBody>) -> Self::Future {
///         self.0.set(self.0.get() + 1);
///         std::future::ready(Ok(http::Response::new(format!("number {} of this worker\n", self.0.get()))))
///     }
/// }
///
/// let counting = stagedoor::tower_local(Counting::default);
/// # stagedoor::testing::run(async {
/// # let app = stagedoor::App::new().fallback(counting);
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/").await.assert_text("number 1 of this worker\n");
/// client.get("/").await.assert_text("number 2 of this worker\n");
/// # });
/// ```
pub fn tower_local<S, B>(make: impl Fn() -> S + Send + Sync + 'static) -> Endpoint
where
    S: Service<http::Request<SendBody>, Response = http::Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    Endpoint::made(Arc::new(move || Rc::new(Tower { service: make(), authority: RefCell::default() })))
}

/// Where a request comes from, among its extensions.
///
/// ```
/// use axum::routing::get;
/// use axum::{Extension, Router};
/// use stagedoor::Via;
///
/// async fn whence(Extension(via): Extension<Via>) -> String {
///     format!("stream {} of {}\n", via.stream, via.session.protocol)
/// }
///
/// let endpoint = stagedoor::tower(Router::new().route("/whence", get(whence)));
/// # stagedoor::testing::run(async {
/// # let app = stagedoor::App::new().fallback(endpoint);
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/whence").await.assert_text("stream 1 of h2c\n");
/// # });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Via {
    /// Its session.
    pub session: Arc<SessionInfo>,
    /// Its stream.
    pub stream: StreamId,
    /// What the pattern of its route took from the path.
    pub params: Params,
}

struct Tower<S> {
    service: S,
    /// The authority that was asked for last.
    authority: RefCell<Option<Authority>>,
}

impl<S, B> Answers for Tower<S>
where
    S: Service<http::Request<SendBody>, Response = http::Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn answer(&self, call: Call) -> Reply {
        let mut service = self.service.clone();
        if call.request.tunnel().is_some() {
            return upgrade::tunnelled(service, call);
        }
        let Call { request, params, .. } = call;
        let Request { head, body, stream, session, .. } = request;
        let (http2, body) = (session.is_http2(), SendBody::new(body));
        let request = convert::to_request(head, http2, body, &mut self.authority.borrow_mut());
        let Some(mut request) = request else { return Response::new(400).into() };
        request.extensions_mut().insert(Via { session: session.shared_info(), stream, params });
        // Most services are ready at once, and then the request need not be moved into a future that waits for it.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Reply::soon(Called { called: service.call(request) }),
            Poll::Ready(Err(error)) => failed(error.into()).into(),
            Poll::Pending => Reply::later(async move {
                match ask(service, request).await {
                    Ok(response) => answer(response),
                    Err(failed) => failed,
                }
            }),
        }
    }
}

/// Lets a service have a request once it is ready; its error is our answer.
async fn ask<S, B>(mut service: S, request: http::Request<SendBody>) -> Result<http::Response<B>, Response>
where
    S: Service<http::Request<SendBody>, Response = http::Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(|error| failed(error.into()))?;
    service.call(request).await.map_err(|error| failed(error.into()))
}

pin_project! {
    /// What a service answers, as ours. No `async` block: that would be several times as large.
    struct Called<F> {
        #[pin]
        called: F,
    }
}

impl<F, B, E> Future for Called<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.project().called.poll(cx).map(|result| match result {
            Ok(response) => answer(response),
            Err(error) => failed(error.into()),
        })
    }
}

#[cold]
fn failed(error: Box<dyn Error + Send + Sync>) -> Response {
    tracing::error!(%error, "a service failed");
    Response::internal_error()
}
