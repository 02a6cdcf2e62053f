//! Handlers and peers that do anything in any order, step by step on a clock that stands still: whatever they do,
//! each stream is counted in and out once, each handle hears of its end, and nothing is left.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use common::dice::Dice;
use common::peer::{fields, get_head};
use common::*;
use stagedoor_actors::{Body, CloseSession, Reply, Request, Response, ServerStream, Service};
use stagedoor_metrics::{ActorKind, CloseReason, Outcome, Protocol};
use stagedoor_protocol::{ErrorCode, Fields};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::spawn_local;

/// Runs, and sessions of each.
const SEEDS: u64 = 400;
const SESSIONS: usize = 40;

/// What was begun has to end as often.
#[derive(Clone, Default)]
struct Tally {
    begun: Rc<Cell<usize>>,
    ended: Rc<Cell<usize>>,
}

struct Token(Tally);

impl Tally {
    fn token(&self) -> Token {
        self.begun.set(self.begun.get() + 1);
        Token(self.clone())
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.ended.set(self.0.ended.get() + 1);
    }
}

/// One thing after the other on a stream in the handler's own hands; errors are no matter.
async fn steps(dice: Dice, mut stream: ServerStream) {
    for _ in 0..dice.below(9) {
        match dice.below(14) {
            0 => drop(stream.informational(103, fields(&[("link", "</a>")]))),
            1 => drop(stream.respond(200, Fields::new())),
            2 => drop(stream.respond(204, Fields::new())),
            3 => drop(stream.write(vec![7; dice.below(40_000) as usize]).await),
            4 => drop(stream.write_end(vec![7; dice.below(3_000) as usize]).await),
            5 => drop(stream.finish()),
            6 => drop(stream.trailers(fields(&[("x-sum", "1")]))),
            7 => drop(stream.push(get_head("/pushed"), Response::text("pushed"))),
            8 => {
                let late = async {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    Response::new(200).with_body(Body::full(vec![7; 20_000].into()))
                };
                drop(stream.push(get_head("/late"), Reply::later(late)));
            }
            9 => drop(stream.reset(ErrorCode(dice.below(14) as u32))),
            10 => drop(tokio::time::timeout(Duration::from_millis(5), stream.body().chunk()).await),
            11 => tokio::time::sleep(Duration::from_millis(dice.below(4))).await,
            12 if dice.below(8) == 0 => panic!("on purpose"),
            12 => drop(stream.session().ping(None)),
            _ => tokio::task::yield_now().await,
        }
    }
}

/// A tunnel that echoes, or only writes, or only reads.
async fn tunnel(dice: Dice, mut tunnel: stagedoor_actors::Tunnel) {
    let mut room = [0; 500];
    for _ in 0..dice.below(9) {
        let done = match dice.below(4) {
            0 => tunnel.write_all(&[7; 30_000]).await.is_err(),
            1 => matches!(tunnel.read(&mut room).await, Ok(0) | Err(_)),
            2 => tunnel.shutdown().await.is_err(),
            _ => tunnel.write_all(b"octets").await.is_err(),
        };
        if done {
            return;
        }
    }
}

