//! The octets of bulk answers: those of stagedoor's demo (`/bytes/{n}`), so that everybody can be asked for the same.
//!
//! Written out once more on purpose: `compare` checks what it was given against this.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Result;

/// After so many octets they begin again.
pub const PERIOD: usize = 65_521;
/// Octets of a piece that hyper and Node give to their body at once.
pub const CHUNK: usize = 16 << 10;

/// The octet at a place.
pub fn octet_at(place: usize) -> u8 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = place % PERIOD;
    if place % 64 == 63 { b'\n' } else { ALPHABET[(place + place / 64 * 7 + place / 4096) % 64] }
}

/// A period and a piece more: every piece of [`CHUNK`] octets is a slice of it.
pub fn block() -> Vec<u8> {
    (0..PERIOD + CHUNK).map(octet_at).collect()
}

/// The first `octets` of them into a file.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, octets: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let period = &block()[..PERIOD];
    let mut left = octets;
    while left > 0 {
        let step = left.min(PERIOD as u64);
        file.write_all(&period[..step as usize])?;
        left -= step;
    }
    Ok(file.flush()?)
}
