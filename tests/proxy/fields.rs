//! Fields on their way: those of one hop never pass, the others all do, and what HTTP/1.1 writes in another way is
//! written so.

use tokio::join;

use crate::frames::Frames;
use crate::front::{Front, h2c, http1, listener};
use crate::support::run;
use crate::text::{Text, ok, value};

const ASKED: &str = "GET /a?b HTTP/1.1\r\nhost: front.test\r\nconnection: keep-alive, X-Hop, te\r\nx-hop: 1\r\n\
    keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nproxy-authorization: Basic eA==\r\n\
    te: gzip, trailers\r\nx-end: 2\r\n\r\n";
const ANSWERED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\n\
    keep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\nx-end: 2\r\nset-cookie: a=1\r\n\
    set-cookie: b=2\r\n\r\nok";
const HOP: [&str; 6] =
    ["x-hop", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "upgrade"];

#[test]
fn fields_of_a_hop_do_not_pass_an_http1_upstream() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let mut client = Text::connect(front.address).await;
        client.say(ASKED).await;
        let mut upstream = Text::accept(&listener).await;
        let asked = upstream.answer(ANSWERED).await;
        let answered = client.head().await;
        for head in [&asked, &answered] {
            for name in HOP {
                assert_eq!(value(head, name), None, "{head}");
            }
            assert_eq!(value(head, "x-end"), Some("2"));
        }
        assert!(asked.starts_with("GET /a?b HTTP/1.1\r\n"), "{asked}");
        assert_eq!((value(&asked, "te"), value(&asked, "connection")), (Some("trailers"), Some("te")));
        assert_eq!(value(&asked, "host"), Some("front.test"));
        assert_eq!(answered.matches("set-cookie: ").count(), 2, "each has a field of its own");
    });
}

#[test]
fn fields_of_a_hop_do_not_pass_an_http2_upstream() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let mut client = Text::connect(front.address).await;
        client.say(ASKED).await;
        let mut upstream = Frames::accept(&listener).await;
        let asked = upstream.section().await;
        for name in HOP.iter().chain(&["connection", "host", "transfer-encoding"]) {
            assert_eq!(asked.get(name), None, "{asked:?}");
        }
        assert_eq!((asked.get("te"), asked.get("x-end")), (Some("trailers"), Some("2")));
        assert_eq!((asked.get(":authority"), asked.get(":path")), (Some("front.test"), Some("/a?b")));
        assert_eq!((asked.get(":method"), asked.get(":scheme")), (Some("GET"), Some("http")));
        upstream.head(asked.stream, &[(":status", "200"), ("keep-alive", "5"), ("x-end", "2")], true).await;
        let answered = client.head().await;
        // RFC 9113 §8.2.2: such an answer is malformed; it may be refused, it may not pass as it is.
        assert_eq!(value(&answered, "keep-alive"), None, "{answered}");
    });
}

#[test]
fn crumbs_of_a_cookie_are_one_field_for_http1() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let client = async {
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "GET", &[("cookie", "a=1"), ("x-y", "z"), ("cookie", "b=2; c=3")], true).await;
            client.whole().await
        };
        let upstream = async { Text::accept(&listener).await.answer(&ok("")).await };
        let (_, asked) = join!(client, upstream);
        assert_eq!(value(&asked, "cookie"), Some("a=1; b=2; c=3"), "RFC 9113 §8.2.3");
        assert_eq!(value(&asked, "x-y"), Some("z"));
    });
}

#[test]
fn te_says_trailers_or_nothing() {
    for (te, passed) in [("trailers", Some("trailers")), ("gzip", None)] {
        for over_http2 in [false, true] {
            run(async {
                let (listener, address) = listener().await;
                let front = Front::start(if over_http2 { h2c(&[address]) } else { http1(&[address]) });
                let mut client = Text::connect(front.address).await;
                client.say(&format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: te\r\nte: {te}\r\n\r\n")).await;
                if over_http2 {
                    let asked = Frames::accept(&listener).await.section().await;
                    assert_eq!(asked.get("te"), passed);
                } else {
                    let asked = Text::accept(&listener).await.head().await;
                    assert_eq!(
                        (value(&asked, "te"), value(&asked, "connection")),
                        (passed, passed.map(|_| "te"))
                    );
                }
            });
        }
    }
}

#[test]
fn an_expectation_is_met_here_and_not_passed_on() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let mut client = Text::connect(front.address).await;
        client.say("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            let head = upstream.head().await;
            assert_eq!(value(&head, "expect"), None, "{head}");
            // An informational head of that hop is not one of this.
            upstream.say("HTTP/1.1 100 Continue\r\n\r\n").await;
            assert_eq!(upstream.octets(4).await, "four");
            upstream.say(&ok("")).await;
        };
        let client = async {
            assert!(client.head().await.starts_with("HTTP/1.1 100 "));
            client.say("four").await;
            assert!(client.head().await.starts_with("HTTP/1.1 200 "));
        };
        join!(upstream, client);
    });
}

#[test]
fn an_answer_has_one_framing_only() {
    // A length beside a coding is to be taken out (RFC 9112 §6.3): a client that believes it would be out of step.
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-length: 40\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let mut client = Text::connect(front.address).await;
        client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut upstream = Text::accept(&listener).await;
        upstream.answer(answer).await;
        let head = client.head().await;
        if head.starts_with("HTTP/1.1 200 ") {
            assert_eq!(value(&head, "content-length"), None, "{head}");
            assert_eq!(client.chunked().await.0, "ok");
        } else {
            assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        }
    });
}
