//! Streams over an in-memory pipe, with the `h2` crate as client: bodies both ways, backpressure, panics,
//! cancellation, drain.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Frame;
use stagedoor_actors::{Body, BodyError, CloseSession, Reply, Response};
use stagedoor_metrics::{ActorKind, CloseReason, Method as Verb, Outcome, Protocol, RouteId};

/// A client on a new session.
async fn client(stage: &Stage) -> (actix::Addr<stagedoor_actors::Session>, SendRequest<Bytes>) {
    let (session, io) = stage.connect();
    let (send, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .handshake(io)
        .await
        .unwrap();
    actix_rt::spawn(async move { connection.await.ok() });
    (session, send)
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap()
}

async fn whole(mut body: h2::RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut octets = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        octets.extend_from_slice(&chunk);
    }
    Ok((octets, body.trailers().await?))
}

async fn fetch(send: &mut SendRequest<Bytes>, path: &str) -> Result<(StatusCode, Vec<u8>), h2::Error> {
    let (response, _) = send.send_request(request(Method::GET, path), true)?;
    let response = response.await?;
    let status = response.status();
    Ok((status, whole(response.into_body()).await?.0))
}

/// A body of `chunks` chunks that counts what was pulled.
struct Chunks {
    left: usize,
    size: usize,
    pulled: Rc<Cell<usize>>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        self.left -= 1;
        self.pulled.set(self.pulled.get() + self.size);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.size])))))
    }
}

fn chunks(left: usize, size: usize, pulled: &Rc<Cell<usize>>) -> Chunks {
    Chunks { left, size, pulled: Rc::clone(pulled), trailers: None }
}

#[test]
fn a_whole_answer_is_one_message_and_is_counted_once() {
    run(async {
        let stage = Stage::new(hello());
        let (_session, mut send) = client(&stage).await;
        for _ in 0..3 {
            let (status, body) = fetch(&mut send, "/").await.unwrap();
            assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"hello, world\n"[..]));
        }
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 3);
        assert_eq!(stage.cells.streams_opened[Protocol::H2c].get(), 3);
        let route = stage.shard.route(stage.listener, RouteId::UNMATCHED);
        assert_eq!(route.request_duration.count(), 3);
        assert_eq!(stage.shard.actors()[ActorKind::Stream].started.get(), 3);
        assert_eq!(stage.shard.actors()[ActorKind::Stream].alive.get(), 0);
        let text = String::from_utf8(stage.metrics.render_text()).unwrap();
        let line = format!(
            "stagedoor_requests_total{{listener=\"test\",route=\"_unmatched\",method=\"{}\",code=\"200\"}} 3",
            Verb::Get.label()
        );
        assert!(text.lines().any(|found| found.starts_with("stagedoor_requests_total")), "{line}");
    });
}

#[test]
fn head_has_the_length_and_no_body() {
    run(async {
        let stage = Stage::new(hello());
        let (_session, mut send) = client(&stage).await;
        let (response, _) = send.send_request(request(Method::HEAD, "/"), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-length"], "13");
        assert!(response.headers().contains_key("date"));
        assert!(response.body().is_end_stream());
    });
}

#[test]
fn a_body_goes_up_and_comes_back_with_its_trailers() {
    run(async {
        let stage =
            Stage::new(service(|request| Response::new(200).with_body(Body::stream(request.body)).into()));
        let (_session, mut send) = client(&stage).await;
        for octets in [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 3 << 20] {
            let (response, mut up) = send.send_request(request(Method::POST, "/"), false).unwrap();
            let body = Bytes::from((0..octets).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
            let expected = body.clone();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "7".parse().unwrap());
            let sent = trailers.clone();
            actix_rt::spawn(async move {
                let mut rest = body;
                while !rest.is_empty() {
                    up.reserve_capacity(rest.len());
                    let room = std::future::poll_fn(|cx| up.poll_capacity(cx)).await.unwrap().unwrap();
                    let take = room.min(rest.len());
                    up.send_data(rest.split_to(take), false).unwrap();
                }
                up.send_trailers(sent).unwrap();
            });
            let (back, trailers_back) = whole(response.await.unwrap().into_body()).await.unwrap();
            assert_eq!(back.len(), expected.len());
            assert!(back == expected, "{octets} octets");
            assert_eq!(trailers_back, Some(trailers));
        }
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 8);
    });
}

