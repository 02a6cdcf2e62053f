//! Every path of the demo, on every protocol.

use http::HeaderMap;
use http_body::Frame;
use stagedoor::demo::octet_at;

use crate::support::client::{Client, Speaks, fed, full, next_octets, nothing};
use crate::support::{Gateway, run, sha256};

/// Runs `test` on one connection of each protocol, one gateway for all.
macro_rules! on_every_protocol {
    ($(#[$meta:meta])* $name:ident, |$client:ident, $speaks:ident| $test:expr) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            let gateway = Gateway::start();
            for $speaks in Speaks::ALL {
                run(async {
                    #[allow(unused_mut, reason = "not every test changes it")]
                    let mut $client = Client::connect(&gateway, $speaks).await;
                    eprintln!("on {:?}", $speaks);
                    $test
                });
            }
        }
    };
}

on_every_protocol!(the_page_is_html_under_a_strict_policy, |client, _speaks| {
    let page = client.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(!page.header("content-security-policy").contains("unsafe"));
    assert!(page.text().contains("href=\"/session\"") && page.header("date").ends_with("GMT"));
    assert_eq!(page.header("content-length"), page.body.len().to_string());
});

on_every_protocol!(bytes_are_the_ones_that_were_promised, |client, _speaks| {
    for octets in [0_u64, 1, 70_000] {
        let answer = client.get(&format!("/bytes/{octets}")).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, octets.to_string().as_str()));
        assert!((0..octets).map(octet_at).eq(answer.body.iter().copied()), "{octets} octets");
    }
    assert_eq!(client.get("/bytes/1099511627777").await.status, 400);
});

on_every_protocol!(ranges_are_honoured, |client, _speaks| {
    let ranged = |client: &Client, range| {
        client.request("GET", "/bytes/100000").header("range", range).body(nothing()).unwrap()
    };
    let part = client.whole(ranged(&client, "bytes=65519-65530")).await.unwrap();
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 65519-65530/100000"));
    assert!((65_519..65_531).map(octet_at).eq(part.body.iter().copied()));
    let nothing = client.whole(ranged(&client, "bytes=100000-")).await.unwrap();
    assert_eq!((nothing.status, nothing.header("content-range")), (416, "bytes */100000"));
    let several = client.whole(ranged(&client, "bytes=0-1,5-6")).await.unwrap();
    assert_eq!((several.status, several.body.len()), (200, 100_000));
});

on_every_protocol!(head_is_get_without_a_body, |client, _speaks| {
    let paths = [
        "/",
        "/bytes/1099511627776",
        "/drip?bytes=5",
        "/headers",
        "/status/404",
        "/delay/0",
        "/trailers",
        "/session",
    ];
    for path in paths {
        let head = client.bare("HEAD", path).await;
        assert_eq!(head.status, if path == "/status/404" { 404 } else { 200 }, "{path}");
        assert!(head.body.is_empty(), "{path}");
        assert!(head.trailers.is_none(), "{path}");
    }
    assert_eq!(client.bare("HEAD", "/bytes/1099511627776").await.header("content-length"), "1099511627776");
    assert_eq!(client.bare("HEAD", "/status/204").await.status, 204);
});

on_every_protocol!(a_drip_comes_in_pieces_and_whole, |client, _speaks| {
    let request = client.request("GET", "/drip?bytes=50&rate=200").body(nothing()).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "50");
    let mut body = response.into_body();
    let (mut octets, mut pieces) = (Vec::new(), 0);
    while let Some(piece) = next_octets(&mut body).await {
        octets.extend(piece.unwrap());
        pieces += 1;
    }
    assert!((0..50).map(octet_at).eq(octets));
    assert!(pieces > 1, "came at once");
    for query in ["rate=0", "bytes=x", "rate=1.5"] {
        assert_eq!(client.get(&format!("/drip?{query}")).await.status, 400, "{query}");
    }
});

on_every_protocol!(an_echo_answers_while_the_request_goes_on, |client, _speaks| {
    let (sender, body) = fed();
    let request = client.request("POST", "/echo").header("trailer", "x-end").body(body);
    // Some clients send the head with the first octets.
    sender.send(Frame::data("first".into())).unwrap();
    let mut response = client.send(request.unwrap()).await.unwrap().into_body();
    assert_eq!(next_octets(&mut response).await.unwrap().unwrap(), "first");
    sender.send(Frame::data("second".into())).unwrap();
    assert_eq!(next_octets(&mut response).await.unwrap().unwrap(), "second");
    drop(sender);
    let end = next_octets(&mut response).await;
    assert!(end.is_none(), "{end:?}");
});

on_every_protocol!(an_echo_gives_trailers_back, |client, _speaks| {
    let (sender, body) = fed();
    let request = client.request("POST", "/echo").header("te", "trailers").header("trailer", "x-end");
    sender.send(Frame::data("octets".into())).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "reached".parse().unwrap());
    sender.send(Frame::trailers(trailers)).unwrap();
    drop(sender);
    let answer = client.whole(request.body(body).unwrap()).await.unwrap();
    assert_eq!(answer.body, "octets");
    assert_eq!(answer.trailers.expect("trailers")["x-end"], "reached");
});

