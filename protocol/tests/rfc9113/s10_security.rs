//! §10: security: what costs more than it looks has a budget, and the one who spends it hears ENHANCE_YOUR_CALM.

use crate::prelude::*;
use stagedoor_protocol::Rate;

const CALM: ErrorCode = ErrorCode::ENHANCE_YOUR_CALM;

/// Says `frame(n)` again and again until the connection fails, at most `most` times; how often it was said.
fn until_calm(raw: &mut Raw, most: usize, limit: Limit, mut frame: impl FnMut(usize) -> Vec<u8>) -> usize {
    for n in 0..most {
        raw.send(frame(n));
        if raw.result.is_err() {
            assert_eq!(raw.result, Err(ConnectionError::Calm(limit)));
            raw.expect_goaway(CALM);
            return n;
        }
    }
    panic!("{limit} was not reached after {most} frames");
}

// --- header blocks (§10.5.1) ---

#[test]
fn a_header_list_at_the_limit_passes_and_one_octet_more_is_answered_431() {
    // The pseudo fields of block::get() count as well.
    let base = [(":method", "GET"), (":scheme", "https"), (":authority", "example.com"), (":path", "/")];
    let size: usize = base.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    for (extra, passes) in [(0, true), (1, false)] {
        let mut raw = Raw::server_with(Config { max_header_list_size: 1_000, ..Config::default() }, &[]);
        let value = "v".repeat(1_000 - size - 33 + extra);
        raw.send(frames::headers(1, &block::get_with(&[("x", &value)]), frames::NONE));
        if passes {
            assert!(raw.events.iter().any(|event| matches!(event, Event::StreamOpened { .. })));
            raw.expect_open(1);
            continue;
        }
        assert_eq!(raw.events, [Event::HeadTooLarge { id: 1.into() }]);
        // The rest of the request is dropped, the answer goes out.
        raw.send(frames::data(1, b"ignored", frames::NONE));
        assert!(raw.body(1).is_empty());
        raw.act(|conn| conn.send_response(1.into(), &status(431), true)).unwrap();
        assert_eq!(raw.sections[0].1[0], (":status".to_owned(), "431".to_owned()));
        raw.send(frames::data(1, b"", frames::END_STREAM));
        assert_eq!(raw.closed(1).len(), 1);
        raw.expect_alive();
    }
}

#[test]
fn trailers_behind_a_head_too_large_are_dropped() {
    let mut raw = Raw::server_with(Config { max_header_list_size: 300, ..Config::default() }, &[]);
    raw.send(frames::headers(1, &block::post_with(&[("x", &"v".repeat(300))]), frames::NONE));
    raw.send(frames::headers(1, &block::of(&[("x-sum", "1")]), frames::END_STREAM));
    assert_eq!(raw.events, [Event::HeadTooLarge { id: 1.into() }]);
    raw.expect_open(1);
    raw.answer(1);
    assert_eq!(raw.closed(1), [Cause::EndStream]);
}

#[test]
fn a_number_of_fields_at_the_limit_passes_and_one_more_is_answered_431() {
    for (fields, passes) in [(6, true), (7, false)] {
        let mut raw = Raw::server_with(Config { max_header_fields: 10, ..Config::default() }, &[]);
        let head = [block::get(), block::literal("cookie", "a").repeat(fields)].concat();
        raw.send(frames::headers(1, &head, frames::END_STREAM));
        assert_eq!(raw.events.contains(&Event::HeadTooLarge { id: 1.into() }), !passes, "{:?}", raw.events);
        raw.expect_open(1);
    }
}

#[test]
fn the_limit_of_header_lists_is_announced() {
    let mut raw = Raw::bare(Role::Server, Config { max_header_list_size: 12_345, ..Config::default() });
    raw.send(frames::PREFACE);
    assert!(raw.frames[0].settings().contains(&(setting::MAX_HEADER_LIST_SIZE, 12_345)));
}

