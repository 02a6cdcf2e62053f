//! One exchange: both versions of HTTP on both sides, bodies, trailers, informational heads, and every way it ends early.

use bytes::Bytes;
use http_body::Frame;
use tokio::join;
use tokio::net::TcpListener;

use crate::frames::{CANCEL, Frames, INTERNAL_ERROR, NO_ERROR};
use crate::front::{Front, h2c, http1, listener};
use crate::support::client::{Answer, collect, fed, full, next_octets};
use crate::support::run;
use crate::text::{Text, ok, value};

const BIG: usize = 1 << 20;

/// Octets that are in order only in one way.
fn octets(count: usize) -> String {
    (0..count).map(|at| char::from(b'a' + (at * 7 + at / 251) as u8 % 26)).collect()
}

/// An HTTP/2 server of others: whatever was sent comes back, its trailers too.
async fn echo_http2(listener: TcpListener) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut server = h2::server::handshake(socket).await.unwrap();
    while let Some(Ok((request, mut respond))) = server.accept().await {
        tokio::spawn(async move {
            let mut body = request.into_body();
            // Over HTTP/1.1 trailers go only where the head names them.
            let head = http::Response::builder().header("trailer", "x-sum").body(()).unwrap();
            let mut sending = respond.send_response(head, false).unwrap();
            while let Some(chunk) = body.data().await {
                let mut chunk: Bytes = chunk.unwrap();
                let _ = body.flow_control().release_capacity(chunk.len());
                while !chunk.is_empty() {
                    sending.reserve_capacity(chunk.len());
                    let may = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await.unwrap().unwrap();
                    sending.send_data(chunk.split_to(may), false).unwrap();
                }
            }
            match body.trailers().await.unwrap() {
                Some(trailers) => sending.send_trailers(trailers).unwrap(),
                None => sending.send_data(Bytes::new(), true).unwrap(),
            }
        });
    }
}

/// The same over HTTP/1.1, a request after the other: what has a length is answered with one.
async fn echo_http1(listener: TcpListener) {
    let mut upstream = Text::accept(&listener).await;
    while let Some(head) = upstream.next_head().await {
        match value(&head, "content-length") {
            Some(length) => {
                let body = upstream.octets(length.parse().unwrap()).await;
                upstream.say(&ok(&body)).await;
            }
            None => {
                let (body, trailers) = upstream.chunked().await;
                let trailers: String = trailers.iter().map(|line| format!("{line}\r\n")).collect();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n{:x}\r\n{body}\r\n0\r\n{trailers}\r\n",
                    body.len()
                );
                upstream.say(&answer).await;
            }
        }
    }
}

/// Runs a test with each version on both sides: a front before an echo, and whether its client speaks HTTP/2.
fn each_way(test: impl AsyncFn(&Front, bool)) {
    for over_http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(if over_http2 { h2c(&[address]) } else { http1(&[address]) });
            let echo = match over_http2 {
                true => tokio::spawn(echo_http2(listener)),
                false => tokio::spawn(echo_http1(listener)),
            };
            for http2 in [false, true] {
                test(&front, http2).await;
            }
            front.at_rest().await;
            drop(front);
            echo.await.unwrap();
        });
    }
}

#[test]
fn bodies_pass_both_ways() {
    each_way(async |front, http2| {
        let mut client = front.client(http2).await;
        for size in [1, 16_384, 65_536, BIG] {
            let sent = octets(size);
            let answer = client.post("/", sent.clone()).await;
            assert_eq!(answer.status, 200);
            assert!(answer.body == sent, "{size} octets, http2 {http2}");
        }
    });
}

#[test]
fn trailers_pass_both_ways() {
    each_way(async |front, http2| {
        let mut client = front.client(http2).await;
        let (feed, body) = fed();
        let request = client.request("POST", "/").header("te", "trailers").header("trailer", "x-sum");
        let request = request.body(body).unwrap();
        feed.send(Frame::data("some".into())).unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "5".parse().unwrap());
        feed.send(Frame::trailers(trailers)).unwrap();
        drop(feed);
        let answer = client.whole(request).await.unwrap();
        assert_eq!(answer.text(), "some");
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers.get("x-sum").unwrap(), "5", "http2 {http2}");
    });
}

