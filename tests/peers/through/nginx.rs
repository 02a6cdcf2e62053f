//! nginx behind the gateway, over HTTP/1.1: bodies of any size in each direction, with a length and without, ranges,
//! connections that are kept, a server that ends and comes back.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use super::load::under_load;
use super::{before, clients, scrape};
use crate::ours::sample;
use crate::support::client::{Client, Speaks, collect, fed, full, next_octets, nothing};
use crate::support::peers::{Running, find, listening};
use crate::support::{Gateway, run, sha256};

const CONFIGURATION: &str = "
daemon off;
master_process off;
pid PLACE/PORT.pid;
error_log stderr notice;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path PLACE/body;
    proxy_temp_path PLACE/proxy;
    fastcgi_temp_path PLACE/fastcgi;
    scgi_temp_path PLACE/scgi;
    uwsgi_temp_path PLACE/uwsgi;
    default_type application/octet-stream;
    client_max_body_size 64m;
    server {
        listen 127.0.0.1:PORT;
        root PLACE/files;
        location = /connection { return 200 \"$connection $connection_requests\"; }
        location = /host { return 200 \"$host $http_via $http_x_forwarded_proto $http_connection\"; }
        location /chunked/ { alias PLACE/files/; sub_filter_types *; sub_filter_once off; sub_filter hello HELLO; }
        location /slow/ { alias PLACE/files/; limit_rate 40k; }
        location /put/ { alias PLACE/put/; dav_methods PUT; }
        location = /refuse { client_max_body_size 1k; dav_methods PUT; }
    }
}
";

/// A server, and the place its files are in.
pub(super) struct Nginx {
    running: Running,
    pub(super) address: SocketAddr,
    pub(super) place: TempDir,
}

impl Nginx {
    /// Starts one with its files; none, loudly, where there is no nginx.
    pub(super) fn start() -> Option<Self> {
        let program = find("nginx")?;
        let place = tempfile::tempdir().unwrap();
        for folder in ["files", "put"] {
            std::fs::create_dir(place.path().join(folder)).unwrap();
        }
        for (name, content) in
            [("hello.txt", b"hello, world".to_vec()), ("big", sample(20 << 20)), ("some", sample(60_000))]
        {
            std::fs::write(place.path().join("files").join(name), content).unwrap();
        }
        let (running, ports) = listening(
            1,
            |ports| Self::running(&program, place.path(), ports[0]),
            |line| line.contains("OS: Linux"),
        );
        Some(Self { running, address: ports[0], place })
    }

    fn running(program: &Path, place: &Path, port: u16) -> Running {
        let at = place.to_str().unwrap();
        let file = place.join("nginx.conf");
        let text = CONFIGURATION.replace("PLACE", at).replace("PORT", &port.to_string());
        std::fs::write(&file, text).unwrap();
        Running::start(program, &["-p", at, "-e", "stderr", "-c", file.to_str().unwrap()])
    }

    /// Ends it at once, whatever it is doing.
    fn kill(self) -> Fallen {
        drop(self.running);
        Fallen { address: self.address, place: self.place }
    }

    /// A gateway before it.
    pub(super) fn gateway(&self) -> Gateway {
        before(&format!("endpoints = [\"http://{}\"]", self.address))
    }
}

/// A server that has ended.
struct Fallen {
    address: SocketAddr,
    place: TempDir,
}

impl Fallen {
    /// Starts it again, where it was.
    async fn rise(self) -> Nginx {
        let Self { address, place } = self;
        let running = Nginx::running(&find("nginx").unwrap(), place.path(), address.port());
        running.line_said(|line| line.contains("OS: Linux")).await;
        Nginx { running, address, place }
    }
}

#[test]
fn files_of_nginx_come_whole_in_parts_and_in_chunks() {
    let Some(nginx) = Nginx::start() else { return };
    let gateway = nginx.gateway();
    let big = sample(20 << 20);
    run(async {
        for mut client in clients(&gateway).await {
            let hello = client.get("/hello.txt").await;
            assert_eq!((hello.status, hello.text()), (200, "hello, world"));
            assert_eq!((hello.header("content-length"), hello.header("accept-ranges")), ("12", "bytes"));
            for (range, status, part) in [
                ("bytes=0-4", 206, "hello"),
                ("bytes=-5", 206, "world"),
                ("bytes=7-", 206, "world"),
                ("lines=1-2", 200, "hello, world"),
            ] {
                let request = client.request("GET", "/hello.txt").header("range", range);
                let answer = client.whole(request.body(nothing()).unwrap()).await.unwrap();
                assert_eq!((answer.status, answer.text()), (status, part), "{range}");
            }
            let beyond = client.request("GET", "/hello.txt").header("range", "bytes=100-");
            let beyond = client.whole(beyond.body(nothing()).unwrap()).await.unwrap();
            assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */12"));
            let same = client.request("GET", "/hello.txt").header("if-none-match", hello.header("etag"));
            let same = client.whole(same.body(nothing()).unwrap()).await.unwrap();
            assert_eq!((same.status, same.body.len()), (304, 0));
            let head = client.bare("HEAD", "/big").await;
            assert_eq!((head.header("content-length"), head.body.len()), ("20971520", 0));
            assert_eq!(client.get("/nowhere").await.status, 404);

            assert!(client.get("/big").await.body == big);
            let chunked = client.get("/chunked/hello.txt").await;
            assert_eq!((chunked.text(), chunked.header("content-length")), ("HELLO, world", ""));
            // No word of it is in there.
            assert!(client.get("/chunked/big").await.body == big);
        }
    });
}

#[test]
fn uploads_to_nginx_arrive_whole_with_a_length_and_in_chunks() {
    let Some(nginx) = Nginx::start() else { return };
    let gateway = nginx.gateway();
    let big = sample(20 << 20);
    run(async {
        for (number, mut client) in clients(&gateway).await.into_iter().enumerate() {
            for (kind, octets) in [("small", &b"hello"[..]), ("big", &big)] {
                let path = format!("/put/{kind}{number}");
                let request = client.request("PUT", &path).body(full(octets.to_vec())).unwrap();
                assert_eq!(client.whole(request).await.unwrap().status, 201, "{path}");
                assert!(std::fs::read(nginx.place.path().join(&path[1..])).unwrap() == octets, "{path}");
            }
            let (feed, body) = fed();
            let path = format!("/put/chunks{number}");
            let request = client.request("PUT", &path).body(body).unwrap();
            for piece in big.chunks(100_000) {
                feed.send(http_body::Frame::data(piece.to_vec().into())).unwrap();
            }
            drop(feed);
            assert_eq!(client.whole(request).await.unwrap().status, 201);
            let arrived = std::fs::read(nginx.place.path().join(&path[1..])).unwrap();
            assert_eq!(sha256(&arrived), sha256(&big));
        }
    });
}

#[test]
fn an_upload_that_nginx_refuses_early_is_answered() {
    let Some(nginx) = Nginx::start() else { return };
    let gateway = nginx.gateway();
    run(async {
        for speaks in [Speaks::H2, Speaks::H2c] {
            let mut client = Client::connect(&gateway, speaks).await;
            for length in [2_000, 5 << 20] {
                let request = client.request("PUT", "/refuse").body(full(sample(length))).unwrap();
                assert_eq!(client.whole(request).await.unwrap().status, 413, "{length}");
            }
            assert_eq!(client.get("/hello.txt").await.text(), "hello, world", "the session is as it was");
        }
    });
}

#[test]
fn one_connection_to_nginx_serves_many_requests() {
    let Some(nginx) = Nginx::start() else { return };
    let gateway = nginx.gateway();
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2).await;
        let mut connections = std::collections::BTreeSet::new();
        for number in 1..=50 {
            let answer = client.get("/connection").await;
            let (connection, requests) = answer.text().split_once(' ').unwrap();
            connections.insert(connection.to_owned());
            assert_eq!(requests, number.to_string());
        }
        assert_eq!(connections.len(), 1);
        let said = client.get("/host").await;
        let words: Vec<_> = said.text().split(' ').collect();
        assert_eq!(words[0], "127.0.0.1", "the host that was asked for");
        assert_eq!(words.last(), Some(&""), "no hop-by-hop field: {words:?}");
        let scrape = scrape(&gateway).await;
        assert_eq!(scrape.sum("stagedoor_upstream_connections_active", &[("protocol", "http/1.1")]), 1.0);
        assert_eq!(scrape.sum("stagedoor_upstream_requests_total", &[("code", "200")]), 51.0);
    });
}

