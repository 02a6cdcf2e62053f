//! Two connections and a walk of calls between them: octets conserved, no stream forgotten.

/// One input, an empty body until the part it drives exists.
pub fn operations(_data: &[u8]) {}
