//! The layer most callers want: the `http` crate's request in, its response out.

use http::{Request, Response, StatusCode, Version};
use stagedoor_protocol::Fields;

use super::error::Error;
use super::options::RequestOptions;
use super::request::RequestParts;
use super::session::ClientSession;
use super::stream::ResponseBody;
use crate::body::Body;
use crate::convert;

impl ClientSession {
    /// Sends a request and waits for the head of its response; the body is read from what is returned. Dropping the
    /// future or the body cancels the request.
    ///
    /// A target with scheme and authority names them, one without takes the session's. Informational heads are skipped,
    /// pushed responses cancelled; [`Self::request`] shows them.
    /// # Errors
    /// [`Error`]; [`Error::is_retry_safe`] tells whether the peer can have acted on it.
    pub async fn send<B: Into<Body>>(&self, request: Request<B>) -> Result<Response<ResponseBody>, Error> {
        let (parts, body) = request.into_parts();
        let body: Body = body.into();
        let parts = RequestParts::from(parts);
        self.send_parts(parts, RequestOptions::with_body(body)).await
    }

    /// [`Self::send`] with options, and a head of our own.
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_parts(
        &self,
        parts: RequestParts,
        options: RequestOptions,
    ) -> Result<Response<ResponseBody>, Error> {
        let mut stream = self.request(parts, options)?;
        let head = stream.response().await?;
        let length = length_of(&head.fields);
        let mut response = Response::new(ResponseBody::of(stream, length));
        *response.status_mut() = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = convert::to_headers(&head.fields);
        Ok(response)
    }
}

/// The declared length of a body.
pub(super) fn length_of(fields: &Fields) -> Option<u64> {
    std::str::from_utf8(fields.get("content-length")?).ok()?.parse().ok()
}