#[test]
fn a_response_head_too_large_resets_its_stream_with_the_tables_in_step() {
    let mut raw = Raw::client_with(Config { max_header_list_size: 1_000, ..Config::default() }, &[]);
    let ids = [raw.ask_get(), raw.ask_get()];
    let big = [block::status_with("200", &[("x", &"v".repeat(1_000))]), block::indexed_literal("k", "kept")]
        .concat();
    raw.send(frames::headers(ids[0], &big, frames::END_STREAM));
    assert_eq!(raw.closed(ids[0]).len(), 1);
    assert!(!raw.log.iter().any(|event| matches!(event, Event::ResponseReceived { .. })));
    raw.send(frames::headers(ids[1], &[block::status("200"), block::index(62)].concat(), frames::END_STREAM));
    let head = raw.log.iter().find_map(|event| match event {
        Event::ResponseReceived { head, .. } => Some(head.clone()),
        _ => None,
    });
    assert_eq!(head.unwrap().fields.get("k"), Some(&b"kept"[..]));
    raw.expect_alive();
}

#[test]
fn a_header_list_far_beyond_the_limit_ends_the_connection() {
    // 200 references to one entry of 3 000 octets: 600 000 octets out of a few hundred (CVE-2016-6581).
    let mut raw = Raw::server();
    let entry = block::indexed_literal("x", "v".repeat(3_000));
    let bomb = [block::get(), entry, block::index(62).repeat(200)].concat();
    raw.send(frames::headers(1, &bomb, frames::END_STREAM));
    assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::HeaderList)));
    raw.expect_goaway(CALM);
}

#[test]
fn eight_continuations_pass_and_nine_end_the_connection() {
    for (count, passes) in [(8, true), (9, false)] {
        let mut raw = Raw::server();
        let head = block::get();
        raw.send(frames::headers_open(1, &head[..4], frames::END_STREAM));
        for n in 1..=count {
            let flags = if n == count { frames::END_HEADERS } else { frames::NONE };
            let part = if n == count { &head[4 + n - 1..] } else { &head[4 + n - 1..4 + n] };
            raw.send(frames::continuation(1, part, flags));
        }
        if passes {
            raw.expect_opened(1);
            raw.expect_fine();
        } else {
            assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::Continuations)));
            raw.expect_goaway(CALM);
        }
    }
}

#[test]
fn one_empty_fragment_of_a_block_passes_and_a_second_ends_the_connection() {
    for (empty, passes) in [(1, true), (2, false)] {
        let mut raw = Raw::server();
        raw.send(frames::headers_open(1, &block::get(), frames::END_STREAM));
        for _ in 0..empty {
            raw.send(frames::continuation(1, b"", frames::NONE));
        }
        if passes {
            raw.send(frames::continuation(1, b"", frames::END_HEADERS));
            raw.expect_opened(1);
            raw.expect_fine();
        } else {
            assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::EmptyContinuations)));
            raw.expect_goaway(CALM);
        }
    }
}

#[test]
fn an_encoded_block_without_end_ends_the_connection() {
    // 64 KiB in four frames pass, by whatever they decode to; the octet behind them does not.
    let block = [block::get(), block::literal("x", "v".repeat(100_000))].concat();
    let mut raw = Raw::server();
    raw.send(frames::headers_open(1, &block[..16_384], frames::END_STREAM));
    for n in 1..4 {
        raw.send(frames::continuation(1, &block[n * 16_384..][..16_384], frames::NONE));
    }
    raw.expect_no_goaway();
    raw.send(frames::continuation(1, b"v", frames::NONE));
    assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::HeaderBlockBytes)));
    raw.expect_goaway(CALM);
}

// --- frames that cost more than they carry (§10.5) ---

#[test]
fn a_flood_of_resets_ends_the_connection() {
    let mut raw = Raw::server();
    let said = until_calm(&mut raw, 2_000, Limit::ResetsReceived, |n| {
        let id = 2 * n as u32 + 1;
        [frames::headers(id, &block::get(), frames::END_STREAM), frames::rst(id, ErrorCode::CANCEL)].concat()
    });
    // 128 linger at most, the others were refused; each reset counts, before an answer twice.
    assert!((128..=300).contains(&said), "{said}");
}

