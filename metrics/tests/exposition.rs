//! What a scraper reads: every family of the catalogue, in valid text, with closed label sets, and
//! bounded however many sessions are open.

mod text;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use stagedoor_metrics::catalogue::{self, LabelSpec, Source, Values, Zeros};
use stagedoor_metrics::{
    ActorKind, CloseReason, ConnectionResult, Direction, EjectionReason, Exemplar, Format, FrameType, H2Code,
    HealthResult, MessageKind, Method, Metrics, Origin, Outcome, Peer, Protocol, ReloadResult, RetryResult,
    Role, RouteId, Scope, SessionId, SessionStats, StreamStats, TableOptions, TimeoutAction, TimeoutKind,
    TlsResult, TlsVersion, UpstreamFailure, WaitOn,
};

/// The session that [`busy`] has open.
const OPEN: SessionId = SessionId { worker: 0, number: 46 };

/// One upstream to which everything happened, with two endpoints that stay.
fn touch_upstream(metrics: &Metrics) {
    let backend = metrics.add_upstream("backend");
    let cells = metrics.shard(0).upstream(backend);
    cells.connection_opened(Protocol::H2c, 2_000_000);
    cells.connection_opened(Protocol::Http1, 2_000_000);
    cells.connection_closed(Protocol::Http1, CloseReason::IdleTimeout);
    cells.requests_active.add(3);
    cells.requests_pending.inc();
    cells.request(200);
    cells.request(0);
    let who = || Exemplar { session: OPEN, stream: 5, trace: 0xfeed };
    cells.request_took(4_000_000, moment(), who);
    cells.retries[RetryResult::Sent].inc();
    cells.ejections[EjectionReason::Consecutive5xx].inc();
    cells.failures[UpstreamFailure::HttpResponseTimeout].inc();
    let up = metrics.endpoint(backend, "127.0.0.1:9000");
    up.checks[HealthResult::Ok].add(4);
    let down = metrics.endpoint(backend, "127.0.0.1:9001");
    down.set_up(false);
    down.checks[HealthResult::ConnectError].inc();
    // Shown as long as they are held.
    std::mem::forget([up, down]);
}

