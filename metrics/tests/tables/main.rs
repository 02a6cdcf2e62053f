//! The live tables and what bounds them, a test for each guard, on a clock of the test's own.

mod scene;
#[path = "../text/mod.rs"]
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scene::Scene;
use stagedoor_metrics::catalogue::{Deployment, most_series};
use stagedoor_metrics::{Format, LabelMode, TableOptions, WaitOn};

/// No budget, so that what is tested is something else.
fn unhurried(options: &mut TableOptions) {
    options.sessions.new_per_minute = usize::MAX;
    options.streams.new_per_minute = usize::MAX;
}

#[test]
fn a_session_has_a_row_from_its_tenth_second_on() {
    let scene = Scene::new(|_| {});
    let stats = scene.open(46, 0);
    stats.bytes_in.add(7);
    stats.bytes_out.add(9);
    stats.streams_open.set(2);
    stats.streams_total.add(3);
    stats.write_queue_bytes.set(11);
    stats.send_window.set(-13);
    stats.touch(scene.moment(8));
    assert!(scene.scrape(9).sessions().is_empty());
    let scrape = scene.scrape(10);
    assert_eq!(scrape.sessions(), BTreeSet::from(["0-1a"]));
    assert_eq!(scrape.value("stagedoor_metrics_tracked", &[("scope", "session")]), Some(1.0));
    let session = ("session", "0-1a");
    for (name, labels, wanted) in [
        ("stagedoor_session_streams_active", &[session][..], 2.0),
        ("stagedoor_session_streams_total", &[session], 3.0),
        ("stagedoor_session_bytes_total", &[session, ("direction", "rx")], 7.0),
        ("stagedoor_session_bytes_total", &[session, ("direction", "tx")], 9.0),
        ("stagedoor_session_write_queue_bytes", &[session], 11.0),
        ("stagedoor_session_send_window_bytes", &[session], -13.0),
        ("stagedoor_session_idle_seconds", &[session], 2.0),
    ] {
        assert_eq!(scrape.value(name, labels), Some(wanted), "{name}");
    }
}

#[test]
fn a_stream_has_a_row_from_its_fifth_second_on_and_says_how_long_it_lacks_window() {
    let scene = Scene::new(|_| {});
    let session = scene.open(46, 0);
    let stream = scene.stream(&session, 5, 0);
    stream.bytes_in.add(1);
    stream.bytes_out.add(2);
    stream.write_queue_bytes.set(3);
    stream.send_window.set(-4);
    assert!(scene.scrape(4).streams().is_empty());
    stream.set_on(WaitOn::PeerStreamWindow, scene.moment(3));
    let scrape = scene.scrape(5);
    // The session is younger than its own least age: tables do not wait for each other.
    assert!(scrape.sessions().is_empty());
    assert_eq!(scrape.streams(), BTreeSet::from([("0-1a", "5")]));
    let labels = [("session", "0-1a"), ("stream", "5")];
    assert_eq!(scrape.value("stagedoor_stream_age_seconds", &labels), Some(5.0));
    assert_eq!(scrape.value("stagedoor_stream_write_queue_bytes", &labels), Some(3.0));
    assert_eq!(scrape.value("stagedoor_stream_send_window_bytes", &labels), Some(-4.0));
    let moved = |direction| {
        let labels = [labels[0], labels[1], ("direction", direction)];
        scrape.value("stagedoor_stream_bytes_total", &labels)
    };
    assert_eq!((moved("rx"), moved("tx")), (Some(1.0), Some(2.0)));
    let stalled = |seconds| scene.scrape(seconds).value("stagedoor_stream_stalled_seconds", &labels);
    assert_eq!(stalled(5), Some(2.0));
    stream.set_on(WaitOn::PeerConnectionWindow, scene.moment(6));
    assert_eq!(stalled(9), Some(3.0));
    stream.set_on(WaitOn::Socket, scene.moment(9));
    assert_eq!(stalled(12), Some(0.0));
}

#[test]
fn a_full_table_has_no_place_until_a_row_has_lingered() {
    let scene = Scene::new(|options| {
        unhurried(options);
        options.sessions.cap = 2;
    });
    for number in 0..4 {
        scene.open(number, number);
    }
    // The oldest first.
    assert_eq!(scene.scrape(20).sessions(), BTreeSet::from(["0-0", "0-1"]));
    scene.close(0);
    let closed = scene.scrape(30);
    assert_eq!(closed.sessions(), BTreeSet::from(["0-0", "0-1"]));
    assert!(closed.untracked("session").is_empty(), "who lives may have a row yet");
    assert_eq!(scene.scrape(60).sessions(), BTreeSet::from(["0-1", "0-2"]));
    // Session 3 ends without ever having had a row.
    scene.close(3);
    assert_eq!(scene.scrape(61).untracked("session"), BTreeMap::from([("cap", 1)]));
    assert_eq!(scene.scrape(62).untracked("session"), BTreeMap::from([("cap", 1)]), "counted once");
}

