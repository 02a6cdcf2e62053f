//! The dynamic table (RFC 7541 §2.3.2, §4): one byte arena and a ring of entries.
//!
//! Does not know which side of the connection it serves, nor indices of the static table. Invariant:
//! `size` is the sum of name + value + 32 over all entries and never exceeds `max_size`; the octets of
//! the entries lie in the arena in the order of insertion without gaps, oldest first.
//!
//! Names of the static table are kept as their token, not as octets: they count in `size`, not in memory.

use std::collections::VecDeque;

use super::static_table;

/// Octets added to each entry's size (§4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;
/// First size of the arena; it doubles from here as entries come, up to twice the table's limit.
const FIRST_ARENA: usize = 128;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where the octets lie, counted since the table was new (modulo 2^32); `Table::base` makes it a position.
    at: u32,
    name_len: u32,
    value_len: u32,
    token: u8,
}

impl Entry {
    /// Octets in the arena: a static name takes none.
    fn stored(&self) -> usize {
        let name = if self.token == 0 { self.name_len as usize } else { 0 };
        name + self.value_len as usize
    }

    fn size(&self) -> usize {
        self.name_len as usize + self.value_len as usize + ENTRY_OVERHEAD
    }
}

/// One entry as seen by a reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) token: u8,
}

#[derive(Debug)]
pub(super) struct Table {
    arena: Vec<u8>,
    /// Position in the arena of the oldest entry's first octet; what lies before it is dead.
    start: usize,
    /// What [`Entry::at`] is at arena position 0.
    base: u32,
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
}

impl Table {
    /// An empty table; takes no memory before the first insertion.
    pub(super) fn new(max_size: u32) -> Self {
        let max_size = max_size as usize;
        Self { arena: Vec::new(), start: 0, base: 0, entries: VecDeque::new(), size: 0, max_size }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Heap octets this table owns.
    pub(super) fn heap(&self) -> usize {
        self.arena.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The entry at `index`, 0 being the newest.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<Found<'_>> {
        let entry = self.entries.get(self.entries.len().checked_sub(1)?.checked_sub(index)?)?;
        let at = entry.at.wrapping_sub(self.base) as usize;
        let stored = self.arena.get(at..at + entry.stored())?;
        let (name, value) = if entry.token == 0 {
            stored.split_at_checked(entry.name_len as usize)?
        } else {
            (static_table::name_of(entry.token), stored)
        };
        Some(Found { name, value, token: entry.token })
    }

    /// Adds an entry and evicts what has no room any more (§4.4). `token` must be the one of `name`, or
    /// 0. An entry above the whole table empties it and is not kept; that is no error.
    /// Returns whether the entry was kept.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], token: u8) -> bool {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        if size > self.max_size {
            self.clear();
            return false;
        }
        self.evict_to(self.max_size - size);
        // Both lengths fit: their sum is at most max_size, which came as a u32.
        let entry = Entry { at: 0, name_len: name.len() as u32, value_len: value.len() as u32, token };
        self.make_room(entry.stored());
        let at = self.base.wrapping_add(self.arena.len() as u32);
        if token == 0 {
            self.arena.extend_from_slice(name);
        }
        self.arena.extend_from_slice(value);
        self.entries.push_back(Entry { at, ..entry });
        self.size += size;
        true
    }

    /// Changes the limit (§4.3). A smaller one evicts at once and gives memory back.
    pub(super) fn set_max_size(&mut self, max_size: u32) {
        let shrunk = (max_size as usize) < self.max_size;
        self.max_size = max_size as usize;
        self.evict_to(self.max_size);
        if shrunk {
            self.shrink();
        }
    }

    /// Gives back memory that holds no live entry.
    pub(super) fn shrink(&mut self) {
        self.compact();
        self.arena.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    fn evict_to(&mut self, room: usize) {
        while self.size > room {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size();
            self.start += oldest.stored();
        }
        if self.entries.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.arena.clear();
        (self.start, self.base, self.size) = (0, 0, 0);
    }

    /// Makes sure that `more` octets fit at the end of the arena. Live octets are moved only when at
    /// least half of the arena is dead or free, so the cost of moving is shared by what was inserted.
    fn make_room(&mut self, more: usize) {
        let capacity = self.arena.capacity();
        if capacity - self.arena.len() >= more {
            return;
        }
        let live = self.arena.len() - self.start;
        self.compact();
        if live + more > capacity / 2 {
            let wanted = (2 * (live + more)).min(2 * self.max_size).max(FIRST_ARENA);
            self.arena.reserve_exact(wanted - live);
        }
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.arena.copy_within(self.start.., 0);
            self.arena.truncate(self.arena.len() - self.start);
            self.base = self.base.wrapping_add(self.start as u32);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entry_is_index_zero_and_the_oldest_leaves_first() {
        let mut table = Table::new(2 * 34);
        for value in [b"1", b"2", b"3"] {
            assert!(table.insert(b"a", value, 0));
        }
        assert_eq!(table.get(0).unwrap().value, b"3");
        assert_eq!(table.get(1).unwrap().value, b"2");
        assert!(table.get(2).is_none());
        assert!(table.get(usize::MAX).is_none());
        assert_eq!((table.len(), table.size()), (2, 68));
    }

    #[test]
    fn an_entry_as_large_as_the_table_stays_and_one_octet_more_empties_it() {
        let mut table = Table::new(40);
        assert!(table.insert(b"abcd", b"efgh", 0));
        assert_eq!(table.size(), 40);
        assert!(!table.insert(b"abcd", b"efghi", 0));
        assert_eq!((table.len(), table.size()), (0, 0));
    }

    #[test]
    fn octets_survive_any_number_of_moves() {
        let mut table = Table::new(1000);
        let mut expected = VecDeque::new();
        for round in 0..20_000u32 {
            let name = round.to_string().into_bytes();
            let value = vec![round as u8; (round * 37 % 150) as usize];
            let token = if round % 5 == 0 { static_table::name_token(b"cookie") } else { 0 };
            let name: &[u8] = if token == 0 { &name } else { b"cookie" };
            table.insert(name, &value, token);
            expected.push_front((name.to_vec(), value));
            expected.truncate(table.len());
            for (index, (name, value)) in expected.iter().enumerate() {
                let found = table.get(index).unwrap();
                assert_eq!((found.name, found.value), (&name[..], &value[..]));
            }
            assert!(table.size() <= 1000 && table.arena.capacity() <= 2000);
        }
        assert_eq!(table.size(), expected.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>());
    }

    #[test]
    fn a_lower_limit_gives_memory_back() {
        let mut table = Table::new(4096);
        assert_eq!(table.heap(), 0);
        for _ in 0..100 {
            table.insert(b"name", &[b'v'; 40], 0);
        }
        assert!(table.heap() > 2048);
        table.set_max_size(0);
        assert_eq!((table.size(), table.heap()), (0, 0));
    }
}
