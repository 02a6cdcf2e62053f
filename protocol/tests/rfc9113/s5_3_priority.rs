//! §5.3: prioritization of RFC 7540 is parsed and ignored.

use crate::prelude::*;

#[test]
fn headers_with_priority_fields_open_a_stream_like_any_other() {
    let mut raw = Raw::server();
    let payload = [&[0x80, 0, 0, 0, 200][..], &block::get()].concat();
    raw.send(frames::headers(1, &payload, frames::END_STREAM | frames::PRIORITY_FLAG));
    raw.expect_opened(1);
    raw.expect_fine();
}

#[test]
fn a_dependency_on_itself_does_not_hurt_the_connection() {
    // RFC 9113 §5.3.2 took the rule of RFC 7540 §5.3.1 back: the field has no meaning any more.
    let mut raw = Raw::server();
    let payload = [&[0, 0, 0, 1, 16][..], &block::get()].concat();
    raw.send(frames::headers(1, &payload, frames::END_STREAM | frames::PRIORITY_FLAG));
    raw.send(frames::priority(3, 3, 16));
    raw.expect_alive();
}

#[test]
fn priority_changes_nothing_of_the_order_of_answers() {
    let mut raw = Raw::server();
    raw.get(1);
    raw.get(3);
    raw.send(frames::priority(1, 3, 0));
    raw.send(frames::priority(3, 0, 255));
    let priorities: Vec<_> = raw.conn.streams().iter().map(|view| view.priority).collect();
    assert_eq!(priorities[0], priorities[1]);
    raw.expect_fine();
}
