//! The line that requests wait in before they are sent, for whoever counts them.
//!
//! Invariant: every request that joined leaves once, whatever becomes of it.

use std::rc::Rc;

/// Whoever wants to know how many requests wait.
///
/// ```
/// use std::cell::Cell;
///
/// use stagedoor_actors::client::Line;
///
/// #[derive(Default)]
/// struct Waiting(Cell<usize>);
///
/// impl Line for Waiting {
///     fn joined(&self) {
///         self.0.set(self.0.get() + 1);
///     }
///
///     fn left(&self) {
///         self.0.set(self.0.get() - 1);
///     }
/// }
/// ```
pub trait Line {
    /// Another one waits.
    fn joined(&self);
    /// One waits no longer: it is being sent, or never will be.
    fn left(&self);
}

/// A request that waits.
pub(crate) struct InLine(Rc<dyn Line>);

impl InLine {
    pub(crate) fn new(line: Rc<dyn Line>) -> Self {
        line.joined();
        Self(line)
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.0.left();
    }
}
