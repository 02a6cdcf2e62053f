use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;

use async_compression::tokio::bufread;
use async_compression::tokio::write::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use http::HeaderMap;
use http_body::SizeHint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A source that gives what is put into it and pauses where nothing is.
#[derive(Default)]
struct Script {
    steps: VecDeque<Step>,
    length: Option<u64>,
}

enum Step {
    Data(Vec<u8>),
    Pause,
    Trailers,
    Fail,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(octets)) => Poll::Ready(Some(Ok(Frame::data(octets.into())))),
            Some(Step::Pause) => Poll::Pending,
            Some(Step::Trailers) => {
                let trailers = HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Some(Step::Fail) => Poll::Ready(Some(Err("broken".into()))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn compression() -> Compression {
    Compression::new(&config::Compress {
        encodings: vec![Coding::Brotli, Coding::Zstd, Coding::Gzip],
        min_bytes: 100,
        types: vec!["text/*".to_owned(), "application/json".to_owned()],
    })
}

fn asked(method: &str, accepts: &str) -> RequestHead {
    let mut head = RequestHead::new(method, "https", "a", "/");
    head.fields_mut().push("accept-encoding", accepts);
    head
}

fn compressed(accepts: &str, mut response: Response) -> Response {
    let compression = compression();
    compression.apply(compression.choose(&asked("GET", accepts)), &mut response);
    response
}

fn text(octets: usize) -> Vec<u8> {
    (0..octets).map(|at| b"the quick brown fox "[at * at % 20]).collect()
}

fn page(octets: usize) -> Response {
    Response::new(200).with_field("content-type", "text/html").with_body(Body::Full(text(octets).into()))
}

async fn decoded(coding: &str, octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "br" => {
            let mut coder = BrotliDecoder::new(&mut out);
            coder.write_all(octets).await.unwrap();
            coder.shutdown().await.unwrap();
        }
        "zstd" => {
            let mut coder = ZstdDecoder::new(&mut out);
            coder.write_all(octets).await.unwrap();
            coder.shutdown().await.unwrap();
        }
        _ => {
            let mut coder = GzipDecoder::new(&mut out);
            coder.write_all(octets).await.unwrap();
            coder.shutdown().await.unwrap();
        }
    }
    out
}

/// All octets of a body, and whether trailers came after them.
async fn collect(body: Body) -> (Vec<u8>, bool) {
    let mut stream = match body {
        Body::Full(octets) => return (octets.to_vec(), false),
        Body::Stream(stream) => stream,
        _ => return (Vec::new(), false),
    };
    let (mut octets, mut trailers) = (Vec::new(), false);
    while let Some(frame) = poll_fn(|cx| stream.as_mut().poll_frame(cx)).await {
        match frame.unwrap().into_data() {
            Ok(data) => octets.extend(data),
            Err(_) => trailers = true,
        }
    }
    assert!(stream.is_end_stream());
    (octets, trailers)
}

#[tokio::test]
async fn every_coding_gives_back_what_went_in() {
    for coding in ["br", "zstd", "gzip"] {
        for octets in [101, AT_ONCE, AT_ONCE + 1, 300_000] {
            let response = compressed(coding, page(octets));
            assert_eq!(response.fields.get_str("content-encoding"), Some(coding));
            let (coded, _) = collect(response.body).await;
            assert!(coded.len() < octets, "{coding}: {} of {octets}", coded.len());
            assert_eq!(decoded(coding, &coded).await, text(octets), "{coding} {octets}");
        }
    }
}

#[tokio::test]
async fn trailers_come_after_the_last_octet_and_errors_end_the_body() {
    let steps = || VecDeque::from([Step::Data(text(5000)), Step::Data(text(70_000))]);
    let of = |steps| {
        Response::new(200)
            .with_field("content-type", "text/plain")
            .with_body(Body::stream(Script { steps, length: None }))
    };
    let mut with_trailers = steps();
    with_trailers.push_back(Step::Trailers);
    let (coded, trailers) = collect(compressed("gzip", of(with_trailers)).body).await;
    assert!(trailers);
    assert_eq!(decoded("gzip", &coded).await, [text(5000), text(70_000)].concat());

    let mut broken = steps();
    broken.push_back(Step::Fail);
    let Body::Stream(mut body) = compressed("gzip", of(broken)).body else { panic!("a stream") };
    let mut error = None;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Err(broken) = frame {
            error = Some(broken.to_string());
            break;
        }
    }
    assert_eq!(error.as_deref(), Some("broken"));
}

