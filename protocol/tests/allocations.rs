//! What the plain path costs in allocations, once tables are warm: nothing for a control frame, two for a request
//! (the arena and the index of its fields), one for a DATA frame (its octets, so that a small piece that is kept
//! never pins a large buffer).
//!
//! Unsafe: a counting allocator has to implement `GlobalAlloc`; it adds a counter to the system's own.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;
use stagedoor_protocol::hpack::Encoder;
use stagedoor_protocol::{Config, Connection, Event, ResponseHead, Role};
use support::frames;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted(run: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    run();
    COUNT.with(Cell::get) - before
}

/// A server that has seen its client's preface and SETTINGS.
fn server(now: Instant) -> Connection {
    let mut server = Connection::new(Role::Server, Config::default(), now);
    server.handle_input(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now).unwrap();
    server.handle_input(&frames::settings(&[]), now).unwrap();
    server.handle_input(&frames::settings_ack(), now).unwrap();
    flush(&mut server, now);
    // The flight recorder has its places.
    (0..64).for_each(|_| server.recorder().turn(0, 0, 0));
    server
}

fn flush(server: &mut Connection, now: Instant) {
    while server.poll_event().is_some() {}
    while server.poll_output(now) > 0 {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = server.output(&mut slices);
        let octets = slices[..filled].iter().map(|slice| slice.len()).sum();
        server.advance_output(octets);
    }
}

#[test]
fn a_control_frame_costs_no_allocation() {
    let now = Instant::now();
    let mut server = server(now);
    let input = [frames::ping([7; 8]), frames::window_update(0, 1)].concat();
    server.handle_input(&input, now).unwrap();
    flush(&mut server, now);
    let cost = counted(|| {
        server.handle_input(&input, now).unwrap();
        flush(&mut server, now);
    });
    assert_eq!(cost, 0);
}

#[test]
fn a_request_costs_two_and_its_answer_none() {
    let now = Instant::now();
    let mut server = server(now);
    let mut encoder = Encoder::new();
    let head = ResponseHead::new(
        200,
        [("content-type", "text/plain"), ("content-length", "5")].into_iter().collect(),
    );
    let mut exchange = |id: u32, server: &mut Connection| {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        for (name, value) in
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("x", "y")]
        {
            encoder.field(name.as_bytes(), value.as_bytes(), false, &mut block);
        }
        let input = frames::headers(id, &block, frames::END_STREAM | frames::END_HEADERS);
        let mut asked = None;
        let request = counted(|| {
            server.handle_input(&input, now).unwrap();
            asked = server.poll_event();
        });
        assert!(matches!(asked, Some(Event::StreamOpened { .. })), "{asked:?}");
        let answer = counted(|| {
            server.send_response(id.into(), &head, false).unwrap();
            server.send_data(id.into(), Bytes::from_static(b"hello"), true).unwrap();
        });
        flush(server, now);
        (request, answer)
    };
    for id in [1, 3, 5] {
        exchange(id, &mut server);
    }
    assert_eq!(exchange(7, &mut server), (2, 0));
}

#[test]
fn a_data_frame_costs_its_octets() {
    let now = Instant::now();
    let mut server = server(now);
    let mut block = Vec::new();
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")] {
        Encoder::new().field(name.as_bytes(), value.as_bytes(), false, &mut block);
    }
    server.handle_input(&frames::headers(1, &block, frames::END_HEADERS), now).unwrap();
    let data = frames::data(1, &[7; 1000], frames::NONE);
    server.handle_input(&data, now).unwrap();
    flush(&mut server, now);
    let cost = counted(|| {
        server.handle_input(&data, now).unwrap();
        assert!(matches!(server.poll_event(), Some(Event::DataReceived { .. })));
    });
    assert_eq!(cost, 1);
}
