//! What is asked again, and what never is: the upstreams count what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body::Frame;
use stagedoor::config::{Retry, RetryOn, Upstream as Config};
use tokio::join;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::frames::{Frames, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM};
use crate::front::{Front, h2c, http1, listener};
use crate::support::client::{Answer, fed};
use crate::support::nobody::nobody;
use crate::support::run;
use crate::text::{Text, ok, value};

/// Everything that may be listed is.
fn all() -> RetryOn {
    RetryOn { connect: true, refused: true, unprocessed: true, reset: true, statuses: vec![503] }
}

fn retrying(mut config: Config, on: RetryOn) -> Config {
    config.retry.on = on;
    config
}

/// An HTTP/1.1 server that gives each request of each connection the same answer (nothing: it closes) and counts them.
fn always(listener: TcpListener, answer: &'static str) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let serving = tokio::spawn(async move {
        loop {
            let mut upstream = Text::accept(&listener).await;
            while let Some(head) = upstream.next_head().await {
                counted.fetch_add(1, Ordering::Relaxed);
                if let Some(length) = value(&head, "content-length") {
                    upstream.octets(length.parse().unwrap()).await;
                }
                if answer.is_empty() {
                    break;
                }
                upstream.say(answer).await;
            }
        }
    });
    (seen, serving)
}

const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";

async fn get(front: &Front) -> Answer {
    front.client(true).await.get("/").await
}

async fn post(front: &Front) -> Answer {
    front.client(true).await.post("/", "some").await
}

fn failed(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.header("x-cause"))
}

#[test]
fn who_refuses_connections_is_left_for_another() {
    for over_http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let at = [nobody(), address];
            let config = if over_http2 { h2c(&at) } else { http1(&at) };
            let front = Front::start(retrying(config, RetryOn { connect: true, ..RetryOn::default() }));
            let upstream = async {
                if over_http2 {
                    let mut upstream = Frames::accept(&listener).await;
                    let stream = upstream.section().await.stream;
                    assert_eq!(upstream.body(stream).await.0, "some");
                    upstream.answer(stream, "here").await;
                    upstream.section().await;
                } else {
                    let mut upstream = Text::accept(&listener).await;
                    upstream.head().await;
                    assert_eq!(upstream.octets(4).await, "some");
                    upstream.say(&ok("here")).await;
                }
            };
            let client = async {
                // A POST as well: nobody has read of it.
                assert_eq!(post(&front).await.text(), "here");
                assert_eq!(front.counted("retries_total", &[("result", "sent")]), 1.0);
                assert_eq!(front.counted("failures_total", &[("reason", "connection_refused")]), 1.0);
                front.at_rest().await;
            };
            tokio::select! {
                () = async { join!(upstream, std::future::pending::<()>()); } => {}
                () = client => {}
            }
        });
    }
}

#[test]
fn a_refused_connection_is_502_where_nothing_is_listed() {
    run(async {
        let (listener, address) = listener().await;
        let (seen, _serving) = always(listener, BUSY);
        let front = Front::start(http1(&[nobody(), address]));
        assert_eq!(failed(&get(&front).await), (502, "connection_refused"));
        assert_eq!(seen.load(Ordering::Relaxed), 0);
        assert_eq!(front.counted("retries_total", &[("result", "not_retryable")]), 1.0);
    });
}

#[test]
fn a_refused_stream_is_tried_again_whatever_it_asks_as_long_as_its_body_is_unread() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(retrying(h2c(&[address]), RetryOn { refused: true, ..RetryOn::default() }));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let refused = upstream.section().await.stream;
            upstream.reset(refused, REFUSED_STREAM).await;
            let again = upstream.section().await;
            assert_eq!((again.get(":method"), again.get("x-once")), (Some("POST"), Some("1")));
            upstream.answer(again.stream, "taken").await;
            upstream
        };
        let client = async {
            let mut client = Frames::connect(front.address).await;
            // Its body comes later: nothing of it can have been read.
            client.ask(1, "POST", &[("x-once", "1")], false).await;
            assert_eq!(client.whole().await, ("200".to_owned(), "taken".to_owned()));
        };
        join!(upstream, client);
        assert_eq!(front.counted("retries_total", &[("result", "sent")]), 1.0);
    });
}

