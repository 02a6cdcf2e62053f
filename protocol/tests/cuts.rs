//! Cutting the input anywhere gives the same events, the same output and the same error (adjacent DATA merged): frames
//! are what counts, reads are accidents (RFC 9113 §4.1). Over generated conversations, right ones and broken ones.
#![allow(unreachable_pub, dead_code, reason = "the module is that of a fuzz target")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../fuzz/src/connection.rs"]
mod connection;
mod support;

use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, RngAlgorithm, RngSeed, TestRng, TestRunner};
use stagedoor_protocol::hpack::Encoder;
use stagedoor_protocol::{Config, Connection, ErrorCode, Event, Role};
use support::frames;

/// Something a peer says.
#[derive(Clone, Debug)]
enum Said {
    /// A head (to a server), or a response head (to a client), in so many frames.
    Head {
        fields: Vec<(u8, String)>,
        end: bool,
        pieces: usize,
    },
    Data {
        stream: usize,
        octets: usize,
        pad: Option<u8>,
        end: bool,
    },
    Trailers {
        stream: usize,
        value: String,
    },
    Reset {
        stream: usize,
        code: u32,
    },
    Window {
        stream: Option<usize>,
        octets: u32,
    },
    Settings(Vec<(u16, u32)>),
    Ping([u8; 8]),
    Priority {
        stream: usize,
        update: bool,
    },
    Unknown {
        kind: u8,
        octets: usize,
    },
    Promise,
    GoAway {
        debug: Vec<u8>,
    },
    /// A frame of any kind on any stream: mostly wrong.
    Wild {
        kind: u8,
        flags: u8,
        stream: u32,
        payload: Vec<u8>,
    },
}

fn said(wild: bool) -> impl Strategy<Value = Said> {
    let stream = 0usize..4;
    let head = (proptest::collection::vec((0u8..20, "[ -~]{0,30}"), 0..6), any::<bool>(), 1usize..4)
        .prop_map(|(fields, end, pieces)| Said::Head { fields, end, pieces });
    let data =
        (stream.clone(), 0usize..3000, proptest::option::of(any::<u8>()), proptest::bool::weighted(0.2))
            .prop_map(|(stream, octets, pad, end)| Said::Data { stream, octets, pad, end });
    let any_frame = (0u8..18, any::<u8>(), 0u32..12, proptest::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(kind, flags, stream, payload)| Said::Wild { kind, flags, stream, payload });
    let one_more = if wild { any_frame.boxed() } else { any::<[u8; 8]>().prop_map(Said::Ping).boxed() };
    prop_oneof![
        5 => head,
        6 => data,
        2 => (stream.clone(), "[a-z]{0,20}").prop_map(|(stream, value)| Said::Trailers { stream, value }),
        1 => (stream.clone(), any::<u32>()).prop_map(|(stream, code)| Said::Reset { stream, code }),
        2 => (proptest::option::of(stream.clone()), 1u32..100_000)
            .prop_map(|(stream, octets)| Said::Window { stream, octets }),
        1 => proptest::collection::vec((1u16..12, 0u32..70_000), 0..5).prop_map(Said::Settings),
        1 => any::<[u8; 8]>().prop_map(Said::Ping),
        1 => (stream, any::<bool>()).prop_map(|(stream, update)| Said::Priority { stream, update }),
        1 => (11u8..15, 0usize..200).prop_map(|(kind, octets)| Said::Unknown { kind, octets }),
        1 => Just(Said::Promise),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(|debug| Said::GoAway { debug }),
        1 => one_more,
    ]
}

