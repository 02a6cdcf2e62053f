//! In destructors: of what a handler holds, of bodies, of what was never begun.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use stagedoor_actors::{Body, CloseSession, Reply, Request, Response};
use stagedoor_metrics::{ActorKind, CloseReason, Outcome};
use stagedoor_protocol::{ErrorCode, Fields, Settings};

use crate::common::peer::{get_head, post_head};
use crate::common::{Raw, config, frame, run_paused, settle};
use crate::{Bomb, Http1, Scene, Seen, WHOLE, get_x, place};

/// A handler's future that panics when it goes.
struct Answers(Option<Response>, #[allow(dead_code)] Bomb);

impl Future for Answers {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Response> {
        self.0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

fn never(request: Request) -> Reply {
    Reply::later(async move {
        let _held = (Bomb, request);
        std::future::pending().await
    })
}

/// Before its response is on its way the handler is not done.
#[test]
fn of_a_future_that_has_its_response_it_is_a_500() {
    fn answer(_: Request) -> Reply {
        Reply::Later(Box::pin(Answers(Some(Response::text("lost")), Bomb)))
    }
    run_paused(async {
        let mut scene = Scene::new(answer).await;
        assert_eq!(scene.ask(&get_head("/x")).await.status, 500);
        scene.lives_on().await;
        scene.counted(1, Outcome::Panic, 1);
    });
    run_paused(async {
        let mut http1 = Http1::new(answer).await;
        let (answer, _) = http1.get("/x").await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        let scene = http1.ends_for(CloseReason::ClientClosed).await;
        scene.counted(1, Outcome::Panic, 1);
    });
}

/// A body that is one piece, or never comes; panics when it goes.
struct Piece(Option<&'static str>, #[allow(dead_code)] Bomb);

impl http_body::Body for Piece {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some("never") => Poll::Pending,
            piece => Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from(piece))))),
        }
    }
}

fn piece(piece: &'static str) -> Reply {
    Response::new(200).with_body(Body::stream(Piece(Some(piece), Bomb))).into()
}

fn driven(request: Request) -> Reply {
    let mut stream = request.into_stream();
    Reply::driven(async move {
        let _bomb = Bomb;
        stream.send(Response::text("whole")).await.unwrap();
    })
}

/// The client has its whole answer; that something panicked is counted all the same.
#[test]
fn after_a_whole_answer_nobody_hears_of_it() {
    for answer in [driven, |_| piece("whole")] {
        run_paused(async move {
            let mut scene = Scene::new(answer).await;
            let expected = Seen { status: 200, body: b"whole".to_vec(), cause: WHOLE };
            assert_eq!(scene.ask(&get_head("/x")).await, expected);
            scene.lives_on().await;
            scene.counted(1, Outcome::Panic, 1);
        });
        run_paused(async move {
            let mut http1 = Http1::new(answer).await;
            let (answer, goes_on) = http1.get("/x").await;
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("whole") && goes_on, "{answer}");
            let (next, goes_on) = http1.get("/").await;
            assert!(next.ends_with("fine") && goes_on, "the next exchange: {next}");
            let scene = http1.ends_for(CloseReason::ClientClosed).await;
            scene.counted(1, Outcome::Panic, 1);
        });
    }
}

/// What is cancelled is dropped in the turn of its session, which lives on.
#[test]
fn of_what_the_peer_resets() {
    for answer in [never, |_| piece("never")] {
        run_paused(async move {
            let mut scene = Scene::new(answer).await;
            let [id, also] = [scene.victim.get("/x"), scene.victim.request(&post_head("/x", &[]), false)];
            scene.victim.flush().await;
            settle().await;
            [id, also].into_iter().for_each(|id| scene.victim.reset(id, ErrorCode::CANCEL));
            scene.lives_on().await;
            scene.counted(2, Outcome::ResetByPeer, 2);
        });
    }
}

