//! What routes do, each feature asked for by every protocol.

use std::path::Path;

use http::Request;

use super::harness::{upstream, write};
use crate::support::client::{Answer, Client, Speaks, Upload, fed, full, nothing};
use crate::support::exposition::Scrape;
use crate::support::nobody::nobody;
use crate::support::{Gateway, Process, run};

/// A gateway with the listeners `public` and `plain`, and everything below on them.
struct Site {
    gateway: Gateway,
    _origin: Gateway,
    _place: tempfile::TempDir,
}

fn listeners(server: &str) -> String {
    format!(
        "[server]\nworkers = 2\n{server}\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"public\"\nbind = \"127.0.0.1:0\"\n[listener.tls]\n\
         [[listener]]\nname = \"plain\"\nbind = \"127.0.0.1:0\"\n"
    )
}

const ROUTES: &str = r#"
[[route]]
name = "edits"
match = { path = "/edits/{*rest}" }
strip_prefix = "/edits"
request_headers = { set = { x-set = "ours" }, add = { x-add = "more" }, remove = ["x-debug"] }
response_headers = { set = { x-out = "out" }, remove = ["x-checksum"] }
proxy = { upstream = "origin" }

[[route]]
name = "rewrite"
match = { path = "/numbers/{count}/octets" }
rewrite = "/bytes/{count}"
proxy = { upstream = "origin" }

[[route]]
name = "renamed"
match = { path = "/renamed" }
rewrite = "/headers"
proxy = { upstream = "origin", host = "inside.example" }

[[route]]
name = "moved"
match = { path = "/old/{*rest}" }
redirect = { path = "/new/{rest}", status = 301 }

[[route]]
name = "to-https"
match = { path = "/secure", listener = "plain" }
redirect = { scheme = "https", host = "localhost:8443", status = 308 }

[[route]]
name = "secure"
match = { path = "/secure", listener = "public" }
respond = { body = "safe" }

[[route]]
name = "ok"
match = { path = "/ok" }
respond = { status = 202, body = "ok\n", headers = { content-type = "text/plain", x-said = "here" } }

[[route]]
name = "limited"
match = { path = "/limited" }
rate_limit = { per = "header:x-user", rate = 0.01, burst = 2 }
respond = { body = "within" }

[[route]]
name = "small"
match = { path = "/echo" }
max_body = "1KiB"
proxy = { upstream = "origin" }

[[route]]
name = "hurried"
match = { path = "/hurried/{*rest}" }
strip_prefix = "/hurried"
timeout = "200ms"
proxy = { upstream = "origin" }

[[route]]
name = "denied"
match = { path = "/denied" }
deny = ["127.0.0.0/8"]
respond = { body = "never" }

[[route]]
name = "allowed"
match = { path = "/allowed" }
allow = ["127.0.0.0/8", "::1/128"]
respond = { body = "friends" }

[[route]]
name = "elsewhere"
match = { path = "/elsewhere" }
allow = ["192.0.2.0/24"]
respond = { body = "never" }

[[route]]
name = "broken"
match = { path = "/broken" }
errors = { 502 = { file = "502.html" } }
proxy = { upstream = "dead" }

[[route]]
name = "broken-plainly"
match = { path = "/broken-plainly" }
proxy = { upstream = "dead" }

[[route]]
name = "zipped"
match = { path = "/zipped" }
compress = true
rewrite = "/"
proxy = { upstream = "origin" }

[[route]]
name = "only"
match = { path = "/only", methods = ["GET", "POST"] }
respond = { body = "only" }

[[route]]
name = "wild"
match = { host = "*.wild.example", path = "/who" }
respond = { body = "wild" }

[[route]]
name = "exact"
match = { host = "exact.wild.example", path = "/who" }
respond = { body = "exact" }

[[route]]
name = "picked"
match = { path = "/picked", headers = { x-version = "2" } }
respond = { body = "two" }

[[route]]
name = "picked-by-default"
match = { path = "/picked" }
respond = { body = "one" }

[[route]]
name = "headers"
match = { path = "/headers" }
proxy = { upstream = "origin" }

[[route]]
name = "assets"
match = { path = "/assets/{*file}" }
strip_prefix = "/assets"
files = { root = "www", precompressed = ["gzip"], cache_control = "public, max-age=60" }
"#;

/// A directory to serve, with a secret beside it.
fn fill(place: &Path) {
    let root = place.join("www");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(place.join("secret"), SECRET).unwrap();
    std::fs::write(place.join("502.html"), "<h1>later</h1>").unwrap();
    std::fs::write(root.join("page.txt"), "inside, whole").unwrap();
    std::fs::write(root.join("page.txt.gz"), "already packed").unwrap();
    std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
}

const SECRET: &str = "hunter2";