/// Metrics in which every family was touched; its tables show whatever lives.
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
            let who = || Exemplar { session: OPEN, stream: 5, trace: 0xfeed };
            cells.request_took(1_000_000, moment(), who);
            cells.response_began(999_999, moment(), who);
            cells.request_body_bytes.observe_value(0);
            cells.response_body_bytes.observe_value(1 << 40);
            cells.stream_wait_nanos[WaitOn::Handler].add(250_000_000);
        }
    }
    metrics.rate_limited(api).inc();
    touch_upstream(&metrics);
    shard.route(public, api).file_read_bytes.add(1_024);
    shard.actors()[ActorKind::Session].alive.inc();
    shard.actors()[ActorKind::Session].mailbox_wait.observe_nanos(20_000);
    shard.messages()[MessageKind::SessionTurn].handled.inc();
    shard.messages()[MessageKind::SessionTurn].busy_nanos.add(500_000);
    shard.loop_lag.observe_nanos(400_000);
    for _ in 0..3 {
        shard.mailbox.enter();
    }
    metrics.shard(u16::MAX).mailbox.enter();
    // The thread of a client: no worker.
    metrics.shard(0x8000).mailbox.enter();
    metrics.set_certificate("dev", UNIX_EPOCH + Duration::from_secs(2_000_000_000));
    metrics.certificate_reloaded(ReloadResult::Error);
    metrics.config_reloaded(ReloadResult::Ok, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics.config_reloaded(ReloadResult::Error, UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    metrics.access_log_dropped().add(7);
    let mut options = TableOptions::default();
    options.sessions.min_age = Duration::ZERO;
    options.streams.min_age = Duration::ZERO;
    metrics.set_tables(options);
    let peer = Peer::Named("test".into());
    let opened = Instant::now();
    let stats = SessionStats::new(OPEN, Role::Server, Protocol::H2, "public".into(), peer, opened);
    stats.bytes_out.add(4_096);
    stats.send_window.set(-5);
    stats.mailbox.enter();
    let stream = StreamStats::new(OPEN, 5, Method::Get, opened);
    stream.bytes_out.add(2_048);
    stats.list_stream(Arc::new(stream));
    metrics.live().insert(Arc::new(stats));
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
    let api = ("route", "api");
    let wait = [public, api, ("on", "handler")];
    assert_eq!(one("stagedoor_stream_wait_seconds_total", &wait), Some(0.25));
    assert_eq!(one("stagedoor_rate_limited_total", &[api]), Some(1.0));
    assert_eq!(one("stagedoor_rate_limited_total", &[("route", "_admin")]), Some(0.0));
    assert_eq!(one("stagedoor_file_read_bytes_total", &[api]), Some(1_024.0));
    let expiry = one("stagedoor_tls_certificate_not_after_timestamp_seconds", &[("cert", "dev")]);
    assert_eq!(expiry, Some(2_000_000_000.0));
    assert_eq!(one("stagedoor_tls_certificate_reloads_total", &[("result", "error")]), Some(1.0));
    // The last load failed; the good one before it keeps its time.
    assert_eq!(one("stagedoor_config_last_reload_successful", &[]), Some(0.0));
    let good = one("stagedoor_config_last_reload_success_timestamp_seconds", &[]);
    assert_eq!(good, Some(1_700_000_000.0));
    assert_eq!(one("stagedoor_config_reloads_total", &[("result", "ok")]), Some(1.0));
    assert_eq!(one("stagedoor_access_log_dropped_total", &[]), Some(7.0));
}

#[test]
fn what_was_counted_of_an_upstream_is_what_is_read() {
    let metrics = busy();
    // Another arbiter finishes what the first began.
    let backend = metrics.add_upstream("backend");
    metrics.shard(1).upstream(backend).requests_active.dec();
    let families = rendered(&metrics);
    let backend = ("upstream", "backend");
    let of = |sample, label| value(&families, sample, &[backend, label]);
    let endpoint = |sample, address, labels: &[_]| {
        let address = format!("backend/127.0.0.1:{address}");
        value(&families, sample, &[&[("endpoint", &*address)], labels].concat())
    };
    assert_eq!(endpoint("stagedoor_upstream_endpoint_up", 9_000, &[]), Some(1.0));
    assert_eq!(endpoint("stagedoor_upstream_endpoint_up", 9_001, &[]), Some(0.0));
    let checks = "stagedoor_upstream_health_checks_total";
    assert_eq!(endpoint(checks, 9_000, &[("result", "ok")]), Some(4.0));
    assert_eq!(endpoint(checks, 9_001, &[("result", "connect_error")]), Some(1.0));
    assert_eq!(of("stagedoor_upstream_ejections_total", ("reason", "consecutive_5xx")), Some(1.0));
    assert_eq!(of("stagedoor_upstream_connections_active", ("protocol", "h2c")), Some(1.0));
    assert_eq!(of("stagedoor_upstream_connections_active", ("protocol", "http/1.1")), Some(0.0));
    assert_eq!(of("stagedoor_upstream_connections_closed_total", ("reason", "idle_timeout")), Some(1.0));
    assert_eq!(of("stagedoor_upstream_connect_duration_seconds_bucket", ("le", "0.001")), Some(0.0));
    assert_eq!(of("stagedoor_upstream_connect_duration_seconds_bucket", ("le", "0.005")), Some(2.0));
    assert_eq!(of("stagedoor_upstream_requests_active", backend), Some(2.0));
    assert_eq!(of("stagedoor_upstream_requests_pending", backend), Some(1.0));
    assert_eq!(of("stagedoor_upstream_requests_total", ("code", "200")), Some(1.0));
    assert_eq!(of("stagedoor_upstream_requests_total", ("code", "0")), Some(1.0));
    assert_eq!(of("stagedoor_upstream_requests_total", ("code", "503")), None);
    assert_eq!(of("stagedoor_upstream_request_duration_seconds_sum", backend), Some(0.004));
    assert_eq!(of("stagedoor_upstream_retries_total", ("result", "sent")), Some(1.0));
    assert_eq!(of("stagedoor_upstream_retries_total", ("result", "not_retryable")), Some(0.0));
    let failures = "stagedoor_upstream_failures_total";
    assert_eq!(of(failures, ("reason", "http_response_timeout")), Some(1.0));
    assert_eq!(of(failures, ("reason", "stall")), Some(0.0));
    for failure in UpstreamFailure::ALL {
        assert_eq!(UpstreamFailure::from_label(failure.label()), Some(*failure));
    }
    assert_eq!(UpstreamFailure::from_label("rate_limited"), None);
}

#[test]
fn mailboxes_messages_and_ticks_are_told_by_actor_message_and_worker() {
    let metrics = busy();
    metrics.shard(1).mailbox.enter();
    let families = rendered(&metrics);
    let one = |sample, labels: &[_]| value(&families, sample, labels);
    for (actor, sum, most) in [("worker", 4.0, 3.0), ("listener", 1.0, 1.0), ("session", 1.0, 1.0)] {
        let actor = [("actor", actor)];
        assert_eq!(one("stagedoor_actor_mailbox_messages", &actor), Some(sum), "{actor:?}");
        assert_eq!(one("stagedoor_actor_mailbox_messages_max", &actor), Some(most), "{actor:?}");
    }
    assert_eq!(one("stagedoor_actor_mailbox_messages", &[("actor", "stream")]), None);
    let turn = [("message", "session.turn")];
    assert_eq!(one("stagedoor_actor_messages_total", &turn), Some(1.0));
    assert_eq!(one("stagedoor_actor_message_busy_seconds_total", &turn), Some(0.0005));
    assert_eq!(one("stagedoor_actor_messages_total", &[("message", "worker.tap")]), Some(0.0));
    assert_eq!(one("stagedoor_worker_loop_lag_seconds_count", &[("worker", "0")]), Some(1.0));
    assert_eq!(one("stagedoor_worker_loop_lag_seconds_count", &[("worker", "1")]), None);
}

#[test]
fn sessions_of_our_own_have_no_socket_and_no_route() {
    let metrics = Metrics::new("stagedoor");
    let (public, client) = (metrics.add_listener("public", "[::]:8443"), metrics.add_client("upstream:api"));
    let shard = metrics.shard(0);
    for listener in [public, client] {
        shard.listener(listener).session_opened(Protocol::H2c);
        shard.route(listener, RouteId::UNMATCHED).request(Method::Get, 503);
        shard.route(listener, RouteId::UNMATCHED).request_body_bytes.observe_value(1);
    }
    let families = rendered(&metrics);
    let of = |sample, listener| value(&families, sample, &[("listener", listener)]);
    for (sample, listener, wanted) in [
        ("stagedoor_sessions_opened_total", "public", true),
        ("stagedoor_sessions_opened_total", "upstream:api", true),
        ("stagedoor_listener_info", "public", true),
        ("stagedoor_listener_info", "upstream:api", false),
        ("stagedoor_listener_accepting", "upstream:api", false),
        ("stagedoor_requests_total", "public", true),
        ("stagedoor_requests_total", "upstream:api", false),
    ] {
        assert_eq!(of(sample, listener).is_some(), wanted, "{sample} {listener}");
    }
    assert_eq!(value(&families, "stagedoor_request_body_bytes_count", &[]), Some(1.0));
}

#[test]
fn a_certificate_no_longer_in_use_vanishes() {
    let metrics = busy();
    metrics.forget_certificate("dev");
    let families = rendered(&metrics);
    assert!(families.iter().all(|family| !family.name.contains("certificate_not_after")));
}

#[test]
fn both_formats_carry_the_same_numbers() {
    let metrics = busy();
    let now = Instant::now();
    let text = text::parse(&String::from_utf8(metrics.render_at(Format::Text, now)).expect("UTF-8"));
    let open = String::from_utf8(metrics.render_at(Format::OpenMetrics, now)).expect("UTF-8");
    let open = text::openmetrics::parse(&open);
    assert_eq!(text.len(), open.len());
    for (text, open) in text.iter().zip(&open) {
        let open = &open.family;
        assert_eq!((&text.name, &text.kind, &text.help), (&open.name, &open.kind, &open.help));
        // What the kernel says of the process moves on between two renders.
        if !text.name.starts_with("process_") {
            let (text, open): (Vec<_>, Vec<_>) = (text.numbers().collect(), open.numbers().collect());
            assert_eq!(text, open);
        }
    }
}

#[test]
fn openmetrics_has_units_and_examples() {
    let open = String::from_utf8(busy().render(Format::OpenMetrics)).expect("UTF-8");
    let open = text::openmetrics::parse(&open);
    for text::openmetrics::Described { family, unit } in &open {
        let name = family.name.trim_end_matches("_total");
        let wanted = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit));
        assert_eq!(unit.as_deref(), wanted, "{name}");
    }
    let example = |name: &str, le: &str| {
        let family = open.iter().map(|shown| &shown.family).find(|family| family.name == name);
        let labels = [("listener", "public"), ("route", "api"), ("le", le)];
        let mut samples = family.expect("shown").samples.iter();
        samples
            .find(|sample| labels.iter().all(|(name, value)| sample.label(name) == Some(value)))
            .and_then(|sample| sample.exemplar.clone())
    };
    let labels: Vec<(String, String)> =
        [("session", "0-1a"), ("stream", "5"), ("trace_id", "0000000000000000000000000000feed")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    assert_eq!(example("stagedoor_request_duration_seconds", "0.001"), Some((labels.clone(), 0.001)));
    assert_eq!(example("stagedoor_response_start_seconds", "0.001"), Some((labels, 0.000999999)));
    assert_eq!(example("stagedoor_request_duration_seconds", "0.0025"), None);
}

