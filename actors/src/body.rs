//! Bodies, both ways, with backpressure.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

/// Why a body ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The peer reset the stream.
    #[error("the peer reset the stream with {0}")]
    Reset(stagedoor_protocol::ErrorCode),
    /// The session ended.
    #[error("the session ended")]
    SessionClosed,
    /// The connection broke, or the message was malformed.
    #[error("the body is broken: {0}")]
    Broken(String),
}

/// A response body that is produced while it is sent.
pub type BoxBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = Box<dyn std::error::Error>>>>;

/// The body of a response.
pub enum Body {
    /// None: END_STREAM rides on HEADERS.
    Empty,
    /// Known whole: head, body and end are one message.
    Full(Bytes),
    /// Produced as capacity comes back; may end with trailers. An error resets the stream (INTERNAL_ERROR).
    Stream(BoxBody),
}

impl Body {
    /// A body that is polled as the peer takes it.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn std::error::Error>>,
    {
        // The actors engineer maps the error here.
        let _ = body;
        Self::Empty
    }
}

/// The body of a request. Octets given out are credited to the peer's windows. Also an [`http_body::Body`].
pub struct RequestBody {}

impl RequestBody {
    /// Nothing to read.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// The next octets; `None` at the end (then [`Self::trailers`] may have some).
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        None
    }

    /// Trailers, once `chunk` has said `None`.
    pub fn trailers(&mut self) -> Option<stagedoor_protocol::Fields> {
        None
    }

    /// Declared length in octets, where the head says one.
    pub fn content_length(&self) -> Option<u64> {
        None
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;
    fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(None)
    }
}