#[test]
fn a_reset_before_the_answer_costs_double() {
    let until = |answered: bool| {
        let mut raw = Raw::server();
        for n in 0..2_000 {
            let id = 2 * n + 1;
            raw.send(frames::headers(id, &block::get(), frames::END_STREAM));
            if answered {
                raw.act(|conn| conn.send_response(id.into(), &status(200), false)).unwrap();
            }
            raw.send(frames::rst(id, ErrorCode::CANCEL));
            raw.act(|conn| conn.release_stream(id.into()));
            if raw.result.is_err() {
                assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::ResetsReceived)));
                return n;
            }
        }
        panic!("no end of resets");
    };
    assert_eq!((until(false), until(true)), (150, 300));
}

#[test]
fn the_allowances_of_resets_are_those_of_the_owner() {
    type Frames = fn(u32) -> Vec<u8>;
    let rate = Rate { burst: 10, per_second: 2 };
    let budgets = Budgets { resets_received: rate, resets_provoked: rate, ..Budgets::default() };
    let config = Config { budgets, ..Config::default() };
    let reset = |id| {
        let head = frames::headers(id, &block::get(), frames::END_STREAM);
        [head, frames::rst(id, ErrorCode::CANCEL)].concat()
    };
    let provoke =
        |id| [frames::headers(id, &block::post(), frames::NONE), frames::window_update(id, 0)].concat();
    // Five before the answer, which count double, or ten stream errors; each second gives two back.
    let kinds: [(usize, Limit, Frames); 2] =
        [(5, Limit::ResetsReceived, reset), (10, Limit::ResetsProvoked, provoke)];
    for (allowed, limit, frames) in kinds {
        let mut raw = Raw::server_with(config.clone(), &[]);
        (0..allowed).for_each(|n| raw.send(frames(2 * n as u32 + 1)));
        raw.advance(Duration::from_secs(5));
        assert_eq!(raw.result, Ok(()), "{limit}");
        let said = until_calm(&mut raw, 100, limit, |n| frames(2 * (allowed + n) as u32 + 1));
        assert_eq!(said, allowed, "{limit}");
    }
}

#[test]
fn resets_at_the_pace_of_a_person_pass() {
    let mut raw = Raw::server();
    for n in 0..1_000 {
        let id = 2 * n + 1;
        raw.get(id);
        raw.send(frames::rst(id, ErrorCode::CANCEL));
        raw.act(|conn| conn.release_stream(id.into()));
        raw.advance(Duration::from_millis(100));
    }
    raw.expect_fine();
}

#[test]
fn a_flood_of_provoked_resets_ends_the_connection() {
    let mut raw = Raw::server();
    for n in 0..2_000 {
        let id = 2 * n + 1;
        raw.send([frames::headers(id, &block::post(), frames::NONE), frames::window_update(id, 0)].concat());
        if raw.result.is_err() {
            assert!((100..1_000).contains(&n), "{n}");
            assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::ResetsProvoked)));
            raw.expect_goaway(CALM);
            return;
        }
        raw.act(|conn| conn.release_stream(id.into()));
    }
    panic!("no end of resets");
}

#[test]
fn a_flood_of_refused_streams_ends_the_connection() {
    let mut raw = Raw::server_with(Config { max_concurrent_streams: 10, ..Config::default() }, &[]);
    for id in (1..20).step_by(2) {
        raw.get(id);
    }
    let mut said = 0;
    while raw.result.is_ok() {
        raw.send(frames::headers(21 + 2 * said, &block::get(), frames::END_STREAM));
        said += 1;
        assert!(said < 2_000);
    }
    assert!(said >= 10, "{said}");
    raw.expect_goaway(CALM);
}

#[test]
fn a_flood_of_streams_behind_a_drain_ends_the_connection() {
    let mut raw = Raw::server();
    let now = raw.now;
    raw.act(|conn| conn.drain(now));
    raw.advance(Duration::from_secs(1));
    raw.frames.clear();
    let said = until_calm(&mut raw, 2_000, Limit::RefusedStreams, |n| {
        frames::headers(2 * n as u32 + 1, &block::get(), frames::END_STREAM)
    });
    assert!(said >= 128, "{said}: all that may have crossed GOAWAY pass");
}

