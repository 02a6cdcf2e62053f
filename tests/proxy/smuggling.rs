//! A corpus of requests whose octets could mean two things: from HTTP/2 to a raw HTTP/1.1 upstream. What arrives there is
//! exactly one well-formed request, or none.

use tokio::time::{Duration, timeout};

use crate::frames::Frames;
use crate::front::{Front, http1, listener};
use crate::support::raw::{GOAWAY, HEADERS, RST_STREAM};
use crate::support::run;
use crate::text::{Text, ok, value};

type Fields = [(&'static [u8], &'static [u8])];

const METHOD: (&[u8], &[u8]) = (b":method", b"GET");
const SCHEME: (&[u8], &[u8]) = (b":scheme", b"http");
const AUTHORITY: (&[u8], &[u8]) = (b":authority", b"front.test");
const PATH: (&[u8], &[u8]) = (b":path", b"/");

/// What came of a request: how the client heard of it, and what the upstream received.
struct Outcome {
    /// 0 where the stream was reset or the connection ended.
    status: u16,
    arrived: Option<String>,
}

/// Sends a request with a body (`None`: the head ends it) and then an innocent one on a connection of its own, which the
/// upstream has to see as it is, and nothing between the two.
async fn send(fields: &Fields, body: Option<&str>, trailers: &Fields) -> Outcome {
    let (listener, address) = listener().await;
    let front = Front::start(http1(&[address]));
    let serving = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let mut upstream = Text::accept(&listener).await;
            while let Some(head) = upstream.next_head().await {
                let innocent = head.starts_with("GET /innocent HTTP/1.1\r\n");
                let whole = match (value(&head, "content-length"), value(&head, "transfer-encoding")) {
                    (Some(length), None) => {
                        let octets = upstream.octets(length.parse().unwrap());
                        // It may have been taken back before its end.
                        match timeout(Duration::from_millis(100), octets).await {
                            Ok(body) => format!("{head}\r\n\r\n{body}"),
                            Err(_) => break,
                        }
                    }
                    (None, Some("chunked")) => {
                        // As above: what was taken back is no request.
                        let Some((body, trailers)) = upstream.chunked_or_end().await else { break };
                        format!("{head}\r\n\r\n{body}|{}", trailers.join("|"))
                    }
                    (None, None) => head,
                    both => panic!("two framings: {both:?}"),
                };
                upstream.say(&ok("")).await;
                if innocent {
                    return (seen, whole);
                }
                seen.push(whole);
            }
        }
    });
    let mut client = Frames::connect(front.address).await;
    client.raw_head(1, fields, body.is_none() && trailers.is_empty()).await;
    if let Some(body) = body {
        client.data(1, body, trailers.is_empty()).await;
    }
    if !trailers.is_empty() {
        client.raw_head(1, trailers, true).await;
    }
    let mut status = 0;
    while let Some(frame) = client.next().await {
        match frame.kind {
            RST_STREAM | GOAWAY => break,
            HEADERS => {
                status = client.read_status(&frame);
                break;
            }
            _ => {}
        }
    }
    let mut innocent = Frames::connect(front.address).await;
    innocent.raw_head(1, &[METHOD, SCHEME, AUTHORITY, (b":path", b"/innocent")], true).await;
    assert_eq!(innocent.section().await.status(), "200");
    let (seen, last) = serving.await.unwrap();
    assert_eq!(last, "GET /innocent HTTP/1.1\r\nhost: front.test");
    assert!(seen.len() <= 1, "one request became {}: {seen:#?}", seen.len());
    Outcome { status, arrived: seen.into_iter().next() }
}

/// Nothing of it may arrive.
fn never_arrives(cases: &[&Fields]) {
    for fields in cases {
        run(async {
            let outcome = send(fields, None, &[]).await;
            let text: Vec<_> =
                fields.iter().map(|(n, v)| format!("{}: {}", n.escape_ascii(), v.escape_ascii())).collect();
            assert_eq!(outcome.arrived, None, "{text:?}");
            assert!(outcome.status == 0 || outcome.status == 400, "{} for {text:?}", outcome.status);
        });
    }
}

