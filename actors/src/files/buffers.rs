//! Buffers to read into, used again on the same thread.
//!
//! A buffer is zeroed once in its life; the last one given back is the next one taken, so it is still in the
//! processor's cache. Invariant: a thread keeps at most [`KEPT`] of them that nobody uses.

use std::cell::RefCell;

use bytes::Bytes;

/// Octets of a buffer: what one read of a file takes.
pub(super) const CHUNK: usize = 64 << 10;

/// Buffers that a thread keeps for later: 1 MiB of them.
const KEPT: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`CHUNK`] octets, with something in it at the end.
pub(super) struct Buffer {
    octets: Box<[u8]>,
    filled: usize,
}

impl Buffer {
    /// One that was used before, or a new one.
    pub(super) fn take() -> Self {
        let kept = FREE.with_borrow_mut(Vec::pop);
        Self { octets: kept.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice()), filled: 0 }
    }

    /// Room for `octets`, or for [`CHUNK`] if that is less.
    pub(super) fn room(&mut self, octets: u64) -> &mut [u8] {
        let room = (CHUNK as u64).min(octets) as usize;
        &mut self.octets[..room]
    }

    /// The first `filled` octets; the buffer comes back when the last slice of them is gone.
    pub(super) fn freeze(mut self, filled: usize) -> Bytes {
        self.filled = filled.min(self.octets.len());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.octets[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let octets = std::mem::take(&mut self.octets);
        // A thread that ends has nowhere to keep it.
        let _ = FREE.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < KEPT
            {
                free.push(octets);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_slice_is_gone() {
        FREE.with_borrow_mut(Vec::clear);
        let mut buffer = Buffer::take();
        buffer.room(5).copy_from_slice(b"hello");
        let place = buffer.octets.as_ptr();
        let mut whole = buffer.freeze(5);
        let first = whole.split_to(2);
        assert_eq!((&first[..], &whole[..]), (&b"he"[..], &b"llo"[..]));
        drop(whole);
        assert_eq!(FREE.with_borrow(Vec::len), 0);
        drop(first);
        assert_eq!(FREE.with_borrow(Vec::len), 1);
        assert_eq!(Buffer::take().octets.as_ptr(), place);
    }

    #[test]
    fn no_more_are_kept_than_said() {
        let many: Vec<_> = (0..KEPT + 3).map(|_| Buffer::take()).collect();
        drop(many);
        assert_eq!(FREE.with_borrow(Vec::len), KEPT);
        assert_eq!(Buffer::take().room(u64::MAX).len(), CHUNK);
    }
}
