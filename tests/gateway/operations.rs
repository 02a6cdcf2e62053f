//! What the admin service and the commands tell of upstreams, certificates and the configuration, from operations that
//! are played; and sessions that the gateway opens itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};
use stagedoor::admin::operations::{NotReloaded, Reloaded};
use stagedoor::client::{self, ClientSession, Options, RequestOptions, RequestParts};
use stagedoor::{Body, Reply, Request, Response};
use stagedoor_metrics::{CloseReason, Protocol, Role, UpstreamFailure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::support::command::{Ran, stagedoor};
use crate::support::embedded::Embedded;
use crate::support::exposition::Scrape;
use crate::support::observed::Server;
use crate::support::played::Played;
use crate::support::raw::{RST_STREAM, Raw};
use crate::support::run;

fn hello(_: Request) -> Reply {
    Response::text("hello").into()
}

async fn asked(server: &Server, method: &str, path: &str) -> (u16, Value) {
    let (status, text) = server.ask(method, path).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// A command against the admin listener of `server`.
async fn commanded(server: &Server, args: &[&str]) -> Ran {
    let args: Vec<String> = args.iter().map(|word| (*word).to_owned()).collect();
    let admin = format!("http://{}", server.admin);
    let ran = tokio::task::spawn_blocking(move || {
        let state = tempfile::tempdir().unwrap();
        let words: Vec<&str> = args.iter().map(String::as_str).chain(["--admin", &admin]).collect();
        stagedoor(state.path(), &words)
    });
    ran.await.unwrap()
}

async fn said(server: &Server, args: &[&str]) -> String {
    String::from_utf8(commanded(server, args).await.quietly()).unwrap()
}

#[test]
fn upstreams_are_told_with_what_was_counted_of_them() {
    let server = Server::start_with(Some(Arc::new(Played::default())), hello);
    // A shard that no arbiter of this server writes.
    let cells = server.metrics.shard(0x7000).upstream(server.metrics.add_upstream("api"));
    cells.connection_opened(Protocol::H2c, 1);
    cells.request(200);
    cells.request(0);
    cells.failures[UpstreamFailure::ConnectionRefused].inc();
    cells.requests_active.inc();
    run(async {
        let (status, list) = asked(&server, "GET", "/api/upstreams").await;
        assert_eq!(status, 200);
        let api = &list[0];
        assert_eq!(
            (&api["name"], &api["protocol"], &api["balance"]),
            (&"api".into(), &"h2c".into(), &"p2c".into())
        );
        let requests =
            json!({ "total": 2, "unanswered": 1, "failures": 1, "retries": 0, "active": 1, "pending": 0 });
        assert_eq!((&api["requests"], &api["connections"]), (&requests, &1.into()));
        assert_eq!(api["retry"], json!({ "share": 0.2, "available": 3 }));
        let ejected = &api["endpoints"][1];
        assert_eq!((&ejected["up"], &ejected["state"]), (&false.into(), &"ejected".into()));
        assert_eq!(ejected["ejected_until_seconds"], 12.0);
        assert_eq!(ejected["last_check"], json!({ "ok": true, "detail": "200", "age_seconds": 3.0 }));

        let table = said(&server, &["upstreams"]).await;
        let row = table.lines().find(|line| line.contains("10.0.0.8")).unwrap();
        assert!(row.starts_with("api ") && row.contains("ejected 12.0s"), "{table}");
        let listed: Value = serde_json::from_str(&said(&server, &["upstreams", "--json"]).await).unwrap();
        assert_eq!(listed[0]["endpoints"].as_array().map(Vec::len), Some(2));
    });
}

#[test]
fn certificates_are_told_with_the_time_they_have_left() {
    let server = Server::start_with(Some(Arc::new(Played::default())), hello);
    run(async {
        let (status, list) = asked(&server, "GET", "/api/certs").await;
        assert_eq!((status, &list[0]["names"][1]), (200, &"*.example.org".into()));
        assert_eq!(list[0]["not_after"], 7_000_000_000.0);
        assert!(list[0]["expires_in_seconds"].as_f64().unwrap() > 86_400.0, "{list}");
        let table = said(&server, &["certs"]).await;
        assert!(table.contains("2191-10-27") && table.contains("example.org, *.example.org"), "{table}");
        let listed: Value = serde_json::from_str(&said(&server, &["certs", "--json"]).await).unwrap();
        assert_eq!(listed[0]["serial"], "0a");
    });
}

#[test]
fn the_configuration_is_told_with_where_it_came_from() {
    let server = Server::start_with(Some(Arc::new(Played::default())), hello);
    run(async {
        let (status, config) = asked(&server, "GET", "/api/config").await;
        let wanted = json!({
            "source": "/etc/stagedoor/stagedoor.toml",
            "loaded_at": 1_700_000_000.0,
            "last_error": { "at": 1_800_000_000.0, "errors": "error[config::syntax]: no <b>bold</b>" },
            "document": { "server": { "workers": 2 } },
            "origins": { "server.workers": "stagedoor.toml:3:11" },
        });
        assert_eq!((status, config), (200, wanted));
    });
}

#[test]
fn a_load_tells_what_it_changed_or_all_that_is_wrong() {
    let played = Arc::new(Played::default());
    let server = Server::start_with(Some(played.clone()), hello);
    let next = |load| played.loads.lock().unwrap().push(load);
    let changed = || Reloaded { changed: vec!["route \"api\" is new".into()], needs_restart: Vec::new() };
    let refused =
        || NotReloaded::Refused { count: 2, errors: "error[a]: one\n --> f:1:2\n\nerror[b]: two\n".into() };
    run(async {
        next(Ok(changed()));
        let wanted = json!({ "changed": ["route \"api\" is new"], "needs_restart": [] });
        assert_eq!(asked(&server, "POST", "/api/reload").await, (200, wanted));
        next(Err(refused()));
        let (status, problem) = asked(&server, "POST", "/api/reload").await;
        assert_eq!((status, &problem["title"]), (422, &"Unprocessable Content".into()));
        assert_eq!(problem["errors"], "error[a]: one\n --> f:1:2\n\nerror[b]: two\n");
        next(Err(NotReloaded::NoFile));
        assert_eq!(asked(&server, "POST", "/api/reload").await.0, 409);
        assert_eq!(asked(&server, "GET", "/api/reload").await.0, 405);

        next(Ok(changed()));
        assert_eq!(said(&server, &["reload"]).await, "reloaded, 1 change\n  route \"api\" is new\n");
        assert_eq!(said(&server, &["reload"]).await, "reloaded, nothing changed\n");
        next(Err(refused()));
        let ran = commanded(&server, &["reload"]).await;
        ran.failed_with(
            1,
            "2 errors; the one before stays in force\nerror[a]: one\n --> f:1:2\n\nerror[b]: two",
        );
    });
}

#[test]
fn a_load_goes_on_when_whoever_asked_has_gone() {
    let held = Arc::new(Notify::new());
    let played = Arc::new(Played { held: Some(held.clone()), ..Played::default() });
    let server = Server::start_with(Some(played.clone()), hello);
    run(async {
        let mut raw = Raw::connect(server.admin, 65_535);
        raw.request(1, "POST", "/api/reload", true);
        let with_request = |stats: &Arc<stagedoor_metrics::SessionStats>| {
            stats.streams_open.get() > 0 && &**stats.listener() == "admin"
        };
        while !server.metrics.live().snapshot().iter().any(with_request) {
            tokio::task::yield_now().await;
        }
        raw.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
        while server.metrics.live().snapshot().iter().any(with_request) {
            tokio::task::yield_now().await;
        }
        held.notify_one();
        while played.loaded.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_gateway_that_does_not_answer_is_not_waited_for() {
    let server = Server::start_with(Some(Arc::new(Played { silent: true, ..Played::default() })), hello);
    run(async {
        let paths = ["/api/upstreams", "/api/certs", "/api/config"];
        let answers = join_all(paths.map(|path| asked(&server, "GET", path))).await;
        assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [503; 3]);
    });
}

#[test]
fn without_operations_there_is_the_certificate_of_the_metrics_and_no_file() {
    let server = Server::start(hello);
    server.metrics.set_certificate("dev", UNIX_EPOCH + Duration::from_secs(7_000_000_000));
    run(async {
        assert_eq!(asked(&server, "GET", "/api/upstreams").await, (200, json!([])));
        assert_eq!(said(&server, &["upstreams"]).await, "no upstreams\n");
        let (_, list) = asked(&server, "GET", "/api/certs").await;
        assert_eq!((&list[0]["name"], &list[0]["issuer"]), (&"dev".into(), &Value::Null));
        let (_, config) = asked(&server, "GET", "/api/config").await;
        assert_eq!((&config["source"], &config["document"]), (&"embedded".into(), &json!({})));
        commanded(&server, &["reload"]).await.failed_with(1, "there is no configuration file");
    });
}

/// The next event `name` of a stream of events.
async fn event(io: &mut TcpStream, name: &str) -> Value {
    let mut heard = String::new();
    let mut octets = [0; 16_384];
    loop {
        let begin = format!("event: {name}\ndata: ");
        if let Some((_, rest)) = heard.split_once(&begin)
            && let Some((data, _)) = rest.split_once("\n\n")
        {
            return serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        }
        let count = io.read(&mut octets).await.unwrap();
        assert!(count > 0, "it ended: {heard}");
        // Sizes of chunks stand between events, each of which is a chunk.
        heard.push_str(std::str::from_utf8(&octets[..count]).unwrap());
    }
}

#[test]
fn whoever_follows_hears_of_upstreams_certificates_and_the_configuration() {
    let server = Server::start_with(Some(Arc::new(Played::default())), hello);
    run(async {
        let mut io = TcpStream::connect(server.admin).await.unwrap();
        io.write_all(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let gateway = event(&mut io, "gateway").await;
        assert_eq!(gateway["upstreams"][0]["name"], "api");
        assert_eq!(gateway["certificates"][0]["name"], "example.org");
        assert_eq!(gateway["config"]["last_error"]["errors"], "error[config::syntax]: no <b>bold</b>");
        assert!(gateway["config"]["document"].is_null(), "that is asked for: {gateway}");
    });
}

/// A session of the gateway's own to a server that never ends its answer.
async fn asks_behind(upstream: std::net::SocketAddr) -> Response {
    let options = Options { name: "upstream:api".to_owned(), ..Options::default() };
    let session: ClientSession = client::connect(&format!("http://{upstream}"), options).unwrap();
    let answer =
        session.send_parts(RequestParts::new("GET", "/hold"), RequestOptions::default()).await.unwrap();
    let status = answer.status().as_u16();
    // Both stay until the arbiter ends.
    std::mem::forget((session, answer));
    Response::new(status)
}

#[test]
fn sessions_to_upstreams_are_seen_and_closed_like_others_and_hold_up_no_drain() {
    let upstream = Embedded::start(
        |_| {},
        |_| {
            let never = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            Response::new(200).with_body(Body::stream(StreamBody::new(never))).into()
        },
    );
    let address = upstream.address;
    let server = Server::start(move |_| Reply::later(asks_behind(address)));
    run(async {
        let own = |server: &Server| {
            let live = server.metrics.live().snapshot();
            live.into_iter().filter(|stats| stats.role() == Role::Client).collect::<Vec<_>>()
        };
        let ask = async || {
            let mut io = TcpStream::connect(server.public).await.unwrap();
            io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            io.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        };
        ask().await;
        let (_, list) = asked(&server, "GET", "/api/sessions?filter=role%3Dclient").await;
        let session = &list[0];
        assert_eq!(
            (&session["listener"], &session["protocol"]),
            (&"upstream:api".into(), &"h2c".into()),
            "{list}"
        );
        assert_eq!((&session["streams_open"], &session["streams"][0]["path"]), (&1.into(), &"/hold".into()));
        let id = session["id"].as_str().unwrap();
        let told = said(&server, &["session", id]).await;
        assert!(told.contains("client") && told.contains("flight recorder"), "{told}");

        // `top` lists it, and counts the sessions of others alone.
        let overview: Value =
            serde_json::from_str(&said(&server, &["top", "--once", "--json"]).await).unwrap();
        assert!(overview["rows"].as_array().unwrap().iter().any(|row| row["id"] == id), "{overview}");
        assert_eq!((&overview["sessions"], &overview["streams"]), (&0.into(), &0.into()), "{overview}");

        said(&server, &["close", id, "--now"]).await;
        while !own(&server).is_empty() {
            tokio::task::yield_now().await;
        }
        let scrape = Scrape::read(&server.ask("GET", "/metrics").await.1);
        let labels = [("listener", "upstream:api"), ("protocol", "h2c")];
        assert_eq!(scrape.value("stagedoor_sessions_active", &labels), 0.0);
        assert_eq!(scrape.value("stagedoor_streams_active", &labels), 0.0);
        let reason = ("reason", CloseReason::Admin.label());
        assert_eq!(scrape.value("stagedoor_sessions_closed_total", &[labels[0], labels[1], reason]), 1.0);

        ask().await;
        assert_eq!(own(&server).len(), 1);
        let began = Instant::now();
        let mut left = Vec::new();
        server
            .handle
            .drain_with(Duration::ZERO, Duration::from_secs(30), |progress| left.push(progress.streams))
            .await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(left.iter().all(|streams| *streams == 0), "{left:?}");
    });
}