/// What a peer of `role` says, as octets.
fn octets_of(role: Role, conversation: &[Said]) -> Vec<u8> {
    let mut out = match role {
        Role::Server => frames::PREFACE.to_vec(),
        Role::Client => Vec::new(),
    };
    out.extend(frames::settings(&[]));
    out.extend(frames::settings_ack());
    let mut encoder = Encoder::new();
    let mut opened = 0u32;
    let mut promised = 0;
    // Streams whose head was said and whose end was not.
    let mut speaking: Vec<u32> = Vec::new();
    // Client: streams whose answer is still to come.
    let mut awaited = vec![1, 3, 5];
    for said in conversation {
        let on = |stream: &usize, speaking: &[u32]| speaking.get(stream % speaking.len().max(1)).copied();
        match said {
            Said::Head { fields, end, pieces } => {
                let mut block = Vec::new();
                encoder.begin(&mut block);
                let stream = match role {
                    Role::Server => {
                        let pseudo =
                            [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")];
                        for (name, value) in pseudo {
                            encoder.field(name.as_bytes(), value.as_bytes(), false, &mut block);
                        }
                        opened += 1;
                        2 * opened - 1
                    }
                    Role::Client => {
                        let Some(&stream) = awaited.first() else { continue };
                        let informational = fields.len() % 4 == 1 && !end;
                        encoder.status(
                            if informational { 103 } else { [200, 404][fields.len() % 2] },
                            &mut block,
                        );
                        if informational {
                            continue_with(&mut out, stream, block, *end, *pieces);
                            continue;
                        }
                        awaited.remove(0)
                    }
                };
                if !end {
                    speaking.push(stream);
                }
                for (name, value) in fields {
                    encoder.field(
                        format!("x-{name}").as_bytes(),
                        value.trim().as_bytes(),
                        name % 5 == 0,
                        &mut block,
                    );
                }
                continue_with(&mut out, stream, block, *end, *pieces);
            }
            Said::Data { stream, octets, pad, end } => {
                let Some(id) = on(stream, &speaking) else { continue };
                if *end {
                    speaking.retain(|other| *other != id);
                }
                let body = vec![*octets as u8; *octets];
                out.extend(match pad {
                    Some(pad) => frames::padded_data(id, &body, *pad, u8::from(*end)),
                    None => frames::data(id, &body, u8::from(*end)),
                });
            }
            Said::Trailers { stream, value } => {
                let Some(id) = on(stream, &speaking) else { continue };
                speaking.retain(|other| *other != id);
                let mut block = Vec::new();
                encoder.begin(&mut block);
                encoder.field(b"x-sum", value.as_bytes(), false, &mut block);
                out.extend(frames::headers(id, &block, frames::END_STREAM));
            }
            Said::Reset { stream, code } => {
                let Some(id) = on(stream, &speaking) else { continue };
                speaking.retain(|other| *other != id);
                out.extend(frames::rst(id, ErrorCode(*code)));
            }
            Said::Window { stream, octets } => {
                let id = stream.and_then(|stream| on(&stream, &speaking)).unwrap_or(0);
                out.extend(frames::window_update(id, *octets));
            }
            Said::Settings(entries) => {
                // Values that may be sent; the others come by `Wild`.
                let right = |(id, value): &(u16, u32)| match id {
                    2 if role == Role::Client => (2, 0),
                    2 | 9 => (*id, value & 1),
                    8 => (8, 1),
                    5 => (5, value.max(&16_384).to_owned()),
                    _ => (*id, *value),
                };
                out.extend(frames::settings(&entries.iter().map(right).collect::<Vec<_>>()));
            }
            Said::Ping(payload) => out.extend(frames::ping(*payload)),
            Said::Priority { stream, update: true } if role == Role::Server => {
                out.extend(frames::priority_update(2 * *stream as u32 + 1, "u=1, i"));
            }
            Said::Priority { stream, .. } => out.extend(frames::priority(2 * *stream as u32 + 1, 0, 1)),
            Said::Unknown { kind, octets } => out.extend(frames::unknown(*kind, 0xff, 1, &vec![0; *octets])),
            Said::Promise if role == Role::Client && awaited.first() == Some(&1) => {
                promised += 2;
                out.extend(frames::push_promise(1, promised, &support::block::get()));
            }
            Said::Promise => {}
            Said::GoAway { debug } => out.extend(frames::goaway(0x7fff_ffff, ErrorCode::NO_ERROR, debug)),
            Said::Wild { kind, flags, stream, payload } => {
                out.extend(frames::frame(*kind, *flags, *stream, payload));
            }
        }
    }
    out
}

/// HEADERS and CONTINUATION for a block.
fn continue_with(out: &mut Vec<u8>, stream: u32, block: Vec<u8>, end: bool, pieces: usize) {
    let size = block.len().div_ceil(pieces).max(1);
    let parts: Vec<_> = block.chunks(size).collect();
    for (at, part) in parts.iter().enumerate() {
        let end_headers = if at + 1 == parts.len() { frames::END_HEADERS } else { 0 };
        out.extend(match at {
            0 => frames::headers_open(stream, part, end_headers | u8::from(end)),
            _ => frames::continuation(stream, part, end_headers),
        });
    }
}

/// A reader that takes events and octets of bodies after each piece.
fn read_while_it_comes(role: Role, octets: &[u8], cuts: &[u8]) -> Vec<Event> {
    let now = connection::epoch();
    let mut conn = Connection::new(role, Config { enable_push: true, ..Config::default() }, now);
    if role == Role::Client {
        for _ in 0..3 {
            conn.send_request(&support::get(), true).unwrap();
        }
    }
    let mut events: Vec<Event> = Vec::new();
    let mut rest = octets;
    let mut lengths = cuts.iter().cycle();
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |cut| usize::from(*cut) + 1);
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        let over = conn.handle_input(piece, now).is_err();
        while let Some(event) = conn.poll_event() {
            if let Event::DataReceived { id, data, .. } = &event {
                conn.consume(*id, data.len());
            }
            events.push(event);
        }
        connection::take_output(&mut conn, now);
        if over {
            break;
        }
        rest = behind;
    }
    merged(events)
}