#[test]
fn a_slow_reader_stops_the_producer_and_starts_it_again() {
    run(async {
        let pulled = Rc::new(Cell::new(0));
        let source = Rc::clone(&pulled);
        let stage = Stage::new(service(move |_| {
            Response::new(200).with_body(Body::stream(chunks(1000, 10_000, &source))).into()
        }));
        let (_session, mut send) = client(&stage).await;
        let (response, _) = send.send_request(request(Method::GET, "/"), true).unwrap();
        let body = response.await.unwrap().into_body();
        tokio::time::sleep(Duration::from_millis(50)).await;
        // The window of 1 MiB, the send buffer, one chunk in hand.
        let ahead = pulled.get();
        assert!(ahead <= (1 << 20) + (64 << 10) + 20_000, "{ahead}");
        let (octets, _) = whole(body).await.unwrap();
        assert_eq!((octets.len(), pulled.get()), (10_000_000, 10_000_000));
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn a_handler_that_does_not_read_stops_the_client() {
    run(async {
        let (service, _) = forever();
        let stage = Stage::new(service);
        let (_session, mut send) = client(&stage).await;
        let (_response, mut up) = send.send_request(request(Method::POST, "/"), false).unwrap();
        let mut given = 0;
        loop {
            up.reserve_capacity(16_384);
            let capacity = std::future::poll_fn(|cx| up.poll_capacity(cx));
            match tokio::time::timeout(Duration::from_millis(100), capacity).await {
                Ok(Some(Ok(room))) => {
                    up.send_data(Bytes::from(vec![0; room]), false).unwrap();
                    given += room;
                }
                Ok(other) => panic!("{other:?}"),
                Err(_) => break,
            }
        }
        assert_eq!(given, 256 << 10, "the stream's window and no more");
    });
}

#[test]
fn a_body_dropped_unread_does_not_starve_the_connection() {
    run(async {
        let stage = Stage::new(service(|request| {
            drop(request.body);
            Reply::later(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Response::text("no thanks")
            })
        }));
        let (_session, mut send) = client(&stage).await;
        for _ in 0..20 {
            let (response, mut up) = send.send_request(request(Method::POST, "/"), false).unwrap();
            up.send_data(Bytes::from(vec![0; 200_000]), true).unwrap();
            assert_eq!(whole(response.await.unwrap().into_body()).await.unwrap().0, b"no thanks");
        }
    });
}

#[test]
fn an_early_answer_is_whole_and_the_rest_is_not_wanted() {
    run(async {
        let stage = Stage::new(service(|_| {
            let mut response = Response::text("too large");
            response.status = 413;
            response.into()
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&post(1)).await;
        let head = client.until(|frame| frame.kind == 1).await;
        assert_eq!(head.flags & 1, 0);
        let data = client.until(|frame| frame.kind == 0).await;
        assert_eq!((data.flags, data.payload.as_slice()), (1, &b"too large"[..]));
        let reset = client.until(|frame| frame.kind == 3).await;
        assert_eq!((reset.stream, reset.payload.as_slice()), (1, &[0, 0, 0, 0][..]));
        // Its octets on the way are dropped, the next stream is served.
        client.send(&frame(0, 0, 1, b"late")).await;
        client.send(&get(3)).await;
        client.until(|frame| frame.kind == 0 && frame.stream == 3).await;
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 2);
    });
}

#[test]
fn a_request_that_ends_soon_after_its_answer_is_not_reset() {
    run(async {
        let stage = Stage::new(service(|_| Response::text("enough").into()));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&post(1)).await;
        client.until(|frame| frame.kind == 0 && frame.flags == 1).await;
        client.send(&frame(0, 1, 1, b"the end")).await;
        client.send(&get(3)).await;
        let next = client.until(|frame| frame.kind == 3 || (frame.kind == 0 && frame.stream == 3)).await;
        assert_eq!(next.kind, 0, "no RST_STREAM came first");
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 2);
    });
}

#[test]
fn a_panic_before_the_head_is_a_500_and_its_neighbours_live() {
    run(async {
        let stage = Stage::new(service(|request| match request.head.path() {
            Some("/now") => panic!("at once"),
            Some("/later") => Reply::later(async {
                tokio::task::yield_now().await;
                panic!("later")
            }),
            _ => Response::text("fine").into(),
        }));
        let (_session, mut send) = client(&stage).await;
        for path in ["/now", "/later"] {
            let (status, _) = fetch(&mut send, path).await.unwrap();
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert_eq!(fetch(&mut send, "/").await.unwrap().1, b"fine");
        }
        settle().await;
        assert_eq!((stage.outcome(Outcome::Panic), stage.outcome(Outcome::Complete)), (2, 2));
        assert_eq!(stage.shard.actors()[ActorKind::Stream].panics.get(), 2);
    });
}

struct PanicsAfter(usize);

impl http_body::Body for PanicsAfter {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        assert!(self.0 > 0, "in the body");
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"octets")))))
    }
}

