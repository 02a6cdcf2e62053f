//! Looking costs those who are looked at nothing, and works while they are stuck: a server of the library with an admin
//! listener, in this process.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use stagedoor::{Reply, Request, Response};
use stagedoor_metrics::{Format, LabelMode, TableLimits, TableOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::exposition::Scrape;
use crate::support::observed::Server;
use crate::support::run;

fn hello(_: Request) -> Reply {
    Response::text("hello").into()
}

/// Rows for everyone at once.
fn everyone() -> TableOptions {
    let limits = TableLimits { cap: 256, min_age: Duration::ZERO, new_per_minute: 10_000 };
    let linger = Duration::from_secs(30);
    TableOptions { label_mode: LabelMode::Id, sessions: limits.clone(), streams: limits, linger }
}

#[test]
fn a_handler_that_is_stuck_stops_neither_a_scrape_nor_a_list() {
    let (free, stuck) = mpsc::channel::<()>();
    let stuck = Arc::new(std::sync::Mutex::new(stuck));
    let (began, begun) = mpsc::channel();
    let server = Server::start(move |_| {
        began.send(()).ok();
        // It holds its arbiter, and with it every session there.
        stuck.lock().unwrap().recv_timeout(Duration::from_secs(60)).ok();
        Response::text("free").into()
    });
    run(async {
        let mut io = TcpStream::connect(server.public).await.unwrap();
        io.write_all(b"GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        tokio::task::spawn_blocking(move || begun.recv_timeout(Duration::from_secs(20)).unwrap())
            .await
            .unwrap();
        let (status, text) = server.ask("GET", "/metrics").await;
        assert_eq!(status, 200);
        let scrape = Scrape::read(&text);
        let open =
            scrape.value("stagedoor_sessions_active", &[("listener", "public"), ("protocol", "http/1.1")]);
        assert_eq!(open, 1.0);
        // What its live numbers know, they tell.
        let (status, list) = server.ask("GET", "/api/sessions?filter=listener%3Dpublic").await;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        assert_eq!((status, list.as_array().map(Vec::len)), (200, Some(1)), "{list}");
        assert_eq!(list[0]["protocol"], "http/1.1");
        let frames = format!("/api/sessions/{}/frames", list[0]["id"].as_str().unwrap());
        let (status, problem) = server.ask("GET", &frames).await;
        assert!(status == 409 && problem.contains("busy"), "{status} {problem}");
        assert_eq!(server.ask("GET", "/readyz").await.0, 200);
        free.send(()).unwrap();
        let mut answer = [0; 12];
        io.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    });
}

#[test]
fn nothing_is_left_of_ended_sessions_and_admin_is_in_no_table_and_no_drains_way() {
    let server = Server::start(hello);
    server.metrics.set_tables(everyone());
    run(async {
        let _admin = TcpStream::connect(server.admin).await.unwrap();
        let sessions = [server.session().await, server.session().await, server.session().await];
        let (_, list) = server.ask("GET", "/api/sessions").await;
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let ids = |listener: &str| -> Vec<String> {
            let all = list.as_array().unwrap().iter();
            let of = all.filter(|session| session["listener"] == listener);
            of.map(|session| session["id"].as_str().unwrap().to_owned()).collect()
        };
        let (public, admin) = (ids("public"), ids("admin"));
        assert!(public.len() == 3 && !admin.is_empty(), "{list}");
        let text = String::from_utf8(server.metrics.render(Format::Text)).unwrap();
        for id in &public {
            assert!(
                text.contains(&format!("stagedoor_session_start_timestamp_seconds{{session=\"{id}\"}}")),
                "{id}"
            );
        }
        for id in &admin {
            assert!(!text.contains(&format!("session=\"{id}\"")), "{id}");
        }
        drop(sessions);
        while server.metrics.live().snapshot().iter().any(|stats| &**stats.listener() == "public") {
            tokio::task::yield_now().await;
        }
        // Their final values stay for the time of the linger, then they are gone.
        let text = server.metrics.render_at(Format::Text, Instant::now());
        assert!(String::from_utf8(text).unwrap().contains(&format!("session=\"{}\"", public[0])));
        let text = server.metrics.render_at(Format::Text, Instant::now() + Duration::from_secs(61));
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("session=\""), "the tables are empty");
        let scrape = Scrape::read(&text);
        for (series, value) in &scrape.series {
            let family = series.split('{').next().unwrap();
            let gauge = scrape.families.get(family).is_some_and(|kind| kind == "gauge");
            let public = series.contains("listener=\"public\"")
                && !family.ends_with("_accepting")
                && !family.ends_with("_info");
            assert!(!(gauge && public) || *value == 0.0, "{series} {value}");
        }
        for scope in ["session", "stream"] {
            assert_eq!(scrape.value("stagedoor_metrics_tracked", &[("scope", scope)]), 0.0);
        }
        // An admin connection is open all the while.
        let began = Instant::now();
        server.handle.drain(Duration::from_secs(30)).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(server.ask("GET", "/metrics").await.0, 200, "to the very end");
    });
}

#[test]
fn a_scrape_takes_an_arbiter_less_than_a_millisecond_a_turn() {
    let server = Server::start(|_| {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Response::text(format!("{} {}", time.tv_sec, time.tv_nsec)).into()
    });
    server.metrics.set_tables(everyone());
    run(async {
        let mut sessions = Vec::new();
        for _ in 0..300 {
            sessions.push(server.session().await);
        }
        /// Processor time of the worker's thread, as its handler sees it.
        async fn worker(server: &Server) -> Duration {
            let mut io = TcpStream::connect(server.public).await.unwrap();
            io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            io.read_to_string(&mut answer).await.unwrap();
            let (seconds, nanos) = answer.rsplit_once("\r\n\r\n").unwrap().1.split_once(' ').unwrap();
            Duration::new(seconds.parse().unwrap(), nanos.parse().unwrap())
        }
        /// Turns of sessions so far, and the time they took.
        fn turns(server: &Server) -> (u64, Duration) {
            let totals = server.metrics.message_totals();
            let turns = totals.iter().find(|total| total.kind.label() == "session.turn").unwrap();
            (turns.handled, turns.busy)
        }
        const SCRAPES: u32 = 20;
        let (cpu, before) = (worker(&server).await, turns(&server));
        for _ in 0..SCRAPES {
            let (status, text) = server.ask("GET", "/metrics").await;
            assert!(status == 200 && text.contains("stagedoor_session_idle_seconds{"));
        }
        let (spent, after) = (worker(&server).await - cpu, turns(&server));
        // The workers do nothing for it: what is left is the two questions themselves and the ticks meanwhile.
        assert!(spent < Duration::from_millis(1) * SCRAPES, "{spent:?}");
        let turn = (after.1 - before.1) / u32::try_from(after.0 - before.0).unwrap();
        assert!(turn < Duration::from_millis(1), "a turn of the arbiter that answers takes {turn:?}");
    });
}