#[test]
fn a_flood_of_pings_ends_the_connection() {
    let mut raw = Raw::server();
    let said = until_calm(&mut raw, 100_000, Limit::Pings, |n| frames::ping((n as u64).to_be_bytes()));
    assert!(said >= 50, "{said}");
}

#[test]
fn a_flood_of_answers_to_no_ping_ends_the_connection() {
    let mut raw = Raw::server();
    let said = until_calm(&mut raw, 100_000, Limit::Pings, |_| frames::ping_ack([0; 8]));
    assert!(said >= 50, "{said}");
}

#[test]
fn a_flood_of_settings_ends_the_connection() {
    let mut raw = Raw::server();
    let said = until_calm(&mut raw, 100_000, Limit::Settings, |_| frames::settings(&[]));
    assert!(said >= 10, "{said}");
}

#[test]
fn thirty_two_settings_in_a_frame_pass_and_thirty_three_end_the_connection() {
    for (count, passes) in [(32, true), (33, false)] {
        let mut raw = Raw::server();
        raw.send(frames::settings(&vec![(0x99, 1); count]));
        if passes {
            raw.expect_fine();
        } else {
            assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::SettingsEntries)));
            raw.expect_goaway(CALM);
        }
    }
}

#[test]
fn a_flood_of_empty_data_ends_the_connection() {
    let mut raw = Raw::server();
    raw.post(1);
    let said = until_calm(&mut raw, 10_000, Limit::EmptyData, |_| frames::data(1, b"", frames::NONE));
    assert_eq!(said, 100, "100 pass");
}

#[test]
fn a_flood_of_padding_alone_ends_the_connection() {
    let mut raw = Raw::server();
    raw.post(1);
    let said =
        until_calm(&mut raw, 10_000, Limit::EmptyData, |_| frames::padded_data(1, b"", 255, frames::NONE));
    assert!(said >= 50, "{said}");
}

#[test]
fn a_flood_of_window_updates_ends_the_connection() {
    let mut raw = Raw::server();
    raw.post(1);
    let said = until_calm(&mut raw, 100_000, Limit::WindowUpdates, |_| frames::window_update(1, 1));
    assert!(said >= 5, "{said}");
}

#[test]
fn a_flood_of_priorities_ends_the_connection() {
    let mut raw = Raw::server();
    let said = until_calm(&mut raw, 100_000, Limit::Priorities, |n| {
        frames::priority(1 + 2 * (n as u32 % 1000), 0, 1)
    });
    assert!(said >= 50, "{said}");
    let mut raw = Raw::server();
    let said = until_calm(&mut raw, 100_000, Limit::Priorities, |n| {
        frames::priority_update(1, ["u=1", "u=2"][n % 2])
    });
    assert!(said >= 50, "{said}");
}

#[test]
fn a_flood_of_unknown_frames_ends_the_connection() {
    let mut raw = Raw::server();
    let said =
        until_calm(&mut raw, 1_000_000, Limit::UnknownFrames, |_| frames::unknown(0xbe, 0, 0, &[0; 1_000]));
    assert!(said >= 50, "{said}");
}

