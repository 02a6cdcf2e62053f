//! The part of an answer that takes time: an exchange with an upstream, the time it may take, and what its end becomes
//! for the client.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use stagedoor_actors::{
    Body, BodyLimit, Reply, Request, Response, SessionHandle, StreamHandle, StreamTimeouts,
};
use stagedoor_metrics::RouteId;
use stagedoor_protocol::{ErrorCode, StreamId};

use super::answer;
use super::compress::Choice;
use super::forward::Seen;
use super::service::Local;
use super::site::{Do, Route};
use crate::fault::Fault;
use crate::proxy::Proxy;
use crate::upstream::Upstream;

/// 413: the body is, or became, larger than the route takes.
pub(super) fn too_large() -> Fault {
    Fault::new(413, "body_too_large", "the body is larger than is taken here")
}

/// 504: the whole exchange took longer than the route allows.
fn too_late() -> Fault {
    Fault::new(504, "http_response_timeout", "the answer did not come in time")
}

/// The stream of a request that was given away.
pub(super) struct Place {
    session: SessionHandle,
    stream: StreamId,
    route: RouteId,
}

impl Place {
    pub(super) fn of(request: &Request) -> Self {
        Self { session: request.session.clone(), stream: request.stream, route: request.route }
    }

    fn handle(&self) -> StreamHandle {
        self.session.stream(self.stream, self.route)
    }

    /// The stream ends at this age. It is over already where this fails.
    fn ends_after(&self, age: Duration) {
        let own = StreamTimeouts { hard: Some(age), ..StreamTimeouts::default() };
        self.handle().set_timeouts(own).ok();
    }
}

/// A request on its way to an upstream.
pub(super) struct Exchange {
    pub(super) local: Rc<Local>,
    pub(super) at: u16,
    pub(super) seen: Seen,
    pub(super) choice: Option<Choice>,
    pub(super) limit: Option<BodyLimit>,
}

impl Exchange {
    /// The answer. The request is sent on before there is a future, so that none holds it.
    pub(super) fn run(self, request: Request, route: &Route, upstream: &Arc<Upstream>) -> Reply {
        let place = Place::of(&request);
        let sent = send_on(request, upstream);
        match route.timeout {
            // An async block would have room for `sent` twice: where it was captured and where it is pinned.
            None if self.limit.is_none() => Reply::later(sent.map(move |result| self.told(result, &place))),
            timeout => Reply::later(async move {
                let result = guarded(pin!(sent), timeout, self.limit.as_ref()).await;
                self.told(result, &place)
            }),
        }
    }

    /// What the client is told of it.
    fn told(self, result: Result<Response, Fault>, place: &Place) -> Response {
        let Some((route, to)) = self.local.route(self.at).and_then(|route| match &route.action {
            Do::Proxy(to) => Some((route, to)),
            _ => None,
        }) else {
            return Response::new(500);
        };
        match result {
            // Its head is not ours to change, and it has no end that could be due.
            Ok(tunnel @ Response { body: Body::Tunnel(_), .. }) => tunnel,
            Ok(mut response) => {
                if let Some(timeout) = route.timeout {
                    place.ends_after(timeout);
                }
                response.fields.push("via", to.via);
                self.name(&mut response);
                route.finish(&mut response, self.choice);
                response
            }
            Err(fault) => self.fail(route, fault, place),
        }
    }

    fn fail(&self, route: &Route, fault: Fault, place: &Place) -> Response {
        let crossed = self.limit.as_ref().is_some_and(BodyLimit::is_crossed);
        let fault = if crossed { too_large() } else { fault };
        place.handle().blame(fault.cause);
        if fault.reset {
            // The peer went first where this fails.
            place.handle().reset(ErrorCode::INTERNAL_ERROR).ok();
            return Response::new(502);
        }
        let mut response = answer::of(&fault, self.seen.wants, &route.errors);
        if !crossed {
            response.fields.push("proxy-status", answer::proxy_status(&fault));
        }
        self.name(&mut response);
        route.response_edits.apply(&mut response.fields);
        response
    }

