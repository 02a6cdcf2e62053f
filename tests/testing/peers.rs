//! A scripted client against a server: resets, windows, slow readers, GOAWAY, broken frames.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use stagedoor::facade::{CollectError, local_handler};
use stagedoor::testing::{ErrorCode, Frame, Peer, Server, Settings, flag, kind, run, settle};
use stagedoor::{BodyError, HttpRequest, StreamId, handler};

fn text(text: &'static str) -> Server {
    Server::new(handler(move |_: HttpRequest| async move { text }))
}

#[test]
fn a_handler_sees_a_reset_in_the_middle_of_its_body() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&seen);
        let server = Server::new(local_handler(move |request: HttpRequest| {
            let seen = Rc::clone(&theirs);
            async move {
                let task = async move {
                    let end = request.into_body().collect(1_000).await;
                    seen.borrow_mut().push(end);
                };
                // A task of its own outlives the stream, as work of a handler may.
                tokio::task::spawn_local(task).await.ok();
            }
        }));
        let mut peer = server.peer().await;
        let upload = peer.post("/").await;
        peer.data(upload, "half", false).await;
        settle().await;
        assert_eq!((server.open_streams(), seen.borrow().len()), (1, 0));
        peer.rst_stream(upload, ErrorCode::CANCEL).await;
        settle().await;
        assert_eq!(server.open_streams(), 0);
        let broken = CollectError::Broken(BodyError::Reset(ErrorCode::CANCEL));
        assert_eq!(*seen.borrow(), [Err(broken)]);
    });
}

#[test]
fn through_a_window_of_one_octet_comes_one_octet_at_a_time() {
    run(async {
        let server = text("three");
        let small = Settings { initial_window_size: Some(1), ..Settings::default() };
        let mut peer = server.peer_with(small).await;
        let get = peer.get("/").await;
        let head = peer.expect_headers(get).await;
        assert_eq!(
            (head.status(), head.get("content-length"), head.end_stream),
            (Some(200), Some("5"), false)
        );
        for octet in "three".chars() {
            let data = peer.expect_data(get).await;
            assert_eq!(&data.data[..], octet.to_string().as_bytes());
            if !data.end_stream {
                peer.expect_nothing(get).await;
                peer.window_update(get, 1).await;
            }
        }
        settle().await;
        assert_eq!(server.open_streams(), 0, "END_STREAM has come");
    });
}

#[test]
fn a_slow_reader_holds_its_own_stream_up() {
    run(async {
        let octets = Bytes::from(vec![b'x'; 1 << 20]);
        let whole = octets.clone();
        let server = Server::new(handler(move |_: HttpRequest| std::future::ready(whole.clone())));
        let mut peer = Peer::over(server.connect_buffered(16));
        peer.shake(Settings { initial_window_size: Some(1 << 20), ..Settings::default() }).await;
        let get = peer.get("/").await;
        settle().await;
        assert_eq!(server.open_streams(), 1, "the pipe is full");
        peer.window_update(0, 1 << 20).await;
        let answer = peer.response(get).await;
        assert!(answer.body == octets, "{} octets came", answer.body.len());
        settle().await;
        assert_eq!(server.open_streams(), 0);
    });
}

#[test]
fn a_goaway_of_the_client_lets_its_streams_finish() {
    run(async {
        let server = Server::new(handler(async |request: HttpRequest| {
            request.into_body().collect(100).await.unwrap_or_default()
        }));
        let mut peer = server.peer().await;
        let upload = peer.post("/").await;
        settle().await;
        peer.goaway(0, ErrorCode::NO_ERROR, "bye").await;
        peer.data(upload, "all of it", true).await;
        peer.response(upload).await.assert_status(200).assert_text("all of it");
        peer.expect_end().await;
        drop(peer);
        server.ended().await;
    });
}

#[test]
fn a_half_closed_stream_is_answered() {
    run(async {
        let server = text("answer");
        let mut peer = server.peer().await;
        let post = peer.request("POST", "/", [("x-a", "1")], false).await;
        peer.trailers(post, [("x-sum", "0")]).await;
        peer.response(post).await.assert_text("answer");
    });
}