impl Site {
    fn start(server: &str, protocol: &str) -> Self {
        let origin = Gateway::start();
        let place = tempfile::tempdir().unwrap();
        fill(place.path());
        let upstreams = upstream("origin", origin.plain, &format!("protocol = \"{protocol}\""))
            + &upstream("dead", nobody(), "retry = { attempts = 0 }");
        write(place.path(), &format!("{}{upstreams}{ROUTES}", listeners(server)));
        let file = super::harness::file(place.path());
        let gateway = Gateway::of(Process::spawn(&["serve", "-c", file.to_str().unwrap()]));
        Self { gateway, _origin: origin, _place: place }
    }

    async fn client(&self, speaks: Speaks) -> Client {
        Client::connect(&self.gateway, speaks).await.naming("localhost")
    }
}

/// Values of a field that the upstream saw.
fn seen(answer: &Answer, name: &str) -> Vec<String> {
    let told = answer.json();
    let fields = told["fields"].as_array().unwrap().iter().filter(|field| field[0] == name);
    fields.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

/// A question and what is to be true of its answer.
struct Case {
    what: &'static str,
    method: &'static str,
    target: &'static str,
    fields: &'static [(&'static str, &'static str)],
    status: u16,
    judge: fn(&Answer),
}

const fn case(
    what: &'static str,
    target: &'static str,
    fields: &'static [(&'static str, &'static str)],
    status: u16,
    judge: fn(&Answer),
) -> Case {
    Case { what, method: "GET", target, fields, status, judge }
}

const CASES: &[Case] = &[
    case(
        "edits of what is sent on",
        "/edits/headers?a=b",
        &[("x-set", "theirs"), ("x-add", "some"), ("x-debug", "1")],
        200,
        |answer| {
            assert_eq!(seen(answer, "x-set"), ["ours"]);
            assert_eq!(seen(answer, "x-add"), ["some", "more"]);
            assert_eq!(seen(answer, "x-debug"), [""; 0]);
            assert_eq!(answer.json()["path"], "/headers?a=b");
            assert_eq!(answer.header("x-out"), "out");
        },
    ),
    case("a path that is rewritten", "/numbers/3/octets", &[], 200, |answer| {
        assert_eq!(answer.body.len(), 3);
    }),
    case("another host for the upstream", "/renamed", &[], 200, |answer| {
        assert_eq!(answer.json()["authority"], "inside.example");
    }),
    case("a redirect keeps the query", "/old/a/b?c=d", &[], 301, |answer| {
        assert!(answer.header("location").ends_with("/new/a/b?c=d"), "{:?}", answer.headers);
    }),
    case("a fixed answer", "/ok", &[], 202, |answer| {
        assert_eq!((answer.text(), answer.header("x-said")), ("ok\n", "here"));
    }),
    Case {
        what: "HEAD of a fixed answer",
        method: "HEAD",
        target: "/ok",
        fields: &[],
        status: 202,
        judge: |answer| {
            assert_eq!((answer.body.len(), answer.header("content-length")), (0, "3"));
        },
    },
    case("files", "/assets/page.txt", &[], 200, |answer| {
        assert_eq!(answer.text(), "inside, whole");
        assert_eq!(answer.header("cache-control"), "public, max-age=60");
    }),
    case(
        "files that are packed already",
        "/assets/page.txt",
        &[("accept-encoding", "gzip")],
        200,
        |answer| {
            assert_eq!((answer.header("content-encoding"), answer.text()), ("gzip", "already packed"));
        },
    ),
    case("a part of a file", "/assets/page.txt", &[("range", "bytes=0-5")], 206, |answer| {
        assert_eq!(answer.text(), "inside");
    }),
    case("out by dots", "/assets/../../secret", &[], 400, unharmed),
    case("out by encoded dots", "/assets/%2e%2e/secret", &[], 400, unharmed),
    case("out by an encoded slash", "/assets/..%2fsecret", &[], 400, unharmed),
    case("out by an encoded backslash", "/assets/..%5csecret", &[], 400, unharmed),
    case("out by an octet of nothing", "/assets/page.txt%00", &[], 400, unharmed),
    case("out by two encodings", "/assets/%252e%252e/secret", &[], 404, unharmed),
    case("out by a long form", "/assets/%c0%ae%c0%ae/secret", &[], 404, unharmed),
    case("out by a link", "/assets/out", &[], 403, unharmed),
    case("whom a route denies", "/denied", &[], 403, unharmed),
    case("whom a route allows", "/allowed", &[], 200, |answer| assert_eq!(answer.text(), "friends")),
    case("whom a route does not allow", "/elsewhere", &[("x-forwarded-for", "192.0.2.1")], 403, unharmed),
    case("an error in the words of its route", "/broken", &[], 502, |answer| {
        assert_eq!(
            (answer.text(), answer.header("content-type")),
            ("<h1>later</h1>", "text/html; charset=utf-8")
        );
    }),
    case("an error to who reads JSON", "/broken-plainly", &[("accept", "application/json")], 502, |answer| {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["status"], 502);
        assert!(answer.header("proxy-status").contains("connect"), "{:?}", answer.headers);
    }),
    case("a deadline of the whole exchange", "/hurried/delay/30", &[], 504, unharmed),
    case("compression", "/zipped", &[("accept-encoding", "zstd;q=0.5, gzip")], 200, |answer| {
        assert_eq!((answer.header("content-encoding"), &answer.body[..2]), ("gzip", &[0x1f, 0x8b][..]));
        assert!(answer.header("vary").to_ascii_lowercase().contains("accept-encoding"));
    }),
    case(
        "no compression that nobody asked for",
        "/zipped",
        &[("accept-encoding", "identity")],
        200,
        |answer| {
            assert_eq!(answer.header("content-encoding"), "");
        },
    ),
    Case {
        what: "a method that no route of the path takes",
        method: "DELETE",
        target: "/only",
        fields: &[],
        status: 405,
        judge: |answer| {
            let allow = answer.header("allow");
            assert!(allow.contains("GET") && allow.contains("POST") && !allow.contains("DELETE"), "{allow}");
        },
    },
    case("a route by a field", "/picked", &[("x-version", "2")], 200, |answer| {
        assert_eq!(answer.text(), "two");
    }),
    case("a route by another value of it", "/picked", &[("x-version", "3")], 200, |answer| {
        assert_eq!(answer.text(), "one");
    }),
    case("a path without a route", "/nowhere", &[], 404, unharmed),
    case(
        "what a stranger says of whom it speaks for",
        "/headers",
        &[("x-forwarded-for", "192.0.2.6"), ("forwarded", "for=192.0.2.6"), ("x-request-id", "mine")],
        200,
        |answer| {
            assert_eq!(seen(answer, "x-forwarded-for"), ["127.0.0.1"]);
            let [forwarded] = &seen(answer, "forwarded")[..] else { panic!("one") };
            assert!(forwarded.starts_with("for=127.0.0.1;"), "{forwarded}");
            let [id] = &seen(answer, "x-request-id")[..] else { panic!("one") };
            assert_eq!((id.len(), &**id), (26, answer.header("x-request-id")));
            assert_eq!(seen(answer, "traceparent").len(), 1);
        },
    ),
    case(
        "fields of one hop",
        "/headers",
        &[("te", "trailers"), ("keep-alive", "timeout=5"), ("proxy-connection", "close")],
        200,
        |answer| {
            for name in ["keep-alive", "proxy-connection", "transfer-encoding"] {
                assert_eq!(seen(answer, name), [""; 0], "{name}");
            }
            // Of the next hop, and of HTTP/1.1 alone.
            let connection = seen(answer, "connection");
            assert!(connection.is_empty() || connection == ["te"], "{connection:?}");
            assert_eq!(seen(answer, "te"), ["trailers"]);
        },
    ),
];

