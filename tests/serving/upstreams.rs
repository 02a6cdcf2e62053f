//! Upstreams as people see them: their sessions among the others, their endpoints, and what both are on the way down.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::harness::{PLAIN, Serving, until, upstream};
use crate::support::client::{collect, fed, nothing};
use crate::support::command::stagedoor;
use crate::support::nobody::nobody;
use crate::support::{Gateway, run};

/// Everything goes to one upstream by h2c.
fn onward(origin: &Gateway) -> Serving {
    Serving::start(&format!(
        "{PLAIN}{}[[route]]\nname = \"all\"\nproxy = {{ upstream = \"origin\" }}\n",
        upstream("origin", origin.plain, "protocol = \"h2c\"")
    ))
}

/// A command against the admin listener, while this thread goes on.
async fn ran(serving: &Serving, words: &[&str]) -> String {
    let admin = format!("http://{}", serving.address("admin"));
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let state = serving.process.state().to_owned();
    let ran = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["--admin", &admin]).collect();
        stagedoor(&state, &words)
    });
    let ran = ran.await.unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    String::from_utf8(ran.out).unwrap()
}

/// Sessions of ours with upstreams.
async fn clients(serving: &Serving) -> Vec<Value> {
    let listed = serving.told("/api/sessions").await;
    let listed = listed["sessions"].as_array().or(listed.as_array()).unwrap().clone();
    listed.into_iter().filter(|session| session["role"] == "client").collect()
}

#[test]
fn their_sessions_are_listed_shown_and_closed_like_any() {
    let origin = Gateway::start();
    let serving = onward(&origin);
    run(async {
        let mut client = serving.client("plain", true).await;
        let (octets, body) = fed();
        octets.send(http_body::Frame::data("x".into())).unwrap();
        let running = client.send(client.request("POST", "/echo").body(body).unwrap()).await.unwrap();
        let listed = clients(&serving).await;
        let [session] = &listed[..] else { panic!("one: {listed:?}") };
        assert_eq!(session["protocol"], "h2c", "{session}");
        assert!(session.to_string().contains("origin"), "{session}");
        assert_eq!(session["peer"], origin.plain.to_string(), "{session}");
        assert_eq!(session["streams_open"], 1, "{session}");
        let id = session["id"].as_str().unwrap().to_owned();

        let top: Value = serde_json::from_str(&ran(&serving, &["top", "--once", "--json"]).await).unwrap();
        assert!(top.to_string().contains(&format!("\"{id}\"")), "{top}");
        let shown: Value = serde_json::from_str(&ran(&serving, &["session", &id, "--json"]).await).unwrap();
        assert_eq!(shown["role"], "client", "{shown}");
        let seen = ran(&serving, &["upstreams"]).await;
        assert!(seen.contains("origin") && seen.contains(&origin.plain.to_string()), "{seen}");
        let told = serving.told("/api/upstreams").await;
        let told = told["upstreams"].as_array().or(told.as_array()).unwrap()[0].clone();
        let endpoint = &told["endpoints"][0];
        assert_eq!(
            (&endpoint["connections"], &endpoint["active"], &endpoint["state"]),
            (&1.into(), &1.into(), &"healthy".into()),
            "{told}"
        );

        // Closed in good order: what runs on it is finished, what is new has a new one.
        ran(&serving, &["close", &id]).await;
        assert_eq!(client.share().get("/bytes/1").await.text(), "A");
        drop(octets);
        assert_eq!(collect(running).await.unwrap().text(), "x");
        until("the other is there", async || {
            let now = clients(&serving).await;
            now.len() == 1 && now[0]["id"] != id.as_str()
        })
        .await;

        // At once: a request that ran on it hears of it.
        let (_octets, body) = fed();
        let request = client.request("POST", "/echo").body(body).unwrap();
        let mut second = client.share();
        let asked = tokio::spawn(async move { second.whole(request).await });
        until("it runs", async || clients(&serving).await.iter().any(|one| one["streams_open"] == 1)).await;
        let id = clients(&serving).await[0]["id"].as_str().unwrap().to_owned();
        ran(&serving, &["close", &id, "--now"]).await;
        match asked.await.unwrap() {
            Ok(answer) => assert!(matches!(answer.status, 502 | 503), "{answer:?}"),
            Err(error) => assert!(error.code().is_some(), "{error}"),
        }
        assert_eq!(client.get("/bytes/1").await.text(), "A");
    });
}

