//! What the admin API says, as far as the terminal shows it.
//!
//! Tolerant: what is missing is empty, what is new is left out, so that this binary may look at a gateway of another version.
//! `--json` passes on what came and does not go through here.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Octets moved, seen from the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Moved {
    #[serde(rename = "in")]
    pub(super) received: u64,
    #[serde(rename = "out")]
    pub(super) sent: u64,
}

/// What a stream can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    RequestBody,
    Handler,
    Upstream,
    PeerStreamWindow,
    PeerConnectionWindow,
    Scheduler,
    Socket,
}

impl Cause {
    pub(super) const ALL: [Self; 7] = [
        Self::RequestBody,
        Self::Handler,
        Self::Upstream,
        Self::PeerStreamWindow,
        Self::PeerConnectionWindow,
        Self::Scheduler,
        Self::Socket,
    ];

    /// As the API calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RequestBody => "request_body",
            Self::Handler => "handler",
            Self::Upstream => "upstream",
            Self::PeerStreamWindow => "peer_stream_window",
            Self::PeerConnectionWindow => "peer_connection_window",
            Self::Scheduler => "scheduler",
            Self::Socket => "socket",
        }
    }

    /// In a column.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::RequestBody => "body",
            Self::Handler => "handler",
            Self::Upstream => "upstream",
            Self::PeerStreamWindow => "window",
            Self::PeerConnectionWindow => "conn window",
            Self::Scheduler => "scheduler",
            Self::Socket => "socket",
        }
    }
}

/// Seconds by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Waits {
    pub(super) request_body: f64,
    pub(super) handler: f64,
    pub(super) upstream: f64,
    pub(super) peer_stream_window: f64,
    pub(super) peer_connection_window: f64,
    pub(super) scheduler: f64,
    pub(super) socket: f64,
}

impl Waits {
    /// Seconds of one cause; never negative.
    pub(super) fn of(&self, cause: Cause) -> f64 {
        let seconds = match cause {
            Cause::RequestBody => self.request_body,
            Cause::Handler => self.handler,
            Cause::Upstream => self.upstream,
            Cause::PeerStreamWindow => self.peer_stream_window,
            Cause::PeerConnectionWindow => self.peer_connection_window,
            Cause::Scheduler => self.scheduler,
            Cause::Socket => self.socket,
        };
        seconds.max(0.0)
    }

    /// Seconds of all causes.
    pub(super) fn total(&self) -> f64 {
        Cause::ALL.iter().map(|cause| self.of(*cause)).sum()
    }

    /// The cause with the largest share, and the share.
    pub(super) fn main(&self) -> Option<(Cause, f64)> {
        let total = self.total();
        let most = Cause::ALL.into_iter().max_by(|one, other| self.of(*one).total_cmp(&self.of(*other)))?;
        (total > 0.0).then(|| (most, self.of(most) / total))
    }

    /// `cells` shared out by largest remainder, in the order of [`Cause::ALL`]; all zero where nothing was waited for.
    #[cfg(any(feature = "top", test))]
    pub(super) fn shares(&self, cells: usize) -> [usize; 7] {
        let total = self.total();
        let mut shares = [0; 7];
        if total <= 0.0 || !total.is_finite() {
            return shares;
        }
        let exact = Cause::ALL.map(|cause| self.of(cause) / total * cells as f64);
        for (share, exact) in shares.iter_mut().zip(exact) {
            *share = exact as usize;
        }
        let mut order = [0, 1, 2, 3, 4, 5, 6];
        order.sort_by(|one: &usize, other: &usize| exact[*other].fract().total_cmp(&exact[*one].fract()));
        let missing = cells.saturating_sub(shares.iter().sum());
        for index in order.into_iter().take(missing) {
            shares[index] += 1;
        }
        shares
    }
}

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) role: String,
    pub(super) protocol: String,
    pub(super) listener: String,
    pub(super) peer: Option<String>,
    pub(super) state: String,
    pub(super) age_seconds: f64,
    pub(super) idle_seconds: f64,
    pub(super) bytes: Moved,
    pub(super) streams_open: u64,
    pub(super) streams_total: u64,
    pub(super) write_queue_bytes: u64,
    pub(super) send_window: i64,
    pub(super) recv_window: i64,
    pub(super) memory_bytes: u64,
    pub(super) waits: Waits,
    /// Windows, tables and questions of HTTP/2, shown as they come.
    pub(super) http2: Option<Map<String, Value>>,
    pub(super) streams: Vec<Stream>,
    /// Of one session alone, oldest first.
    pub(super) recorder: Vec<Entry>,
}

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) route: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: Option<u16>,
    pub(super) state: String,
    pub(super) age_seconds: f64,
    pub(super) bytes: Moved,
    pub(super) write_queue_bytes: u64,
    pub(super) send_window: i64,
    /// The cause that is charged now.
    pub(super) on: Option<String>,
    pub(super) waits: Waits,
    pub(super) trace_id: Option<String>,
}

