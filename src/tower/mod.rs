//! A `tower` service as an endpoint: an axum `Router`, tonic `Routes`, or anything with layers around it.
//!
//! The service sees `http::Request<SendBody>` and answers with any [`http_body::Body`]. It runs inside the stream's
//! actor: when the stream ends first its future is dropped, as with every handler. Chooses no routes.
//!
//! Invariant: a request is given to a service only after that very clone of it said that it is ready.

mod answer;
mod upgrade;

use std::error::Error;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Buf;
use stagedoor_actors::{Reply, Request, Response, convert};
use tower_service::Service;

use crate::app::{Answers, Call, Endpoint, Params};
use crate::send_body::SendBody;
use answer::answer;

/// Serves requests with a `tower` service: a clone of it for each worker, and one of that for each request.
///
/// A request carries as extensions the [`SessionInfo`](crate::SessionInfo) of its session (in an `Arc`), its
/// [`StreamId`](crate::StreamId), the [`Params`] of its route where it has some, and for extended CONNECT the
/// [`Protocol`](crate::facade::Protocol). CONNECT, extended CONNECT and upgrades of HTTP/1.1 also carry what
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

/// [`tower`] for services that must stay on one thread: `make` is called on each worker's.
pub fn tower_local<S, B>(make: impl Fn() -> S + Send + Sync + 'static) -> Endpoint
where
    S: Service<http::Request<SendBody>, Response = http::Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    Endpoint::made(Arc::new(move || Rc::new(Tower(make()))))
}

struct Tower<S>(S);

impl<S, B> Answers for Tower<S>
where
    S: Service<http::Request<SendBody>, Response = http::Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn answer(&self, call: Call) -> Reply {
        let service = self.0.clone();
        if call.request.tunnel().is_some() {
            return upgrade::tunnelled(service, call);
        }
        let Call { request, params, .. } = call;
        let Request { head, body, stream, session, .. } = request;
        let Some(mut request) = convert::to_request(&head, session.is_http2(), SendBody::new(body)) else {
            return Response::new(400).into();
        };
        decorate(&mut request, session.shared_info(), stream, params);
        Reply::soon(async move {
            match ask(service, request).await {
                Ok(response) => answer(response).await,
                Err(failed) => failed,
            }
        })
    }
}

/// Lets a service have a request once it is ready; its error is our answer.
async fn ask<S, B>(mut service: S, request: http::Request<SendBody>) -> Result<http::Response<B>, Response>
where
    S: Service<http::Request<SendBody>, Response = http::Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let failed = |error: S::Error| {
        let error: Box<dyn Error + Send + Sync> = error.into();
        tracing::error!(%error, "a service failed");
        let mut response = Response::text("internal server error\n");
        response.status = 500;
        response
    };
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
    service.call(request).await.map_err(failed)
}

fn decorate(
    request: &mut http::Request<SendBody>,
    session: Arc<crate::SessionInfo>,
    stream: crate::StreamId,
    params: Params,
) {
    let extensions = request.extensions_mut();
    extensions.insert(session);
    extensions.insert(stream);
    if !params.is_empty() {
        extensions.insert(params);
    }
}
