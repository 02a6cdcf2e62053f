//! §8.1: message framing: heads, bodies, trailers, informational heads, content-length.

use crate::prelude::*;

const PROTOCOL: ErrorCode = ErrorCode::PROTOCOL_ERROR;

// --- requests ---

#[test]
fn trailers_end_a_request() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::data(1, b"body", frames::NONE));
    raw.send(frames::headers(1, &block::of(&[("x-sum", "1")]), frames::END_STREAM));
    assert_eq!(
        raw.events.last(),
        Some(&Event::TrailersReceived { id: 1.into(), fields: fields(&[("x-sum", "1")]) })
    );
    assert!(!raw.conn.is_receiving(1.into()));
    raw.answer(1);
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn trailers_without_a_body_between_are_allowed() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::headers(1, &block::of(&[("x-sum", "1")]), frames::END_STREAM));
    raw.expect_open(1);
    assert!(raw.ended(1));
}

#[test]
fn a_second_head_without_end_stream_is_malformed() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::headers(1, &block::of(&[("x-sum", "1")]), frames::NONE));
    raw.expect_reset_told(1, PROTOCOL);
}

#[test]
fn trailers_with_a_pseudo_field_are_malformed() {
    for wrong in [(":method", "GET"), (":status", "200"), (":unknown", "x")] {
        let mut raw = Raw::server();
        raw.post(1);
        raw.send(frames::headers(1, &block::of(&[wrong]), frames::END_STREAM));
        raw.expect_reset_told(1, PROTOCOL);
    }
}

#[test]
fn empty_trailers_are_trailers() {
    let mut raw = Raw::server();
    raw.post(1);
    raw.send(frames::headers(1, b"", frames::END_STREAM));
    assert!(raw.ended(1));
    raw.expect_open(1);
}

#[test]
fn trailers_too_large_reset_the_stream() {
    let mut raw = Raw::server_with(Config { max_header_list_size: 1_000, ..Config::default() }, &[]);
    raw.post(1);
    raw.send(frames::headers(1, &block::of(&[("big", &"x".repeat(2_000)[..])]), frames::END_STREAM));
    raw.expect_reset_told(1, ErrorCode::ENHANCE_YOUR_CALM);
}

// --- content-length of requests ---

#[test]
fn a_body_as_long_as_declared_passes_and_any_other_is_malformed() {
    for (octets, passes) in [(3, false), (4, true), (5, false)] {
        let mut raw = Raw::server();
        raw.send(frames::headers(1, &block::post_with(&[("content-length", "4")]), frames::NONE));
        raw.send(frames::data(1, &vec![0; octets], frames::END_STREAM));
        if passes { raw.expect_open(1) } else { raw.expect_reset_told(1, PROTOCOL) }
    }
}

#[test]
fn a_body_over_several_frames_is_summed_without_padding() {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::post_with(&[("content-length", "4")]), frames::NONE));
    raw.send(frames::padded_data(1, b"ab", 10, frames::NONE));
    raw.send(frames::data(1, b"", frames::NONE));
    raw.send(frames::padded_data(1, b"cd", 1, frames::END_STREAM));
    raw.expect_open(1);
    assert_eq!(raw.body(1), b"abcd");
}

#[test]
fn octets_past_the_declared_length_are_malformed_before_the_end() {
    let mut raw = Raw::server();
    raw.send(frames::headers(1, &block::post_with(&[("content-length", "4")]), frames::NONE));
    raw.send(frames::data(1, b"abc", frames::NONE));
    raw.send(frames::data(1, b"de", frames::NONE));
    raw.expect_reset_told(1, PROTOCOL);
}

#[test]
fn end_stream_on_a_head_that_declares_octets_is_malformed() {
    for (length, passes) in [("0", true), ("1", false)] {
        let mut raw = Raw::server();
        raw.send(frames::headers(1, &block::post_with(&[("content-length", length)]), frames::END_STREAM));
        if passes {
            raw.expect_opened(1);
            raw.expect_open(1);
        } else {
            raw.expect_reset(1, PROTOCOL);
            assert!(!raw.opened(1));
        }
    }
}

