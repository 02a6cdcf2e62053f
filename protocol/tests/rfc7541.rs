//! RFC 7541 as tests: the examples of Appendix C octet by octet, and the rules with their boundaries.
//! Agreement with other implementations is in `hpack_differential.rs`.

#![allow(clippy::unwrap_used)] // test code throughout

use std::ops::ControlFlow;

use stagedoor_protocol::hpack::{Decoder, Encoder, Error, token};

type Field = (String, String);

/// Octets of a hex dump; blanks do not count.
fn hex(dump: &str) -> Vec<u8> {
    let digits: Vec<u8> = dump.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

fn decode_with(decoder: &mut Decoder, block: &[u8], max_string: usize) -> Result<Vec<Field>, Error> {
    let mut fields = Vec::new();
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    decoder.decode(block, max_string, |field| {
        fields.push((text(field.name), text(field.value)));
        ControlFlow::Continue(())
    })?;
    Ok(fields)
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Field>, Error> {
    decode_with(decoder, block, 4096)
}

fn owned(fields: &[(&str, &str)]) -> Vec<Field> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Asserts that the dynamic table holds exactly `entries`, newest first, by asking for each index.
fn assert_table(decoder: &mut Decoder, entries: &[(&str, &str)]) {
    let size: usize = entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    assert_eq!(decoder.table_size(), size);
    for (index, entry) in (62u8..).zip(entries) {
        assert_eq!(decode(decoder, &[0x80 | index]), Ok(owned(&[*entry])));
    }
    let past = 62 + entries.len() as u8;
    assert_eq!(decode(decoder, &[0x80 | past]), Err(Error::InvalidIndex(past.into())));
}

/// A step of Appendix C: block, its fields, the table after it.
struct Step<'a> {
    block: &'a str,
    fields: &'a [(&'a str, &'a str)],
    table: &'a [(&'a str, &'a str)],
}

fn follow(decoder: &mut Decoder, steps: &[Step<'_>]) {
    for step in steps {
        assert_eq!(decode(decoder, &hex(step.block)), Ok(owned(step.fields)), "{}", step.block);
        assert_table(decoder, step.table);
    }
}

mod c1_integers {
    use super::*;

    #[test] // C.1.1: 10 with a 5-bit prefix, seen as a size update
    fn ten_in_five_bits() {
        let mut decoder = Decoder::new(10);
        assert_eq!(decode(&mut decoder, &[0x20 | 10]), Ok(vec![]));
        assert_eq!(decode(&mut decoder, &[0x20 | 11]), Err(Error::InvalidSizeUpdate(11)));
    }

    #[test] // C.1.2: 1337 with a 5-bit prefix
    fn thirteen_thirty_seven_in_five_bits() {
        assert_eq!(decode(&mut Decoder::new(1337), &hex("3f 9a 0a")), Ok(vec![]));
        assert_eq!(decode(&mut Decoder::new(1336), &hex("3f 9a 0a")), Err(Error::InvalidSizeUpdate(1337)));
        let mut out = Vec::new();
        let mut encoder = Encoder::new();
        encoder.set_peer_limit(1337);
        encoder.begin(&mut out);
        assert_eq!(out, hex("3f 9a 0a"));
    }

    #[test] // C.1.3: 42 on an octet boundary, seen as a string length
    fn forty_two_in_a_whole_octet() {
        let text = "v".repeat(42);
        let block = [&b"\x00\x01n\x2a"[..], text.as_bytes()].concat();
        assert_eq!(decode(&mut Decoder::new(4096), &block), Ok(owned(&[("n", &text)])));
    }
}

mod c2_representations {
    use super::*;

    #[test] // C.2.1
    fn literal_with_indexing() {
        let field = [("custom-key", "custom-header")];
        let block = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
        follow(&mut Decoder::new(4096), &[Step { block, fields: &field, table: &field }]);
    }

    #[test] // C.2.2
    fn literal_without_indexing() {
        let block = "040c 2f73 616d 706c 652f 7061 7468";
        follow(&mut Decoder::new(4096), &[Step { block, fields: &[(":path", "/sample/path")], table: &[] }]);
    }

    #[test] // C.2.3
    fn literal_never_indexed() {
        let block = hex("1008 7061 7373 776f 7264 0673 6563 7265 74");
        let mut decoder = Decoder::new(4096);
        let mut seen = Vec::new();
        let result = decoder.decode(&block, 100, |field| {
            seen.push((field.name.to_vec(), field.value.to_vec(), field.sensitive));
            ControlFlow::Continue(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(seen, [(b"password".to_vec(), b"secret".to_vec(), true)]);
        assert_eq!(decoder.table_size(), 0);
    }

    #[test] // C.2.4
    fn indexed() {
        follow(&mut Decoder::new(4096), &[Step { block: "82", fields: &[(":method", "GET")], table: &[] }]);
    }
}

const AUTHORITY: (&str, &str) = (":authority", "www.example.com");
const NO_CACHE: (&str, &str) = ("cache-control", "no-cache");
const CUSTOM: (&str, &str) = ("custom-key", "custom-value");
const REQUESTS: [&[(&str, &str)]; 3] = [
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), AUTHORITY],
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), AUTHORITY, NO_CACHE],
    &[(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), AUTHORITY, CUSTOM],
];

fn follow_requests(blocks: [&str; 3]) {
    let tables: [&[(&str, &str)]; 3] = [&[AUTHORITY], &[NO_CACHE, AUTHORITY], &[CUSTOM, NO_CACHE, AUTHORITY]];
    let mut decoder = Decoder::new(4096);
    for ((block, fields), table) in blocks.into_iter().zip(REQUESTS).zip(tables) {
        follow(&mut decoder, &[Step { block, fields, table }]);
    }
    assert_eq!(decoder.table_size(), 164);
}

#[test] // C.3
fn c3_requests_without_huffman() {
    follow_requests([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]);
}

const C4_BLOCKS: [&str; 3] = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
];

