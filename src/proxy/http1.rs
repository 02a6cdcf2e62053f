//! A try over HTTP/1.1: hyper's connection, polled by whoever has the request on it and by nobody else, so that an
//! exchange is one task and not two.
//!
//! Invariant: a connection goes back to its pool only when both messages of its exchange are whole.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use stagedoor_actors::{Body, Response, convert};
use stagedoor_metrics::{CloseReason, Protocol, UpstreamFailure};
use stagedoor_protocol::{Fields, RequestHead, ResponseHead};

use super::body::{Source, Upload};
use super::count::{Counts, Ticket};
use super::failure::{Failure, Reach, of_http1};
use super::hops;
use super::pool::{Grant, Pool, Slot};
use super::watch::{Pending, Watch};
use crate::upstream::{Io, dial};

/// A body of this many octets at most is waited for with its head, if it is there already.
const WHOLE: u64 = 64 << 10;
/// Octets of an answer's head. It has a hundred fields at most, as hyper has it by itself: with more it would ask the heap
/// for room for all of them at each answer.
const HEAD_OCTETS: usize = 64 << 10;

/// A connection without an exchange, or with one.
pub(crate) struct Live {
    sender: SendRequest<Upload>,
    connection: Pin<Box<Connection<TokioIo<Io>, Upload>>>,
    /// The connection is over; it must not be polled again.
    over: bool,
    /// Requests were answered on it.
    served: bool,
    /// When a request was made on it last.
    pub(super) used: Instant,
    counted: Counted,
    slot: Slot,
}

/// Counts the end of a connection.
struct Counted {
    counts: Rc<Counts>,
    reason: CloseReason,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.cells.connection_closed(Protocol::Http1, self.reason);
    }
}

impl Live {
    /// Polls the connection, if there is something to poll.
    fn drive(&mut self, cx: &mut Context<'_>) -> Option<hyper::Error> {
        if self.over {
            return None;
        }
        match self.connection.as_mut().poll(cx) {
            Poll::Pending => None,
            Poll::Ready(ended) => {
                self.over = true;
                self.counted.reason =
                    if ended.is_err() { CloseReason::IoError } else { CloseReason::ClientClosed };
                ended.err()
            }
        }
    }

    /// Another request can be made on it now: nobody has closed it. Wakes nobody later.
    pub(super) fn is_alive(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        // What the other end said meanwhile is heard first: its end, most of all.
        self.drive(cx);
        !self.over && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }

    /// Closes it and gives its place away.
    pub(super) fn into_slot(self) -> Slot {
        self.slot
    }
}

/// A connection: one that waits, a new one, or the next that comes free.
async fn connect(pool: &Rc<Pool>, watch: &mut Watch) -> Result<Live, Failure> {
    let slot = loop {
        while let Some(mut live) = pool.take_idle() {
            if live.is_alive() {
                return Ok(live);
            }
        }
        match pool.ask()? {
            Ok(slot) => break slot,
            Err(mut waiting) => {
                let _pending = Pending::new(pool);
                let granted = poll_fn(|cx| match Pin::new(&mut waiting).poll(cx) {
                    Poll::Ready(granted) => Poll::Ready(Ok(granted)),
                    Poll::Pending => {
                        watch.is_late(None, cx).map_or(Poll::Pending, |late| Poll::Ready(Err(late)))
                    }
                });
                match granted.await? {
                    Ok(Grant::Live(mut live)) => {
                        if live.is_alive() {
                            return Ok(live);
                        }
                    }
                    Ok(Grant::Slot(slot)) => break slot,
                    // The pool is gone, and with it the endpoint.
                    Err(_) => {
                        let what = "the endpoint is gone";
                        return Err(Failure::new(
                            UpstreamFailure::DestinationUnavailable,
                            Reach::Unprocessed,
                            what,
                        ));
                    }
                }
            }
        }
    };
    // Rare, and much larger than what a request needs that finds a connection.
    Box::pin(open(pool, slot)).await
}

/// A new connection.
async fn open(pool: &Rc<Pool>, slot: Slot) -> Result<Live, Failure> {
    let began = tokio::time::Instant::now();
    let limit = pool.upstream.config.timeouts.connect;
    let dialled = dial(&pool.upstream, &pool.endpoint);
    let io = if limit.is_zero() {
        dialled.await?
    } else {
        let late = || {
            Failure::new(UpstreamFailure::ConnectionTimeout, Reach::Connect, format!("not within {limit:?}"))
        };
        tokio::time::timeout(limit, dialled).await.map_err(|_| late())??
    };
    let shaken = http1::Builder::new()
        .max_buf_size(HEAD_OCTETS)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| of_http1(&error, true))?;
    let (sender, connection) = shaken;
    pool.counts.cells.connection_opened(Protocol::Http1, began.elapsed().as_nanos() as u64);
    Ok(Live {
        sender,
        connection: Box::pin(connection),
        over: false,
        served: false,
        used: began.into_std(),
        counted: Counted { counts: Rc::clone(&pool.counts), reason: CloseReason::IdleTimeout },
        slot,
    })
}

