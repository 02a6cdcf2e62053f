//! The terminal while `top` has it: raw keys, the other screen, no cursor.
//!
//! Invariant: whichever way it ends, by a good end, an error, a signal or a panic, the terminal is as it was. KILL excepted.

use std::io::{self, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

/// What is painted on where the terminal does not say how large it is.
const USUAL: Rect = Rect::new(0, 0, 80, 24);

/// The terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// See the module.
pub(super) struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn take() -> io::Result<Self> {
        give_back_on_panic();
        // What is taken by half is given back.
        TAKEN.store(true, Ordering::Relaxed);
        Self::enter().inspect_err(|_| give_back())
    }

    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        let viewport = match size()? {
            (0, _) | (_, 0) => Viewport::Fixed(USUAL),
            _ => Viewport::Fullscreen,
        };
        let backend = CrosstermBackend::new(io::stdout());
        Ok(Self(Terminal::with_options(backend, TerminalOptions { viewport })?))
    }

    /// Paints.
    ///
    /// # Errors
    /// A terminal that is gone.
    pub(super) fn paint(&mut self, paint: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(paint).map(|_| ())
    }

    /// Paints everything at the next time. Does not ask the terminal where its cursor is: the answer would come among the keys,
    /// which another thread reads.
    ///
    /// # Errors
    /// A terminal that is gone.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let area = self.0.get_frame().area();
        self.0.resize(area)
    }

    /// Gives the terminal back while `pause` runs.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn lend(&mut self, pause: impl FnOnce()) -> io::Result<()> {
        give_back();
        pause();
        TAKEN.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        self.forget()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        // A terminal that is gone needs nothing.
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    }
}

/// The words of a panic belong on the screen the user has afterwards.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}
