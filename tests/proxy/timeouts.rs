//! Deadlines of exchanges: when they run, when they rest, what the client hears.

use std::time::{Duration, Instant};

use http_body::Frame;
use stagedoor::config::Upstream as Config;
use tokio::join;
use tokio::time::sleep;

use crate::frames::{CANCEL, Frames};
use crate::front::{Front, h2c, http1, listener};
use crate::support::client::{fed, next_octets};
use crate::support::run;
use crate::text::Text;

const SHORT: Duration = Duration::from_millis(300);

fn response(mut config: Config) -> Config {
    config.timeouts.response = SHORT;
    config
}

fn stall(mut config: Config) -> Config {
    config.timeouts.stall = SHORT;
    config
}

#[test]
fn a_connection_that_does_not_come_up_is_504() {
    run(async {
        // Its backlog is full: SYNs are dropped, as those to a machine that is off.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        while let Ok(Ok(socket)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await
        {
            filling.push(socket);
            assert!(filling.len() < 8, "a backlog of none fills");
        }
        for mut config in [http1(&[address]), h2c(&[address])] {
            config.timeouts.connect = SHORT;
            let front = Front::start(config);
            let answer = front.client(true).await.get("/").await;
            assert_eq!((answer.status, answer.header("x-cause")), (504, "connection_timeout"));
            front.at_rest().await;
            assert_eq!(front.counted("failures_total", &[("reason", "connection_timeout")]), 1.0);
        }
    });
}

#[test]
fn no_head_in_time_is_504_and_the_upstream_is_let_go() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(response(http1(&[address])));
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            upstream.head().await;
            upstream.rest().await
        };
        let client = async { front.client(true).await.get("/").await };
        let (_, answer) = join!(upstream, client);
        assert_eq!((answer.status, answer.header("x-cause")), (504, "http_response_timeout"));
    });
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(response(h2c(&[address])));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            assert_eq!(upstream.reset_code(stream).await, CANCEL);
        };
        let client = async { front.client(false).await.get("/").await };
        let ((), answer) = join!(upstream, client);
        assert_eq!((answer.status, answer.header("x-cause")), (504, "http_response_timeout"));
        front.at_rest().await;
    });
}

#[test]
fn an_upload_that_moves_puts_the_deadline_off() {
    for over_http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(response(if over_http2 { h2c(&[address]) } else { http1(&[address]) }));
            let upstream = async {
                if over_http2 {
                    let mut upstream = Frames::accept(&listener).await;
                    let stream = upstream.section().await.stream;
                    assert_eq!(upstream.body(stream).await.0, "abcdef");
                    upstream.answer(stream, "all").await;
                    upstream.next().await;
                } else {
                    let mut upstream = Text::accept(&listener).await;
                    upstream.head().await;
                    assert_eq!(upstream.chunked().await.0, "abcdef");
                    upstream.say(&crate::text::ok("all")).await;
                }
            };
            let client = async {
                let mut client = front.client(true).await;
                let (feed, body) = fed();
                let request = client.request("POST", "/").body(body).unwrap();
                let began = Instant::now();
                let feeding = async {
                    for piece in ["a", "b", "c", "d", "e", "f"] {
                        feed.send(Frame::data(piece.into())).unwrap();
                        sleep(SHORT / 3).await;
                    }
                    drop(feed);
                };
                let (answer, ()) = join!(client.whole(request), feeding);
                assert_eq!(answer.unwrap().text(), "all");
                assert!(began.elapsed() > SHORT, "the deadline would have been over");
            };
            tokio::select! {
                () = client => {}
                () = async { upstream.await; std::future::pending::<()>().await } => {}
            }
        });
    }
}

#[test]
fn the_deadline_of_a_response_ends_with_its_head() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(response(http1(&[address])));
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            upstream.answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nso").await;
            sleep(SHORT * 2).await;
            upstream.say("on").await;
        };
        let client = async { front.client(true).await.get("/").await };
        let ((), answer) = join!(upstream, client);
        assert_eq!(answer.text(), "soon");
    });
}

