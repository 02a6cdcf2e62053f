//! Counting from several threads: a shard each, summed by whoever looks, while they count.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use stagedoor_metrics::{
    ActorKind, CloseReason, Method, Metrics, Outcome, Peer, Protocol, Role, RouteHandles, RouteId, SessionId,
    SessionStats,
};

/// The value of a sample line, found by its start.
fn value(metrics: &Metrics, start: &str) -> f64 {
    let text = String::from_utf8(metrics.render_text()).expect("UTF-8");
    let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
    line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok()).expect("a value")
}

const SESSIONS: u64 = 20_000;

/// A worker's life: sessions that open, carry a stream each, and close.
fn work(metrics: &Metrics, worker: u16) {
    let listener = metrics.add_listener("public", "[::]:8443");
    let shard = metrics.shard(worker);
    let cells = shard.listener(listener);
    let mut routes = RouteHandles::new(Arc::clone(&shard), listener);
    for number in 0..SESSIONS {
        let id = SessionId { worker, number };
        let peer = Peer::Named("test".into());
        let stats = SessionStats::new(id, Role::Server, Protocol::H2, "public".into(), peer, Instant::now());
        metrics.live().insert(Arc::new(stats));
        shard.actors()[ActorKind::Session].alive.inc();
        cells.session_opened(Protocol::H2);
        cells.stream_opened(Protocol::H2);
        cells.write_queue_bytes.add(100);
        routes.get(RouteId::UNMATCHED).request(Method::Get, 404);
        cells.write_queue_bytes.add(-100);
        cells.stream_closed(Protocol::H2, Outcome::Complete);
        cells.session_closed(Protocol::H2, CloseReason::ClientClosed, 1_000, 1);
        shard.actors()[ActorKind::Session].alive.dec();
        metrics.live().remove(id);
    }
}

#[test]
fn two_threads_with_a_shard_each_lose_nothing_and_gauges_return_to_zero() {
    let metrics = Metrics::new("stagedoor");
    thread::scope(|scope| {
        let workers = [0, 1].map(|worker| {
            let metrics = metrics.clone();
            scope.spawn(move || work(&metrics, worker))
        });
        // Scraped meanwhile: counters only grow, and no more sessions are open than threads run.
        let mut last = 0.0;
        metrics.add_listener("public", "[::]:8443");
        while workers.iter().any(|worker| !worker.is_finished()) {
            let now = value(&metrics, r#"stagedoor_sessions_opened_total{listener="public",protocol="h2"}"#);
            assert!(now >= last, "{now} after {last}");
            last = now;
            assert!(metrics.live().len() <= 2);
        }
    });
    let all = (2 * SESSIONS) as f64;
    for (start, wanted) in [
        (r#"stagedoor_sessions_opened_total{listener="public",protocol="h2"}"#, all),
        (r#"stagedoor_sessions_closed_total{listener="public",protocol="h2",reason="client_closed"}"#, all),
        (r#"stagedoor_requests_total{listener="public",route="_unmatched",method="GET",code="404"}"#, all),
        (r#"stagedoor_session_lifetime_streams_count{listener="public"}"#, all),
        (r#"stagedoor_sessions_active{listener="public",protocol="h2"}"#, 0.0),
        (r#"stagedoor_streams_active{listener="public",protocol="h2"}"#, 0.0),
        (r#"stagedoor_write_queue_bytes{listener="public"}"#, 0.0),
        (r#"stagedoor_actors{actor="session"}"#, 0.0),
    ] {
        assert_eq!(value(&metrics, start), wanted, "{start}");
    }
    assert!(metrics.live().is_empty());
}

#[test]
fn a_gauge_raised_on_one_shard_and_lowered_on_another_sums_to_zero() {
    let metrics = Metrics::new("stagedoor");
    metrics.shard(0).actors()[ActorKind::Stream].alive.inc();
    metrics.shard(1).actors()[ActorKind::Stream].alive.dec();
    assert_eq!(value(&metrics, r#"stagedoor_actors{actor="stream"}"#), 0.0);
}

#[test]
fn names_are_listed_once_and_a_shard_outlives_its_worker() {
    let metrics = Metrics::new("stagedoor");
    let listener = metrics.add_listener("public", "[::]:0");
    assert_eq!(metrics.add_listener("public", "[::]:8443"), listener);
    assert_ne!(metrics.add_listener("admin", "[::1]:9090"), listener);
    assert_eq!(metrics.listener_name(listener).as_deref(), Some("public"));
    assert_eq!(metrics.add_route("_unmatched"), RouteId::UNMATCHED);
    assert_eq!(metrics.add_route("_admin"), RouteId::ADMIN);
    assert_eq!(metrics.add_route("api"), metrics.add_route("api"));
    assert_eq!(value(&metrics, r#"stagedoor_listener_info{listener="public",address="[::]:8443"}"#), 1.0);

    let shard = metrics.shard(3);
    shard.listener(listener).session_opened(Protocol::Http1);
    drop(shard);
    let again = metrics.shard(3).listener(listener);
    assert_eq!(again.sessions_opened[Protocol::Http1].get(), 1);
}
