//! A real Prometheus scrapes the gateway, and `promtool` judges what it reads.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::Gateway;
use crate::support::peers::{find, stdout};
use crate::support::prometheus::Prometheus;

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
    let (Some(program), Some(curl)) = (find("prometheus"), find("curl")) else { return };
    let gateway = Gateway::start();
    stdout(&curl, &["-sS", "-o", "/dev/null", &format!("http://{}/bytes/13", gateway.plain)]);
    let prometheus = Prometheus::start(&program, gateway.admin, &[]);
    prometheus.eventually("up{job=\"stagedoor\"}", 1.0);
    prometheus.eventually(
        "sum(stagedoor_requests_total{listener=\"plain\",route=\"demo\",method=\"GET\",code=\"200\"})",
        1.0,
    );
    prometheus.eventually("stagedoor_sessions_active{listener=\"plain\",protocol=\"http/1.1\"}", 0.0);
    prometheus.eventually("stagedoor_ready", 1.0);
}
