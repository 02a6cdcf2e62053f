//! Sessions and streams as JSON, in the shape of the admin API. Takes plain views; asks nobody.

use serde::Serialize;
use stagedoor_actors::view::{SessionView, StreamView};
use stagedoor_protocol::{ConnectionState, StreamId};

/// Octets moved, seen from here.
#[derive(Serialize)]
pub(crate) struct Moved {
    #[serde(rename = "in")]
    received: u64,
    #[serde(rename = "out")]
    sent: u64,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    http2: Option<Http2Seen>,
    streams: Vec<StreamSeen<'a>>,
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
    state: &'a str,
    age_seconds: f64,
    bytes: Moved,
    write_queue_bytes: u64,
    send_window: i64,
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
            http2: view.http2.as_ref().map(Http2Seen::from),
            streams: view.streams.iter().map(StreamSeen::from).collect(),
        }
    }
}

impl<'a> From<&'a StreamView> for StreamSeen<'a> {
    fn from(view: &'a StreamView) -> Self {
        Self {
            id: view.id,
            route: &view.route,
            method: &view.method,
            state: view.state,
            age_seconds: milliseconds(view.age_seconds),
            bytes: Moved { received: view.bytes_in, sent: view.bytes_out },
            write_queue_bytes: view.write_queue_bytes,
            send_window: view.send_window,
        }
    }
}

/// Seconds with three digits: more are noise to a reader.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
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
            http2: None,
            streams: vec![StreamView {
                id: 5,
                route: "demo".into(),
                method: "GET".into(),
                state: "open",
                age_seconds: 0.5,
                bytes_in: 8,
                bytes_out: 9,
                write_queue_bytes: 10,
                send_window: 11,
            }],
        };
        assert_eq!(
            serde_json::to_string(&SessionSeen::from(&view)).unwrap(),
            "{\"id\":\"0-1a\",\"role\":\"server\",\"protocol\":\"h2\",\"listener\":\"public\",\"peer\":null,\
             \"state\":\"open\",\"age_seconds\":1.235,\"idle_seconds\":0.0,\"bytes\":{\"in\":1,\"out\":2},\
             \"streams_open\":1,\"streams_total\":3,\"write_queue_bytes\":4,\"send_window\":-5,\"recv_window\":6,\
             \"memory_bytes\":7,\"streams\":[{\"id\":5,\"route\":\"demo\",\"method\":\"GET\",\"state\":\"open\",\
             \"age_seconds\":0.5,\"bytes\":{\"in\":8,\"out\":9},\"write_queue_bytes\":10,\"send_window\":11}]}"
        );
    }
}
