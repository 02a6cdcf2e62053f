//! What is kept, used or said after its stream or its session is over: nothing of it waits for ever, and nothing
//! is left behind.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::peer::*;
use common::*;
use stagedoor_actors::{
    BodyError, CloseSession, Phase, Reply, Request, RequestBody, Response, Service, StreamMisuse,
};
use stagedoor_metrics::{CloseReason, Outcome, Protocol};
use stagedoor_protocol::{ErrorCode, Event, Fields, RequestHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

/// A service that gives its requests away and never answers.
fn giving_away() -> (Rc<dyn Service>, Rc<RefCell<Option<Request>>>) {
    let kept = Rc::new(RefCell::new(None));
    let shelf = Rc::clone(&kept);
    let service = service(move |request| {
        *shelf.borrow_mut() = Some(request);
        Reply::later(std::future::pending())
    });
    (service, kept)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(3), future).await.expect("it does not wait for ever")
}

#[test]
fn a_push_that_is_reset_before_it_begins_is_counted_once_and_leaves_nothing() {
    run_paused(async {
        let stage = Stage::new(service(|request| {
            request.handle().push(get_head("/pushed"), Response::text("pushed")).unwrap();
            Response::text("page").into()
        }));
        let (_, io) = stage.connect();
        let mut raw = Raw::new(io);
        raw.shake().await;
        // The client guesses the number of the promise.
        raw.send(&[get(1), frame(3, 0, 2, &8u32.to_be_bytes())].concat()).await;
        raw.until(|frame| frame.stream == 1 && frame.kind == 0).await;
        settle().await;
        assert_eq!(stage.cells.streams_active[Protocol::H2c].get(), 0);
        assert_eq!(stage.outcome(Outcome::ResetByPeer), 1);
        assert_eq!(stage.outcome(Outcome::Complete), 1);
        // A stream that was left would keep the session from being idle.
        stage.ends_once(CloseReason::IdleTimeout).await;
    });
}

#[test]
fn a_body_that_is_read_elsewhere_ends_with_its_stream() {
    run_paused(async {
        let told = Rc::new(RefCell::new(None));
        let kept = Rc::clone(&told);
        let stage = Stage::new(service(move |request| {
            let kept = Rc::clone(&kept);
            spawn_local(async move {
                let mut body: RequestBody = request.body;
                while let Some(chunk) = body.chunk().await {
                    if let Err(error) = chunk {
                        *kept.borrow_mut() = Some(error);
                        return;
                    }
                }
            });
            // The answer is whole before the request: it is told to stop.
            Response::new(202).into()
        }));
        let (_, io) = stage.connect();
        let mut peer = Peer::new(io);
        let id = peer.request(&post_head("/", &[]), false);
        peer.story(id).await;
        settle().await;
        assert_eq!(*told.borrow(), Some(BodyError::Broken("NO_ERROR".into())));
    });
}

