//! Integers with a prefix (RFC 7541 §5.1), read and written.
//!
//! Knows no instruction and no table. Invariant: [`read`] never looks at more than five octets after
//! the prefix, whatever the peer sends, and never gives a value above 2^32-1.

use super::Error;

/// Continuation octets we follow: five hold 35 bits, enough for 2^32-1 with any prefix.
const MAX_CONTINUATION: u32 = 5;

/// Reads the integer whose prefix is the low `prefix_bits` (4 to 7 here) of `block[*pos]`, and moves `pos` past it.
///
/// # Errors
/// [`Error::Truncated`] where the block ends first, [`Error::IntegerOverflow`] above 2^32-1 or past
/// five continuation octets.
#[inline]
pub(super) fn read(block: &[u8], pos: &mut usize, prefix_bits: u32) -> Result<u32, Error> {
    let mask = (1u32 << prefix_bits) - 1;
    let first = u32::from(*block.get(*pos).ok_or(Error::Truncated)?) & mask;
    *pos += 1;
    if first < mask { Ok(first) } else { read_continuation(block, pos, mask) }
}

fn read_continuation(block: &[u8], pos: &mut usize, prefix: u32) -> Result<u32, Error> {
    let mut value = u64::from(prefix);
    for octet in 0..MAX_CONTINUATION {
        let next = *block.get(*pos).ok_or(Error::Truncated)?;
        *pos += 1;
        value += u64::from(next & 0x7f) << (7 * octet);
        if next & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| Error::IntegerOverflow);
        }
    }
    Err(Error::IntegerOverflow)
}

/// Appends `value` with a prefix of `prefix_bits`; `pattern` fills the bits above the prefix.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, pattern: u8, prefix_bits: u32, value: u32) {
    let mask = (1u32 << prefix_bits) - 1;
    if value < mask {
        out.push(pattern | value as u8); // fits: below 2^prefix_bits - 1
    } else {
        out.push(pattern | mask as u8);
        write_continuation(out, value - mask);
    }
}

fn write_continuation(out: &mut Vec<u8>, mut rest: u32) {
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8], prefix_bits: u32) -> Result<u32, Error> {
        let mut pos = 0;
        let value = read(bytes, &mut pos, prefix_bits)?;
        assert_eq!(pos, bytes.len());
        Ok(value)
    }

    #[test]
    fn every_prefix_round_trips_its_boundaries() {
        for prefix_bits in 4..=7 {
            let edge = (1 << prefix_bits) - 1;
            for value in
                [0, 1, edge - 1, edge, edge + 1, edge + 127, edge + 128, 16_384, u32::MAX - 1, u32::MAX]
            {
                let mut out = Vec::new();
                write(&mut out, 0, prefix_bits, value);
                assert_eq!(read_all(&out, prefix_bits), Ok(value), "{value} in {prefix_bits} bits");
            }
        }
    }

    #[test]
    fn largest_value_passes_and_one_more_fails() {
        // 31 + (2^32 - 1 - 31) = 2^32 - 1
        assert_eq!(read_all(&[0x1f, 0xe0, 0xff, 0xff, 0xff, 0x0f], 5), Ok(u32::MAX));
        assert_eq!(read_all(&[0x1f, 0xe1, 0xff, 0xff, 0xff, 0x0f], 5), Err(Error::IntegerOverflow));
        assert_eq!(read_all(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x7f], 5), Err(Error::IntegerOverflow));
    }

    #[test]
    fn five_continuation_octets_pass_and_six_fail() {
        assert_eq!(read_all(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x00], 5), Ok(31));
        assert_eq!(read_all(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 5), Err(Error::IntegerOverflow));
    }

    #[test]
    fn an_integer_cut_anywhere_is_truncated() {
        let whole = [0x1f, 0x9a, 0x8a, 0x01];
        for end in 0..whole.len() {
            let mut pos = 0;
            assert_eq!(read(&whole[..end], &mut pos, 5), Err(Error::Truncated));
        }
    }
}
