//! The named limits beside RFC 9113 §10: where one octet more or less decides, that innocent peers pass, and that
//! what was reached is told. Memory has a file of its own.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod support;

use std::time::Duration;

use bytes::Bytes;
use stagedoor_protocol::{Budgets, Config, ConnectionError, ErrorCode, Event, Limit, Rate, ResponseHead};
use support::{Raw, block, fields, fixed, frames, status};

fn server(change: impl FnOnce(&mut Config)) -> Raw {
    let mut config = Config::default();
    change(&mut config);
    Raw::server_with(config, &[])
}

/// Says `frame(n)` until the connection ends; how often that went well.
fn until(raw: &mut Raw, limit: Limit, mut frame: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for n in 0..1_000_000 {
        raw.send(frame(n));
        if raw.result.is_err() {
            assert_eq!(raw.result, Err(ConnectionError::Calm(limit)));
            let debug = raw.goaways().last().cloned().expect("GOAWAY");
            assert!(debug.ends_with(limit.name()), "{debug:?} names {limit}");
            assert_eq!(raw.conn.take_trips(), [(limit, 1)]);
            return n;
        }
    }
    panic!("{limit} was never reached");
}

#[test]
fn small_data_that_nobody_reads_is_ended_at_its_budget() {
    let mut raw = server(|_| {});
    raw.post(1);
    // Each of one octet falls short by 255: a hundred of them by 25 500, one more by 25 755; and the reader has its chance.
    assert_eq!(until(&mut raw, Limit::SmallData, |_| frames::data(1, b"x", frames::NONE)), 101);
}

#[test]
fn small_data_that_comes_at_once_is_judged_when_its_reader_had_its_chance() {
    let mut raw = server(|_| {});
    raw.post(1);
    for _ in 0..20 {
        raw.send(frames::data(1, b"x", frames::NONE).repeat(3_000));
        assert_eq!(raw.result, Ok(()));
        raw.act(|conn| conn.consume(1.into(), 3_000));
    }
    raw.expect_alive();
}

#[test]
fn small_data_that_is_read_passes_for_ever() {
    let mut raw = server(|_| {});
    raw.post(1);
    for _ in 0..10_000 {
        raw.send(frames::data(1, b"x", frames::NONE));
        raw.act(|conn| conn.consume(1.into(), 1));
    }
    raw.expect_alive();
}

#[test]
fn real_octets_make_up_for_small_data() {
    let mut raw = server(|config| config.stream_window = fixed(8 << 20));
    raw.post(1);
    // 90 short by 255 each, then one frame that brings 16 128 more than its share.
    for _ in 0..20 {
        for _ in 0..60 {
            raw.send(frames::data(1, b"x", frames::NONE));
        }
        raw.send(frames::data(1, &[7; 16_384], frames::NONE));
        assert_eq!(raw.result, Ok(()));
    }
    raw.expect_open(1);
}

#[test]
fn what_a_window_of_one_octet_forces_is_not_charged() {
    for (stream, connection) in [(1, 1 << 20), (1 << 20, 65_535)] {
        let mut raw = server(|config| {
            config.stream_window = fixed(stream);
            config.connection_window = fixed(connection);
        });
        for n in 0..200 {
            let id = 2 * n + 1;
            raw.post(id);
            let open = raw.conn.recv_window().min(raw.conn.stream(id.into()).unwrap().recv_window);
            // As much as the window has, be it one octet; nobody reads it.
            let piece = vec![7; open.clamp(0, 16_384) as usize];
            raw.send(frames::data(id, &piece, frames::NONE));
            assert_eq!(raw.result, Ok(()));
            raw.send(frames::rst(id, ErrorCode::CANCEL));
            raw.act(|conn| conn.release_stream(id.into()));
            raw.advance(Duration::from_millis(100));
        }
        raw.expect_fine();
    }
}

#[test]
fn a_stream_with_a_window_of_one_octet_may_stay_unread_for_ever() {
    // All of 128 streams hold one octet each, which is all their windows let through.
    let mut raw = server(|config| config.stream_window = fixed(1));
    for n in 0..128 {
        raw.post(2 * n + 1);
        raw.send(frames::data(2 * n + 1, b"x", frames::NONE));
    }
    raw.expect_fine();
}

#[test]
fn data_on_a_stream_that_is_gone_is_a_flood_only_where_it_is_thin() {
    let mut raw = server(|_| {});
    raw.post(1);
    raw.send(frames::window_update(1, 0));
    // A whole window that was on its way.
    for _ in 0..16 {
        raw.send(frames::data(1, &[7; 16_384], frames::NONE));
        assert_eq!(raw.result, Ok(()));
    }
    let thin = frames::data(1, b"x", frames::NONE);
    let mut said = 0u64;
    while raw.result.is_ok() {
        raw.send(&thin);
        said += 1;
        assert!(said < 100_000);
    }
    assert_eq!(raw.result, Err(ConnectionError::Calm(Limit::UnknownFrames)));
}

