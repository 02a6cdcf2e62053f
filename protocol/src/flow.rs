//! What the peer may send: receive windows of streams and of the connection (RFC 9113 §5.2, §6.9).
//!
//! Sends no frames; says how much to give back. Invariants: for a stream, window + unread never exceeds its
//! target; for the connection, window + unread of all streams never exceeds the session's memory.

use crate::config::Window;

/// Octets a window may not exceed (§6.9.1).
pub(crate) const MAX_WINDOW: i64 = 0x7fff_ffff;

/// What a piece of a body that waits for its reader costs beside its octets: a body in pieces of one octet must
/// not take a hundred times its memory.
const PIECE: usize = 64;

/// Receive side of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamWindow {
    /// Octets the peer may send; below zero after we lowered SETTINGS_INITIAL_WINDOW_SIZE (§6.9.2).
    window: i64,
    /// What window + unread is brought up to.
    target: i64,
    /// Octets received and not consumed.
    unread: usize,
    /// DATA frames they came in.
    pieces: usize,
    /// Octets consumed since the target last grew.
    consumed: i64,
}

impl StreamWindow {
    pub(crate) fn new(initial: u32) -> Self {
        Self { window: i64::from(initial), target: i64::from(initial), unread: 0, pieces: 0, consumed: 0 }
    }

    pub(crate) fn window(&self) -> i64 {
        self.window
    }

    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    pub(crate) fn pieces(&self) -> usize {
        self.pieces
    }

    /// Takes `flow` octets off the window, `data` of which wait for the reader.
    /// # Errors
    /// By how many octets the window was exceeded.
    #[inline]
    pub(crate) fn receive(&mut self, flow: usize, data: usize) -> Result<(), u32> {
        let rest = self.window - flow as i64;
        if rest < 0 && flow > 0 {
            return Err(rest.unsigned_abs().min(u64::from(u32::MAX)) as u32);
        }
        self.window = rest;
        self.unread += data;
        self.pieces += usize::from(data > 0);
        Ok(())
    }

    /// The reader took up to `count` octets; returns how many it really had.
    pub(crate) fn consume(&mut self, count: usize) -> usize {
        let taken = count.min(self.unread);
        if taken == self.unread {
            self.pieces = 0;
        } else {
            // Their share; which octets came in which piece is not kept.
            self.pieces -= (self.pieces as u64 * taken as u64 / self.unread as u64) as usize;
        }
        self.unread -= taken;
        self.consumed += taken as i64;
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
        let owed = self.target.min(MAX_WINDOW - raise) - self.unread as i64 - self.window;
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionWindow {
    window: i64,
    target: i64,
    max: i64,
    /// Unread octets of all streams.
    unread: usize,
    /// The pieces they came in.
    pieces: usize,
    consumed: i64,
    memory: i64,
}

impl ConnectionWindow {
    /// Starts at the 65 535 octets of §6.9.2; the first [`Self::update`] brings it to `bounds.start`.
    pub(crate) fn new(bounds: Window, memory: usize) -> Self {
        let memory = (memory as i64).max(65_535);
        Self {
            window: 65_535,
            target: i64::from(bounds.start).min(memory),
            max: i64::from(bounds.max).min(memory),
            unread: 0,
            pieces: 0,
            consumed: 0,
            memory,
        }
    }

    pub(crate) fn window(&self) -> i64 {
        self.window
    }

    /// Octets the window is brought up to.
    pub(crate) fn target(&self) -> i64 {
        self.target
    }

    /// What unread bodies cost.
    pub(crate) fn charged(&self) -> usize {
        self.unread + self.pieces * PIECE
    }

    /// Unread octets became a piece that waits.
    #[inline]
    pub(crate) fn keep_piece(&mut self) {
        self.pieces += 1;
    }

    /// As [`StreamWindow::receive`].
    #[inline]
    pub(crate) fn receive(&mut self, flow: usize, data: usize) -> Result<(), u32> {
        let rest = self.window - flow as i64;
        if rest < 0 {
            return Err(rest.unsigned_abs().min(u64::from(u32::MAX)) as u32);
        }
        self.window = rest;
        self.unread += data;
        Ok(())
    }

    /// Octets left the unread ones, and so did `pieces` they came in: read, or dropped with their stream.
    pub(crate) fn release(&mut self, count: usize, pieces: usize) {
        self.unread -= count.min(self.unread);
        self.pieces -= pieces.min(self.pieces);
        self.consumed += count as i64;
    }

    /// Whether arrival alone gives credit back: while less than half the memory is taken, a paused stream
    /// must not hold up the others.
    pub(crate) fn roomy(&self) -> bool {
        (self.charged() as i64) < self.memory / 2
    }

    /// So many pieces wait that withheld credit was no answer to them.
    pub(crate) fn crowded(&self) -> bool {
        self.charged() as i64 > 2 * self.memory
    }

    /// What to send as WINDOW_UPDATE now, if it is worth a frame.
    pub(crate) fn update(&mut self) -> Option<u32> {
        if self.consumed >= self.target && self.target < self.max {
            self.target = (self.target * 2).min(self.max);
            self.consumed = 0;
        }
        let wanted = self.target.min(self.memory - self.charged() as i64);
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
        window.receive(100, 100).unwrap();
        assert_eq!(window.receive(1, 1), Err(1));
        assert_eq!(window.consume(49), 49);
        assert_eq!(window.update(bounds, None, 0), None);
        window.consume(1);
        assert_eq!(window.update(bounds, None, 0), Some(50));
        window.consume(50);
        assert_eq!(window.update(bounds, None, 0), Some(150), "target doubled to 200");
        assert_eq!(window.window(), 200);
        assert_eq!(window.consume(1), 0, "nothing left to consume");
    }

    #[test]
    fn a_window_of_one_octet_moves_one_octet_at_a_time() {
        let bounds = Window { start: 1, max: 1 };
        let mut window = StreamWindow::new(1);
        for _ in 0..3 {
            window.receive(1, 1).unwrap();
            window.consume(1);
            assert_eq!(window.update(bounds, None, 0), Some(1));
        }
    }

    #[test]
    fn the_connection_never_promises_more_than_memory() {
        let mut window = ConnectionWindow::new(Window { start: 1 << 20, max: 16 << 20 }, 1 << 20);
        while let Some(_credit) = window.update() {}
        let mut unread = 0i64;
        while window.window() > 0 {
            let step = window.window().min(16_384);
            window.receive(step as usize, step as usize).unwrap();
            unread += step;
            if window.roomy() {
                let _ = window.update();
            }
            assert!(unread + window.window() <= 1 << 20);
        }
        window.release(unread as usize, 0);
        assert!(window.update().is_some());
    }
}
