//! Ceilings of an endpoint: connections, requests that wait, streams of an HTTP/2 connection.

use std::time::Duration;

use stagedoor::config::Upstream as Config;
use tokio::join;

use crate::frames::{CANCEL, Frames, MAX_CONCURRENT_STREAMS};
use crate::front::{Front, h2c, http1, listener};
use crate::support::run;
use crate::text::{Text, ok};

fn limited(mut config: Config, connections: usize, pending: usize) -> Config {
    config.limits.connections = connections;
    config.limits.pending = pending;
    config
}

/// Nobody connects within a moment.
async fn nobody_comes(listener: &tokio::net::TcpListener) -> bool {
    tokio::time::timeout(Duration::from_millis(100), listener.accept()).await.is_err()
}

#[test]
fn who_finds_every_connection_taken_waits_and_more_are_busy() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(limited(http1(&[address]), 2, 1));
        let mut client = Frames::connect(front.address).await;
        for stream in [1, 3, 5] {
            client.ask(stream, "GET", &[], true).await;
        }
        let mut one = Text::accept(&listener).await;
        let mut two = Text::accept(&listener).await;
        one.head().await;
        two.head().await;
        front.until("requests_pending", &[], 1.0).await;
        client.ask(7, "GET", &[], true).await;
        let busy = client.section().await;
        assert_eq!((busy.stream, busy.status()), (7, "503"));
        assert_eq!(busy.get("x-cause"), Some("connection_limit_reached"));
        assert!(nobody_comes(&listener).await);
        // The connection that comes free is used by who waits.
        one.say(&ok("one")).await;
        assert_eq!(client.whole().await.1, "one");
        one.answer(&ok("waited")).await;
        assert_eq!(client.whole().await.1, "waited");
        two.say(&ok("two")).await;
        assert_eq!(client.whole().await.1, "two");
        front.at_rest().await;
        assert_eq!(front.counted("connections_active", &[("protocol", "http/1.1")]), 2.0);
        assert_eq!(front.counted("failures_total", &[("reason", "connection_limit_reached")]), 1.0);
    });
}

#[test]
fn the_place_of_a_connection_that_ends_goes_to_who_waits() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(limited(http1(&[address]), 1, 4));
        let mut client = Frames::connect(front.address).await;
        for stream in [1, 3, 5] {
            client.ask(stream, "GET", &[], true).await;
        }
        let mut upstream = Text::accept(&listener).await;
        upstream.head().await;
        front.until("requests_pending", &[], 2.0).await;
        // Who does not want to wait any more leaves the line.
        client.reset(3, CANCEL).await;
        front.until("requests_pending", &[], 1.0).await;
        drop(upstream);
        let broken = client.section().await;
        assert_eq!((broken.stream, broken.status()), (1, "502"));
        Text::accept(&listener).await.answer(&ok("at last")).await;
        let (answer, body) = client.whole().await;
        assert_eq!((&*answer, &*body), ("200", "at last"));
        front.at_rest().await;
        front.until("connections_active", &[], 0.0).await;
    });
}

#[test]
fn who_waits_is_not_forgotten_when_the_one_before_gives_up() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(limited(http1(&[address]), 1, 4));
        let mut client = Frames::connect(front.address).await;
        for stream in [1, 3] {
            client.ask(stream, "GET", &[], true).await;
        }
        let mut upstream = Text::accept(&listener).await;
        upstream.head().await;
        front.until("requests_pending", &[], 1.0).await;
        client.reset(1, CANCEL).await;
        Text::accept(&listener).await.answer(&ok("next")).await;
        assert_eq!(client.whole().await.1, "next");
    });
}

#[test]
fn who_waits_in_line_has_a_deadline() {
    run(async {
        let (listener, address) = listener().await;
        let mut config = limited(http1(&[address]), 1, 4);
        config.timeouts.response = Duration::from_millis(300);
        // The first is served for a long time, which no deadline of its own ends.
        let front = Front::start(config);
        let mut client = Frames::connect(front.address).await;
        client.ask(1, "GET", &[], true).await;
        let mut upstream = Text::accept(&listener).await;
        upstream.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        client.section().await;
        client.ask(3, "GET", &[], true).await;
        let late = client.section().await;
        assert_eq!((late.stream, late.status()), (3, "504"));
        front.until("requests_pending", &[], 0.0).await;
    });
}

