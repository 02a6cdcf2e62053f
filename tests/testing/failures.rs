//! What a test that fails is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use stagedoor::testing::{ErrorCode, Server, run, run_paused};
use stagedoor::{HttpRequest, HttpResponse, handler};

fn teapot() -> Server {
    Server::new(handler(async |_: HttpRequest| -> HttpResponse {
        http::Response::builder().status(418).body("short and stout".into()).unwrap()
    }))
}

/// The words of a panic.
fn words_of(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("it fails");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().expect("words")).to_owned(),
    }
}

#[track_caller]
fn has(words: &str, wanted: &[&str]) {
    wanted.iter().for_each(|part| assert!(words.contains(part), "no {part:?} in {words:?}"));
}

#[test]
fn a_wrong_status_shows_the_body() {
    let words = words_of(|| {
        run(async {
            teapot().client().await.get("/").await.assert_status(200);
        });
    });
    has(&words, &["418", "200", "short and stout"]);
}

#[test]
fn a_wrong_frame_shows_where_it_was_asked_for_and_what_had_come() {
    let words = words_of(|| {
        run(async {
            let server = teapot();
            let mut peer = server.peer().await;
            let get = peer.get("/").await;
            peer.expect_data(get).await;
        });
    });
    has(&words, &["DATA was asked for at tests/testing/failures.rs", "Headers", ":status", "418"]);
}

#[test]
fn a_frame_that_never_comes_fails_loudly_on_both_clocks() {
    let paused = words_of(|| {
        run_paused(async |_| {
            let server = teapot().config(|config| config.timeouts.idle = Duration::ZERO);
            let mut peer = server.peer().await;
            peer.expect_headers(1).await;
        });
    });
    has(&paused, &["nothing came for 86400s", "tests/testing/failures.rs"]);
    let real = words_of(|| {
        run(async {
            let server = teapot();
            let mut peer = server.peer().await;
            peer.set_deadline(Duration::from_millis(20));
            peer.expect_goaway().await;
        });
    });
    has(&real, &["nothing came for 20ms", "tests/testing/failures.rs", "SettingsAck"]);
}

#[test]
fn a_request_that_is_not_answered_says_why() {
    let words = words_of(|| {
        run(async {
            let server = Server::new(handler(async |request: HttpRequest| {
                request.body().handle().reset(ErrorCode::INTERNAL_ERROR).unwrap();
                std::future::pending::<()>().await
            }));
            server.client().await.get("/broken").await;
        });
    });
    has(&words, &["GET /broken: no answer", "INTERNAL_ERROR", "tests/testing/failures.rs"]);
}

#[test]
fn a_configuration_that_cannot_be_is_told_before_it_is_used() {
    let words = words_of(|| {
        drop(teapot().config(|config| {
            config.http1 = false;
            config.http2 = false;
        }));
    });
    has(&words, &["no listener would start with this"]);
}
