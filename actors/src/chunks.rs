//! Pieces of a body in order. Most bodies are one piece, for which no queue is asked of the heap.
//!
//! Invariant: nothing waits behind an empty front.

use std::collections::VecDeque;

use bytes::Bytes;

/// See the module.
#[derive(Default)]
pub(crate) struct Chunks {
    front: Option<Bytes>,
    others: VecDeque<Bytes>,
}

impl Chunks {
    #[inline]
    pub(crate) fn push_back(&mut self, chunk: Bytes) {
        match self.front {
            None => self.front = Some(chunk),
            Some(_) => self.others.push_back(chunk),
        }
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<Bytes> {
        let chunk = self.front.take();
        if !self.others.is_empty() {
            self.front = self.others.pop_front();
        }
        chunk
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.front.is_some()) + self.others.len()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_however_pieces_come_and_go() {
        let mut chunks = Chunks::default();
        let (mut given, mut taken) = (0u8, 0u8);
        for (push, pop) in [(1, 1), (3, 1), (0, 2), (2, 1), (4, 5), (0, 1)] {
            for _ in 0..push {
                chunks.push_back(Bytes::copy_from_slice(&[given]));
                given += 1;
            }
            for _ in 0..pop {
                let expected = (taken < given).then(|| Bytes::copy_from_slice(&[taken]));
                assert_eq!(chunks.pop_front(), expected);
                taken = given.min(taken + 1);
            }
            assert_eq!(chunks.len(), usize::from(given - taken));
            assert_eq!(chunks.is_empty(), given == taken);
        }
        chunks.push_back(Bytes::from_static(b"x"));
        chunks.clear();
        assert!(chunks.is_empty());
    }
}