#[test]
fn more_streams_than_a_connection_takes_open_another() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(limited(h2c(&[address]), 2, 1));
        let mut client = Frames::connect(front.address).await;
        client.ask(1, "GET", &[], true).await;
        let mut one = Frames::accept_with(&listener, &[(MAX_CONCURRENT_STREAMS, 1)]).await;
        // Its SETTINGS are known before its answer is.
        let first = one.section().await.stream;
        one.head(first, &[(":status", "200")], false).await;
        client.section().await;
        client.ask(3, "GET", &[], true).await;
        let mut two = Frames::accept_with(&listener, &[(MAX_CONCURRENT_STREAMS, 1)]).await;
        let second = two.section().await.stream;
        two.head(second, &[(":status", "200")], false).await;
        client.section().await;
        client.ask(5, "GET", &[], true).await;
        front.until("requests_pending", &[], 1.0).await;
        client.ask(7, "GET", &[], true).await;
        let busy = client.section().await;
        assert_eq!((busy.stream, busy.status()), (7, "503"));
        assert_eq!(busy.get("x-cause"), Some("connection_limit_reached"));
        // The stream that ends makes room.
        one.data(first, "one", true).await;
        two.data(second, "two", true).await;
        let (next, body) = tokio::select! {
            next = one.section() => { one.answer(next.stream, "three").await; (1, next) }
            next = two.section() => { two.answer(next.stream, "three").await; (2, next) }
        };
        assert!(body.ends, "{next}: {body:?}");
        let mut bodies = Vec::new();
        loop {
            let frame = client.next().await.unwrap();
            if frame.kind == crate::support::raw::DATA && !frame.payload.is_empty() {
                bodies.push((frame.stream, String::from_utf8(frame.payload).unwrap()));
            }
            if bodies.len() == 3 {
                break;
            }
        }
        bodies.sort();
        assert_eq!(bodies, [(1, "one".into()), (3, "two".into()), (5, "three".into())]);
        front.at_rest().await;
        assert_eq!(front.counted("connections_active", &[("protocol", "h2c")]), 2.0);
    });
}

#[test]
fn many_streams_share_one_connection() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let mut client = Frames::connect(front.address).await;
        for n in 0..50 {
            client.ask(2 * n + 1, "GET", &[], true).await;
        }
        let mut upstream = Frames::accept(&listener).await;
        let mut streams = Vec::new();
        for _ in 0..50 {
            streams.push(upstream.section().await.stream);
        }
        for stream in streams.into_iter().rev() {
            upstream.head(stream, &[(":status", "204")], true).await;
        }
        for _ in 0..50 {
            assert_eq!(client.section().await.status(), "204");
        }
        assert!(nobody_comes(&listener).await);
        front.at_rest().await;
    });
}

#[test]
fn connections_are_counted_over_all_workers() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start_with(limited(http1(&[address]), 4, 64), 2, &[], |_| ());
        // More clients than connections, on either worker.
        let mut clients = Vec::new();
        for _ in 0..12 {
            let mut client = Frames::connect(front.address).await;
            client.ask(1, "GET", &[], true).await;
            clients.push(client);
        }
        let mut open = Vec::new();
        while let Ok(upstream) =
            tokio::time::timeout(Duration::from_millis(200), Text::accept(&listener)).await
        {
            open.push(upstream);
        }
        // Each worker may always have one, so that nobody waits for another worker's.
        assert!((2..=5).contains(&open.len()), "{} connections", open.len());
        drop(open);
        let serve = async {
            loop {
                let mut upstream = Text::accept(&listener).await;
                tokio::spawn(async move {
                    while upstream.next_head().await.is_some() {
                        upstream.say(&ok("")).await;
                    }
                });
            }
        };
        let hear = async {
            for client in &mut clients {
                client.section().await;
            }
        };
        tokio::select! { () = serve => {}, () = hear => {} }
        front.at_rest().await;
    });
}

#[test]
fn a_connection_is_closed_when_it_was_idle_for_long() {
    run(async {
        for over_http2 in [false, true] {
            let (listener, address) = listener().await;
            let mut config = if over_http2 { h2c(&[address]) } else { http1(&[address]) };
            config.keepalive.idle = Duration::from_millis(300);
            let front = Front::start(config);
            let mut client = front.client(true).await;
            if over_http2 {
                let (_, ()) = join!(client.get("/"), async {
                    let mut upstream = Frames::accept(&listener).await;
                    let stream = upstream.section().await.stream;
                    upstream.answer(stream, "").await;
                    while upstream.next().await.is_some() {}
                });
            } else {
                let (_, ()) = join!(client.get("/"), async {
                    let mut upstream = Text::accept(&listener).await;
                    upstream.answer(&ok("")).await;
                    assert_eq!(upstream.rest().await, "");
                });
            }
            front.until("connections_active", &[], 0.0).await;
            front.until("connections_closed_total", &[], 1.0).await;
        }
    });
}
