//! A reload by signal, API and watching: no request fails, streams that run keep what they began with, and a file with
//! faults changes nothing.

use rustix::process::Signal;

use super::harness::{HEAD, PLAIN, Serving, says, until, upstream};
use super::load::Load;
use crate::support::client::{fed, nothing};
use crate::support::{Gateway, run};

fn saying(words: &str) -> String {
    format!("{PLAIN}{}", says("words", "/", words))
}

#[test]
fn routes_are_exchanged_under_load_by_signal_api_and_watching() {
    let serving = Serving::start_with(tempfile::tempdir().unwrap(), &saying("one"), &["--watch"]);
    run(async {
        let load = Load::start(serving.address("plain"), "/");
        load.goes_on(200).await;
        // The watcher and the API may both come to it: what counts is that it is there, once.
        let changed = serving.reload(&saying("two")).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        load.goes_on(200).await;
        serving.write(&saying("three"));
        serving.process.signal(Signal::HUP);
        let heard = async |words: &str| serving.client("plain", true).await.get("/").await.text() == words;
        until("HUP", || heard("three")).await;
        load.goes_on(200).await;
        serving.write(&saying("four"));
        until("the watcher", || heard("four")).await;
        load.goes_on(200).await;
        load.end().only(&["one", "two", "three", "four"]);
    });
}

/// Between the load and the watcher there is a moment.
#[test]
fn what_changes_the_moment_it_is_ready_is_seen() {
    for _ in 0..3 {
        let serving = Serving::start_with(tempfile::tempdir().unwrap(), &saying("one"), &["--watch"]);
        serving.write(&saying("two"));
        run(async {
            let heard = async || serving.client("plain", true).await.get("/").await.text() == "two";
            until("the watcher", heard).await;
        });
    }
}

#[test]
fn a_reload_on_every_breath_fails_no_request() {
    let origin = Gateway::start();
    let text = |at: usize| {
        let upstream = upstream("origin", origin.plain, "protocol = \"h2c\"");
        let extra = says("extra", "/extra", &at.to_string());
        format!("{PLAIN}{upstream}[[route]]\nname = \"all\"\nproxy = {{ upstream = \"origin\" }}\n{extra}")
    };
    let serving = Serving::start(&text(0));
    run(async {
        let load = Load::start(serving.address("plain"), "/bytes/1");
        load.goes_on(50).await;
        for at in 1..=25 {
            assert_eq!(serving.reloaded(&text(at)).await, ["route \"extra\" changed"]);
        }
        load.goes_on(50).await;
        let tally = load.end();
        tally.only(&["A"]);
        let scrape = serving.scrape().await;
        assert_eq!(scrape.value("stagedoor_config_reloads_total", &[("result", "ok")]), 25.0);
    });
}

#[test]
fn streams_that_run_keep_the_route_they_began_on() {
    let origin = Gateway::start();
    let old = format!(
        "{PLAIN}{}[[route]]\nname = \"old\"\nresponse_headers = {{ set = {{ x-route = \"old\" }} }}\nproxy = {{ upstream = \"origin\" }}\n",
        upstream("origin", origin.plain, "protocol = \"h2c\"")
    );
    let new = saying("new");
    for http2 in [true, false] {
        let serving = Serving::start(&old);
        run(async {
            let mut client = serving.client("plain", http2).await;
            let (octets, body) = fed();
            octets.send(http_body::Frame::data("before, ".into())).unwrap();
            let request = client.request("POST", "/echo").body(body).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.headers()["x-route"], "old");

            let mut changed = serving.reloaded(&new).await;
            changed.sort();
            assert_eq!(
                changed,
                ["route \"old\" is gone", "route \"words\" is new", "upstream \"origin\" is gone"]
            );
            if http2 {
                assert_eq!(client.share().get("/").await.text(), "new", "on the session that was there");
            }
            octets.send(http_body::Frame::data("after".into())).unwrap();
            drop(octets);
            let whole = crate::support::client::collect(response).await.unwrap();
            assert_eq!(whole.text(), "before, after");
            // The session went on to the new routes, and the upstream that is gone lets go of its connections.
            assert_eq!(client.get("/").await.text(), "new");
            serving.until("upstream_connections_active", &[("upstream", "origin")], 0.0).await;
        });
    }
}

