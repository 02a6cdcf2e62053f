//! Sessions and streams as JSON, in the shape of the admin API. Takes plain views; asks nobody.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use stagedoor_actors::session::WaitTimes;
use stagedoor_actors::view::{PostMortem, Recorded, RecordedWhat, SessionView, StreamView};
use stagedoor_metrics::WaitOn;
use stagedoor_protocol::{ConnectionState, StreamId};

/// Octets moved, seen from here.
#[derive(Serialize)]
pub(crate) struct Moved {
    #[serde(rename = "in")]
    received: u64,
    #[serde(rename = "out")]
    sent: u64,
}

impl Moved {
    pub(crate) fn new(received: u64, sent: u64) -> Self {
        Self { received, sent }
    }
}

/// A session.
#[derive(Serialize)]
pub(crate) struct SessionSeen<'a> {
    id: &'a str,
    role: &'a str,
    protocol: &'a str,
    listener: &'a str,
    peer: Option<&'a str>,
    state: &'a str,
    age_seconds: f64,
    idle_seconds: f64,
    bytes: Moved,
    streams_open: u64,
    streams_total: u64,
    write_queue_bytes: u64,
    send_window: i64,
    recv_window: i64,
    memory_bytes: u64,
    waits: WaitsSeen,
    #[serde(skip_serializing_if = "Option::is_none")]
    http2: Option<Http2Seen>,
    streams: Vec<StreamSeen<'a>>,
    /// Of a session that was asked after alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorder: Option<Vec<RecordedSeen<'a>>>,
}

/// What the time of streams went to, in seconds.
#[derive(Serialize)]
pub(crate) struct WaitsSeen {
    request_body: f64,
    handler: f64,
    upstream: f64,
    peer_stream_window: f64,
    peer_connection_window: f64,
    scheduler: f64,
    socket: f64,
}

impl From<&WaitTimes> for WaitsSeen {
    fn from(times: &WaitTimes) -> Self {
        let of = |on: WaitOn| microseconds(times[on as usize].as_secs_f64());
        Self {
            request_body: of(WaitOn::RequestBody),
            handler: of(WaitOn::Handler),
            upstream: of(WaitOn::Upstream),
            peer_stream_window: of(WaitOn::PeerStreamWindow),
            peer_connection_window: of(WaitOn::PeerConnectionWindow),
            scheduler: of(WaitOn::Scheduler),
            socket: of(WaitOn::Socket),
        }
    }
}

/// An entry of a flight recorder.
#[derive(Serialize)]
pub(crate) struct RecordedSeen<'a> {
    at_seconds: f64,
    #[serde(flatten)]
    what: WhatSeen<'a>,
    stream: u32,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WhatSeen<'a> {
    Frame { direction: &'static str, frame: &'a str, flags: &'a [&'static str], length: u32 },
    Turn { state: &'a str, code: &'a str },
}

impl<'a> From<&'a Recorded> for RecordedSeen<'a> {
    fn from(entry: &'a Recorded) -> Self {
        let what = match &entry.what {
            RecordedWhat::Frame { sent, name, flags, length } => WhatSeen::Frame {
                direction: if *sent { "tx" } else { "rx" },
                frame: name,
                flags,
                length: *length,
            },
            RecordedWhat::Turn { name, code } => WhatSeen::Turn { state: name, code },
        };
        Self { at_seconds: milliseconds(entry.at.as_secs_f64()), what, stream: entry.stream }
    }
}

/// A session that ended as it should not have.
#[derive(Serialize)]
pub(crate) struct PostMortemSeen<'a> {
    id: &'a str,
    role: &'a str,
    protocol: &'a str,
    listener: &'a str,
    peer: Option<&'a str>,
    reason: &'static str,
    code: &'static str,
    detail: &'a str,
    opened_at: f64,
    closed_at: f64,
    age_seconds: f64,
    bytes: Moved,
    streams_total: u64,
    waits: WaitsSeen,
    recorder: Vec<RecordedSeen<'a>>,
}

impl<'a> From<&'a PostMortem> for PostMortemSeen<'a> {
    fn from(ended: &'a PostMortem) -> Self {
        let view = &ended.view;
        Self {
            id: &view.id,
            role: view.role,
            protocol: view.protocol,
            listener: &view.listener,
            peer: view.peer.as_deref(),
            reason: ended.reason.label(),
            code: ended.code.name(),
            detail: &ended.detail,
            opened_at: unix(ended.opened_at),
            closed_at: unix(ended.closed_at),
            age_seconds: milliseconds(view.age_seconds),
            bytes: Moved { received: view.bytes_in, sent: view.bytes_out },
            streams_total: view.streams_total,
            waits: WaitsSeen::from(&view.waits),
            recorder: view.recorder.iter().map(RecordedSeen::from).collect(),
        }
    }
}

/// Windows, tables and questions of an HTTP/2 session; sizes in octets.
#[derive(Serialize)]
pub(crate) struct Http2Seen {
    recv_window_target: i64,
    recv_unreturned: i64,
    next_stream_id: Option<u32>,
    last_processed_stream_id: u32,
    encoder_table: usize,
    decoder_table: usize,
    streams_local: u32,
    streams_remote: u32,
    streams_reserved: u32,
    settings_pending: usize,
    pings_pending: usize,
}