/// Handlers of every kind. Some work goes on in a task of its own, which has to end, too.
fn zoo(dice: &Dice, tally: &Tally) -> Rc<dyn Service> {
    let (dice, tally) = (dice.clone(), tally.clone());
    service(move |request: Request| {
        let (dice, token) = (dice.clone(), tally.token());
        let elsewhere = dice.below(3) == 0;
        if dice.below(3) == 0 {
            // Waits for the end of the stream wherever it comes from.
            let (handle, token) = (request.handle(), tally.token());
            spawn_local(async move {
                handle.closed().await;
                drop(token);
            });
        }
        if request.tunnel().is_some() && dice.below(4) > 0 {
            let taken = request.into_stream().tunnel(Fields::new()).unwrap();
            let work = async move {
                let _token = token;
                tunnel(dice, taken).await;
            };
            return match elsewhere {
                true => {
                    spawn_local(work);
                    Reply::driven(tokio::time::sleep(Duration::from_millis(5)))
                }
                false => Reply::driven(work),
            };
        }
        match dice.below(6) {
            0 => Response::text("at once").into(),
            1 => Response::new(200).with_body(Body::stream(request.body)).into(),
            2 => Reply::later(async move {
                let (_token, _request) = (token, request);
                std::future::pending().await
            }),
            _ => {
                let work = async move {
                    let _token = token;
                    // Where it runs elsewhere the stream may be over before the first handle is made.
                    if elsewhere {
                        tokio::time::sleep(Duration::from_millis(dice.below(3))).await;
                    }
                    let stream = request.into_stream();
                    // A panic elsewhere is nobody's.
                    steps(dice, stream).await;
                };
                match elsewhere {
                    true => {
                        let task = spawn_local(work);
                        Reply::driven(async move { drop(task.await) })
                    }
                    false => Reply::driven(work),
                }
            }
        }
    })
}

/// HEADERS of CONNECT to authority `a`.
fn connect(stream: u32) -> Vec<u8> {
    let mut block = vec![0x02, 7];
    block.extend(b"CONNECT");
    block.extend([0x41, 1, b'a']);
    frame(1, 0x4, stream, &block)
}

/// One thing a client may do on HTTP/2.
fn act(dice: &Dice, next: &mut u32) -> Vec<u8> {
    let mut begin = |octets: fn(u32) -> Vec<u8>| {
        *next += 2;
        octets(*next - 2)
    };
    match dice.below(14) {
        0..=2 => return begin(get),
        3 | 4 => return begin(post),
        5 => return begin(connect),
        _ => {}
    }
    let known = (1 + 2 * dice.below(u64::from(*next / 2).max(1))) as u32;
    let begun = *next > 1;
    match dice.below(8) {
        0 | 1 if begun => frame(0, u8::from(dice.below(3) == 0), known, &[7; 200]),
        2 if begun => frame(3, 0, known, &[0, 0, 0, 8]),
        // The number of a promise, guessed or known.
        3 if begun => {
            let promised = 2 + 2 * dice.below(u64::from(*next / 2)) as u32;
            if dice.below(4) == 0 { frame(3, 0, promised, &[0, 0, 0, 8]) } else { Vec::new() }
        }
        4 if begun => frame(8, 0, known, &10_000u32.to_be_bytes()),
        5 => frame(8, 0, 0, &50_000u32.to_be_bytes()),
        // A window for streams, small or large; or fewer streams.
        6 if dice.below(2) == 0 => frame(4, 0, 0, &[0, 4, 0, 0, dice.below(255) as u8, 0]),
        6 => frame(4, 0, 0, &[0, 3, 0, 0, 0, dice.below(3) as u8]),
        _ => frame(6, 0, 0, b"01234567"),
    }
}

/// Requests of HTTP/1.1, upgrades among them; only where `any`, what is none.
fn act_http1(dice: &Dice, any: bool) -> &'static [u8] {
    match dice.below(if any { 7 } else { 4 }) {
        0 | 1 => b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        2 => b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        3 => b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        4 => b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\nexpect: 100-continue\r\n\r\nhell",
        5 => b"GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        _ => b"some octets",
    }
}

/// Reads what is there; false when the session has gone.
async fn read(io: &mut DuplexStream) -> bool {
    let mut room = vec![0; 20_000];
    let read = tokio::time::timeout(Duration::from_millis(1), io.read(&mut room)).await;
    !matches!(read, Ok(Ok(0) | Err(_)))
}