#[test] // C.4
fn c4_requests_with_huffman() {
    follow_requests(C4_BLOCKS);
}

#[test] // C.4 is also what our encoder writes
fn c4_requests_are_encoded_to_the_same_octets() {
    let mut encoder = Encoder::new();
    for (block, fields) in C4_BLOCKS.into_iter().zip(REQUESTS) {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in fields {
            encoder.field(name.as_bytes(), value.as_bytes(), false, &mut out);
        }
        assert_eq!(out, hex(block));
    }
    assert_eq!(encoder.table_size(), 164);
}

/// C.5 and C.6: a table of 256 octets, so that the second and third response evict.
fn follow_responses(blocks: [&str; 3]) {
    let (found, moved, ok) = ((":status", "302"), (":status", "307"), (":status", "200"));
    let private = ("cache-control", "private");
    let (date, later) =
        (("date", "Mon, 21 Oct 2013 20:13:21 GMT"), ("date", "Mon, 21 Oct 2013 20:13:22 GMT"));
    let location = ("location", "https://www.example.com");
    let gzip = ("content-encoding", "gzip");
    let cookie = ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
    let [first, second, third] = blocks;
    let steps = [
        Step {
            block: first,
            fields: &[found, private, date, location],
            table: &[location, date, private, found],
        },
        Step {
            block: second,
            fields: &[moved, private, date, location],
            table: &[moved, location, date, private],
        },
        Step {
            block: third,
            fields: &[ok, private, later, location, gzip, cookie],
            table: &[cookie, gzip, later],
        },
    ];
    let mut decoder = Decoder::new(256);
    let sizes = [222, 222, 215];
    for (step, size) in steps.into_iter().zip(sizes) {
        follow(&mut decoder, &[step]);
        assert_eq!(decoder.table_size(), size);
    }
}

#[test] // C.5
fn c5_responses_without_huffman() {
    follow_responses([
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
         6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
         3d31",
    ]);
}

#[test] // C.6
fn c6_responses_with_huffman() {
    follow_responses([
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
         9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ]);
}

mod s2_3_3_index_address_space {
    use super::*;

    #[test]
    fn zero_fails() {
        assert_eq!(decode(&mut Decoder::new(4096), &[0x80]), Err(Error::InvalidIndex(0)));
    }

