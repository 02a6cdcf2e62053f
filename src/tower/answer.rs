//! The response of a `tower` service as ours. Sends nothing itself.
//!
//! Invariants: a body that is whole with its first frames goes out with its head; of any other no frame is taken before
//! the session asks, but for the first one, and one more behind a small one.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use stagedoor_actors::{Body, Response, convert};
use stagedoor_protocol::Fields;

/// Octets of a first frame behind which a second one is looked for at once.
const SMALL: usize = 16 << 10;

/// See the module.
pub(super) fn answer<B>(response: http::Response<B>) -> Response
where
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (parts, body) = response.into_parts();
    let mut response = Response::new(parts.status.as_u16());
    response.fields = convert::to_fields(&parts.headers);
    begun(response, body)
}

/// The response with its body, looked at once: what is known now need not be asked for later.
fn begun<B>(response: Response, body: B) -> Response
where
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return response;
    }
    let mut body = Box::pin(Answered { first: None, second: None, body });
    // What has to wait is asked again by its stream, at once.
    let cx = &mut Context::from_waker(Waker::noop());
    let octets = match body.as_mut().poll_frame(cx) {
        Poll::Pending => return response.with_body(Body::Stream(body)),
        Poll::Ready(None) => return response,
        Poll::Ready(Some(first)) => match first.map(Frame::into_data) {
            Ok(Ok(octets)) => octets,
            // No data at all.
            Ok(Err(frame)) => return response.with_trailers(trailers(frame)),
            Err(error) => {
                *body.as_mut().project().first = Some(Err(error));
                return response.with_body(Body::Stream(body));
            }
        },
    };
    if body.is_end_stream() {
        return response.with_body(Body::full(octets));
    }
    // Of a body that cannot say more than that there may be more, the next frame is often its end: unary gRPC is one.
    let mut second = None;
    if body.size_hint().exact().is_none() && octets.len() <= SMALL {
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(None) => return response.with_body(Body::full(octets)),
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                return response.with_body(Body::full(octets)).with_trailers(trailers(frame));
            }
            Poll::Ready(Some(other)) => second = Some(other),
            Poll::Pending => {}
        }
    }
    let this = body.as_mut().project();
    *this.first = Some(Ok(Frame::data(octets)));
    *this.second = second;
    response.with_body(Body::Stream(body))
}

fn trailers(frame: Frame<Bytes>) -> Fields {
    frame.into_trailers().map(|trailers| convert::to_fields(&trailers)).unwrap_or_default()
}

pin_project! {
    /// A body with the types of ours, of which two frames may be in hand already.
    struct Answered<B> {
        first: Option<Result<Frame<Bytes>, Box<dyn Error>>>,
        second: Option<Result<Frame<Bytes>, Box<dyn Error>>>,
        #[pin]
        body: B,
    }
}

impl<B> http_body::Body for Answered<B>
where
    B: http_body::Body,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        if let Some(known) = this.first.take().or_else(|| this.second.take()) {
            return Poll::Ready(Some(known));
        }
        this.body.poll_frame(cx).map(|frame| {
            frame.map(|result| {
                result
                    // Of `Bytes` this is no copy.
                    .map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
                    .map_err(|error| -> Box<dyn Error> { error.into() })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.second.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let held = [&self.first, &self.second].into_iter().flatten();
        let octets = held.flatten().filter_map(Frame::data_ref).map(Bytes::len).sum::<usize>() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(octets));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(octets));
        }
        hint
    }
}
