//! The streams of a connection by identifier, and a short memory of those that are gone.
//!
//! Decides nothing. Invariant: an identifier is in at most one of the table and the two memories.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::ids::StreamId;
use crate::stream::Stream;

/// Identifiers come in order and at most a few hundred live at once: one multiplication spreads them.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.0 = (self.0 ^ u64::from(octet)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
    fn write_u32(&mut self, id: u32) {
        self.0 = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

/// Streams we reset whose last frames may still be on their way: at least so many are remembered.
const RESET_MEMORY: usize = 256;
/// Streams that ended; long enough to tell a late frame from a reused identifier.
const ENDED_MEMORY: usize = 16;

/// What is known of an identifier that is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// We reset it: frames may still come and are ignored (§5.1).
    Reset,
    /// It ended, or the peer reset it.
    Ended,
    /// It never was, or too long ago to tell.
    Unknown,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    index: HashMap<u32, u32, BuildHasherDefault<IdHasher>>,
    slots: Vec<Option<Stream>>,
    free: Vec<u32>,
    /// The last identifier looked up and its slot: one exchange asks for its stream many times in a row.
    recent: Cell<(u32, u32)>,
    reset: VecDeque<u32>,
    ended: [u32; ENDED_MEMORY],
    ended_at: usize,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(crate) fn insert(&mut self, stream: Stream) -> &mut Stream {
        let id = stream.id.get();
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
        };
        self.index.insert(id, slot);
        self.recent.set((id, slot));
        self.slots[slot as usize].insert(stream)
    }

    #[inline]
    fn slot(&self, id: StreamId) -> Option<usize> {
        let (recent, slot) = self.recent.get();
        if recent == id.get() {
            return Some(slot as usize);
        }
        let slot = *self.index.get(&id.get())?;
        self.recent.set((id.get(), slot));
        Some(slot as usize)
    }

    #[inline]
    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.slots.get(self.slot(id)?)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let slot = self.slot(id)?;
        self.slots.get_mut(slot)?.as_mut()
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let slot = self.index.remove(&id.get())?;
        // Stream 0 is never in the table, so nothing is ever found under it.
        self.recent.set((0, u32::MAX));
        self.free.push(slot);
        self.slots[slot as usize].take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().flatten()
    }

    /// Identifiers in order.
    pub(crate) fn ids(&self) -> Vec<StreamId> {
        let mut ids: Vec<_> = self.iter().map(|stream| stream.id).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn remember_reset(&mut self, id: StreamId) {
        // As many as were open at once may be reset at once, and as many again opened before the peer hears.
        let most = RESET_MEMORY.max(2 * self.slots.len());
        while self.reset.len() >= most {
            self.reset.pop_front();
        }
        self.reset.push_back(id.get());
    }

    pub(crate) fn remember_ended(&mut self, id: StreamId) {
        self.ended[self.ended_at % ENDED_MEMORY] = id.get();
        self.ended_at = self.ended_at.wrapping_add(1);
    }

    pub(crate) fn gone(&self, id: StreamId) -> Gone {
        if self.reset.contains(&id.get()) {
            Gone::Reset
        } else if self.ended.contains(&id.get()) {
            Gone::Ended
        } else {
            Gone::Unknown
        }
    }

    /// Heap held.
    pub(crate) fn heap(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Stream>>()
            + self.index.capacity() * 9
            + (self.free.capacity() + self.reset.capacity()) * 4
    }

    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.recent.set((0, u32::MAX));
            self.index = HashMap::default();
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        self.reset.shrink_to_fit();
    }
}