#[test]
fn trailers_that_come_short_of_the_declared_length_are_malformed() {
    for (octets, passes) in [(3, false), (4, true)] {
        let mut raw = Raw::server();
        raw.send(frames::headers(1, &block::post_with(&[("content-length", "4")]), frames::NONE));
        raw.send(frames::data(1, &vec![0; octets], frames::NONE));
        raw.send(frames::headers(1, &block::of(&[("x-sum", "1")]), frames::END_STREAM));
        if passes { raw.expect_open(1) } else { raw.expect_reset_told(1, PROTOCOL) }
    }
}

#[test]
fn a_content_length_that_is_no_number_is_malformed() {
    for wrong in ["", "-1", "+1", "1 ", "0x1", "1,1", "1.0", "99999999999999999999999"] {
        let mut raw = Raw::server();
        let head = block::post_with(&[("content-length", wrong)]);
        raw.send(frames::headers(1, &head, frames::NONE));
        raw.expect_reset(1, PROTOCOL);
        assert!(!raw.opened(1), "{wrong:?}");
    }
}

#[test]
fn content_length_twice_passes_only_with_the_same_value() {
    for (second, passes) in [("4", true), ("5", false)] {
        let mut raw = Raw::server();
        let head = block::post_with(&[("content-length", "4"), ("content-length", second)]);
        raw.send(frames::headers(1, &head, frames::NONE));
        if passes { raw.expect_open(1) } else { raw.expect_reset(1, PROTOCOL) }
    }
}

// --- responses ---

#[test]
fn a_response_arrives_with_head_body_and_trailers() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status_with("200", &[("server", "x")]), frames::NONE));
    raw.send(frames::data(id, b"body", frames::NONE));
    raw.send(frames::headers(id, &block::of(&[("x-sum", "1")]), frames::END_STREAM));
    assert_eq!(raw.events.len(), 4, "{:?}", raw.events);
    assert!(matches!(&raw.events[0], Event::ResponseReceived { head, end_stream: false, .. }
        if head.status == 200 && head.fields == fields(&[("server", "x")])));
    assert!(matches!(&raw.events[1], Event::DataReceived { end_stream: false, .. }));
    assert!(matches!(&raw.events[2], Event::TrailersReceived { .. }));
    assert_eq!(raw.closed(id), [Cause::EndStream]);
}

#[test]
fn informational_heads_come_before_the_final_one() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    for informational in ["100", "103", "103", "199"] {
        raw.send(frames::headers(id, &block::status(informational), frames::NONE));
    }
    raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
    let told: Vec<_> = raw
        .events
        .iter()
        .filter_map(|event| match event {
            Event::InformationalReceived { head, .. } => Some(head.status),
            Event::ResponseReceived { head, .. } => Some(1000 + head.status),
            _ => None,
        })
        .collect();
    assert_eq!(told, [100, 103, 103, 199, 1200]);
    assert_eq!(raw.closed(id), [Cause::EndStream]);
}

#[test]
fn an_informational_head_with_end_stream_is_malformed() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status("103"), frames::END_STREAM));
    raw.expect_reset_told(id, PROTOCOL);
}

#[test]
fn an_informational_head_after_the_final_one_is_malformed() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status("200"), frames::NONE));
    raw.send(frames::headers(id, &block::status("103"), frames::NONE));
    raw.expect_reset_told(id, PROTOCOL);
}

#[test]
fn data_before_the_final_head_is_malformed() {
    for informational in [false, true] {
        let mut raw = Raw::client();
        let id = raw.ask_get();
        if informational {
            raw.send(frames::headers(id, &block::status("100"), frames::NONE));
        }
        raw.send(frames::data(id, b"x", frames::NONE));
        raw.expect_reset_told(id, PROTOCOL);
    }
}

#[test]
fn a_response_body_as_long_as_declared_passes_and_any_other_is_malformed() {
    for (octets, passes) in [(3, false), (4, true), (5, false)] {
        let mut raw = Raw::client();
        let id = raw.ask_get();
        raw.send(frames::headers(id, &block::status_with("200", &[("content-length", "4")]), frames::NONE));
        raw.send(frames::data(id, &vec![0; octets], frames::END_STREAM));
        if passes {
            assert_eq!(raw.closed(id), [Cause::EndStream]);
            raw.expect_fine();
        } else {
            raw.expect_malformed_at_its_end(id);
        }
    }
}

#[test]
fn a_response_without_the_octets_it_declares_is_malformed() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status_with("200", &[("content-length", "4")]), frames::END_STREAM));
    raw.expect_malformed_at_its_end(id);
    assert!(!raw.log.iter().any(|event| matches!(event, Event::ResponseReceived { .. })));
}

