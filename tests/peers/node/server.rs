//! Our client against Node's server: everything a server of HTTP/2 can do to a client, over TLS and in cleartext.

use std::rc::Rc;

use bytes::Bytes;
use serde_json::{Value, json};
use stagedoor::client::{
    AbortHandle, Error, Event, Options, RequestError, RequestOptions, RequestParts, SessionEnd, StreamError,
    StreamState,
};
use stagedoor_actors::{AltSvcTarget, Http2Options, SessionError, SessionEvent, Windows};
use stagedoor_metrics::CloseReason;
use stagedoor_protocol::{ErrorCode, Fields, Settings, Window};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::start;
use crate::ours::{Site, answer, get, octets, post, sample, system, text};
use crate::support::peers::{Certificate, Running};
use crate::support::sha256;

/// A Node server, and how it is reached.
struct Node {
    process: Running,
    site: Site,
}

fn node(options: &Value, tls: bool) -> Option<Node> {
    let certificate = tls.then(|| Rc::new(Certificate::new()));
    let options = options.to_string();
    let process = match &certificate {
        None => start("server.js", &[&options]),
        Some(own) => start("server.js", &[&options, own.paths().1, own.paths().0]),
    }?;
    let line = process.line(|line| line.starts_with("listening "));
    let port = line.rsplit(' ').next().and_then(|port| port.parse().ok()).expect("a port");
    Some(Node { process, site: Site { port, certificate } })
}

/// Runs a test against a server in cleartext and one with TLS.
fn with_node(options: Value, test: impl AsyncFn(Node)) {
    for tls in [false, true] {
        let Some(node) = node(&options, tls) else { return };
        system(test(node));
    }
}

fn of(name: &str, fields: &Fields) -> Vec<String> {
    fields.get_all(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

#[test]
fn requests_of_every_kind_are_answered_by_node() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        let parts = RequestParts::get("/plain").with_field("cookie", "a=1").with_field("cookie", "b=2");
        let mut stream = session.request(parts, RequestOptions::default()).unwrap();
        let head = stream.response().await.unwrap();
        assert_eq!(of("set-cookie", &head.fields), ["a=1", "b=2"], "set-cookie is never joined");
        assert_eq!(of("x-method", &head.fields), ["GET"]);
        assert_eq!(of("x-empty", &head.fields), [""]);
        let (body, error) = octets(&mut stream).await;
        assert!(error.is_none(), "{error:?}");
        let seen: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&seen[":path"], &seen["cookie"]), (&json!("/plain"), &json!("a=1; b=2")));
        let (scheme, host) = if node.site.is_tls() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        assert_eq!(seen[":scheme"], scheme);
        assert_eq!(seen[":authority"], format!("{host}:{}", node.site.port));
        stream.closed().await.unwrap();

        let options = RequestOptions::with_body("all at once".into());
        let (status, said) = answer(session.request(RequestParts::post("/plain"), options).unwrap()).await;
        let seen: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            (status, &seen["body"], &seen["content-length"]),
            (200, &json!("all at once"), &json!("11"))
        );
        let head = session.request(RequestParts::new("HEAD", "/plain"), RequestOptions::default()).unwrap();
        assert_eq!(answer(head).await, (200, String::new()));
        for code in [200, 204, 205, 304, 404, 500] {
            assert_eq!(answer(get(&session, &format!("/status/{code}"))).await, (code, String::new()));
        }
        assert_eq!(session.close().await.code(), Some(ErrorCode::NO_ERROR));
        node.process.line_said(|line| line == "session closed").await;
    });
}

#[test]
fn informational_heads_of_node_come_each_as_its_own_event() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        let mut stream = get(&session, "/early");
        let mut heads = Vec::new();
        let mut hints = Vec::new();
        loop {
            match stream.next_event().await.expect("an event") {
                Event::Continue(head) | Event::Informational(head) => {
                    hints.extend(of("x-hint", &head.fields));
                    heads.push(head.status);
                }
                Event::Response(head) => {
                    heads.push(head.status);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heads, [100, 102, 103, 200]);
        assert_eq!(hints, ["100", "102", "103"]);
        assert_eq!(octets(&mut stream).await.0, b"after three");
        // Who does not ask for them reads past them.
        assert_eq!(text(&session, "/early").await, "after three");
    });
}

