//! A try over HTTP/2: a stream of a session of ours, which multiplexes what all clients of this worker ask.
//!
//! The session does flow control, deadlines of stall and resets; here its answers become answers to the client.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use stagedoor_actors::client::{ClientStream, Line};
use stagedoor_actors::{Body, Response, StreamTimeouts, convert};
use stagedoor_protocol::{RequestHead, ResponseHead};

use super::body::{Source, Upload};
use super::count::Ticket;
use super::failure::Failure;
use super::hops;
use super::pool::{Lease, Pool};
use super::watch::Watch;

/// Makes the request and waits for the head of its answer.
pub(crate) async fn exchange(
    pool: &Rc<Pool>,
    head: &Rc<RequestHead>,
    source: Option<&Rc<Source>>,
    watch: &mut Watch,
    patient: bool,
) -> Result<Answered, Failure> {
    let lease = pool.lease(watch.client())?;
    let body = match source {
        None => Body::Empty,
        // A session of ours asks for another type of error.
        Some(source) => Body::Stream(Box::pin(
            Upload::From(Rc::clone(source)).map_err(|error| error as Box<dyn std::error::Error>),
        )),
    };
    // Silence is how gRPC streams rest.
    let timeouts =
        patient.then(|| StreamTimeouts { stall: Some(Duration::ZERO), ..StreamTimeouts::default() });
    let line = Rc::clone(pool) as Rc<dyn Line>;
    let mut stream = lease.shared.session.pass_on(Rc::clone(head), body, timeouts, line)?;
    let head = poll_fn(|cx| {
        // It is not woken for that: the time of the answer is put right when there is one, or the deadline comes.
        if let Some(opened) = stream.opened_at() {
            watch.begin_at(opened);
        }
        while let Some(head) = stream.informational() {
            watch.inform(head);
        }
        if let Poll::Ready(head) = stream.poll_response(cx) {
            return Poll::Ready(head.map_err(Failure::from));
        }
        // In line it waits for the connection, which has a deadline of its own, or for others.
        match watch.is_late(source, cx) {
            Some(failure) => Poll::Ready(Err(failure)),
            None => Poll::Pending,
        }
    })
    .await?;
    Ok(Answered { head, stream, lease })
}

/// A head, and the rest to come.
pub(crate) struct Answered {
    pub(crate) head: ResponseHead,
    stream: ClientStream,
    lease: Lease,
}

impl Answered {
    /// The answer for the client; where all of it is here, in one message.
    pub(crate) fn respond(self, ticket: Ticket) -> Response {
        let Self { head, mut stream, lease } = self;
        let mut response = Response::new(head.status);
        response.fields = head.fields;
        hops::strip_response(&mut response.fields);
        response.body = match stream.whole() {
            Some(octets) => Body::full(octets),
            None => Body::Stream(Box::pin(Download { stream, _lease: lease, ticket, over: false })),
        };
        response
    }
}

/// The body of an answer.
struct Download {
    stream: ClientStream,
    over: bool,
    _lease: Lease,
    ticket: Ticket,
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        this.stream.poll_chunk(cx).map(|chunk| match chunk {
            Some(Ok(chunk)) => Some(Ok(Frame::data(chunk))),
            Some(Err(error)) => {
                this.over = true;
                this.ticket.broke(&Failure::from(error.clone()));
                Some(Err(error.into()))
            }
            None => {
                this.over = true;
                this.stream.trailers().map(|fields| Ok(Frame::trailers(convert::to_headers(&fields))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.stream.is_read_out()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