/// The end of a session is an end, whatever its streams do on the way.
#[test]
fn of_what_its_session_leaves_behind() {
    for (order, reason) in [
        (None, CloseReason::ClientClosed),
        (Some(CloseSession::new(CloseReason::Shutdown)), CloseReason::Shutdown),
        (Some(CloseSession::new(CloseReason::Drain).now()), CloseReason::Drain),
    ] {
        let of_http1 = order.clone();
        run_paused(async move {
            let mut config = config();
            config.options.budgets.panics = 2;
            let answer = place(|request| match request.head.path() {
                Some("/body") => piece("never"),
                _ => never(request),
            });
            let mut scene = Scene::with(config, answer).await;
            for path in ["/x", "/body", "/x"] {
                scene.victim.get(path);
            }
            scene.victim.flush().await;
            settle().await;
            if let Some(order) = order {
                scene.session.send(order).await.unwrap();
            }
            scene.hang_up();
            scene.ends_for(reason).await;
            scene.other_lives_on().await;
            scene.counted(3, Outcome::SessionClosed, 3);
            let abuse = &scene.stage.cells.abuse[stagedoor_metrics::AbuseKind::Panics];
            assert_eq!(abuse.get(), 0, "not the reason");
        });
        run_paused(async move {
            let mut http1 = Http1::new(never).await;
            http1.get("/x").await;
            if let Some(order) = of_http1 {
                http1.session.send(order).await.unwrap();
            }
            let scene = http1.ends_for(reason).await;
            scene.counted(1, Outcome::SessionClosed, 1);
        });
    }
}

#[test]
fn of_a_tunnel_its_session_leaves_behind() {
    run_paused(async {
        let mut http1 = Http1::new(|request| {
            let run = |tunnel| async move {
                let _held = (Bomb, tunnel);
                std::future::pending().await
            };
            request.accept_tunnel(Fields::new(), run).unwrap()
        })
        .await;
        let upgrade = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        let (answer, goes_on) = http1.talk(upgrade).await;
        assert!(answer.starts_with("HTTP/1.1 101 ") && goes_on, "{answer}");
        http1.session.send(CloseSession::new(CloseReason::Shutdown)).await.unwrap();
        let scene = http1.ends_for(CloseReason::Shutdown).await;
        scene.counted(1, Outcome::SessionClosed, 1);
    });
}

/// The answer to a push the client has no room for is dropped in the turn of the session, outside of any actor.
#[test]
fn of_a_pushed_answer_that_is_never_begun() {
    run_paused(async {
        let mut scene = Scene::new(|request| {
            let pushed = Reply::Later(Box::pin(Answers(None, Bomb)));
            let mut stream = request.into_stream();
            let told = stream.push(get_head("/style"), pushed).unwrap();
            Reply::driven(async move {
                assert!(told.await.is_err(), "no room");
                stream.send(Response::text("page")).await.unwrap();
            })
        })
        .await;
        let none = Settings { max_concurrent_streams: Some(0), ..Settings::default() };
        scene.victim.conn.update_settings(none, tokio::time::Instant::now().into_std()).unwrap();
        let expected = Seen { status: 200, body: b"page".to_vec(), cause: WHOLE };
        assert_eq!(scene.ask(&get_head("/x")).await, expected);
        scene.lives_on().await;
        assert_eq!(scene.panics(ActorKind::Session), 0);
    });
}

/// The same of one that is promised and reset, or whose session ends, in the turn of the promise.
#[test]
fn of_a_pushed_answer_whose_promise_is_not_kept() {
    // The client guesses the number of the promise, or goes.
    for rest in [frame(3, 0, 2, &8u32.to_be_bytes()), frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2])] {
        run_paused(async move {
            let mut scene = Scene::new(|request| {
                let pushed = Reply::Later(Box::pin(Answers(None, Bomb)));
                request.handle().push(get_head("/style"), pushed).unwrap();
                Response::text("page").into()
            })
            .await;
            let (_, io) = scene.stage.connect();
            let mut raw = Raw::new(io);
            raw.shake().await;
            raw.send(&[get_x(1), rest].concat()).await;
            settle().await;
            drop(raw);
            let ended = scene.stage.ended().await;
            assert!(matches!(ended.reason, CloseReason::ClientClosed | CloseReason::PeerError), "{ended:?}");
            scene.lives_on().await;
            assert_eq!(scene.panics(ActorKind::Session), 0);
            assert_eq!(scene.stage.shard.actors()[ActorKind::Stream].alive.get(), 0);
        });
    }
}