#[test]
fn trailers_go_to_node_and_back() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        let mut stream = post(&session, "/echo");
        assert_eq!(stream.response().await.unwrap().status, 200);
        stream.send_data("one ".into()).await.unwrap();
        stream.send_data("two".into()).await.unwrap();
        stream.send_trailers([("x-sum", "abc"), ("x-more", "1")].into_iter().collect()).await.unwrap();
        let (body, error) = octets(&mut stream).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(body, b"one two");
        let trailers = stream.trailers().expect("trailers");
        assert_eq!((of("x-sum", &trailers), of("x-more", &trailers)), (vec!["abc".into()], vec!["1".into()]));
        assert_eq!(of("x-seen", &trailers), ["2"]);
        stream.closed().await.unwrap();
        // Trailers right after the head, and none.
        let mut stream = post(&session, "/echo");
        stream.send_trailers([("x-alone", "yes")].into_iter().collect()).await.unwrap();
        assert_eq!(octets(&mut stream).await.0, b"");
        assert_eq!(of("x-alone", &stream.trailers().expect("trailers")), ["yes"]);
        let mut stream = post(&session, "/echo");
        stream.finish_with(Bytes::new()).await.unwrap();
        assert_eq!(octets(&mut stream).await.0, b"");
        assert_eq!(of("x-seen", &stream.trailers().expect("trailers")), ["0"]);
    });
}

#[test]
fn pushes_of_node_are_taken_where_they_are_asked_for() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options { accept_push: true, ..Options::default() });
        let mut page = get(&session, "/push");
        let mut pushed = Vec::new();
        while pushed.len() < 3 {
            match page.next_event().await.expect("an event") {
                Event::Push(push) => pushed.push(push),
                other => panic!("promises come before the page: {other:?}"),
            }
        }
        assert_eq!(octets(&mut page).await.0, b"page");
        let paths: Vec<_> = pushed.iter().map(|push| push.head.path().unwrap_or("").to_owned()).collect();
        assert_eq!(paths, ["/style.css", "/big", "/gone"]);
        for (push, expected) in pushed.iter_mut().zip([&b"css"[..], &sample(1 << 20), b""]) {
            assert_eq!(push.head.method(), "GET");
            let status = push.stream.response().await.unwrap().status;
            assert_eq!(status, if expected.is_empty() { 404 } else { 200 });
            let (body, error) = octets(&mut push.stream).await;
            assert!(error.is_none(), "{error:?}");
            assert!(body == expected, "{:?}", push.head);
        }
        // What is dropped is cancelled, and nothing else.
        let mut page = get(&session, "/push");
        let Some(Event::Push(style)) = page.next_event().await else { panic!("a push") };
        let Some(Event::Push(big)) = page.next_event().await else { panic!("a push") };
        drop(big);
        node.process.line_said(|line| line == "pushed /big 8").await;
        assert_eq!(octets(&mut page).await.0, b"page");
        drop(style);
        assert_eq!(text(&session, "/bytes/0").await, "");
    });
}

#[test]
fn node_pushes_nothing_where_nobody_asked() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        assert_eq!(text(&session, "/push").await, "no push");
    });
}