#[test]
fn a_row_once_shown_stays_until_its_session_closes() {
    let scene = Scene::new(|options| {
        unhurried(options);
        options.sessions.cap = 8;
    });
    for number in 0..8 {
        scene.open(number, 100);
    }
    let first: BTreeSet<_> = scene.scrape(110).sessions().into_iter().map(str::to_owned).collect();
    assert_eq!(first.len(), 8);
    // Older sessions turn up, and even the cap is lowered: what is shown is shown.
    for number in 100..200 {
        scene.open(number, 0);
    }
    let mut options = TableOptions::default();
    options.sessions.cap = 4;
    for scrape in 0..20 {
        if scrape == 10 {
            scene.metrics.set_tables(options.clone());
        }
        let scrape = scene.scrape(111 + scrape * 15);
        assert!(scrape.sessions().into_iter().eq(first.iter().map(String::as_str)));
    }
}

#[test]
fn new_rows_are_at_most_thirty_in_any_sixty_seconds() {
    let scene = Scene::new(|_| {});
    for number in 0..100 {
        scene.open(number, 0);
    }
    let rows = |seconds| scene.scrape(seconds).sessions().len();
    assert_eq!(rows(10), 30);
    assert_eq!(rows(40), 30);
    assert_eq!(rows(69), 30);
    assert_eq!(rows(70), 60);
    assert_eq!(rows(129), 60);
    assert_eq!(rows(130), 90);
    for number in 90..100 {
        scene.close(number);
    }
    assert_eq!(scene.scrape(131).untracked("session"), BTreeMap::from([("churn", 10)]));
}

#[test]
fn a_closed_row_keeps_its_final_values_for_thirty_seconds() {
    let scene = Scene::new(|_| {});
    let session = scene.open(0, 0);
    let stream = scene.stream(&session, 1, 0);
    stream.set_on(WaitOn::PeerStreamWindow, scene.moment(0));
    assert_eq!(scene.scrape(10).streams().len(), 1);
    session.bytes_out.add(5);
    scene.end_stream(&session, 1);
    scene.close(0);
    for seconds in [20, 35, 49] {
        let scrape = scene.scrape(seconds);
        let session = [("session", "0-0")];
        let sent = [session[0], ("direction", "tx")];
        assert_eq!(scrape.value("stagedoor_session_bytes_total", &sent), Some(5.0), "{seconds}");
        // As of the scrape that found it closed; what has ended waits for nothing.
        assert_eq!(scrape.value("stagedoor_session_idle_seconds", &session), Some(20.0), "{seconds}");
        assert_eq!(scrape.value("stagedoor_stream_age_seconds", &session), Some(20.0), "{seconds}");
        assert_eq!(scrape.value("stagedoor_stream_stalled_seconds", &session), Some(0.0), "{seconds}");
    }
    let gone = scene.scrape(50);
    assert!(gone.sessions().is_empty() && gone.streams().is_empty());
    assert!(gone.untracked("session").is_empty() && gone.untracked("stream").is_empty());
}

#[test]
fn a_slot_is_used_again_once_its_row_has_lingered() {
    let scene = Scene::new(|options| options.label_mode = LabelMode::Slot);
    for number in 0..3 {
        let session = scene.open(number, number);
        scene.stream(&session, 7, number);
    }
    let scrape = scene.scrape(20);
    assert_eq!(scrape.sessions(), BTreeSet::from(["0", "1", "2"]));
    assert_eq!(scrape.streams(), BTreeSet::from([("-", "0"), ("-", "1"), ("-", "2")]));
    scene.close(1);
    scene.open(3, 20);
    // Slot 1 still shows how session 1 ended.
    assert_eq!(scene.scrape(30).sessions(), BTreeSet::from(["0", "1", "2", "3"]));
    assert_eq!(scene.scrape(60).sessions(), BTreeSet::from(["0", "2", "3"]));
    scene.open(4, 60);
    assert_eq!(scene.scrape(70).sessions(), BTreeSet::from(["0", "1", "2", "3"]));
}

