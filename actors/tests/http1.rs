//! HTTP/1.1 on the same services: exchanges as streams, panics, limits, drain.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::peer::{Peer, get_head};
use common::*;
use stagedoor_actors::{Body, CloseSession, Reply, Response};
use stagedoor_metrics::{ActorKind, CloseReason, Outcome, Protocol, TimeoutAction, TimeoutKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Sends octets and reads what comes until the end.
async fn talk(io: &mut DuplexStream, octets: &[u8]) -> String {
    io.write_all(octets).await.expect("the session reads");
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one response with content-length.
async fn response(io: &mut DuplexStream) -> String {
    let mut answer = Vec::new();
    loop {
        answer.push(io.read_u8().await.expect("a response"));
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_none_or(|length| length.parse() == Ok(body.len())) {
                return text;
            }
        }
    }
}

const GET: &[u8] = b"GET /x?y HTTP/1.1\r\nhost: a\r\n\r\n";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[test]
fn exchanges_are_streams_of_one_session() {
    run(async {
        let stage = Stage::new(service(|request| {
            let head = &request.head;
            let text = format!(
                "{} {} {} {} {}",
                head.method(),
                head.scheme().unwrap(),
                head.authority().unwrap(),
                head.path().unwrap(),
                request.stream
            );
            assert_eq!(request.session.protocol, "http/1.1");
            Response::text(text).into()
        }));
        let (_session, mut io) = stage.connect();
        io.write_all(GET).await.unwrap();
        let first = response(&mut io).await;
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.ends_with("GET http a /x?y 1"), "{first}");
        assert!(first.contains("\r\ndate: ") && first.contains("content-length: 17\r\n"), "{first}");
        let second = talk(&mut io, LAST).await;
        assert!(second.ends_with("GET http a / 3"), "{second}");
        drop(io);
        stage.ends_once(CloseReason::ClientClosed).await;
        assert_eq!(stage.outcome(Outcome::Complete), 2);
        assert_eq!(stage.cells.sessions_opened[Protocol::Http1].get(), 1);
    });
}

