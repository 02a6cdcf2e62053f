//! Compression of answers on their way out (RFC 9110 §8.4.1): gzip, br and zstd, as the client takes them and the route
//! likes them.
//!
//! Left alone is what is coded already, `no-transform`, partial (206), of another media type than the route lists, too
//! small to be worth it, an event stream, or gRPC. What is compressed has no `content-length`, a weak `etag` (its octets
//! are not those of the origin) and no digests; what could have been has `vary: accept-encoding`.
//!
//! Invariants: whenever the source pauses, all it gave has been passed on, so a slow source is no slower for it; at
//! most one chunk of the source and what became of it is held, and an arbiter is never kept for more than
//! [`TURN`] octets at a time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use async_compression::Level;
use async_compression::brotli::EncoderParams;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use async_compression::zstd::CParameter;
use bytes::Bytes;
use http_body::{Body as _, Frame};
use stagedoor_actors::body::BoxBody;
use stagedoor_actors::files::{self, Encoding};
use stagedoor_actors::{Body, Response};
use stagedoor_protocol::{Fields, RequestHead};
use tokio::io::AsyncWrite;

use super::answer;
use crate::config::{self, Coding};

/// A body known whole and no larger is compressed at once, and its length is known again.
const AT_ONCE: usize = 32 << 10;
/// Octets compressed before others get their turn.
const TURN: usize = 64 << 10;
/// Octets compressed before what came out is passed on.
const PIECE: usize = 16 << 10;
/// Octets (as a power of two) that a coder looks back at: what bounds the memory of each answer.
const WINDOW: u8 = 18;

/// What a route compresses.
#[derive(Clone, Debug)]
pub(super) struct Compression {
    offered: Vec<Encoding>,
    min: u64,
    types: Vec<String>,
}

/// What a client makes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    coding: Option<Encoding>,
    is_head: bool,
}

/// The name of a coding among ours.
pub(super) fn encoding(coding: Coding) -> Encoding {
    match coding {
        Coding::Brotli => Encoding::Brotli,
        Coding::Zstd => Encoding::Zstd,
        Coding::Gzip => Encoding::Gzip,
    }
}

impl Compression {
    /// Of a route.
    pub(super) fn new(compress: &config::Compress) -> Self {
        Self {
            offered: compress.encodings.iter().copied().map(encoding).collect(),
            min: compress.min_bytes,
            types: compress.types.iter().map(|kind| kind.to_ascii_lowercase()).collect(),
        }
    }

    /// What the request with this `head` is answered in.
    pub(super) fn choose(&self, head: &RequestHead) -> Choice {
        let coding = files::accepted(head.fields(), &self.offered).first().copied();
        Choice { coding, is_head: head.method_octets() == b"HEAD" }
    }

    /// Compresses an answer, where it may and should be.
    pub(super) fn apply(&self, choice: Choice, response: &mut Response) {
        if !self.is_eligible(response) {
            return;
        }
        vary(&mut response.fields);
        let Some(coding) = choice.coding else { return };
        let body = std::mem::replace(&mut response.body, Body::Empty);
        response.body = match body {
            // Of HEAD, and it speaks of the body that GET would have.
            _ if choice.is_head => Body::Empty,
            Body::Full(octets) if octets.len() <= AT_ONCE => match Coder::new(coding).whole(&octets) {
                Ok(coded) if coded.len() < octets.len() => Body::Full(coded),
                // It became no smaller.
                _ => {
                    response.body = Body::Full(octets);
                    return;
                }
            },
            Body::Full(octets) => Body::stream(Compressed::new(coding, None, octets)),
            Body::Stream(source) => Body::stream(Compressed::new(coding, Some(source), Bytes::new())),
            other => {
                response.body = other;
                return;
            }
        };
        mark(&mut response.fields, coding);
    }

    fn is_eligible(&self, response: &Response) -> bool {
        if !(200..300).contains(&response.status) || matches!(response.status, 204..=206) {
            return false;
        }
        let mut length = match &response.body {
            Body::Full(octets) => Some(octets.len() as u64),
            Body::Stream(body) => body.size_hint().exact(),
            Body::Empty => None,
            Body::Tunnel(_) => return false,
        };
        let mut fits = false;
        for field in response.fields.iter() {
            match field.name {
                b"content-type" => fits = self.lists(field.value),
                b"content-encoding" | b"content-range" => return false,
                b"cache-control" if has_no_transform(field.value) => return false,
                b"content-length" => {
                    length = std::str::from_utf8(field.value).ok().and_then(|value| value.parse().ok());
                }
                _ => {}
            }
        }
        fits && length.is_none_or(|length| length >= self.min)
    }

    fn lists(&self, value: &[u8]) -> bool {
        let kind = value.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii();
        let never = kind.eq_ignore_ascii_case(b"text/event-stream") || answer::is_grpc(kind);
        !never
            && self.types.iter().any(|listed| match listed.strip_suffix('*') {
                Some(prefix) => kind
                    .get(..prefix.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
                None => kind.eq_ignore_ascii_case(listed.as_bytes()),
            })
    }
}

fn has_no_transform(cache_control: &[u8]) -> bool {
    let mut words = cache_control.split(|octet| *octet == b',');
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Says that the answer depends on what the client takes.
fn vary(fields: &mut Fields) {
    let named = fields.get_all("vary").any(|value| {
        value.split(|octet| *octet == b',').any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")
        })
    });
    if !named {
        fields.push("vary", "accept-encoding");
    }
}

