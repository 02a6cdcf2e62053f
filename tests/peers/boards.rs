//! Every query of the committed boards, asked of a real Prometheus that scrapes a real gateway under load of every kind.
//!
//! What is drawn from the answers is not tested: Grafana is not in Debian. `src/dashboards/shape.rs` holds the JSON itself.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{Client, Speaks};
use crate::support::configured::serving;
use crate::support::peers::find;
use crate::support::prometheus::{Prometheus, get, grafana, until};
use crate::support::raw::{HEADERS, RST_STREAM, Raw, SETTINGS};
use crate::support::{Gateway, PATIENCE};

/// Panels that have nothing to show here, and why. One that does have data is taken off the list.
const SILENT: &[(&str, &str, &str)] = &[(
    "stagedoor-sessions",
    "PING round trip p95",
    "we send PING after a minute of silence, which is longer than this test",
)];

/// The demo, itself and behind upstreams: one that finds an endpoint dead by its requests, one that does by checks.
fn gateway(demo: &Gateway) -> Gateway {
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    serving(&format!(
        r#"
        [[upstream]]
        name = "tried"
        endpoints = ["http://{live}", "http://{dead}"]
        balance = "round_robin"
        retry = {{ attempts = 2, on = ["connect", "503"], budget = 0.5 }}
        eject = {{ consecutive_failures = 2, for = "500ms", max_share = 0.5 }}
        keepalive = {{ idle = "500ms" }}
        [[upstream]]
        name = "checked"
        endpoints = ["http://{live}", "http://{dead}"]
        protocol = "h2c"
        health = {{ path = "/status/204", every = "200ms", timeout = "1s", rise = 1, fall = 1 }}
        [[route]]
        name = "demo"
        demo = {{}}
        [[route]]
        name = "tried"
        match = {{ path = "/tried/{{*path}}" }}
        strip_prefix = "/tried"
        proxy = {{ upstream = "tried" }}
        [[route]]
        name = "checked"
        match = {{ path = "/checked/{{*path}}" }}
        strip_prefix = "/checked"
        proxy = {{ upstream = "checked" }}
        [[route]]
        name = "limited"
        match = {{ path = "/limited" }}
        rate_limit = {{ per = "client", rate = 1, burst = 1 }}
        respond = {{ status = 200, body = "ok" }}
        "#,
        live = demo.plain
    ))
}

/// What Prometheus asks for.
const SCRAPES: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// A query of a panel.
#[derive(Clone, Debug)]
struct Asked {
    board: String,
    panel: String,
    expr: String,
}

impl Asked {
    fn is_silent(&self) -> bool {
        SILENT.iter().any(|(board, panel, _)| *board == self.board && *panel == self.panel)
    }
}

