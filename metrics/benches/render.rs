//! A scrape of the reference deployment with both live tables full, in each format and packed; and what it
//! costs to count a stream with an example.

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use stagedoor_metrics::{
    CloseReason, ConnectionResult, Direction, Exemplar, Format, FrameType, Method, Metrics, Outcome, Peer,
    Protocol, Role, RouteId, SessionId, SessionStats, StreamStats, TableOptions, WaitOn,
};

const WORKERS: u16 = 4;
const ROUTES: usize = 20;
const ROWS: u64 = 256;

/// 2 listeners, 20 routes, 4 workers that have counted everywhere, 256 sessions with a stream each.
fn reference(begun: Instant) -> Metrics {
    let metrics = Metrics::new("stagedoor");
    metrics.set_build("0.1.0", "abc1234");
    let mut options = TableOptions::default();
    options.sessions.new_per_minute = usize::MAX;
    options.streams.new_per_minute = usize::MAX;
    metrics.set_tables(options);
    let listeners = [metrics.add_listener("public", "[::]:8443"), metrics.add_listener("plain", "[::]:8080")];
    let routes: Vec<_> = (0..ROUTES).map(|route| metrics.add_route(&format!("route-{route}"))).collect();
    for worker in 0..WORKERS {
        let shard = metrics.shard(worker);
        shard.loop_lag.observe_nanos(1_000_000);
        for listener in listeners {
            let cells = shard.listener(listener);
            cells.connections[ConnectionResult::Accepted].add(1_000);
            for protocol in Protocol::ALL {
                cells.session_opened(*protocol);
                cells.session_closed(*protocol, CloseReason::ClientClosed, 1_234_567, 12);
                cells.stream_opened(*protocol);
                cells.stream_closed(*protocol, Outcome::Complete);
            }
            for (direction, frame) in Direction::ALL.iter().zip(FrameType::ALL) {
                cells.h2_frames[*direction][*frame].add(123_456);
            }
            for route in &routes {
                let cells = shard.route(listener, *route);
                for (method, code) in [(Method::Get, 200), (Method::Get, 304), (Method::Post, 201)] {
                    cells.request(method, code);
                }
                for millis in [1, 3, 20, 700, 4_000] {
                    let who = || who(u64::from(worker), u128::from(millis));
                    cells.request_took(millis * 1_000_000, stagedoor_metrics::Moment::new(begun, begun), who);
                    cells.response_began(millis * 700_000, stagedoor_metrics::Moment::new(begun, begun), who);
                    cells.response_body_bytes.observe_value(millis * 1_000);
                    cells.request_body_bytes.observe_value(0);
                }
                for on in WaitOn::ALL {
                    cells.stream_wait_nanos[*on].add(12_345_678);
                }
            }
        }
    }
    for number in 0..ROWS {
        let id = SessionId { worker: (number % u64::from(WORKERS)) as u16, number: number + 46_655 };
        let peer = Peer::Named("bench".into());
        let session = SessionStats::new(id, Role::Server, Protocol::H2, "public".into(), peer, begun);
        session.bytes_in.add(number * 1_237);
        session.bytes_out.add(number * 912_367);
        session.send_window.set(65_535);
        let stream = StreamStats::new(id, 2 * number as u32 + 1, Method::Get, begun);
        stream.bytes_out.add(number * 812_367);
        session.list_stream(Arc::new(stream));
        metrics.live().insert(Arc::new(session));
    }
    metrics
}

fn who(number: u64, trace: u128) -> Exemplar {
    Exemplar { session: SessionId { worker: 0, number }, stream: 5, trace: trace << 64 | 0xfeed }
}

fn render(criterion: &mut Criterion) {
    let begun = Instant::now();
    let metrics = reference(begun);
    let now = begun + Duration::from_secs(60);
    let mut group = criterion.benchmark_group("render");
    for format in Format::ALL {
        let text = metrics.render_at(format, now);
        let series = text.split(|octet| *octet == b'\n').filter(|line| !line.starts_with(b"#")).count() - 1;
        println!("{format:?}: {} octets, {series} series", text.len());
        group.bench_function(format!("{format:?}"), |bencher| {
            bencher.iter(|| black_box(metrics.render_at(format, now)));
        });
        for level in [1, 6] {
            let packed = pack(&text, level).len();
            println!("{format:?} in gzip at level {level}: {packed} octets");
            group.bench_function(format!("{format:?} gzip {level}"), |bencher| {
                bencher.iter(|| black_box(pack(&text, level)));
            });
        }
    }
    group.finish();
}

fn pack(text: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::new(level));
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.unwrap_or_else(|error| panic!("memory takes everything: {error}"))
}

fn count(criterion: &mut Criterion) {
    let metrics = Metrics::new("stagedoor");
    let cells = metrics.shard(0).route(metrics.add_listener("public", "-"), RouteId::UNMATCHED);
    let at = Instant::now();
    let mut group = criterion.benchmark_group("count");
    group.bench_function("without an example", |bencher| {
        bencher.iter(|| cells.request_duration.observe_nanos(black_box(3_000_000)));
    });
    group.bench_function("with an example that is fresh", |bencher| {
        bencher.iter(|| {
            cells.request_took(
                black_box(3_000_000),
                black_box(stagedoor_metrics::Moment::new(at, at)),
                || who(1, 2),
            )
        });
    });
    let mut later = at;
    group.bench_function("with an example that is due", |bencher| {
        bencher.iter(|| {
            later += Duration::from_secs(1);
            cells.request_took(
                black_box(3_000_000),
                black_box(stagedoor_metrics::Moment::new(later, at)),
                || who(1, 2),
            );
        });
    });
    group.finish();
}

criterion_group!(benches, render, count);
criterion_main!(benches);
