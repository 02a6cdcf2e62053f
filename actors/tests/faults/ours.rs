//! Sessions of ours: a client whose transport fails, and our own server, which does not, at the other end. Every request
//! ends in a whole response or a typed error.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use stagedoor_actors::client::{
    ClientSession, ClientStream, Connector, Event, Options, RequestOptions, RequestParts, SessionEnd, Tunnel,
    connect,
};
use stagedoor_actors::{Body, SessionEvent};
use stagedoor_metrics::{CloseReason, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::spawn_local;

use crate::accounts::{Accounts, check, counted, life_of, pattern};
use crate::common::faulty::{Act, Call, Faulty};
use crate::common::peer::fields;
use crate::common::{Stage, is_counted_once, run_paused, settle};
use crate::visits::{Fault, is_deadline, try_each};

/// Longer than any deadline of a session that is left alone.
const LONG: Duration = Duration::from_secs(600);

/// Reads a response out; whether it is whole. `stream` is what the number of the request will be.
async fn read_out(mut response: ClientStream, stream: u32, accounts: Rc<Accounts>) -> bool {
    let (mut got, mut whole) = (0, false);
    let head = tokio::time::timeout(LONG, response.response()).await.expect("an answer or an error");
    if head.is_ok() {
        assert_eq!(response.id().map(|id| id.get()), Some(stream), "in the order of the calls");
        loop {
            match tokio::time::timeout(LONG, response.chunk()).await.expect("the end or an error") {
                Some(Ok(octets)) => {
                    check(stream, got, &octets);
                    got += octets.len();
                }
                Some(Err(_)) => break,
                None => {
                    whole = true;
                    break;
                }
            }
        }
    }
    let account = accounts.of(stream);
    assert!(got <= account.wrote, "stream {stream} got octets nobody sent");
    if whole {
        assert!(
            account.ended && got == account.wrote,
            "stream {stream} ended and is not whole: {got} {account:?}"
        );
    }
    let end = tokio::time::timeout(LONG, response.closed()).await.expect("it ends");
    assert!(end.is_err() || whole, "stream {stream} ends well and is not whole");
    whole && end.is_ok()
}

/// Reads a page and what comes with it.
async fn read_page(mut page: ClientStream, stream: u32, accounts: Rc<Accounts>) -> bool {
    let (mut pushed, mut informed) = (false, false);
    while let Some(event) = tokio::time::timeout(LONG, page.next_event()).await.expect("an event or the end")
    {
        match event {
            Event::Informational(_) => informed = true,
            Event::Push(push) => {
                let promised = push.stream.id().unwrap().get();
                pushed = read_out(push.stream, promised, Rc::clone(&accounts)).await;
            }
            // The head is taken; the body follows.
            Event::Response(_) => break,
            Event::Continue(_) | Event::Trailers(_) | Event::Closed(_) => return false,
            _ => {}
        }
    }
    let mut got = 0;
    while let Some(chunk) = tokio::time::timeout(LONG, page.chunk()).await.expect("the end or an error") {
        let Ok(octets) = chunk else { return false };
        check(stream, got, &octets);
        got += octets.len();
    }
    let account = accounts.of(stream);
    assert!(
        account.ended && got == account.wrote,
        "stream {stream} ended and is not whole: {got} {account:?}"
    );
    pushed && informed && page.closed().await.is_ok()
}

/// Octets both ways in a tunnel, and its end.
async fn pass(tunnel: &mut Tunnel, stream: u32) -> std::io::Result<bool> {
    tunnel.write_all(&pattern(stream, 0, 1_000)).await?;
    let mut back = vec![0; 1_000];
    tunnel.read_exact(&mut back).await?;
    check(stream, 0, &back);
    tunnel.shutdown().await?;
    let mut rest = Vec::new();
    tunnel.read_to_end(&mut rest).await?;
    check(stream, 1_000, &rest);
    Ok(rest.len() == 5)
}

/// A body of pieces that are made as they are sent.
fn made(stream: u32, pieces: usize) -> Body {
    let pieces = (0..pieces).map(move |piece| pattern(stream, piece * 4_000, 4_000));
    let frames = pieces.map(|octets| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(octets))));
    Body::stream(StreamBody::new(futures_util::stream::iter(frames)))
}

