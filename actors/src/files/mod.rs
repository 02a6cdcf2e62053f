//! Files as responses (RFC 9110 §8.8, §13, §14): [`FileResponse`] sends one, [`Files`] serves a directory.
//!
//! Memory is bounded: a body holds one buffer of 64 KiB (256 KiB where the disk has to be asked), and reads on
//! when the session takes more. No arbiter waits for a disk: what the kernel has at hand is opened and read at
//! once, all else on the blocking pool. On a network file system the kernel may still have to ask its server
//! for the attributes of an open file.

mod body;
mod buffers;
mod conditions;
mod contents;
mod directory;
mod encodings;
mod kept;
mod listing;
mod open;
mod ranges;
mod response;
mod target;

use std::cell::Cell;

thread_local! {
    /// Octets read from files on this arbiter that were not put down to a stream yet.
    static READ: Cell<u64> = const { Cell::new(0) };
}

/// Octets were read for the stream that is polled now.
fn count_read(octets: usize) {
    READ.set(READ.get() + octets as u64);
}

/// What was read since the last call: for the stream that was polled.
#[inline]
pub(crate) fn take_read() -> u64 {
    READ.take()
}

pub use body::FileBodyError;
pub use directory::{Directory, Files};
pub use encodings::{Encoding, accepted};
pub use open::Symlinks;
pub use ranges::Asked;
pub use response::{FileError, FileRange, FileResponse, FileSource, Verdict};