#[test]
fn tables_turned_off_show_nothing_and_count_nobody() {
    let scene = Scene::new(|_| {});
    for number in 0..5 {
        scene.open(number, 0);
    }
    assert_eq!(scene.scrape(10).sessions().len(), 5);
    let off = TableOptions { label_mode: LabelMode::Off, ..TableOptions::default() };
    scene.metrics.set_tables(off);
    scene.open(5, 10);
    scene.open(6, 10);
    let scrape = scene.scrape(11);
    assert!(scrape.sessions().is_empty() && scrape.untracked("session").is_empty());
    assert_eq!(scrape.value("stagedoor_metrics_tracked", &[("scope", "session")]), Some(0.0));
    for number in 0..3 {
        scene.close(number);
    }
    scene.scrape(12);
    scene.metrics.set_tables(TableOptions::default());
    let scrape = scene.scrape(30);
    assert_eq!(scrape.sessions(), BTreeSet::from(["0-3", "0-4", "0-5", "0-6"]));
    assert!(scrape.untracked("session").is_empty());
}

#[test]
fn who_came_and_went_between_two_scrapes_was_too_short() {
    let scene = Scene::new(|_| {});
    let long = scene.open(0, 0);
    scene.stream(&long, 1, 0);
    scene.scrape(10);
    for number in 1..=20 {
        let short = scene.open(number, 11);
        scene.stream(&short, 1, 11);
        scene.end_stream(&short, 1);
        scene.close(number);
    }
    // Found by a scrape, and gone before it was old enough.
    scene.open(21, 12);
    let scrape = scene.scrape(15);
    assert_eq!(scrape.untracked("session"), BTreeMap::from([("too_short", 20)]));
    assert_eq!(scrape.untracked("stream"), BTreeMap::from([("too_short", 20)]));
    scene.close(21);
    scene.end_stream(&long, 1);
    scene.close(0);
    for seconds in [16, 60] {
        let scrape = scene.scrape(seconds);
        assert_eq!(scrape.untracked("session"), BTreeMap::from([("too_short", 21)]));
        assert_eq!(scrape.untracked("stream"), BTreeMap::from([("too_short", 20)]));
    }
}

#[test]
fn sessions_of_a_hidden_listener_are_no_rows_and_not_left_out_either() {
    let scene = Scene::new(|_| {});
    let session = scene.open_on("admin", 0, 0);
    session.list_stream(scene.stream(&scene.open(1, 0), 1, 0));
    let scrape = scene.scrape(10);
    assert_eq!(scrape.sessions(), BTreeSet::from(["0-1"]));
    assert_eq!(scrape.streams(), BTreeSet::from([("0-1", "1")]));
    scene.metrics.live().remove(session.id());
    assert!(scene.scrape(11).untracked("session").is_empty());
    scene.metrics.hide_listener("public");
    scene.scrape(12);
    assert!(scene.scrape(42).sessions().is_empty());
}

#[test]
fn ten_thousand_sessions_that_churn_stay_within_the_bound() {
    let scene = Scene::new(|_| {});
    let bound = most_series(&Deployment {
        listeners: 2,
        routes: 0,
        workers: 1,
        certificates: 0,
        upstreams: 0,
        endpoints: 0,
        session_rows: 256,
        stream_rows: 256,
    });
    let (mut oldest, mut next) = (0, 0);
    let (mut sessions, mut streams) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..40 {
        let now = round * 15;
        // A twentieth is replaced from scrape to scrape, the oldest first.
        while next - oldest > 9_500 {
            scene.close(oldest);
            oldest += 1;
        }
        while next - oldest < 10_000 {
            let session = scene.open(next, now);
            scene.stream(&session, 1, now);
            next += 1;
        }
        let scrape = scene.scrape(now + 14);
        assert!(scrape.series() as u64 <= bound, "{} of {bound}", scrape.series());
        assert!(scrape.sessions().len() <= 256 && scrape.streams().len() <= 256);
        sessions.extend(scrape.sessions().into_iter().map(str::to_owned));
        streams.extend(scrape.streams().into_iter().map(|(session, _)| session.to_owned()));
    }
    // Ten minutes, and the budget that is there at the start.
    assert!(sessions.len() <= 11 * 30 && streams.len() <= 11 * 30, "{} {}", sessions.len(), streams.len());
    assert!(sessions.len() >= 256, "{} is not much of a test", sessions.len());
    let openmetrics = scene.metrics.render_at(Format::OpenMetrics, scene.moment(600));
    text::openmetrics::parse(&String::from_utf8(openmetrics).expect("UTF-8"));
}

#[test]
fn the_defaults_are_those_the_documentation_names() {
    let TableOptions { label_mode, sessions, streams, linger } = TableOptions::default();
    assert_eq!((label_mode, linger), (LabelMode::Id, Duration::from_secs(30)));
    assert_eq!((sessions.cap, sessions.new_per_minute, sessions.min_age.as_secs()), (256, 30, 10));
    assert_eq!((streams.cap, streams.new_per_minute, streams.min_age.as_secs()), (256, 30, 5));
}