#[test]
fn a_length_that_is_known_is_told_and_one_that_is_not_goes_in_chunks() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            let mut seen = Vec::new();
            for _ in 0..4 {
                let head = upstream.head().await;
                let length = value(&head, "content-length").map(str::to_owned);
                let coding = value(&head, "transfer-encoding").map(str::to_owned);
                match (&length, &coding) {
                    (Some(length), None) => drop(upstream.octets(length.parse().unwrap()).await),
                    (None, Some(_)) => assert_eq!(upstream.chunked().await.0, "four"),
                    other => assert_eq!(other, (&None, &None)),
                }
                seen.push((length, coding));
                upstream.say(&ok("")).await;
            }
            seen
        };
        let client = async {
            let mut client = front.client(true).await;
            client.post("/", "four").await;
            let (feed, body) = fed();
            let request = client.request("POST", "/").body(body).unwrap();
            feed.send(Frame::data("four".into())).unwrap();
            drop(feed);
            client.whole(request).await.unwrap();
            client.get("/").await;
            client.post("/", "").await;
        };
        let (seen, ()) = join!(upstream, client);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(seen[0], (text("4"), None));
        assert_eq!(seen[1], (None, text("chunked")));
        assert_eq!(seen[2], (None, None), "a GET without a body says nothing of one");
        assert!(
            matches!(&seen[3], (length, None) if length.as_deref().unwrap_or("0") == "0"),
            "{:?}",
            seen[3]
        );
    });
}

#[test]
fn informational_heads_pass_to_http2_clients_and_leave_others_whole() {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nkeep-alive: 5\r\n\r\n";
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            for _ in 0..2 {
                upstream.head().await;
                upstream.say(HINTS).await;
                upstream.say(&ok("done")).await;
            }
        };
        let client = async {
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "GET", &[], true).await;
            let hints = client.section().await;
            assert_eq!((hints.status(), hints.get("link"), hints.ends), ("103", Some("</a.css>"), false));
            assert_eq!(hints.get("keep-alive"), None, "fields of the hop go from these heads too");
            assert_eq!(client.whole().await, ("200".to_owned(), "done".to_owned()));
            assert_eq!(front.client(false).await.get("/").await.text(), "done");
        };
        join!(upstream, client);
    });
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            for _ in 0..2 {
                let stream = upstream.section().await.stream;
                upstream.head(stream, &[(":status", "103"), ("link", "</a.css>")], false).await;
                upstream.answer(stream, "done").await;
            }
        };
        let client = async {
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "GET", &[], true).await;
            let hints = client.section().await;
            assert_eq!((hints.status(), hints.get("link")), ("103", Some("</a.css>")));
            assert_eq!(client.whole().await, ("200".to_owned(), "done".to_owned()));
            assert_eq!(front.client(false).await.get("/").await.text(), "done");
        };
        join!(upstream, client);
    });
}

/// A length of an answer without a body passes; our HTTP/1.1 leaves that of a 304 out, as it may (RFC 9110 §8.6).
fn told(answer: &Answer, length: Option<&str>, http2: bool) {
    let told = answer.headers.get("content-length").map(|value| value.to_str().unwrap());
    let left_out = !http2 && answer.status == 304 && told.is_none();
    assert!(told == length || left_out, "{} {told:?}, http2 {http2}", answer.status);
}

#[test]
fn answers_that_have_no_body_say_how_long_it_were_and_end() {
    let asked = [
        ("HEAD", "200 OK", Some("1000")),
        ("GET", "204 No Content", None),
        ("GET", "304 Not Modified", Some("1000")),
        ("GET", "200 OK", Some("0")),
    ];
    for http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(http1(&[address]));
            let upstream = async {
                let mut upstream = Text::accept(&listener).await;
                for (method, status, length) in asked {
                    let length =
                        length.map(|length| format!("content-length: {length}\r\n")).unwrap_or_default();
                    let head = upstream.answer(&format!("HTTP/1.1 {status}\r\n{length}\r\n")).await;
                    assert!(head.starts_with(&format!("{method} / HTTP/1.1\r\n")), "{head}");
                }
            };
            let client = async {
                let mut client = front.client(http2).await;
                for (method, status, length) in asked {
                    let answer = client.bare(method, "/").await;
                    assert!(status.starts_with(&answer.status.to_string()) && answer.body.is_empty());
                    told(&answer, length, http2);
                }
            };
            join!(upstream, client);
        });
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(h2c(&[address]));
            let upstream = async {
                let mut upstream = Frames::accept(&listener).await;
                for (method, status, length) in asked {
                    let head = upstream.section().await;
                    assert_eq!(head.get(":method"), Some(method));
                    let mut fields = vec![(":status", &status[..3])];
                    fields.extend(length.map(|length| ("content-length", length)));
                    upstream.head(head.stream, &fields, true).await;
                }
            };
            let client = async {
                let mut client = front.client(http2).await;
                for (method, status, length) in asked {
                    let answer = client.bare(method, "/").await;
                    assert!(status.starts_with(&answer.status.to_string()) && answer.body.is_empty());
                    told(&answer, length, http2);
                }
            };
            join!(upstream, client);
        });
    }
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    for http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(http1(&[address]));
            let upstream = async {
                let mut upstream = Text::accept(&listener).await;
                upstream.answer("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
            };
            let client = async { front.client(http2).await.get("/").await };
            let ((), answer) = join!(upstream, client);
            assert_eq!(answer.text(), "until the end");
            front.until("connections_active", &[], 0.0).await;
        });
    }
}