on_every_protocol!(headers_are_shown_in_order, |client, speaks| {
    let request =
        client.request("GET", "/headers?a=1").header("x-b", "1").header("x-a", "2").header("x-c", "3");
    let answer = client.whole(request.body(nothing()).unwrap()).await.unwrap();
    assert_eq!(answer.header("content-type"), "application/json");
    let seen = answer.json();
    assert_eq!((&seen["method"], &seen["path"]), (&"GET".into(), &"/headers?a=1".into()));
    let tls = matches!(speaks, Speaks::H2 | Speaks::Http1Tls);
    assert_eq!(seen["scheme"], if tls { "https" } else { "http" });
    assert!(seen["authority"].as_str().unwrap().starts_with("127.0.0.1:"));
    let fields = seen["fields"].as_array().unwrap().iter().map(|field| field[0].as_str().unwrap());
    let ours: Vec<_> = fields.filter(|name| name.starts_with("x-")).collect();
    assert_eq!(ours, ["x-b", "x-a", "x-c"]);
});

on_every_protocol!(any_status_can_be_had, |client, _speaks| {
    for status in [200, 204, 205, 299, 304, 404, 418, 503, 599] {
        let answer = client.get(&format!("/status/{status}")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.body.is_empty(), matches!(status, 204 | 205 | 304), "{status}");
    }
    for status in ["199", "600", "ok"] {
        assert_eq!(client.get(&format!("/status/{status}")).await.status, 400);
    }
});

on_every_protocol!(a_delay_delays, |client, _speaks| {
    let began = std::time::Instant::now();
    let answer = client.get("/delay/0.05").await;
    assert!(began.elapsed().as_millis() >= 50);
    assert_eq!((answer.status, answer.text()), (200, "waited 0.05 s\n"));
    assert_eq!(client.get("/delay/never").await.status, 400);
});

on_every_protocol!(trailers_tell_checksum_and_length, |client, speaks| {
    let request = client.request("GET", "/trailers").header("te", "trailers").body(nothing()).unwrap();
    let answer = client.whole(request).await.unwrap();
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(trailers["x-checksum"].to_str().unwrap(), sha256(&answer.body));
    assert_eq!(trailers["x-octets"].to_str().unwrap(), answer.body.len().to_string());
    let unasked = client.get("/trailers").await;
    assert_eq!(unasked.body, answer.body);
    assert_eq!(unasked.trailers.is_some(), speaks.is_http2());
});

on_every_protocol!(a_rejected_body_is_not_read, |client, _speaks| {
    let (sender, body) = fed();
    sender.send(Frame::data("some of it".into())).unwrap();
    // The body never ends: an answer proves that it was not waited for.
    let request = client.request("POST", "/reject").header("content-length", "1000000").body(body).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 413);
    drop(sender);
});

on_every_protocol!(a_digest_is_that_of_the_body, |client, _speaks| {
    for body in ["", "abc"] {
        let answer = client.post("/sha256", body).await;
        assert_eq!((answer.status, answer.text().trim_end()), (200, sha256(body.as_bytes()).as_str()));
    }
});

on_every_protocol!(a_count_is_that_of_the_octets_that_came, |client, _speaks| {
    for octets in [0, 1, 70_000, 3 << 20] {
        let body: Vec<u8> = (0..octets).map(octet_at).collect();
        let answer = client.post("/count", body).await;
        assert_eq!((answer.status, answer.text()), (200, format!("{octets}\n").as_str()));
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    assert_eq!(client.get("/count").await.header("allow"), "POST, OPTIONS");
});

on_every_protocol!(a_session_sees_itself, |client, speaks| {
    client.get("/bytes/10").await;
    let seen = client.get("/session").await.json();
    let (session, stream) = (&seen["session"], &seen["stream"]);
    assert_eq!((&session["protocol"], &session["role"]), (&speaks.name().into(), &"server".into()));
    assert_eq!(session["state"], "open");
    assert_eq!(session["streams_open"], 1);
    assert_eq!(session["streams_total"], 2);
    assert_eq!(
        (&stream["id"], &stream["route"], &stream["method"]),
        (&3.into(), &"demo".into(), &"GET".into())
    );
    assert!(session["bytes"]["in"].as_u64() > Some(0) && session["bytes"]["out"].as_u64() > Some(0));
    if speaks.is_http2() {
        assert_eq!(stream["send_window"], 1 << 20);
        assert!(session["send_window"].as_i64().unwrap() > 65_535, "{session}");
    }
    let again = client.get("/session").await.json();
    assert_eq!(again["session"]["id"], session["id"]);
});

on_every_protocol!(what_is_not_there_is_404_and_what_is_not_meant_405, |client, _speaks| {
    let missing = client.get("/nowhere").await;
    assert_eq!((missing.status, missing.text()), (404, "nothing lives at /nowhere; / lists what does\n"));
    let refused = client.bare("DELETE", "/bytes/1").await;
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD, OPTIONS"));
    assert_eq!(client.get("/echo").await.header("allow"), "POST, OPTIONS");
    let options = client.bare("OPTIONS", "/sha256").await;
    assert_eq!((options.status, options.header("allow")), (204, "POST, OPTIONS"));
    // Both know what is there, and a client that asks HEAD gets no words.
    let head = client.bare("HEAD", "/nowhere").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
});

on_every_protocol!(a_get_with_a_body_is_answered, |client, _speaks| {
    let request = client.request("GET", "/bytes/5").body(full("a body nobody reads")).unwrap();
    let answer = client.whole(request).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 5));
    // And the connection goes on, or is known to have ended.
    let mut another = client;
    if let Ok(answer) = another.whole(another.request("GET", "/bytes/6").body(nothing()).unwrap()).await {
        assert_eq!(answer.body.len(), 6);
    }
});