#[test]
fn answers_to_head_and_304_declare_octets_they_do_not_bring() {
    let head = RequestHead::new("HEAD", "https", "example.com", "/");
    for (request, code) in [(head, "200"), (get(), "304")] {
        let mut raw = Raw::client();
        let id = raw.ask(&request, true);
        raw.send(frames::headers(
            id,
            &block::status_with(code, &[("content-length", "4")]),
            frames::END_STREAM,
        ));
        assert_eq!(raw.closed(id), [Cause::EndStream]);
        raw.expect_fine();
    }
}

#[test]
fn an_answer_to_head_may_end_with_an_empty_frame_and_brings_no_octets() {
    let head = RequestHead::new("HEAD", "https", "example.com", "/");
    for (octets, passes) in [(0, true), (1, false)] {
        let mut raw = Raw::client();
        let id = raw.ask(&head, true);
        raw.send(frames::headers(id, &block::status_with("200", &[("content-length", "4")]), frames::NONE));
        raw.send(frames::data(id, &vec![0; octets], frames::END_STREAM));
        if passes {
            assert_eq!(raw.closed(id), [Cause::EndStream]);
        } else {
            raw.expect_malformed_at_its_end(id);
        }
    }
}

#[test]
fn trailers_of_a_response_must_end_it() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status("200"), frames::NONE));
    raw.send(frames::headers(id, &block::of(&[("x", "y")]), frames::NONE));
    raw.expect_reset_told(id, PROTOCOL);
}

#[test]
fn trailers_of_a_response_have_no_status() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status("200"), frames::NONE));
    raw.send(frames::headers(id, &block::status("200"), frames::END_STREAM));
    raw.expect_reset_told(id, PROTOCOL);
}

#[test]
fn a_response_before_the_request_is_complete_leaves_the_request_going() {
    let mut raw = Raw::client();
    let id = raw.ask(&post(), false);
    raw.send(frames::headers(id, &block::status("413"), frames::END_STREAM));
    assert!(raw.closed(id).is_empty());
    raw.send(frames::rst(id, ErrorCode::NO_ERROR));
    assert_eq!(raw.closed(id), [Cause::Reset { by: Origin::Remote, code: ErrorCode::NO_ERROR }]);
    raw.expect_fine();
}

#[test]
fn a_reset_without_error_before_the_end_of_a_response_is_a_reset_all_the_same() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status("200"), frames::NONE));
    raw.send(frames::data(id, b"half", frames::NONE));
    raw.send(frames::rst(id, ErrorCode::NO_ERROR));
    assert_eq!(raw.closed(id), [Cause::Reset { by: Origin::Remote, code: ErrorCode::NO_ERROR }]);
    assert!(!raw.ended(id), "a truncated body is not an ended one");
}

// --- what we send ---

#[test]
fn our_answers_keep_to_their_content_length() {
    let id = StreamId::from(1);
    let head = stagedoor_protocol::ResponseHead::new(200, fields(&[("content-length", "4")]));
    for (octets, end, passes) in [(4, true, true), (3, true, false), (5, false, false)] {
        let mut raw = Raw::server();
        raw.get(1);
        raw.act(|conn| conn.send_response(id, &head, false)).unwrap();
        let said = raw.act(|conn| conn.send_data(id, Bytes::from(vec![0; octets]), end));
        assert_eq!(said.is_ok(), passes, "{said:?}");
        assert!(passes || matches!(said, Err(UserError::ContentLength { declared: 4, .. })), "{said:?}");
    }
}

#[test]
fn our_trailers_come_when_all_declared_octets_were_given() {
    let id = StreamId::from(1);
    let head = stagedoor_protocol::ResponseHead::new(200, fields(&[("content-length", "4")]));
    for (octets, passes) in [(3, false), (4, true)] {
        let mut raw = Raw::server();
        raw.get(1);
        raw.act(|conn| conn.send_response(id, &head, false)).unwrap();
        raw.act(|conn| conn.send_data(id, Bytes::from(vec![0; octets]), false)).unwrap();
        let said = raw.act(|conn| conn.send_trailers(id, fields(&[("x-sum", "1")])));
        assert_eq!(said.is_ok(), passes, "{said:?}");
        assert_eq!(raw.closed(1).len(), usize::from(passes));
    }
}