#[test]
fn a_reset_by_node_is_told_with_its_code_and_a_cut_body_is_an_error_whatever_the_code() {
    with_node(json!({}), async |node| {
        let fixed = Window { start: 65_535, max: 65_535 };
        let windows = Windows { stream: fixed, ..Windows::default() };
        let session = node.site.session(Options { windows, ..Options::default() });
        for code in [0, 1, 2, 3, 5, 8, 10, 11, 13] {
            let code = ErrorCode(code);
            let mut stream = get(&session, &format!("/reset/before/{}", code.0));
            let error = stream.response().await.unwrap_err();
            assert!(matches!(error, StreamError::Reset(found) if found == code), "{code}: {error}");
            assert!(!error.is_retry_safe(), "{code}");
            let mut stream = get(&session, &format!("/reset/half/{}", code.0));
            assert_eq!(stream.response().await.unwrap().status, 200);
            let end = stream.closed().await;
            assert!(matches!(end, Err(StreamError::Reset(found)) if found == code), "{code}: {end:?}");
            let (body, error) = octets(&mut stream).await;
            assert!(body.starts_with(b"half") && body.len() <= 65_535, "{code}: what came is read");
            assert!(matches!(error, Some(StreamError::Reset(found)) if found == code), "{code}: {error:?}");
        }
        let mut refused = get(&session, "/reset/before/7");
        let error = refused.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Unprocessed { code: ErrorCode::REFUSED_STREAM }), "{error}");
        assert!(error.is_retry_safe());
        assert_eq!(text(&session, "/bytes/0").await, "", "the session is as it was");
    });
}

#[test]
fn a_graceful_close_of_node_lets_streams_finish_and_tells_what_was_not_processed() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        session.ready().await.unwrap();
        let mut events = session.handle().unwrap().events();
        let mut stream = post(&session, "/close");
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "begun");
        let (code, last) = loop {
            let event = events.next().await.expect("GOAWAY");
            if let SessionEvent::GoAway { code, last, .. } = event {
                break (code, last);
            }
        };
        assert_eq!((code, last), (ErrorCode::NO_ERROR, stream.id().unwrap()));
        assert!(!session.takes_requests());
        let refused = session.request("/bytes/0", RequestOptions::default()).unwrap_err();
        assert!(matches!(refused, RequestError::Closing) && refused.is_retry_safe(), "{refused}");
        stream.finish_with(Bytes::new()).await.unwrap();
        let (rest, error) = octets(&mut stream).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(rest, b" and done");
        let end = session.ended().await;
        assert!(matches!(end, SessionEnd::Closed { reason: CloseReason::ClientGoaway, .. }), "{end}");
    });
}

#[test]
fn a_goaway_of_node_tells_each_request_whether_it_was_processed() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        // Stream 1 says GOAWAY(1); 3 and 5 wait above it.
        let mut first = post(&session, "/goaway/0/1");
        let mut above: Vec<_> = (0..2).map(|_| post(&session, "/held")).collect();
        assert_eq!(first.chunk().await.unwrap().unwrap(), "begun");
        for stream in &mut above {
            let error = stream.response().await.unwrap_err();
            assert!(matches!(error, StreamError::Unprocessed { code: ErrorCode::NO_ERROR }), "{error}");
            assert!(error.is_retry_safe());
        }
        let goaway = session.handle().expect("a session").goaway_received().expect("GOAWAY");
        assert_eq!((goaway.code, goaway.last.get()), (ErrorCode::NO_ERROR, 1));
        assert_eq!(goaway.opaque, "words for people");
        first.finish_with(Bytes::new()).await.unwrap();
        assert_eq!(octets(&mut first).await.0, b" and done");
        let end = session.ended().await;
        assert!(matches!(end, SessionEnd::Closed { reason: CloseReason::ClientGoaway, .. }), "{end}");
    });
}

#[test]
fn a_goaway_of_node_with_an_error_ends_everything_with_its_code() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        let mut first = post(&session, "/goaway/11/1");
        let mut above = post(&session, "/held");
        let error = above.response().await.unwrap_err();
        assert!(matches!(error, StreamError::Unprocessed { code: ErrorCode::ENHANCE_YOUR_CALM }), "{error}");
        let (_, error) = octets(&mut first).await;
        let error = error.expect("it is cut");
        assert!(matches!(error, StreamError::SessionClosed(_)) && !error.is_retry_safe(), "{error}");
        assert_eq!(error.code(), Some(ErrorCode::ENHANCE_YOUR_CALM));
        assert_eq!(session.ended().await.code(), Some(ErrorCode::ENHANCE_YOUR_CALM));
    });
}