impl From<&ConnectionState> for Http2Seen {
    fn from(state: &ConnectionState) -> Self {
        Self {
            recv_window_target: state.recv_window_target,
            recv_unreturned: state.recv_unreturned,
            next_stream_id: state.next_stream_id.map(StreamId::get),
            last_processed_stream_id: state.last_processed.get(),
            encoder_table: state.encoder_table,
            decoder_table: state.decoder_table,
            streams_local: state.streams_local,
            streams_remote: state.streams_remote,
            streams_reserved: state.streams_reserved,
            settings_pending: state.settings_pending,
            pings_pending: state.pings_pending,
        }
    }
}

/// A stream.
#[derive(Serialize)]
pub(crate) struct StreamSeen<'a> {
    id: u32,
    route: &'a str,
    method: &'a str,
    path: &'a str,
    status: Option<u16>,
    state: &'a str,
    age_seconds: f64,
    bytes: Moved,
    write_queue_bytes: u64,
    send_window: i64,
    on: &'static str,
    waits: WaitsSeen,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl<'a> From<&'a SessionView> for SessionSeen<'a> {
    fn from(view: &'a SessionView) -> Self {
        Self {
            id: &view.id,
            role: view.role,
            protocol: view.protocol,
            listener: &view.listener,
            peer: view.peer.as_deref(),
            state: view.state,
            age_seconds: milliseconds(view.age_seconds),
            idle_seconds: milliseconds(view.idle_seconds),
            bytes: Moved { received: view.bytes_in, sent: view.bytes_out },
            streams_open: view.streams_open,
            streams_total: view.streams_total,
            write_queue_bytes: view.write_queue_bytes,
            send_window: view.send_window,
            recv_window: view.recv_window,
            memory_bytes: view.memory_bytes,
            waits: WaitsSeen::from(&view.waits),
            http2: view.http2.as_ref().map(Http2Seen::from),
            streams: view.streams.iter().map(StreamSeen::from).collect(),
            recorder: None,
        }
    }
}

impl<'a> From<&'a StreamView> for StreamSeen<'a> {
    fn from(view: &'a StreamView) -> Self {
        Self {
            id: view.id,
            route: &view.route,
            method: &view.method,
            path: &view.path,
            status: (view.status != 0).then_some(view.status),
            state: view.state,
            age_seconds: milliseconds(view.age_seconds),
            bytes: Moved { received: view.bytes_in, sent: view.bytes_out },
            write_queue_bytes: view.write_queue_bytes,
            send_window: view.send_window,
            on: view.on.label(),
            waits: WaitsSeen::from(&view.waits),
            trace_id: view.trace.map(|trace| format!("{trace:032x}")),
        }
    }
}

impl<'a> SessionSeen<'a> {
    /// With its flight recorder.
    pub(crate) fn whole(view: &'a SessionView) -> Self {
        Self { recorder: Some(view.recorder.iter().map(RecordedSeen::from).collect()), ..Self::from(view) }
    }

    /// Without its streams.
    pub(crate) fn row(view: &'a SessionView) -> Self {
        Self { streams: Vec::new(), ..Self::from(view) }
    }
}

/// Unix time in seconds, to the millisecond.
pub(crate) fn unix(time: SystemTime) -> f64 {
    milliseconds(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

/// Seconds with six digits.
pub(crate) fn microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// Seconds with three digits: more are noise to a reader.
pub(crate) fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_shape_is_that_of_the_admin_api() {
        let view = SessionView {
            id: "0-1a".into(),
            role: "server",
            protocol: "h2",
            listener: "public".into(),
            peer: None,
            state: "open",
            age_seconds: 1.23456,
            idle_seconds: 0.0,
            bytes_in: 1,
            bytes_out: 2,
            streams_open: 1,
            streams_total: 3,
            write_queue_bytes: 4,
            send_window: -5,
            recv_window: 6,
            memory_bytes: 7,
            waits: WaitTimes::default(),
            http2: None,
            recorder: Vec::new(),
            streams: vec![StreamView {
                id: 5,
                route: "demo".into(),
                method: "GET".into(),
                path: "/bytes/1".into(),
                status: 200,
                state: "open",
                age_seconds: 0.5,
                bytes_in: 8,
                bytes_out: 9,
                write_queue_bytes: 10,
                send_window: 11,
                on: WaitOn::Socket,
                waits: std::array::from_fn(|_| Duration::from_micros(1)),
                trace: Some(0xab),
            }],
        };
        let seen = serde_json::to_value(SessionSeen::from(&view)).unwrap();
        let waits = |each: f64| {
            let all = WaitOn::LABELS.iter().map(|on| ((*on).to_owned(), serde_json::json!(each)));
            serde_json::Value::Object(all.collect())
        };
        let stream = serde_json::json!({
            "id": 5, "route": "demo", "method": "GET", "path": "/bytes/1", "status": 200, "state": "open",
            "age_seconds": 0.5, "bytes": { "in": 8, "out": 9 }, "write_queue_bytes": 10, "send_window": 11,
            "on": "socket", "waits": waits(1e-6), "trace_id": "000000000000000000000000000000ab",
        });
        assert_eq!(
            seen,
            serde_json::json!({
                "id": "0-1a", "role": "server", "protocol": "h2", "listener": "public", "peer": null,
                "state": "open", "age_seconds": 1.235, "idle_seconds": 0.0, "bytes": { "in": 1, "out": 2 },
                "streams_open": 1, "streams_total": 3, "write_queue_bytes": 4, "send_window": -5,
                "recv_window": 6, "memory_bytes": 7, "waits": waits(0.0), "streams": [stream],
            })
        );
    }
}
