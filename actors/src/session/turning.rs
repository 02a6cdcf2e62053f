//! The turning points that a flight recorder keeps beside frames, and recorder entries in words.
//!
//! Invariant: what [`Turning`] writes as numbers [`recorded`] reads back; an entry keeps no octet of any message.

use stagedoor_metrics::{CloseReason, Method, Protocol};
use stagedoor_protocol::frame;
use stagedoor_protocol::recorder::{Entry, What};
use stagedoor_protocol::{Recorder, StreamId};

use crate::view::{Recorded, RecordedWhat};

/// Something that happened to a session and is no frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turning {
    /// It is known what it speaks.
    Open(Protocol),
    /// It takes no new streams.
    Draining(CloseReason),
    /// Its streams are cut off.
    Closing(CloseReason),
    /// Its socket is gone.
    Closed(CloseReason),
    /// HTTP/1.1: a request came.
    Request(StreamId, Method),
    /// HTTP/1.1: its answer began.
    Answer(StreamId, u16),
}

const OPEN: u8 = 1;
const DRAINING: u8 = 2;
const CLOSING: u8 = 3;
const CLOSED: u8 = 4;
const REQUEST: u8 = 5;
const ANSWER: u8 = 6;

impl Turning {
    pub(crate) fn write(self, recorder: &mut Recorder) {
        match self {
            Self::Open(protocol) => recorder.turn(OPEN, 0, protocol as u32),
            Self::Draining(reason) => recorder.turn(DRAINING, 0, reason as u32),
            Self::Closing(reason) => recorder.turn(CLOSING, 0, reason as u32),
            Self::Closed(reason) => recorder.turn(CLOSED, 0, reason as u32),
            Self::Request(id, method) => recorder.turn(REQUEST, id.get(), method as u32),
            Self::Answer(id, status) => recorder.turn(ANSWER, id.get(), status.into()),
        }
    }
}

/// A flight recorder in words, oldest first.
pub(crate) fn recorded(recorder: &Recorder) -> Vec<Recorded> {
    recorder.entries().iter().map(words).collect()
}

fn words(entry: &Entry) -> Recorded {
    let what = match entry.what {
        What::Received | What::Sent => RecordedWhat::Frame {
            sent: entry.what == What::Sent,
            name: frame::name(entry.kind),
            flags: frame::flag_names(entry.kind, entry.flags).collect(),
            length: entry.length,
        },
        What::Turn => turn(entry),
    };
    Recorded { at: entry.at(), stream: entry.id, what }
}

fn turn(entry: &Entry) -> RecordedWhat {
    let index = entry.length as usize;
    let reason = || CloseReason::from_index(index).map_or("other", CloseReason::label).to_owned();
    let (name, code) = match entry.kind {
        OPEN => ("open", Protocol::from_index(index).map_or("", Protocol::label).to_owned()),
        DRAINING => ("draining", reason()),
        CLOSING => ("closing", reason()),
        CLOSED => ("closed", reason()),
        REQUEST => ("request", Method::from_index(index).map_or("OTHER", Method::label).to_owned()),
        ANSWER => ("answer", entry.length.to_string()),
        _ => ("unknown", String::new()),
    };
    RecordedWhat::Turn { name, code }
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ", self.at.as_secs_f64())?;
        match &self.what {
            RecordedWhat::Frame { sent, name, flags, length } => {
                let way = if *sent { "tx" } else { "rx" };
                write!(f, "{way} {name} {} {length}", self.stream)?;
                if flags.is_empty() { Ok(()) } else { write!(f, " {}", flags.join("|")) }
            }
            RecordedWhat::Turn { name, code } => write!(f, "{name} {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use stagedoor_protocol::Origin;
    use stagedoor_protocol::frame::{FrameHeader, kind};

    use super::*;

    #[test]
    fn what_is_written_reads_back_in_words() {
        let mut recorder = Recorder::new(Instant::now(), true);
        Turning::Open(Protocol::H2c).write(&mut recorder);
        let id = StreamId::from_wire(3);
        let header = FrameHeader { length: 9, kind: kind::HEADERS, flags: 0xff, id };
        recorder.frame(Origin::Remote, header);
        Turning::Request(id, Method::Post).write(&mut recorder);
        Turning::Answer(id, 404).write(&mut recorder);
        for turning in [Turning::Draining, Turning::Closing, Turning::Closed] {
            turning(CloseReason::Abuse).write(&mut recorder);
        }
        let shown: Vec<String> = recorded(&recorder).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "0.000 open h2c",
                "0.000 rx HEADERS 3 9 END_STREAM|END_HEADERS|PADDED|PRIORITY",
                "0.000 request POST",
                "0.000 answer 404",
                "0.000 draining abuse",
                "0.000 closing abuse",
                "0.000 closed abuse",
            ]
        );
    }
}