#[test]
fn a_head_that_declares_octets_cannot_end_at_once() {
    let head = stagedoor_protocol::ResponseHead::new(200, fields(&[("content-length", "4")]));
    let mut raw = Raw::server();
    raw.get(1);
    let said = raw.act(|conn| conn.send_response(1.into(), &head, true));
    assert!(matches!(said, Err(UserError::ContentLength { .. })), "{said:?}");
    raw.answer(1);
    let mut raw = Raw::client();
    let said = raw.act(|conn| conn.send_request(&with(post(), &[("content-length", "4")]), true));
    assert!(matches!(said, Err(UserError::ContentLength { .. })), "{said:?}");
    assert_eq!(raw.ask_get(), 1);
}

#[test]
fn an_answer_to_head_declares_octets_and_ends_at_once() {
    let mut pair = Pair::connected();
    let id = pair.request(&RequestHead::new("HEAD", "https", "example.com", "/"), true);
    let head = stagedoor_protocol::ResponseHead::new(200, fields(&[("content-length", "4")]));
    pair.respond(id, &head, b"");
    assert_eq!(pair.client.closed(), [(id, Cause::EndStream)]);
}

#[test]
fn our_informational_heads_come_before_the_final_one() {
    let mut raw = Raw::server();
    raw.get(1);
    let id = StreamId::from(1);
    raw.act(|conn| conn.send_informational(id, &status(103))).unwrap();
    for wrong in [101, 200, 99] {
        assert_eq!(
            raw.act(|conn| conn.send_informational(id, &status(wrong))),
            Err(UserError::InvalidStatus(wrong))
        );
    }
    for wrong in [100, 103, 101, 199, 1000] {
        assert_eq!(
            raw.act(|conn| conn.send_response(id, &status(wrong), true)),
            Err(UserError::InvalidStatus(wrong))
        );
    }
    raw.answer(1);
    let told: Vec<_> = raw.sections.iter().map(|(_, fields)| fields[0].1.clone()).collect();
    assert_eq!(told, ["103", "200"]);
    let flags: Vec<_> = raw.frames.iter().map(|frame| frame.flags).collect();
    assert_eq!(flags, [frames::END_HEADERS, frames::END_HEADERS | frames::END_STREAM]);
}

#[test]
fn a_pair_exchanges_bodies_and_trailers_both_ways() {
    let mut pair = Pair::connected();
    let id = pair.request(&post(), false);
    pair.client.conn.send_data(id, Bytes::from_static(b"question"), false).unwrap();
    pair.client.conn.send_trailers(id, fields(&[("x-q", "1")])).unwrap();
    pair.drive();
    pair.server.conn.send_response(id, &status(200), false).unwrap();
    pair.server.conn.send_data(id, Bytes::from_static(b"answer"), false).unwrap();
    pair.server.conn.send_trailers(id, fields(&[("x-a", "2")])).unwrap();
    pair.drive();
    assert_eq!(pair.server.body(id), (b"question".to_vec(), true));
    assert_eq!(pair.client.body(id), (b"answer".to_vec(), true));
    assert!(pair.server.events.contains(&Event::TrailersReceived { id, fields: fields(&[("x-q", "1")]) }));
    assert!(pair.client.events.contains(&Event::TrailersReceived { id, fields: fields(&[("x-a", "2")]) }));
    assert_eq!(pair.client.closed(), [(id, Cause::EndStream)]);
    assert_eq!(pair.server.closed(), [(id, Cause::EndStream)]);
}

#[test]
fn a_hundred_informational_heads_pass_and_one_more_resets_the_stream() {
    let mut raw = Raw::client();
    let id = raw.ask_get();
    for _ in 0..100 {
        raw.send(frames::headers(id, &block::status("103"), frames::NONE));
    }
    raw.expect_open(id);
    raw.send(frames::headers(id, &block::status("103"), frames::NONE));
    raw.expect_reset_told(id, ErrorCode::ENHANCE_YOUR_CALM);
    let mut raw = Raw::client_with(Config { max_informational: 0, ..Config::default() }, &[]);
    let id = raw.ask_get();
    raw.send(frames::headers(id, &block::status("100"), frames::NONE));
    raw.expect_reset_told(id, ErrorCode::ENHANCE_YOUR_CALM);
}