#[test]
fn small_last_frames_pass() {
    let mut raw = server(|_| {});
    for n in 0..1_000 {
        let id = 2 * n + 1;
        raw.send(frames::headers(id, &block::post(), frames::NONE));
        raw.send(frames::data(id, b"{}", frames::END_STREAM));
        raw.act(|conn| conn.send_response(id.into(), &status(204), true)).unwrap();
    }
    raw.expect_fine();
}

#[test]
fn empty_data_beside_data_passes_for_ever() {
    let mut raw = server(|_| {});
    raw.post(1);
    for _ in 0..10_000 {
        raw.send(frames::data(1, b"", frames::NONE));
        raw.send(frames::data(1, b"x", frames::NONE));
        raw.act(|conn| conn.consume(1.into(), 1));
    }
    raw.expect_alive();
}

#[test]
fn a_reader_that_gives_back_what_it_read_in_small_pieces_passes() {
    let mut raw = server(|_| {});
    raw.get(1);
    let head = ResponseHead::new(200, fields(&[]));
    raw.act(|conn| conn.send_response(1.into(), &head, false)).unwrap();
    for _ in 0..50 {
        raw.act(|conn| conn.send_data(1.into(), Bytes::from(vec![7; 16_384]), false)).unwrap();
        for _ in 0..128 {
            raw.send(frames::window_update(1, 128));
            raw.send(frames::window_update(0, 128));
            assert_eq!(raw.result, Ok(()), "128 octets at a time");
        }
    }
    raw.expect_alive();
}

#[test]
fn answers_to_no_ping_are_invalid_frames_too() {
    let mut raw = server(|config| config.budgets.pings = Rate { burst: u32::MAX, per_second: 0 });
    let said = until(&mut raw, Limit::InvalidFrames, |n| frames::ping_ack(u64::from(n).to_be_bytes()));
    assert_eq!(said, 1_000);
}

#[test]
fn invalid_frames_below_the_rate_of_provoked_resets_add_up() {
    let mut raw = server(|_| {});
    for n in 0..2_000u32 {
        let id = 2 * n + 1;
        // Eight a second: the rate gives ten back.
        raw.advance(Duration::from_millis(125));
        raw.send([frames::headers(id, &block::post(), frames::NONE), frames::window_update(id, 0)].concat());
        if raw.result.is_err() {
            assert_eq!((n, &raw.result), (1_000, &Err(ConnectionError::Calm(Limit::InvalidFrames))));
            return;
        }
        raw.act(|conn| conn.release_stream(id.into()));
    }
    panic!("no end of invalid frames");
}

#[test]
fn an_invalid_frame_beside_each_good_stream_passes() {
    let mut raw = server(|_| {});
    for n in 0..3_000u32 {
        raw.advance(Duration::from_millis(125));
        let (bad, good) = (4 * n + 1, 4 * n + 3);
        raw.send(
            [frames::headers(bad, &block::post(), frames::NONE), frames::window_update(bad, 0)].concat(),
        );
        raw.act(|conn| conn.release_stream(bad.into()));
        raw.get(good);
        raw.act(|conn| conn.send_response(good.into(), &status(204), true)).unwrap();
    }
    raw.expect_alive();
}

#[test]
fn replies_of_all_kinds_have_one_queue() {
    // Nobody takes the output: resets that were provoked and answers to PING, in turns.
    let mut raw = server(|config| {
        config.budgets.resets_provoked = Rate { burst: u32::MAX, per_second: 0 };
        config.budgets.invalid_frames = u32::MAX;
        config.budgets.pings = Rate { burst: u32::MAX, per_second: 0 };
    });
    let mut stopped = None;
    for n in 0..2_000u32 {
        let id = 2 * n + 1;
        let provoked =
            [frames::headers(id, &block::post(), frames::NONE), frames::window_update(id, 0)].concat();
        let said = raw.conn.handle_input(&provoked, raw.now).and_then(|()| {
            raw.conn.release_stream(id.into());
            raw.conn.handle_input(&frames::ping([7; 8]), raw.now)
        });
        while raw.conn.poll_event().is_some() {}
        if !raw.conn.wants_input() {
            stopped.get_or_insert(n);
        }
        if let Err(error) = said {
            assert_eq!(error, ConnectionError::Calm(Limit::ControlQueue));
            assert_eq!((stopped, n), (Some(127), 500), "256 stop the reading, 1 000 end it");
            return;
        }
    }
    panic!("the queue has no end");
}