#[test]
fn a_client_that_says_nothing_more_is_answered_and_let_go() {
    run(async {
        let server = text("last words");
        let mut peer = server.peer().await;
        let get = peer.get("/").await;
        peer.half_close().await;
        peer.response(get).await.assert_text("last words");
        peer.expect_end().await;
        drop(peer);
        server.ended().await;
    });
}

#[test]
fn broken_frames_get_the_goaway_their_rule_has() {
    let push = (kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0, 0, 0, 2][..], ErrorCode::PROTOCOL_ERROR);
    let cases = [
        ("DATA on stream 0", (kind::DATA, 0, 0, &b"x"[..], ErrorCode::PROTOCOL_ERROR)),
        ("a PING of seven octets", (kind::PING, 0, 0, b"seven..", ErrorCode::FRAME_SIZE_ERROR)),
        ("SETTINGS of five octets", (kind::SETTINGS, 0, 0, b"five.", ErrorCode::FRAME_SIZE_ERROR)),
        ("no credit", (kind::WINDOW_UPDATE, 0, 0, &[0; 4], ErrorCode::PROTOCOL_ERROR)),
        (
            "too much credit",
            (kind::WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255], ErrorCode::FLOW_CONTROL_ERROR),
        ),
        ("index 0", (kind::HEADERS, flag::END_HEADERS, 1, &[0x80], ErrorCode::COMPRESSION_ERROR)),
        ("a push of a client", push),
    ];
    for (what, (kind, flags, stream, payload, code)) in cases {
        run(async {
            let server = text("");
            let mut peer = server.peer().await;
            peer.frame(kind, flags, stream, payload).await;
            let goaway = peer.expect_goaway().await;
            assert_eq!(goaway.code, code, "{what}: {:?}", goaway.debug);
            peer.expect_end().await;
            drop(peer);
            server.ended().await;
        });
    }
}

#[test]
fn what_is_no_http2_at_all_is_refused() {
    run(async {
        let server = text("").config(|config| config.http1 = false);
        let mut peer = Peer::over(server.connect());
        peer.raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\0\0\0\0\0\0").await;
        let goaway = peer.expect_goaway().await;
        assert_eq!(goaway.code, ErrorCode::PROTOCOL_ERROR);
    });
}

#[test]
fn frames_that_are_not_asked_for_wait_in_order() {
    run(async {
        let server = text("same");
        let mut peer = server.peer().await;
        let (first, second) = (peer.get("/1").await, peer.get("/2").await);
        peer.ping(*b"question").await;
        let pong = peer.expect(|frame| matches!(frame, Frame::Ping { .. })).await;
        assert_eq!(pong, Frame::Ping { payload: *b"question", ack: true });
        peer.response(second).await.assert_text("same");
        let head = peer.next_frame().await;
        assert_eq!(head.stream(), first);
        assert!(matches!(head, Frame::Headers(_)), "{head:?}");
        assert_eq!(&peer.expect_data(first).await.data[..], b"same");
    });
}

#[test]
fn a_header_section_of_many_frames_is_one_request() {
    run(async {
        let server =
            Server::new(handler(async |request: HttpRequest| request.headers()["x-long"].len().to_string()));
        let mut peer = server.peer().await;
        let long = "?".repeat(25_000);
        let get = peer.request("GET", "/", [("x-long", &long[..])], true).await;
        peer.response(get).await.assert_text("25000");
        assert_eq!(get, StreamId::from(1));
    });
}

#[test]
fn a_handler_that_leaves_its_body_tells_the_peer_to_stop() {
    run(async {
        let server = text("no thanks");
        let mut peer = server.peer().await;
        let upload = peer.post("/").await;
        let answer = peer.response(upload).await;
        answer.assert_text("no thanks");
        assert_eq!(peer.expect_reset(upload).await, ErrorCode::NO_ERROR);
    });
}
