//! What the tests of the core stand on: [`Pair`], two connections in memory under a fake clock, and [`Raw`], one connection
//! against a scripted peer that may break every rule.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod block;
pub mod frames;
mod pair;
mod raw;

#[allow(unused_imports, reason = "each test binary uses its own part")]
pub use pair::{Pair, Side};
#[allow(unused_imports, reason = "each test binary uses its own part")]
pub use raw::Raw;

use std::io::IoSlice;
use std::time::Instant;

use stagedoor_protocol::{Config, Connection, Event, Fields, RequestHead, ResponseHead, Window};

/// Takes everything the connection has to say off its output.
pub fn take_output(conn: &mut Connection, now: Instant) -> Vec<u8> {
    let mut taken = Vec::new();
    while conn.poll_output(now) > 0 {
        let before = taken.len();
        {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = conn.output(&mut slices);
            for slice in &slices[..filled] {
                taken.extend_from_slice(slice);
            }
        }
        assert!(taken.len() > before, "poll_output promised octets and output gave none");
        conn.advance_output(taken.len() - before);
    }
    taken
}

/// Takes every event that waits.
pub fn take_events(conn: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| conn.poll_event()).collect()
}

/// Windows of exactly this many octets, that never grow.
pub fn fixed(octets: u32) -> Window {
    Window { start: octets, max: octets }
}

/// A configuration with every window at the 65 535 octets of RFC 9113 §6.9.2.
pub fn plain_windows() -> Config {
    Config { stream_window: fixed(65_535), connection_window: fixed(65_535), ..Config::default() }
}

/// `GET /` at https://example.com.
pub fn get() -> RequestHead {
    RequestHead::new("GET", "https", "example.com", "/")
}

/// `POST /` at https://example.com.
pub fn post() -> RequestHead {
    RequestHead::new("POST", "https", "example.com", "/")
}

/// A request head with fields.
pub fn with(mut head: RequestHead, fields: &[(&str, &str)]) -> RequestHead {
    for (name, value) in fields {
        head.fields_mut().push(name, value);
    }
    head
}

/// A response head without fields.
pub fn status(status: u16) -> ResponseHead {
    ResponseHead::new(status, Fields::new())
}

/// A list of fields.
pub fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().copied().collect()
}