#[tokio::test]
async fn what_was_given_before_a_pause_is_passed_on_in_it() {
    for coding in ["br", "zstd", "gzip"] {
        let steps = VecDeque::from([Step::Data(b"tick\n".to_vec()), Step::Pause, Step::Pause, Step::Pause]);
        let source = Script { steps, length: None };
        let response =
            Response::new(200).with_field("content-type", "text/plain").with_body(Body::stream(source));
        let Body::Stream(mut body) = compressed(coding, response).body else { panic!("a stream") };
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(cx) else { panic!("{coding}: it waits") };
        let octets = frame.into_data().unwrap();
        assert!(body.as_mut().poll_frame(cx).is_pending(), "nothing more to say");
        // What is there can be read, although the end is not.
        let mut out = [0; 5];
        match coding {
            "br" => bufread::BrotliDecoder::new(&*octets).read_exact(&mut out).await.unwrap(),
            "zstd" => bufread::ZstdDecoder::new(&*octets).read_exact(&mut out).await.unwrap(),
            _ => bufread::GzipDecoder::new(&*octets).read_exact(&mut out).await.unwrap(),
        };
        assert_eq!(&out, b"tick\n", "{coding}");
    }
}

#[tokio::test]
async fn a_long_body_lets_others_have_their_turn() {
    let Body::Stream(mut body) = compressed("gzip", page(1 << 20)).body else { panic!("a stream") };
    let turns = Rc::new(Cell::new(0));
    let counted = Rc::clone(&turns);
    poll_fn(|cx| {
        loop {
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    counted.set(counted.get() + 1);
                    return Poll::Pending;
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(frame)) => assert!(frame.is_ok()),
            }
        }
    })
    .await;
    assert_eq!(turns.get(), 16, "one every 64 KiB");
}

#[test]
fn fields_fit_the_coded_body() {
    let response = page(1000)
        .with_field("etag", "\"abc\"")
        .with_field("content-length", "1000")
        .with_field("accept-ranges", "bytes")
        .with_field("repr-digest", "sha-256=:x:")
        .with_field("vary", "Origin");
    let coded = compressed("gzip;q=0.5, br", response);
    assert_eq!(coded.fields.get_str("etag"), Some("W/\"abc\""));
    assert_eq!(coded.fields.get_str("content-encoding"), Some("br"));
    assert_eq!(coded.fields.joined("vary").as_deref(), Some(&b"Origin, accept-encoding"[..]));
    for gone in ["content-length", "accept-ranges", "repr-digest"] {
        assert!(!coded.fields.contains(gone), "{gone}");
    }
    assert!(matches!(coded.body, Body::Full(_)));
}

#[test]
fn who_takes_no_coding_hears_that_others_do() {
    let plain = compressed("identity", page(1000));
    assert!(!plain.fields.contains("content-encoding"));
    assert_eq!(plain.fields.get_str("vary"), Some("accept-encoding"));
    let named = compressed("", page(1000).with_field("vary", "Accept-Encoding"));
    assert_eq!(named.fields.get_all("vary").count(), 1);
}

#[test]
fn a_head_says_what_get_would() {
    let compression = compression();
    let mut response = page(1000).with_field("content-length", "1000");
    compression.apply(compression.choose(&asked("HEAD", "br")), &mut response);
    assert_eq!(response.fields.get_str("content-encoding"), Some("br"));
    assert!(matches!(response.body, Body::Empty) && !response.fields.contains("content-length"));
}

#[test]
fn what_may_not_be_compressed_is_left_alone() {
    let same = |response: Response, why: &str| {
        let fields = response.fields.clone();
        let after = compressed("br", response);
        assert_eq!(after.fields, fields, "{why}");
    };
    let typed = |kind: &str| {
        Response::new(200).with_field("content-type", kind).with_body(Body::Full(text(1000).into()))
    };
    same(page(99), "too small");
    same(typed("image/png"), "not listed");
    same(typed("text/event-stream"), "events");
    same(typed("Text/Event-Stream; charset=utf-8"), "events");
    same(typed("application/grpc"), "gRPC");
    same(page(1000).with_field("content-encoding", "gzip"), "coded already");
    same(page(1000).with_field("cache-control", "public, No-Transform"), "no-transform");
    same(page(1000).with_field("content-range", "bytes 0-999/2000"), "a range");
    for status in [204, 205, 206, 304, 404] {
        let mut response = page(1000);
        response.status = status;
        same(response, "of its status");
    }
    same(Response::new(200).with_body(Body::Full(text(1000).into())), "no type");
    let short = Script { steps: VecDeque::new(), length: Some(99) };
    same(
        Response::new(200).with_field("content-type", "text/html").with_body(Body::stream(short)),
        "known small",
    );
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(1000)
    .collect();
    let noise = Response::new(200).with_field("content-type", "text/x").with_body(Body::Full(noise.into()));
    let noise = compressed("gzip", noise);
    assert!(!noise.fields.contains("content-encoding"), "it became no smaller");
    assert!(compressed("br", typed("TEXT/Plain")).fields.contains("content-encoding"), "types have no case");
}