#[test]
fn a_file_with_faults_changes_nothing_and_says_why() {
    let serving = Serving::start(&saying("good"));
    run(async {
        let mut client = serving.client("plain", true).await;
        let load = Load::start(serving.address("plain"), "/");
        load.goes_on(50).await;
        let faulty = format!(
            "{PLAIN}[[route]]\nname = \"a\"\nproxy = {{ upstream = \"apj\" }}\n[[rote]]\nname = \"b\"\n"
        );
        let refused = serving.reload(&faulty).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        for words in ["unknown_upstream", "apj", "unknown_key", "rote", "stagedoor.toml:"] {
            assert!(refused.text().contains(words), "no {words} in {}", refused.text());
        }
        let standing = serving.told("/api/config").await;
        let told = standing["last_error"]["errors"].as_str().unwrap();
        assert!(told.contains("apj") && told.contains("rote"), "all of them: {told}");
        serving.process.line(|line| line.contains("the configuration was not reloaded"));
        let scrape = serving.scrape().await;
        assert_eq!(scrape.value("stagedoor_config_last_reload_successful", &[]), 0.0);
        assert_eq!(scrape.value("stagedoor_config_reloads_total", &[("result", "error")]), 1.0);
        assert_eq!(client.get("/").await.text(), "good");

        // An address that cannot be had is found before anything is exchanged.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let second = format!("[[listener]]\nname = \"second\"\nbind = \"{}\"\n", taken.local_addr().unwrap());
        let refused = serving.reload(&format!("{}{second}", saying("bad"))).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.text().contains(&taken.local_addr().unwrap().to_string()), "{}", refused.text());
        assert_eq!(client.get("/").await.text(), "good");

        assert_eq!(serving.reloaded(&saying("better")).await, ["route \"words\" changed"]);
        assert_eq!(client.get("/").await.text(), "better");
        load.goes_on(50).await;
        load.end().only(&["better", "good"]);
        assert!(serving.told("/api/config").await["last_error"].is_null());
        let scrape = serving.scrape().await;
        assert_eq!(scrape.value("stagedoor_config_last_reload_successful", &[]), 1.0);
    });
}

#[test]
fn listeners_come_change_and_go() {
    let listener =
        |name: &str, more: &str| format!("[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\n{more}");
    let route = says("words", "/", "hello");
    let serving = Serving::start(&format!("{PLAIN}{route}"));
    run(async {
        let load = Load::start(serving.address("plain"), "/");
        load.goes_on(50).await;
        let mut kept = serving.client("plain", true).await;
        assert_eq!(kept.get("/").await.text(), "hello");

        let added = format!("{PLAIN}{}{route}", listener("second", ""));
        assert_eq!(serving.reloaded(&added).await, ["listener \"second\" is new"]);
        let second = serving.bound("second").await.unwrap();
        let mut client = crate::support::client::Client::plain(second, false).await;
        assert_eq!(client.get("/").await.text(), "hello");

        // One that changes keeps its socket and its sessions.
        let changed = format!("{PLAIN}{}{route}", listener("second", "protocols = [\"h2\"]\n"));
        assert_eq!(serving.reloaded(&changed).await, ["listener \"second\" changed"]);
        assert_eq!(serving.bound("second").await, Some(second));
        assert_eq!(client.get("/").await.text(), "hello", "a session keeps what it was made with");
        let mut two = crate::support::client::Client::plain(second, true).await;
        assert_eq!(two.get("/").await.text(), "hello");
        let mut one = crate::support::client::Client::plain(second, false).await;
        let refused = one.whole(one.request("GET", "/").body(nothing()).unwrap()).await;
        assert!(refused.map_or(true, |answer| answer.status >= 400), "HTTP/1.1 is off now");

        assert_eq!(serving.reloaded(&format!("{PLAIN}{route}")).await, ["listener \"second\" is gone"]);
        until("the socket is closed", async || std::net::TcpStream::connect(second).is_err()).await;
        serving.until("sessions_active", &[("listener", "second")], 0.0).await;
        assert_eq!(kept.get("/").await.text(), "hello");
        load.goes_on(50).await;
        load.end().only(&["hello"]);
    });
}

