//! nghttpd behind the gateway: another connection where it takes few streams, trailers, uploads that come back, narrow
//! windows.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::{before, clients, scrape};
use crate::ours::sample;
use crate::support::client::{Client, Speaks};
use crate::support::peers::{Certificate, Running, find, listening};
use crate::support::{Gateway, run};

/// A server with files, and how the gateway reaches it.
struct Nghttpd {
    _running: Running,
    _root: TempDir,
    certificate: Option<Certificate>,
    address: SocketAddr,
}

impl Nghttpd {
    fn start(flags: &[&str], tls: bool) -> Option<Self> {
        let program = find("nghttpd")?;
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("hello.txt"), "hello").unwrap();
        std::fs::write(root.path().join("big"), sample(10 << 20)).unwrap();
        let certificate = tls.then(Certificate::new);
        let directory = root.path().to_str().unwrap();
        let start = |ports: &[u16]| {
            let port = ports[0].to_string();
            let mut args = vec!["-v", "-a", "127.0.0.1", "-d", directory];
            args.extend(flags);
            match &certificate {
                None => args.extend(["--no-tls", &port]),
                Some(own) => args.extend([&*port, own.paths().1, own.paths().0]),
            }
            Running::start(&program, &args)
        };
        let (running, at) = listening(1, start, |line| line.contains("listen 127.0.0.1:"));
        Some(Self { _running: running, _root: root, certificate, address: at[0] })
    }

    fn gateway(&self, more: &str) -> Gateway {
        let address = self.address;
        before(&match &self.certificate {
            None => format!("endpoints = [\"http://{address}\"]\nprotocol = \"h2c\"\n{more}"),
            Some(own) => format!(
                "endpoints = [\"https://{address}\"]\ntls = {{ ca = \"{}\" }}\n{more}",
                own.certificate.display()
            ),
        })
    }
}

fn with_nghttpd(flags: &[&str], test: impl AsyncFn(&Gateway)) {
    for tls in [false, true] {
        let Some(server) = Nghttpd::start(flags, tls) else { return };
        let gateway = server.gateway("");
        run(test(&gateway));
    }
}

#[test]
fn files_and_trailers_of_nghttpd_come_whole() {
    let big = sample(10 << 20);
    with_nghttpd(&["--trailer", "x-sum: abc"], async |gateway| {
        for speaks in [Speaks::H2, Speaks::H2c] {
            let mut client = Client::connect(gateway, speaks).await;
            let answer = client.get("/hello.txt").await;
            assert_eq!((answer.status, answer.text()), (200, "hello"));
            assert_eq!(answer.trailers.expect("trailers")["x-sum"], "abc");
            assert!(client.get("/big").await.body == big);
            assert_eq!(client.get("/nowhere").await.status, 404);
        }
    });
}

#[test]
fn a_server_of_few_streams_is_given_more_connections() {
    with_nghttpd(&["-m", "2", "--echo-upload"], async |gateway| {
        let first = Client::connect(gateway, Speaks::H2c).await;
        // Nothing is refused while the limit is not known yet, and none of it is lost.
        let asked = (0..60).map(|number: usize| {
            let mut client = first.share();
            let body = sample(10_000 + number);
            async move { client.post("/", body.clone()).await.body == body }
        });
        assert!(join_all(asked).await.into_iter().all(|same| same));
        let asked = (0..60).map(|_| {
            let mut client = first.share();
            async move { client.get("/hello.txt").await.status }
        });
        assert!(join_all(asked).await.into_iter().all(|status| status == 200));
        let scrape = scrape(gateway).await;
        assert!(scrape.sum("stagedoor_upstream_connections_active", &[]) > 1.0);
        assert_eq!(scrape.sum("stagedoor_upstream_requests_total", &[("code", "200")]), 120.0);
        assert_eq!(scrape.sum("stagedoor_upstream_requests_total", &[]), 120.0);
        assert_eq!(scrape.sum("stagedoor_upstream_failures_total", &[]), 0.0);
    });
}

#[test]
fn narrow_windows_padding_and_small_tables_of_nghttpd_are_obeyed() {
    let flags = ["--echo-upload", "-w", "10", "-W", "16", "-b", "255", "-c", "0"];
    with_nghttpd(&flags, async |gateway| {
        // More than is open at first would be reset by nghttpd, which does not bear with what comes before its SETTINGS are
        // acknowledged.
        let body = sample(50_000);
        for mut client in clients(gateway).await {
            assert!(client.post("/", body.clone()).await.body == body);
        }
    });
}

#[test]
fn an_early_answer_of_nghttpd_is_the_answer() {
    with_nghttpd(&["--early-response"], async |gateway| {
        for speaks in [Speaks::H2, Speaks::H2c] {
            let mut client = Client::connect(gateway, speaks).await;
            for _ in 0..3 {
                let answer = client.post("/hello.txt", sample(2 << 20)).await;
                assert_eq!((answer.status, answer.text()), (200, "hello"));
            }
        }
    });
}