#[test]
fn they_do_not_hold_up_a_drain() {
    let origin = Gateway::start();
    let serving = onward(&origin);
    run(async {
        let mut client = serving.client("plain", true).await;
        assert_eq!(client.get("/bytes/1").await.text(), "A");
        assert_eq!(clients(&serving).await.len(), 1);
    });
    let began = Instant::now();
    serving.process.signal(Signal::TERM);
    let (status, said) = serving.process.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("drained in ") && began.elapsed() < Duration::from_secs(10), "{said}");
}

#[test]
fn an_exchange_that_runs_is_finished_though_the_gateway_drains() {
    let origin = Gateway::start();
    for protocol in ["h2c", "http/1.1"] {
        let serving = Serving::start(&format!(
            "{PLAIN}{}[[route]]\nname = \"all\"\nproxy = {{ upstream = \"origin\" }}\n",
            upstream("origin", origin.plain, &format!("protocol = \"{protocol}\""))
        ));
        run(async {
            let mut client = serving.client("plain", true).await;
            let (octets, body) = fed();
            octets.send(http_body::Frame::data("before, ".into())).unwrap();
            let running = client.send(client.request("POST", "/echo").body(body).unwrap()).await.unwrap();
            serving.process.signal(Signal::TERM);
            serving.until("draining", &[], 1.0).await;
            until("its session drains", async || {
                serving.told("/api/sessions").await.to_string().contains("\"draining\"")
            })
            .await;
            octets.send(http_body::Frame::data("after".into())).unwrap();
            drop(octets);
            assert_eq!(collect(running).await.unwrap().text(), "before, after");
        });
        let (status, said) = serving.process.ended();
        assert_eq!(status.code(), Some(0), "{said}");
    }
}

/// Says that 100 octets come, sends one, and is gone; as often as it is asked.
fn breaks_off() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let mut asked = [0; 4096];
            let _ = tcp.read(&mut asked);
            let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx");
        }
    });
    address
}

#[test]
fn the_access_log_says_why_a_request_failed() {
    let origin = Gateway::start();
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("access.log");
    let serving = Serving::start(&format!(
        "{PLAIN}[log]\naccess = {{ format = \"json\", path = \"{}\" }}\n{}{}{}\
         [[route]]\nname = \"fine\"\nmatch = {{ path = \"/bytes/{{count}}\" }}\nproxy = {{ upstream = \"origin\" }}\n\
         [[route]]\nname = \"dead\"\nmatch = {{ path = \"/dead\" }}\nproxy = {{ upstream = \"dead\" }}\n\
         [[route]]\nname = \"cut\"\nmatch = {{ path = \"/cut\" }}\nproxy = {{ upstream = \"cut\" }}\n\
         [[route]]\nname = \"denied\"\nmatch = {{ path = \"/denied\" }}\ndeny = [\"0.0.0.0/0\"]\n\
         respond = {{ status = 204 }}\n",
        log.display(),
        upstream("origin", origin.plain, "protocol = \"h2c\""),
        upstream("dead", nobody(), "retry = { attempts = 0 }"),
        upstream("cut", breaks_off(), "protocol = \"http/1.1\""),
    ));
    run(async {
        for http2 in [false, true] {
            let mut client = serving.client("plain", http2).await;
            for (path, status) in [("/bytes/10", 200), ("/dead", 502), ("/denied", 403), ("/nowhere", 404)] {
                assert_eq!(client.get(path).await.status, status, "{path}");
            }
            let request = client.request("GET", "/cut").body(nothing()).unwrap();
            assert!(client.whole(request).await.is_err(), "it is not whole");
        }
    });
    serving.process.signal(Signal::TERM);
    assert_eq!(serving.process.ended().0.code(), Some(0));
    let written = std::fs::read_to_string(&log).unwrap();
    let lines = written.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut causes: Vec<String> = lines.map(|line| format!("{} {}", line["path"], line["cause"])).collect();
    causes.sort();
    let expected = [
        r#""/bytes/10" null"#,
        r#""/cut" "http_response_incomplete""#,
        r#""/dead" "connection_refused""#,
        r#""/denied" "denied""#,
        r#""/nowhere" "no_route""#,
    ];
    assert_eq!(causes, expected.iter().flat_map(|line| [*line; 2]).collect::<Vec<_>>(), "{written}");
}