#[test]
fn a_panic_after_the_head_resets_the_stream() {
    run(async {
        let stage =
            Stage::new(service(|_| Response::new(200).with_body(Body::stream(PanicsAfter(2))).into()));
        let (_session, mut send) = client(&stage).await;
        let error = fetch(&mut send, "/").await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        settle().await;
        assert_eq!(stage.outcome(Outcome::Panic), 1);
        assert_eq!(stage.cells.streams_active[Protocol::H2c].get(), 0);
    });
}

#[test]
fn a_body_that_fails_resets_the_stream() {
    struct Fails;
    impl http_body::Body for Fails {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            Poll::Ready(Some(Err(std::io::Error::other("disk gone"))))
        }
    }
    run(async {
        let stage = Stage::new(service(|_| Response::new(200).with_body(Body::stream(Fails)).into()));
        let (_session, mut send) = client(&stage).await;
        assert_eq!(fetch(&mut send, "/").await.unwrap_err().reason(), Some(h2::Reason::INTERNAL_ERROR));
        settle().await;
        assert_eq!(stage.outcome(Outcome::ResetByUs), 1);
    });
}

#[test]
fn a_reset_by_the_client_drops_the_handler_at_once() {
    run(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&[get(1), post(3)].concat()).await;
        settle().await;
        assert_eq!(dropped.get(), 0);
        client.send(&[frame(3, 0, 1, &[0, 0, 0, 8]), frame(3, 0, 3, &[0, 0, 0, 8])].concat()).await;
        settle().await;
        assert_eq!(dropped.get(), 2);
        assert_eq!(stage.outcome(Outcome::ResetByPeer), 2);
        assert_eq!(stage.shard.actors()[ActorKind::Stream].alive.get(), 0);
    });
}

