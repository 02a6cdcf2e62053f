//! The way down of a configured gateway, whole and listener by listener.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::{PLAIN, Serving, says, until};
use super::load::Load;
use crate::support::client::{Client, collect, fed};
use crate::support::command::stagedoor;
use crate::support::raw::{GOAWAY, HEADERS, Raw};
use crate::support::run;

const SLOWLY: &str = "\
[server]
workers = 2
drain = { min_accept = \"1s\", timeout = \"20s\" }
[admin]
bind = \"127.0.0.1:0\"
[[listener]]
name = \"plain\"
bind = \"127.0.0.1:0\"
[[route]]
name = \"demo\"
demo = {}
";

#[test]
fn readiness_fails_first_and_connections_are_taken_for_min_accept() {
    let serving = Serving::start(SLOWLY);
    let plain = serving.address("plain");
    run(async {
        // What runs under TERM, by both protocols.
        let mut running = Vec::new();
        for http2 in [true, false] {
            let mut client = serving.client("plain", http2).await;
            let (octets, body) = fed();
            octets.send(http_body::Frame::data("begun, ".into())).unwrap();
            let response = client.send(client.request("POST", "/echo").body(body).unwrap()).await.unwrap();
            running.push((octets, response, client));
        }
        let mut load = Load::until_closed(plain, "/bytes/1");
        load.goes_on(100).await;
        let mut admin = serving.admin().await;
        assert_eq!(admin.get("/readyz").await.status, 200);
        let began = Instant::now();
        serving.process.signal(Signal::TERM);
        until("not ready", async || serving.admin().await.get("/readyz").await.status == 503).await;
        assert_eq!(serving.client("plain", true).await.get("/bytes/1").await.text(), "A");
        assert_eq!(serving.client("plain", false).await.get("/bytes/1").await.text(), "A");
        assert!(began.elapsed() < Duration::from_secs(1), "too slow a machine to tell");
        load.goes_on(50).await;
        load.ended().await;
        assert!(began.elapsed() >= Duration::from_secs(1), "taken for min_accept: {:?}", began.elapsed());
        assert!(TcpStream::connect(plain).is_err());
        assert_eq!(admin.get("/readyz").await.text(), "draining\n");
        let tally = load.end();
        tally.only(&["A"]);
        for (octets, response, client) in running {
            octets.send(http_body::Frame::data("finished".into())).unwrap();
            drop(octets);
            assert_eq!(collect(response).await.unwrap().text(), "begun, finished");
            drop(client);
        }
    });
    let (status, said) = serving.process.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("drained in "), "{said}");
}

#[test]
fn a_second_signal_does_not_wait_for_min_accept() {
    let serving = Serving::start(&SLOWLY.replace("\"1s\"", "\"1m\""));
    serving.process.signal(Signal::TERM);
    serving.process.line(|line| line.contains("draining"));
    let began = Instant::now();
    serving.process.signal(Signal::TERM);
    let (status, said) = serving.process.ended();
    assert!(began.elapsed() < Duration::from_secs(10), "{said}");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("stopped, not drained"), "{said}");
}

#[test]
fn the_deadline_ends_what_is_left() {
    let serving = Serving::start(&SLOWLY.replace("\"1s\"", "\"0s\"").replace("\"20s\"", "\"300ms\""));
    let mut raw = Raw::connect(serving.address("plain"), 0);
    raw.request(1, "GET", "/bytes/5000", true);
    raw.next_of(HEADERS);
    serving.process.signal(Signal::TERM);
    raw.next_of(GOAWAY);
    while raw.next().is_some() {}
    let (status, said) = serving.process.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("1 session, 1 stream, "), "{said}");
}

#[test]
fn one_listener_is_drained_and_taken_back() {
    let second = "[[listener]]\nname = \"second\"\nbind = \"127.0.0.1:0\"\n";
    let text = format!(
        "{PLAIN}{second}{}[[route]]\nname = \"demo\"\ndemo = {{}}\n",
        says("words", "/words", "hello")
    );
    let serving = Serving::start(&text);
    let (plain, address) = (serving.address("plain"), serving.address("second"));
    let admin = format!("http://{}", serving.address("admin"));
    let ordered = |args: &[&str]| {
        let ran = stagedoor(serving.process.state(), &[args, &["--admin", &admin]].concat());
        (ran.code, String::from_utf8(ran.out).unwrap() + &ran.err)
    };
    let mut raw = Raw::connect(address, 1_000);
    raw.request(1, "GET", "/bytes/2000", true);
    let mut had = raw.body(1, 1_000).len();
    let load = Load::start(plain, "/words");

    let (code, said) = ordered(&["drain", "--listener", "second", "--timeout", "20s"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(raw.next_of(GOAWAY).number(0), 0x7fff_ffff);
    run(async {
        until("the socket is closed", async || TcpStream::connect(address).is_err()).await;
        // The process is as ready as it was.
        assert_eq!(serving.admin().await.get("/readyz").await.status, 200);
        load.goes_on(50).await;
    });
    raw.window_update(1, 10_000);
    had += raw.body(1, 1_000).len();
    assert_eq!(had, 2_000);

    let (code, said) = ordered(&["resume", "--listener", "second"]);
    assert_eq!(code, Some(0), "{said}");
    run(async {
        let mut client = Client::plain(address, true).await;
        assert_eq!(client.get("/words").await.text(), "hello");
        load.goes_on(50).await;
        load.end().only(&["hello"]);
    });

    let (code, said) = ordered(&["drain", "--listener", "third"]);
    assert!(code == Some(1) && said.contains("third"), "{code:?} {said}");
}

#[test]
fn gauges_of_a_listener_are_nothing_once_its_sessions_are_gone() {
    let second = "[[listener]]\nname = \"second\"\nbind = \"127.0.0.1:0\"\n";
    let serving = Serving::start(&format!("{}{second}", SLOWLY.replace("\"1s\"", "\"0s\"")));
    run(async {
        let echoing = async |listener: &str| {
            let mut client = serving.client(listener, true).await;
            let (octets, body) = fed();
            octets.send(http_body::Frame::data("x".into())).unwrap();
            let response = client.send(client.request("POST", "/echo").body(body).unwrap()).await.unwrap();
            (octets, response, client)
        };
        let (octets, response, _client) = echoing("plain").await;
        // The one that keeps the process, so that there is somebody to ask.
        let (kept, other, _other) = echoing("second").await;
        serving.process.signal(Signal::TERM);
        serving.until("draining", &[], 1.0).await;
        serving.until("sessions_active", &[("listener", "plain")], 1.0).await;
        let refused = serving.admin().await.post("/api/reload", "").await;
        assert!(refused.status >= 400 && refused.text().contains("on its way down"), "{}", refused.text());
        drop(octets);
        assert_eq!(collect(response).await.unwrap().text(), "x");
        serving.until("sessions_active", &[("listener", "plain")], 0.0).await;
        serving.until("streams_active", &[("listener", "plain")], 0.0).await;
        serving.until("sessions_active", &[("listener", "second")], 1.0).await;
        drop(kept);
        collect(other).await.unwrap();
    });
    let (status, said) = serving.process.ended();
    assert_eq!(status.code(), Some(0), "{said}");
}