async fn play(stage: &Stage, dice: &Dice, http1: bool) {
    // hyper asserts, in debug builds, that nothing is queued where it answers what is no request.
    let any = dice.below(2) == 0;
    let pipe = if http1 && any { 20 } else { 6 + dice.below(12) };
    let (session, mut io) = stage.connect_buffered(1 << pipe);
    let write = async |io: &mut DuplexStream, octets: &[u8]| {
        tokio::time::timeout(Duration::from_millis(2), io.write_all(octets))
            .await
            .is_ok_and(|done| done.is_ok())
    };
    let mut next = 1;
    let mut going = http1 || write(&mut io, &[hello_octets(), settings_ack()].concat()).await;
    for _ in 0..dice.below(25) {
        if !going {
            break;
        }
        let octets = if http1 { act_http1(dice, any).to_vec() } else { act(dice, &mut next) };
        // Some steps go in one piece.
        let more = if dice.below(3) == 0 && !http1 { act(dice, &mut next) } else { Vec::new() };
        going = write(&mut io, &[octets, more].concat()).await;
        if dice.below(3) > 0 {
            going &= read(&mut io).await;
        }
        if dice.below(5) == 0 {
            tokio::time::sleep(Duration::from_millis(dice.below(4))).await;
        }
    }
    match dice.below(6) {
        0 => session.send(CloseSession::new(CloseReason::Drain)).await.unwrap_or_default(),
        1 => session.send(CloseSession::new(CloseReason::Shutdown).now()).await.unwrap_or_default(),
        2 => while read(&mut io).await && dice.below(20) > 0 {},
        // Left alone, its own deadlines end it.
        3 => {
            spawn_local(async move {
                tokio::time::sleep(Duration::from_secs(1800)).await;
                drop(io);
            });
            return;
        }
        4 => drop(io.shutdown().await),
        _ => {}
    }
    drop(io);
}

#[test]
fn any_handler_meets_any_peer_and_nothing_is_left() {
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.to_string();
        if !words.contains("on purpose") {
            eprintln!("{words}");
        }
    }));
    for seed in 1..=SEEDS {
        run_paused(async move {
            let (dice, tally) = (Dice::new(seed), Tally::default());
            let mut config = config();
            config.options.budgets.panics = 20;
            let stage = Stage::with(config, zoo(&dice, &tally));
            let mut sessions = 0;
            for _ in 0..SESSIONS {
                sessions += 1;
                let http1 = dice.below(4) == 0;
                play(&stage, &dice, http1).await;
            }
            for _ in 0..sessions {
                let ended = tokio::time::timeout(Duration::from_secs(3000), stage.ended()).await;
                let ended = ended.unwrap_or_else(|_| {
                    let left = stage.metrics.live().snapshot();
                    let left: Vec<_> = left
                        .iter()
                        .map(|left| format!("{} {:?} {}", left.id(), left.state(), left.streams_open.get()))
                        .collect();
                    panic!("seed {seed}: sessions hang: {left:?}")
                });
                assert!(!matches!(ended.reason, CloseReason::Panic), "seed {seed}: {ended:?}");
            }
            // Deadlines of tasks that run elsewhere.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(stage.metrics.live().is_empty(), "seed {seed}");
            for kind in [ActorKind::Session, ActorKind::Stream] {
                assert_eq!(stage.shard.actors()[kind].alive.get(), 0, "seed {seed}: {kind}");
            }
            let cells = &stage.cells;
            // HTTP/1.1 has no other way to say that a handler left its response in the middle.
            let others = cells.sessions_closed[Protocol::H2c][CloseReason::Other].get();
            assert_eq!(others, 0, "seed {seed}: a reason that is a bug of ours");
            let opened: u64 =
                Protocol::ALL.iter().map(|protocol| cells.streams_opened[*protocol].get()).sum();
            let closed: u64 = Outcome::ALL.iter().map(|outcome| stage.outcome(*outcome)).sum();
            assert_eq!(opened, closed, "seed {seed}: each stream is counted out once");
            for protocol in Protocol::ALL {
                assert_eq!(cells.streams_active[*protocol].get(), 0, "seed {seed}: {protocol}");
            }
            assert_eq!(cells.write_queue_bytes.get(), 0, "seed {seed}");
            let (begun, ended) = (tally.begun.get(), tally.ended.get());
            assert_eq!(begun, ended, "seed {seed}: what was begun has ended");
            assert!(begun > 50, "seed {seed}: {begun}");
        });
    }
}