#[test]
fn an_answer_may_come_before_the_request_is_whole() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            upstream.answer("HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nbig\n").await;
            // Half a request is in it: nothing else can be asked on this connection.
            upstream.rest().await
        };
        let client = async {
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "POST", &[("content-length", "9000")], false).await;
            client.data(1, "some", false).await;
            assert_eq!(client.whole().await, ("413".to_owned(), "big\n".to_owned()));
            assert_eq!(client.reset_code(1).await, NO_ERROR, "the client is asked to stop (RFC 9113 §8.1)");
        };
        let (sent, ()) = join!(upstream, client);
        assert!(sent == "some" || sent.is_empty(), "{sent:?}");
        front.at_rest().await;
    });
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            upstream.head(stream, &[(":status", "413")], false).await;
            upstream.data(stream, "big\n", true).await;
            upstream.reset(stream, NO_ERROR).await;
            // The connection goes on.
            let stream = upstream.section().await.stream;
            upstream.answer(stream, "next").await;
        };
        let client = async {
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "POST", &[("content-length", "9000")], false).await;
            client.data(1, "some", false).await;
            assert_eq!(client.whole().await, ("413".to_owned(), "big\n".to_owned()));
            assert_eq!(client.reset_code(1).await, NO_ERROR);
            client.ask(3, "GET", &[], true).await;
            assert_eq!(client.whole().await, ("200".to_owned(), "next".to_owned()));
        };
        join!(upstream, client);
        front.at_rest().await;
    });
}

#[test]
fn an_answer_streams_while_its_request_does() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let echo = tokio::spawn(echo_http2(listener));
        for http2 in [false, true] {
            let mut client = front.client(http2).await;
            let (feed, body) = fed();
            let request = client.request("POST", "/").body(body).unwrap();
            let response = client.send(request).await.unwrap();
            let mut body = response.into_body();
            for piece in ["one", "two", "three"] {
                feed.send(Frame::data(piece.into())).unwrap();
                assert_eq!(next_octets(&mut body).await.unwrap().unwrap(), piece);
            }
            drop(feed);
            assert!(next_octets(&mut body).await.is_none());
        }
        drop(front);
        echo.await.unwrap();
    });
}

