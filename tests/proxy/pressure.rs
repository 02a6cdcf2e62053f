//! Backpressure from end to end: what a client does not take its upstream cannot send, and nobody keeps it in between.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::frames::{Frames, INITIAL_WINDOW_SIZE};
use crate::front::{Front, h2c, http1, listener};
use crate::support::client::fed;
use crate::support::raw::DATA;
use crate::support::run;
use crate::text::Text;

/// What an upstream may have written that its client has not seen: the windows of the gateway's session or hyper's
/// buffer, those of the client, and the buffers of two pairs of sockets, which the kernel grows as it likes.
const BETWEEN: u64 = 24 << 20;
/// More than fits in between by far.
const BODY: u64 = 1 << 30;

/// What the process may grow by meanwhile: other tests run in it.
const GROWTH: u64 = 32 << 20;

/// One of these at a time: they measure the process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Octets this process has resident.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// Waits until a count rests; says where.
async fn at_rest(count: &AtomicU64) -> u64 {
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = count.load(Ordering::Relaxed);
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

/// Writes one answer as fast as it goes over HTTP/1.1, counting.
async fn pour_http1(listener: TcpListener, written: Arc<AtomicU64>) {
    let mut upstream = Text::accept(&listener).await;
    upstream.answer(&format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n")).await;
    let piece = vec![b'x'; 64 << 10];
    while let Ok(count) = upstream.io.write(&piece).await {
        written.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// The same over HTTP/2.
async fn pour_http2(listener: TcpListener, written: Arc<AtomicU64>) {
    let (socket, _) = listener.accept().await.unwrap();
    let mut server = h2::server::handshake(socket).await.unwrap();
    while let Some(Ok((_, mut respond))) = server.accept().await {
        let written = Arc::clone(&written);
        tokio::spawn(async move {
            let mut sending = respond.send_response(http::Response::new(()), false).unwrap();
            loop {
                sending.reserve_capacity(64 << 10);
                let Some(Ok(may)) = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await else {
                    return;
                };
                if sending.send_data(Bytes::from(vec![b'x'; may]), false).is_err() {
                    return;
                }
                written.fetch_add(may as u64, Ordering::Relaxed);
            }
        });
    }
}

#[test]
fn a_client_that_takes_little_slows_its_upstream() {
    let _alone = alone();
    for over_http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(if over_http2 { h2c(&[address]) } else { http1(&[address]) });
            let written = Arc::new(AtomicU64::new(0));
            let pouring = match over_http2 {
                true => tokio::spawn(pour_http2(listener, Arc::clone(&written))),
                false => tokio::spawn(pour_http1(listener, Arc::clone(&written))),
            };
            let mut client = Frames::connect_with(front.address, &[(INITIAL_WINDOW_SIZE, 65_535)]).await;
            client.ask(1, "GET", &[], true).await;
            client.section().await;
            let first = at_rest(&written).await;
            assert!(first < BETWEEN, "{first} octets are on their way to a client that takes 64 KiB");
            let before = resident();
            // 100 KiB at a time, as a slow client does it.
            let mut read = 0;
            for _ in 0..10 {
                while read < 65_535 {
                    read += client.next_of(DATA).await.payload.len();
                }
                client.window(1, 65_535).await;
                read -= 65_535;
            }
            let later = at_rest(&written).await;
            assert!(later - first <= (2 << 20), "{} octets for 640 KiB", later - first);
            let grown = resident().saturating_sub(before);
            assert!(grown < GROWTH, "grown by {grown} octets");
            drop(client);
            front.at_rest().await;
            drop(front);
            let _ = tokio::time::timeout(Duration::from_secs(5), pouring).await;
        });
    }
}

#[test]
fn an_http1_client_that_takes_nothing_slows_its_upstream() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let written = Arc::new(AtomicU64::new(0));
        let pouring = tokio::spawn(pour_http2(listener, Arc::clone(&written)));
        let mut client = Text::connect(front.address).await;
        client.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let first = at_rest(&written).await;
        assert!(first < BETWEEN, "{first} octets are on their way to a client that takes none");
        drop(client);
        front.at_rest().await;
        pouring.abort();
    });
}

#[test]
fn an_upstream_that_takes_nothing_slows_its_client() {
    let _alone = alone();
    for over_http2 in [false, true] {
        run(async {
            let (listener, address) = listener().await;
            let front = Front::start(if over_http2 { h2c(&[address]) } else { http1(&[address]) });
            let mut client = front.client(true).await;
            let (feed, body) = fed();
            let request = client.request("POST", "/").body(body).unwrap();
            let answer = tokio::spawn(async move { client.whole(request).await });
            // It reads the head and not a word more. What a client may send is what the windows of the gateway allow.
            let mut held = (None, None);
            if over_http2 {
                let mut upstream = Frames::accept_with(&listener, &[(INITIAL_WINDOW_SIZE, 0)]).await;
                upstream.section().await;
                held.0 = Some(upstream);
            } else {
                let mut upstream = Text::accept(&listener).await;
                upstream.head().await;
                held.1 = Some(upstream);
            }
            let before = resident();
            let piece = Bytes::from(vec![b'x'; 64 << 10]);
            // One buffer, many references: what is fed costs nothing itself.
            for _ in 0..(256 << 20) / piece.len() {
                feed.send(Frame::data(piece.clone())).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
            let grown = resident().saturating_sub(before);
            assert!(grown < GROWTH, "over HTTP/2 {over_http2}: grown by {grown} of 256 MiB");
            drop(held);
            assert_eq!(answer.await.unwrap().map_or(0, |answer| answer.status), 502);
            drop(feed);
            front.at_rest().await;
        });
    }
}

#[test]
fn a_slow_stream_does_not_hold_up_its_neighbours() {
    run(async {
        let (listener, address) = listener().await;
        let front = Front::start(h2c(&[address]));
        let written = Arc::new(AtomicU64::new(0));
        let pouring = tokio::spawn(pour_http2(listener, Arc::clone(&written)));
        let mut slow = Frames::connect_with(front.address, &[(INITIAL_WINDOW_SIZE, 1)]).await;
        slow.ask(1, "GET", &[], true).await;
        slow.section().await;
        at_rest(&written).await;
        // The other shares the upstream's connection, whose window the slow one must not use up.
        let mut quick = Frames::connect(front.address).await;
        quick.ask(1, "GET", &[], true).await;
        let mut read = 0;
        while read < 8 << 20 {
            read += quick.next_of(DATA).await.payload.len();
        }
        assert_eq!(front.counted("connections_active", &[("protocol", "h2c")]), 1.0);
        drop((slow, quick));
        front.at_rest().await;
        pouring.abort();
    });
}