#[test]
fn a_tunnel_that_is_used_elsewhere_ends_with_its_stream() {
    run_paused(async {
        let failed = Rc::new(Cell::new(None));
        let kept = Rc::clone(&failed);
        let stage = Stage::new(service(move |request| {
            let kept = Rc::clone(&kept);
            let mut tunnel = request.into_stream().tunnel(Fields::new()).unwrap();
            spawn_local(async move {
                loop {
                    if let Err(error) = tunnel.write_all(&[7; 4096]).await {
                        return kept.set(Some(error.kind()));
                    }
                }
            });
            Reply::driven(std::future::pending())
        }));
        let (_, io) = stage.connect();
        let mut peer = Peer::new(io);
        let id = peer.request(&RequestHead::connect("b:99"), false);
        peer.response(id).await;
        peer.reset(id, ErrorCode::CANCEL);
        peer.flush().await;
        soon(async {
            while failed.get().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert_eq!(failed.get(), Some(std::io::ErrorKind::BrokenPipe));
    });
}

#[test]
fn a_handle_made_after_the_end_of_its_stream_says_so() {
    run_paused(async {
        let (service, kept) = giving_away();
        let stage = Stage::new(service);
        let (_, io) = stage.connect();
        let mut peer = Peer::new(io);
        let id = peer.get("/");
        peer.until(|event| matches!(event, Event::SettingsReceived { .. })).await;
        peer.reset(id, ErrorCode::CANCEL);
        peer.flush().await;
        settle().await;
        let request = kept.borrow_mut().take().unwrap();
        let closed = soon(request.handle().closed()).await;
        assert!(!closed.complete);
        let mut stream = request.into_stream();
        settle().await;
        assert_eq!(stream.phase(), Phase::Closed);
        assert_eq!(stream.respond(200, Fields::new()), Err(StreamMisuse::Closed(ErrorCode::CANCEL)));
    });
}

#[test]
fn a_handle_made_after_the_end_of_its_session_says_so() {
    run_paused(async {
        for http1 in [false, true] {
            let (service, kept) = giving_away();
            let stage = Stage::new(service);
            let (session, mut io) = stage.connect();
            let request = if http1 { b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec() } else { hello_octets() };
            io.write_all(&request).await.unwrap();
            if !http1 {
                io.write_all(&get(1)).await.unwrap();
            }
            settle().await;
            session.send(CloseSession::new(CloseReason::Shutdown).now()).await.unwrap();
            drop(io);
            stage.ended().await;
            let request = kept.borrow_mut().take().unwrap();
            soon(request.handle().closed()).await;
            let mut stream = request.into_stream();
            assert!(matches!(stream.write("x").await, Err(StreamMisuse::Closed(_))));
        }
    });
}

/// The clock of this test stands still while anybody runs: a session that turns in circles would hang it.
#[test]
fn what_is_said_to_a_session_that_leaves_does_not_keep_it_busy() {
    run_paused(async {
        let (service, kept) = giving_away();
        let stage = Stage::new(service);
        let (session, io) = stage.connect_buffered(64);
        let mut raw = Raw::new(io);
        raw.io.write_all(PREFACE).await.unwrap();
        raw.io.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        raw.io.write_all(&post(1)).await.unwrap();
        raw.io.write_all(&frame(0, 0, 1, b"never read")).await.unwrap();
        // Answers that the client does not read: the pipe is full.
        for _ in 0..8 {
            raw.io.write_all(&frame(6, 0, 0, b"01234567")).await.unwrap();
        }
        settle().await;
        let request = kept.borrow_mut().take().unwrap();
        session.send(CloseSession::new(CloseReason::Shutdown).now()).await.unwrap();
        settle().await;
        drop(request);
        assert_eq!(stage.ended().await.reason, CloseReason::Shutdown);
    });
}

#[test]
fn deadlines_set_before_an_upgrade_are_those_of_the_tunnel() {
    run_paused(async {
        let stage = Stage::new(service(|request| {
            let stream = request.into_stream();
            let own =
                stagedoor_actors::StreamTimeouts { idle: Some(Duration::from_secs(5)), ..Default::default() };
            stream.set_timeouts(own).unwrap();
            let mut tunnel = stream.tunnel(Fields::new()).unwrap();
            Reply::driven(async move { while let Some(Ok(_)) = tunnel.chunk().await {} })
        }));
        let (_, mut io) = stage.connect();
        let upgrade = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        io.write_all(upgrade).await.unwrap();
        let mut room = [0; 1000];
        let count = io.read(&mut room).await.unwrap();
        assert!(room[..count].starts_with(b"HTTP/1.1 101 "));
        let begun = tokio::time::Instant::now();
        soon_or(Duration::from_secs(60), stage.ended()).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}

async fn soon_or<T>(time: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(time, future).await.expect("it happens in time")
}

#[test]
fn the_end_of_an_upgrade_that_never_began_reaches_its_tunnel() {
    run_paused(async {
        let ended = Rc::new(Cell::new(false));
        let kept = Rc::clone(&ended);
        let stage = Stage::new(service(move |request| {
            let kept = Rc::clone(&kept);
            let mut tunnel = request.into_stream().tunnel(Fields::new()).unwrap();
            spawn_local(async move {
                while let Some(Ok(_)) = tunnel.chunk().await {}
                kept.set(true);
            });
            Reply::driven(std::future::pending())
        }));
        // The client reads nothing, so the head of the answer stays where it is.
        let (session, mut io) = stage.connect_buffered(16);
        let upgrade = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        io.write_all(upgrade).await.unwrap();
        settle().await;
        session.send(CloseSession::new(CloseReason::Shutdown).now()).await.unwrap();
        settle().await;
        assert!(ended.get());
        drop(io);
        stage.ended().await;
    });
}

#[test]
fn no_error_after_the_end_does_not_cut_what_is_still_on_its_way() {
    run_paused(async {
        let stage = Stage::new(service(|request| {
            let mut stream = request.into_stream();
            Reply::driven(async move {
                stream.write_end("twenty octets of body").await.unwrap();
                stream.reset(ErrorCode::NO_ERROR).unwrap();
                stream.closed().await;
            })
        }));
        for request in [get(1), post(1)] {
            let (_, io) = stage.connect();
            let mut raw = Raw::new(io);
            // SETTINGS_INITIAL_WINDOW_SIZE of 10.
            raw.send(&[PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 0, 10]), &request].concat()).await;
            let mut octets = raw.until(|frame| frame.kind == 0).await.payload;
            settle().await;
            raw.send(&frame(8, 0, 1, &100u32.to_be_bytes())).await;
            let rest = raw.until(|frame| frame.kind == 0 || frame.kind == 3).await;
            assert_eq!((rest.kind, rest.flags), (0, 1), "the rest, with END_STREAM");
            octets.extend(rest.payload);
            assert_eq!(octets, b"twenty octets of body");
            if request[4] & 1 == 0 {
                let reset = raw.until(|frame| frame.kind == 3).await;
                assert_eq!(reset.payload, [0; 4], "then the request is told to stop");
            }
        }
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 2);
    });
}

#[test]
fn an_answer_to_head_takes_an_empty_end_and_a_body_that_is_made_as_it_is_sent() {
    run_paused(async {
        let results = Rc::new(RefCell::new(Vec::new()));
        let kept = Rc::clone(&results);
        let stage = Stage::new(service(move |request| {
            let kept = Rc::clone(&kept);
            let stream_it = request.head.path() == Some("/stream");
            let mut stream = request.into_stream();
            Reply::driven(async move {
                let result = match stream_it {
                    true => {
                        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"body"));
                        let response = Response::new(200).with_body(stagedoor_actors::Body::stream(body));
                        stream.send(response).await
                    }
                    false => stream.write_end("").await,
                };
                kept.borrow_mut().push(result);
            })
        }));
        let (_, io) = stage.connect();
        let mut peer = Peer::new(io);
        for path in ["/stream", "/"] {
            let id = peer.request(&RequestHead::new("HEAD", "http", "a", path), true);
            assert_eq!(head_of(&peer.story(id).await).0.status, 200);
        }
        settle().await;
        assert_eq!(*results.borrow(), [Ok(()), Ok(())]);
    });
}

#[test]
fn a_client_of_http1_that_is_gone_is_noticed_behind_the_requests_it_left() {
    run_paused(async {
        let (service, dropped) = forever();
        let stage = Stage::new(service);
        let (_, mut io) = stage.connect();
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        settle().await;
        io.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        settle().await;
        drop(io);
        let ended = soon_or(Duration::from_secs(600), stage.ended()).await;
        assert_eq!(ended.reason, CloseReason::ClientClosed);
        settle().await;
        assert_eq!(dropped.get(), 1);
    });
}
