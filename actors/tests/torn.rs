//! Sockets that fail, end, or take their octets late, one case each: what a session makes of it, and that octets which
//! were promised are still sent. The whole of it is tried in `faults/`.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::io::ErrorKind;
use std::rc::Rc;

use common::faulty::{Act, Book, Call, Faulty};
use common::*;
use stagedoor_actors::Service;
use stagedoor_metrics::CloseReason;
use tokio::io::DuplexStream;

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
