//! What is noted of each frame beside its meaning: counters, the flight recorder, and the tap while somebody watches.

use super::Connection;
use crate::event::Origin;
use crate::fields::Fields;
use crate::frame::{self, FrameHeader};
use crate::ids::StreamId;
use crate::recorder::Recorder;
use crate::stream::SendHalf;
use crate::tap::{Tap, Tapped};

/// So many streams that moved are remembered one by one.
const MOVED: usize = 256;

/// What keeps the octets of a stream from leaving.
///
/// ```
/// use std::time::Instant;
///
/// use stagedoor_protocol::connection::Holdup;
/// use stagedoor_protocol::{Config, Connection, RequestHead, Role};
///
/// let mut client = Connection::new(Role::Client, Config::default(), Instant::now());
/// let id = client.send_request(&RequestHead::new("POST", "http", "example.org", "/"), false)?;
/// // Windows are 65 535 octets until the server says otherwise.
/// client.send_data(id, vec![0; 100_000].into(), true)?;
/// assert_eq!(client.holdup(id), Some(Holdup::Turn));
/// loop {
///     let waiting = client.poll_output(Instant::now());
///     if waiting == 0 {
///         break;
///     }
///     client.advance_output(waiting);
/// }
/// assert!(matches!(client.holdup(id), Some(Holdup::StreamWindow | Holdup::ConnectionWindow)));
/// # Ok::<(), stagedoor_protocol::UserError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holdup {
    /// They are framed; the socket has not taken them.
    Socket,
    /// The stream's send window is used up (RFC 9113 §6.9).
    StreamWindow,
    /// The connection's send window is used up.
    ConnectionWindow,
    /// Other streams have their turn.
    Turn,
}

impl Connection {
    /// A frame came.
    #[inline]
    pub(super) fn note_in(&mut self, header: FrameHeader, payload: &[u8]) {
        self.counters.frames_in[frame::count_index(header.kind)] += 1;
        self.recorder.frame(Origin::Remote, header);
        if let Some(tap) = &mut self.tap {
            tap.frame(self.clock, Origin::Remote, header, payload);
        }
    }

    /// A frame was put into the output.
    #[inline]
    pub(super) fn note_out(&mut self, header: FrameHeader, payload: &[u8]) {
        self.counters.frames_out[frame::count_index(header.kind)] += 1;
        self.recorder.frame(Origin::Local, header);
        if let Some(tap) = &mut self.tap {
            tap.frame(self.clock, Origin::Local, header, payload);
        }
    }

    /// A field section, for whoever watches.
    #[inline]
    pub(super) fn note_fields(&mut self, by: Origin, id: StreamId, fields: impl FnOnce() -> Fields) {
        if let Some(tap) = &mut self.tap {
            tap.fields(by, id, fields());
        }
    }

    /// From now on each frame waits for [`Self::take_tapped`], or not any more.
    pub fn tap(&mut self, on: bool) {
        match on {
            true => drop(self.tap.get_or_insert_default()),
            false => self.tap = None,
        }
    }

    /// Frames that were watched since the last call, and how many were lost between.
    pub fn take_tapped(&mut self) -> (Vec<Tapped>, u64) {
        self.tap.as_deref_mut().map(Tap::take).unwrap_or_default()
    }

    /// The last frames, and what the owner notes beside them.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// The last frames.
    pub fn recorded(&self) -> &Recorder {
        &self.recorder
    }

    /// Octets put into the output since the start: where in it the frame ended that was written last.
    #[inline]
    pub fn position(&self) -> u64 {
        self.taken + self.output.len() as u64
    }

    /// Octets the socket has taken since the start.
    #[inline]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// A stream's queue or window moved.
    #[inline]
    pub(super) fn note_moved(&mut self, id: StreamId) {
        if self.config.record && self.moved.last() != Some(&id) {
            match self.moved.len() < MOVED {
                true => self.moved.push(id),
                false => self.moved_many = true,
            }
        }
    }

    /// A stream whose queue or window moved since the last call; may come more than once.
    #[inline]
    pub fn take_moved(&mut self) -> Option<StreamId> {
        self.moved.pop()
    }

    /// Whether more streams moved than [`Self::take_moved`] tells; then ask after each.
    #[inline]
    pub fn take_moved_many(&mut self) -> bool {
        std::mem::take(&mut self.moved_many)
    }

    /// What keeps a stream's octets from leaving; `None` where none wait.
    pub fn holdup(&self, id: StreamId) -> Option<Holdup> {
        let stream = self.table.get(id)?;
        let queued = match &stream.send {
            SendHalf::Open(sending) => Some(sending).filter(|sending| sending.queued > 0),
            SendHalf::Closed => None,
        };
        // A head that waits for the socket is not what holds up a body that has not begun.
        if stream.reaches > self.taken && (queued.is_none() || stream.sent > 0) {
            return Some(Holdup::Socket);
        }
        let sending = queued?;
        Some(match (sending.window > 0, self.send_window > 0) {
            (false, _) => Holdup::StreamWindow,
            (true, false) => Holdup::ConnectionWindow,
            (true, true) => Holdup::Turn,
        })
    }
}
