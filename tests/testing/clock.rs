//! Timers of sessions on the fake clock.

use std::time::{Duration, Instant};

use stagedoor::testing::{ErrorCode, Frame, Server, run_paused};
use stagedoor::{HttpRequest, StreamId, handler};

const MILLI: Duration = Duration::from_millis(1);

fn hello() -> Server {
    Server::new(handler(async |_: HttpRequest| "hello"))
}

#[test]
fn an_idle_session_is_closed_after_exactly_its_time() {
    let real = Instant::now();
    run_paused(async |clock| {
        let idle = Duration::from_secs(3600);
        let server = hello().config(|config| config.timeouts.idle = idle);
        let mut peer = server.peer().await;
        let get = peer.get("/").await;
        peer.response(get).await.assert_text("hello");
        clock.advance(idle - MILLI).await;
        peer.expect_nothing(0).await;
        assert_eq!(server.open_sessions(), 1);
        clock.advance(MILLI).await;
        let goaway = peer.expect_goaway().await;
        assert_eq!((goaway.code, goaway.last), (ErrorCode::NO_ERROR, StreamId::MAX));
        // A request may have been on its way: the session waits for a round trip (RFC 9113 §6.8).
        let Frame::Ping { payload, ack: false } = peer.next_frame().await else { panic!("{peer:?}") };
        peer.ping_ack(payload).await;
        assert_eq!(peer.expect_goaway().await.last, get);
        peer.expect_end().await;
        assert_eq!(clock.elapsed(), idle, "nothing but the clock moved the time");
        drop(peer);
        server.ended().await;
        assert_eq!(server.open_sessions(), 0);
    });
    assert!(real.elapsed() < Duration::from_secs(60), "an hour went by without waiting");
}

#[test]
fn a_client_that_never_says_hello_is_closed_by_the_deadline_of_the_preface() {
    run_paused(async |clock| {
        let server = hello();
        let io = server.connect();
        clock.advance(Duration::from_secs(10) - MILLI).await;
        assert_eq!(server.open_sessions(), 1);
        clock.advance(MILLI).await;
        drop(io);
        server.ended().await;
        assert_eq!(server.open_sessions(), 0);
    });
}

#[test]
fn a_slow_handler_costs_no_time() {
    let real = Instant::now();
    run_paused(async |clock| {
        let server = Server::new(handler(async |_: HttpRequest| {
            tokio::time::sleep(Duration::from_secs(86_400 / 4)).await;
            "at last"
        }));
        server.client().await.get("/").await.assert_text("at last");
        assert_eq!(clock.elapsed(), Duration::from_secs(86_400 / 4));
    });
    assert!(real.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_stream_has_its_hard_limit() {
    run_paused(async |clock| {
        let hard = Duration::from_secs(5);
        let server = Server::new(handler(async |_: HttpRequest| std::future::pending::<()>().await))
            .config(|config| config.timeouts.hard = hard);
        let mut peer = server.peer().await;
        let get = peer.get("/").await;
        clock.advance(hard - MILLI).await;
        peer.expect_nothing(get).await;
        assert_eq!(server.open_streams(), 1);
        clock.advance(MILLI).await;
        peer.expect_reset(get).await;
        assert_eq!(server.open_streams(), 0);
    });
}
