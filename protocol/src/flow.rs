//! What the peer may send: receive windows of streams and of the connection (RFC 9113 §5.2, §6.9).
//!
//! Sends no frames; says how much to give back. Invariants: for a stream, window + unread never exceeds its
//! target; for the connection, window + unread of all streams never exceeds the session's memory.

use crate::budget::SMALL;
use crate::config::Window;
use crate::memory::{Account, Credit};

/// Octets a window may not exceed (§6.9.1).
pub(crate) const MAX_WINDOW: i64 = 0x7fff_ffff;

/// What a piece of a body that waits for its reader costs beside its octets: a body in pieces of one octet must
/// not take a hundred times its memory.
const PIECE: usize = 64;

/// Body octets that wait for their reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) octets: usize,
    /// DATA frames they came in.
    pub(crate) pieces: usize,
    /// Octets by which these fall short of [`SMALL`] each, where no window forced them to.
    pub(crate) thin: usize,
}

impl Unread {
    /// One DATA frame of `octets`; `forced` where the peer's window had no room for more.
    #[inline]
    pub(crate) fn piece(octets: usize, forced: bool) -> Self {
        let thin = if forced { 0 } else { SMALL.saturating_sub(octets) };
        Self { octets, pieces: usize::from(octets > 0), thin: if octets > 0 { thin } else { 0 } }
    }

    #[inline]
    fn add(&mut self, piece: Self) {
        self.octets += piece.octets;
        self.pieces += piece.pieces;
        self.thin += piece.thin;
        // A frame that brings more than its share makes up for others.
        if self.thin > 0 {
            self.thin -= piece.octets.saturating_sub(SMALL).min(self.thin);
        }
    }

    fn sub(&mut self, part: Self) {
        self.octets -= part.octets.min(self.octets);
        self.pieces -= part.pieces.min(self.pieces);
        self.thin -= part.thin.min(self.thin);
    }

    /// Takes up to `count` octets away, with their share of the rest: which octets came in which piece is not kept.
    #[inline]
    fn take(&mut self, count: usize) -> Self {
        if count >= self.octets {
            return std::mem::take(self);
        }
        let share = |whole: usize| (whole as u64 * count as u64 / self.octets as u64) as usize;
        let part = Self { octets: count, pieces: share(self.pieces), thin: share(self.thin) };
        self.sub(part);
        part
    }
}

/// Receive side of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamWindow {
    /// Octets the peer may send; below zero after we lowered SETTINGS_INITIAL_WINDOW_SIZE (§6.9.2).
    window: i64,
    /// What window + unread is brought up to.
    target: i64,
    /// Received and not consumed.
    unread: Unread,
    /// Octets consumed since the target last grew.
    consumed: i64,
}

impl StreamWindow {
    pub(crate) fn new(initial: u32) -> Self {
        let window = i64::from(initial);
        Self { window, target: window, unread: Unread::default(), consumed: 0 }
    }

    pub(crate) fn window(&self) -> i64 {
        self.window
    }

    pub(crate) fn unread(&self) -> Unread {
        self.unread
    }

    /// Takes `flow` octets off the window.
    /// # Errors
    /// By how many octets the window was exceeded.
    #[inline]
    pub(crate) fn receive(&mut self, flow: usize) -> Result<(), u32> {
        let rest = self.window - flow as i64;
        if rest < 0 && flow > 0 {
            return Err(rest.unsigned_abs().min(u64::from(u32::MAX)) as u32);
        }
        self.window = rest;
        Ok(())
    }

    /// A piece waits for its reader.
    #[inline]
    pub(crate) fn keep(&mut self, piece: Unread) {
        self.unread.add(piece);
    }

    /// The reader took up to `count` octets; returns what it really had.
    pub(crate) fn consume(&mut self, count: usize) -> Unread {
        let taken = self.unread.take(count);
        self.consumed += taken.octets as i64;
        taken
    }

    /// What to send as WINDOW_UPDATE now, if it is worth a frame. `remaining` is what the body still owes,
    /// where it was declared: no credit beyond it is needed. `raise` is what SETTINGS on their way will add.
    pub(crate) fn update(&mut self, bounds: Window, remaining: Option<u64>, raise: i64) -> Option<u32> {
        let max = i64::from(bounds.max);
        if self.consumed >= self.target && self.target < max {
            self.target = (self.target * 2).min(max);
            self.consumed = 0;
        }
        let owed = self.target.min(MAX_WINDOW - raise) - self.unread.octets as i64 - self.window;
        let enough = remaining.is_some_and(|remaining| self.window >= 0 && remaining <= self.window as u64);
        if owed <= 0 || owed < self.target / 2 || enough {
            return None;
        }
        self.window += owed;
        Some(owed as u32)
    }

    /// Our SETTINGS_INITIAL_WINDOW_SIZE changed by `delta` (§6.9.2).
    pub(crate) fn shift(&mut self, delta: i64) {
        self.window += delta;
        self.target = (self.target + delta).clamp(1, MAX_WINDOW);
    }
}

/// Receive side of the connection.
#[derive(Debug)]
pub(crate) struct ConnectionWindow {
    window: i64,
    target: i64,
    max: i64,
    /// What waits on all streams.
    unread: Unread,
    consumed: i64,
    memory: i64,
    /// What waits, charged.
    charge: Credit,
}

impl ConnectionWindow {
    /// Starts at the 65 535 octets of §6.9.2; the first [`Self::update`] brings it to `bounds.start`. What waits is
    /// charged to `account`, which should stay below `memory`.
    pub(crate) fn new(bounds: Window, memory: usize, account: &Account) -> Self {
        let memory = (memory as i64).max(65_535);
        Self {
            window: 65_535,
            target: i64::from(bounds.start).min(memory),
            max: i64::from(bounds.max).min(memory),
            unread: Unread::default(),
            consumed: 0,
            memory,
            charge: account.credit(),
        }
    }

