//! The header codec (RFC 7541): arbitrary blocks in, and what was read must survive our own encoder.
//!
//! Input: an octet for the table limit (times 32), one for the string bound (times 8), then blocks, each
//! behind an octet with its length. All blocks belong to one connection, which ends with the first error.

use std::ops::ControlFlow;

use stagedoor_protocol::hpack::{Decoder, Encoder, Error};

const MAX_FIELDS: usize = 64;
const MAX_LIST: usize = 16 * 1024;

type Field = (Vec<u8>, Vec<u8>, u8, bool);

/// Runs one input.
///
/// # Panics
/// When a bound is passed, or when a list that was decoded does not come back from encoder and decoder.
pub fn hpack(data: &[u8]) {
    let [limit, bound, blocks @ ..] = data else { return };
    let limit = u32::from(*limit) * 32;
    let max_string = usize::from(*bound) * 8;
    let mut decoder = Decoder::new(limit);
    let mut encoder = Encoder::new();
    let mut again = Decoder::new(4096);
    encoder.set_peer_limit(limit);
    again.set_limit(limit);
    let mut rest = blocks;
    while let [len, after @ ..] = rest {
        let (block, next) = after.split_at(usize::from(*len).min(after.len()));
        rest = next;
        let (fields, result) = decode(&mut decoder, block, max_string);
        assert!(decoder.table_size() <= limit as usize);
        // An arena of up to twice the limit, entries of 16 octets each, a name and a value in the scratch.
        assert!(decoder.heap_size() <= 3 * limit as usize + 2 * max_string + limit as usize + 1024);
        round_trip(&fields, &mut encoder, &mut again);
        if result.is_err() {
            return;
        }
        decoder.shrink();
    }
}

fn decode(decoder: &mut Decoder, block: &[u8], max_string: usize) -> (Vec<Field>, Result<(), Error>) {
    let mut fields = Vec::new();
    let mut size = 0;
    let result = decoder.decode(block, max_string, |field| {
        assert!(
            field.name.len() <= max_string.max(27) && field.value.len() <= max_string.max(13),
            "a bound was passed"
        );
        size += field.name.len() + field.value.len() + 32;
        fields.push((field.name.to_vec(), field.value.to_vec(), field.token, field.sensitive));
        if size > MAX_LIST || fields.len() == MAX_FIELDS {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    (fields, result)
}

fn round_trip(fields: &[Field], encoder: &mut Encoder, decoder: &mut Decoder) {
    let mut block = Vec::new();
    encoder.begin(&mut block);
    for (name, value, _, sensitive) in fields {
        encoder.field(name, value, *sensitive, &mut block);
    }
    let mut expected = fields.iter();
    let result = decoder.decode(&block, MAX_LIST, |field| {
        let (name, value, token, sensitive) = expected.next().expect("a field too many");
        assert_eq!((field.name, field.value, field.token), (&name[..], &value[..], *token));
        assert_eq!(field.sensitive, *sensitive || is_guarded(name, value));
        ControlFlow::Continue(())
    });
    assert_eq!(result, Ok(()));
    assert!(expected.next().is_none(), "a field is missing");
    assert_eq!(encoder.table_size(), decoder.table_size());
}

/// What our encoder never indexes, asked or not: credentials, and cookies short enough to be guessed (RFC 7541 §7.1.3).
fn is_guarded(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"authorization" | b"proxy-authorization" => !value.is_empty(),
        b"cookie" => (1..20).contains(&value.len()),
        _ => false,
    }
}
