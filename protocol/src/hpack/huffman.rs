//! The Huffman code of strings (RFC 7541 §5.2, Appendix B).
//!
//! Knows no header fields. Everything is computed from the lengths of the code words: the code is
//! canonical, so lengths and symbol order give every word. Invariant: [`decode`] accepts exactly the
//! strings that [`encode`] could have written, and takes time linear in its input.

use super::Error;

const SYMBOLS: usize = 257;
/// The symbol that no string may contain.
const EOS: u16 = 256;
const MAX_BITS: u32 = 30;
/// Bits looked up at once; longer words are rare and take [`long_word`].
const INDEX_BITS: u32 = 12;

/// Lengths of the code words in bits (Appendix B), 256 octets and EOS.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

/// Code words by symbol.
const WORDS: [u32; SYMBOLS] = words();

/// Code word and length in bits by octet.
static ENCODE: [(u32, u8); 256] = {
    let mut table = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < 256 {
        table[symbol] = (WORDS[symbol], LENGTHS[symbol]);
        symbol += 1;
    }
    table
};

/// What the next 12 bits hold: octets 0 and 1 the symbols, octet 2 the bits they take, octet 3 eight
/// times their number. All zero where the word is longer. The index is complemented: see [`Bits`].
static DECODE: [u32; 1 << INDEX_BITS] = decode_table();

/// Octets `src` takes when it is coded, padding included.
#[inline]
pub(super) fn encoded_len(src: &[u8]) -> usize {
    let bits: usize = src.iter().map(|&octet| usize::from(ENCODE[usize::from(octet)].1)).sum();
    bits.div_ceil(8)
}

/// Appends `src` coded; [`encoded_len`] octets.
pub(super) fn encode(src: &[u8], out: &mut Vec<u8>) {
    let mut word = 0u64;
    let mut bits = 0u32; // below 32 between two symbols
    for &octet in src {
        let (code, len) = ENCODE[usize::from(octet)];
        word = word << len | u64::from(code);
        bits += u32::from(len);
        if bits >= 32 {
            bits -= 32;
            out.extend_from_slice(&((word >> bits) as u32).to_be_bytes());
        }
    }
    if bits > 0 {
        let filled = (word << (32 - bits)) as u32 | u32::MAX >> bits; // padding: ones (§5.2)
        out.extend_from_slice(&filled.to_be_bytes()[..bits.div_ceil(8) as usize]);
    }
}

/// Input of [`decode`] as an accumulator of complemented bits, next bit on top. Complemented, so that
/// the zeros a shift brings in stand for ones: past its end a string looks like endless valid padding,
/// and no loop asks where the end is.
struct Bits<'a> {
    src: &'a [u8],
    /// Octets of `src` already in the accumulator.
    pos: usize,
    /// The last eight octets of `src` (all of a shorter one, followed by padding), complemented.
    tail: u64,
    acc: u64,
    /// Bits of `acc` that came from `src`; negative when a symbol took padding.
    held: i32,
}

impl<'a> Bits<'a> {
    #[inline]
    fn new(src: &'a [u8]) -> Self {
        let tail = match src.last_chunk::<8>() {
            Some(last) => !u64::from_be_bytes(*last),
            None => {
                let complemented = src.iter().fold(0, |word, &octet| word << 8 | u64::from(!octet));
                if src.is_empty() { 0 } else { complemented << (64 - 8 * src.len()) }
            }
        };
        Self { src, pos: 0, tail, acc: 0, held: 0 }
    }

    /// Fills the accumulator to 56 bits or more, or with all that is left.
    #[inline]
    fn refill(&mut self) {
        let room = (63 - self.held) as usize >> 3; // held is 0 to 63 here
        if let Some(next) = self.src.get(self.pos..).and_then(|rest| rest.first_chunk::<8>()) {
            self.acc |= !u64::from_be_bytes(*next) >> self.held;
            self.pos += room;
            self.held += 8 * room as i32;
        } else {
            let left = self.src.len() - self.pos; // below 8
            if left > 0 {
                let done = self.pos - self.src.len().saturating_sub(8);
                self.acc |= (self.tail << (8 * done)) >> self.held;
                let taken = left.min(room);
                self.pos += taken;
                self.held += 8 * taken as i32;
            }
        }
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.acc <<= bits;
        self.held -= bits as i32;
    }
}

/// Octets that `out` of [`decode`] needs beyond what it will hold.
const SLACK: usize = 16;

