//! A real Prometheus that scrapes every second, and questions to its HTTP API.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::peers::{Running, listening};

/// The folder with boards and rules.
pub(crate) fn grafana() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana")
}

/// A Prometheus on a free port; it ends with the test.
pub(crate) struct Prometheus {
    _running: Running,
    address: SocketAddr,
    /// Its configuration and what it stores; goes last.
    _room: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `target` as the job `stagedoor`, and evaluates these files of rules every second.
    pub(crate) fn start(program: &Path, target: SocketAddr, rules: &[PathBuf]) -> Self {
        let room = tempfile::tempdir().unwrap();
        let config = room.path().join("prometheus.yml");
        let mut text = "global: { scrape_interval: 1s, evaluation_interval: 1s }\n".to_owned();
        text += "rule_files:\n";
        for file in rules {
            writeln!(text, "  - \"{}\"", file.display()).unwrap();
        }
        writeln!(
            text,
            "scrape_configs:\n  - job_name: stagedoor\n    static_configs:\n      - targets: [\"{target}\"]"
        )
        .unwrap();
        std::fs::write(&config, text).unwrap();
        let config = format!("--config.file={}", config.display());
        let data = format!("--storage.tsdb.path={}", room.path().join("data").display());
        let start = |ports: &[u16]| {
            let address = format!("--web.listen-address=127.0.0.1:{}", ports[0]);
            Running::start(program, &[&config, &data, &address, "--enable-feature=exemplar-storage"])
        };
        let (running, addresses) = listening(1, start, |line| line.contains("Server is ready to receive"));
        Self { _running: running, address: addresses[0], _room: room }
    }

    /// What a path of its API answers: its `data`, or why not.
    pub(crate) fn api(&self, path: &str, params: &[(&str, &str)]) -> Result<Value, String> {
        let mut target = format!("/api/v1/{path}");
        for (place, (key, value)) in params.iter().enumerate() {
            write!(target, "{}{}={}", if place == 0 { '?' } else { '&' }, escaped(key), escaped(value))
                .unwrap();
        }
        let mut answer: Value = serde_json::from_str(&get(self.address, &target, "application/json").1)
            .map_err(|error| error.to_string())?;
        if answer["status"] == "success" {
            Ok(answer["data"].take())
        } else {
            Err(answer["error"].to_string())
        }
    }

    /// The values that an expression has now.
    pub(crate) fn values(&self, expr: &str) -> Result<Vec<f64>, String> {
        let data = self.api("query", &[("query", expr)])?;
        let samples = data["result"].as_array().ok_or("no vector")?;
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|text| text.parse().ok());
        samples.iter().map(|sample| value(sample).ok_or_else(|| format!("no value: {sample}"))).collect()
    }

    /// Waits until an expression has one series of this value. Nothing tells when a scrape is over, so it asks again.
    pub(crate) fn eventually(&self, expr: &str, wanted: f64) {
        until(|| match self.values(expr) {
            Ok(values) if values == [wanted] => Ok(()),
            values => Err(format!("{expr} is {values:?}, not {wanted}")),
        });
    }
}

/// Asks until it is so, a while apart; in the end fails with why it is not.
pub(crate) fn until<T>(mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// GET in HTTP/1.0, whose answers end with the connection: head and body.
pub(crate) fn get(address: SocketAddr, target: &str, accept: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {target} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

/// A value of a query (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            escaped.push(octet.into());
        } else {
            write!(escaped, "%{octet:02X}").unwrap();
        }
    }
    escaped
}