    #[test]
    fn the_last_static_entry_passes_and_the_next_fails_while_the_table_is_empty() {
        assert_eq!(decode(&mut Decoder::new(4096), &[0xbd]), Ok(owned(&[("www-authenticate", "")])));
        assert_eq!(decode(&mut Decoder::new(4096), &[0xbe]), Err(Error::InvalidIndex(62)));
    }

    #[test]
    fn names_obey_the_same_bounds() {
        for (block, index) in [(&b"\x7e\x01v"[..], 62), (b"\x0f\x2f\x01v", 62), (b"\x1f\x2f\x01v", 62)] {
            assert_eq!(decode(&mut Decoder::new(4096), block), Err(Error::InvalidIndex(index)));
        }
    }

    #[test]
    fn the_largest_integer_is_only_an_index_that_does_not_exist() {
        let block = hex("ff 80 ff ff ff 0f");
        assert_eq!(decode(&mut Decoder::new(4096), &block), Err(Error::InvalidIndex(u32::MAX)));
        let block = hex("ff 81 ff ff ff 0f");
        assert_eq!(decode(&mut Decoder::new(4096), &block), Err(Error::IntegerOverflow));
    }
}

mod s4_2_maximum_table_size {
    use super::*;

    #[test]
    fn the_limit_passes_and_one_more_fails() {
        assert_eq!(decode(&mut Decoder::new(4096), &hex("3f e1 1f")), Ok(vec![]));
        assert_eq!(decode(&mut Decoder::new(4096), &hex("3f e2 1f")), Err(Error::InvalidSizeUpdate(4097)));
    }

    #[test]
    fn a_raised_limit_is_used_only_after_the_update() {
        let mut decoder = Decoder::new(8192);
        let fill = [&b"\x40\x01n\x7f\x81\x0f"[..], &[b'v'; 2048]].concat(); // 127 + 1921 = 2048; entry 2081
        assert!(decode(&mut decoder, &fill).is_ok());
        assert!(decode(&mut decoder, &fill).is_ok());
        assert_eq!(decoder.table_size(), 2081);
        assert_eq!(decode(&mut decoder, &hex("3f e1 3f")), Ok(vec![]));
        assert!(decode(&mut decoder, &fill).is_ok());
        assert_eq!(decoder.table_size(), 2 * 2081);
    }

    #[test]
    fn a_lowered_limit_demands_an_update() {
        for (block, expected) in [
            ("82", Err(Error::MissingSizeUpdate)),
            ("", Err(Error::MissingSizeUpdate)),
            ("3f 45 82", Ok(owned(&[(":method", "GET")]))), // 100
            ("3f 46 82", Err(Error::InvalidSizeUpdate(101))),
            ("20 82", Ok(owned(&[(":method", "GET")]))),
        ] {
            let mut decoder = Decoder::new(4096);
            decoder.set_limit(100);
            assert_eq!(decode(&mut decoder, &hex(block)), expected, "{block}");
        }
    }

    #[test]
    fn a_limit_at_or_above_the_size_in_use_demands_none() {
        let mut decoder = Decoder::new(4096);
        for limit in [4096, 65_536, 4096] {
            decoder.set_limit(limit);
            assert!(decode(&mut decoder, &[0x82]).is_ok());
        }
        assert_eq!(decode(&mut decoder, &hex("3f 45")), Ok(vec![])); // the peer uses 100
        decoder.set_limit(100);
        assert!(decode(&mut decoder, &[0x82]).is_ok());
        decoder.set_limit(99);
        assert_eq!(decode(&mut decoder, &[0x82]), Err(Error::MissingSizeUpdate));
    }

    #[test]
    fn the_smallest_limit_between_two_blocks_must_be_told_first() {
        let lowered = || {
            let mut decoder = Decoder::new(4096);
            decoder.set_limit(100);
            decoder.set_limit(4096);
            decoder
        };
        assert_eq!(decode(&mut lowered(), &hex("3f 45 3f e1 1f 82")), Ok(owned(&[(":method", "GET")])));
        assert_eq!(decode(&mut lowered(), &hex("3f e1 1f 82")), Err(Error::InvalidSizeUpdate(4096)));
        assert_eq!(decode(&mut lowered(), &hex("82")), Err(Error::MissingSizeUpdate));
    }

