//! The admin listener: metrics, health, sessions, and who may ask.

use crate::support::client::{Client, Speaks, nothing};
use crate::support::exposition::Scrape;
use crate::support::raw::{RST_STREAM, Raw};
use crate::support::{Gateway, run};

/// The families this version promises.
const FAMILIES: &[(&str, &str)] = &[
    ("stagedoor_listener_info", "gauge"),
    ("stagedoor_listener_accepting", "gauge"),
    ("stagedoor_listener_connections_total", "counter"),
    ("stagedoor_tls_handshakes_total", "counter"),
    ("stagedoor_sessions_active", "gauge"),
    ("stagedoor_sessions_opened_total", "counter"),
    ("stagedoor_sessions_closed_total", "counter"),
    ("stagedoor_session_lifetime_seconds", "histogram"),
    ("stagedoor_streams_active", "gauge"),
    ("stagedoor_streams_opened_total", "counter"),
    ("stagedoor_streams_closed_total", "counter"),
    ("stagedoor_request_duration_seconds", "histogram"),
    ("stagedoor_response_start_seconds", "histogram"),
    ("stagedoor_requests_total", "counter"),
    ("stagedoor_network_bytes_total", "counter"),
    ("stagedoor_h2_frames_total", "counter"),
    ("stagedoor_h2_errors_total", "counter"),
    ("stagedoor_actors", "gauge"),
    ("stagedoor_actor_panics_total", "counter"),
    ("stagedoor_build_info", "gauge"),
    ("stagedoor_ready", "gauge"),
    ("stagedoor_draining", "gauge"),
    ("process_cpu_seconds_total", "counter"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_open_fds", "gauge"),
];

#[test]
fn metrics_are_prometheus_text_with_every_family() {
    let gateway = Gateway::start();
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2).await;
        for _ in 0..3 {
            client.get("/bytes/1000").await;
        }
        client.get("/nowhere").await;
        let mut admin = Client::admin(&gateway).await;
        // A family shows once it has a value: wait until a session and a stream have been ended for cause.
        let mut raw = Raw::connect(gateway.plain, 65_535);
        raw.request(1, "GET", "/panic?after=0", true);
        raw.next_of(RST_STREAM);
        drop(raw);
        while !admin.get("/metrics").await.text().contains("stagedoor_sessions_closed_total{") {}
        let answer = admin.get("/metrics").await;
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let scrape = Scrape::read(answer.text());
        for (family, kind) in FAMILIES {
            assert_eq!(scrape.families.get(*family).map(String::as_str), Some(*kind), "{family}");
        }
        assert_eq!(scrape.value("stagedoor_ready", &[]), 1.0);
        assert_eq!(scrape.value("stagedoor_listener_accepting", &[("listener", "public")]), 1.0);
        let public = ("listener", "public");
        assert_eq!(scrape.value("stagedoor_sessions_active", &[public, ("protocol", "h2")]), 1.0);
        assert_eq!(
            scrape.value("stagedoor_tls_handshakes_total", &[public, ("result", "ok"), ("version", "1.3")]),
            1.0
        );
        let requests = |labels: &[(&str, &str)]| scrape.sum("stagedoor_requests_total", labels);
        assert_eq!(requests(&[public, ("route", "demo"), ("method", "GET"), ("code", "200")]), 3.0);
        assert_eq!(requests(&[public, ("route", "_unmatched"), ("code", "404")]), 1.0);
        assert_eq!(
            scrape.value("stagedoor_request_duration_seconds_count", &[public, ("route", "demo")]),
            3.0
        );
    });
}

#[test]
fn health_is_good_while_it_serves() {
    let gateway = Gateway::start();
    run(async {
        for http2 in [false, true] {
            let mut admin = Client::admin_speaking(&gateway, http2).await;
            for (path, word) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
                let answer = admin.get(path).await;
                assert_eq!((answer.status, answer.text()), (200, word));
                assert_eq!(answer.header("cache-control"), "no-store");
                let head = admin.bare("HEAD", path).await;
                assert_eq!((head.status, head.body.len()), (200, 0));
            }
            let page = admin.get("/").await;
            assert!(page.status == 200 && page.text().contains("/api/sessions"));
        }
    });
}

#[test]
fn sessions_are_listed_while_they_live() {
    let gateway = Gateway::start();
    run(async {
        let mut admin = Client::admin(&gateway).await;
        for speaks in Speaks::ALL {
            let mut client = Client::connect(&gateway, speaks).await;
            let request = client.request("GET", "/drip?bytes=1M&rate=1k").body(nothing()).unwrap();
            let _response = client.send(request).await.unwrap();
            let sessions = admin.get("/api/sessions").await.json();
            let listener = if matches!(speaks, Speaks::H2 | Speaks::Http1Tls) { "public" } else { "plain" };
            let session = sessions.as_array().unwrap().iter().find(|session| {
                session["listener"] == listener
                    && session["protocol"] == speaks.name()
                    && session["streams_open"] == 1
            });
            let session = session.unwrap_or_else(|| panic!("no session of {speaks:?} in {sessions}"));
            for (field, kind) in [
                ("id", "string"),
                ("role", "string"),
                ("peer", "string"),
                ("state", "string"),
                ("age_seconds", "number"),
                ("idle_seconds", "number"),
                ("streams_total", "number"),
                ("write_queue_bytes", "number"),
                ("send_window", "number"),
                ("memory_bytes", "number"),
            ] {
                let right =
                    if kind == "string" { session[field].is_string() } else { session[field].is_number() };
                assert!(right, "{field} of {session}");
            }
            let stream = &session["streams"][0];
            assert_eq!((&stream["route"], &stream["method"]), (&"demo".into(), &"GET".into()), "{session}");
        }
    });
}

