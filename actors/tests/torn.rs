//! Sockets that fail, end, or take their octets late, one case each: what a session makes of it, and that octets which
//! were promised are still sent. The whole of it is tried in `faults/`.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::faulty::{Act, Book, Call, Faulty};
use common::*;
use stagedoor_actors::{Body, CloseSession, ListenerConfig, Reply, Response, Service};
use stagedoor_metrics::{CloseReason, Outcome};
use stagedoor_protocol::Fields;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

/// Longer than a socket lingers.
const LATE: Duration = Duration::from_secs(5);

fn once(call: Call, at: usize, act: Act) -> impl FnMut(Call, usize) -> Act {
    move |made, number| if made == call && number == at { act } else { Act::Pass }
}

fn start(
    service: Rc<dyn Service>,
    room: usize,
    plan: impl FnMut(Call, usize) -> Act + 'static,
) -> (Stage, DuplexStream, Rc<Book>) {
    let stage = Stage::new(service);
    let (ours, theirs, book) = Faulty::pair(room, plan);
    stage.host.spawn_session(ours, None);
    (stage, theirs, book)
}

/// Everything that comes, until the end.
async fn rest(io: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    io.read_to_end(&mut all).await.ok();
    all
}

#[test]
fn a_peer_that_is_gone_before_its_first_octets_has_closed() {
    for (kind, reason) in
        [(ErrorKind::ConnectionReset, CloseReason::ClientClosed), (ErrorKind::TimedOut, CloseReason::IoError)]
    {
        run_paused(async move {
            let (stage, _io, _) = start(hello(), 1 << 16, once(Call::Read, 1, Act::Break(kind)));
            stage.ends_once(reason).await;
        });
    }
}

#[test]
fn nothing_is_written_after_a_write_that_failed() {
    run_paused(async {
        // What a failing write took is not known: over TLS the same octets would go out twice.
        let (stage, io, book) = start(hello(), 1 << 16, once(Call::Write, 2, Act::Fail(ErrorKind::Other)));
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        client.goaways().await;
        stage.ends_once(CloseReason::IoError).await;
        assert_eq!((book.calls(Call::Write), book.calls(Call::Shutdown)), (2, 0));
    });
}