#[test]
fn a_body_of_declared_length_that_does_not_go_on_breaks_off() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(stall(http1(&[address])));
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            upstream.answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nso").await;
            upstream.rest().await
        };
        let client = async {
            let mut client = front.client(true).await;
            let request = client.request("GET", "/").body(crate::support::client::nothing()).unwrap();
            let mut body = client.send(request).await.unwrap().into_body();
            assert_eq!(next_octets(&mut body).await.unwrap().unwrap(), "so");
            assert!(next_octets(&mut body).await.unwrap().is_err());
        };
        join!(upstream, client);
        front.at_rest().await;
        assert_eq!(front.counted("failures_total", &[("reason", "stall")]), 1.0);
    });
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(stall(h2c(&[address])));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            upstream.head(stream, &[(":status", "200"), ("content-length", "4")], false).await;
            upstream.data(stream, "so", false).await;
            upstream.reset_code(stream).await
        };
        let client = async {
            let mut client = front.client(true).await;
            let request = client.request("GET", "/").body(crate::support::client::nothing()).unwrap();
            let mut body = client.send(request).await.unwrap().into_body();
            assert_eq!(next_octets(&mut body).await.unwrap().unwrap(), "so");
            assert!(next_octets(&mut body).await.unwrap().is_err());
        };
        join!(upstream, client);
        front.at_rest().await;
        assert_eq!(front.counted("failures_total", &[("reason", "stall")]), 1.0);
    });
}

#[test]
fn what_has_no_length_may_rest() {
    for over_http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(stall(if over_http2 { h2c(&[address]) } else { http1(&[address]) }));
            let upstream = async {
                if over_http2 {
                    let mut upstream = Frames::accept(&listener).await;
                    let stream = upstream.section().await.stream;
                    upstream.head(stream, &[(":status", "200")], false).await;
                    upstream.data(stream, "so", false).await;
                    sleep(SHORT * 2).await;
                    upstream.data(stream, "on", true).await;
                    upstream.next().await;
                } else {
                    let mut upstream = Text::accept(&listener).await;
                    upstream.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nso\r\n").await;
                    sleep(SHORT * 2).await;
                    upstream.say("2\r\non\r\n0\r\n\r\n").await;
                }
            };
            let client = async { front.client(true).await.get("/").await };
            let answer = tokio::select! {
                answer = client => answer,
                () = async { upstream.await; std::future::pending::<()>().await } => unreachable!(),
            };
            assert_eq!(answer.text(), "soon", "over HTTP/2: {over_http2}");
        });
    }
}

#[test]
fn a_grpc_call_may_rest_as_long_as_it_likes() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(stall(h2c(&[address])));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            let fields = [(":status", "200"), ("content-type", "application/grpc"), ("content-length", "4")];
            upstream.head(stream, &fields, false).await;
            upstream.data(stream, "so", false).await;
            sleep(SHORT * 2).await;
            upstream.data(stream, "on", false).await;
            upstream.head(stream, &[("grpc-status", "0")], true).await;
            upstream
        };
        let client = async {
            let mut client = Frames::connect(front.address).await;
            let fields = [("content-type", "application/grpc"), ("te", "trailers")];
            client.ask(1, "POST", &fields, true).await;
            let head = client.section().await;
            assert_eq!(head.get("content-type"), Some("application/grpc"));
            let (body, trailers) = client.body(1).await;
            assert_eq!((&*body, trailers.unwrap().get("grpc-status")), ("soon", Some("0")));
        };
        join!(upstream, client);
    });
}

#[test]
fn a_connection_whose_pings_are_not_answered_is_given_up() {
    run(async {
        let (listener, address) = listener().await;
        let mut config = h2c(&[address]);
        config.keepalive.ping = SHORT / 2;
        config.keepalive.timeout = SHORT;
        let front = Front::start(config);
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            upstream.section().await;
            // Nothing is read any more, as by a machine that is off.
            upstream
        };
        let client = async { front.client(true).await.get("/").await };
        let (held, answer) = join!(upstream, client);
        assert_eq!((answer.status, answer.header("x-cause")), (502, "connection_terminated"));
        front.until("connections_active", &[], 0.0).await;
        drop(held);
    });
}