#[test]
fn an_upstream_that_stays_keeps_its_connections_and_one_that_changes_drains() {
    let (stays, leaves) = (Gateway::start(), Gateway::start());
    let text = |protocol: &str, leaves: Option<&Gateway>, words: &str| {
        let route = |name: &str| {
            format!(
                "[[route]]\nname = \"{name}\"\nmatch = {{ path = \"/{name}/{{*rest}}\" }}\nstrip_prefix = \"/{name}\"\nproxy = {{ upstream = \"{name}\" }}\n"
            )
        };
        let mut text =
            format!("{PLAIN}{}{}", upstream("stays", stays.plain, "protocol = \"h2c\""), route("stays"));
        if let Some(leaves) = leaves {
            let more = format!("protocol = \"{protocol}\"");
            text += &format!("{}{}", upstream("leaves", leaves.plain, &more), route("leaves"));
        }
        text + &says("words", "/words", words)
    };
    let serving = Serving::start(&text("h2c", Some(&leaves), "one"));
    run(async {
        let mut client = serving.client("plain", true).await;
        let own = async |client: &mut crate::support::client::Client, of: &str| {
            let seen = client.get(&format!("/{of}/session")).await.json();
            seen["session"]["id"].as_str().unwrap().to_owned()
        };
        let (first, other) = (own(&mut client, "stays").await, own(&mut client, "leaves").await);
        // A stream that runs while its upstream changes is finished on the connection it has.
        let (octets, body) = fed();
        octets.send(http_body::Frame::data("be".into())).unwrap();
        let request = client.request("POST", "/leaves/echo").body(body).unwrap();
        let running = client.send(request).await.unwrap();

        assert_eq!(
            serving.reloaded(&text("http/1.1", Some(&leaves), "two")).await,
            ["upstream \"leaves\" changed", "route \"words\" changed"]
        );
        assert_eq!(own(&mut client, "stays").await, first, "the same connection");
        assert_ne!(own(&mut client, "leaves").await, other, "a new one, of another protocol");
        let told = serving.told("/api/upstreams").await;
        let told = told["upstreams"].as_array().or(told.as_array()).unwrap().clone();
        assert_eq!(told[1]["protocol"], "http/1.1", "{told:?}");
        octets.send(http_body::Frame::data("fore".into())).unwrap();
        drop(octets);
        assert_eq!(crate::support::client::collect(running).await.unwrap().text(), "before");

        serving.reloaded(&text("", None, "three")).await;
        assert_eq!(own(&mut client, "stays").await, first);
        assert_eq!(client.get("/leaves/bytes/1").await.status, 404);
        serving.until("upstream_connections_active", &[("upstream", "leaves")], 0.0).await;
        serving.until("upstream_connections_active", &[("upstream", "stays")], 1.0).await;
    });
}

#[test]
fn what_only_a_new_process_does_is_said() {
    let serving = Serving::start(&saying("one"));
    run(async {
        let text = format!("{}{}", HEAD.replace("workers = 2", "workers = 1"), saying("one"));
        let answer = serving.reload(&text).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = answer.json();
        assert_eq!(told["needs_restart"], serde_json::json!(["server.workers changed"]), "{told}");
        assert_eq!(told["changed"], serde_json::json!([]), "{told}");
    });
}