    fn name(&self, response: &mut Response) {
        response.fields.set("x-request-id", self.seen.id.as_octets());
    }
}

/// Sends a request on. In tests of the gateway alone a script answers in an upstream's place.
fn send_on(
    request: Request,
    upstream: &Arc<Upstream>,
) -> impl Future<Output = Result<Response, Fault>> + use<> {
    #[cfg(test)]
    let request = match script::of_this_thread() {
        Some(script) => return futures_util::future::Either::Left(script(request)),
        None => request,
    };
    let sent = Proxy::here().exchange(request, upstream);
    #[cfg(test)]
    let sent = futures_util::future::Either::Right(sent);
    sent
}

/// An exchange until it is over, takes too long, or its body has become too large: whichever comes first.
async fn guarded<T>(
    mut exchange: Pin<&mut impl Future<Output = Result<T, Fault>>>,
    timeout: Option<Duration>,
    limit: Option<&BodyLimit>,
) -> Result<T, Fault> {
    let mut late = pin!(timeout.map(tokio::time::sleep));
    poll_fn(|cx| {
        if let Poll::Ready(result) = exchange.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if limit.is_some_and(BodyLimit::is_crossed) {
            return Poll::Ready(Err(too_large()));
        }
        match late.as_mut().as_pin_mut().map(|late| late.poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(too_late())),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    })
    .await
}

/// The reply of a service of ours, with what its route adds.
pub(super) fn finish(
    local: &Rc<Local>,
    at: u16,
    reply: Reply,
    choice: Option<Choice>,
    place: Place,
) -> Reply {
    let Some(route) = local.route(at) else { return reply };
    if route.is_plain() {
        return reply;
    }
    match reply {
        Reply::Ready(mut response) => {
            complete(route, &mut response, choice, &place);
            response.into()
        }
        Reply::Later(handler) => {
            let local = Rc::clone(local);
            Reply::later(async move {
                let Some(route) = local.route(at) else { return handler.await };
                let mut response = match route.timeout {
                    None => handler.await,
                    Some(timeout) => match tokio::time::timeout(timeout, handler).await {
                        Ok(response) => response,
                        Err(_) => {
                            let fault = too_late();
                            place.handle().blame(fault.cause);
                            answer::of(&fault, answer::Wants::default(), &route.errors)
                        }
                    },
                };
                complete(route, &mut response, choice, &place);
                response
            })
        }
        Reply::Driven(handler) => {
            if let Some(timeout) = route.timeout {
                place.ends_after(timeout);
            }
            Reply::Driven(handler)
        }
    }
}

fn complete(route: &Route, response: &mut Response, choice: Option<Choice>, place: &Place) {
    match (&response.body, route.timeout) {
        (Body::Tunnel(_), _) => return,
        (Body::Stream(_), Some(timeout)) => place.ends_after(timeout),
        _ => {}
    }
    route.finish(response, choice);
}

/// Upstreams of tests.
#[cfg(test)]
pub(super) mod script {
    use std::cell::RefCell;
    use std::future::Future;
    use std::pin::Pin;
    use std::rc::Rc;

    use super::*;

    type Answering = Pin<Box<dyn Future<Output = Result<Response, Fault>>>>;
    type Script = Rc<dyn Fn(Request) -> Answering>;

    thread_local! {
        static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
    }

    pub(super) fn of_this_thread() -> Option<Script> {
        SCRIPT.with_borrow(Clone::clone)
    }

    /// Answers whatever this thread sends on from now on.
    pub(in crate::gateway) fn play<F>(answer: impl Fn(Request) -> F + 'static)
    where
        F: Future<Output = Result<Response, Fault>> + 'static,
    {
        SCRIPT.set(Some(Rc::new(move |request| Box::pin(answer(request)))));
    }
}
