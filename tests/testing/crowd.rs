//! Many sessions: nothing is left of them.

use std::time::Duration;

use futures_util::future::join_all;
use stagedoor::testing::{Client, Server, run, run_paused, settle};
use stagedoor::{HttpRequest, Metrics, handler};

/// Everything a server counts up and down is at zero.
#[track_caller]
fn nothing_is_left(server: &Server) {
    assert_eq!((server.open_sessions(), server.open_streams()), (0, 0));
    no_actor_is_left(server.metrics());
}

#[track_caller]
fn no_actor_is_left(metrics: &Metrics) {
    assert!(metrics.live().is_empty(), "{} sessions are listed", metrics.live().len());
    for totals in metrics.actor_totals() {
        assert_eq!((totals.alive, totals.waiting), (0, 0), "{} actors", totals.kind);
    }
    let text = String::from_utf8(metrics.render_text()).unwrap();
    let gauges = ["sessions_active", "streams_active", "write_queue_bytes", "session_memory_bytes"];
    for gauge in gauges {
        let name = format!("stagedoor_{gauge}{{");
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(&name)).collect();
        assert!(!lines.is_empty(), "no {gauge}");
        assert!(lines.iter().all(|line| line.ends_with(" 0")), "{lines:#?}");
    }
}

#[test]
fn of_ten_thousand_sessions_nothing_is_left() {
    const AT_ONCE: usize = 500;
    const ROUNDS: usize = 20;
    run(async {
        // By default the 257th that has not said hello takes the place of the first.
        let server = Server::new(handler(async |request: HttpRequest| request.uri().path().to_owned()))
            .config(|config| config.limits.handshakes = AT_ONCE);
        for round in 0..ROUNDS {
            let visits = (0..AT_ONCE).map(async |number| {
                let client = server.client().await;
                client.get(&format!("/{round}/{number}")).await.assert_text(&format!("/{round}/{number}"));
                client
            });
            let clients: Vec<Client> = join_all(visits).await;
            assert_eq!(server.open_sessions(), AT_ONCE);
            join_all(clients.into_iter().map(Client::close)).await;
            server.ended().await;
        }
        assert_eq!(server.metrics().totals().sessions_opened, (AT_ONCE * ROUNDS) as u64);
        assert_eq!(server.metrics().totals().requests, (AT_ONCE * ROUNDS) as u64);
        nothing_is_left(&server);
    });
}

#[test]
fn a_server_that_is_dropped_cuts_its_sessions_off() {
    run(async {
        let server = Server::new(handler(async |_: HttpRequest| std::future::pending::<()>().await));
        let metrics = server.metrics().clone();
        let (client, mut peer) = (server.client().await, server.peer().await);
        let mut stream = client.stream("/");
        peer.get("/").await;
        settle().await;
        assert_eq!(server.open_streams(), 2);
        drop(server);
        stream.response().await.unwrap_err();
        client.ended().await;
        peer.expect_end().await;
        drop((stream, client, peer));
        settle().await;
        no_actor_is_left(&metrics);
    });
}

#[test]
fn everything_ends_with_the_test() {
    let metrics = run(async {
        let server = Server::new(handler(async |_: HttpRequest| std::future::pending::<()>().await));
        let client = server.client().await;
        let stream = client.stream("/");
        settle().await;
        assert_eq!(server.open_streams(), 1);
        let metrics = server.metrics().clone();
        // As at the foot of any test.
        drop((stream, client, server));
        metrics
    });
    no_actor_is_left(&metrics);
}

#[test]
fn clients_that_vanish_leave_nothing() {
    run_paused(async |clock| {
        let server = Server::new(handler(async |_: HttpRequest| {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }));
        for _ in 0..50 {
            let mut peer = server.peer().await;
            peer.get("/").await;
        }
        clock.advance(Duration::from_secs(60)).await;
        server.ended().await;
        nothing_is_left(&server);
    });
}

#[test]
fn several_servers_count_apart() {
    run(async {
        let servers = ["a", "b"].map(|name| Server::new(handler(move |_: HttpRequest| async move { name })));
        let [a, b] = &servers;
        let (of_a, of_b) = (a.client().await, b.client().await);
        for _ in 0..3 {
            of_a.get("/").await.assert_text("a");
        }
        of_b.get("/").await.assert_text("b");
        let requests = |server: &Server| server.metrics().totals().requests;
        assert_eq!((requests(a), requests(b)), (3, 1));
        of_a.close().await;
        a.ended().await;
        assert_eq!((a.open_sessions(), b.open_sessions()), (0, 1));
        no_actor_is_left(a.metrics());
    });
}
