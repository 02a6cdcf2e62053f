//! What a handler's response becomes on the wire: lengths, dates, and bodies that may not be there.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use stagedoor_metrics::Method;
use stagedoor_protocol::{Fields, ResponseHead};

use crate::body::{Body, BoxBody, TunnelBody};
use crate::clock;
use crate::convert;
use crate::service::Response;

/// A response made ready for its session.
pub(crate) enum Answer {
    /// Head, body and end together.
    Whole(ResponseHead, Bytes),
    /// The same, with trailers.
    Trailed(ResponseHead, Bytes, Fields),
    /// The body follows.
    Streaming(ResponseHead, BoxBody),
    /// A tunnel.
    Tunnel(Box<TunnelBody>),
}

/// Adds `content-length` where the length is known and `date` where it is missing; drops a body that may not
/// be there (HEAD, 204, 205, 304: RFC 9110 §6.4.1).
pub(crate) fn answer(response: Response, method: Method, now: Instant) -> Answer {
    let Response { status, fields, body, dated, trailers } = response;
    let is_head = method == Method::Head;
    let bodiless = matches!(status, 204 | 205 | 304);
    let length = match &body {
        // A 304 or the answer to HEAD speaks of a body that is not sent; zero would be a lie.
        Body::Empty => (!is_head && !bodiless).then_some(0),
        Body::Full(octets) => Some(octets.len() as u64),
        Body::Stream(body) => body.size_hint().exact(),
        Body::Tunnel(_) => None,
    };
    // RFC 9110 §8.6: none in 204, nor where a tunnel begins; in 205 there is no content.
    let tunnel = method == Method::Connect && (200..300).contains(&status);
    let length = if matches!(status, 204 | 205) || tunnel { None } else { length };
    let trailers = trailers.filter(|_| !is_head && !bodiless && !tunnel);
    let length = length.filter(|_| trailers.is_none());
    let head = head_of(status, fields, length, dated, now);
    if let Some(trailers) = trailers {
        return match body {
            Body::Empty => Answer::Trailed(head, Bytes::new(), *trailers),
            Body::Full(octets) => Answer::Trailed(head, octets, *trailers),
            body @ Body::Stream(_) => Answer::Streaming(head, trailed(body, *trailers)),
            Body::Tunnel(tunnel) => Answer::Tunnel(tunnel),
        };
    }
    match body {
        Body::Empty => Answer::Whole(head, Bytes::new()),
        Body::Tunnel(tunnel) => Answer::Tunnel(tunnel),
        Body::Stream(body) if tunnel => Answer::Streaming(head, body),
        _ if is_head || bodiless => Answer::Whole(head, Bytes::new()),
        Body::Full(octets) => Answer::Whole(head, octets),
        Body::Stream(body) if body.is_end_stream() => Answer::Whole(head, Bytes::new()),
        Body::Stream(body) => Answer::Streaming(head, body),
    }
}

/// A body that ends with these trailers and with none of its own. Of a tunnel nothing is sent.
pub(crate) fn trailed(body: Body, trailers: Fields) -> BoxBody {
    let (body, octets) = match body {
        Body::Stream(body) => (Some(body), Bytes::new()),
        Body::Full(octets) => (None, octets),
        Body::Empty | Body::Tunnel(_) => (None, Bytes::new()),
    };
    Box::pin(Trailed { body, octets, trailers: Some(trailers) })
}

struct Trailed {
    body: Option<BoxBody>,
    octets: Bytes,
    trailers: Option<Fields>,
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(body) = &mut self.body {
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) if !frame.is_data() => {}
                Some(frame) => return Poll::Ready(Some(frame)),
                None => {}
            }
            self.body = None;
        }
        if !self.octets.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.octets)))));
        }
        let trailers = self.trailers.take();
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(convert::to_headers(&fields)))))
    }
}

/// A head with `content-length` where `length` is known and `date` where it is wanted, unless `fields` have them.
#[inline(always)]
pub(crate) fn head_of(
    status: u16,
    mut fields: Fields,
    length: Option<u64>,
    dated: bool,
    now: Instant,
) -> ResponseHead {
    let (mut has_length, mut has_date) = (length.is_none(), !dated);
    for field in fields.iter() {
        match field.name.len() {
            4 => has_date |= field.name == b"date",
            14 => has_length |= field.name == b"content-length",
            _ => {}
        }
    }
    if let Some(length) = length
        && !has_length
    {
        let mut digits = [0; 20];
        fields.push("content-length", decimal(length, &mut digits));
    }
    if !has_date {
        clock::with_date(now, |date| fields.push("date", date));
    }
    ResponseHead::new(status, fields)
}

/// A number in decimal, without the formatting machinery.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(response: Response, method: Method) -> (ResponseHead, Bytes) {
        match answer(response, method, clock::now()) {
            Answer::Whole(head, body) => (head, body),
            _ => panic!("a whole answer"),
        }
    }

    #[test]
    fn a_full_body_has_its_length_and_a_date() {
        let (head, body) = whole(Response::text("hello"), Method::Get);
        assert_eq!(head.fields.get("content-length"), Some(&b"5"[..]));
        assert!(head.fields.contains("date"));
        assert_eq!(body, "hello");
    }

    #[test]
    fn head_keeps_the_length_and_drops_the_body() {
        let (head, body) = whole(Response::text("hello"), Method::Head);
        assert_eq!(head.fields.get("content-length"), Some(&b"5"[..]));
        assert!(body.is_empty());
        let (head, _) = whole(Response::new(200), Method::Head);
        assert!(!head.fields.contains("content-length"));
    }

    #[test]
    fn statuses_without_a_body_have_none() {
        for status in [204, 205, 304] {
            let response = Response::new(status).with_body(Body::Full(Bytes::from_static(b"no")));
            let (head, body) = whole(response, Method::Get);
            assert!(body.is_empty(), "{status}");
            assert_eq!(head.fields.contains("content-length"), status == 304, "{status}");
        }
    }

    #[test]
    fn a_tunnel_has_no_length() {
        let (head, _) = whole(Response::new(200), Method::Connect);
        assert!(!head.fields.contains("content-length"));
        let (head, _) = whole(Response::new(502), Method::Connect);
        assert_eq!(head.fields.get("content-length"), Some(&b"0"[..]));
    }

    #[test]
    fn what_the_handler_said_stays() {
        let response = Response::text("hello").with_field("date", "never").with_field("content-length", "5");
        let (head, _) = whole(response, Method::Get);
        assert_eq!(head.fields.get_all("date").count(), 1);
        assert_eq!(head.fields.get_all("content-length").count(), 1);
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 13, 4_294_967_296, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
