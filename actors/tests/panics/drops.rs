//! In destructors: of what a handler holds, of bodies, of what was never begun.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use stagedoor_actors::{Body, Reply, Request, Response};
use stagedoor_metrics::{CloseReason, Outcome};
use stagedoor_protocol::ErrorCode;

use crate::common::peer::{get_head, post_head};
use crate::common::{run_paused, settle};
use crate::{Bomb, Http1, Scene};

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