/// Makes the request and waits for the head of its answer.
pub(crate) async fn exchange(
    pool: &Rc<Pool>,
    head: &RequestHead,
    source: Option<&Rc<Source>>,
    watch: &mut Watch,
) -> Result<Answered, Failure> {
    let mut live = connect(pool, watch).await?;
    // Made when it can be sent: who waits for a connection holds no copy of its head.
    let mut request = match request(head, source, &pool.endpoint.authority) {
        Ok(request) => request,
        Err(failure) => {
            pool.give_back(live);
            return Err(failure);
        }
    };
    pool.endpoint.active.fetch_add(1, Ordering::Relaxed);
    let active = Active(Rc::clone(pool));
    watch.begin();
    live.used = watch.now();
    let fresh = !live.served;
    let informed = watch.wants_informational().then(|| listen(&mut request));
    let answer = live.sender.try_send_request(request);
    let mut answer = pin!(answer);
    let response = poll_fn(|cx| {
        let error = live.drive(cx);
        if let Some(informed) = &informed {
            for head in take(informed) {
                watch.inform(head);
            }
        }
        // Only the connection, driven above, brings it: that need not wake us.
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Poll::Ready(answer.map_err(|mut error| {
                // What is given back was never sent.
                match error.take_message() {
                    Some(_) => {
                        let what = "the connection closed before the request was sent";
                        Failure::new(UpstreamFailure::ConnectionTerminated, Reach::Unprocessed, what)
                    }
                    None => of_http1(error.error(), fresh),
                }
            }));
        }
        if let Some(error) = error {
            return Poll::Ready(Err(of_http1(&error, fresh)));
        }
        if live.over {
            // The answer above says why in its next poll.
            let what = "the connection ended without an answer";
            let reach = if fresh { Reach::Reset } else { Reach::Stale };
            return Poll::Ready(Err(Failure::new(UpstreamFailure::ConnectionTerminated, reach, what)));
        }
        if let Some(failure) = watch.is_late(source, cx) {
            return Poll::Ready(Err(failure));
        }
        Poll::Pending
    })
    .await?;
    live.served = true;
    let (parts, incoming) = response.into_parts();
    let mut fields = convert::to_fields(&parts.headers);
    if fields.contains("transfer-encoding") {
        // The coding says where it ends; a length beside it is to be taken off (RFC 9112 §6.3).
        fields.remove("content-length");
    }
    hops::strip_response(&mut fields);
    Ok(Answered { status: parts.status.as_u16(), fields, live, incoming, source: source.cloned(), active })
}

/// A head, and the rest to come.
pub(crate) struct Answered {
    pub(crate) status: u16,
    fields: Fields,
    live: Live,
    incoming: Incoming,
    source: Option<Rc<Source>>,
    active: Active,
}