    #[test]
    fn an_update_after_a_field_fails() {
        for block in ["82 20", "82 3f e1 1f", "00 01 61 01 62 20"] {
            let result = decode(&mut Decoder::new(4096), &hex(block));
            assert!(matches!(result, Err(Error::InvalidSizeUpdate(_))), "{block}: {result:?}");
        }
    }

    #[test] // §4.3
    fn an_update_evicts_down_to_its_size() {
        let mut decoder = Decoder::new(4096);
        assert!(decode(&mut decoder, b"\x40\x01a\x01b\x40\x01c\x01d").is_ok());
        assert_eq!(decoder.table_size(), 68);
        assert!(decode(&mut decoder, &hex("3f 25")).is_ok()); // 68: both stay
        assert_eq!(decoder.table_size(), 68);
        assert!(decode(&mut decoder, &hex("3f 24")).is_ok());
        assert_table(&mut decoder, &[("c", "d")]);
        let mut decoder = Decoder::new(4096);
        assert!(decode(&mut decoder, b"\x40\x01a\x01b\x20\x82").is_err());
    }

    #[test]
    fn our_encoder_is_capped_at_4096_and_obeys_less() {
        let mut encoder = Encoder::new();
        encoder.set_peer_limit(u32::MAX);
        let mut out = Vec::new();
        encoder.begin(&mut out);
        assert!(out.is_empty());
        for number in 0..1000 {
            encoder.field(b"x-number", format!("{number}").as_bytes(), false, &mut out);
            assert!(encoder.table_size() <= 4096);
        }
        assert!(encoder.table_size() > 4000);
        encoder.set_peer_limit(0);
        encoder.begin(&mut out);
        encoder.field(b"x-number", b"1", false, &mut out);
        assert_eq!(encoder.table_size(), 0);
    }
}

#[test] // §4.4
fn s4_4_an_entry_above_the_table_empties_it_without_error() {
    let mut decoder = Decoder::new(64);
    assert!(decode(&mut decoder, b"\x40\x01a\x01b").is_ok());
    let exact = [&b"\x40\x01n\x1f"[..], &[b'v'; 31]].concat();
    assert!(decode(&mut decoder, &exact).is_ok());
    assert_eq!(decoder.table_size(), 64);
    let above = [&b"\x40\x01n\x20"[..], &[b'v'; 32]].concat();
    assert!(decode(&mut decoder, &above).is_ok());
    assert_eq!(decoder.table_size(), 0);
}

mod s5_2_strings {
    use super::*;

    #[test]
    fn plain_strings_of_the_bound_pass_and_one_octet_more_fails() {
        let mut decoder = Decoder::new(4096);
        for block in [&b"\x00\x05abcde\x01v"[..], b"\x00\x01n\x05abcde"] {
            assert!(decode_with(&mut decoder, block, 5).is_ok());
            assert_eq!(decode_with(&mut decoder, block, 4), Err(Error::StringTooLong(4)));
        }
    }

    #[test]
    fn huffman_strings_count_decoded() {
        // "www.example.com", 12 octets coded
        let block = hex("0f 2b 8c f1 e3c2 e5f2 3a6b a0ab 90f4 ff");
        assert_eq!(decode_with(&mut Decoder::new(4096), &block, 15).unwrap()[0].1.len(), 15);
        assert_eq!(decode_with(&mut Decoder::new(4096), &block, 14), Err(Error::StringTooLong(14)));
        assert_eq!(decode_with(&mut Decoder::new(4096), &block, 0), Err(Error::StringTooLong(0)));
    }

    #[test]
    fn empty_strings_pass_plain_and_coded() {
        for block in ["00 00 00", "00 80 80", "40 80 00"] {
            assert_eq!(decode_with(&mut Decoder::new(4096), &hex(block), 0), Ok(owned(&[("", "")])));
        }
    }

