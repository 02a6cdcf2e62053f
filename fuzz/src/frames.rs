//! The frame parser (RFC 9113 §4, §6) alone: any octets, no panic, and what parses is written again the same.

/// One input, an empty body until the part it drives exists.
pub fn frames(_data: &[u8]) {}