#[test]
fn more_new_streams_than_a_peer_can_know_to_be_free_are_refused() {
    let mut raw = server(|config| config.max_concurrent_streams = 10);
    // Everything is answered at once, and nothing leaves: the peer cannot have seen one of these ends.
    let mut opened = 0;
    for n in 0..30u32 {
        let id = 2 * n + 1;
        raw.conn.handle_input(&frames::headers(id, &block::get(), frames::END_STREAM), raw.now).unwrap();
        while let Some(event) = raw.conn.poll_event() {
            if matches!(event, Event::StreamOpened { .. }) {
                opened += 1;
                raw.conn.send_response(id.into(), &status(204), true).unwrap();
            }
        }
    }
    assert_eq!(opened, 20);
    assert_eq!(raw.conn.take_trips(), [(Limit::NewStreams, 10)]);
    raw.pump();
    assert_eq!(raw.resets().len(), 10);
    assert!(raw.resets().iter().all(|(_, code)| *code == ErrorCode::REFUSED_STREAM));
    // Octets of ours have left: it may open as many again.
    raw.get(61);
    assert!(raw.opened(61));
    raw.expect_alive();
}

#[test]
fn a_peer_that_resets_its_own_streams_knows_them_to_be_free() {
    let mut raw = server(|config| config.max_concurrent_streams = 2);
    for n in 0..100u32 {
        let id = 2 * n + 1;
        let both =
            [frames::headers(id, &block::get(), frames::END_STREAM), frames::rst(id, ErrorCode::CANCEL)];
        raw.conn.handle_input(&both.concat(), raw.now).unwrap();
        while raw.conn.poll_event().is_some() {}
        raw.conn.release_stream(id.into());
        raw.now += Duration::from_millis(100);
    }
    assert_eq!(raw.conn.take_trips(), []);
}

#[test]
fn refused_streams_and_large_heads_are_told() {
    let mut raw = server(|config| {
        config.max_concurrent_streams = 1;
        config.max_header_list_size = 300;
        config.max_header_fields = 6;
    });
    raw.post(1);
    raw.send(frames::headers(3, &block::get(), frames::END_STREAM));
    assert_eq!(raw.conn.take_trips(), [(Limit::Streams, 1)]);
    raw.send(frames::rst(1, ErrorCode::CANCEL));
    raw.act(|conn| conn.release_stream(1.into()));
    raw.send(frames::headers(5, &block::get_with(&[("x", &"y".repeat(300))]), frames::NONE));
    assert_eq!(raw.conn.take_trips(), [(Limit::HeaderBytes, 1)]);
    raw.send(frames::rst(5, ErrorCode::CANCEL));
    raw.act(|conn| conn.release_stream(5.into()));
    raw.send(frames::headers(7, &block::get_with(&[("a", ""), ("b", ""), ("c", "")]), frames::NONE));
    assert_eq!(raw.conn.take_trips(), [(Limit::HeaderFields, 1)]);
    raw.expect_alive();
}

#[test]
fn handlers_that_panic_have_a_budget() {
    let mut raw = server(|config| config.budgets.panics = 3);
    assert_eq!(raw.conn.handler_panicked(), Ok(()));
    assert_eq!(raw.conn.handler_panicked(), Ok(()));
    assert_eq!(raw.conn.handler_panicked(), Err(ConnectionError::Calm(Limit::Panics)));
    assert_eq!(raw.conn.take_trips(), [(Limit::Panics, 1)]);
}

#[test]
fn identifiers_that_run_out_are_seen_coming() {
    let mut raw = server(|_| {});
    assert_eq!(raw.conn.remote_ids_left(), (1 << 30) - 1);
    raw.conn.set_last_remote_stream_id(0x7fff_fffd.into()).unwrap();
    assert_eq!(raw.conn.remote_ids_left(), 1);
    raw.get(0x7fff_ffff);
    assert_eq!(raw.conn.remote_ids_left(), 0);
    assert!(raw.conn.set_last_remote_stream_id(1.into()).is_err(), "never back");
    assert!(raw.conn.set_last_remote_stream_id(2.into()).is_err(), "a stream of ours");
}

#[test]
fn budgets_may_be_switched_off() {
    let mut raw = server(|config| {
        config.budgets = Budgets {
            pings: Rate { burst: u32::MAX, per_second: 0 },
            window_updates: u32::MAX,
            ..Budgets::default()
        };
    });
    raw.get(1);
    for n in 0..5_000u64 {
        raw.send([frames::ping(n.to_be_bytes()), frames::window_update(1, 1)].concat());
    }
    raw.expect_alive();
}