/// No secret, whatever else it says.
fn unharmed(answer: &Answer) {
    assert!(!answer.text().contains(SECRET) && !answer.text().contains("never"), "{}", answer.text());
}

#[test]
fn every_feature_on_every_protocol() {
    for upstream in ["http/1.1", "h2c"] {
        let site = Site::start("", upstream);
        for speaks in Speaks::ALL {
            run(async {
                let mut client = site.client(speaks).await;
                for case in CASES {
                    let context = format!("{} ({speaks:?} to {upstream})", case.what);
                    let mut request = client.request(case.method, case.target);
                    for (name, value) in case.fields {
                        // HTTP/2 has no such fields; that they are refused is the engine's business.
                        if !(speaks.is_http2() && matches!(*name, "keep-alive" | "proxy-connection")) {
                            request = request.header(*name, *value);
                        }
                    }
                    let answer = client.whole(request.body(nothing()).unwrap()).await;
                    let answer = answer.unwrap_or_else(|error| panic!("{context}: {error}"));
                    assert_eq!(answer.status, case.status, "{context}: {:?}", answer.body);
                    let judged = std::panic::catch_unwind(|| (case.judge)(&answer));
                    assert!(judged.is_ok(), "{context}: {:?} {:?}", answer.headers, answer.body);
                }
                features_of_their_own(&site, client, speaks).await;
            });
        }
        run(async {
            let scrape = Scrape::read(Client::admin(&site.gateway).await.get("/metrics").await.text());
            assert_eq!(scrape.value("stagedoor_rate_limited_total", &[("route", "limited")]), 4.0);
            assert_eq!(scrape.sum("stagedoor_requests_total", &[("route", "only"), ("code", "405")]), 0.0);
            assert!(scrape.sum("stagedoor_requests_total", &[("route", "assets")]) >= 40.0);
        });
    }
}