/// Decodes `src` to `out[from..]`, which grows but never shrinks; returns the number of octets written.
///
/// # Errors
/// [`Error::StringTooLong`] above `max` octets, [`Error::InvalidHuffman`] on EOS or bad padding.
pub(super) fn decode(src: &[u8], out: &mut Vec<u8>, from: usize, max: usize) -> Result<usize, Error> {
    // The shortest words have five bits, so the result is at most 8/5 of the input.
    let room = (src.len() + src.len() / 2 + src.len() / 8 + 1).min(max) + SLACK;
    if out.len() < from + room {
        // Small steps: one of these lives in each connection.
        out.reserve_exact((from + room).next_multiple_of(64) - out.len());
        out.resize(out.capacity(), 0);
    }
    let out = &mut out[from..from + room];
    let mut written = 0;
    let mut bits = Bits::new(src);
    loop {
        bits.refill();
        // Up to eight symbols of 48 bits in all are gathered in a register and stored at once. `sums` adds
        // up the upper halves of the entries: bits taken below, eight times the symbols above.
        let mut symbols = 0u64;
        let mut sums = 0u32;
        let mut last = 0;
        for _ in 0..4 {
            last = DECODE[(bits.acc >> (64 - INDEX_BITS)) as usize];
            symbols |= u64::from(last & 0xffff) << (sums >> 8);
            sums += last >> 16;
            bits.acc = bits.acc.wrapping_shl(last >> 16); // the low six bits count: what the entry takes
        }
        bits.held -= (sums & 0xff) as i32;
        let Some(chunk) = out.get_mut(written..written + 8) else { return Err(Error::StringTooLong(max)) };
        chunk.copy_from_slice(&symbols.to_le_bytes());
        written += (sums >> 11) as usize;
        if written > max {
            return Err(Error::StringTooLong(max));
        }
        if bits.held < 0 {
            return Err(Error::InvalidHuffman);
        }
        if bits.acc == 0 && bits.pos == src.len() {
            // Only ones are left: padding, which must be shorter than an octet.
            return if bits.held < 8 { Ok(written) } else { Err(Error::InvalidHuffman) };
        }
        if last == 0 {
            let symbol = long_word(&mut bits)?;
            if written == max {
                return Err(Error::StringTooLong(max));
            }
            out[written] = symbol;
            written += 1;
        }
    }
}

/// Decodes one word of more than 12 bits.
#[cold]
fn long_word(bits: &mut Bits<'_>) -> Result<u8, Error> {
    bits.refill();
    let next = (!bits.acc >> (64 - MAX_BITS)) as u32;
    for len in INDEX_BITS + 1..=MAX_BITS {
        let Group { first_word, count, first_rank } = GROUPS[len as usize];
        let nth = (next >> (MAX_BITS - len)).wrapping_sub(first_word);
        if nth < u32::from(count) {
            bits.skip(len);
            return match RANKED[usize::from(first_rank) + nth as usize] {
                symbol if symbol < EOS && bits.held >= 0 => Ok(symbol as u8),
                _ => Err(Error::InvalidHuffman),
            };
        }
    }
    Err(Error::InvalidHuffman) // never reached: the code is complete
}

/// The words of one length, which are consecutive numbers.
#[derive(Clone, Copy)]
struct Group {
    first_word: u32,
    count: u16,
    /// Place of the first word's symbol in [`RANKED`].
    first_rank: u16,
}

static GROUPS: [Group; MAX_BITS as usize + 1] = groups();
/// Symbols in the order of their code words.
static RANKED: [u16; SYMBOLS] = ranked();

const fn groups() -> [Group; MAX_BITS as usize + 1] {
    let mut groups = [Group { first_word: 0, count: 0, first_rank: 0 }; MAX_BITS as usize + 1];
    let mut next_word = 0u32;
    let mut rank = 0u16;
    let mut len = 1;
    while len <= MAX_BITS as usize {
        next_word <<= 1;
        let mut count = 0u16;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                count += 1;
            }
            symbol += 1;
        }
        groups[len] = Group { first_word: next_word, count, first_rank: rank };
        next_word += count as u32;
        rank += count;
        len += 1;
    }
    assert!(next_word == 1 << MAX_BITS, "the code is not complete");
    groups
}

const fn ranked() -> [u16; SYMBOLS] {
    let mut next = groups();
    let mut ranked = [0; SYMBOLS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let len = LENGTHS[symbol] as usize;
        ranked[next[len].first_rank as usize] = symbol as u16;
        next[len].first_rank += 1;
        symbol += 1;
    }
    ranked
}

const fn words() -> [u32; SYMBOLS] {
    let mut next = groups();
    let mut words = [0; SYMBOLS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let len = LENGTHS[symbol] as usize;
        words[symbol] = next[len].first_word;
        next[len].first_word += 1;
        symbol += 1;
    }
    words
}

