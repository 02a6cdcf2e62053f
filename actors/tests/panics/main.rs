//! Panics, place by place: who ends, what the client sees, what is counted, and who lives on.
//!
//! | place | who ends | HTTP/2 sees | HTTP/1.1 sees | counted as |
//! | --- | --- | --- | --- | --- |
//! | service, handler before its head | the stream | 500 | 500, and the connection closes | stream panic, outcome `panic` |
//! | handler or body after the head | the stream | RST_STREAM(INTERNAL_ERROR) | the connection is cut | the same; there `panic_budget` |
//! | tunnel | the stream | RST_STREAM(INTERNAL_ERROR) | the connection ends | the same; there `upgraded` |
//! | pushed answer | the pushed stream | 500 on it | - | stream panic, outcome `panic` |
//! | destructor after a whole answer | nobody | the whole answer | the same | stream panic, outcome `panic` |
//! | destructor after a reset, or as the session ends | nobody more | what it saw anyway | the same | stream panic |
//! | destructor of what was never begun | nobody | nothing | - | a line in the log |
//! | file: check, answer to an error | as a handler | 500 | 500 | stream panic, outcome `panic` |
//! | file: the read itself, on the pool | the stream, as by any failed read | RST_STREAM(INTERNAL_ERROR) | cut | outcome `reset_by_us` |
//! | observer of sessions, of octets | nobody | nothing | nothing | a line in the log |
//! | transport, anything of the session's own | the session | the end, no GOAWAY | the end | session panic, reason `panic` |
//! | upload of a session of ours | the request | RST_STREAM(INTERNAL_ERROR) | - | stream panic, outcome `panic` |
//! | listener | the listener, restarted | one connection is lost | the same | listener panic, a restart |
//! | as many panics as `budgets.panics` | the session | GOAWAY(INTERNAL_ERROR) | the end | reason `panic_budget`, abuse `panics` |
//!
//! Two panics at a time, one while another unwinds, end the process: Rust has it so, and nothing here can contain it.
//!
//! Cases of these that stand elsewhere: `streams::a_panic_before_the_head_is_a_500_and_its_neighbours_live`,
//! `streams::a_panic_after_the_head_resets_the_stream`, `server_streams::what_a_body_gave_before_it_panicked_goes_out_before_the_reset`,
//! `http1::a_panic_before_the_head_is_a_500`, `http1::a_panic_after_the_head_cuts_the_connection`,
//! `facade::a_handler_that_fails_or_panics_is_a_500_and_the_session_goes_on`, `tunnels::a_task_that_panics_resets_its_tunnel_alone`,
//! `client::a_body_that_panics_ends_its_request_alone`, `sessions_events::an_observer_that_panics_does_not_harm_the_session`,
//! `server::a_listener_that_panicked_is_restarted`, `close_reasons::handlers_that_panic_spend_the_budget`.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.
#![allow(unreachable_pub, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod budget;
mod drops;
mod files;
mod handlers;
mod listener;
mod ours;
mod session;

use std::rc::Rc;
use std::time::Duration;

use actix::Addr;
use common::peer::{Peer, body_of, get_head};
use common::{Stage, config, frame, service, settle};
use stagedoor_actors::{ListenerConfig, Reply, Request, Response, Service, Session};
use stagedoor_metrics::{ActorKind, CloseReason, Outcome};
use stagedoor_protocol::{Cause, Config, ErrorCode, Event, Origin, RequestHead, StreamId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

/// Panics where it is dropped.
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in a drop, on purpose");
    }
}

/// "/" is answered, everything else is the test's affair.
pub fn place(answer: impl Fn(Request) -> Reply + 'static) -> Rc<dyn Service> {
    service(move |request| match request.head.path() {
        Some("/") => Response::text("fine").into(),
        _ => answer(request),
    })
}

/// HEADERS of `GET /x` at authority `a`.
pub fn get_x(stream: u32) -> Vec<u8> {
    frame(1, 0x5, stream, &[0x82, 0x86, 0x04, 2, b'/', b'x', 0x41, 1, b'a'])
}

/// HEADERS of `POST /x` at authority `a`, body to follow.
pub fn post_x(stream: u32) -> Vec<u8> {
    frame(1, 0x4, stream, &[0x83, 0x86, 0x04, 2, b'/', b'x', 0x41, 1, b'a'])
}

/// A session in which something panics, and another on the same arbiter that has nothing to do with it.
pub struct Scene {
    pub stage: Stage,
    pub session: Addr<Session>,
    pub victim: Peer,
    other: Peer,
}

/// What became of a stream, as its client sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub status: u16,
    pub body: Vec<u8>,
    pub cause: Option<Cause>,
}

pub const BY_US: Option<Cause> = Some(Cause::Reset { by: Origin::Remote, code: ErrorCode::INTERNAL_ERROR });
pub const WHOLE: Option<Cause> = Some(Cause::EndStream);

