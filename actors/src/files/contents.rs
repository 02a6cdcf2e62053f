//! Small files that many ask for: their octets, kept by a worker so that they are read once and sent often.
//!
//! A file is opened and looked at for every request, cached or not; what is kept stands in for reading alone. It
//! does so while size, modification time and change time are those it was read under, and for [`FRESH`] at most:
//! stores through a shared mapping need not touch the times. A file is kept when it was asked for twice within that
//! time, and when its times are older than the two seconds in which two changes could share one.
//!
//! What goes when there is no room is found by a clock: its hand takes marks away, use sets them, and what it finds
//! without one goes. It moves [`STEPS`] for each file that wants in, so files that are used more often than others
//! come stay, also where all of them together do not fit.
//!
//! Invariant: what is held, that of streams which still send what is no longer kept included, is never more than was
//! allowed.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::fs::Metadata;
use std::hash::BuildHasher as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::conditions::SETTLED;

/// Octets of the largest file that is kept.
pub(super) const LARGEST: u64 = 256 << 10;

/// Octets that a worker keeps where nothing else is said.
pub(super) const DEFAULT: usize = 16 << 20;

/// How long a content is taken for the file's own without being read again.
const FRESH: Duration = Duration::from_secs(1);

/// How often is looked for what nobody asks for any more; it goes when it was not read anew for so long.
const SWEEP: Duration = Duration::from_secs(30);

/// Files that the hand of the clock passes for one that wants in.
const STEPS: usize = 4;

/// Octets that a file is charged with beside its own.
const CHARGE: usize = 256;

/// Sets of files that are remembered as asked for once, and how many are in a set.
const SEEN: usize = 256;
const WAYS: usize = 4;

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
}

impl Key {
    fn of(stat: &Metadata) -> Self {
        Self { device: stat.dev(), inode: stat.ino() }
    }
}

/// A file in one of its states; another content has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(stat: &Metadata) -> Self {
        Self {
            size: stat.len(),
            modified: (stat.mtime(), stat.mtime_nsec()),
            changed: (stat.ctime(), stat.ctime_nsec()),
        }
    }

    /// Whatever changes the file from `now` on changes one of its times.
    fn is_settled(&self, now: SystemTime) -> bool {
        let Some(until) = now.checked_sub(SETTLED).and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        else {
            return false;
        };
        let until = (i64::try_from(until.as_secs()).unwrap_or(i64::MAX), i64::from(until.subsec_nanos()));
        self.modified <= until && self.changed <= until
    }
}

/// What is kept of a file; of one that has changed, no octets.
#[derive(Debug)]
struct Content {
    state: State,
    octets: Bytes,
    /// When they were read.
    read: Instant,
    /// Asked for since the hand passed by.
    used: bool,
}

/// What [`Contents::look`] knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// All octets of the file.
    Whole(Bytes),
    /// It is asked for often, and there is room: [`Contents::keep`] should be given all of its octets.
    Wanted,
    /// Nothing, and nothing is wanted.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Contents {
    allowed: usize,
    kept: HashMap<Key, Content>,
    /// What `kept` is charged with.
    charged: usize,
    /// The keys of `kept`, in the order in which the hand comes by.
    clock: VecDeque<Key>,
    /// No longer kept, and perhaps not yet sent.
    leaving: Vec<Bytes>,
    /// Files asked for once, by hash, and when.
    seen: Vec<[Option<(u64, Instant)>; WAYS]>,
    hasher: RandomState,
    swept: Option<Instant>,
}

impl Contents {
    /// Keeps `allowed` octets at most.
    pub(super) fn new(allowed: usize) -> Self {
        Self {
            allowed,
            kept: HashMap::new(),
            charged: 0,
            clock: VecDeque::new(),
            leaving: Vec::new(),
            seen: Vec::new(),
            hasher: RandomState::new(),
            swept: None,
        }
    }

    /// What is known of the regular file that was just opened and found to be `stat`.
    pub(super) fn look(&mut self, stat: &Metadata, now: Instant, wall: SystemTime) -> Known {
        self.sweep(now);
        self.look_for(Key::of(stat), State::of(stat), now, wall)
    }