    pub(crate) fn window(&self) -> i64 {
        self.window
    }

    /// Octets the window is brought up to.
    pub(crate) fn target(&self) -> i64 {
        self.target
    }

    /// Octets by which unread frames are small.
    pub(crate) fn thin(&self) -> usize {
        self.unread.thin
    }

    /// As [`StreamWindow::receive`].
    #[inline]
    pub(crate) fn receive(&mut self, flow: usize) -> Result<(), u32> {
        let rest = self.window - flow as i64;
        if rest < 0 {
            return Err(rest.unsigned_abs().min(u64::from(u32::MAX)) as u32);
        }
        self.window = rest;
        Ok(())
    }

    /// A piece waits for its reader.
    #[inline]
    pub(crate) fn keep(&mut self, piece: Unread) {
        self.unread.add(piece);
        self.recharge();
    }

    /// Octets came that nobody will read.
    #[inline]
    pub(crate) fn skip(&mut self, octets: usize) {
        self.consumed += octets as i64;
    }

    /// What waited was read, or dropped with its stream.
    pub(crate) fn release(&mut self, part: Unread) {
        self.unread.sub(part);
        self.consumed += part.octets as i64;
        self.recharge();
    }

    #[inline]
    fn recharge(&mut self) {
        self.charge.resize(self.unread.octets + self.unread.pieces * PIECE);
    }

    /// What unread bodies cost. What we have to send is not looked at here: two sides that each waited for the other to
    /// take something before they gave credit would wait for ever.
    #[inline]
    fn charged(&self) -> i64 {
        self.charge.octets() as i64
    }

    /// Whether arrival alone gives credit back: while less than half the memory is taken, a paused stream
    /// must not hold up the others.
    #[inline]
    pub(crate) fn roomy(&self) -> bool {
        self.charged() < self.memory / 2
    }

    /// So many pieces wait that withheld credit was no answer to them.
    pub(crate) fn crowded(&self) -> bool {
        self.charged() > 2 * self.memory
    }

    /// What to send as WINDOW_UPDATE now, if it is worth a frame.
    pub(crate) fn update(&mut self) -> Option<u32> {
        if self.consumed >= self.target && self.target < self.max {
            self.target = (self.target * 2).min(self.max);
            self.consumed = 0;
        }
        // A reader that pauses must not bring the connection over its memory: the rest has room beside it.
        let wanted = self.target.min(self.memory - self.memory / 16 - self.charged());
        let owed = wanted - self.window;
        if owed <= 0 || owed < wanted / 2 {
            return None;
        }
        self.window += owed;
        Some(owed as u32)
    }

    /// The owner wants at least `target` octets outstanding.
    pub(crate) fn set_target(&mut self, target: u32) {
        self.target = i64::from(target).min(self.memory);
        self.max = self.max.max(self.target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_gets_credit_in_halves_and_grows_with_consumption() {
        let bounds = Window { start: 100, max: 400 };
        let mut window = StreamWindow::new(100);
        window.receive(100).unwrap();
        window.keep(Unread::piece(100, true));
        assert_eq!(window.receive(1), Err(1));
        assert_eq!(window.consume(49).octets, 49);
        assert_eq!(window.update(bounds, None, 0), None);
        window.consume(1);
        assert_eq!(window.update(bounds, None, 0), Some(50));
        window.consume(50);
        assert_eq!(window.update(bounds, None, 0), Some(150), "target doubled to 200");
        assert_eq!(window.window(), 200);
        assert_eq!(window.consume(1), Unread::default(), "nothing left to consume");
    }

    #[test]
    fn a_window_of_one_octet_moves_one_octet_at_a_time() {
        let bounds = Window { start: 1, max: 1 };
        let mut window = StreamWindow::new(1);
        for _ in 0..3 {
            window.receive(1).unwrap();
            window.keep(Unread::piece(1, true));
            window.consume(1);
            assert_eq!(window.update(bounds, None, 0), Some(1));
        }
    }

    #[test]
    fn small_pieces_weigh_until_they_are_read_or_made_up_for() {
        let mut window = StreamWindow::new(1000);
        window.keep(Unread::piece(6, true));
        assert_eq!(window.unread().thin, 0, "no room for more");
        window.keep(Unread::piece(6, false));
        window.keep(Unread::piece(SMALL, false));
        assert_eq!(window.unread().thin, SMALL - 6);
        window.keep(Unread::piece(SMALL + 100, false));
        assert_eq!(window.unread(), Unread { octets: 12 + 2 * SMALL + 100, pieces: 4, thin: SMALL - 106 });
        assert_eq!(window.consume(usize::MAX).pieces, 4);
        assert_eq!(window.unread(), Unread::default());
        assert_eq!(Unread::piece(0, false), Unread::default(), "empty frames have a budget of their own");
    }

    #[test]
    fn the_connection_never_promises_more_than_memory() {
        let mut window =
            ConnectionWindow::new(Window { start: 1 << 20, max: 16 << 20 }, 1 << 20, &Account::default());
        while let Some(_credit) = window.update() {}
        let mut unread = 0i64;
        while window.window() > 0 {
            let step = window.window().min(16_384);
            window.receive(step as usize).unwrap();
            window.keep(Unread::piece(step as usize, true));
            unread += step;
            if window.roomy() {
                let _ = window.update();
            }
            assert!(unread + window.window() <= 1 << 20);
        }
        window.release(Unread { octets: unread as usize, ..Unread::default() });
        assert!(window.update().is_some());
    }
}