#[test]
fn a_reader_learns_of_the_reset() {
    run(async {
        let heard = Rc::new(Cell::new(false));
        let told = Rc::clone(&heard);
        let stage = Stage::new(service(move |mut request| {
            let told = Rc::clone(&told);
            // Outside of the handler's own future: it outlives the stream.
            actix_rt::spawn(async move {
                let end = request.body.chunk().await;
                told.set(matches!(end, Some(Err(BodyError::Reset(code))) if code.0 == 8));
            });
            Reply::later(std::future::pending())
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&post(1)).await;
        settle().await;
        client.send(&frame(3, 0, 1, &[0, 0, 0, 8])).await;
        settle().await;
        assert!(heard.get());
    });
}

#[test]
fn streams_past_the_limit_are_refused_and_counted() {
    run(async {
        let mut config = config();
        config.limits.streams_per_session = 2;
        let (service, _) = forever();
        let stage = Stage::with(config, service);
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&[get(1), get(3), get(5)].concat()).await;
        let reset = client.until(|frame| frame.kind == 3).await;
        assert_eq!((reset.stream, reset.payload[3]), (5, 7));
        settle().await;
        assert_eq!(stage.outcome(Outcome::Refused), 1);
        assert_eq!(stage.cells.streams_active[Protocol::H2c].get(), 2);
    });
}

#[test]
fn a_head_too_large_is_a_431() {
    run(async {
        let mut config = config();
        config.limits.header_fields = 4;
        let stage = Stage::with(config, hello());
        let (_session, mut send) = client(&stage).await;
        let mut large = request(Method::GET, "/");
        for n in 0..20 {
            large
                .headers_mut()
                .insert(http::HeaderName::try_from(format!("x-{n}")).unwrap(), "y".parse().unwrap());
        }
        let (response, _) = send.send_request(large, true).unwrap();
        assert_eq!(response.await.unwrap().status(), 431);
        assert_eq!(fetch(&mut send, "/").await.unwrap().0, 200);
    });
}

#[test]
fn a_response_that_cannot_be_sent_becomes_a_500() {
    run(async {
        let stage = Stage::new(service(|request| match request.head.path() {
            Some("/field") => Response::text("x").with_field("bad name", "y").into(),
            Some("/stream") => {
                let pulled = Rc::new(Cell::new(0));
                let body = Body::stream(chunks(1000, 10_000, &pulled));
                Response::new(200).with_field("bad name", "y").with_body(body).into()
            }
            _ => Response::text("xyz").with_field("content-length", "2").into(),
        }));
        let (_session, mut send) = client(&stage).await;
        assert_eq!(fetch(&mut send, "/field").await.unwrap().0, 500);
        assert_eq!(fetch(&mut send, "/stream").await.unwrap().0, 500);
        assert!(fetch(&mut send, "/length").await.is_err());
        settle().await;
        assert_eq!(stage.shard.actors()[ActorKind::Stream].alive.get(), 0);
    });
}

#[test]
fn a_drain_lets_a_long_response_end() {
    run(async {
        let pulled = Rc::new(Cell::new(0));
        let stage = Stage::new(service(move |_| {
            Response::new(200).with_body(Body::stream(chunks(500, 10_000, &pulled))).into()
        }));
        let (session, mut send) = client(&stage).await;
        let (response, _) = send.send_request(request(Method::GET, "/"), true).unwrap();
        let body = response.await.unwrap().into_body();
        session.send(CloseSession::new(CloseReason::Drain)).await.unwrap();
        settle().await;
        assert!(session.connected());
        assert_eq!(whole(body).await.unwrap().0.len(), 5_000_000);
        drop(send);
        stage.ends_once(CloseReason::Drain).await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn a_request_that_crossed_the_first_goaway_is_served() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        session.send(CloseSession::new(CloseReason::Drain)).await.unwrap();
        client.until(|frame| frame.kind == 7).await;
        client.send(&get(1)).await;
        let data = client.until(|frame| frame.kind == 0).await;
        assert_eq!(data.payload, b"hello, world\n");
        assert_eq!(client.goaways().await, [0]);
        drop(client);
        stage.ends_once(CloseReason::Drain).await;
    });
}

#[test]
fn a_stalled_stream_is_ended_and_a_slow_handler_is_not() {
    run_paused(async {
        let stage = Stage::new(service(|request| match request.head.method() {
            "GET" => Response::text(vec![0; 100_000]).into(),
            _ => Reply::later(async move {
                let mut body = request.body;
                while body.chunk().await.is_some() {}
                tokio::time::sleep(Duration::from_secs(600)).await;
                Response::text("slow")
            }),
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        // The peer's window of 65 535 octets stays shut after it is used up.
        client.send(&get(1)).await;
        client.send(&post(3)).await;
        client.send(&frame(0, 1, 3, b"all of it")).await;
        let started = tokio::time::Instant::now();
        let answer_pings = async {
            loop {
                let frame = client.next().await.expect("open");
                match (frame.kind, frame.stream) {
                    (6, _) if frame.flags == 0 => {
                        let pong = common::frame(6, 1, 0, &frame.payload);
                        client.send(&pong).await;
                    }
                    (3, stream) => {
                        assert_eq!((stream, frame.payload[3]), (1, 8));
                        let took = started.elapsed().as_secs();
                        assert!((60..91).contains(&took), "{took}");
                        let window = common::frame(8, 0, 0, &(1u32 << 20).to_be_bytes());
                        client.send(&window).await;
                    }
                    (0, 3) => {
                        assert_eq!(started.elapsed().as_secs(), 600);
                        break;
                    }
                    _ => {}
                }
            }
        };
        answer_pings.await;
        settle().await;
        assert_eq!((stage.outcome(Outcome::Timeout), stage.outcome(Outcome::Complete)), (1, 1));
    });
}

#[test]
fn the_numbers_of_the_session_add_up() {
    run(async {
        let stage = Stage::new(hello());
        let (session, mut send) = client(&stage).await;
        for _ in 0..5 {
            fetch(&mut send, "/").await.unwrap();
        }
        let stats = stage.metrics.live().snapshot();
        assert_eq!((stats.len(), stats[0].streams_total.get()), (1, 5));
        assert!(stats[0].bytes_in.get() > 100 && stats[0].bytes_out.get() > 100);
        assert_eq!(stats[0].state().label(), "open");
        use stagedoor_metrics::{Direction, FrameType};
        assert_eq!(stage.cells.h2_frames[Direction::Rx][FrameType::Headers].get(), 5);
        assert_eq!(stage.cells.h2_frames[Direction::Tx][FrameType::Headers].get(), 5);
        assert_eq!(stage.cells.network_bytes[Direction::Rx].get(), stats[0].bytes_in.get());
        drop((session, send));
    });
}