#[test]
fn node_and_we_ping_each_other() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        session.ready().await.unwrap();
        let handle = session.handle().unwrap();
        let mut events = handle.events();
        let pong = handle.ping(Some(*b"to Node!")).unwrap().await.unwrap();
        assert!(pong.rtt.as_nanos() > 0);
        assert_eq!(&pong.payload, b"to Node!");
        let many: Vec<_> = (0..10).map(|_| handle.ping(None).unwrap()).collect();
        assert!(matches!(handle.ping(None), Err(SessionError::TooManyPings { limit: 10 })));
        for pong in many {
            pong.await.unwrap();
        }
        assert_eq!(text(&session, "/pinged").await, "11");
        assert_eq!(text(&session, "/ping").await, "from us! true");
        loop {
            let event = events.next().await.expect("a PING");
            if let SessionEvent::Ping { payload } = event {
                break assert_eq!(&payload, b"from us!");
            }
        }
    });
}

#[test]
fn settings_are_exchanged_with_node_both_ways() {
    let options = json!({ "settings": { "maxConcurrentStreams": 7, "maxHeaderListSize": 9_000,
        "enableConnectProtocol": true, "customSettings": { "61601": 42 } },
        "remoteCustomSettings": [61_602] });
    with_node(options, async |node| {
        let http2 = Http2Options {
            custom_settings: vec![(61_602, 43)],
            remote_custom_settings: vec![61_601],
            max_frame_size: 20_000,
            header_table_size: 0,
            ..Http2Options::default()
        };
        let session = node.site.session(Options { http2, ..Options::default() });
        assert!(session.offers_connect_protocol().await.unwrap());
        let handle = session.handle().unwrap();
        let remote = handle.remote_settings().unwrap();
        assert_eq!((remote.max_concurrent_streams, remote.max_header_list_size), (7, 9_000));
        assert_eq!(remote.custom, [(61_601, 42)]);
        let seen: Value = serde_json::from_str(&text(&session, "/settings/{}").await).unwrap();
        let ours = &seen["remote"];
        assert_eq!((&ours["enablePush"], &ours["maxFrameSize"]), (&json!(false), &json!(20_000)));
        assert_eq!((&ours["headerTableSize"], &ours["customSettings"]["61602"]), (&json!(0), &json!(43)));
        assert_eq!(ours["initialWindowSize"], 256 << 10);
        // A change of ours is in force when its acknowledgement has come.
        let change = Settings { initial_window_size: Some(1_000), ..Settings::default() };
        let pending = handle.settings(change).unwrap();
        assert!(handle.pending_settings() > 0);
        pending.await.unwrap();
        assert_eq!(handle.local_settings().unwrap().initial_window_size, 1_000);
        let seen: Value = serde_json::from_str(&text(&session, "/settings/{}").await).unwrap();
        assert_eq!(seen["remote"]["initialWindowSize"], 1_000);
        assert_eq!(octets(&mut get(&session, "/bytes/50000")).await.0, sample(50_000));
    });
}

#[test]
fn a_limit_of_streams_that_node_lowers_queues_requests() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        let seen = text(&session, "/settings/%7B%22maxConcurrentStreams%22%3A1%7D").await;
        assert!(seen.contains("\"maxConcurrentStreams\":1"), "{seen}");
        text(&session, "/calm").await;
        let streams: Vec<_> = (0..50).map(|_| get(&session, "/crowd")).collect();
        assert_eq!(session.queued(), 50, "nothing is sent in the middle of a turn");
        assert!(streams.iter().all(|stream| stream.state() == StreamState::Pending && stream.id().is_none()));
        for stream in streams {
            assert_eq!(answer(stream).await, (200, "1".to_owned()));
        }
        // Raised again, many run at once.
        text(&session, "/settings/%7B%22maxConcurrentStreams%22%3A20%7D").await;
        let streams: Vec<_> = (0..50).map(|_| get(&session, "/crowd")).collect();
        let mut peak = 0;
        for stream in streams {
            peak = peak.max(answer(stream).await.1.parse().unwrap());
        }
        assert!((2..=20).contains(&peak), "{peak}");
    });
}