#[test]
fn other_hosts_are_refused_on_reads_too() {
    let gateway = Gateway::start();
    run(async {
        for http2 in [false, true] {
            for (host, status) in [
                ("evil.example", 403),
                ("127.0.0.1.evil.example", 403),
                ("127.0.0.2:1", 403),
                ("localhost", 200),
                ("localhost:1234", 200),
                ("127.0.0.1", 200),
            ] {
                let mut admin = Client::admin_speaking(&gateway, http2).await.naming(host);
                for path in ["/", "/metrics", "/livez", "/readyz", "/api/sessions"] {
                    let answer = admin.get(path).await;
                    assert_eq!(answer.status, status, "{path} of {host}");
                    if status == 403 {
                        assert_eq!(answer.header("content-type"), "application/problem+json");
                        assert_eq!(answer.json()["status"], 403);
                    }
                }
            }
        }
    });
}

#[test]
fn errors_are_problem_documents() {
    let gateway = Gateway::start();
    run(async {
        let mut admin = Client::admin(&gateway).await;
        for (method, path, status) in [
            ("GET", "/nowhere", 404),
            ("GET", "/api/sessions/9-1", 404),
            ("DELETE", "/api/sessions/9-1", 404),
            ("DELETE", "/api/sessions/9-1/streams/1", 404),
            ("DELETE", "/api/sessions/9-1/streams/x", 400),
            ("GET", "/api/sessions/9-1/frames", 404),
            ("POST", "/metrics", 405),
            ("DELETE", "/api/sessions", 400),
            ("DELETE", "/api/sessions?filter=age%3E1h&code=NO_SUCH", 400),
            ("GET", "/api/sessions?filter=age_seconds%3Esoon", 400),
            ("GET", "/api/sessions?order=age", 400),
            ("GET", "/api/sessions?sort=colour", 400),
            ("GET", "/api/events?limit=-1", 400),
            ("POST", "/api/drain?timeout=soon", 400),
            ("POST", "/api/drain?listener=nobody", 404),
            ("POST", "/api/reload", 409),
        ] {
            let answer = admin.bare(method, path).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
            let problem = answer.json();
            assert_eq!(problem["status"], status);
            assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        }
    });
}

/// What a page of another site can make a browser send, and what it says then.
#[test]
fn a_page_of_another_site_changes_nothing() {
    let gateway = Gateway::start();
    run(async {
        let mut admin = Client::admin(&gateway).await;
        let ours = format!("http://{}", gateway.admin);
        for (field, value) in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            for (method, path) in [
                ("DELETE", "/api/sessions/0-1"),
                ("DELETE", "/api/sessions?filter=age%3E0s"),
                ("DELETE", "/api/sessions/0-1/streams/1"),
                ("POST", "/api/drain"),
                ("POST", "/api/resume"),
                ("POST", "/api/reload"),
                ("PUT", "/api/log"),
            ] {
                let request = admin.request(method, path).header(field, value).body(nothing()).unwrap();
                let answer = admin.whole(request).await.unwrap();
                assert_eq!(answer.status, 403, "{method} {path} with {field}: {value}");
                assert_eq!(answer.header("content-type"), "application/problem+json");
            }
        }
        assert_eq!(admin.get("/readyz").await.status, 200, "it does not drain");
        // Our own page may, and it says where it comes from.
        let request = admin.request("DELETE", "/api/sessions/9-9").header("origin", &ours);
        let answer = admin.whole(request.body(nothing()).unwrap()).await.unwrap();
        assert_eq!(answer.status, 404);
    });
}

#[test]
fn queries_are_shown_nowhere() {
    let gateway = Gateway::start();
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2c).await;
        let request = client.request("GET", "/events?token=hush").body(nothing()).unwrap();
        let _events = client.send(request).await.unwrap();
        let mut admin = Client::admin(&gateway).await;
        let list = admin.get("/api/sessions?filter=listener%3Dplain").await;
        assert_eq!(list.json()[0]["streams"][0]["path"], "/events", "{}", list.text());
        let id = list.json()[0]["id"].as_str().unwrap().to_owned();
        let one = admin.get(&format!("/api/sessions/{id}")).await;
        assert!(one.json()["recorder"].as_array().is_some_and(|entries| entries.len() > 3), "{}", one.text());
        for answer in [&list, &one, &admin.get("/api/closed").await, &admin.get("/metrics").await] {
            assert!(!answer.text().contains("hush"), "{}", answer.text());
        }
    });
}

#[test]
fn show_query_shows_them() {
    let gateway = Gateway::start_with(&["--show-query"]);
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2c).await;
        let request = client.request("GET", "/events?token=mine").body(nothing()).unwrap();
        let _events = client.send(request).await.unwrap();
        let mut admin = Client::admin(&gateway).await;
        let list = admin.get("/api/sessions?filter=listener%3Dplain").await;
        assert_eq!(list.json()[0]["streams"][0]["path"], "/events?token=mine", "{}", list.text());
    });
}
