//! HAProxy behind the gateway, over HTTP/2 in cleartext and over TLS with an authority of its own; behind it the demo of
//! another gateway, over HTTP/1.1. It ends its sessions by GOAWAY when another process takes its place.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::load::under_load;
use super::{before, clients, scrape};
use crate::ours::sample;
use crate::support::client::{Client, Speaks, full};
use crate::support::peers::{Certificate, Running, find, listening};
use crate::support::{Gateway, run, sha256};

const CONFIGURATION: &str = "
global
    stats socket PLACE/own.sock level admin expose-fd listeners
    hard-stop-after 20s
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend cleartext
    bind 127.0.0.1:PORT0 proto h2
    default_backend demo
frontend encrypted
    bind 127.0.0.1:PORT1 ssl crt PLACE/own.pem alpn h2
    default_backend demo
backend demo
    http-request return status 200 content-type text/plain string hello if { path /hello }
    server demo 127.0.0.1:DEMO
";

/// What it says once its sockets listen.
const UP: &str = "as the polling mechanism";

/// A server and what is behind it.
struct Haproxy {
    running: Running,
    ports: Vec<SocketAddr>,
    place: TempDir,
    certificate: Certificate,
    _demo: Gateway,
}

impl Haproxy {
    fn start() -> Option<Self> {
        let program = find("haproxy")?;
        let demo = Gateway::start();
        let place = tempfile::tempdir().unwrap();
        let certificate = Certificate::new();
        let pem =
            [&certificate.certificate, &certificate.key].map(|file| std::fs::read_to_string(file).unwrap());
        std::fs::write(place.path().join("own.pem"), pem.concat()).unwrap();
        let start = |ports: &[u16]| {
            let text = CONFIGURATION
                .replace("PLACE", place.path().to_str().unwrap())
                .replace("PORT0", &ports[0].to_string())
                .replace("PORT1", &ports[1].to_string())
                .replace("DEMO", &demo.plain.port().to_string());
            std::fs::write(place.path().join("haproxy.cfg"), text).unwrap();
            Running::start(&program, &["-db", "-V", "-f", &within(place.path(), "haproxy.cfg")])
        };
        let (running, ports) = listening(2, start, |line| line.contains(UP));
        Some(Self { running, ports, place, certificate, _demo: demo })
    }

    /// Another process takes the sockets over; the one before ends when its streams have.
    async fn replace(&mut self) {
        let (file, socket) =
            (within(self.place.path(), "haproxy.cfg"), within(self.place.path(), "own.sock"));
        let before = self.running.id().to_string();
        let args = ["-db", "-V", "-f", &file, "-x", &socket, "-sf", &before];
        let next = Running::start(&find("haproxy").unwrap(), &args);
        next.line_said(|line| line.contains(UP)).await;
        let before = std::mem::replace(&mut self.running, next);
        tokio::task::spawn_blocking(move || before.finish()).await.expect("it ends well");
    }

    /// The tables of an upstream, in cleartext and over TLS.
    fn upstreams(&self) -> [String; 2] {
        let [plain, tls] = [self.ports[0].port(), self.ports[1].port()];
        [
            format!("endpoints = [\"http://127.0.0.1:{plain}\"]\nprotocol = \"h2c\""),
            format!(
                "endpoints = [\"https://127.0.0.1:{tls}\"]\nprotocol = \"h2\"\n\
                 tls = {{ ca = \"{}\", server_name = \"localhost\" }}",
                self.certificate.certificate.display()
            ),
        ]
    }
}

fn within(place: &Path, name: &str) -> String {
    place.join(name).to_str().unwrap().to_owned()
}

#[test]
fn everything_passes_haproxy_over_http2_in_each_direction() {
    let Some(haproxy) = Haproxy::start() else { return };
    let big = sample(5 << 20);
    for upstream in haproxy.upstreams() {
        let gateway = before(&upstream);
        run(async {
            for mut client in clients(&gateway).await {
                assert_eq!(client.get("/hello").await.text(), "hello");
                assert_eq!(client.get("/bytes/10000000").await.body.len(), 10_000_000);
                assert!(client.post("/echo", big.clone()).await.body == big);
                assert_eq!(client.post("/sha256", big.clone()).await.text().trim_end(), sha256(&big));
                assert_eq!(client.bare("HEAD", "/bytes/13").await.header("content-length"), "13");
                assert_eq!(client.get("/status/404").await.status, 404);
                assert_eq!(client.get("/status/503").await.status, 503, "no status of ours");
                let request = client.request("GET", "/trailers").header("te", "trailers");
                let answer = client.whole(request.body(full("")).unwrap()).await.unwrap();
                assert_eq!((answer.status, answer.body.len()), (200, 42));
            }
        });
    }
}

#[test]
fn requests_share_one_session_with_haproxy() {
    let Some(haproxy) = Haproxy::start() else { return };
    for upstream in haproxy.upstreams() {
        let gateway = before(&upstream);
        run(async {
            let first = Client::connect(&gateway, Speaks::H2).await;
            let asked = (0..50).map(|number| {
                let mut client = first.share();
                async move { client.get(&format!("/bytes/{}", 1_000 * number)).await.body.len() }
            });
            let lengths = join_all(asked).await;
            assert_eq!(lengths, (0..50).map(|number| 1_000 * number).collect::<Vec<_>>());
            let active = scrape(&gateway).await.sum("stagedoor_upstream_connections_active", &[]);
            assert_eq!(active, 1.0);
        });
    }
}

#[test]
fn no_request_fails_while_haproxy_is_replaced_again_and_again() {
    let Some(mut haproxy) = Haproxy::start() else { return };
    for upstream in haproxy.upstreams() {
        let gateway = before(&upstream);
        run(async {
            let ends = under_load(&gateway, "/hello", async |mut load| {
                for _ in 0..3 {
                    load.more(1_000).await;
                    haproxy.replace().await;
                }
                load.more(1_000).await;
            })
            .await;
            assert_eq!(ends.keys().collect::<Vec<_>>(), ["200"], "{ends:?}");
        });
    }
}
