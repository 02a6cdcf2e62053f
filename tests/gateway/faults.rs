//! Handlers that panic and clients that vanish: their stream or session ends, nobody else's.

use http_body::Frame;

use crate::support::client::{Client, Speaks, fed, next_octets, nothing};
use crate::support::exposition::Scrape;
use crate::support::raw::{DATA, HEADERS, RST_STREAM, Raw};
use crate::support::{Gateway, run};

async fn scrape(admin: &mut Client) -> Scrape {
    Scrape::read(admin.get("/metrics").await.text())
}

fn panics(scrape: &Scrape) -> f64 {
    scrape.sum("stagedoor_actor_panics_total", &[("actor", "stream")])
}

#[test]
fn a_panic_before_the_head_is_500_and_spares_its_neighbour() {
    let gateway = Gateway::start();
    run(async {
        let mut admin = Client::admin(&gateway).await;
        for speaks in [Speaks::H2, Speaks::H2c] {
            let before = panics(&scrape(&mut admin).await);
            let mut client = Client::connect(&gateway, speaks).await;
            let (sender, body) = fed();
            sender.send(Frame::data("before".into())).unwrap();
            let neighbour = client.request("POST", "/echo").body(body).unwrap();
            let mut echo = client.send(neighbour).await.unwrap().into_body();
            assert_eq!(next_octets(&mut echo).await.unwrap().unwrap(), "before");
            assert_eq!(client.get("/panic").await.status, 500);
            sender.send(Frame::data("after".into())).unwrap();
            assert_eq!(next_octets(&mut echo).await.unwrap().unwrap(), "after");
            drop(sender);
            let end = next_octets(&mut echo).await;
            assert!(end.is_none(), "{end:?}");
            assert_eq!(panics(&scrape(&mut admin).await), before + 1.0);
        }
    });
    gateway.process.line(|line| line.contains("ERROR") && line.contains("asked to panic before the head"));
}

#[test]
fn a_panic_inside_the_body_resets_the_stream_alone() {
    let gateway = Gateway::start();
    run(async {
        for speaks in [Speaks::H2, Speaks::H2c] {
            for after in [0, 1, 100_000] {
                let mut client = Client::connect(&gateway, speaks).await;
                let request =
                    client.request("GET", &format!("/panic?after={after}")).body(nothing()).unwrap();
                let response = client.send(request).await;
                let (octets, error) = match response {
                    Ok(response) => {
                        assert_eq!(response.status(), 200);
                        let (mut body, mut octets) = (response.into_body(), 0);
                        loop {
                            match next_octets(&mut body).await.expect("no end without an error") {
                                Ok(piece) => octets += piece.len(),
                                Err(error) => break (octets, error),
                            }
                        }
                    }
                    Err(error) => (0, error),
                };
                assert_eq!(error.code(), Some(h2::Reason::INTERNAL_ERROR), "after {after}: {error}");
                assert!(octets <= after, "{octets} octets");
                assert_eq!(client.get("/bytes/3").await.body.len(), 3, "the session lives");
            }
        }
    });
}

#[test]
fn a_panic_on_http1_ends_its_exchange_alone() {
    let gateway = Gateway::start();
    run(async {
        for speaks in [Speaks::Http1, Speaks::Http1Tls] {
            let mut other = Client::connect(&gateway, speaks).await;
            let mut client = Client::connect(&gateway, speaks).await;
            assert_eq!(client.get("/panic").await.status, 500);
            let mut client = Client::connect(&gateway, speaks).await;
            let request = client.request("GET", "/panic?after=100000").body(nothing()).unwrap();
            assert!(client.whole(request).await.is_err(), "a broken body must not look whole");
            assert_eq!(other.get("/bytes/3").await.body.len(), 3);
        }
    });
}

#[test]
fn an_unread_body_is_stopped_after_the_whole_answer() {
    let gateway = Gateway::start();
    let mut raw = Raw::connect(gateway.plain, 65_535);
    raw.request(1, "POST", "/reject", false);
    raw.next_of(HEADERS);
    let answer = raw.next_of(DATA);
    assert!(answer.ends_stream() && answer.payload.starts_with(b"no body is small enough"));
    let reset = raw.next_of(RST_STREAM);
    // "Send no more", not an error (RFC 9113 §8.1).
    assert_eq!((reset.stream, reset.number(0)), (1, 0));
    // What was on its way is nobody's fault.
    raw.frame(DATA, 0, 1, b"sent before the reset was seen");
    raw.request(3, "GET", "/bytes/3", true);
    assert_eq!(raw.body(3, 3), b"ABC");
}

#[test]
fn a_client_that_vanishes_mid_upload_leaves_nothing_behind() {
    let gateway = Gateway::start();
    run(async {
        let mut admin = Client::admin(&gateway).await;
        admin.get("/metrics").await;
        let before = scrape(&mut admin).await;
        let actors = |scrape: &Scrape, kind| scrape.value("stagedoor_actors", &[("actor", kind)]);

        let mut raw = Raw::connect(gateway.plain, 65_535);
        raw.request(1, "POST", "/echo", false);
        raw.frame(DATA, 0, 1, b"half of it");
        raw.next_of(HEADERS);
        raw.body(1, 10);
        let sessions = admin.get("/api/sessions").await.json();
        let plain = |sessions: &serde_json::Value| {
            sessions.as_array().unwrap().iter().filter(|session| session["listener"] == "plain").count()
        };
        assert_eq!(plain(&sessions), 1, "{sessions}");
        assert_eq!(actors(&scrape(&mut admin).await, "session"), actors(&before, "session") + 1.0);
        drop(raw);

        // The end of a socket is seen when the session next looks: ask until it has.
        while plain(&admin.get("/api/sessions").await.json()) > 0 {
            tokio::task::yield_now().await;
        }
        loop {
            let after = scrape(&mut admin).await;
            let settled =
                ["session", "stream"].iter().all(|kind| actors(&after, kind) == actors(&before, kind));
            if settled && after.sum("stagedoor_streams_active", &[("listener", "plain")]) == 0.0 {
                assert_eq!(after.sum("stagedoor_sessions_active", &[("listener", "plain")]), 0.0);
                assert_eq!(after.sum("stagedoor_sessions_closed_total", &[("listener", "plain")]), 1.0);
                break;
            }
        }
    });
}

#[test]
fn a_client_that_vanishes_mid_download_leaves_nothing_behind() {
    let gateway = Gateway::start();
    run(async {
        let mut admin = Client::admin(&gateway).await;
        let mut raw = Raw::connect(gateway.plain, 1000);
        raw.request(1, "GET", "/bytes/1099511627776", true);
        raw.body(1, 1000);
        drop(raw);
        loop {
            let after = scrape(&mut admin).await;
            if after.sum("stagedoor_sessions_closed_total", &[("listener", "plain")]) == 1.0 {
                assert_eq!(after.sum("stagedoor_streams_active", &[("listener", "plain")]), 0.0);
                break;
            }
        }
    });
}