/// The boards as they are committed.
fn boards() -> Vec<Value> {
    let mut files: Vec<_> =
        std::fs::read_dir(grafana().join("dashboards")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 4);
    files.iter().map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// What Grafana puts in for the variables of a board when nothing is narrowed.
fn substituted(board: &Value, expr: &str) -> String {
    // Four scrapes or more, as Grafana sees to.
    let mut expr = expr.replace("$__rate_interval", "15s");
    for variable in list(&board["templating"], "list") {
        if let Some(every) = variable["allValue"].as_str() {
            expr = expr.replace(&format!("${}", text(&variable["name"])), every);
        }
    }
    assert!(!expr.contains('$'), "a variable is left: {expr}");
    expr
}

fn queries(boards: &[Value]) -> Vec<Asked> {
    let mut asked = Vec::new();
    for board in boards {
        for panel in list(board, "panels") {
            for target in list(panel, "targets") {
                let expr = substituted(board, &text(&target["expr"]));
                asked.push(Asked { board: text(&board["uid"]), panel: text(&panel["title"]), expr });
            }
        }
    }
    asked
}

/// Sessions that stay, each waiting for something else. They are held, not read.
struct Held(#[expect(dead_code, reason = "held open")] Vec<Raw>);

impl Held {
    fn open(gateway: &Gateway) -> Self {
        let opened = |window, method, path, end| {
            let mut raw = Raw::connect(gateway.plain, window);
            // Who does not acknowledge the gateway's is ended soon.
            raw.next_of(SETTINGS);
            raw.request(1, method, path, end);
            raw
        };
        Self(vec![
            // Its stream window is used up at once.
            opened(1_000, "GET", "/bytes/1000000", true),
            // The window of its connection is.
            opened(1 << 20, "GET", "/bytes/1000000", true),
            // Its handler takes its time, and octets go out all the while.
            opened(65_535, "GET", "/drip?bytes=1M&rate=1k", true),
            // It sends no body.
            opened(65_535, "POST", "/sha256", false),
        ])
    }
}

/// One round of requests over new connections of every kind.
async fn round(gateway: &Gateway) {
    for speaks in Speaks::ALL {
        let mut client = Client::connect(gateway, speaks).await;
        for path in ["/", "/bytes/100000", "/status/404", "/status/503", "/nowhere", "/files/play.txt"] {
            client.get(path).await;
        }
        client.bare("HEAD", "/bytes/13").await;
        client.post("/echo", vec![b'a'; 1_000]).await;
        for path in ["/tried/bytes/1000", "/checked/bytes/1000", "/tried/status/503", "/limited", "/limited"]
        {
            client.get(path).await;
        }
        // Last: over HTTP/1.1 the connection ends with it.
        client.get("/panic").await;
    }
    // The connection to the upstream ends with it too.
    Client::connect(gateway, Speaks::H2).await.get("/tried/panic").await;
    // A client that changes its mind, and a handler that fails halfway.
    let mut raw = Raw::connect(gateway.plain, 65_535);
    raw.request(1, "GET", "/drip?bytes=1M&rate=1k", true);
    raw.next_of(HEADERS);
    raw.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    raw.request(3, "GET", "/panic?after=0", true);
    raw.next_of(RST_STREAM);
}

/// Rounds until it is told to stop.
fn load(gateway: &Gateway, stop: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // It speaks HTTP/2 over TLS and stays.
        let mut resident = Client::connect(gateway, Speaks::H2).await;
        while !stop.load(Ordering::Relaxed) {
            resident.get("/bytes/1000").await;
            round(gateway).await;
            // The pace of the load, not a wait for something.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

/// Stops the load when the test ends, however it ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn every_query_of_every_board_has_an_answer() {
    let Some(program) = find("prometheus") else { return };
    let behind = Gateway::start();
    let gateway = gateway(&behind);
    let files = ["rules/stagedoor.rules.yml", "alerts/stagedoor.alerts.yml"].map(|file| grafana().join(file));
    let prometheus = Prometheus::start(&program, gateway.admin, &files);
    let held = Held::open(&gateway);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let load = scope.spawn(|| load(&gateway, &stop));
        let boards = boards();
        every_panel_has_data(&prometheus, &boards, || load.is_finished());
        every_variable_has_values(&prometheus, &boards);
        marks_are_drawn(&prometheus, &boards);
        targets_and_rules_are_well(&prometheus);
        exemplars_name_requests(&prometheus);
    });
    every_sample_is_taken(&prometheus, &gateway);
    drop(held);
}

fn every_panel_has_data(prometheus: &Prometheus, boards: &[Value], load_ended: impl Fn() -> bool) {
    let (silent, mut left): (Vec<_>, Vec<_>) = queries(boards).into_iter().partition(Asked::is_silent);
    assert!(left.len() > 60, "only {} queries", left.len());
    let deadline = Instant::now() + PATIENCE;
    while !left.is_empty() {
        left.retain(|asked| !has_data(prometheus, asked));
        assert!(!load_ended(), "the load ended early");
        assert!(Instant::now() < deadline, "no data: {left:#?}");
        thread::sleep(Duration::from_millis(100));
    }
    for asked in silent {
        assert!(!has_data(prometheus, &asked), "it has data now, take it off SILENT: {asked:#?}");
    }
}

fn has_data(prometheus: &Prometheus, asked: &Asked) -> bool {
    match prometheus.values(&asked.expr) {
        Ok(values) => values.iter().any(|value| !value.is_nan()),
        Err(error) => panic!("{error}: {asked:#?}"),
    }
}

fn every_variable_has_values(prometheus: &Prometheus, boards: &[Value]) {
    for board in boards {
        let variables = list(&board["templating"], "list").iter().filter(|one| one["type"] == "query");
        for variable in variables {
            let query = substituted(board, &text(&variable["query"]["query"]));
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (series, label) = inner.rsplit_once(", ").unwrap();
            let values = prometheus.api(&format!("label/{label}/values"), &[("match[]", series)]).unwrap();
            assert!(!values.as_array().unwrap().is_empty(), "{query}");
            if label == "listener" {
                assert_eq!(values, serde_json::json!(["admin", "plain", "public"]));
            }
        }
    }
}

/// The one alert that needs no time to hold is among them: handlers have panicked.
fn marks_are_drawn(prometheus: &Prometheus, boards: &[Value]) {
    for board in boards {
        for mark in list(&board["annotations"], "list") {
            prometheus.values(&substituted(board, &text(&mark["expr"]))).unwrap();
        }
    }
    let firing = prometheus.api("query", &[("query", "ALERTS{alertstate=\"firing\"}")]).unwrap();
    let names: BTreeSet<_> =
        list(&firing, "result").iter().map(|one| text(&one["metric"]["alertname"])).collect();
    assert_eq!(names, BTreeSet::from(["StagedoorActorPanics".to_owned()]));
}

fn targets_and_rules_are_well(prometheus: &Prometheus) {
    let targets = prometheus.api("targets", &[]).unwrap();
    let active = list(&targets, "activeTargets");
    assert_eq!((active.len(), &active[0]["health"], &active[0]["lastError"]), (1, &"up".into(), &"".into()));
    let rules = until(|| {
        let groups = prometheus.api("rules", &[])?;
        let rules: Vec<_> =
            list(&groups, "groups").iter().flat_map(|group| list(group, "rules").to_vec()).collect();
        match rules.iter().find(|rule| rule["health"] != "ok") {
            Some(rule) => Err(format!("not well: {rule}")),
            None => Ok(rules),
        }
    });
    assert_eq!(rules.iter().filter(|rule| rule["type"] == "alerting").count(), 12);
    prometheus.eventually("count(job:stagedoor_requests_errors:ratio_rate5m > 0)", 1.0);
}

/// As many samples as there are lines: Prometheus leaves nothing of it out.
fn every_sample_is_taken(prometheus: &Prometheus, gateway: &Gateway) {
    until(|| {
        let (_, text) = get(gateway.admin, "/metrics", SCRAPES);
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        match prometheus.values("scrape_samples_scraped{job=\"stagedoor\"}")? {
            taken if taken == [lines as f64] => Ok(()),
            taken => Err(format!("{taken:?} samples of {lines} lines")),
        }
    });
}

/// A dot in a duration panel names its request. Only OpenMetrics has them.
fn exemplars_name_requests(prometheus: &Prometheus) {
    let query =
        [("query", "stagedoor_request_duration_seconds_bucket"), ("start", "0"), ("end", "9999999999")];
    let found = until(|| match prometheus.api("query_exemplars", &query)? {
        found if list(&found[0], "exemplars").is_empty() => Err(format!("no exemplars: {found}")),
        found => Ok(found),
    });
    for label in ["trace_id", "session", "stream"] {
        assert!(found[0]["exemplars"][0]["labels"][label].is_string(), "{label} in {found}");
    }
}