/// What takes more than a question.
async fn features_of_their_own(site: &Site, mut client: Client, speaks: Speaks) {
    let tls = matches!(speaks, Speaks::H2 | Speaks::Http1Tls);
    let answer = client.get("/secure?a=b").await;
    match tls {
        true => assert_eq!(answer.text(), "safe"),
        false => {
            assert_eq!(answer.status, 308);
            assert_eq!(answer.header("location"), "https://localhost:8443/secure?a=b");
        }
    }

    // Two at once, whoever asks; another user has two of their own.
    for (user, statuses) in [("a", &[200, 200, 429][..]), ("b", &[200, 200])] {
        for status in statuses {
            let request = client.request("GET", "/limited").header("x-user", format!("{user}{speaks:?}"));
            let answer = client.whole(request.body(nothing()).unwrap()).await.unwrap();
            assert_eq!(answer.status, *status, "{user} {speaks:?}");
            if *status == 429 {
                let after: u64 = answer.header("retry-after").parse().unwrap();
                assert!((1..=100).contains(&after), "{after}");
            }
        }
    }

    // Just so much, one more, and one more that nobody announced.
    let exact = vec![b'x'; 1_024];
    let answer = client.post("/echo", exact.clone()).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &exact[..]), "{speaks:?}");
    let more = client.request("POST", "/echo").body(full(vec![b'x'; 1_025])).unwrap();
    assert_eq!(client.whole(more).await.unwrap().status, 413, "{speaks:?}");
    let mut client = site.client(speaks).await;
    let (octets, body) = fed();
    let crossing = client.request("POST", "/echo").body(body).unwrap();
    octets.send(http_body::Frame::data(vec![b'x'; 1_025].into())).unwrap();
    drop(octets);
    // Whether the head was on its way before the octet too many decides how the client hears of it.
    match client.send(crossing).await {
        Ok(response) if response.status() == 200 => {
            let cut = crate::support::client::collect(response).await;
            assert!(cut.is_err(), "{speaks:?}: never taken for whole");
        }
        Ok(response) => assert_eq!(response.status(), 413, "{speaks:?}"),
        Err(error) => panic!("{speaks:?}: {error}"),
    }

    for (host, status, words) in [
        ("any.wild.example", 200, "wild"),
        ("a.b.wild.example", 200, "wild"),
        ("exact.wild.example", 200, "exact"),
        ("wild.example", 404, ""),
    ] {
        let mut client = site.client(speaks).await.naming(host);
        let answer = client.get("/who").await;
        // The certificate is for localhost, and so is the connection (RFC 9110 §15.5.20).
        let status = if tls { 421 } else { status };
        assert_eq!(answer.status, status, "{host} {speaks:?}");
        assert!(tls || answer.text().contains(words), "{host} {speaks:?}");
    }

    let mut client = site.client(speaks).await;
    let answer = client.whole(connect()).await;
    let answer = answer.unwrap_or_else(|error| panic!("CONNECT {speaks:?}: {error}"));
    assert_eq!(answer.status, 405, "CONNECT {speaks:?}");
    assert!(!answer.header("allow").contains("CONNECT"));
}

fn connect() -> Request<Upload> {
    Request::connect("localhost:443").header("host", "localhost:443").body(nothing()).unwrap()
}

#[test]
fn whom_a_trusted_proxy_speaks_for_is_believed() {
    let site = Site::start("trusted_proxies = [\"127.0.0.0/8\"]", "http/1.1");
    for speaks in Speaks::ALL {
        run(async {
            let mut client = site.client(speaks).await;
            let ask = async |client: &mut Client, target: &str| {
                let request = client
                    .request("GET", target)
                    .header("x-forwarded-for", "192.0.2.6")
                    .header("x-forwarded-proto", "https")
                    .header("x-request-id", "mine");
                client.whole(request.body(nothing()).unwrap()).await.unwrap()
            };
            let answer = ask(&mut client, "/headers").await;
            assert_eq!(seen(&answer, "x-forwarded-for"), ["192.0.2.6, 127.0.0.1"]);
            assert_eq!(seen(&answer, "x-forwarded-proto"), ["https"]);
            assert_eq!(seen(&answer, "x-request-id"), ["mine"]);
            assert_eq!(answer.header("x-request-id"), "mine");
            // And so it is that client whom routes let in, or not.
            assert_eq!(ask(&mut client, "/elsewhere").await.text(), "never");
            assert_eq!(ask(&mut client, "/allowed").await.status, 403);
            assert_eq!(ask(&mut client, "/denied").await.text(), "never");
        });
    }
}