const fn decode_table() -> [u32; 1 << INDEX_BITS] {
    const LAST: usize = (1 << INDEX_BITS) - 1;
    // One symbol per index first: symbol and length.
    let mut single = [(0u8, 0u8); 1 << INDEX_BITS];
    let mut symbol = 0;
    while symbol < 256 {
        let len = LENGTHS[symbol] as u32;
        if len <= INDEX_BITS {
            let first = (WORDS[symbol] as usize) << (INDEX_BITS - len);
            let mut index = first;
            while index < first + (1 << (INDEX_BITS - len)) {
                single[index] = (symbol as u8, len as u8);
                index += 1;
            }
        }
        symbol += 1;
    }
    let mut table = [0; 1 << INDEX_BITS];
    let mut index = 0;
    while index <= LAST {
        let (one, one_len) = single[index];
        if one_len > 0 {
            let (two, two_len) = single[index << one_len & LAST];
            let both = one_len as u32 + two_len as u32;
            table[LAST - index] = if two_len > 0 && both <= INDEX_BITS {
                one as u32 | (two as u32) << 8 | both << 16 | 16 << 24
            } else {
                one as u32 | (one_len as u32) << 16 | 8 << 24
            };
        }
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(src: &[u8], max: usize) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let len = decode(src, &mut out, 0, max)?;
        Ok(out[..len].to_vec())
    }

    fn encoded(src: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(src, &mut out);
        assert_eq!(out.len(), encoded_len(src));
        out
    }

    /// Bits, written as text, as octets; the last one is filled with `fill`.
    fn packed(bits: &str, fill: char) -> Vec<u8> {
        let whole = format!("{bits}{}", fill.to_string().repeat(bits.len().next_multiple_of(8) - bits.len()));
        (0..whole.len()).step_by(8).map(|at| u8::from_str_radix(&whole[at..at + 8], 2).unwrap()).collect()
    }

    fn word(symbol: usize) -> String {
        format!("{:0len$b}", WORDS[symbol], len = usize::from(LENGTHS[symbol]))
    }

    #[test] // Appendix B, first, last and a few between
    fn code_words_are_those_of_the_appendix() {
        let samples = [
            (0, 0x1ff8, 13),
            (10, 0x3fff_fffc, 30),
            (48, 0x0, 5),
            (97, 0x3, 5),
            (92, 0x7_fff0, 19),
            (127, 0xfff_fffc, 28),
            (207, 0x1ff_ffed, 25),
            (255, 0x3ff_ffee, 26),
            (256, 0x3fff_ffff, 30),
        ];
        for (symbol, code, len) in samples {
            assert_eq!((WORDS[symbol], LENGTHS[symbol]), (code, len), "symbol {symbol}");
        }
    }

    #[test]
    fn all_octets_round_trip_at_every_length_and_place() {
        for first in 0..=255u8 {
            for len in 0..40usize {
                let text: Vec<u8> =
                    (0..len).map(|i| if i % 7 == 3 { b'a' } else { first.wrapping_add(i as u8) }).collect();
                assert_eq!(decoded(&encoded(&text), len), Ok(text));
            }
            let same = vec![first; 100];
            assert_eq!(decoded(&encoded(&same), 100), Ok(same));
        }
    }

    #[test]
    fn the_bound_passes_and_one_octet_more_fails() {
        for octet in [b'a', b'0', b'X', 0, 10, 255] {
            for len in 1..50 {
                let coded = encoded(&vec![octet; len]);
                assert!(decoded(&coded, len).is_ok());
                assert_eq!(decoded(&coded, len - 1), Err(Error::StringTooLong(len - 1)), "{octet} x {len}");
            }
        }
    }

    #[test]
    fn padding_up_to_seven_ones_passes_and_eight_fail() {
        for len in 0..20 {
            let text: String = (0..len).map(|_| word(b'a'.into())).collect(); // five bits each
            let good = packed(&text, '1');
            assert!(decoded(&good, 100).is_ok(), "{len}");
            assert_eq!(decoded(&[&good[..], &[0xff]].concat(), 100), Err(Error::InvalidHuffman), "{len}");
            // Five zeros are the word of '0'; any other number is neither padding nor a word.
            if ![0, 5].contains(&(good.len() * 8 - text.len())) {
                assert_eq!(decoded(&packed(&text, '0'), 100), Err(Error::InvalidHuffman), "{len}");
            }
        }
    }

    #[test]
    fn eos_fails_wherever_it_stands() {
        for len in 0..20 {
            let text: String = (0..len).map(|_| word(b'a'.into())).collect();
            for tail in ["", "00011", "1111111"] {
                let bits = format!("{text}{}{tail}", word(EOS.into()));
                assert_eq!(decoded(&packed(&bits, '1'), 100), Err(Error::InvalidHuffman));
            }
        }
    }

    #[test]
    fn a_long_word_cut_short_fails() {
        for symbol in [0usize, 92, 10, 255, 1, 128] {
            let bits = format!("{}{}", word(b'a'.into()), word(symbol));
            for cut in (8..bits.len()).step_by(8) {
                let rest = &bits[cut - cut % 8..cut];
                assert!(rest.is_empty());
                let is_padding = bits[5..cut].bytes().all(|bit| bit == b'1') && cut - 5 < 8;
                assert_eq!(
                    decoded(&packed(&bits[..cut], '1'), 9).is_ok(),
                    is_padding,
                    "{symbol} cut at {cut}"
                );
            }
        }
    }
}