    fn look_for(&mut self, key: Key, state: State, now: Instant, wall: SystemTime) -> Known {
        if state.size == 0 || state.size > LARGEST.min(self.allowed as u64) {
            return Known::Nothing;
        }
        if let Some(content) = self.kept.get_mut(&key) {
            if content.state == state && !content.octets.is_empty() {
                content.used = true;
                let fresh = now.saturating_duration_since(content.read) < FRESH;
                return if fresh { Known::Whole(content.octets.clone()) } else { Known::Wanted };
            }
            self.forget(key);
        }
        if !state.is_settled(wall) {
            return Known::Nothing;
        }
        let again = self.is_second(self.hasher.hash_one((key, state)), now);
        if again && self.make_room(state.size as usize) { Known::Wanted } else { Known::Nothing }
    }

    /// Whether this was asked for before, within [`FRESH`]. Remembered from now on, in place of the oldest of its set.
    fn is_second(&mut self, hash: u64, now: Instant) -> bool {
        if self.seen.is_empty() {
            self.seen.resize(SEEN, [None; WAYS]);
        }
        let Some(set) = self.seen.get_mut(hash as usize % SEEN) else { return false };
        let is_it = |seen: &Option<(u64, Instant)>| seen.is_some_and(|(other, _)| other == hash);
        if let Some(Some((_, when))) = set.iter_mut().find(|seen| is_it(seen)) {
            let before = std::mem::replace(when, now);
            return now.saturating_duration_since(before) < FRESH;
        }
        if let Some(oldest) = set.iter_mut().min_by_key(|seen| seen.map(|(_, when)| when)) {
            *oldest = Some((hash, now));
        }
        false
    }

    /// Keeps all `octets` of the file, read after it was found to be `stat`, where there is room for them.
    pub(super) fn keep(&mut self, stat: &Metadata, octets: &Bytes, now: Instant) {
        self.keep_as(Key::of(stat), State::of(stat), octets, now);
    }