#[test]
fn targets_and_hosts() {
    run(async {
        let stage = Stage::new(service(|request| {
            let head = &request.head;
            assert!(!head.fields().contains("host"));
            Response::text(format!("[{:?} {:?}]", head.authority(), head.path())).into()
        }));
        for (octets, wanted) in [
            (
                &b"GET http://b:81/p HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"[..],
                "[Some(\"b:81\") Some(\"/p\")]",
            ),
            (b"GET / HTTP/1.0\r\n\r\n", "[None Some(\"/\")]"),
            (b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "[Some(\"a\") Some(\"*\")]"),
            (b"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
            (b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", "HTTP/1.1 400 "),
            (b"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", "HTTP/1.1 400 "),
            (b"GET / HTTP/1.1\r\nbad name: a\r\n\r\n", "HTTP/1.1 400 "),
        ] {
            let (_session, mut io) = stage.connect();
            let answer = talk(&mut io, octets).await;
            assert!(answer.contains(wanted), "{wanted}: {answer}");
        }
    });
}

#[test]
fn a_head_too_large_is_a_431_counted_as_on_http2() {
    run(async {
        let stage = Stage::new(service(|_| Response::text("taken").into()));
        // 32 KiB in all, 32 octets a field and the name included; method, scheme, authority and path are fields too.
        let line = ":methodGET:schemehttp:authoritya:path/".len() + 4 * 32;
        let room = (32 << 10) - line - 32 - "x".len();
        for (octets, status) in [(room, 200), (room + 1, 431)] {
            let (_session, mut io) = stage.connect();
            let value = "v".repeat(octets);
            let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {value}\r\n\r\n");
            io.write_all(request.as_bytes()).await.unwrap();
            io.shutdown().await.unwrap();
            let mut answer = String::new();
            io.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{octets}: {answer}");

            let (_session, io) = stage.connect();
            let mut peer = Peer::new(io);
            let mut head = get_head("/");
            head.fields_mut().push("x", &value);
            let id = peer.request(&head, true);
            assert_eq!(peer.response(id).await.status, status, "{octets}");
        }
    });
}

#[test]
fn a_body_goes_up_and_comes_back() {
    run(async {
        let stage = Stage::new(service(|request| {
            let length = request.body.content_length();
            Response::new(200)
                .with_field("x-length", format!("{length:?}"))
                .with_field("trailer", "x-sum")
                .with_body(Body::stream(request.body))
                .into()
        }));
        let (_session, mut io) = stage.connect();
        let chunked = b"POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
            5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n";
        let answer = talk(&mut io, chunked).await;
        assert!(
            answer.contains("x-length: None") && answer.contains("5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"),
            "{answer}"
        );

        let (_session, mut io) = stage.connect();
        io.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 300000\r\n\r\n").await.unwrap();
        let mut interim = [0; 25];
        io.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        let answer = talk(&mut io, &vec![b'z'; 300_000]).await;
        assert!(answer.contains("x-length: Some(300000)"), "{}", &answer[..300]);
        assert_eq!(answer.matches('z').count(), 300_000);
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 2);
        let text = String::from_utf8(stage.metrics.render_text()).unwrap();
        assert!(text.contains("stagedoor_request_body_bytes_sum{route=\"_unmatched\"} 300005"), "{text}");
    });
}

#[test]
fn a_slow_reader_stops_the_producer() {
    use std::cell::Cell;
    use std::rc::Rc;
    run(async {
        let pulled = Rc::new(Cell::new(0usize));
        let source = Rc::clone(&pulled);
        let stage = Stage::new(service(move |_| {
            let source = Rc::clone(&source);
            let stream = futures_util::stream::iter((0..1000).map(move |_| {
                source.set(source.get() + 10_000);
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(vec![b'x'; 10_000])))
            }));
            Response::new(200).with_body(Body::stream(http_body_util::StreamBody::new(stream))).into()
        }));
        let (_session, mut io) = stage.connect_buffered(10_000);
        io.write_all(LAST).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(pulled.get() <= 1_000_000, "{}", pulled.get());
        let answer = talk(&mut io, b"").await;
        assert_eq!(answer.matches('x').count(), 10_000_000);
    });
}

#[test]
fn a_panic_before_the_head_is_a_500() {
    run(async {
        let stage = Stage::new(service(|_| panic!("on purpose")));
        let (_session, mut io) = stage.connect();
        let answer = talk(&mut io, GET).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        drop(io);
        settle().await;
        assert_eq!(stage.outcome(Outcome::Panic), 1);
        assert_eq!(stage.shard.actors()[ActorKind::Stream].alive.get(), 0);
    });
}

#[test]
fn a_panic_after_the_head_cuts_the_connection() {
    run(async {
        let stage = Stage::new(service(|_| {
            let stream = futures_util::stream::iter((0..3).map(|n| {
                assert!(n < 2, "in the body");
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(b"octets")))
            }));
            Response::new(200).with_body(Body::stream(http_body_util::StreamBody::new(stream))).into()
        }));
        let (_session, mut io) = stage.connect();
        let answer = talk(&mut io, GET).await;
        assert!(!answer.contains("0\r\n\r\n"), "no last chunk: {answer}");
        drop(io);
        stage.ends_once(CloseReason::PanicBudget).await;
        assert_eq!(stage.outcome(Outcome::Panic), 1);
    });
}

#[test]
fn a_client_that_goes_drops_the_handler() {
    run(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (session, mut io) = stage.connect();
        io.write_all(GET).await.unwrap();
        settle().await;
        session.send(CloseSession::new(CloseReason::Shutdown)).await.unwrap();
        assert_eq!(talk(&mut io, b"").await, "");
        drop(io);
        stage.ends_once(CloseReason::Shutdown).await;
        assert_eq!((dropped.get(), stage.outcome(Outcome::SessionClosed)), (1, 1));
    });
}