fn merged(events: Vec<Event>) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::new();
    for event in events {
        if let (
            Some(Event::DataReceived { id: before, data: start, end_stream: end @ false }),
            Event::DataReceived { id, data, end_stream },
        ) = (out.last_mut(), &event)
            && before == id
        {
            *start = [&start[..], data].concat().into();
            *end = *end_stream;
        } else {
            out.push(event);
        }
    }
    out
}

fn runner(usual: u32) -> TestRunner {
    let rounds = std::env::var("STAGEDOOR_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let config = ProptestConfig {
        cases: rounds.unwrap_or(usual),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(9113),
        ..ProptestConfig::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn hold_for(role: Role, wild: bool, usual: u32) {
    let conversation = proptest::collection::vec(said(wild), 1..25);
    let cuts = proptest::collection::vec(any::<u8>(), 1..12);
    runner(usual)
        .run(&(conversation, cuts), |(conversation, cuts)| {
            let octets = octets_of(role, &conversation);
            connection::same_wherever_cut(role, &octets, &cuts);
            let whole = read_while_it_comes(role, &octets, &[]);
            if !wild {
                let failed = matches!(whole.last(), Some(Event::ConnectionFailed { .. }));
                prop_assert!(!failed, "nothing was wrong: {:?}", whole.last());
            }
            prop_assert_eq!(read_while_it_comes(role, &octets, &cuts), whole);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_server_hears_the_same_wherever_its_input_is_cut() {
    hold_for(Role::Server, false, 1_000);
}

#[test]
fn a_client_hears_the_same_wherever_its_input_is_cut() {
    hold_for(Role::Client, false, 1_000);
}

#[test]
fn a_server_hears_the_same_of_a_broken_conversation() {
    hold_for(Role::Server, true, 1_000);
}

#[test]
fn a_client_hears_the_same_of_a_broken_conversation() {
    hold_for(Role::Client, true, 1_000);
}

#[test]
fn one_exchange_cut_at_every_place() {
    let conversation = [
        Said::Settings(vec![(3, 100)]),
        Said::Head { fields: vec![(1, "one".into()), (5, "secret".into())], end: false, pieces: 3 },
        Said::Data { stream: 0, octets: 40, pad: Some(7), end: false },
        Said::Ping(*b"12345678"),
        Said::Trailers { stream: 0, value: "sum".into() },
        Said::Head { fields: vec![(1, "one".into())], end: true, pieces: 1 },
        Said::Wild { kind: 8, flags: 0, stream: 0, payload: vec![0; 4] },
    ];
    let octets = octets_of(Role::Server, &conversation);
    let whole = read_while_it_comes(Role::Server, &octets, &[]);
    assert!(matches!(whole.last(), Some(Event::ConnectionFailed { .. })), "{whole:?}");
    for at in 1..octets.len() {
        let now = connection::epoch();
        let mut conn = Connection::new(Role::Server, Config::default(), now);
        let failed =
            [&octets[..at], &octets[at..]].iter().any(|piece| conn.handle_input(piece, now).is_err());
        assert!(failed);
        let events: Vec<_> = std::iter::from_fn(|| conn.poll_event()).collect();
        assert_eq!(merged(events), whole, "cut at {at}");
    }
}