#[test]
fn what_a_client_does_not_want_any_more_is_cancelled_upstream() {
    // Before the head of the answer, and after it.
    for answered in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(h2c(&[address]));
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "GET", &[], true).await;
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            if answered {
                upstream.head(stream, &[(":status", "200")], false).await;
                client.section().await;
            }
            client.reset(1, CANCEL).await;
            assert_eq!(upstream.reset_code(stream).await, CANCEL);
            front.at_rest().await;
            assert_eq!(front.counted("connections_active", &[("protocol", "h2c")]), 1.0, "for others");
        });
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(http1(&[address]));
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "GET", &[], true).await;
            let mut upstream = Text::accept(&listener).await;
            upstream.head().await;
            if answered {
                upstream.say("HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\nsome").await;
                client.section().await;
            }
            client.reset(1, CANCEL).await;
            assert_eq!(upstream.rest().await, "");
            front.at_rest().await;
            front.until("connections_active", &[], 0.0).await;
        });
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(h2c(&[address]));
            let mut client = Text::connect(front.address).await;
            client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            if answered {
                upstream.head(stream, &[(":status", "200")], false).await;
                client.head().await;
            }
            drop(client);
            assert_eq!(upstream.reset_code(stream).await, CANCEL);
            front.at_rest().await;
        });
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_passed_as_whole() {
    let halves = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ];
    for half in halves {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(http1(&[address]));
            let upstream = async {
                for _ in 0..2 {
                    Text::accept(&listener).await.answer(half).await;
                }
            };
            let clients = async {
                let mut client = Frames::connect(front.address).await;
                client.ask(1, "GET", &[], true).await;
                assert_eq!(client.section().await.status(), "200");
                assert_eq!(client.reset_code(1).await, INTERNAL_ERROR, "{half:?}");
                let mut client = Text::connect(front.address).await;
                client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
                let head = client.head().await;
                assert_eq!(value(&head, "content-length"), half.contains("content-length").then_some("10"));
                let rest = client.rest().await;
                assert!(rest.contains("half") && !rest.ends_with("0\r\n\r\n"), "{half:?}: {rest:?}");
            };
            join!(upstream, clients);
            front.at_rest().await;
            let failures = front.counted("failures_total", &[]);
            assert_eq!(failures, 2.0, "a failure after the head is one, too");
        });
    }
}

#[test]
fn a_reset_after_the_head_resets_the_clients_stream_or_cuts_its_connection() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            for _ in 0..2 {
                let stream = upstream.section().await.stream;
                upstream.head(stream, &[(":status", "200")], false).await;
                upstream.data(stream, "half", false).await;
                upstream.reset(stream, INTERNAL_ERROR).await;
            }
            upstream
        };
        let clients = async {
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "GET", &[], true).await;
            assert_eq!(client.section().await.status(), "200");
            assert_eq!(client.reset_code(1).await, INTERNAL_ERROR);
            let mut client = Text::connect(front.address).await;
            client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            client.head().await;
            assert!(!client.rest().await.ends_with("0\r\n\r\n"));
        };
        join!(upstream, clients);
        front.at_rest().await;
        assert_eq!(front.counted("failures_total", &[]), 2.0);
    });
}

#[test]
fn an_answer_shorter_or_longer_than_it_says_is_broken_off() {
    for (length, body) in [("10", "four"), ("2", "four")] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(h2c(&[address]));
            let upstream = async {
                let mut upstream = Frames::accept(&listener).await;
                let stream = upstream.section().await.stream;
                upstream.head(stream, &[(":status", "200"), ("content-length", length)], false).await;
                upstream.data(stream, body, true).await;
                upstream
            };
            let client = async {
                let mut client = front.client(true).await;
                let request = client.request("GET", "/").body(full("")).unwrap();
                let response = client.send(request).await.unwrap();
                match response.status().as_u16() {
                    200 => assert!(collect(response).await.is_err(), "{length}"),
                    status => assert_eq!(status, 502, "{length}"),
                }
            };
            join!(upstream, client);
            front.at_rest().await;
        });
    }
}

#[test]
fn an_answer_that_is_no_http_is_502() {
    let strange = [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 two hundred\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nfour",
        "HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\nfour",
        "HTTP/1.1 200 OK\r\nx y: 4\r\n\r\n",
    ];
    for text in strange {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(http1(&[address]));
            let upstream = async {
                let mut upstream = Text::accept(&listener).await;
                upstream.answer(text).await;
                upstream.rest().await
            };
            let client = async { front.client(true).await.get("/").await };
            let (_, answer) = join!(upstream, client);
            assert_eq!((answer.status, answer.header("x-cause")), (502, "http_protocol_error"), "{text:?}");
            assert_eq!(front.counted("failures_total", &[("reason", "http_protocol_error")]), 1.0);
        });
    }
}

#[test]
fn a_connection_is_used_again_when_both_messages_are_whole() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            for _ in 0..3 {
                upstream.answer(&ok("again")).await;
            }
            upstream.answer("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
            assert_eq!(upstream.rest().await, "");
            Text::accept(&listener).await.answer(&ok("another")).await;
        };
        let client = async {
            let mut client = front.client(true).await;
            for _ in 0..3 {
                assert_eq!(client.get("/").await.text(), "again");
            }
            assert_eq!(client.get("/").await.header("connection"), "");
            assert_eq!(client.get("/").await.text(), "another");
        };
        join!(upstream, client);
    });
}