#[test]
fn a_drain_over_tls_waits_for_the_octets_that_tls_holds() {
    run_paused(async {
        let config = ListenerConfig { tls: Some(Arc::clone(&tls::ends().0)), ..config() };
        let stage = Stage::with(config, service(|_| Response::text(vec![7; 30_000]).into()));
        let slow = Rc::new(Cell::new(false));
        let late = Rc::clone(&slow);
        let (ours, theirs, _) = Faulty::pair(1 << 20, move |call, _| match call {
            Call::Write if late.get() => Act::Wait(LATE),
            _ => Act::Pass,
        });
        let session = stage.host.spawn_session(ours, None);
        let mut tls = tls::shake(theirs).await.unwrap();
        tls.write_all(&[hello_octets(), settings_ack()].concat()).await.unwrap();
        settle().await;
        slow.set(true);
        tls.write_all(&get(1)).await.unwrap();
        settle().await;
        session.send(CloseSession::new(CloseReason::Drain)).await.unwrap();
        let all = rest(&mut tls).await;
        assert!(all.iter().filter(|octet| **octet == 7).count() >= 30_000, "{}", all.len());
        drop(tls);
        stage.ends_once(CloseReason::Drain).await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

/// Reads a body and sends it back.
fn echo() -> Rc<dyn Service> {
    service(|request| Response::new(200).with_body(Body::stream(request.body)).into())
}

const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nhello";

#[test]
fn under_http1_too_a_session_ends_for_what_befell_its_socket() {
    use ErrorKind as K;
    for (call, act, reason) in [
        (Call::Read, Act::Fail(K::TimedOut), CloseReason::IoError),
        (Call::Read, Act::Break(K::TimedOut), CloseReason::IoError),
        (Call::Read, Act::Fail(K::ConnectionReset), CloseReason::ClientClosed),
        (Call::Read, Act::End, CloseReason::ClientClosed),
        (Call::Write, Act::Fail(K::Other), CloseReason::IoError),
        (Call::Write, Act::End, CloseReason::IoError),
        (Call::Write, Act::Break(K::BrokenPipe), CloseReason::ClientClosed),
    ] {
        run_paused(async move {
            let armed = Rc::new(Cell::new(false));
            let now = Rc::clone(&armed);
            let plan = move |made, _| if made == call && now.replace(false) { act } else { Act::Pass };
            let (stage, mut io, _) = start(echo(), 1 << 16, plan);
            io.write_all(POST).await.unwrap();
            settle().await;
            // In the middle of an exchange.
            armed.set(true);
            io.write_all(b"more of it").await.unwrap();
            let _answer = rest(&mut io).await;
            drop(io);
            stage.ends_once(reason).await;
        });
    }
}

#[test]
fn an_answer_before_the_end_of_its_request_reaches_a_slow_reader() {
    run_paused(async {
        let (stage, mut io, _) =
            start(service(|_| Response::text(vec![7; 100_000]).into()), 1_000, |_, _| Act::Pass);
        io.write_all(POST).await.unwrap();
        // The connection cannot be used again, and hyper is done with it.
        sleep(LATE).await;
        let all = rest(&mut io).await;
        assert_eq!(all.iter().filter(|octet| **octet == 7).count(), 100_000, "all of it");
        drop(io);
        stage.ends_once(CloseReason::ClientClosed).await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn over_tls_too_an_answer_before_the_end_of_its_request_reaches_a_slow_reader() {
    run_paused(async {
        let config = ListenerConfig { tls: Some(Arc::clone(&tls::ends().0)), ..config() };
        let stage = Stage::with(config, service(|_| Response::text(vec![7; 30_000]).into()));
        let slow = Rc::new(Cell::new(false));
        let late = Rc::clone(&slow);
        let (ours, theirs, _) = Faulty::pair(1 << 20, move |call, number| match call {
            // An octet in three seconds at first: what moves is not cut off, however long it takes.
            Call::Write if late.get() && number % 2 == 0 => Act::Wait(Duration::from_secs(3)),
            Call::Write if late.get() && number < 80 => Act::Part(1),
            _ => Act::Pass,
        });
        stage.host.spawn_session(ours, None);
        let mut tls = tls::shake_http1(theirs).await.unwrap();
        settle().await;
        slow.set(true);
        tls.write_all(POST).await.unwrap();
        let all = rest(&mut tls).await;
        assert_eq!(all.iter().filter(|octet| **octet == 7).count(), 30_000, "all of it");
        drop(tls);
        stage.ends_once(CloseReason::ClientClosed).await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

/// Tunnels that say so many octets and end.
fn last_words(octets: usize) -> Rc<dyn Service> {
    service(move |request| {
        let tunnel = request.accept_tunnel(Fields::new(), move |mut tunnel| async move {
            tunnel.write_all(&vec![b'y'; octets]).await.ok();
        });
        tunnel.unwrap_or_else(|_| Reply::from(Response::new(500)))
    })
}

#[test]
fn a_tunnel_begins_though_its_head_has_to_wait() {
    run_paused(async {
        let (stage, mut io, _) = start(last_words(5), 1_000, once(Call::Write, 1, Act::Wait(LATE)));
        io.write_all(UPGRADE).await.unwrap();
        let all = String::from_utf8(rest(&mut io).await).unwrap();
        assert!(all.starts_with("HTTP/1.1 101 ") && all.ends_with("\r\n\r\nyyyyy"), "{all}");
        drop(io);
        stage.ends_once(CloseReason::Upgraded).await;
    });
}

#[test]
fn a_tunnel_whose_head_cannot_be_sent_is_none() {
    run_paused(async {
        let plan = once(Call::Write, 1, Act::Fail(ErrorKind::Other));
        let (stage, mut io, book) = start(last_words(5), 1_000, plan);
        io.write_all(UPGRADE).await.unwrap();
        assert_eq!(rest(&mut io).await, b"", "no octets of a tunnel that has no head");
        drop(io);
        stage.ends_once(CloseReason::IoError).await;
        assert_eq!((book.calls(Call::Write), stage.outcome(Outcome::SessionClosed)), (1, 1));
    });
}

#[test]
fn the_last_octets_of_a_tunnel_reach_a_slow_reader() {
    run_paused(async {
        let (stage, mut io, _) = start(last_words(60_000), 1_000, |_, _| Act::Pass);
        io.write_all(UPGRADE).await.unwrap();
        sleep(LATE).await;
        let all = rest(&mut io).await;
        assert_eq!(all.iter().filter(|octet| **octet == b'y').count(), 60_000, "all of them");
        drop(io);
        stage.ends_once(CloseReason::Upgraded).await;
        assert_eq!(stage.outcome(Outcome::Complete), 1);
    });
}

#[test]
fn a_flood_that_was_ended_is_not_read_on_and_hears_why() {
    run_paused(async {
        // The pipe holds what was written and not read.
        let (stage, io, _) = start(hello(), 1 << 16, |_, _| Act::Pass);
        let mut client = Raw::new(io);
        client.shake().await;
        // PING without an end (RFC 9113 §10.5), each of 17 octets.
        let pings = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(1000);
        let mut sent = 0;
        let flood = async {
            loop {
                match client.io.write(&pings).await {
                    Ok(count) => sent += count,
                    Err(_) => return,
                }
            }
        };
        // Its socket is closed a moment later, and it is told so.
        tokio::time::timeout(Duration::from_millis(100), flood).await.expect("closed soon");
        assert!(sent < 1 << 20, "{sent}");
        assert_eq!(client.goaways().await.len(), 1, "it says why");
        stage.ends_once(CloseReason::Abuse).await;
    });
}
