//! TERM and INT: what runs is finished, what is new is not taken, and the process ends with 0.

use std::net::TcpStream;

use rustix::process::Signal;
use stagedoor::demo::octet_at;

use crate::support::client::{Client, Speaks, next_octets, nothing};
use crate::support::exposition::Scrape;
use crate::support::raw::{ACK, GOAWAY, HEADERS, PING, Raw};
use crate::support::{Gateway, run};

const NO_ERROR: u32 = 0;

#[test]
fn a_long_response_is_finished_and_the_peer_told_twice() {
    let gateway = Gateway::start();
    let mut raw = Raw::connect(gateway.plain, 1_000);
    raw.request(1, "GET", "/bytes/5000", true);
    let mut body = raw.body(1, 1_000);
    gateway.terminate();

    let shutdown = raw.next_of(GOAWAY);
    assert_eq!((shutdown.number(0), shutdown.number(4)), (0x7fff_ffff, NO_ERROR));
    // A request that crossed the first GOAWAY is still served.
    raw.request(3, "GET", "/bytes/10", true);
    let ping = raw.next_of(PING);
    assert_eq!(ping.flags & ACK, 0);
    raw.next_of(HEADERS);
    assert_eq!(raw.body(3, 10).len(), 10);
    raw.frame(PING, ACK, 0, &ping.payload);
    let last = raw.next_of(GOAWAY);
    assert_eq!((last.number(0), last.number(4)), (3, NO_ERROR));

    // Admin answers to the end: alive, not ready, draining.
    run(async {
        let mut admin = Client::admin(&gateway).await;
        assert_eq!(admin.get("/livez").await.status, 200);
        let ready = admin.get("/readyz").await;
        assert_eq!((ready.status, ready.text()), (503, "draining\n"));
        let scrape = Scrape::read(admin.get("/metrics").await.text());
        assert_eq!(scrape.value("stagedoor_draining", &[]), 1.0);
        assert_eq!(scrape.value("stagedoor_ready", &[]), 0.0);
    });
    gateway.process.line(|line| line.starts_with("1 session, 1 stream, ") && line.ends_with(" s left"));
    assert!(TcpStream::connect(gateway.plain).is_err(), "the listener is closed");

    raw.window_update(1, 10_000);
    body.extend(raw.body(1, 4_000));
    assert!((0..5_000).map(octet_at).eq(body));
    assert!(raw.next().is_none(), "then the socket is closed");
    let (status, stderr) = gateway.process.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("drained in "), "{stderr}");
}

#[test]
fn responses_of_every_protocol_are_finished() {
    for speaks in Speaks::ALL {
        let gateway = Gateway::start();
        run(async {
            let mut client = Client::connect(&gateway, speaks).await;
            let request = client.request("GET", "/drip?bytes=300&rate=1000").body(nothing()).unwrap();
            let mut body = client.send(request).await.unwrap().into_body();
            let mut octets = next_octets(&mut body).await.unwrap().unwrap().to_vec();
            gateway.terminate();
            while let Some(piece) = next_octets(&mut body).await {
                octets.extend(piece.unwrap());
            }
            assert!((0..300).map(octet_at).eq(octets), "on {speaks:?}");
        });
        let (status, stderr) = gateway.process.ended();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

#[test]
fn idle_sessions_do_not_hold_a_drain_up() {
    let gateway = Gateway::start();
    run(async {
        for speaks in Speaks::ALL {
            let mut client = Client::connect(&gateway, speaks).await;
            client.get("/bytes/1").await;
        }
        let mut clients = Vec::new();
        for speaks in Speaks::ALL {
            let mut client = Client::connect(&gateway, speaks).await;
            client.get("/bytes/1").await;
            clients.push(client);
        }
        gateway.process.signal(Signal::INT);
        // Answers to PING need this thread: wait on another.
        let ended = tokio::task::spawn_blocking(move || gateway.process.ended()).await.unwrap();
        assert_eq!(ended.0.code(), Some(0), "{}", ended.1);
    });
}

#[test]
fn a_second_signal_stops_now() {
    let gateway = Gateway::start();
    let mut raw = Raw::connect(gateway.plain, 0);
    raw.request(1, "GET", "/bytes/5000", true);
    raw.next_of(HEADERS);
    gateway.terminate();
    gateway.process.line(|line| line.ends_with(" s left"));
    gateway.terminate();
    let began = std::time::Instant::now();
    let (status, stderr) = gateway.process.ended();
    assert!(began.elapsed().as_secs() < 5, "{stderr}");
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("stopped, not drained"), "{stderr}");
}

#[test]
fn hup_reloads_nothing_and_says_so() {
    let gateway = Gateway::start();
    gateway.process.signal(Signal::HUP);
    gateway.process.line(|line| line.contains("no configuration file to reload"));
    run(async {
        assert_eq!(Client::connect(&gateway, Speaks::H2).await.get("/").await.status, 200);
    });
}
