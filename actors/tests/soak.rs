//! Clients that do anything at any moment: whatever they do, nothing is left of them.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use common::*;
use stagedoor_actors::{Body, CloseSession, Reply, Response, Service};
use stagedoor_metrics::{ActorKind, CloseReason, Outcome, Protocol};
use tokio::io::AsyncWriteExt;

/// xorshift64: the same run every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Every kind of handler, chosen by the number of the stream; what they hold is counted.
fn zoo(begun: &Rc<Cell<usize>>, dropped: &Rc<Cell<usize>>) -> Rc<dyn Service> {
    let (begun, dropped) = (Rc::clone(begun), Rc::clone(dropped));
    service(move |request| {
        begun.set(begun.get() + 1);
        let held = Held(Rc::clone(&dropped));
        match request.stream.get() / 2 % 6 {
            0 => Response::text("at once").into(),
            1 => Reply::later(async move {
                let _kept = (held, request);
                std::future::pending().await
            }),
            2 => Response::new(200).with_body(Body::stream(request.body)).into(),
            3 => Reply::later(async move {
                let _held = held;
                let mut body = request.body;
                while let Some(Ok(_)) = body.chunk().await {}
                Response::text(vec![b'x'; 300_000])
            }),
            4 => Reply::later(async move {
                let _held = held;
                tokio::time::sleep(Duration::from_millis(7)).await;
                assert!(request.stream.get() % 4 == 1, "on purpose");
                Response::text("late")
            }),
            _ => panic!("on purpose"),
        }
    })
}

#[test]
fn nothing_is_left_of_clients_that_do_anything() {
    std::panic::set_hook(Box::new(|_| {}));
    run_paused(async {
        let (begun, dropped) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let mut config = config();
        config.options.budgets.panics = 20;
        let stage = Stage::with(config, zoo(&begun, &dropped));
        let mut dice = Dice(0x5eed);
        let mut sessions = 0;
        for _ in 0..300 {
            sessions += 1;
            let (session, mut io) = stage.connect_buffered(1 << (9 + dice.below(10)));
            let mut next = 1;
            let mut script = hello_octets();
            for _ in 0..dice.below(40) {
                let some = (1 + 2 * dice.below(u64::from(next))) as u32;
                match dice.below(10) {
                    0..=2 => {
                        script.extend(get(next));
                        next += 2;
                    }
                    3..=4 => {
                        script.extend(post(next));
                        next += 2;
                    }
                    5 if some < next => script.extend(frame(0, (dice.below(4) == 0).into(), some, &[7; 100])),
                    6 if some < next => script.extend(frame(3, 0, some, &[0, 0, 0, 8])),
                    7 => script.extend(settings_ack()),
                    8 => script.extend(frame(8, 0, 0, &1000u32.to_be_bytes())),
                    _ => script.extend(frame(6, 0, 0, b"01234567")),
                }
            }
            let cut = dice.below(script.len() as u64 + 1) as usize;
            let whole = dice.below(2) == 0;
            let octets = if whole { &script[..] } else { &script[..cut] };
            // The peer may stop reading, so that the pipe fills up: no matter.
            tokio::time::timeout(Duration::from_millis(dice.below(20)), io.write_all(octets)).await.ok();
            match dice.below(4) {
                0 => session.send(CloseSession::new(CloseReason::Drain)).await.unwrap_or_default(),
                1 => session.send(CloseSession::new(CloseReason::Shutdown)).await.unwrap_or_default(),
                _ => tokio::time::sleep(Duration::from_millis(dice.below(30))).await,
            }
            drop(io);
        }
        for _ in 0..sessions {
            stage.ended().await;
        }
        settle().await;
        assert!(stage.metrics.live().is_empty());
        for kind in [ActorKind::Session, ActorKind::Stream] {
            let counts = &stage.shard.actors()[kind];
            assert_eq!(counts.alive.get(), 0, "{kind}");
        }
        let cells = &stage.cells;
        let streams: u64 = Protocol::ALL.iter().map(|protocol| cells.streams_opened[*protocol].get()).sum();
        let ended: u64 = Outcome::ALL.iter().map(|outcome| stage.outcome(*outcome)).sum();
        assert_eq!(streams, ended, "each stream was counted out once");
        assert_eq!(begun.get(), dropped.get(), "each handler was dropped once");
        assert!(begun.get() > 500 && stage.outcome(Outcome::SessionClosed) > 50, "{}", begun.get());
        let closed: u64 = Protocol::ALL
            .iter()
            .flat_map(|protocol| cells.sessions_closed[*protocol].iter())
            .map(|(_, cell)| cell.get())
            .sum();
        assert_eq!(closed, sessions);
        assert_eq!(cells.write_queue_bytes.get(), 0);
        let others = &cells.sessions_closed[Protocol::H2c][CloseReason::Other];
        assert_eq!(others.get(), 0, "a reason that is a bug of ours");
        assert_eq!(cells.sessions_closed[Protocol::H2c][CloseReason::Panic].get(), 0);
    });
}