#[test]
fn line_ends_and_nul_in_a_field_do_not_arrive() {
    never_arrives(&[
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"b\r\nx-smuggled: 1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"b\nx-smuggled: 1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"b\rc")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"b\0c")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"b\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a: b\r\nx-smuggled", b"1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a\n", b"1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x a", b"1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a:", b"1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"", b"1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"X-Upper", b"1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b" b")],
    ]);
}

#[test]
fn line_ends_and_spaces_in_a_request_line_do_not_arrive() {
    never_arrives(&[
        &[(b":method", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET"), SCHEME, AUTHORITY, PATH],
        &[(b":method", b"GE T"), SCHEME, AUTHORITY, PATH],
        &[(b":method", b""), SCHEME, AUTHORITY, PATH],
        &[METHOD, SCHEME, AUTHORITY, (b":path", b"/ HTTP/1.1\r\nx-smuggled: 1\r\n\r\n")],
        &[METHOD, SCHEME, AUTHORITY, (b":path", b"/a b")],
        &[METHOD, SCHEME, AUTHORITY, (b":path", b"/a\tb")],
        &[METHOD, SCHEME, AUTHORITY, (b":path", b"/a\0b")],
        &[METHOD, SCHEME, AUTHORITY, (b":path", b"")],
        &[METHOD, SCHEME, AUTHORITY, (b":path", b"smuggled")],
        &[METHOD, SCHEME, AUTHORITY, (b":path", b"http://other.test/")],
        &[METHOD, SCHEME, (b":authority", b"a\r\nx-smuggled: 1"), PATH],
        &[METHOD, SCHEME, (b":authority", b"a b"), PATH],
        &[METHOD, SCHEME, (b":authority", b"user@front.test"), PATH],
        &[METHOD, (b":scheme", b"http://x/\r\n"), AUTHORITY, PATH],
    ]);
}

#[test]
fn two_of_what_there_is_one_of_do_not_arrive() {
    never_arrives(&[
        &[METHOD, METHOD, SCHEME, AUTHORITY, PATH],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b":path", b"/other")],
        &[METHOD, SCHEME, AUTHORITY, (b":authority", b"other.test"), PATH],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"1"), (b":path", b"/late")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"host", b"other.test")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"host", b"front.test"), (b"host", b"other.test")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"content-length", b"0"), (b"content-length", b"5")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b":unknown", b"1")],
    ]);
}

#[test]
fn fields_of_http1_connections_do_not_arrive() {
    never_arrives(&[
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"transfer-encoding", b"chunked")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"connection", b"close")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"connection", b"content-length"), (b"content-length", b"0")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"keep-alive", b"5")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"proxy-connection", b"close")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"upgrade", b"websocket")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (b"te", b"chunked")],
    ]);
}

#[test]
fn lengths_that_lie_do_not_arrive_whole() {
    let lies: [(&[u8], Option<&str>); 9] = [
        (b"3", Some("four")),
        (b"5", Some("four")),
        (b"4", None),
        (b"-4", Some("four")),
        (b"+4", Some("four")),
        (b"0x4", Some("four")),
        (b"4, 4", Some("four")),
        (b"4 ", Some("four")),
        (b"99999999999999999999", Some("four")),
    ];
    for (length, body) in lies {
        run(async {
            let fields: [(&'static [u8], &'static [u8]); 5] =
                [(b":method", b"POST"), SCHEME, AUTHORITY, PATH, (b"content-length", length)];
            let outcome = send(&fields, body, &[]).await;
            assert_eq!(outcome.arrived, None, "{}", length.escape_ascii());
            assert_ne!(outcome.status, 200);
        });
    }
}