impl Scene {
    pub async fn new(answer: impl Fn(Request) -> Reply + 'static) -> Self {
        Self::with(config(), place(answer)).await
    }

    pub async fn with(config: ListenerConfig, service: Rc<dyn Service>) -> Self {
        let stage = Stage::with(config, service);
        let (_, io) = stage.connect();
        let mut other = Peer::new(io);
        other.until(|event| matches!(event, Event::SettingsReceived { .. })).await;
        let (session, io) = stage.connect();
        let mut victim = Peer::with(io, Config { enable_push: true, ..Config::default() });
        victim.until(|event| matches!(event, Event::SettingsReceived { .. })).await;
        // The session knows its client's settings, too.
        settle().await;
        let mut scene = Self { stage, session, victim, other };
        scene.lives_on().await;
        scene
    }

    /// Asks for `head`; what comes of it.
    pub async fn ask(&mut self, head: &RequestHead) -> Seen {
        let id = self.victim.request(head, true);
        self.see(id).await
    }

    pub async fn see(&mut self, id: StreamId) -> Seen {
        seen(&self.victim.story(id).await)
    }

    /// A stream beside it, and one of another session, are served.
    pub async fn lives_on(&mut self) {
        let fine = Seen { status: 200, body: b"fine".to_vec(), cause: WHOLE };
        assert_eq!(self.ask(&get_head("/")).await, fine, "a stream of the same session");
        self.other_lives_on().await;
    }

    pub async fn other_lives_on(&mut self) {
        let id = self.other.get("/");
        assert_eq!(seen(&self.other.story(id).await).body, b"fine", "another session");
    }

    pub fn panics(&self, kind: ActorKind) -> u64 {
        self.stage.shard.actors()[kind].panics.get()
    }

    /// So many streams panicked, so many ended so, and no session did.
    pub fn counted(&self, panics: u64, outcome: Outcome, ended: u64) {
        assert_eq!(self.panics(ActorKind::Stream), panics, "panics of streams");
        assert_eq!(self.stage.outcome(outcome), ended, "streams that ended as {outcome}");
        assert_eq!(self.panics(ActorKind::Session), 0, "panics of sessions");
        assert_eq!(self.stage.shard.actors()[ActorKind::Stream].alive.get(), 0, "streams that live");
    }

    /// The client lets go of the connection.
    pub fn hang_up(&mut self) {
        self.victim = Peer::new(tokio::io::duplex(1).0);
    }

    /// The session has ended for `reason`; the other one has not.
    pub async fn ends_for(&self, reason: CloseReason) {
        assert_eq!(self.stage.ended().await.reason, reason);
        settle().await;
        assert_eq!(self.stage.metrics.live().len(), 1, "the other session");
        assert_eq!(self.stage.shard.actors()[ActorKind::Session].alive.get(), 1);
        assert_eq!(self.stage.cells.write_queue_bytes.get(), 0);
    }
}

pub fn seen(story: &[Event]) -> Seen {
    let status = story.iter().find_map(|event| match event {
        Event::ResponseReceived { head, .. } => Some(head.status),
        _ => None,
    });
    let cause = story.iter().find_map(|event| match event {
        Event::StreamClosed { cause, .. } => Some(*cause),
        _ => None,
    });
    Seen { status: status.unwrap_or(0), body: body_of(story), cause }
}

/// The same on HTTP/1.1: a connection in which something panics, beside the sessions of a scene.
pub struct Http1 {
    pub scene: Scene,
    pub session: Addr<Session>,
    io: DuplexStream,
}

impl Http1 {
    pub async fn new(answer: impl Fn(Request) -> Reply + 'static) -> Self {
        Self::of(Scene::new(answer).await)
    }

    pub fn of(scene: Scene) -> Self {
        let (session, io) = scene.stage.connect();
        Self { scene, session, io }
    }

    /// Sends `octets`; what comes back until nothing does, and whether the connection goes on.
    pub async fn talk(&mut self, octets: &[u8]) -> (String, bool) {
        self.io.write_all(octets).await.ok();
        let (mut all, mut room) = (Vec::new(), [0; 4_096]);
        loop {
            match timeout(Duration::from_secs(1), self.io.read(&mut room)).await {
                Ok(Ok(count)) if count > 0 => all.extend(&room[..count]),
                Ok(_) => return (String::from_utf8(all).unwrap(), false),
                Err(_) => return (String::from_utf8(all).unwrap(), true),
            }
        }
    }

    pub async fn get(&mut self, path: &str) -> (String, bool) {
        self.talk(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await
    }

    /// Lets go of the connection, which has ended for `reason`.
    pub async fn ends_for(self, reason: CloseReason) -> Scene {
        drop(self.io);
        assert_eq!(self.scene.stage.ended().await.reason, reason);
        settle().await;
        let mut scene = self.scene;
        scene.lives_on().await;
        assert_eq!(scene.stage.metrics.live().len(), 2, "the other sessions");
        scene
    }
}
