//! The read buffer all sessions of an arbiter share: octets stay in it for one read and its parsing only, so
//! an idle session owns no buffer. Invariant: whoever takes it gives it back before user code runs.

use std::cell::Cell;

/// Octets one read may bring.
pub(crate) const SIZE: usize = 64 << 10;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// The buffer, taken out of its place until [`put`].
pub(crate) fn take() -> Box<[u8]> {
    SPARE.take().unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

/// Puts the buffer back.
pub(crate) fn put(buffer: Box<[u8]>) {
    SPARE.set(Some(buffer));
}