#[test]
fn a_tunnel_through_node_carries_octets_both_ways() {
    with_node(json!({ "settings": { "enableConnectProtocol": true } }), async |node| {
        let session = node.site.session(Options::default());
        let parts = RequestParts::extended_connect("echo", "/tunnel");
        let tunnel = session.connect_tunnel(parts).await.unwrap();
        assert_eq!(tunnel.head().status, 200);
        let (mut read, mut write) = tokio::io::split(tunnel);
        let sent = sample(1 << 20);
        let mut heard = Vec::new();
        let send = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let ((), read) = tokio::join!(send, read.read_to_end(&mut heard));
        read.unwrap();
        assert!(heard == sent);
        let other = session.connect_tunnel(RequestParts::extended_connect("other", "/tunnel")).await;
        assert!(matches!(other, Err(Error::Stream(StreamError::TunnelRefused(501)))), "{other:?}");
    });
}

#[test]
fn no_tunnel_is_asked_of_a_node_that_does_not_offer_extended_connect() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        let refused = session.connect_tunnel(RequestParts::extended_connect("echo", "/tunnel")).await;
        assert!(matches!(refused, Err(Error::Request(RequestError::ConnectProtocol))), "{refused:?}");
        assert_eq!(text(&session, "/bytes/0").await, "");
    });
}

#[test]
fn altsvc_and_origin_of_node_are_heard() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        session.ready().await.unwrap();
        let handle = session.handle().unwrap();
        let mut events = handle.events();
        let stream = get(&session, "/altsvc");
        let id = stream.opened().await.unwrap();
        assert_eq!(answer(stream).await, (200, "told".to_owned()));
        let (mut services, mut origins) = (Vec::new(), Vec::new());
        while services.len() < 2 || (node.site.is_tls() && origins.is_empty()) {
            match events.next().await.expect("an event") {
                SessionEvent::AltSvc { stream, origin, value } => {
                    services.push((stream.get(), origin, value))
                }
                SessionEvent::Origin { origins: named } => origins = named,
                _ => {}
            }
        }
        let own = (id.get(), String::new(), "h3=\":8000\"".to_owned());
        let other = (0, "https://other.example:444".to_owned(), "h2=\":81\"; ma=60".to_owned());
        assert_eq!(services, [own, other]);
        if node.site.is_tls() {
            assert_eq!(origins, ["https://a.example", "https://b.example:8443"]);
            let set = session.origin_set().expect("a set");
            assert!(set.contains(&"https://b.example:8443".to_owned()), "{set:?}");
            assert!(set.contains(&format!("https://localhost:{}", node.site.port)), "{set:?}");
        }
        // Both are a server's to say.
        let refused = handle.altsvc(AltSvcTarget::Origin("https://a.example"), "h3=\":1\"");
        assert!(matches!(refused, Err(SessionError::NotServer("ALTSVC"))), "{refused:?}");
        assert!(matches!(handle.origin(&["https://a.example"]), Err(SessionError::NotServer("ORIGIN"))));
    });
}

#[test]
fn node_and_we_move_20_mib_each_way_at_once() {
    with_node(json!({ "maxSessionMemory": 1000 }), async |node| {
        let session = node.site.session(Options::default());
        let big = sample(20 << 20);
        let upload = RequestOptions::with_body(big.clone().into());
        let up = session.request(RequestParts::post("/sha256"), upload).unwrap();
        let mut down = get(&session, &format!("/bytes/{}", big.len()));
        let (up, (down, error)) = tokio::join!(answer(up), octets(&mut down));
        assert_eq!(up, (200, sha256(&big)));
        assert!(error.is_none(), "{error:?}");
        assert!(down == big);
    });
}

