//! Any header block into our decoder and into nghttp2's: both read the same fields from it, or both refuse it behind
//! the same fields, and their tables stay alike.
//!
//! Input: pieces, each behind an octet. Below 128 it is the length of a block; from there on it is a new limit of the
//! table, in steps of 64 octets, that both are told.

use std::ops::ControlFlow;

use stagedoor_protocol::hpack::Decoder;

#[allow(unsafe_code, dead_code, reason = "calls of libnghttp2; its other half serves a test")]
#[path = "../../protocol/tests/support/nghttp2.rs"]
mod nghttp2;

/// Name, value, sensitive.
type Field = (Vec<u8>, Vec<u8>, bool);

/// What nghttp2 allows a string.
const MAX_STRING: usize = 65_536;

/// All pieces are of one connection, which ends with the first block that is refused.
///
/// # Panics
/// When they differ.
pub fn inflate(data: &[u8]) {
    let mut decoder = Decoder::new(4096);
    let mut inflater = nghttp2::Inflater::new();
    let mut rest = data;
    while let [octet, after @ ..] = rest {
        if *octet >= 128 {
            let limit = u32::from(octet & 127) * 64;
            decoder.set_limit(limit);
            inflater.set_limit(limit);
            rest = after;
            continue;
        }
        let (block, next) = after.split_at(usize::from(*octet).min(after.len()));
        rest = next;
        let (theirs, accepted) = inflater.decode(block);
        let mut ours: Vec<Field> = Vec::new();
        let result = decoder.decode(block, MAX_STRING, |field| {
            ours.push((field.name.to_vec(), field.value.to_vec(), field.sensitive));
            ControlFlow::Continue(())
        });
        assert_eq!(result.is_ok(), accepted, "{result:?} {block:02x?}");
        assert_eq!(ours, theirs, "{block:02x?}");
        if !accepted {
            return;
        }
        assert_eq!(decoder.table_size(), inflater.table_size(), "{block:02x?}");
    }
}
