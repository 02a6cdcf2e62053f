//! What a scraper reads: every family of the catalogue, in valid text, with closed label sets, and
//! bounded however many sessions are open.

mod text;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagedoor_metrics::catalogue::{self, Zeros};
use stagedoor_metrics::{
    ActorKind, CloseReason, ConnectionResult, Direction, FrameType, H2Code, Method, Metrics, Origin, Outcome,
    Peer, Protocol, Role, RouteId, Scope, SessionId, SessionStats, TimeoutAction, TimeoutKind, TlsResult,
    TlsVersion,
};

/// Metrics in which every family was touched.
fn busy() -> Metrics {
    let metrics = Metrics::new("stagedoor");
    metrics.set_build("0.1.0", "abc1234");
    metrics.set_ready(true);
    let public = metrics.add_listener("public", "[::]:8443");
    let odd = metrics.add_listener("a \"b\"\\\nc", "unix:/run/s");
    metrics.set_accepting(public, true);
    let api = metrics.add_route("api");
    let shard = metrics.shard(0);
    for listener in [public, odd] {
        let cells = shard.listener(listener);
        cells.connections[ConnectionResult::Accepted].inc();
        cells.tls_handshakes[TlsResult::Ok][TlsVersion::V13].inc();
        cells.tls_handshake_duration.observe_nanos(3_000_000);
        cells.session_opened(Protocol::H2);
        cells.session_opened(Protocol::H2);
        cells.session_closed(Protocol::H2, CloseReason::IdleTimeout, 7_000_000_000, 12);
        cells.network_bytes[Direction::Tx].add(10_000);
        cells.write_queue_bytes.add(512);
        cells.h2_frames[Direction::Rx][FrameType::from_wire(1)].inc();
        cells.h2_errors[Scope::Stream][Origin::Remote][H2Code::from_wire(8)].inc();
        cells.h2_flow_stalled_nanos[Scope::Stream].add(1_500_000_000);
        cells.h2_ping_rtt.observe_nanos(800_000);
        cells.timeouts[TimeoutKind::WriteStall][TimeoutAction::Extended].inc();
        cells.stream_opened(Protocol::H2);
        cells.stream_opened(Protocol::H2);
        cells.stream_closed(Protocol::H2, Outcome::Complete);
        for route in [RouteId::UNMATCHED, RouteId::ADMIN, api] {
            let cells = shard.route(listener, route);
            cells.request(Method::Get, 200);
            cells.request(Method::Other, 299);
            cells.request_duration.observe_nanos(1_000_000);
            cells.response_start.observe_nanos(999_999);
            cells.request_body_bytes.observe_value(0);
            cells.response_body_bytes.observe_value(1 << 40);
        }
    }
    shard.actors()[ActorKind::Session].alive.inc();
    metrics
}

fn rendered(metrics: &Metrics) -> Vec<text::Family> {
    text::parse(&String::from_utf8(metrics.render_text()).expect("UTF-8"))
}

/// The value of one series; `None` if it is not shown.
fn value(families: &[text::Family], sample: &str, labels: &[(&str, &str)]) -> Option<f64> {
    families
        .iter()
        .flat_map(|family| &family.samples)
        .find(|shown| {
            shown.name == sample && labels.iter().all(|(name, value)| shown.label(name) == Some(value))
        })
        .map(|shown| shown.value)
}

#[test]
fn every_family_of_the_table_appears_as_the_table_says() {
    let families = rendered(&busy());
    let shown: Vec<_> = families.iter().map(|family| family.name.as_str()).collect();
    let listed: Vec<_> = catalogue::families().map(|family| family.name).collect();
    if cfg!(target_os = "linux") {
        assert_eq!(shown, listed);
    }
    for shown in &families {
        let family = catalogue::families().find(|family| family.name == shown.name).expect("listed");
        assert_eq!((&*shown.help, &*shown.kind), (family.help, family.kind.label()), "{}", family.name);
        for sample in &shown.samples {
            let series = sample.series();
            let names: Vec<_> = series.iter().map(|(name, _)| name.as_str()).collect();
            let wanted: Vec<_> = family.labels.iter().map(|label| label.name).collect();
            assert_eq!(names, wanted, "{}", family.name);
            for ((name, value), label) in series.iter().zip(family.labels) {
                assert!(label.values.contains(value), "{}{{{name}={value:?}}}", family.name);
            }
        }
        let Some(buckets) = family.buckets else { continue };
        let first = shown.samples[0].series();
        let bounds: Vec<f64> = shown
            .samples
            .iter()
            .filter(|sample| sample.series() == first)
            .filter_map(|sample| sample.label("le")?.parse().ok())
            .filter(|bound: &f64| bound.is_finite())
            .collect();
        let wanted: Vec<_> = buckets.bounds.iter().map(|bound| buckets.unit.to_base(*bound as f64)).collect();
        assert_eq!(bounds, wanted, "{}", family.name);
    }
}