#[test]
fn a_slow_answer_of_nginx_holds_up_nobody_else() {
    let Some(nginx) = Nginx::start() else { return };
    let gateway = nginx.gateway();
    run(async {
        let mut client = Client::connect(&gateway, Speaks::H2).await;
        let mut other = client.share();
        let request = client.request("GET", "/slow/some").body(nothing()).unwrap();
        let mut slow = client.send(request).await.unwrap();
        let first = next_octets(slow.body_mut()).await.unwrap().unwrap();
        for _ in 0..50 {
            assert_eq!(other.get("/hello.txt").await.text(), "hello, world");
        }
        let rest = collect(slow).await.unwrap();
        assert!([&first[..], &rest.body].concat() == sample(60_000));
    });
}

#[test]
fn no_get_fails_while_one_of_two_nginx_is_killed_and_comes_back() {
    let (Some(first), Some(second)) = (Nginx::start(), Nginx::start()) else { return };
    let gateway = before(&format!(
        "endpoints = [\"http://{}\", \"http://{}\"]\nbalance = \"round_robin\"\n\
         retry = {{ attempts = 2, on = [\"connect\", \"reset\"], budget = 0.2 }}\n\
         eject = {{ consecutive_failures = 3, for = \"300ms\", max_share = 0.5 }}",
        first.address, second.address
    ));
    run(async {
        let ends = under_load(&gateway, "/hello.txt", async |mut load| {
            let mut first = first;
            for _ in 0..3 {
                load.more(1_000).await;
                let fallen = first.kill();
                load.more(1_000).await;
                first = fallen.rise().await;
            }
            load.more(1_000).await;
        })
        .await;
        assert_eq!(ends.keys().collect::<Vec<_>>(), ["200"], "{ends:?}");
        let scrape = scrape(&gateway).await;
        assert!(scrape.sum("stagedoor_upstream_retries_total", &[("result", "sent")]) > 0.0);
        assert!(scrape.sum("stagedoor_upstream_failures_total", &[]) > 0.0);
    });
}