#[test]
fn a_stream_without_a_trace_has_an_example_without_one() {
    let metrics = Metrics::new("stagedoor");
    let cells = metrics.shard(0).route(metrics.add_listener("public", "-"), RouteId::UNMATCHED);
    let who = || Exemplar { session: SessionId { worker: u16::MAX, number: u64::MAX }, stream: 1, trace: 0 };
    cells.request_took(u64::MAX, moment(), who);
    let open = String::from_utf8(metrics.render(Format::OpenMetrics)).expect("UTF-8");
    text::openmetrics::parse(&open);
    let line = open.lines().find(|line| line.contains("le=\"+Inf\"")).expect("a bucket");
    assert!(
        line.contains(" 1 # {session=\"65535-3w5e11264sgsf\",stream=\"1\"} 1.8446744073709553e+10 "),
        "{line}"
    );
}

#[test]
fn a_scrape_is_what_a_render_is_packed_if_wanted() {
    use std::io::Read as _;
    let metrics = busy();
    for format in Format::ALL {
        let plain = metrics.scrape(format, false);
        let packed = metrics.scrape(format, true);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).expect("gzip");
        assert!(*plain == *unpacked, "{format:?}");
        assert!(packed.len() * 4 < plain.len(), "{} of {}", packed.len(), plain.len());
    }
    assert_eq!(Format::Text.content_type(), Metrics::TEXT_CONTENT_TYPE);
    assert_eq!(Format::Text.content_type(), "text/plain; version=0.0.4; charset=utf-8");
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(Format::OpenMetrics.content_type(), open);
}

