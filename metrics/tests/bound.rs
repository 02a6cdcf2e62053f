//! The bound on the number of series is exact: with every cell touched and every row taken a scrape has
//! just so many.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use stagedoor_metrics::catalogue::{self, Deployment, most_series};
use stagedoor_metrics::{
    AbuseKind, ActorKind, CloseReason, ConnectionResult, Direction, EndpointCells, Exemplar, Format,
    FrameType, H2Code, ListenerCells, Method, Metrics, Origin, Outcome, Peer, Protocol, Role, RouteId, Scope,
    SessionId, SessionStats, StreamStats, TableOptions, TlsResult, TlsVersion,
};

const DEPLOYMENT: Deployment = Deployment {
    listeners: 2,
    routes: 3,
    workers: 2,
    certificates: 2,
    upstreams: 2,
    endpoints: 3,
    session_rows: 4,
    stream_rows: 5,
};

/// Cells that are hidden at zero; the others are there anyway.
fn touch(cells: &ListenerCells) {
    cells.connections[ConnectionResult::Accepted].inc();
    for result in TlsResult::ALL {
        TlsVersion::ALL.iter().for_each(|version| cells.tls_handshakes[*result][*version].inc());
    }
    cells.tls_handshake_duration.observe_nanos(1);
    for protocol in Protocol::ALL {
        CloseReason::ALL.iter().for_each(|reason| cells.session_closed(*protocol, *reason, 1, 1));
    }
    for direction in Direction::ALL {
        FrameType::ALL.iter().for_each(|kind| cells.h2_frames[*direction][*kind].inc());
    }
    for scope in Scope::ALL {
        for origin in Origin::ALL {
            H2Code::ALL.iter().for_each(|code| cells.h2_errors[*scope][*origin][*code].inc());
        }
    }
    cells.h2_ping_rtt.observe_nanos(1);
    cells.abuse[AbuseKind::Memory].inc();
    cells.streams_closed[Outcome::Complete].inc();
}

/// A gateway of the size above in which everything has happened.
fn exhausted(begun: Instant) -> (Metrics, Vec<Arc<EndpointCells>>) {
    let metrics = Metrics::new("stagedoor");
    metrics.set_build("0.1.0", "abc1234");
    let mut options = TableOptions::default();
    options.sessions.cap = DEPLOYMENT.session_rows as usize;
    options.streams.cap = DEPLOYMENT.stream_rows as usize;
    metrics.set_tables(options);
    let upstreams: Vec<_> =
        (0..DEPLOYMENT.upstreams).map(|place| metrics.add_upstream(&format!("upstream-{place}"))).collect();
    let addresses = (0..DEPLOYMENT.endpoints).map(|place| format!("10.0.0.{place}:80"));
    let endpoints = addresses.map(|address| metrics.endpoint(upstreams[0], &address)).collect();
    for certificate in 0..DEPLOYMENT.certificates {
        metrics.set_certificate(&format!("cert-{certificate}"), SystemTime::UNIX_EPOCH);
    }
    let configured = (0..DEPLOYMENT.routes).map(|route| metrics.add_route(&format!("route-{route}")));
    let routes: Vec<_> = configured.chain([RouteId::UNMATCHED, RouteId::ADMIN]).collect();
    for worker in 0..DEPLOYMENT.workers {
        let shard = metrics.shard(worker as u16);
        shard.loop_lag.observe_nanos(1);
        ActorKind::ALL.iter().for_each(|kind| shard.actors()[*kind].mailbox_wait.observe_nanos(1));
        for upstream in &upstreams {
            let cells = shard.upstream(*upstream);
            (0..=600).for_each(|status| cells.request(status));
            CloseReason::ALL.iter().for_each(|reason| cells.connection_closed(Protocol::H2, *reason));
            cells.connect_duration.observe_nanos(1);
            cells.request_duration.observe_nanos(1);
        }
        for listener in 0..DEPLOYMENT.listeners {
            let listener = metrics.add_listener(&format!("listener-{listener}"), "-");
            touch(&shard.listener(listener));
            for route in &routes {
                let cells = shard.route(listener, *route);
                for method in Method::ALL {
                    (0..=600).for_each(|status| cells.request(*method, status));
                }
                let session = SessionId { worker: worker as u16, number: 0 };
                let who = || Exemplar { session, stream: 1, trace: 1 };
                cells.request_took(1, stagedoor_metrics::Moment::new(begun, begun), who);
                cells.response_began(1, stagedoor_metrics::Moment::new(begun, begun), who);
                cells.request_body_bytes.observe_value(1);
                cells.response_body_bytes.observe_value(1);
            }
        }
    }
    for number in 0..10 {
        let (id, peer) = (SessionId { worker: 0, number }, Peer::Named("test".into()));
        let session = SessionStats::new(id, Role::Server, Protocol::H2, "listener-0".into(), peer, begun);
        session.list_stream(Arc::new(StreamStats::new(id, 1, Method::Get, begun)));
        metrics.live().insert(Arc::new(session));
    }
    (metrics, endpoints)
}

#[test]
#[cfg(target_os = "linux")]
fn a_gateway_that_has_seen_everything_has_just_as_many_series_as_the_bound_says() {
    let begun = Instant::now();
    // Endpoints are shown while they are held.
    let (metrics, _endpoints) = exhausted(begun);
    let text = metrics.render_at(Format::Text, begun + Duration::from_secs(60));
    let text = String::from_utf8(text).expect("UTF-8");
    let mut wrong = Vec::new();
    for family in catalogue::families() {
        let of_family = |line: &&str| {
            let name = line.split(['{', ' ']).next().unwrap_or("");
            let suffixes: &[&str] =
                if family.buckets.is_some() { &["_bucket", "_sum", "_count"] } else { &[""] };
            suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(family.name))
        };
        let shown = text.lines().filter(of_family).count() as u64;
        let mut most = family.most_series(&DEPLOYMENT);
        if family.name.starts_with("stagedoor_actor_mailbox_messages") {
            // Streams have no mailbox.
            most -= 1;
        }
        if shown != most {
            wrong.push(format!("{}: {shown}, not {most}", family.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let series = text.lines().filter(|line| !line.starts_with('#')).count() as u64;
    assert_eq!(series + 2, most_series(&DEPLOYMENT));
}

#[test]
fn tables_that_are_off_count_nothing() {
    let off = Deployment { session_rows: 0, stream_rows: 0, ..Deployment::REFERENCE };
    // 7 families of sessions, one of them by direction, and 5 of streams, one of them by direction.
    assert_eq!(most_series(&Deployment::REFERENCE) - most_series(&off), 256 * 8 + 256 * 6);
}