/// Everything at once; whether all of it went through.
async fn ask(session: &ClientSession, accounts: &Rc<Accounts>) -> bool {
    let get = |path: &str| session.request(path, RequestOptions::default());
    let Ok(whole) = get("/whole") else { return false };
    let Ok(pieces) = get("/pieces") else { return false };
    let Ok(mut echo) = session.request(RequestParts::post("/echo"), RequestOptions::default()) else {
        return false;
    };
    let options = RequestOptions::with_body(made(7, 5));
    let Ok(upload) = session.request(RequestParts::post("/echo"), options) else { return false };
    let Ok(page) = get("/page") else { return false };
    let Ok(stuck) = get("/stuck") else { return false };
    let book = || Rc::clone(accounts);
    let echoed = async {
        let sent = async {
            echo.send_data(pattern(5, 0, 9_000).into()).await?;
            echo.send_data(pattern(5, 9_000, 6_000).into()).await?;
            echo.send_trailers(fields(&[("x-sum", "7")])).await
        };
        // Whatever stopped it, the stream ends, too.
        let sent = tokio::time::timeout(LONG, sent).await.expect("sent or an error").is_ok();
        read_out(echo, 5, book()).await && sent
    };
    let tunnel = async {
        let opened = tokio::time::timeout(LONG, session.connect_tunnel(RequestParts::connect("b:99"))).await;
        match opened.expect("a tunnel or an error") {
            Ok(mut tunnel) => {
                let passed = tokio::time::timeout(LONG, pass(&mut tunnel, 13)).await;
                passed.expect("octets or an error").unwrap_or(false)
            }
            Err(_) => false,
        }
    };
    let (whole, pieces, echo, upload, page, tunnel) = tokio::join!(
        read_out(whole, 1, book()),
        read_out(pieces, 3, book()),
        echoed,
        read_out(upload, 7, book()),
        read_page(page, 9, book()),
        tunnel,
    );
    drop(stuck);
    settle().await;
    whole && pieces && echo && upload && page && tunnel
}

pub fn live(fault: Fault) -> [usize; 4] {
    let calls = Rc::new(Cell::new([0; 4]));
    let made = Rc::clone(&calls);
    run_paused(async move {
        let accounts = Accounts::new();
        let stage = Stage::new(accounts.service());
        accounts.listen(&stage);
        let (ours, theirs, book) = Faulty::pair(10_000, fault.plan());
        stage.host.spawn_session(theirs, None);
        let options = Options {
            accept_push: true,
            metrics: Some(stage.metrics.clone()),
            ..Options::with_connector(Connector::over(ours))
        };
        let session = connect("http://b", options).unwrap();
        let opened = session.ready().await.ok().and_then(|()| session.handle());
        let events = Rc::new(RefCell::new(vec![SessionEvent::Opened]));
        let listening = opened.map(|handle| {
            let (mut told, events) = (handle.events(), Rc::clone(&events));
            spawn_local(async move {
                while let Some(event) = told.next().await {
                    events.borrow_mut().push(event);
                }
            })
        });
        let whole = ask(&session, &accounts).await;
        let before = session.error().is_some();
        let end = tokio::time::timeout(LONG, session.close()).await.expect("it closes");
        let SessionEnd::Closed { reason, .. } = end else { panic!("{end}") };
        // Its socket lingers a little.
        tokio::time::sleep(Duration::from_secs(5)).await;
        accounts.settle(&stage, None).await;
        let cells = stage.shard.listener(stage.metrics.add_listener("client", "-"));
        is_counted_once(&cells, reason);
        let came = book.faults.get() > 0 && !fault.is_harmless();
        if let Some(listening) = listening {
            listening.await.unwrap();
            let life = life_of(events.borrow().iter());
            assert_eq!(life.reason, reason, "one reason for all");
            counted(&cells, &life, Some(&book));
            let others = life.outcomes.iter().find(|(_, outcome)| **outcome != Outcome::Complete);
            if !came {
                assert_eq!(others, Some((&11, &Outcome::Cancelled)), "all but the one that was dropped");
            }
        }
        let expected = if came { fault.reason() } else { CloseReason::Drain };
        let fits = reason == expected
            || (!before && reason == CloseReason::Drain)
            || (fault.act == Act::Hold && is_deadline(reason));
        assert!(fits, "{reason} is no reason for that, but {expected}");
        assert!(whole || came, "everything went through");
        made.set(Call::ALL.map(|call| book.calls(call)));
    });
    calls.get()
}

#[test]
fn a_session_of_ours_ends_well_by_a_fault_at_any_call() {
    let calls = live(Fault::NONE);
    try_each("ours", calls, |fault| _ = live(fault));
}