/// An entry of the flight recorder: a frame, or a change of the session or of a stream.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) at_seconds: f64,
    pub(super) direction: Option<String>,
    pub(super) frame: Option<String>,
    #[serde(deserialize_with = "flags")]
    pub(super) flags: Vec<String>,
    pub(super) stream: u32,
    pub(super) length: u64,
    pub(super) state: Option<String>,
    pub(super) code: Option<Word>,
}

/// What an event `overview` says.
#[cfg(any(feature = "top", test))]
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Overview {
    /// Unix time.
    pub(super) at: f64,
    pub(super) version: String,
    pub(super) uptime_seconds: f64,
    pub(super) stage: String,
    pub(super) sessions: u64,
    pub(super) streams: u64,
    pub(super) sessions_opened_total: u64,
    pub(super) requests_total: u64,
    pub(super) bytes: Moved,
    pub(super) overloaded: bool,
    /// Sessions that match the filter.
    pub(super) total: u64,
    pub(super) offset: u64,
    pub(super) rows: Vec<Session>,
}

/// What an event `frame` says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Frame {
    /// Unix time.
    pub(super) at: f64,
    pub(super) session: String,
    pub(super) direction: String,
    pub(super) frame: String,
    #[serde(deserialize_with = "flags")]
    pub(super) flags: Vec<String>,
    pub(super) stream: u32,
    pub(super) length: u64,
    pub(super) fields: Vec<(String, String)>,
    pub(super) settings: Map<String, Value>,
    pub(super) increment: Option<u64>,
    pub(super) code: Option<Word>,
    pub(super) last_stream: Option<u32>,
    pub(super) debug: Option<String>,
    pub(super) payload: Option<String>,
}

/// What an event `lost` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Lost {
    pub(super) lost: u64,
}

/// What an event `end` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Ended {
    pub(super) reason: String,
}

/// A name, or the number of something without one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Word {
    Name(String),
    Other(Value),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Other(value) => value.fmt(f),
        }
    }
}

/// Flags are names; one without a name may be a number.
fn flags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<Word>::deserialize(deserializer)?;
    Ok(words.iter().map(Word::to_string).collect())
}

/// A problem document (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) title: String,
    pub(super) detail: String,
    /// Of a configuration: all that is wrong with it, in lines.
    pub(super) errors: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_and_gaps_are_tolerated() {
        let text = r#"{"id":"0-1a","peer":null,"bytes":{"in":1,"out":2},"waits":{"handler":1.5,"tea":3},
            "http2":{"encoder_table":4096},"new":[1],"streams":[{"id":5,"status":null,"on":"tea"}],
            "recorder":[{"at_seconds":0.1,"direction":"rx","frame":"PING","flags":["ACK",128],"stream":0,"length":8},
                        {"at_seconds":2.0,"state":"closed","code":"idle_timeout","stream":0}]}"#;
        let session: Session = serde_json::from_str(text).unwrap();
        assert_eq!((&*session.id, session.peer, session.bytes.sent), ("0-1a", None, 2));
        assert_eq!(session.waits, Waits { handler: 1.5, ..Waits::default() });
        assert_eq!(session.recorder[0].flags, ["ACK", "128"]);
        assert_eq!(session.recorder[1].code, Some(Word::Name("idle_timeout".to_owned())));
        assert_eq!(serde_json::from_str::<Overview>("{}").unwrap(), Overview::default());
    }

    #[test]
    fn the_cells_of_a_bar_are_all_shared_out() {
        let waits = Waits { handler: 2.0, socket: 1.0, upstream: 0.001, ..Waits::default() };
        assert_eq!(waits.shares(12), [0, 8, 0, 0, 0, 0, 4]);
        assert_eq!(waits.shares(10), [0, 7, 0, 0, 0, 0, 3]);
        assert_eq!(Waits::default().shares(10), [0; 7]);
        let even = Waits {
            request_body: 1.0,
            handler: 1.0,
            upstream: 1.0,
            peer_stream_window: 1.0,
            peer_connection_window: 1.0,
            scheduler: 1.0,
            socket: 1.0,
        };
        for cells in 0..40 {
            assert_eq!(even.shares(cells).iter().sum::<usize>(), cells);
        }
    }

    #[test]
    fn the_main_cause_is_the_one_with_most_seconds() {
        let waits = Waits { handler: 1.0, socket: 3.0, scheduler: -5.0, ..Waits::default() };
        assert_eq!(waits.main(), Some((Cause::Socket, 0.75)));
        assert_eq!(Waits::default().main(), None);
    }
}