#[test]
fn windows_of_any_size_bring_every_octet() {
    // One octet at a time to Node; its answers through the smallest and the largest windows of ours.
    let options = json!({ "settings": { "initialWindowSize": 10 } });
    with_node(options, async |node| {
        for (stream, connection) in [(1_000, 65_535), (65_535, 65_535), (8 << 20, 16 << 20)] {
            let fixed = |size| Window { start: size, max: size };
            let windows = Windows { stream: fixed(stream), connection: fixed(connection) };
            let session = node.site.session(Options { windows, ..Options::default() });
            let body = sample(2_000);
            let options = RequestOptions::with_body(body.clone().into());
            let up = session.request(RequestParts::post("/sha256"), options).unwrap();
            assert_eq!(answer(up).await.1, sha256(&body), "window of {stream}");
            let mut down = get(&session, "/bytes/300000");
            let (octets, error) = octets(&mut down).await;
            assert!(error.is_none(), "{error:?}");
            assert!(octets == sample(300_000), "window of {stream}");
            session.close().await;
        }
    });
}

#[test]
fn a_session_that_node_cuts_truncates_the_response() {
    with_node(json!({}), async |node| {
        for how in ["socket", "0", "2"] {
            let session = node.site.session(Options::default());
            let mut stream = get(&session, &format!("/destroy/{how}"));
            assert_eq!(stream.response().await.unwrap().status, 200);
            let (octets, error) = octets(&mut stream).await;
            assert!(octets == b"half" || octets.is_empty(), "{how}: {octets:?}");
            let error = error.unwrap_or_else(|| panic!("{how}: half a response is none"));
            assert!(!error.is_retry_safe(), "{how}: {error}");
            assert!(stream.closed().await.is_err());
            let end = session.ended().await;
            assert!(matches!(end, SessionEnd::Closed { .. }), "{how}: {end}");
        }
    });
}

#[test]
fn an_abort_of_ours_reaches_node_as_cancel() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        let handle = AbortHandle::new();
        let options = RequestOptions { signal: Some(handle.signal()), ..RequestOptions::default() };
        let mut signalled = session.request(RequestParts::post("/held/signal"), options).unwrap();
        let dropped = post(&session, "/held/drop");
        let closed = post(&session, "/held/code");
        for stream in [&signalled, &dropped, &closed] {
            stream.opened().await.unwrap();
        }
        // Node has seen them: it answers in order.
        text(&session, "/bytes/0").await;
        handle.abort();
        drop(dropped);
        closed.reset(ErrorCode::INTERNAL_ERROR);
        assert!(matches!(signalled.response().await, Err(StreamError::Aborted)));
        text(&session, "/bytes/0").await;
        for line in ["aborted /held/signal 8", "aborted /held/drop 8", "aborted /held/code 2"] {
            node.process.line_said(move |said| said == line).await;
        }
    });
}

#[test]
fn an_answer_of_node_that_wants_no_upload_is_read_whole() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        for _ in 0..3 {
            let options = RequestOptions::with_body(sample(5 << 20).into());
            let stream = session.request(RequestParts::post("/refuse"), options).unwrap();
            assert_eq!(answer(stream).await, (413, "too much".to_owned()));
        }
        assert_eq!(text(&session, "/bytes/0").await, "");
    });
}

#[test]
fn our_goaway_reaches_node_with_its_opaque_data() {
    with_node(json!({}), async |node| {
        let session = node.site.session(Options::default());
        let stream = post(&session, "/held");
        stream.opened().await.unwrap();
        text(&session, "/bytes/0").await;
        session.handle().unwrap().goaway(ErrorCode::NO_ERROR, "so long").unwrap();
        node.process.line_said(|line| line == "goaway 0 so long").await;
        let mut stream = stream;
        stream.finish_with(Bytes::new()).await.unwrap();
        assert_eq!(answer(stream).await, (200, "held".to_owned()), "what runs goes on");
        session.ended().await;
    });
}
