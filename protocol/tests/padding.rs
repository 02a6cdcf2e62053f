//! RFC 9113 §6.1, §6.2, §10.7: padding of what we send.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use bytes::Bytes;
use stagedoor_protocol::{Config, Connection, Padding, Role, StreamId};
use support::frames::{self, Frame};
use support::{Pair, get, plain_windows, status, take_events, take_output};

fn config(padding: Padding) -> Config {
    Config { padding, ..plain_windows() }
}

/// A server with a GET on stream 1, and whatever window its client gives.
struct Server {
    conn: Connection,
    now: std::time::Instant,
}

impl Server {
    fn new(padding: Padding, settings: &[(u16, u32)]) -> Self {
        let now = std::time::Instant::now();
        let mut server = Self { conn: Connection::new(Role::Server, config(padding), now), now };
        let hello = [
            frames::PREFACE.to_vec(),
            frames::settings(settings),
            frames::settings_ack(),
            frames::headers(1, &support::block::get(), frames::END_STREAM),
        ];
        server.take(&hello.concat());
        server
    }

    fn take(&mut self, octets: &[u8]) -> Vec<Frame> {
        self.conn.handle_input(octets, self.now).unwrap();
        take_events(&mut self.conn);
        let mut said = take_output(&mut self.conn, self.now);
        frames::parse(&mut said)
    }
}

/// Payload without padding, and octets the padding takes.
fn stripped(frame: &Frame) -> (Vec<u8>, usize) {
    if !frame.has(frames::PADDED) {
        return (frame.payload.clone(), 0);
    }
    let pad = usize::from(frame.payload[0]);
    let end = frame.payload.len() - pad;
    assert!(frame.payload[end..].iter().all(|&octet| octet == 0), "padding is zeros (§6.1)");
    (frame.payload[1..end].to_vec(), pad + 1)
}

#[test]
fn without_padding_no_frame_is_padded() {
    let mut server = Server::new(Padding::None, &[]);
    server.conn.send_response(1.into(), &status(200), false).unwrap();
    server.conn.send_data(1.into(), Bytes::from_static(b"hello"), true).unwrap();
    assert!(server.take(b"").iter().all(|frame| !frame.has(frames::PADDED)));
}

#[test]
fn aligned_frames_are_multiples_of_eight_octets_with_their_header() {
    for size in 0..40 {
        let mut server = Server::new(Padding::Aligned, &[]);
        server.conn.send_response(1.into(), &status(200), false).unwrap();
        server.conn.send_data(1.into(), Bytes::from(vec![7; size]), true).unwrap();
        let frames = server.take(b"");
        assert_eq!(frames.len(), 2);
        for frame in &frames {
            assert_eq!((9 + frame.payload.len()) % 8, 0, "{size}: {frame:?}");
        }
        let (data, extra) = stripped(&frames[1]);
        assert_eq!((data, extra < 8), (vec![7; size], true));
        assert_eq!(frames[1].flags & frames::END_STREAM, frames::END_STREAM);
        assert_eq!(server.conn.send_window(), 65_535 - (size + extra) as i64, "padding counts (§6.1)");
    }
}

#[test]
fn as_much_as_can_be_is_256_octets() {
    let mut server = Server::new(Padding::Max, &[]);
    server.conn.send_response(1.into(), &status(200), false).unwrap();
    server.conn.send_data(1.into(), Bytes::from_static(b"hello"), true).unwrap();
    let frames = server.take(b"");
    assert_eq!(frames.iter().map(|frame| stripped(frame).1).collect::<Vec<_>>(), [256, 256]);
    assert_eq!(server.conn.send_window(), 65_535 - 5 - 256);
}

#[test]
fn padding_yields_to_the_windows_and_to_the_frame_size() {
    use stagedoor_protocol::settings::id::INITIAL_WINDOW_SIZE;
    for (window, size, extra) in [(10, 10, 0), (11, 10, 1), (12, 10, 2), (300, 10, 256), (100, 50, 50)] {
        let mut server = Server::new(Padding::Max, &[(INITIAL_WINDOW_SIZE, window)]);
        server.conn.send_response(1.into(), &status(200), false).unwrap();
        server.conn.send_data(1.into(), Bytes::from(vec![7; size]), true).unwrap();
        let frames = server.take(b"");
        assert_eq!(stripped(&frames[1]), (vec![7; size], extra), "{window}");
    }
    for (size, extra) in [(16_384, 0), (16_383, 1), (16_128, 256), (16_000, 256)] {
        let mut server = Server::new(Padding::Max, &[]);
        server.conn.send_response(1.into(), &status(200), false).unwrap();
        server.conn.send_data(1.into(), Bytes::from(vec![7; size]), true).unwrap();
        let frames = server.take(b"");
        assert_eq!((frames[1].payload.len(), stripped(&frames[1]).1), (size + extra, extra));
    }
}

#[test]
fn an_empty_end_needs_no_window_though_frames_are_padded() {
    let mut server = Server::new(Padding::Aligned, &[(4, 0)]);
    server.conn.send_response(1.into(), &status(200), false).unwrap();
    server.conn.send_data(1.into(), Bytes::new(), true).unwrap();
    let frames = server.take(b"");
    assert_eq!((frames[1].kind, &frames[1].payload[..], frames[1].flags), (frames::DATA, &b""[..], 1));
}

#[test]
fn a_long_header_section_is_cut_and_not_padded() {
    let mut server = Server::new(Padding::Aligned, &[]);
    let head = stagedoor_protocol::ResponseHead::new(200, support::fields(&[("x", &"\\".repeat(40_000))]));
    server.conn.send_response(1.into(), &head, true).unwrap();
    let frames = server.take(b"");
    assert_eq!(frames[0].payload.len(), 16_384);
    assert!(frames.len() > 2 && frames.iter().all(|frame| !frame.has(frames::PADDED)));
}

#[test]
fn a_padded_exchange_arrives_whole_and_no_window_is_overrun() {
    for padding in [Padding::Aligned, Padding::Max] {
        let mut pair = Pair::connected_with(config(padding), config(padding));
        let sizes = [0usize, 1, 5, 255, 256, 16_383, 16_384, 16_385, 65_535, 65_536, 200_000];
        let ids: Vec<StreamId> = sizes.iter().map(|_| pair.request(&get(), true)).collect();
        for (id, size) in ids.iter().zip(sizes) {
            pair.server.conn.send_response(*id, &status(200), false).unwrap();
            pair.server.conn.send_data(*id, Bytes::from(vec![7; size]), true).unwrap();
        }
        pair.drive();
        for (id, size) in ids.iter().zip(sizes) {
            assert_eq!(pair.client.body(*id), (vec![7; size], true), "{padding:?} {size}");
        }
        assert!(pair.client.resets().is_empty() && !pair.client.conn.is_closed());
    }
}
