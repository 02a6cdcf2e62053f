//! `/bytes/{n}`: as many octets as asked for, always the same ones, whole or a single range (RFC 9110 §14).
//!
//! The octets are slices of one static block, so a terabyte costs no copy and no memory. The length of the
//! block is prime: a frame, a buffer or a page that is lost or sent twice shows, whatever its size.
//!
//! Invariant: octet `i` of the answer is [`octet_at`]`(i)`, in ranges too.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use stagedoor_actors::files::Asked;
use stagedoor_actors::{Body, Response};
use stagedoor_protocol::RequestHead;

use super::answer;
use super::query::whole;

/// The most octets `/bytes` gives: 2^40.
pub const MOST_OCTETS: u64 = 1 << 40;

/// Octets of the block, a prime.
const PERIOD: u64 = 65_521;

static BLOCK: LazyLock<&'static [u8]> =
    LazyLock::new(|| Box::leak((0..PERIOD).map(octet_at).collect::<Box<[u8]>>()));

/// Octet `place` of every `/bytes` answer: printable, in lines of 64.
pub fn octet_at(place: u64) -> u8 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = place % PERIOD;
    if place % 64 == 63 { b'\n' } else { ALPHABET[((place + place / 64 * 7 + place / 4096) % 64) as usize] }
}

/// The octets of a range, as far as the block goes in one piece.
pub(super) fn slice_at(range: Range<u64>) -> Bytes {
    let start = range.start % PERIOD;
    let end = PERIOD.min(start + (range.end - range.start));
    Bytes::from_static(&BLOCK[start as usize..end as usize])
}

/// Answers `GET /bytes/{octets}`.
pub(super) fn answer(octets: &str, head: &RequestHead) -> Response {
    let Some(total) = whole(octets).filter(|total| *total <= MOST_OCTETS) else {
        return answer::bad(format!("/bytes/{{n}} takes a whole number up to 2^40 ({MOST_OCTETS})"));
    };
    let response = |status| {
        Response::new(status)
            .with_field("content-type", "application/octet-stream")
            .with_field("accept-ranges", "bytes")
    };
    match asked_range(head, total) {
        Asked::Whole => response(200).with_body(body(0..total)),
        Asked::Part(range) => response(206)
            .with_field("content-range", format!("bytes {}-{}/{total}", range.start, range.end - 1))
            .with_body(body(range)),
        Asked::Nothing => answer::text(416, format!("the {total} octets end before this range\n"))
            .with_field("content-range", format!("bytes */{total}")),
    }
}

/// The octets of a range as a body; in one message where they are one slice.
pub(super) fn body(range: Range<u64>) -> Body {
    if range.is_empty() {
        return Body::Empty;
    }
    let first = slice_at(range.clone());
    if first.len() as u64 == range.end - range.start {
        Body::Full(first)
    } else {
        Body::stream(Octets { left: range })
    }
}

/// No validator is ever given out, so an `if-range` cannot hold (RFC 9110 §13.1.5).
fn asked_range(head: &RequestHead, total: u64) -> Asked {
    match Asked::of(head, total) {
        Asked::Whole => Asked::Whole,
        _ if head.fields().contains("if-range") => Asked::Whole,
        asked => asked,
    }
}

/// A body of octets that are not copied.
struct Octets {
    left: Range<u64>,
}

impl http_body::Body for Octets {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let slice = slice_at(self.left.clone());
        self.left.start += slice.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_range_and_other_methods_give_the_whole() {
        let mut head = RequestHead::new("GET", "http", "localhost", "/bytes/1000");
        head.fields_mut().push("range", "bytes=1-2");
        assert_eq!(asked_range(&head, 1000), Asked::Part(1..3));
        head.fields_mut().push("if-range", "\"other\"");
        assert_eq!(asked_range(&head, 1000), Asked::Whole);
        let mut head = RequestHead::new("HEAD", "http", "localhost", "/bytes/1000");
        head.fields_mut().push("range", "bytes=1-2");
        assert_eq!(asked_range(&head, 1000), Asked::Whole);
    }

    #[test]
    fn slices_follow_each_other_over_the_end_of_the_block() {
        let mut left = PERIOD - 3..PERIOD * 2 + 5;
        let mut place = left.start;
        while !left.is_empty() {
            let slice = slice_at(left.clone());
            for octet in &slice {
                assert_eq!(*octet, octet_at(place));
                place += 1;
            }
            left.start += slice.len() as u64;
        }
        assert_eq!(place, PERIOD * 2 + 5);
    }

    #[test]
    fn small_answers_are_one_message() {
        assert!(matches!(body(0..0), Body::Empty));
        assert!(matches!(body(0..PERIOD), Body::Full(_)));
        assert!(matches!(body(70_000..70_010), Body::Full(_)));
    }

    #[test]
    fn too_many_octets_are_refused_in_words() {
        let head = RequestHead::new("GET", "http", "localhost", "/");
        assert_eq!(answer("1099511627776", &head).status, 200);
        for octets in ["1099511627777", "", "-1", "ten", "1/2"] {
            assert_eq!(answer(octets, &head).status, 400, "{octets}");
        }
    }
}