#[test]
fn a_body_that_was_read_is_never_sent_twice() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(retrying(h2c(&[address]), all()));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            assert_eq!(upstream.next_of(crate::support::raw::DATA).await.payload, b"some");
            upstream.reset(stream, REFUSED_STREAM).await;
            upstream.next_section().await.is_none()
        };
        let client = async {
            let mut client = front.client(true).await;
            let (feed, body) = fed();
            let request = client.request("PUT", "/").body(body).unwrap();
            feed.send(Frame::data("some".into())).unwrap();
            let answer = client.whole(request).await.unwrap();
            assert_eq!(failed(&answer), (503, "destination_unavailable"));
            assert_eq!(front.counted("retries_total", &[("result", "not_retryable")]), 1.0);
            drop(front);
        };
        let (silent, ()) = join!(upstream, client);
        assert!(silent, "nothing came a second time");
    });
}

#[test]
fn streams_above_the_last_of_a_goaway_go_elsewhere_and_others_do_not() {
    run(async {
        let (listener, address) = listener().await;
        let front =
            Front::start(retrying(h2c(&[address]), RetryOn { unprocessed: true, ..RetryOn::default() }));
        let upstream = async {
            let mut old = Frames::accept(&listener).await;
            let first = old.section().await;
            let second = old.section().await;
            assert_eq!((first.get("x-n"), second.get("x-n")), (Some("1"), Some("2")));
            old.goaway(first.stream, NO_ERROR).await;
            let mut new = Frames::accept(&listener).await;
            let again = new.section().await;
            assert_eq!(again.get("x-n"), Some("2"), "on another connection");
            new.answer(again.stream, "second").await;
            // What the GOAWAY covers is served to its end.
            old.answer(first.stream, "first").await;
            assert!(old.next_section().await.is_none(), "then the old connection ends");
        };
        let client = async {
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "POST", &[("x-n", "1")], true).await;
            client.ask(3, "POST", &[("x-n", "2")], true).await;
            let mut answers = Vec::new();
            for _ in 0..2 {
                let head = client.section().await;
                answers.push((head.stream, client.body(head.stream).await.0));
            }
            answers.sort();
            assert_eq!(answers, [(1, "first".to_owned()), (3, "second".to_owned())]);
        };
        join!(upstream, client);
        assert_eq!(front.counted("retries_total", &[("result", "sent")]), 1.0);
    });
}

#[test]
fn a_stream_that_a_goaway_covers_may_have_done_something() {
    run(async {
        let (listener, address) = listener().await;
        let front =
            Front::start(retrying(h2c(&[address]), RetryOn { unprocessed: true, ..RetryOn::default() }));
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            upstream.goaway(stream, INTERNAL_ERROR).await;
            drop(upstream);
            tokio::time::timeout(Duration::from_millis(200), listener.accept()).await.is_err()
        };
        let (alone, answer) = join!(upstream, get(&front));
        assert_eq!(failed(&answer), (502, "connection_terminated"));
        assert!(alone, "not asked again");
    });
}

