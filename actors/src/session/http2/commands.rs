//! Orders and questions of session handles, put to the machine, and the answers that the peer gives.
//!
//! Checks nothing that the handle checked. Invariant: what is dropped here unanswered has failed, because the
//! other end of it says so ([`Answer`](crate::session::handle::Answer)).

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use stagedoor_protocol::{AltSvcTarget, Connection, Settings, StreamId};

use super::Http2;
use super::watch::KEEPALIVE;

use crate::close::CloseSession;
use crate::link::Link;
use crate::session::board::Board;
use crate::session::common::Common;
use crate::session::events::SessionEvent;
use crate::session::handle::{Acknowledged, Answerer, Command, GoAway, Pong, SessionSnapshot};

/// Questions the peer has not answered. Owns nothing while there are none.
#[derive(Default)]
pub(crate) struct Desk {
    /// The SETTINGS the session begins with, which nobody asked for, are unacknowledged.
    first: bool,
    /// Those of handles, in the order they were sent.
    settings: VecDeque<(Answerer<Acknowledged>, Instant)>,
    pings: Vec<([u8; 8], Answerer<Pong>, Instant)>,
}

fn less(count: &std::cell::Cell<u32>) {
    count.set(count.get().saturating_sub(1));
}

impl Desk {
    /// The machine put the first SETTINGS out when it was made.
    pub(crate) fn new(board: &Board) -> Self {
        board.settings.set(board.settings.get() + 1);
        Self { first: true, ..Self::default() }
    }

    /// Carries a command out; what it gives back is to be done by the session.
    pub(crate) fn command(
        &mut self,
        command: Command,
        conn: &mut Connection,
        link: &Rc<Link>,
        now: Instant,
    ) -> Option<CloseSession> {
        let board = &link.board;
        match command {
            Command::Settings(settings, answer) => match conn.update_settings(settings, now) {
                Ok(()) => self.settings.push_back((answer, now)),
                Err(error) => {
                    less(&board.settings);
                    answer.send(Err(error.into())).ok();
                }
            },
            Command::Ping(payload, answer) => match conn.ping(payload) {
                Ok(()) => self.pings.push((payload, answer, now)),
                Err(error) => {
                    less(&board.pings);
                    answer.send(Err(error.into())).ok();
                }
            },
            Command::Window(octets) => conn.set_connection_window(octets),
            Command::Idle => {}
            Command::AltSvc { stream, origin, value } => {
                let target = match stream.is_connection() {
                    true => AltSvcTarget::Origin(&origin),
                    false => AltSvcTarget::Stream(stream),
                };
                if let Err(error) = conn.send_altsvc(target, &value) {
                    link.tell(|| SessionEvent::FrameError { stream, error });
                }
            }
            Command::Origin(origins) => {
                if let Err(error) = conn.send_origin(&origins) {
                    link.tell(|| SessionEvent::FrameError { stream: StreamId::CONNECTION, error });
                }
            }
            Command::State(answer) => {
                answer.send(Ok(snapshot(conn))).ok();
            }
            Command::Close(order) => return Some(order),
        }
        None
    }

    /// Our oldest SETTINGS were acknowledged; how long it took, where somebody asked for them.
    pub(crate) fn settings_acknowledged(
        &mut self,
        conn: &Connection,
        board: &Board,
        now: Instant,
    ) -> Option<Duration> {
        board.agreed.borrow_mut().local.clone_from(conn.local_settings());
        less(&board.settings);
        if std::mem::take(&mut self.first) {
            return None;
        }
        let (answer, sent) = self.settings.pop_front()?;
        let after = now.saturating_duration_since(sent);
        answer.send(Ok(Acknowledged { after })).ok();
        Some(after)
    }

    /// A PING was answered: its round trip, when a handle had asked.
    pub(crate) fn pong(&mut self, payload: [u8; 8], board: &Board, now: Instant) -> Option<Duration> {
        let at = self.pings.iter().position(|(asked, ..)| *asked == payload)?;
        let (_, answer, sent) = self.pings.remove(at);
        less(&board.pings);
        let rtt = now.saturating_duration_since(sent);
        answer.send(Ok(Pong { rtt, payload })).ok();
        Some(rtt)
    }

    /// Gives spare heap back.
    pub(crate) fn shrink(&mut self) {
        self.settings.shrink_to_fit();
        self.pings.shrink_to_fit();
    }
}

/// The session as it stands.
fn snapshot(conn: &Connection) -> SessionSnapshot {
    SessionSnapshot {
        connection: conn.state(),
        local_settings: conn.local_settings().clone(),
        remote_settings: conn.remote_settings().clone(),
    }
}

impl Http2 {
    /// Tells who watches what was framed since the last turn.
    #[cold]
    pub(super) fn show_frames(&mut self, common: &mut Common, now: Instant) {
        let Some(taps) = &mut common.taps else { return };
        let (streams, id) = (&self.streams, common.stats.id());
        taps.tell(id, self.conn.take_tapped(), now, |id| streams.get(&id).map(|entry| entry.route));
        if taps.is_empty() {
            common.taps = None;
        }
        self.conn.tap(common.taps.is_some());
    }

    /// A handle of the session says something.
    #[cold]
    pub(super) fn command(&mut self, command: Command, now: Instant) {
        if let Some(order) = self.desk.command(command, &mut self.conn, &self.link, now) {
            CloseSession::join(&mut self.order, order);
        }
        self.stirred = true;
    }

    /// A PING of a handle or of the keepalive was answered.
    pub(super) fn pong(&mut self, payload: [u8; 8], common: &mut Common, now: Instant) {
        let asked = self.desk.pong(payload, &self.link.board, now);
        let rtt = asked.or_else(|| {
            let sent = (payload == KEEPALIVE).then(|| self.watch.pinged.take())??;
            Some(now.saturating_duration_since(sent))
        });
        let Some(rtt) = rtt else { return };
        common.life.ping_rtt = Some(rtt);
        common.host.cells.h2_ping_rtt.observe_nanos(u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The peer's SETTINGS are in force.
    pub(super) fn told_settings(&self, changed: Settings) {
        let settings = self.conn.remote_settings();
        self.link.board.agreed.borrow_mut().remote.clone_from(settings);
        self.link.tell(|| SessionEvent::RemoteSettings { changed, settings: settings.clone() });
    }

    /// The peer says GOAWAY.
    #[cold]
    pub(super) fn told_goaway(&self, goaway: GoAway) {
        let GoAway { code, last, opaque } = goaway.clone();
        *self.link.board.goaway.borrow_mut() = Some(Box::new(goaway));
        self.link.tell(|| SessionEvent::GoAway { code, last, opaque });
    }
}