#[test]
fn a_drain_ends_it_after_the_exchange() {
    run_paused(async {
        let stage = Stage::new(service(|_| {
            Reply::later(async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                Response::text("in the end")
            })
        }));
        let (session, mut io) = stage.connect();
        io.write_all(GET).await.unwrap();
        settle().await;
        session.send(CloseSession::new(CloseReason::Drain)).await.unwrap();
        let answer = talk(&mut io, b"").await;
        assert!(answer.contains("connection: close") && answer.ends_with("in the end"), "{answer}");
        drop(io);
        stage.ends_once(CloseReason::Drain).await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn heads_and_idleness_have_deadlines() {
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, mut io) = stage.connect();
        io.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
        let started = tokio::time::Instant::now();
        let answer = talk(&mut io, b"").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(started.elapsed().as_secs(), 10);
        drop(io);
        stage.ends_once(CloseReason::HeaderTimeout).await;
        assert_eq!(stage.cells.timeouts[TimeoutKind::Header][TimeoutAction::Closed].get(), 1);
    });
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, mut io) = stage.connect();
        io.write_all(GET).await.unwrap();
        response(&mut io).await;
        // A second head that drips.
        io.write_all(b"GET").await.unwrap();
        assert!(talk(&mut io, b" /").await.starts_with("HTTP/1.1 408 "));
        drop(io);
        stage.ends_once(CloseReason::HeaderTimeout).await;
    });
    run_paused(async {
        let stage = Stage::new(hello());
        let (_session, mut io) = stage.connect();
        io.write_all(GET).await.unwrap();
        response(&mut io).await;
        let started = tokio::time::Instant::now();
        assert_eq!(talk(&mut io, b"").await, "");
        assert_eq!(started.elapsed().as_secs(), 120);
        drop(io);
        stage.ends_once(CloseReason::IdleTimeout).await;
    });
}

#[test]
fn stalls_end_it_both_ways() {
    run_paused(async {
        let stage = Stage::new(service(|_| Response::text(vec![7; 1 << 20]).into()));
        let (_session, mut io) = stage.connect_buffered(1000);
        io.write_all(GET).await.unwrap();
        stage.ends_once(CloseReason::WriteStall).await;
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
    });
    run_paused(async {
        let stage = Stage::new(service(|request| {
            Reply::later(async move {
                let mut body = request.body;
                while let Some(Ok(_)) = body.chunk().await {}
                Response::text("read")
            })
        }));
        let (_session, mut io) = stage.connect();
        io.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfive!").await.unwrap();
        stage.ends_once(CloseReason::WriteStall).await;
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
    });
}

#[test]
fn what_is_switched_off_is_refused() {
    run_paused(async {
        let mut off = config();
        off.http1 = false;
        let stage = Stage::with(off, hello());
        let (_session, mut io) = stage.connect();
        let answer = talk(&mut io, GET).await;
        assert!(answer.starts_with("HTTP/1.0 403 Forbidden\r\n"), "{answer}");
        drop(io);
        stage.ends_once(CloseReason::ProtocolError).await;
    });
    run_paused(async {
        let mut off = config();
        off.http2 = false;
        let stage = Stage::with(off, hello());
        let (_session, mut io) = stage.connect();
        let answer = talk(&mut io, &hello_octets()).await;
        assert!(answer.starts_with("HTTP/1.0 403 Forbidden\r\n"), "{answer}");
        // It does not go: the session does not wait for ever.
        stage.ends_once(CloseReason::ProtocolError).await;
        assert_eq!(stage.cells.timeouts[TimeoutKind::UnknownProtocol][TimeoutAction::Closed].get(), 1);
        drop(io);
    });
}

#[test]
fn a_client_that_ends_its_side_has_its_answer_and_one_that_is_gone_not_for_ever() {
    run_paused(async {
        let stage = Stage::new(service(|_| {
            Reply::later(async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Response::text("half-closed")
            })
        }));
        let (_session, mut io) = stage.connect();
        io.write_all(GET).await.unwrap();
        io.shutdown().await.unwrap();
        assert!(talk(&mut io, b"").await.ends_with("half-closed"));
        stage.ends_once(CloseReason::ClientClosed).await;
    });
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (_session, mut io) = stage.connect();
        io.write_all(GET).await.unwrap();
        settle().await;
        drop(io);
        stage.ends_once(CloseReason::ClientClosed).await;
        assert_eq!(dropped.get(), 1);
    });
}
