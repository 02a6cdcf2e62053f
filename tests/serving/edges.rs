//! Connections that come another way than over plain TCP: with a PROXY header in front, and over Unix sockets.

use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::harness::{Serving, upstream};
use crate::support::client::{Client, nothing};
use crate::support::command::stagedoor;
use crate::support::{Gateway, run};

const CLIENT: &str = "192.0.2.9";

/// The header of a client at 192.0.2.9:4711, as text.
const V1: &[u8] = b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\n";

/// The same in octets.
fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x21, 0x11, 0, 12]);
    header.extend([192, 0, 2, 9, 192, 0, 2, 1]);
    header.extend([4711_u16.to_be_bytes(), 443_u16.to_be_bytes()].concat());
    header
}

/// A gateway that takes PROXY headers from `trusted`, before an upstream.
fn behind(trusted: &str, takes: &str, origin: SocketAddr, log: &Path) -> Serving {
    Serving::start(&format!(
        "[server]\nworkers = 2\ntrusted_proxies = [\"{trusted}\"]\n\
         drain = {{ min_accept = \"0s\", timeout = \"20s\" }}\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [log]\naccess = {{ format = \"json\", path = \"{}\" }}\n\
         [[listener]]\nname = \"plain\"\nbind = \"127.0.0.1:0\"\nproxy_protocol = \"{takes}\"\n{}\
         [[route]]\nname = \"all\"\nproxy = {{ upstream = \"origin\" }}\n",
        log.display(),
        upstream("origin", origin, "protocol = \"h2c\""),
    ))
}

fn field(headers: &Value, name: &str) -> Vec<String> {
    let fields = headers["fields"].as_array().unwrap().iter().filter(|field| field[0] == name);
    fields.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn upstreams_and_logs_hear_of_the_client_that_a_proxy_names() {
    let origin = Gateway::start();
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("access.log");
    let serving = behind("127.0.0.0/8", "any", origin.plain, &log);
    let address = serving.address("plain");
    run(async {
        for header in [V1.to_vec(), v2()] {
            for http2 in [false, true] {
                let mut tcp = TcpStream::connect(address).await.unwrap();
                tcp.write_all(&header).await.unwrap();
                let mut client = Client::over(Box::new(tcp), http2, "a.example").await;
                let request = client.request("GET", "/headers").header("x-forwarded-for", "192.0.2.66");
                let answer = client.whole(request.body(nothing()).unwrap()).await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(
                    field(&answer.json(), "x-forwarded-for"),
                    [CLIENT],
                    "the client itself is no proxy of ours"
                );
                let session = &serving.told("/api/sessions").await;
                assert!(session.to_string().contains("192.0.2.9:4711"), "{session}");
            }
        }
        // A trusted proxy that says nothing of its client.
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"GET /headers HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer).await;
        assert!(!answer.windows(3).any(|part| part == b"200"), "{}", String::from_utf8_lossy(&answer));
    });
    serving.process.signal(Signal::TERM);
    assert_eq!(serving.process.ended().0.code(), Some(0));
    let lines: Vec<Value> = std::fs::read_to_string(&log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["path"] == "/headers")
        .collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in lines {
        assert_eq!((&line["peer"], &line["route"]), (&"192.0.2.9:4711".into(), &"all".into()), "{line}");
    }
}

#[test]
fn a_stranger_s_proxy_header_is_not_taken() {
    let origin = Gateway::start();
    let place = tempfile::tempdir().unwrap();
    let serving = behind("192.0.2.0/24", "any", origin.plain, &place.path().join("access.log"));
    run(async {
        for header in [V1.to_vec(), v2()] {
            let mut tcp = TcpStream::connect(serving.address("plain")).await.unwrap();
            tcp.write_all(&header).await.unwrap();
            let _ = tcp.write_all(b"GET /headers HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let mut answer = Vec::new();
            let _ = tcp.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(!answer.contains("200") && !answer.contains(CLIENT), "{answer}");
        }
    });
}

#[test]
fn it_listens_and_is_looked_at_over_unix_sockets() {
    let origin = Gateway::start();
    let place = tempfile::tempdir().unwrap();
    let [public, admin] = ["public.sock", "admin.sock"].map(|name| place.path().join(name));
    let text = format!(
        "[server]\nworkers = 2\ndrain = {{ min_accept = \"0s\", timeout = \"20s\" }}\n\
         [admin]\nbind = \"unix:{}\"\n[[listener]]\nname = \"public\"\nbind = \"unix:{}\"\n{}\
         [[route]]\nname = \"all\"\nproxy = {{ upstream = \"origin\" }}\n",
        admin.display(),
        public.display(),
        upstream("origin", origin.plain, "")
    );
    let serving = Serving::start_with(tempfile::tempdir().unwrap(), &text, &[]);
    let banner = serving.process.stderr();
    assert!(banner.contains(&format!("unix:{}", public.display())), "{banner}");
    let admin_address = format!("unix:{}", admin.display());
    run(async {
        for http2 in [false, true] {
            let unix = UnixStream::connect(&public).await.unwrap();
            let mut client = Client::over(Box::new(unix), http2, "a.example").await;
            let answer = client.get("/headers").await;
            assert_eq!(answer.status, 200);
            assert_eq!(field(&answer.json(), "x-forwarded-proto"), ["http"]);
            let (state, admin) = (serving.process.state().to_owned(), admin_address.clone());
            let listed = tokio::task::spawn_blocking(move || {
                stagedoor(&state, &["sessions", "--json", "--filter", "listener = public", "--admin", &admin])
                    .quietly()
            });
            let listed: Value = serde_json::from_slice(&listed.await.unwrap()).unwrap();
            assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
            drop(client);
            let (state, admin) = (serving.process.state().to_owned(), admin_address.clone());
            super::harness::until("it is gone", async || {
                let (state, admin) = (state.clone(), admin.clone());
                let listed = tokio::task::spawn_blocking(move || {
                    stagedoor(
                        &state,
                        &["sessions", "--json", "--filter", "listener = public", "--admin", &admin],
                    )
                    .quietly()
                });
                listed.await.unwrap() == b"[]\n"
            })
            .await;
        }
    });
    serving.process.signal(Signal::TERM);
    let (status, said) = serving.process.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!public.exists() && !admin.exists(), "nobody is there any more");
}