#[test]
fn what_was_counted_is_what_is_read() {
    let families = rendered(&busy());
    let public = ("listener", "public");
    let one = |sample, labels: &[_]| value(&families, sample, labels);
    assert_eq!(one("stagedoor_sessions_active", &[public, ("protocol", "h2")]), Some(1.0));
    assert_eq!(one("stagedoor_streams_active", &[public, ("protocol", "h2")]), Some(1.0));
    assert_eq!(one("stagedoor_streams_active", &[public, ("protocol", "http/1.1")]), Some(0.0));
    assert_eq!(one("stagedoor_sessions_closed_total", &[public, ("reason", "idle_timeout")]), Some(1.0));
    assert_eq!(one("stagedoor_session_lifetime_seconds_sum", &[public]), Some(7.0));
    assert_eq!(one("stagedoor_h2_flow_stalled_seconds_total", &[public, ("scope", "stream")]), Some(1.5));
    assert_eq!(one("stagedoor_h2_errors_total", &[public, ("code", "CANCEL")]), Some(1.0));
    let other = [public, ("route", "api"), ("method", "OTHER"), ("code", "other")];
    assert_eq!(one("stagedoor_requests_total", &other), Some(1.0));
    assert_eq!(one("stagedoor_request_duration_seconds_bucket", &[public, ("le", "0.001")]), Some(1.0));
    // Bodies carry no listener: both are in one series.
    assert_eq!(one("stagedoor_response_body_bytes_count", &[("route", "_admin")]), Some(2.0));
    assert_eq!(one("stagedoor_listener_accepting", &[public]), Some(1.0));
    assert_eq!(one("stagedoor_listener_accepting", &[("listener", "a \"b\"\\\nc")]), Some(0.0));
    assert_eq!(one("stagedoor_build_info", &[("version", "0.1.0"), ("revision", "abc1234")]), Some(1.0));
    assert_eq!(one("stagedoor_ready", &[]), Some(1.0));
    assert_eq!(one("stagedoor_draining", &[]), Some(0.0));
}

#[test]
fn small_closed_sets_are_there_before_the_first_event_and_big_products_are_not() {
    let metrics = Metrics::new("stagedoor");
    metrics.add_listener("public", "[::]:8443");
    let families = rendered(&metrics);
    for family in catalogue::families() {
        let configured = family.labels.iter().any(|label| label.name == "route" || label.name == "revision");
        let shown = families.iter().find(|shown| shown.name == family.name);
        if cfg!(target_os = "linux") || !family.is_of_process() {
            assert_eq!(shown.is_some(), family.zeros == Zeros::Shown && !configured, "{}", family.name);
        }
    }
    let closed = families.iter().find(|family| family.name == "stagedoor_streams_closed_total");
    assert_eq!(closed.map(|family| family.samples.len()), Some(Outcome::COUNT));
}

#[test]
fn a_foreign_registry_gathers_the_same_figures() {
    let metrics = busy();
    let registry = prometheus::Registry::new();
    registry.register(Box::new(metrics.collector())).expect("registered");
    // The same names twice would be two writers of one series.
    registry.register(Box::new(metrics.collector())).expect_err("registered twice");
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    let gathered = text::parse(&text);
    let names: BTreeSet<_> = gathered.iter().map(|family| family.name.as_str()).collect();
    let listed: BTreeSet<_> =
        catalogue::families().filter(|family| !family.is_of_process()).map(|family| family.name).collect();
    assert_eq!(names, listed);
    let labels = [("listener", "public"), ("protocol", "h2")];
    assert_eq!(value(&gathered, "stagedoor_sessions_opened_total", &labels), Some(2.0));
}

#[test]
fn another_namespace_takes_the_place_of_ours() {
    let metrics = Metrics::new("edge");
    metrics.set_ready(true);
    let families = rendered(&metrics);
    assert_eq!(value(&families, "edge_ready", &[]), Some(1.0));
    assert!(families.iter().all(|family| !family.name.starts_with("stagedoor_")));
}

#[test]
fn ten_thousand_sessions_add_no_series_and_render_within_100_ms() {
    let metrics = busy();
    let workers: Vec<_> = (0..4).map(|worker| metrics.shard(worker)).collect();
    let listeners = [metrics.add_listener("public", "[::]:8443"), metrics.add_listener("plain", "[::]:8080")];
    let routes: Vec<_> = (0..20).map(|route| metrics.add_route(&format!("route-{route}"))).collect();
    let open = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let worker = (number % 4) as u16;
            let peer = Peer::Inet(([192, 0, 2, 1], 1024).into());
            let id = SessionId { worker, number };
            let stats =
                SessionStats::new(id, Role::Server, Protocol::H2, "public".into(), peer, Instant::now());
            metrics.live().insert(Arc::new(stats));
            let shard = &workers[usize::from(worker)];
            let listener = listeners[(number / 4 % 2) as usize];
            shard.listener(listener).session_opened(Protocol::H2);
            for (place, route) in routes.iter().enumerate() {
                let cells = shard.route(listener, *route);
                cells.request(Method::ALL[place % 5], [200, 204, 304, 404, 500][(number / 8 % 5) as usize]);
                cells.request_duration.observe_nanos(number * 1_000);
            }
        }
    };
    open(0..100);
    let few = metrics.render_text();
    open(100..10_000);
    let begun = Instant::now();
    let many = metrics.render_text();
    let took = begun.elapsed();
    let series = |text: &[u8]| text.iter().filter(|octet| **octet == b'\n').count();
    assert_eq!(series(&few), series(&many));
    assert!(took < Duration::from_millis(100), "{took:?}");
}
