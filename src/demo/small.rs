//! The short ones: `/status`, `/delay`, `/trailers`, `/reject`, `/panic`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use sha2::{Digest as _, Sha256};
use stagedoor_actors::{Body, Reply, Request, Response};

use super::answer;
use super::octets;
use super::query::{Query, whole};
use crate::hex::hex;

/// The longest wait of `/delay`, in seconds.
const LONGEST_DELAY: f64 = 3_600.0;

/// What `/trailers` sends.
const TRAILERS_BODY: &[u8] = b"the checksum of these octets follows them\n";

/// `/status/{code}`: 204, 205 and 304 have no body (RFC 9110 §15).
pub(super) fn status(code: &str) -> Response {
    match whole(code).and_then(|code| u16::try_from(code).ok()).filter(|code| (200..600).contains(code)) {
        Some(code @ (204 | 205 | 304)) => Response::new(code),
        Some(code) => {
            let reason = http::StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
            answer::text(code, format!("{code} {}\n", reason.unwrap_or("has no name")))
        }
        None => answer::bad("/status/{code} takes a status from 200 to 599"),
    }
}

/// `/delay/{seconds}`: fractions are fine.
pub(super) fn delay(seconds: &str) -> Reply {
    match wait_of(seconds) {
        Some(wait) => Reply::later(async move {
            tokio::time::sleep(wait).await;
            answer::text(200, format!("waited {} s\n", wait.as_secs_f64()))
        }),
        None => answer::bad("/delay/{seconds} takes a number from 0 to 3600, fractions too").into(),
    }
}

fn wait_of(seconds: &str) -> Option<Duration> {
    // `parse` takes "inf", "nan" and signs too.
    let plain = seconds.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    let seconds = seconds.parse::<f64>().ok().filter(|seconds| plain && *seconds <= LONGEST_DELAY)?;
    Some(Duration::from_secs_f64(seconds))
}

/// `/trailers`: on HTTP/1.1 only a client that says `te: trailers` gets them (RFC 9110 §6.5.1).
pub(super) fn trailers(request: &Request) -> Response {
    let octets = Bytes::from_static(TRAILERS_BODY);
    let response = Response::new(200).with_field("content-type", "text/plain; charset=utf-8");
    if request.session.protocol == "http/1.1" && !takes_trailers(request.head.fields().get_all("te")) {
        return response.with_body(Body::Full(octets));
    }
    let mut trailers = HeaderMap::with_capacity(2);
    let checksum = HeaderValue::try_from(hex(&Sha256::digest(&octets)));
    trailers.insert("x-checksum", checksum.expect("hex digits are a field value"));
    trailers.insert("x-octets", HeaderValue::from(octets.len()));
    response
        .with_field("trailer", "x-checksum, x-octets")
        .with_body(Body::stream(WithTrailers { octets: Some(octets), trailers: Some(trailers) }))
}

fn takes_trailers<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    values.flat_map(|value| value.split(|octet| *octet == b',')).any(|coding| {
        let name = coding.split(|octet| *octet == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"trailers")
    })
}

/// A piece of body, then trailers.
struct WithTrailers {
    octets: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.octets.take() {
            Some(octets) => Some(Frame::data(octets)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }
}

/// `/reject`: the body is dropped unread, which tells the peer to stop sending it.
pub(super) fn reject() -> Response {
    answer::text(413, "no body is small enough for this path\n")
}

/// `/panic`: before the head, or after `after` octets of the body.
///
/// # Panics
/// That is what it is for.
pub(super) fn panic_when_asked(query: &Query<'_>) -> Response {
    let after = match query.get("after") {
        None => panic!("the demo was asked to panic before the head"),
        Some(_) => query.quantity("after", 0),
    };
    match after {
        Ok(after) if after <= octets::MOST_OCTETS => Response::new(200)
            .with_field("content-type", "application/octet-stream")
            .with_body(Body::stream(Fuse { sent: 0, after })),
        Ok(_) => answer::bad("after is at most 2^40"),
        Err(sentence) => answer::bad(sentence),
    }
}

/// A body that panics in place of an end.
struct Fuse {
    sent: u64,
    after: u64,
}

impl http_body::Body for Fuse {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(self.sent < self.after, "the demo was asked to panic after {} octets", self.after);
        let piece = octets::slice_at(self.sent..self.after);
        self.sent += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_without_content_have_no_body() {
        for code in ["204", "205", "304"] {
            assert!(matches!(status(code).body, Body::Empty), "{code}");
        }
        assert_eq!(status("299").status, 299);
        assert!(matches!(status("200").body, Body::Full(text) if text == "200 OK\n"));
        for code in ["199", "600", "", "2e2", "65736", "+200"] {
            assert_eq!(status(code).status, 400, "{code}");
        }
    }

    #[test]
    fn delays_take_fractions_and_nothing_odd() {
        assert_eq!(wait_of("0"), Some(Duration::ZERO));
        assert_eq!(wait_of("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(wait_of("3600"), Some(Duration::from_secs(3_600)));
        for seconds in ["3600.1", "-1", "inf", "nan", "", ".", "1e2", "1.2.3"] {
            assert_eq!(wait_of(seconds), None, "{seconds}");
        }
    }

    #[test]
    fn te_is_read_as_a_list() {
        let takes = |value: &'static str| takes_trailers(std::iter::once(value.as_bytes()));
        assert!(takes("trailers") && takes("gzip;q=0.5, Trailers") && takes("trailers;q=1"));
        assert!(!takes("") && !takes("gzip") && !takes("trailersx"));
    }
}
