//! Node behind the gateway and before it: WebSockets by upgrade and by extended CONNECT to a server of HTTP/1.1; and its
//! http2 server, whose informational heads, trailers, resets and GOAWAY arrive as they would without the gateway.

use http_body::Frame;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use stagedoor::client::{ClientSession, Event, Options, Tls, connect};

use super::{before, scrape};
use crate::node::{seen, start};
use crate::ours::{get, octets, sample, system};
use crate::support::client::{Client, Speaks, collect, fed, next_octets, nothing};
use crate::support::peers::{Certificate, Running};
use crate::support::{Gateway, run};

/// The port a script says it listens on.
fn port(running: &Running) -> u16 {
    let line = running.line(|line| line.starts_with("listening "));
    line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// Where a gateway is reached, and whom to trust there.
fn sites(gateway: &Gateway) -> [(String, String); 2] {
    let ca = gateway.process.ca_pem().to_str().expect("text").to_owned();
    let tls = format!("https://localhost:{}", gateway.public.port());
    [(format!("http://{}", gateway.plain), String::new()), (tls, ca)]
}

fn echo() -> Option<(Running, Gateway)> {
    let server = start("websocket.js", &["server"])?;
    let gateway = before(&format!("endpoints = [\"http://127.0.0.1:{}\"]", port(&server)));
    Some((server, gateway))
}

#[test]
fn websockets_of_node_pass_by_upgrade() {
    let Some((_server, gateway)) = echo() else { return };
    for (site, ca) in sites(&gateway) {
        let Some(client) = start("websocket.js", &["client", &site, &ca]) else { return };
        let wanted = json!({
            "status": 101, "accepted": true, "protocol": "chat", "text": "hällo", "pong": [10, "ping"], "bye": 1000,
            "sizes": [0, 1, 125, 126, 65_535, 65_536, 3_000_000],
            "refused": [403, "no\n"], "plain": [200, "GET no upgrade"],
        });
        assert_eq!(seen(client), wanted, "{site}");
    }
}

#[test]
fn websockets_of_node_pass_from_http2_to_http1() {
    let Some((server, gateway)) = echo() else { return };
    for (site, ca) in sites(&gateway) {
        let Some(client) = start("client.js", &["websocket", &site, &ca]) else { return };
        let seen = seen(client);
        assert_eq!((&seen["offered"], &seen["status"]), (&json!(true), &json!(200)));
        assert_eq!(seen["echo"], json!([0x81, 5, "hello"]));
        assert_eq!(seen["pong"], json!([0x8a, "ping"]));
        assert_eq!(seen["bye"], json!([0x88, 1000]));
        assert_eq!((&seen["code"], &seen["errors"]), (&json!(0), &json!([])));
        server.line(|line| line == "tunnel closed");
    }
}

/// Node's http2 server, in cleartext and with TLS, each with a gateway before it.
fn with_node(more: &str, test: impl AsyncFn(&Gateway)) {
    for tls in [false, true] {
        let own = tls.then(Certificate::new);
        let options = json!({ "settings": { "enableConnectProtocol": true } }).to_string();
        let server = match &own {
            None => start("server.js", &[&options]),
            Some(own) => start("server.js", &[&options, own.paths().1, own.paths().0]),
        };
        let Some(server) = server else { return };
        let port = port(&server);
        let gateway = before(&match &own {
            None => format!("endpoints = [\"http://127.0.0.1:{port}\"]\nprotocol = \"h2c\"\n{more}"),
            Some(own) => format!(
                "endpoints = [\"https://localhost:{port}\"]\ntls = {{ ca = \"{}\" }}\n{more}",
                own.certificate.display()
            ),
        });
        system(test(&gateway));
    }
}

/// A session of our client with a gateway.
fn session(gateway: &Gateway) -> ClientSession {
    let tls = Tls::only_ca_file(gateway.process.ca_pem());
    let site = format!("https://localhost:{}", gateway.public.port());
    connect(&site, Options { tls, ..Options::default() }).expect("an authority")
}

#[test]
fn informational_heads_of_node_arrive_each() {
    with_node("", async |gateway| {
        let session = session(gateway);
        let mut stream = get(&session, "/early");
        let mut heads = Vec::new();
        while let Some(event) = stream.next_event().await {
            match event {
                Event::Continue(head) | Event::Informational(head) => heads.push(head.status),
                Event::Response(head) => {
                    heads.push(head.status);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        // Nobody here waits to send a body: 100 is between the gateway and the server.
        heads.retain(|status| *status != 100);
        assert_eq!(heads, [102, 103, 200]);
        assert_eq!(octets(&mut stream).await.0, b"after three");
    });
}

#[test]
fn bodies_and_trailers_go_to_node_and_come_back() {
    with_node("", async |gateway| {
        for speaks in [Speaks::H2, Speaks::H2c] {
            let mut client = Client::connect(gateway, speaks).await;
            let whole = sample(3 << 20);
            let (feed, body) = fed();
            let request = client.request("POST", "/echo").header("te", "trailers").body(body).unwrap();
            for piece in whole.chunks(50_000) {
                feed.send(Frame::data(piece.to_vec().into())).unwrap();
            }
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", "abc".parse().unwrap());
            feed.send(Frame::trailers(trailers)).unwrap();
            drop(feed);
            let answer = client.whole(request).await.unwrap();
            assert!(answer.body == whole);
            let trailers = answer.trailers.expect("trailers");
            assert_eq!([&trailers["x-sum"], &trailers["x-seen"]], ["abc", "1"]);
        }
    });
}

#[test]
fn resets_of_node_are_answers_before_the_head_and_resets_after_it() {
    with_node("", async |gateway| {
        let mut client = Client::connect(gateway, Speaks::H2).await;
        // Refused: nothing was done, it may be asked again, and is until the attempts are used up.
        assert_eq!(client.get("/reset/before/7").await.status, 503);
        assert!(scrape(gateway).await.sum("stagedoor_upstream_retries_total", &[("result", "sent")]) > 0.0);
        assert_eq!(client.get("/reset/before/2").await.status, 502);
        for path in ["/reset/after/2", "/reset/after/8", "/destroy/socket"] {
            let request = client.request("GET", path).body(nothing()).unwrap();
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            let failed = collect(answer).await.unwrap_err();
            assert!(failed.code().is_some_and(|code| code != h2::Reason::NO_ERROR), "{path}: {failed}");
        }
        assert_eq!(client.get("/status/204").await.status, 204, "the session is as it was");
    });
}

#[test]
fn a_goaway_of_node_lets_its_streams_finish_and_sends_others_elsewhere() {
    with_node("", async |gateway| {
        let mut client = Client::connect(gateway, Speaks::H2c).await;
        let mut other = client.share();
        for path in ["/goaway/0/0", "/close"] {
            let (feed, body) = fed();
            let request = client.request("POST", path).body(body).unwrap();
            let mut answer = client.send(request).await.unwrap();
            let mut said = next_octets(answer.body_mut()).await.unwrap().unwrap().to_vec();
            for _ in 0..20 {
                assert_eq!(other.get("/bytes/100").await.body.len(), 100);
            }
            drop(feed);
            said.extend_from_slice(&answer.into_body().collect().await.unwrap().to_bytes());
            assert_eq!(String::from_utf8(said).unwrap(), "begun and done", "{path}");
        }
        let unanswered = scrape(gateway).await.sum("stagedoor_upstream_requests_total", &[("code", "0")]);
        assert_eq!(unanswered, 0.0);
    });
}

/// What scenarios of Node's client see of the demo must be the same with a gateway between.
fn both(scenario: &str, protocols: &[&str], check: impl Fn(&Value)) {
    let demo = Gateway::start();
    for protocol in protocols {
        let gateway = before(&format!("endpoints = [\"http://{}\"]\nprotocol = \"{protocol}\"", demo.plain));
        for (site, ca) in sites(&gateway) {
            let Some(client) = start("client.js", &[scenario, &site, &ca]) else { return };
            let seen = seen(client);
            assert_eq!(seen["errors"], json!([]), "{protocol}: {seen}");
            check(&seen);
        }
    }
}

#[test]
fn node_hears_hints_and_trailers_through_the_gateway() {
    both("hints", &["h2c"], |seen| {
        assert_eq!(seen["heads"], json!([103, 200]));
        assert_eq!(seen["link"], "</files/style.css>; rel=preload; as=style");
    });
    both("trailers", &["h2c"], |seen| {
        assert_eq!(seen["down"], json!(["42", true, 0]));
        assert_eq!(seen["up"], json!(["one two", "abc", "1, 2", "x-sum", 0]));
        assert_eq!(seen["bare"], json!([0, "yes"]));
    });
}

#[test]
fn node_moves_20_mib_each_way_at_once_through_the_gateway() {
    both("bulk", &["h2c", "http/1.1"], |seen| {
        assert_eq!(
            (&seen["length"], &seen["up"], &seen["both"]),
            (&json!(20 << 20), &json!(true), &json!(true))
        );
    });
}

#[test]
fn node_waits_for_100_continue_through_the_gateway() {
    both("expect", &["h2c", "http/1.1"], |seen| {
        assert_eq!(seen["wanted"], json!([[100, 200], true]));
        // The gateway asks for the body, which it is about to send on, before it knows that nobody wants it.
        assert_eq!(seen["unwanted"], json!([[100, 413], null]));
        assert_eq!(seen["other"], json!([417]));
    });
}

#[test]
fn node_asks_files_for_ranges_and_on_conditions_through_the_gateway() {
    both("files", &["h2c", "http/1.1"], |seen| {
        assert_eq!(seen["parts"], json!([true, true, true]));
        assert_eq!((&seen["beyond"], &seen["same"]), (&json!([416, true]), &json!([304, 0, true])));
        assert_eq!((&seen["changed"], &seen["stale"]), (&json!(412), &json!([200, true])));
    });
}

#[test]
fn aborts_of_node_reach_the_server_behind_the_gateway() {
    let demo = Gateway::start();
    let gateway = before(&format!("endpoints = [\"http://{}\"]\nprotocol = \"h2c\"", demo.plain));
    let Some(client) = start("client.js", &["aborts", &sites(&gateway)[0].0, ""]) else { return };
    let seen = seen(client);
    assert_eq!((&seen["codes"], &seen["after"]), (&json!([8, 8, 8]), &json!([200])));
    run(async {
        // The resets went on before the request that was answered.
        let scrape = scrape(&demo).await;
        let closed = |outcome| {
            scrape.sum("stagedoor_streams_closed_total", &[("listener", "plain"), ("outcome", outcome)])
        };
        assert_eq!((closed("reset_by_peer"), closed("complete")), (3.0, 1.0));
    });
}
