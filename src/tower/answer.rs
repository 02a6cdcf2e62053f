//! The response of a `tower` service as ours. Sends nothing itself.
//!
//! Invariants: a body that is whole with its first frame goes out with its head; of any other no frame is taken before
//! the session asks, but for that first one.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use stagedoor_actors::{Body, Response, convert};

/// See the module.
pub(super) async fn answer<B>(response: http::Response<B>) -> Response
where
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (parts, body) = response.into_parts();
    let mut response = Response::new(parts.status.as_u16());
    response.fields = convert::to_fields(&parts.headers);
    response.body = begun(body).await;
    response
}

/// The body, looked at once: what is known now need not be asked for later.
async fn begun<B>(body: B) -> Body
where
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return Body::Empty;
    }
    let mut body = Box::pin(Answered { first: None, body });
    let first = poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await;
    match first {
        Poll::Pending => Body::Stream(body),
        Poll::Ready(None) => Body::Empty,
        Poll::Ready(Some(first)) => match first.map(Frame::into_data) {
            Ok(Ok(octets)) if body.is_end_stream() => Body::full(octets),
            first => {
                let first = first.map(|frame| frame.map_or_else(|frame| frame, Frame::data));
                *body.as_mut().project().first = Some(first);
                Body::Stream(body)
            }
        },
    }
}

pin_project! {
    /// A body with the types of ours, of which one frame may be in hand already.
    struct Answered<B> {
        first: Option<Result<Frame<Bytes>, Box<dyn Error>>>,
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
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(first));
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
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let Some(Ok(frame)) = &self.first else { return rest };
        let octets = frame.data_ref().map_or(0, Bytes::len) as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(octets));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(octets));
        }
        hint
    }
}