#[test]
fn a_reset_before_the_head_is_tried_again_only_where_listed_and_idempotent() {
    for (method, listed, again) in
        [("GET", true, true), ("GET", false, false), ("POST", true, false), ("POST", false, false)]
    {
        run(async {
            let (listener, address) = listener().await;
            let front =
                Front::start(retrying(h2c(&[address]), RetryOn { reset: listed, ..RetryOn::default() }));
            let upstream = async {
                let mut upstream = Frames::accept(&listener).await;
                let stream = upstream.section().await.stream;
                upstream.reset(stream, INTERNAL_ERROR).await;
                if again {
                    let stream = upstream.section().await.stream;
                    upstream.answer(stream, "again").await;
                }
                upstream
            };
            let client = async {
                let mut client = front.client(true).await;
                client.bare(method, "/").await
            };
            let (_, answer) = join!(upstream, client);
            if again {
                assert_eq!(answer.text(), "again");
            } else {
                assert_eq!(failed(&answer), (502, "connection_terminated"), "{method} {listed}");
            }
        });
        run(async {
            let (listener, address) = listener().await;
            let front =
                Front::start(retrying(http1(&[address]), RetryOn { reset: listed, ..RetryOn::default() }));
            let (seen, _serving) = always(listener, "");
            let answer = front.client(true).await.bare(method, "/").await;
            assert_eq!(failed(&answer), (502, "connection_terminated"));
            assert_eq!(seen.load(Ordering::Relaxed), if again { 3 } else { 1 }, "{method} {listed}");
        });
    }
}

#[test]
fn half_a_head_is_no_answer() {
    for text in ["HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(http1(&[address]));
            let upstream = async { Text::accept(&listener).await.answer(text).await };
            let (_, answer) = join!(upstream, get(&front));
            assert_eq!(failed(&answer), (502, "connection_terminated"), "{text:?}");
        });
    }
}

#[test]
fn who_closes_only_its_own_side_before_an_answer_gives_none() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let upstream = async {
            let mut upstream = Text::accept(&listener).await;
            upstream.head().await;
            tokio::io::AsyncWriteExt::shutdown(&mut upstream.io).await.unwrap();
            upstream.rest().await
        };
        let (rest, answer) = join!(upstream, get(&front));
        assert_eq!((&*rest, failed(&answer)), ("", (502, "connection_terminated")));
    });
}

#[test]
fn a_listed_status_is_asked_for_again_and_the_last_one_passes() {
    run(async {
        let (one, first) = listener().await;
        let (two, second) = listener().await;
        let (busy, _busy) = always(one, BUSY);
        let (well, _well) = always(two, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell");
        let front = Front::start(retrying(http1(&[first, second]), all()));
        for _ in 0..4 {
            assert_eq!(get(&front).await.text(), "well");
        }
        let (busy, well) = (busy.load(Ordering::Relaxed), well.load(Ordering::Relaxed));
        assert_eq!(well, 4, "each request is answered once");
        assert!(busy >= 1, "the other one had its turns");
        assert_eq!(front.counted("retries_total", &[("result", "sent")]), busy as f64);
        front.at_rest().await;
        assert_eq!(front.counted("requests_total", &[("code", "200")]), 4.0);
    });
    run(async {
        let (listener, address) = listener().await;
        let (seen, _serving) = always(listener, BUSY);
        let front = Front::start(retrying(http1(&[address]), all()));
        let answer = get(&front).await;
        assert_eq!((answer.status, answer.header("x-cause")), (503, ""), "the upstream's own answer");
        assert_eq!(seen.load(Ordering::Relaxed), 3, "two tries beyond the first");
        assert_eq!(front.client(true).await.bare("POST", "/").await.status, 503);
        assert_eq!(seen.load(Ordering::Relaxed), 4, "a POST is asked once");
        let mut put = front.client(true).await;
        let request = put.request("PUT", "/").body(crate::support::client::full("four")).unwrap();
        assert_eq!(put.whole(request).await.unwrap().status, 503);
        assert_eq!(seen.load(Ordering::Relaxed), 5, "a body that was read is not there any more");
    });
}

#[test]
fn attempts_are_those_beyond_the_first() {
    for attempts in [0, 1, 5] {
        run(async {
            let (listener, address) = listener().await;
            let (seen, _serving) = always(listener, "");
            let mut config = retrying(http1(&[address]), all());
            config.retry.attempts = attempts;
            let front = Front::start(config);
            assert_eq!(failed(&get(&front).await), (502, "connection_terminated"));
            assert_eq!(seen.load(Ordering::Relaxed), 1 + attempts as usize);
            assert_eq!(front.counted("retries_total", &[("result", "sent")]), f64::from(attempts));
        });
    }
}

#[test]
fn retries_end_with_their_budget() {
    run(async {
        let (listener, address) = listener().await;
        let (seen, _serving) = always(listener, BUSY);
        let mut config = retrying(http1(&[address]), all());
        config.retry = Retry { attempts: 1, budget: 0.0, ..config.retry };
        let front = Front::start(config);
        let mut client = front.client(true).await;
        for _ in 0..40 {
            assert_eq!(client.get("/").await.status, 503);
        }
        // Three a second over ten seconds are always there; should the test take long some come back.
        let sent = front.counted("retries_total", &[("result", "sent")]);
        let spent = front.counted("retries_total", &[("result", "budget_exhausted")]);
        assert_eq!((sent, spent), (30.0, 10.0));
        assert_eq!(seen.load(Ordering::Relaxed), 70);
        assert_eq!(front.upstream.budget(), (30, 30));
    });
}

#[test]
fn a_connection_that_died_while_idle_is_not_the_clients_business() {
    run(async {
        let (listener, address) = listener().await;
        // Nothing is listed: nobody chose that connection.
        let front = Front::start(http1(&[address]));
        let mut client = front.client(true).await;
        let (answer, upstream) = join!(client.get("/"), async {
            let mut upstream = Text::accept(&listener).await;
            upstream.answer(&ok("one")).await;
            upstream
        });
        assert_eq!(answer.text(), "one");
        // It reads the next request and closes: as if the two had crossed.
        let (answer, ()) = join!(client.get("/"), async {
            let mut old = upstream;
            old.head().await;
            drop(old);
            Text::accept(&listener).await.answer(&ok("two")).await;
        });
        assert_eq!(answer.text(), "two");
    });
}

#[test]
fn a_post_on_a_connection_that_died_is_asked_once() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let mut client = front.client(true).await;
        let (_, upstream) = join!(client.get("/"), async {
            let mut upstream = Text::accept(&listener).await;
            upstream.answer(&ok("one")).await;
            upstream
        });
        let (answer, ()) = join!(client.bare("POST", "/"), async {
            let mut old = upstream;
            old.head().await;
            drop(old);
        });
        assert_eq!(failed(&answer), (502, "connection_terminated"));
        let again = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(again.is_err(), "not asked again");
    });
}