#[test]
fn what_looks_like_a_request_in_a_body_stays_one() {
    const INNER: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    run(async {
        let fields = [(&b":method"[..], &b"POST"[..]), SCHEME, AUTHORITY, PATH];
        let outcome = send(&fields, Some(INNER), &[]).await;
        let arrived = outcome.arrived.unwrap();
        assert!(arrived.contains("transfer-encoding: chunked") && arrived.ends_with(&format!("{INNER}|")));
        let fields = [(&b":method"[..], &b"GET"[..]), SCHEME, AUTHORITY, PATH];
        let arrived = send(&fields, Some(INNER), &[]).await.arrived.unwrap();
        assert!(
            arrived.ends_with(&format!("{INNER}|")),
            "a GET may have a body, and it has an end: {arrived}"
        );
    });
}

#[test]
fn trailers_are_no_fields_of_framing() {
    let post: [(&'static [u8], &'static [u8]); 5] = [
        (b":method", b"POST"),
        SCHEME,
        AUTHORITY,
        PATH,
        (b"trailer", b"x-sum, content-length, transfer-encoding, host"),
    ];
    run(async {
        let outcome = send(&post, Some("four"), &[(b"x-sum", b"5")]).await;
        assert!(outcome.arrived.unwrap().ends_with("four|x-sum: 5"));
    });
    let bad: [&Fields; 6] = [
        &[(b"x-sum", b"5\r\nx-smuggled: 1")],
        &[(b"x-sum\r\n\r\nGET / HTTP/1.1", b"5")],
        &[(b":path", b"/smuggled")],
        &[(b"content-length", b"400")],
        &[(b"transfer-encoding", b"chunked")],
        &[(b"host", b"other.test")],
    ];
    for trailers in bad {
        run(async {
            let outcome = send(&post, Some("four"), trailers).await;
            if let Some(arrived) = outcome.arrived {
                assert!(arrived.ends_with("four|"), "{arrived}");
            }
        });
    }
}

#[test]
fn host_and_authority_are_one() {
    run(async {
        let both = [METHOD, SCHEME, AUTHORITY, PATH, (&b"host"[..], &b"front.test"[..])];
        let arrived = send(&both, None, &[]).await.arrived.unwrap();
        assert_eq!(value(&arrived, "host"), Some("front.test"));
        let host = [METHOD, SCHEME, PATH, (&b"host"[..], &b"front.test"[..])];
        let arrived = send(&host, None, &[]).await.arrived.unwrap();
        assert_eq!(value(&arrived, "host"), Some("front.test"));
        // HTTP/1.1 does not go without: it is for who is asked.
        let arrived = send(&[METHOD, SCHEME, PATH], None, &[]).await.arrived.unwrap();
        assert!(value(&arrived, "host").unwrap().starts_with("127.0.0.1:"), "{arrived}");
    });
}

#[test]
fn strange_but_valid_requests_arrive_as_they_are() {
    let paths: [&[u8]; 6] =
        [b"/%0d%0aX:%20y", b"/a//b/../c", b"//other.test/", b"/a?b=c&d=%00", b"/;x=1", b"/a@b:c"];
    for path in paths {
        run(async {
            let fields = [METHOD, SCHEME, AUTHORITY, (&b":path"[..], path)];
            let outcome = send(&fields, None, &[]).await;
            let arrived = outcome.arrived.unwrap();
            let path = String::from_utf8(path.to_vec()).unwrap();
            assert!(arrived.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{arrived}");
        });
    }
    run(async {
        let fields = [(&b":method"[..], &b"OPTIONS"[..]), SCHEME, AUTHORITY, (b":path", b"*")];
        let arrived = send(&fields, None, &[]).await.arrived.unwrap();
        assert!(arrived.starts_with("OPTIONS * HTTP/1.1\r\n"), "{arrived}");
        let fields = [METHOD, SCHEME, AUTHORITY, PATH, (&b"x-a"[..], &b"b, c; d=\"e\\\"f\" \xc3\xa4"[..])];
        assert_eq!(send(&fields, None, &[]).await.status, 200);
    });
}
