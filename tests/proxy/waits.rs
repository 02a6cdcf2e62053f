//! Where the time of a request that is sent on goes: what a slow upstream takes is `upstream`, what a slow client takes is
//! not, and the parts are the whole.
//!
//! The clock is the real one: what a test lets pass is what is measured.

use std::time::Duration;

use http_body::Frame;
use tokio::join;
use tokio::time::sleep;

use crate::frames::Frames;
use crate::front::{Front, h2c, http1, listener};
use crate::support::client::fed;
use crate::support::run;
use crate::text::{Text, ok};

/// How long whoever is slow takes.
const SLOW: Duration = Duration::from_millis(600);

/// All that one request waited for: the parts are its duration, and `on` is nearly all of them.
async fn spent(front: &Front, on: &str) {
    front.at_rest().await;
    let (mut named, mut whole, mut life) = (0.0, 0.0, 0.0);
    // What a stream came to is counted when its session looks after it next.
    for _ in 0..500 {
        let scrape = front.scrape();
        life = scrape.sum("stagedoor_request_duration_seconds_sum", &[]);
        whole = scrape.sum("stagedoor_stream_wait_seconds_total", &[]);
        named = scrape.sum("stagedoor_stream_wait_seconds_total", &[("on", on)]);
        if life > 0.0 && whole > 0.0 {
            break;
        }
        sleep(Duration::from_millis(2)).await;
    }
    assert!((whole - life).abs() < 1e-6, "the parts are {whole} s of {life} s");
    assert!(named >= SLOW.as_secs_f64() - 0.01, "{on} is {named} s");
    assert!(named > 0.8 * life, "{on} is {named} s of {life} s");
}

#[test]
fn an_upstream_that_thinks_long_is_waited_for_as_upstream() {
    for http2 in [true, false] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(http1(&[address]));
            let mut client = front.client(http2).await;
            let upstream = async {
                let mut upstream = Text::accept(&listener).await;
                upstream.head().await;
                sleep(SLOW).await;
                upstream.say(&ok("at last")).await;
                upstream
            };
            let (answer, _upstream) = join!(client.get("/"), upstream);
            assert_eq!(answer.text(), "at last");
            spent(&front, "upstream").await;
        });
    }
}

#[test]
fn an_upstream_whose_body_comes_slowly_is_waited_for_as_upstream() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let mut client = front.client(true).await;
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            upstream.head(stream, &[(":status", "200")], false).await;
            for piece in ["one ", "two ", "three"] {
                upstream.data(stream, piece, false).await;
                sleep(SLOW / 3).await;
            }
            upstream.data(stream, "", true).await;
            upstream
        };
        let (answer, _upstream) = join!(client.get("/"), upstream);
        assert_eq!(answer.text(), "one two three");
        spent(&front, "upstream").await;
    });
}

#[test]
fn a_client_whose_body_comes_slowly_is_not_the_upstreams_doing() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let mut client = front.client(true).await;
        let (feed, body) = fed();
        let request = client.request("POST", "/").body(body).unwrap();
        let upstream = async {
            let mut upstream = Frames::accept(&listener).await;
            let stream = upstream.section().await.stream;
            let (said, _) = upstream.body(stream).await;
            upstream.answer(stream, &said).await;
            upstream
        };
        let sending = async move {
            for piece in ["one ", "two ", "three"] {
                sleep(SLOW / 3).await;
                feed.send(Frame::data(piece.into())).unwrap();
            }
        };
        let (answer, _upstream, ()) = join!(client.whole(request), upstream, sending);
        assert_eq!(answer.unwrap().text(), "one two three");
        spent(&front, "request_body").await;
    });
}