    fn keep_as(&mut self, key: Key, state: State, octets: &Bytes, now: Instant) {
        if octets.len() as u64 != state.size {
            return;
        }
        if let Some(content) = self.kept.get_mut(&key)
            && content.state == state
            && content.octets == octets
        {
            // The very same: streams that send it and those to come share one.
            content.read = now;
            return;
        }
        self.forget(key);
        if self.held() + octets.len() + CHARGE > self.allowed {
            return;
        }
        let content = Content { state, octets: octets.clone(), read: now, used: true };
        self.charged += octets.len();
        if self.kept.insert(key, content).is_none() {
            self.charged += CHARGE;
            self.clock.push_back(key);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.leaving.is_empty()
    }

    /// What is kept or still sent.
    fn held(&self) -> usize {
        self.charged + self.leaving.iter().map(Bytes::len).sum::<usize>()
    }

    /// Moves the hand until `octets` more are allowed, or for as long as it may. What is being sent stays: it would
    /// not be gone.
    fn make_room(&mut self, octets: usize) -> bool {
        self.leaving.retain(|content| !content.is_unique());
        let leaving = self.held() - self.charged;
        let full = |charged: usize| charged + leaving + octets + CHARGE > self.allowed;
        for _ in 0..STEPS {
            if !full(self.charged) {
                break;
            }
            let Some(key) = self.clock.pop_front() else { break };
            let Some(content) = self.kept.get_mut(&key) else { continue };
            if content.used || !is_ours_alone(&content.octets) {
                content.used = false;
                self.clock.push_back(key);
            } else {
                self.charged -= content.octets.len() + CHARGE;
                self.kept.remove(&key);
            }
        }
        !full(self.charged)
    }

    /// The octets of a file are not its own any more. Its place goes when the hand finds it.
    fn forget(&mut self, key: Key) {
        let Some(content) = self.kept.get_mut(&key) else { return };
        content.used = false;
        let octets = std::mem::take(&mut content.octets);
        self.charged -= octets.len();
        if !is_ours_alone(&octets) {
            self.leaving.push(octets);
        }
    }

    /// Gives back what nobody asks for.
    fn sweep(&mut self, now: Instant) {
        let swept = self.swept.get_or_insert(now);
        if now.saturating_duration_since(*swept) < SWEEP {
            return;
        }
        *swept = now;
        self.leaving.retain(|content| !content.is_unique());
        for key in &self.clock {
            let old = |content: &Content| now.saturating_duration_since(content.read) >= SWEEP;
            if self.kept.get(key).is_some_and(|content| old(content) && is_ours_alone(&content.octets))
                && let Some(content) = self.kept.remove(key)
            {
                self.charged -= content.octets.len() + CHARGE;
            }
        }
        self.clock.retain(|key| self.kept.contains_key(key));
        self.kept.shrink_to_fit();
        self.leaving.shrink_to_fit();
    }
}

/// Nobody sends them.
fn is_ours_alone(octets: &Bytes) -> bool {
    octets.is_empty() || octets.is_unique()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Key = Key { device: 1, inode: 1 };

    fn settled(size: u64) -> State {
        State { size, modified: (1_000, 0), changed: (1_000, 0) }
    }

    /// Contents, and the clocks of the test.
    struct Shelf {
        contents: Contents,
        now: Instant,
        wall: SystemTime,
    }

    impl Shelf {
        fn new(allowed: usize) -> Self {
            let wall = UNIX_EPOCH + Duration::from_secs(1_000_000);
            Self { contents: Contents::new(allowed), now: Instant::now(), wall }
        }

        fn look(&mut self, key: Key, state: State) -> Known {
            self.contents.sweep(self.now);
            self.contents.look_for(key, state, self.now, self.wall)
        }

        /// As a request does.
        fn ask(&mut self, key: Key, state: State) -> Known {
            let known = self.look(key, state);
            if known == Known::Wanted {
                let octets = Bytes::from(vec![key.inode as u8; state.size as usize]);
                self.contents.keep_as(key, state, &octets, self.now);
            }
            self.check();
            known
        }

        fn check(&self) {
            let contents = &self.contents;
            assert!(contents.held() <= contents.allowed, "{} of {}", contents.held(), contents.allowed);
            let charged: usize = contents.kept.values().map(|content| content.octets.len() + CHARGE).sum();
            assert_eq!(charged, contents.charged);
            assert_eq!(contents.clock.len(), contents.kept.len());
            assert!(contents.clock.iter().all(|key| contents.kept.contains_key(key)));
        }

        fn is_kept(&self, key: Key) -> bool {
            self.contents.kept.get(&key).is_some_and(|content| !content.octets.is_empty())
        }
    }

    fn nth(inode: u64) -> Key {
        Key { device: 1, inode }
    }

    #[test]
    fn a_file_is_kept_when_it_is_asked_for_twice_within_a_second() {
        let mut shelf = Shelf::new(DEFAULT);
        assert_eq!(shelf.ask(FILE, settled(9)), Known::Nothing);
        shelf.now += FRESH;
        assert_eq!(shelf.ask(FILE, settled(9)), Known::Nothing, "that was too long ago");
        shelf.now += FRESH - Duration::from_millis(1);
        assert_eq!(shelf.ask(FILE, settled(9)), Known::Wanted);
        assert_eq!(shelf.ask(FILE, settled(9)), Known::Whole(Bytes::from_static(&[1; 9])));
    }

    #[test]
    fn after_a_second_it_is_read_again_and_the_same_octets_are_shared() {
        let mut shelf = Shelf::new(DEFAULT);
        let before = loop {
            if let Known::Whole(octets) = shelf.ask(FILE, settled(9)) {
                break octets;
            }
        };
        shelf.now += FRESH;
        assert_eq!(shelf.ask(FILE, settled(9)), Known::Wanted);
        let Known::Whole(after) = shelf.ask(FILE, settled(9)) else { panic!("it is fresh again") };
        assert_eq!(before.as_ptr(), after.as_ptr());

        // A store through a mapping: the times are the same, the octets are not.
        shelf.now += FRESH;
        assert_eq!(shelf.look(FILE, settled(9)), Known::Wanted);
        shelf.contents.keep_as(FILE, settled(9), &Bytes::from_static(b"different"), shelf.now);
        assert_eq!(shelf.ask(FILE, settled(9)), Known::Whole(Bytes::from_static(b"different")));
        assert_eq!(after, &[1; 9][..], "who sends the old ones goes on");
    }

    #[test]
    fn whatever_differs_is_another_content() {
        let was = settled(9);
        for (key, state) in [
            (FILE, State { size: 8, ..was }),
            (FILE, State { modified: (1_000, 1), ..was }),
            (FILE, State { modified: (999, 0), ..was }),
            (FILE, State { changed: (1_000, 1), ..was }),
            (Key { inode: 2, ..FILE }, was),
            (Key { device: 2, ..FILE }, was),
        ] {
            let mut shelf = Shelf::new(DEFAULT);
            shelf.ask(FILE, was);
            shelf.ask(FILE, was);
            assert!(shelf.is_kept(FILE));
            assert_eq!(shelf.ask(key, state), Known::Nothing, "{key:?} {state:?}");
            assert_eq!(shelf.is_kept(FILE), key != FILE, "octets of no use are gone");
        }
    }

    #[test]
    fn what_changed_within_two_seconds_is_not_kept() {
        let mut shelf = Shelf::new(DEFAULT);
        let at = |ago: Duration| {
            let since =
                (UNIX_EPOCH + Duration::from_secs(1_000_000) - ago).duration_since(UNIX_EPOCH).unwrap();
            (since.as_secs() as i64, i64::from(since.subsec_nanos()))
        };
        let (young, old) = (at(SETTLED - Duration::from_nanos(1)), at(SETTLED));
        for (inode, (modified, changed)) in
            [(young, old), (old, young), (young, young)].into_iter().enumerate()
        {
            let (key, state) = (nth(inode as u64), State { size: 9, modified, changed });
            assert!((0..3).all(|_| shelf.ask(key, state) == Known::Nothing), "{state:?}");
        }
        let state = State { size: 9, modified: old, changed: old };
        assert_eq!((shelf.ask(FILE, state), shelf.ask(FILE, state)), (Known::Nothing, Known::Wanted));
        let ahead = State { size: 9, modified: (1 << 40, 0), changed: old };
        assert!((0..3).all(|_| shelf.ask(nth(7), ahead) == Known::Nothing), "a time that is yet to come");
    }

    #[test]
    fn sizes_have_bounds() {
        let mut shelf = Shelf::new(DEFAULT);
        for (inode, size) in [(1, 0), (2, LARGEST + 1), (3, u64::MAX)] {
            assert!((0..3).all(|_| shelf.ask(nth(inode), settled(size)) == Known::Nothing), "{size}");
        }
        shelf.ask(nth(4), settled(LARGEST));
        assert_eq!(shelf.ask(nth(4), settled(LARGEST)), Known::Wanted);
        let mut small = Shelf::new(1000);
        for size in [1000 - CHARGE as u64 + 1, 1000, 1001] {
            assert!((0..3).all(|_| small.ask(FILE, settled(size)) == Known::Nothing), "{size}");
        }
        small.ask(FILE, settled(1000 - CHARGE as u64));
        assert_eq!(small.ask(FILE, settled(1000 - CHARGE as u64)), Known::Wanted);
    }

    #[test]
    fn half_a_file_is_not_kept() {
        let mut shelf = Shelf::new(DEFAULT);
        shelf.ask(FILE, settled(9));
        assert_eq!(shelf.look(FILE, settled(9)), Known::Wanted);
        shelf.contents.keep_as(FILE, settled(9), &Bytes::from_static(b"short"), shelf.now);
        assert!(!shelf.is_kept(FILE));
    }

    #[test]
    fn what_nobody_asks_for_makes_room_for_what_is_asked_for() {
        const SIZE: u64 = 1000;
        let mut shelf = Shelf::new(10 * (SIZE as usize + CHARGE));
        for inode in 0..10 {
            shelf.ask(nth(inode), settled(SIZE));
            assert_eq!(shelf.ask(nth(inode), settled(SIZE)), Known::Wanted);
        }
        // One is used all the time, and one more comes to stay.
        for _ in 0..10 {
            assert!(matches!(shelf.ask(nth(3), settled(SIZE)), Known::Whole(_)));
            shelf.ask(nth(99), settled(SIZE));
        }
        assert!(shelf.is_kept(nth(3)) && shelf.is_kept(nth(99)));
        assert_eq!(shelf.contents.kept.len(), 10);
    }

    #[test]
    fn more_than_fits_does_not_push_out_all_of_it() {
        const SIZE: u64 = 1000;
        let mut shelf = Shelf::new(100 * (SIZE as usize + CHARGE));
        let mut hits = 0;
        for _ in 0..50 {
            for inode in 0..105 {
                hits += usize::from(matches!(shelf.ask(nth(inode), settled(SIZE)), Known::Whole(_)));
            }
        }
        assert!(hits > 50 * 90, "{hits} of {}", 50 * 105);
    }

    #[test]
    fn what_is_still_sent_counts_and_comes_back_when_it_is_sent() {
        const SIZE: u64 = 1000;
        let mut shelf = Shelf::new(2 * (SIZE as usize + CHARGE));
        let mut sent = Vec::new();
        for inode in 0..2 {
            while sent.len() == inode as usize {
                if let Known::Whole(octets) = shelf.ask(nth(inode), settled(SIZE)) {
                    sent.push(octets);
                }
            }
        }
        // Both changed, and both are still sent as they were: there is room for nothing.
        let changed = State { modified: (2_000, 0), ..settled(SIZE) };
        for _ in 0..20 {
            assert_eq!(shelf.ask(nth(0), changed), Known::Nothing);
            assert_eq!(shelf.ask(nth(5), settled(SIZE)), Known::Nothing);
        }
        assert!(shelf.contents.held() > 2 * SIZE as usize);
        sent.clear();
        shelf.ask(nth(5), settled(SIZE));
        shelf.ask(nth(5), settled(SIZE));
        assert!(shelf.is_kept(nth(5)));
    }

    #[test]
    fn memory_that_serves_nobody_is_given_back() {
        let mut shelf = Shelf::new(DEFAULT);
        for inode in 0..20 {
            shelf.ask(nth(inode), settled(1000));
            shelf.ask(nth(inode), settled(1000));
        }
        assert_eq!(shelf.contents.held(), 20 * (1000 + CHARGE));
        shelf.now += SWEEP - FRESH;
        shelf.ask(nth(7), settled(1000));
        shelf.now += FRESH;
        shelf.ask(nth(7), settled(1000));
        assert_eq!(shelf.contents.kept.len(), 1, "the one that was asked for");
        shelf.now += 2 * SWEEP;
        shelf.ask(nth(99), settled(1));
        assert_eq!((shelf.contents.held(), shelf.contents.clock.capacity() > 64), (0, false));
    }

    #[test]
    fn the_bound_holds_whatever_is_asked_for() {
        // A fixed sequence of numbers (splitmix64), so that a failure comes again.
        let mut seed = 7_u64;
        let mut next = move |below: u64| {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = seed;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (x ^ (x >> 31)) % below
        };
        let mut shelf = Shelf::new(40_000);
        let mut sending: Vec<Bytes> = Vec::new();
        let mut hits = 0;
        for _ in 0..50_000 {
            let key = nth(next(30));
            let changed = (1_000 + next(2) as i64 * next(2) as i64, 0);
            let state = State { changed, ..settled(1 + key.inode * 331) };
            if let Known::Whole(octets) = shelf.ask(key, state) {
                assert_eq!(octets.len() as u64, state.size);
                hits += 1;
                sending.push(octets);
            }
            for _ in 0..next(3) {
                if !sending.is_empty() {
                    sending.swap_remove(next(sending.len() as u64) as usize);
                }
            }
            shelf.now += Duration::from_millis(next(40));
        }
        assert!(hits > 1_000, "{hits}");
    }
}
