//! Tunnels: CONNECT, extended CONNECT and HTTP/1.1 upgrades are the same thing to a handler (RFC 9113 §8.5,
//! RFC 8441, RFC 9110 §7.8).

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::peer::*;
use common::*;
use stagedoor_actors::facade::{HttpRequest, Protocol, local_handler};
use stagedoor_actors::{Response, Service, StreamMisuse, TunnelTo};
use stagedoor_metrics::{CloseReason, Outcome};
use stagedoor_protocol::{Cause, ErrorCode, Event, Fields, Origin, RequestHead, StreamId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Sends back what comes, in capitals, until the peer ends.
fn shouting() -> Rc<dyn Service> {
    service(|request| {
        let wanted = match request.tunnel() {
            Some(TunnelTo::Authority(authority)) => format!("to {authority}"),
            Some(TunnelTo::Protocol(protocol)) => format!("of {protocol}"),
            None => return Response::text("no tunnel").into(),
        };
        let fields: Fields = [("x-wanted", wanted)].into_iter().collect();
        let reply = request.accept_tunnel(fields, |mut tunnel| async move {
            let mut room = [0; 100];
            loop {
                match tunnel.read(&mut room).await {
                    Ok(0) => break,
                    Ok(count) => {
                        room[..count].make_ascii_uppercase();
                        tunnel.write_all(&room[..count]).await.unwrap();
                    }
                    Err(_) => return,
                }
            }
            tunnel.write_all(b"BYE").await.unwrap();
            tunnel.shutdown().await.unwrap();
        });
        reply.unwrap()
    })
}

fn websocket() -> RequestHead {
    RequestHead::extended_connect("websocket", "http", "a", "/chat")
}

async fn shaken(stage: &Stage) -> Peer {
    let (_, io) = stage.connect();
    let mut peer = Peer::new(io);
    peer.until(|event| matches!(event, Event::SettingsReceived { .. })).await;
    peer
}

async fn octets(peer: &mut Peer, id: StreamId, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        if let Event::DataReceived { id: of, data, .. } = peer.next().await.unwrap()
            && of == id
        {
            all.extend_from_slice(&data);
        }
    }
    all
}

#[test]
fn connect_and_extended_connect_carry_octets_both_ways_and_end_each_by_itself() {
    run(async {
        let stage = Stage::new(shouting());
        let mut peer = shaken(&stage).await;
        for (head, wanted) in [(RequestHead::connect("b:99"), "to b:99"), (websocket(), "of websocket")] {
            let id = peer.request(&head, false);
            let answer = peer.response(id).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.fields.get("x-wanted"), Some(wanted.as_bytes()));
            assert!(!answer.fields.contains("content-length"), "RFC 9110 §8.6");
            peer.data(id, b"one", false);
            assert_eq!(octets(&mut peer, id, 3).await, b"ONE");
            peer.data(id, b"two", true);
            let story = peer.story(id).await;
            assert_eq!(body_of(&story), b"TWOBYE", "the other side goes on after the end of ours");
            assert_eq!(*story.last().unwrap(), Event::StreamClosed { id, cause: Cause::EndStream });
        }
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 2);
    });
}

