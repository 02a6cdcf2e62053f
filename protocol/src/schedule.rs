//! Who sends next (RFC 9218 §10): by urgency, in turns where a response is useful in parts, one after the
//! other where its client said it is not; no urgency waits for ever.
//!
//! Knows identifiers only. Invariant: an identifier is listed at most once; the owner keeps that by
//! `Sending::scheduled`.

use std::collections::VecDeque;

use crate::priority::Priority;

const URGENCIES: usize = 8;
/// After so many frames of more urgent streams a waiting urgency gets one.
const PATIENCE: u32 = 16;

#[derive(Debug, Default)]
struct Level {
    /// One frame each, round and round.
    turns: VecDeque<u32>,
    /// Ascending; the first is served until it is done or out of window.
    sequence: VecDeque<u32>,
    /// The sequence had the last frame of this level.
    sequence_last: bool,
    /// Frames other levels got while this one waited.
    passed_over: u32,
}

impl Level {
    fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.sequence.is_empty()
    }
}

/// Streams that have octets to send and window to send them in.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    levels: Option<Box<[Level; URGENCIES]>>,
    len: usize,
}

impl Scheduler {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, id: u32, priority: Priority) {
        let level = &mut self.levels.get_or_insert_default()[usize::from(priority.urgency) % URGENCIES];
        self.len += 1;
        if priority.incremental {
            level.turns.push_back(id);
        } else {
            let at = level.sequence.partition_point(|&other| other < id);
            level.sequence.insert(at, id);
        }
    }

    /// The stream whose turn it is; it leaves the list, and comes back by [`Self::push`] if it has more.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let levels = self.levels.as_mut()?;
        let starved = |level: &Level| level.passed_over >= PATIENCE && !level.is_empty();
        let chosen =
            levels.iter().position(starved).or_else(|| levels.iter().position(|level| !level.is_empty()))?;
        for level in levels.iter_mut().filter(|level| !level.is_empty()) {
            level.passed_over += 1;
        }
        let level = &mut levels[chosen];
        level.passed_over = 0;
        self.len -= 1;
        // Where both kinds wait at one urgency they alternate (RFC 9218 §10).
        if level.turns.is_empty() || (!level.sequence.is_empty() && !level.sequence_last) {
            level.sequence_last = true;
            level.sequence.pop_front()
        } else {
            level.sequence_last = false;
            level.turns.pop_front()
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        let Some(levels) = self.levels.as_mut() else { return };
        for level in levels.iter_mut() {
            let before = level.turns.len() + level.sequence.len();
            level.turns.retain(|&other| other != id);
            level.sequence.retain(|&other| other != id);
            self.len -= before - level.turns.len() - level.sequence.len();
        }
    }

    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.levels = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(scheduler: &mut Scheduler, with: &[(u32, Priority)], frames: usize) -> Vec<u32> {
        (0..frames)
            .map(|_| {
                let id = scheduler.pop().unwrap();
                let priority = with.iter().find(|(other, _)| *other == id).unwrap().1;
                scheduler.push(id, priority);
                id
            })
            .collect()
    }

    #[test]
    fn turns_sequences_and_urgencies() {
        let p = |urgency, incremental| Priority { urgency, incremental };
        let with = [(5, p(3, true)), (7, p(3, true)), (1, p(5, false)), (3, p(5, false))];
        let mut scheduler = Scheduler::default();
        for (id, priority) in with {
            scheduler.push(id, priority);
        }
        assert_eq!(served(&mut scheduler, &with, 4), [5, 7, 5, 7]);
        scheduler.remove(5);
        scheduler.remove(7);
        assert_eq!(served(&mut scheduler, &with, 3), [1, 1, 1]);
        scheduler.remove(1);
        scheduler.remove(3);
        assert!(scheduler.is_empty() && scheduler.pop().is_none());
    }

    #[test]
    fn background_streams_still_move() {
        let p = |urgency| Priority { urgency, incremental: true };
        let with = [(1, p(0)), (3, p(7)), (5, p(6))];
        let mut scheduler = Scheduler::default();
        for (id, priority) in with {
            scheduler.push(id, priority);
        }
        let order = served(&mut scheduler, &with, 100);
        for id in [3, 5] {
            let frames = order.iter().filter(|&&other| other == id).count();
            assert!((4..=8).contains(&frames), "{id}: {frames}");
        }
    }
}