#[test]
fn unknown_frames_beside_real_work_pass() {
    let mut raw = Raw::server();
    raw.post(1);
    for _ in 0..3_000 {
        raw.send(frames::data(1, &[0; 1_000], frames::NONE));
        raw.act(|conn| conn.consume(1.into(), 1_000));
        raw.send(frames::unknown(0xbe, 0, 0, &[0; 2_000]));
    }
    raw.expect_open(1);
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_not_read_from_and_then_cut_off() {
    let config = Config::default();
    let mut raw = Raw::server_with(config, &[]);
    // Straight into the connection: nobody takes the output.
    let mut unread_at = None;
    for n in 0..200_000u64 {
        // Enough time between that the pace of the PINGs themselves is no matter.
        raw.now += Duration::from_millis(200);
        if let Err(error) = raw.conn.handle_input(&frames::ping(n.to_be_bytes()), raw.now) {
            assert_eq!(error, ConnectionError::Calm(Limit::OutstandingAcks));
            assert!(unread_at.is_some(), "first it stops reading");
            return;
        }
        while raw.conn.poll_event().is_some() {}
        if unread_at.is_none() && !raw.conn.wants_input() {
            unread_at = Some(n);
        }
    }
    panic!("the queue has no end");
}

#[test]
fn resets_of_our_own_are_not_charged_to_the_peer() {
    let mut raw = Raw::client();
    let ids: Vec<_> = (0..2_000).map(|_| raw.ask_get()).collect();
    for id in ids {
        raw.conn.reset_stream(id.into(), ErrorCode::CANCEL).unwrap();
    }
    raw.conn.handle_input(&frames::ping([0; 8]), raw.now).unwrap();
    raw.expect_alive();
}

#[test]
fn wants_input_again_when_the_output_was_taken() {
    let mut raw = Raw::server();
    let mut n = 0u64;
    while raw.conn.wants_input() {
        raw.now += Duration::from_millis(200);
        raw.conn.handle_input(&frames::ping(n.to_be_bytes()), raw.now).unwrap();
        n += 1;
        assert!(n < 10_000);
    }
    raw.pump();
    assert!(raw.conn.wants_input());
    assert_eq!(raw.of_kind(frames::PING).len(), n as usize);
}

#[test]
fn answers_that_nobody_takes_stop_the_reading() {
    // Whoever does not read cannot know that streams have ended: without this more of them would be refused.
    let budgets = Budgets { new_streams: u32::MAX, ..Budgets::default() };
    let mut raw = Raw::server_with(Config { budgets, ..Config::default() }, &[]);
    let head = stagedoor_protocol::ResponseHead::new(200, fields(&[("x-long", &"~".repeat(4_000))]));
    let mut id = 1;
    while raw.conn.wants_input() {
        raw.conn.handle_input(&frames::headers(id, &block::get(), frames::END_STREAM), raw.now).unwrap();
        raw.conn.send_response(id.into(), &head, true).unwrap();
        id += 2;
        assert!(
            raw.conn.queued() <= (1 << 20) + 8_192,
            "{} octets wait for a peer that does not read",
            raw.conn.queued()
        );
    }
    raw.pump();
    assert!(raw.conn.wants_input());
    raw.expect_fine();
}

#[test]
fn memory_is_near_nothing_again_when_all_is_over() {
    let mut pair = Pair::connected();
    let before = pair.server.conn.memory();
    for _ in 0..50 {
        let id = pair.request(&with(post(), &[("x-some", "value")]), false);
        pair.client.conn.send_data(id, Bytes::from(vec![0; 30_000]), true).unwrap();
        pair.drive();
        pair.respond(id, &status(200), &[1; 30_000]);
        pair.server.conn.release_stream(id);
        pair.client.conn.release_stream(id);
    }
    pair.client.conn.shrink();
    pair.server.conn.shrink();
    let after = pair.server.conn.memory();
    assert!(after <= before + 10_000, "{before} {after}");
    assert_eq!(pair.server.conn.queued(), 0);
    assert!(pair.server.conn.streams().is_empty());
}

#[test]
fn a_closed_connection_keeps_nothing_of_what_was_half_said() {
    let mut raw = Raw::server();
    raw.send(frames::headers_open(1, &[0; 16_000], frames::NONE));
    raw.send(frames::continuation(1, &[0; 16_000], frames::NONE));
    raw.send(&frames::continuation(1, &[0; 16_000], frames::NONE)[..10_000]);
    assert!(raw.conn.memory() > 40_000, "{}", raw.conn.memory());
    raw.act(|conn| conn.close(ErrorCode::NO_ERROR, b""));
    raw.act(|conn| conn.shrink());
    assert!(raw.conn.memory() < 2_000, "{}", raw.conn.memory());
    assert_eq!(raw.conn.next_deadline(), None);
}
