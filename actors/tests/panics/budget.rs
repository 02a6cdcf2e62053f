//! As many panics as `budgets.panics` are one too many.

use stagedoor_actors::{Reply, Response};
use stagedoor_metrics::{AbuseKind, ActorKind, CloseReason, Outcome};

use crate::common::{Raw, config, run_paused, settle};
use crate::{Bomb, Scene, get_x, place, post_x};

/// Each panic is answered, then the session goes: its streams with it, and no other session.
#[test]
fn the_last_of_them_ends_the_session() {
    run_paused(async {
        let mut config = config();
        config.options.budgets.panics = 3;
        let answer = place(|request| match request.head.method() {
            "POST" => Reply::later(std::future::pending()),
            _ => panic!("on purpose"),
        });
        let mut scene = Scene::with(config, answer).await;
        let (_, io) = scene.stage.connect();
        let mut raw = Raw::new(io);
        raw.shake().await;
        raw.send(&[post_x(1), get_x(3), get_x(5)].concat()).await;
        for _ in 0..2 {
            raw.until(|frame| frame.kind == 1).await;
        }
        settle().await;
        assert_eq!(scene.stage.metrics.live().len(), 3, "two are none too many");
        raw.send(&get_x(7)).await;
        raw.until(|frame| frame.kind == 1 && frame.stream == 7).await;
        let goaway = raw.until(|frame| frame.kind == 7).await;
        assert_eq!(goaway.payload[4..8], [0, 0, 0, 2], "INTERNAL_ERROR");
        assert_eq!(&goaway.payload[8..], b"panic_budget");
        drop(raw);
        assert_eq!(scene.stage.ended().await.reason, CloseReason::PanicBudget);
        scene.counted(3, Outcome::Panic, 3);
        assert_eq!(scene.stage.outcome(Outcome::SessionClosed), 1);
        assert_eq!(scene.stage.cells.abuse[AbuseKind::Panics].get(), 1);
        scene.lives_on().await;
    });
}

/// On HTTP/1.1 only a destructor after a whole answer leaves the connection open.
#[test]
fn on_http1_too() {
    run_paused(async {
        let mut config = config();
        config.options.budgets.panics = 2;
        let answer = place(|request| {
            let mut stream = request.into_stream();
            Reply::driven(async move {
                let _bomb = Bomb;
                stream.send(Response::text("whole")).await.unwrap();
            })
        });
        let scene = Scene::with(config, answer).await;
        let mut http1 = crate::Http1::of(scene);
        let (answer, goes_on) = http1.get("/x").await;
        assert!(answer.contains("whole") && goes_on, "{answer}");
        let (answer, goes_on) = http1.get("/x").await;
        assert!(answer.contains("whole") && !goes_on, "{answer}");
        let scene = http1.ends_for(CloseReason::PanicBudget).await;
        scene.counted(2, Outcome::Panic, 2);
        assert_eq!(scene.stage.cells.abuse[AbuseKind::Panics].get(), 1);
        assert_eq!(scene.panics(ActorKind::Session), 0);
    });
}