    #[test]
    fn seven_bits_of_padding_pass_and_eight_fail() {
        // "aaaaa" is 25 bits, so 7 of padding
        let coded = hex("04 84 18 c6 31 ff");
        assert_eq!(decode(&mut Decoder::new(4096), &coded), Ok(owned(&[(":path", "aaaaa")])));
        // "aaaaaaaa" is 40 bits; another octet of ones is too much
        assert!(decode(&mut Decoder::new(4096), &hex("04 85 18 c6 31 8c 63")).is_ok());
        let result = decode(&mut Decoder::new(4096), &hex("04 86 18 c6 31 8c 63 ff"));
        assert_eq!(result, Err(Error::InvalidHuffman));
    }

    #[test]
    fn padding_with_a_zero_fails() {
        for last in ["fe", "be", "80"] {
            let block = hex(&format!("04 84 18 c6 31 {last}"));
            assert_eq!(decode(&mut Decoder::new(4096), &block), Err(Error::InvalidHuffman), "{last}");
        }
    }

    #[test]
    fn eos_fails() {
        assert_eq!(decode(&mut Decoder::new(4096), &hex("04 84 ff ff ff ff")), Err(Error::InvalidHuffman));
        assert_eq!(decode(&mut Decoder::new(4096), &hex("04 84 ff ff ff fc")), Err(Error::InvalidHuffman));
    }
}

mod s6_blocks_cut_short {
    use super::*;

    #[test]
    fn every_prefix_of_a_block_is_truncated_or_a_shorter_list() {
        let block =
            hex("82 86 84 41 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff 40 0a 6375 7374 6f6d 2d6b 6579 03 616263");
        let whole = decode(&mut Decoder::new(4096), &block).unwrap();
        let ends: Vec<usize> = vec![0, 1, 2, 3, 17, block.len()];
        for end in 0..=block.len() {
            let result = decode(&mut Decoder::new(4096), &block[..end]);
            match ends.iter().position(|&boundary| boundary == end) {
                Some(count) => assert_eq!(result, Ok(whole[..count.min(whole.len())].to_vec())),
                None => assert_eq!(result, Err(Error::Truncated), "cut at {end}"),
            }
        }
    }

    #[test] // RUSTSEC-2023-0085: one octet that panicked the crate hpack 0.3.0
    fn a_lone_size_update_prefix_is_truncated() {
        assert_eq!(decode(&mut Decoder::new(4096), &[0x3f]), Err(Error::Truncated));
    }

    #[test]
    fn a_length_beyond_the_block_allocates_nothing() {
        let mut decoder = Decoder::new(4096);
        assert_eq!(decode(&mut decoder, &hex("04 ff 80 ff ff ff 0f 61")), Err(Error::Truncated));
        assert_eq!(decoder.heap_size(), 0);
    }
}

mod s6_2_3_never_indexed {
    use super::*;

    #[test]
    fn the_mark_survives_both_directions() {
        let mut out = Vec::new();
        let mut encoder = Encoder::new();
        encoder.begin(&mut out);
        encoder.field(b"authorization", b"Basic x", true, &mut out);
        encoder.field(b"x-key", b"y", true, &mut out);
        encoder.field(b"x-key", b"y", false, &mut out);
        let mut marks = Vec::new();
        let mut decoder = Decoder::new(4096);
        let result = decoder.decode(&out, 100, |field| {
            marks.push((field.token, field.sensitive));
            ControlFlow::Continue(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(marks, [(token::AUTHORIZATION, true), (0, true), (0, false)]);
    }
}

#[test] // CVE-2016-6581: a large entry, then an octet per copy; the caller decides when it is enough
fn an_hpack_bomb_stops_when_the_callback_says_so() {
    let mut block = [&b"\x40\x01n\x7f\xa1\x1e"[..], &[b'v'; 4000]].concat();
    block.resize(block.len() + 10_000, 0xbe);
    let mut octets = 0;
    let result = Decoder::new(4096).decode(&block, 8192, |field| {
        octets += field.name.len() + field.value.len() + 32;
        if octets > 65_536 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(result, Err(Error::Stopped));
    assert!(octets < 65_536 + 4100);
}
