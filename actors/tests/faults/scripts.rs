//! Chance: any handlers, a client that does anything it may, and a transport that does anything at all, step by step
//! on a clock that stands still. And what lasts: octet by octet, always late, never again.

use std::io::ErrorKind;
use std::time::Duration;

use actix::Addr;
use stagedoor_actors::{CloseSession, Session};
use stagedoor_metrics::CloseReason;
use stagedoor_protocol::{RequestHead, Settings, StreamId};
use tokio::time::{Instant, sleep};

use crate::accounts::Accounts;
use crate::common::dice::Dice;
use crate::common::faulty::{Act, Call, Faulty};
use crate::common::peer::{fields, get_head, post_head};
use crate::common::{Stage, run_paused};
use crate::http1::{self, Caller};
use crate::ours;
use crate::visitor::Visitor;
use crate::visits::{self, Fault, Over, try_all};

/// Runs.
const SEEDS: u64 = 1_000;

/// What a transport does: seldom what it should, and fatal things once at most.
fn transport(dice: &Dice) -> impl FnMut(Call, usize) -> Act + 'static {
    let dice = dice.clone();
    // Of so many calls one is hurt; none in some runs.
    let often = [0, 2, 5, 30][dice.below(4) as usize];
    let mut fatal = (dice.below(3) > 0).then(|| dice.below(200));
    move |call, _| {
        if let Some(left) = &mut fatal {
            if *left == 0 {
                fatal = None;
                return disaster(&dice, call);
            }
            *left -= 1;
        }
        if often == 0 || dice.below(often) > 0 {
            return Act::Pass;
        }
        match dice.below(3) {
            0 => Act::Part(1 + dice.below(40) as usize),
            1 => Act::Part(1 + dice.below(4_000) as usize),
            _ => Act::Wait(Duration::from_millis(dice.below(if dice.below(4) == 0 { 8_000 } else { 30 }))),
        }
    }
}

fn disaster(dice: &Dice, call: Call) -> Act {
    const KINDS: [ErrorKind; 6] = [
        ErrorKind::ConnectionReset,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
        ErrorKind::TimedOut,
        ErrorKind::Interrupted,
        ErrorKind::Other,
    ];
    let kind = KINDS[dice.below(6) as usize];
    match dice.below(4) {
        0 => Act::Fail(kind),
        1 => Act::Break(kind),
        2 if matches!(call, Call::Read | Call::Write) => Act::End,
        2 => Act::Break(kind),
        _ => Act::Hold,
    }
}

fn seeded(dice: &Dice) -> String {
    dice.below(u64::from(u32::MAX)).to_string()
}

/// One thing a client may do.
async fn act(visitor: &mut Visitor, dice: &Dice) {
    let begun = visitor.begun();
    let some = (!begun.is_empty()).then(|| begun[dice.below(begun.len() as u64) as usize]);
    match (dice.below(12), some) {
        (0..=2, _) => {
            let mut head = get_head("/any");
            head.fields_mut().push("x-seed", seeded(dice));
            visitor.ask(&head, true);
        }
        (3 | 4, _) => drop(visitor.ask(&post_head("/any", &[("x-seed", &seeded(dice))]), false)),
        (5, _) => drop(visitor.ask(&RequestHead::connect("b:99"), false)),
        (6..=8, Some(id)) => {
            visitor.give(StreamId::from_wire(id), dice.below(20_000) as usize, dice.below(3) == 0)
        }
        (9, Some(id)) if dice.below(3) == 0 => visitor.reset(StreamId::from_wire(id)),
        (9, Some(id)) => visitor.end_with_trailers(StreamId::from_wire(id), fields(&[("x-sum", "1")])),
        (10, _) => drop(visitor.peer.conn.ping(*b"01234567")),
        (11, _) => {
            let window = Some(dice.below(60_000) as u32);
            let settings = Settings { initial_window_size: window, ..Settings::default() };
            drop(visitor.peer.conn.update_settings(settings, Instant::now().into_std()));
        }
        _ => {}
    }
    for _ in 0..dice.below(5) {
        let time = Duration::from_millis(dice.below(50));
        visitor.takes_one(time).await;
    }
}

async fn play(visitor: &mut Visitor, session: &Addr<Session>, dice: &Dice) {
    for _ in 0..dice.below(40) {
        if visitor.over {
            break;
        }
        act(visitor, dice).await;
    }
    match dice.below(6) {
        0 => session.send(CloseSession::new(CloseReason::Drain)).await.unwrap_or_default(),
        1 => session.send(CloseSession::new(CloseReason::Shutdown)).await.unwrap_or_default(),
        2 => sleep(Duration::from_secs(dice.below(200))).await,
        _ => {}
    }
    if dice.below(3) > 0 {
        visitor.until(Visitor::is_served).await;
    }
}

