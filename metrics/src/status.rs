//! Status codes as a closed label set: the codes in IANA's HTTP Status Code Registry, else `other`.
//! Judges no code; 306 and 418 are listed there as unused and so count as `other`.
//!
//! Invariant: `SLOTS` cells are enough for every `u16`, the last being `other`.

/// Registered codes (RFC 9110 §15 and the registry as of 2025).
pub(crate) const CODES: [u16; 62] = [
    100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305,
    307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421,
    422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
];

/// A cell per code and one for the rest.
pub(crate) const SLOTS: usize = CODES.len() + 1;

/// Codes above this one share the last slot.
const LAST: usize = 511;

/// Slot of each number up to `LAST`, so that counting is one load.
static SLOT_OF: [u8; LAST + 1] = {
    let mut table = [CODES.len() as u8; LAST + 1];
    let mut slot = 0;
    while slot < CODES.len() {
        table[CODES[slot] as usize] = slot as u8;
        slot += 1;
    }
    table
};

/// The slot of a status code, below [`SLOTS`].
#[inline]
pub(crate) fn slot(status: u16) -> usize {
    SLOT_OF.get(usize::from(status)).map_or(CODES.len(), |slot| usize::from(*slot))
}

/// The label of a slot.
pub(crate) fn label(slot: usize) -> String {
    CODES.get(slot).map_or_else(|| "other".to_owned(), u16::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_codes_keep_their_number_and_the_rest_share_a_slot() {
        for code in CODES {
            assert_eq!(label(slot(code)), code.to_string());
        }
        for code in [0, 99, 105, 306, 418, 427, 499, 509, 512, 599, 999, u16::MAX] {
            assert_eq!(label(slot(code)), "other");
        }
    }
}
