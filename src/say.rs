//! Words to the user on stderr, outside of the log. A stderr that is gone is no reason to end: `eprintln!`
//! would panic.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes a line, or lines that end in a line feed of their own.
pub(crate) fn say(text: impl Display) {
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
