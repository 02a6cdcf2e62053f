//! Octets into a connection of either role, cut anywhere: the same events, never a panic.

/// One input, an empty body until the part it drives exists.
pub fn connection(_data: &[u8]) {}