#[test]
fn what_came_last_is_read_though_our_side_had_ended_before() {
    run(async {
        let (tell, told) = tokio::sync::oneshot::channel();
        let tell = std::rc::Rc::new(std::cell::RefCell::new(Some(tell)));
        let stage = Stage::new(local_handler(move |request: HttpRequest| {
            let tell = std::rc::Rc::clone(&tell);
            async move {
                request.into_body().tunnel(|mut tunnel| async move {
                    tunnel.shutdown().await.unwrap();
                    let mut read = Vec::new();
                    while let Some(chunk) = tunnel.chunk().await {
                        // It is slow: the stream is over long before.
                        settle().await;
                        read.extend(chunk.unwrap());
                    }
                    tell.borrow_mut().take().unwrap().send(read).unwrap();
                })
            }
        }));
        let mut peer = shaken(&stage).await;
        let id = peer.request(&RequestHead::connect("b:99"), false);
        assert_eq!(peer.response(id).await.status, 200);
        peer.data(id, b"first ", false);
        peer.data(id, b"last", true);
        let story = peer.story(id).await;
        assert_eq!(*story.last().unwrap(), Event::StreamClosed { id, cause: Cause::EndStream });
        // The peer has more to write than its own machine says: it is driven until the tunnel has told.
        let read = tokio::select! {
            read = told => read.unwrap(),
            _ = async { while peer.next().await.is_some() {} } => panic!("the session goes on"),
        };
        assert_eq!(read, b"first last");
        settle().await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn a_request_that_asks_for_none_gets_none() {
    run(async {
        let stage = Stage::new(service(|request| {
            assert_eq!(request.tunnel(), None);
            let refused = request.accept_tunnel(Fields::new(), |_| async {}).err();
            assert_eq!(refused, Some(StreamMisuse::NoTunnel));
            // The request is gone with the call; the stream is answered for it.
            stagedoor_actors::Reply::Driven(Box::pin(async {}))
        }));
        let mut peer = shaken(&stage).await;
        let id = peer.get("/");
        assert_eq!(peer.response(id).await.status, 500);
    });
}

#[test]
fn a_tunnel_has_no_length() {
    run(async {
        let stage = Stage::new(service(|request| {
            let fields: Fields = [("content-length", "3")].into_iter().collect();
            let refused = request.accept_tunnel(fields, |_| async {}).err();
            assert_eq!(refused, Some(StreamMisuse::TunnelLength));
            stagedoor_actors::Reply::Driven(Box::pin(async {}))
        }));
        let mut peer = shaken(&stage).await;
        let id = peer.request(&websocket(), false);
        assert_eq!(peer.response(id).await.status, 500);
    });
}

#[test]
fn a_refused_tunnel_is_an_ordinary_answer_or_a_reset() {
    run(async {
        let stage = Stage::new(service(|request| match request.tunnel() {
            Some(TunnelTo::Authority("reset:1")) => {
                request.handle().reset(ErrorCode::CONNECT_ERROR).unwrap();
                stagedoor_actors::Reply::later(std::future::pending())
            }
            _ => Response::new(403).into(),
        }));
        let mut peer = shaken(&stage).await;
        let id = peer.request(&RequestHead::connect("a:1"), false);
        assert_eq!(peer.response(id).await.status, 403);
        let id = peer.request(&RequestHead::connect("reset:1"), false);
        let story = peer.story(id).await;
        let cause = Cause::Reset { by: Origin::Remote, code: ErrorCode::CONNECT_ERROR };
        assert_eq!(story, [Event::StreamClosed { id, cause }]);
    });
}

#[test]
fn a_tunnel_its_peer_resets_reads_an_error_and_its_task_is_dropped() {
    run(async {
        let stage = Stage::new(shouting());
        let mut peer = shaken(&stage).await;
        let id = peer.request(&websocket(), false);
        peer.response(id).await;
        peer.reset(id, ErrorCode::CANCEL);
        peer.flush().await;
        settle().await;
        assert_eq!(stage.outcome(Outcome::ResetByPeer), 1);
        assert_eq!(stage.shard.actors()[stagedoor_metrics::ActorKind::Stream].alive.get(), 0);
    });
}

#[test]
fn a_task_that_panics_resets_its_tunnel_alone() {
    run(async {
        let stage = Stage::new(service(|request| {
            request
                .accept_tunnel(Fields::new(), |tunnel| async move {
                    let _held = tunnel;
                    panic!("inside a tunnel")
                })
                .unwrap()
        }));
        let mut peer = shaken(&stage).await;
        let id = peer.request(&websocket(), false);
        let story = peer.story(id).await;
        let cause = Cause::Reset { by: Origin::Remote, code: ErrorCode::INTERNAL_ERROR };
        assert_eq!(*story.last().unwrap(), Event::StreamClosed { id, cause });
        assert_eq!(stage.outcome(Outcome::Panic), 1);
    });
}

#[test]
fn a_tunnel_waits_for_its_reader() {
    run(async {
        let sent = Rc::new(std::cell::Cell::new(0));
        let count = Rc::clone(&sent);
        let stage = Stage::new(service(move |request| {
            let count = Rc::clone(&count);
            let reply = request.accept_tunnel(Fields::new(), |mut tunnel| async move {
                while let Ok(more) = tunnel.write(&[b'x'; 4096]).await {
                    count.set(count.get() + more);
                }
            });
            reply.unwrap()
        }));
        let (_, io) = stage.connect();
        let narrow = stagedoor_protocol::Window { start: 65_535, max: 65_535 };
        let config = stagedoor_protocol::Config { stream_window: narrow, ..Default::default() };
        let mut peer = Peer::with(io, config);
        peer.until(|event| matches!(event, Event::SettingsReceived { .. })).await;
        let id = peer.request(&websocket(), false);
        peer.response(id).await;
        settle().await;
        assert!(sent.get() <= 65_535 + (128 << 10), "{}", sent.get());
    });
}

// HTTP/1.1.

/// Writes a request and reads up to the end of the answer's head.
async fn ask(io: &mut DuplexStream, request: &str) -> String {
    io.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: shout\r\n\r\n";

#[test]
fn an_upgrade_is_a_tunnel_too() {
    run(async {
        let stage = Stage::new(shouting());
        let (_, mut io) = stage.connect();
        let head = ask(&mut io, UPGRADE).await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(
            head.contains("\r\nupgrade: shout\r\n") && head.contains("\r\nconnection: upgrade\r\n"),
            "{head}"
        );
        assert!(head.contains("x-wanted: of shout"), "{head}");
        io.write_all(b"hello").await.unwrap();
        let mut room = [0; 5];
        io.read_exact(&mut room).await.unwrap();
        assert_eq!(&room, b"HELLO");
        io.shutdown().await.unwrap();
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"BYE");
        stage.ends_once(CloseReason::Upgraded).await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn octets_sent_with_the_upgrade_are_the_tunnels() {
    run(async {
        let stage = Stage::new(shouting());
        let (_, mut io) = stage.connect();
        let head = ask(&mut io, &format!("{UPGRADE}early")).await;
        assert!(head.starts_with("http/1.1 101"), "{head}");
        let mut room = [0; 5];
        io.read_exact(&mut room).await.unwrap();
        assert_eq!(&room, b"EARLY");
    });
}

#[test]
fn connect_on_http_1_1_is_a_tunnel_with_200() {
    run(async {
        let stage = Stage::new(shouting());
        let (_, mut io) = stage.connect();
        let head = ask(&mut io, "CONNECT b:99 HTTP/1.1\r\nhost: b:99\r\n\r\n").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("x-wanted: to b:99"), "{head}");
        assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
        io.write_all(b"x").await.unwrap();
        assert_eq!(io.read_u8().await.unwrap(), b'X');
    });
}

#[test]
fn a_big_tunnel_keeps_every_octet_in_order() {
    run(async {
        let stage = Stage::new(shouting());
        let (_, io) = stage.connect_buffered(1000);
        let (mut read, mut write) = tokio::io::split(io);
        let mut head = Vec::new();
        write.write_all(UPGRADE.as_bytes()).await.unwrap();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(read.read_u8().await.unwrap());
        }
        let sent: Vec<u8> = (0..500_000u32).map(|at| b'a' + (at % 26) as u8).collect();
        let expected = [sent.to_ascii_uppercase(), b"BYE".to_vec()].concat();
        actix_rt::spawn(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        read.read_to_end(&mut received).await.unwrap();
        assert!(received == expected, "{} octets", received.len());
    });
}

#[test]
fn a_silent_tunnel_is_no_stall_and_not_idle() {
    run_paused(async {
        let mut config = config();
        config.timeouts.stall = Duration::from_secs(10);
        config.timeouts.idle = Duration::from_secs(10);
        let stage = Stage::with(config, shouting());
        let (_, mut io) = stage.connect();
        ask(&mut io, UPGRADE).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        io.write_all(b"still").await.unwrap();
        let mut room = [0; 5];
        io.read_exact(&mut room).await.unwrap();
        assert_eq!(&room, b"STILL");
    });
}

#[test]
fn a_tunnel_whose_reader_stops_is_a_stall() {
    run_paused(async {
        let stage = Stage::new(service(|request| {
            let reply = request.accept_tunnel(Fields::new(), |mut tunnel| async move {
                while tunnel.write_all(&[b'x'; 4096]).await.is_ok() {}
            });
            reply.unwrap()
        }));
        let (_, mut io) = stage.connect_buffered(1000);
        ask(&mut io, UPGRADE).await;
        stage.ends_once(CloseReason::WriteStall).await;
        assert_eq!(stage.outcome(Outcome::Timeout), 1);
    });
}

#[test]
fn a_tunnel_that_panics_cuts_the_connection() {
    run(async {
        let stage = Stage::new(service(|request| {
            request
                .accept_tunnel(Fields::new(), |tunnel| async move {
                    let _held = tunnel;
                    panic!("inside a tunnel")
                })
                .unwrap()
        }));
        let (_, mut io) = stage.connect();
        io.write_all(UPGRADE.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.ok();
        settle().await;
        assert_eq!(stage.outcome(Outcome::Panic), 1);
    });
}

// The facade.

#[test]
fn an_async_fn_opens_tunnels_on_both_protocols() {
    run(async {
        async fn chat(request: HttpRequest) -> Result<stagedoor_actors::facade::HttpResponse, StreamMisuse> {
            if request.version() == http::Version::HTTP_2 {
                assert_eq!(request.extensions().get::<Protocol>(), Some(&Protocol("websocket".into())));
            }
            request.into_body().tunnel(|mut tunnel| async move {
                let octet = tunnel.read_u8().await.unwrap();
                tunnel.write_all(&[octet, octet]).await.unwrap();
            })
        }
        let stage = Stage::new(local_handler(chat));
        let mut peer = shaken(&stage).await;
        let id = peer.request(&websocket(), false);
        peer.data(id, b"x", false);
        assert_eq!(octets(&mut peer, id, 2).await, b"xx");
        let (_, mut io) = stage.connect();
        assert!(ask(&mut io, UPGRADE).await.starts_with("http/1.1 101"));
        io.write_all(b"y").await.unwrap();
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"yy");
    });
}

#[test]
fn an_upgrade_of_http1_0_or_with_a_body_is_left_aside() {
    run_paused(async {
        let upgrade = "host: a\r\nconnection: upgrade\r\nupgrade: x\r\n";
        let requests = [
            format!("GET / HTTP/1.0\r\n{upgrade}\r\n"),
            format!("POST / HTTP/1.1\r\n{upgrade}content-length: 5\r\n\r\nhe"),
            format!("POST / HTTP/1.1\r\n{upgrade}transfer-encoding: chunked\r\n\r\n5\r\nhe"),
        ];
        for request in requests {
            let stage = Stage::new(shouting());
            let (_, mut io) = stage.connect();
            io.write_all(request.as_bytes()).await.unwrap();
            let mut room = [0; 1000];
            let count = io.read(&mut room).await.unwrap();
            let answer = String::from_utf8_lossy(&room[..count]);
            assert!(answer.contains(" 200 OK") && answer.ends_with("no tunnel"), "{answer}");
        }
    });
}

#[test]
fn a_tunnel_that_is_not_returned_after_all_ends_nothing() {
    run(async {
        let stage = Stage::new(local_handler(|request: HttpRequest| async move {
            drop(request.into_body().tunnel(|_| async {}).unwrap());
            http::Response::builder().status(403).body(stagedoor_actors::Body::Empty).unwrap()
        }));
        let mut peer = shaken(&stage).await;
        let id = peer.request(&RequestHead::connect("b:99"), false);
        assert_eq!(peer.response(id).await.status, 403);
    });
}