/// Fits the fields to a body that is coded now.
fn mark(fields: &mut Fields, coding: Encoding) {
    let mut tag = None;
    fields.retain(|field| match field.name {
        b"etag" => {
            tag = Some(field.value.to_vec());
            false
        }
        b"content-length" | b"accept-ranges" | b"content-digest" | b"repr-digest" | b"digest"
        | b"content-md5" => false,
        _ => true,
    });
    if let Some(tag) = tag {
        let weak = if tag.starts_with(b"W/") { tag } else { [b"W/", &*tag].concat() };
        fields.push("etag", weak);
    }
    fields.push("content-encoding", coding.name());
}

/// A coder that writes into memory, which is never full.
enum Coder {
    Gzip(GzipEncoder<Vec<u8>>),
    /// Large, and the others are not.
    Brotli(Box<BrotliEncoder<Vec<u8>>>),
    Zstd(ZstdEncoder<Vec<u8>>),
}

impl Coder {
    /// Levels that make of an answer what it takes little longer to send.
    fn new(coding: Encoding) -> Self {
        match coding {
            Encoding::Gzip => Self::Gzip(GzipEncoder::with_quality(Vec::new(), Level::Precise(5))),
            Encoding::Brotli => {
                let params = EncoderParams::default().quality(Level::Precise(4)).window_size(WINDOW.into());
                Self::Brotli(Box::new(BrotliEncoder::with_params(Vec::new(), params)))
            }
            Encoding::Zstd => {
                let window = [CParameter::window_log(WINDOW.into())];
                Self::Zstd(ZstdEncoder::with_quality_and_params(Vec::new(), Level::Precise(3), &window))
            }
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        Pin::new(match self {
            Self::Gzip(coder) => coder as &mut (dyn AsyncWrite + Unpin),
            Self::Brotli(coder) => &mut **coder,
            Self::Zstd(coder) => coder,
        })
    }

    /// What came out since it was last taken.
    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Gzip(coder) => coder.get_mut(),
            Self::Brotli(coder) => coder.get_mut(),
            Self::Zstd(coder) => coder.get_mut(),
        };
        std::mem::take(out).into()
    }

    fn whole(mut self, mut octets: &[u8]) -> io::Result<Bytes> {
        let cx = &mut Context::from_waker(Waker::noop());
        while !octets.is_empty() {
            let Poll::Ready(count) = self.writer().poll_write(cx, octets)? else { return Err(stuck()) };
            octets = octets.get(count..).unwrap_or_default();
        }
        match self.writer().poll_shutdown(cx)? {
            Poll::Ready(()) => Ok(self.take()),
            Poll::Pending => Err(stuck()),
        }
    }
}

/// Memory is never full: a coder that waits is broken.
fn stuck() -> io::Error {
    io::Error::other("a coder waits for memory")
}

/// A body that is compressed as it is sent.
struct Compressed {
    coder: Coder,
    /// `None` where all of it was in `chunk`.
    source: Option<BoxBody>,
    /// Of the source, not compressed yet.
    chunk: Bytes,
    /// Since others had their turn.
    done: usize,
    /// The coder holds something back.
    held: bool,
    state: State,
}

enum State {
    Open,
    /// The source is over, perhaps with trailers.
    Ending(Option<Frame<Bytes>>),
    /// All octets are out.
    Trailers(Frame<Bytes>),
    Over,
}

impl Compressed {
    fn new(coding: Encoding, source: Option<BoxBody>, chunk: Bytes) -> Self {
        Self { coder: Coder::new(coding), source, chunk, done: 0, held: false, state: State::Open }
    }

    /// Compresses the next piece.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let piece = self.chunk.get(..PIECE.min(self.chunk.len())).unwrap_or_default();
        let count = ready!(self.coder.writer().poll_write(cx, piece))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let _ = self.chunk.split_to(count);
        self.done += count;
        self.held = true;
        Poll::Ready(Ok(()))
    }

    /// What came out, if anything did.
    fn taken(&mut self) -> Option<Frame<Bytes>> {
        let out = self.coder.take();
        (!out.is_empty()).then(|| Frame::data(out))
    }
}

type BoxError = Box<dyn std::error::Error>;

impl http_body::Body for Compressed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Over => return Poll::Ready(None),
                State::Ending(trailers) => {
                    ready!(this.coder.writer().poll_shutdown(cx))?;
                    let next = trailers.take().map_or(State::Over, State::Trailers);
                    this.state = next;
                    if let Some(frame) = this.taken() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    continue;
                }
                State::Trailers(_) => {
                    let state = std::mem::replace(&mut this.state, State::Over);
                    let State::Trailers(trailers) = state else { return Poll::Ready(None) };
                    return Poll::Ready(Some(Ok(trailers)));
                }
                State::Open => {}
            }
            if this.done >= TURN {
                this.done = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !this.chunk.is_empty() {
                ready!(this.step(cx))?;
                if let Some(frame) = this.taken() {
                    return Poll::Ready(Some(Ok(frame)));
                }
                continue;
            }
            let polled = match &mut this.source {
                Some(source) => source.as_mut().poll_frame(cx),
                None => Poll::Ready(None),
            };
            match polled {
                Poll::Pending if this.held => {
                    ready!(this.coder.writer().poll_flush(cx))?;
                    this.held = false;
                    match this.taken() {
                        Some(frame) => return Poll::Ready(Some(Ok(frame))),
                        None => return Poll::Pending,
                    }
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => this.state = State::Ending(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.chunk = data,
                    Err(trailers) => this.state = State::Ending(Some(trailers)),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