/// A request in flight at an endpoint.
struct Active(Rc<Pool>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.endpoint.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Answered {
    /// The answer for the client, the request's account with it; in one message where its body is short and here already.
    pub(crate) fn respond(self, ticket: Ticket, watch: Watch) -> Response {
        let Self { status, fields, live, incoming, source, active } = self;
        let length = incoming.size_hint().exact();
        let mut download = Box::new(Download {
            live: Some(live),
            incoming,
            source,
            held: VecDeque::new(),
            failed: None,
            over: false,
            declared: length.is_some(),
            ticket,
            watch,
            active,
        });
        // What is not here is waited for by whoever reads it, who is woken then.
        let whole = length.is_some_and(|length| length <= WHOLE)
            && download.gather(&mut Context::from_waker(Waker::noop()));
        let mut response = Response::new(status);
        response.fields = fields;
        response.body = if whole {
            match download.held.pop_front().map(Frame::into_data) {
                Some(Ok(octets)) => Body::full(octets),
                _ => Body::Empty,
            }
        } else {
            Body::Stream(Box::into_pin(download))
        };
        response
    }
}

/// The body of an answer, and the connection it comes over.
struct Download {
    live: Option<Live>,
    incoming: Incoming,
    source: Option<Rc<Source>>,
    /// What was read ahead, and why no more was.
    held: VecDeque<Frame<Bytes>>,
    failed: Option<Failure>,
    over: bool,
    /// Its head says how long it is.
    declared: bool,
    ticket: Ticket,
    watch: Watch,
    active: Active,
}

impl Download {
    /// Reads what is there; true where that is everything, in one piece.
    fn gather(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.poll_more(cx) {
                Poll::Ready(Some(Ok(frame))) => self.held.push_back(frame),
                Poll::Ready(None) => {}
                Poll::Ready(Some(Err(failure))) => {
                    // It is told after what came before it: hyper would say next that all is well.
                    self.failed = Some(failure);
                    return false;
                }
                Poll::Pending => return false,
            }
            if self.over {
                return self.held.len() <= 1 && self.held.iter().all(Frame::is_data);
            }
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.over {
            return Poll::Ready(None);
        }
        // Only the connection brings frames, and it is driven here: they need not wake us.
        let unheard = &mut Context::from_waker(Waker::noop());
        let mut polled = Pin::new(&mut self.incoming).poll_frame(unheard);
        if polled.is_pending()
            && let Some(live) = &mut self.live
        {
            live.drive(cx);
            polled = Pin::new(&mut self.incoming).poll_frame(unheard);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.watch.moved();
                // Who sends it on asks for no more after the last one.
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.broke(of_http1(&error, true))))),
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending if self.declared => match self.watch.is_stalled(cx) {
                Some(failure) => Poll::Ready(Some(Err(self.broke(failure)))),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }

    /// It does not go on; that is counted unless the request's own body is why.
    fn broke(&mut self, failure: Failure) -> Failure {
        self.over = true;
        self.live = None;
        if self.source.as_ref().is_none_or(|source| source.failed().is_none()) {
            self.ticket.broke(&failure);
        }
        failure
    }

    /// The answer is whole: its connection is free where the request is whole too.
    fn finish(&mut self) {
        self.over = true;
        let Some(mut live) = self.live.take() else { return };
        // Ready for another it is only where this request is on its way whole, which it is without a body. Whether it is
        // still open is asked by whoever takes it.
        if !live.over && (self.source.is_none() || live.is_alive()) {
            live.used = self.watch.now();
            self.active.0.give_back(live);
        }
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(frame) = this.held.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let more = match this.failed.take() {
            Some(failure) => Poll::Ready(Some(Err(failure))),
            None => this.poll_more(cx),
        };
        more.map(|frame| frame.map(|frame| frame.map_err(|failure| failure.detail.into())))
    }

    fn is_end_stream(&self) -> bool {
        let more = !self.held.is_empty() || self.failed.is_some();
        !more && (self.over || self.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Heads that hyper hears while it waits for the final one.
type Informed = Arc<Mutex<Vec<ResponseHead>>>;

fn listen(request: &mut http::Request<Upload>) -> Informed {
    let informed = Informed::default();
    let told = Arc::clone(&informed);
    hyper::ext::on_informational(request, move |head| {
        let mut fields = convert::to_fields(head.headers());
        hops::strip_response(&mut fields);
        let status = head.status().as_u16();
        told.lock().unwrap_or_else(PoisonError::into_inner).push(ResponseHead::new(status, fields));
    });
    informed
}

fn take(informed: &Informed) -> Vec<ResponseHead> {
    std::mem::take(&mut *informed.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The request as hyper takes it: origin form, `host` from the authority, the crumbs of a cookie in one field
/// (RFC 9113 §8.2.3). `host` has to be there (RFC 9112 §3.2): a request that names none is for whoever is asked.
fn request(
    head: &RequestHead,
    source: Option<&Rc<Source>>,
    host: &str,
) -> Result<http::Request<Upload>, Failure> {
    let wrong = |what: &str| Failure::new(UpstreamFailure::HttpRequestError, Reach::Client, what);
    let mut request = http::Request::new(Upload::of(source));
    *request.method_mut() = http::Method::from_bytes(head.method_octets())
        .map_err(|_| wrong("the method cannot be sent over HTTP/1.1"))?;
    *request.uri_mut() = Uri::try_from(head.path_octets())
        .ok()
        .filter(is_origin_form)
        .ok_or_else(|| wrong("the path cannot be sent over HTTP/1.1"))?;
    let headers = request.headers_mut();
    headers.reserve(head.fields().len() + 2);
    let value = |octets: &[u8]| {
        HeaderValue::from_bytes(octets).map_err(|_| wrong("a field cannot be sent over HTTP/1.1"))
    };
    headers.insert(http::header::HOST, value(head.authority().unwrap_or(host).as_bytes())?);
    if source.is_some() && !head.fields().contains("content-length") {
        // Of methods that rarely have a body hyper takes none for granted.
        headers.insert(http::header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    for (field, octets) in head.fields().shared() {
        if matches!(field.name, b"host" | b"cookie") {
            continue;
        }
        let (Some(name), Some(value)) = (convert::to_name(&field), convert::to_value(&field, octets)) else {
            return Err(wrong("a field cannot be sent over HTTP/1.1"));
        };
        if field.name == b"te" {
            // What speaks of this connection is named (RFC 9110 §10.1.4).
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("te"));
        }
        headers.append(name, value);
    }
    if let Some(cookie) = head.fields().cookie() {
        headers.insert(http::header::COOKIE, value(&cookie)?);
    }
    Ok(request)
}

/// A path, or `*`: nothing that names a server.
fn is_origin_form(uri: &Uri) -> bool {
    uri.authority().is_none() && uri.scheme().is_none()
}