/// Exchanges until one does not go through.
async fn talk(caller: &mut Caller, session: &Addr<Session>, dice: &Dice) {
    for _ in 0..dice.below(6) {
        let seed = seeded(dice);
        let body = dice.below(30_000) as usize;
        let (method, length) = match dice.below(3) {
            0 => ("GET", "x-none: 1".to_owned()),
            1 => ("POST", format!("content-length: {body}")),
            _ => ("POST", "transfer-encoding: chunked".to_owned()),
        };
        let body = if method == "GET" { 0 } else { body };
        let head = format!("{method} /any HTTP/1.1\r\nhost: a\r\nx-seed: {seed}\r\n{length}\r\n\r\n");
        let drain = dice.below(10) == 0;
        let order = async || {
            if drain {
                session.send(CloseSession::new(CloseReason::Drain)).await.ok();
            }
        };
        if caller.exchange(&head, body, order).await.is_none() {
            break;
        }
    }
}

#[test]
fn any_transport_under_any_handlers_and_any_client_ends_well() {
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.to_string();
        if !words.contains("on purpose") {
            eprintln!("{words}");
        }
    }));
    for seed in 1..=SEEDS {
        let played = std::panic::catch_unwind(|| run(seed));
        assert!(played.is_ok(), "seed {seed}");
    }
}

fn run(seed: u64) {
    run_paused(async move {
        let dice = Dice::new(seed);
        let accounts = Accounts::new();
        let over = if dice.below(4) == 0 { Over::Tls } else { Over::Clear };
        let http1 = over == Over::Clear && dice.below(3) == 0;
        let mut config = over.config();
        config.options.budgets.panics = 100;
        let stage = Stage::with(config, accounts.service());
        accounts.listen(&stage);
        let room = 1_000 + dice.below(60_000) as usize;
        let (ours, theirs, book) = Faulty::pair(room, transport(&dice));
        let session = stage.host.spawn_session(ours, None);
        let (mut visitor, mut caller) = (None, None);
        if http1 {
            let mut new = Caller::new(theirs, &accounts);
            talk(&mut new, &session, &dice).await;
            new.hang_up();
            // Only so does it hear of it: HTTP/1.1 has no way to ask.
            book.release();
            caller = Some(new);
        } else if let Some((io, _)) = over.above(theirs).await {
            let mut new = Visitor::new(io);
            play(&mut new, &session, &dice).await;
            new.hang_up();
            visitor = Some(new);
        }
        let book = (over == Over::Clear).then_some(&*book);
        let life = accounts.settle(&stage, book).await;
        if let Some(visitor) = visitor {
            visitor.agrees_with(&accounts);
        }
        if let Some(caller) = caller {
            caller.agrees(u32::MAX);
        }
        use CloseReason as R;
        let fits = match life.reason {
            R::ClientClosed
            | R::IoError
            | R::Drain
            | R::IdleTimeout
            | R::WriteStall
            | R::KeepaliveTimeout => true,
            R::PrefaceTimeout | R::SettingsTimeout | R::HeaderTimeout => true,
            R::Shutdown => !http1,
            R::TlsError | R::HandshakeTimeout => over == Over::Tls && !life.opened,
            // HTTP/1.1 says in no other way that a body is not whole.
            R::PanicBudget => http1,
            _ => false,
        };
        assert!(fits, "{} is no reason for that", life.reason);
    });
}

/// Of a transport that never does more than this.
fn always(act: Act) -> [Fault; 2] {
    [Call::Read, Call::Write].map(|call| Fault { call, at: 1, act, lasts: true })
}

#[test]
fn in_pieces_and_late_all_goes_through() {
    let late = Act::Wait(Duration::from_millis(20));
    let faults = [Act::Part(1), Act::Part(7), Act::Part(1_000), late].into_iter().flat_map(always);
    everywhere(&faults.collect::<Vec<_>>());
}

#[test]
fn a_transport_that_stands_still_is_met_by_a_deadline() {
    let calls = [Call::Read, Call::Write, Call::Flush].into_iter();
    let faults = calls.flat_map(|call| {
        let held = move |at| Fault { call, at, act: Act::Hold, lasts: false };
        (1..60).step_by(3).map(held)
    });
    everywhere(&faults.collect::<Vec<_>>());
}

/// Each of them under every protocol.
fn everywhere(faults: &[Fault]) {
    for over in [Over::Clear, Over::Tls] {
        try_all(&format!("{over:?}"), faults, |fault| _ = visits::live(over, fault));
    }
    for ending in http1::Ending::ALL {
        try_all(&format!("HTTP/1.1, {ending:?}"), faults, |fault| _ = http1::live(ending, fault));
    }
    try_all("ours", faults, |fault| _ = ours::live(fault));
}
