//! A real Prometheus scrapes the gateway, and `promtool` judges what it reads.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::peers::{find, stdout};
use crate::support::{Gateway, PATIENCE};

/// Dies with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A port nobody has, as far as anyone can tell: Prometheus cannot be asked which one it took.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn promtool_has_nothing_to_say_against_it() {
    let (Some(promtool), Some(curl)) = (find("promtool"), find("curl")) else { return };
    let gateway = Gateway::start();
    let plain = gateway.plain;
    for path in ["/bytes/13", "/status/404", "/panic"] {
        stdout(
            &curl,
            &["-sS", "-o", "/dev/null", "--http2-prior-knowledge", &format!("http://{plain}{path}")],
        );
    }
    let text = stdout(&curl, &["-sS", &format!("http://{}/metrics", gateway.admin)]);
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = check.wait_with_output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && words.is_empty(), "{words}");
}

#[test]
fn prometheus_scrapes_it() {
    let (Some(prometheus), Some(curl)) = (find("prometheus"), find("curl")) else { return };
    let gateway = Gateway::start();
    stdout(&curl, &["-sS", "-o", "/dev/null", &format!("http://{}/bytes/13", gateway.plain)]);
    let room = tempfile::tempdir().unwrap();
    let config = room.path().join("prometheus.yml");
    let target = gateway.admin;
    let text = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: stagedoor\n    static_configs:\n      - targets: [\"{target}\"]\n"
    );
    std::fs::write(&config, text).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let server = Command::new(prometheus)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", room.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Running(server);
    // Nothing of Prometheus tells when its first scrape is over: ask until it is.
    let ask = |query: &str| {
        let url = format!("http://{address}/api/v1/query");
        let asked = Command::new(&curl)
            .args(["-sS", "-G", "--data-urlencode", &format!("query={query}"), &url])
            .output();
        let answer: Option<serde_json::Value> = serde_json::from_slice(&asked.unwrap().stdout).ok();
        answer.and_then(|answer| answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned))
    };
    let deadline = Instant::now() + PATIENCE;
    let eventually = |query: &str, wanted: &str| loop {
        let value = ask(query);
        if value.as_deref() == Some(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{query} is {value:?}, not {wanted}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    eventually("up{job=\"stagedoor\"}", "1");
    eventually(
        "sum(stagedoor_requests_total{listener=\"plain\",route=\"demo\",method=\"GET\",code=\"200\"})",
        "1",
    );
    eventually("stagedoor_sessions_active{listener=\"plain\",protocol=\"http/1.1\"}", "0");
    eventually("stagedoor_ready", "1");
}