#[test]
fn small_closed_sets_are_there_before_the_first_event_and_big_products_are_not() {
    let metrics = Metrics::new("stagedoor");
    metrics.add_listener("public", "[::]:8443");
    let families = rendered(&metrics);
    for family in catalogue::families() {
        // Listeners are listed and so are the two routes of our own; nothing else is.
        let listed = match family.labels {
            [LabelSpec { values: Values::Configured(Source::Route), .. }] => true,
            labels => labels.iter().all(|label| match label.values {
                Values::Configured(source) => matches!(source, Source::Listener | Source::Address),
                _ => true,
            }),
        };
        let shown = families.iter().find(|shown| shown.name == family.name);
        if cfg!(target_os = "linux") || !family.is_of_process() {
            assert_eq!(shown.is_some(), family.zeros == Zeros::Shown && listed, "{}", family.name);
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
    let open = String::from_utf8(metrics.render(Format::OpenMetrics)).expect("UTF-8");
    let open = text::openmetrics::parse(&open);
    let names = open.iter().map(|described| described.family.name.as_str());
    assert!(names.eq(families.iter().map(|family| family.name.as_str())));
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

fn moment() -> stagedoor_metrics::Moment {
    stagedoor_metrics::Moment::new(Instant::now(), Instant::now())
}