#[test]
fn a_connection_closed_before_its_next_request_costs_nothing() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(http1(&[address]));
        let mut client = front.client(true).await;
        let upstream = async {
            for _ in 0..3 {
                Text::accept(&listener).await.answer(&ok("")).await;
            }
        };
        let clients = async {
            for open in [1.0, 2.0, 3.0] {
                assert_eq!(client.bare("POST", "/").await.status, 200);
                // The sweep finds the end of it.
                front.until("connections_closed_total", &[], open).await;
            }
        };
        join!(upstream, clients);
        assert_eq!(front.counted("failures_total", &[]), 0.0);
    });
}

#[test]
fn a_try_that_takes_too_long_is_followed_by_another_where_resets_are() {
    run(async {
        let (listener, address) = listener().await;
        let mut config = retrying(http1(&[address]), RetryOn { reset: true, ..RetryOn::default() });
        config.retry.per_try = Some(Duration::from_millis(100));
        let front = Front::start(config);
        let upstream = async {
            let mut silent = Text::accept(&listener).await;
            silent.head().await;
            Text::accept(&listener).await.answer(&ok("in time")).await;
            assert_eq!(silent.rest().await, "", "and is given up");
        };
        let ((), answer) = join!(upstream, get(&front));
        assert_eq!(answer.text(), "in time");
        let upstream = async {
            let mut silent = Text::accept(&listener).await;
            silent.head().await;
            silent.rest().await
        };
        // The connection of the answer before is tried first, and may serve.
        let client = async { front.client(true).await.bare("POST", "/").await };
        tokio::select! {
            answer = client => assert_eq!(failed(&answer), (504, "http_response_timeout")),
            _ = async { upstream.await; std::future::pending::<()>().await } => {}
        }
    });
}
