//! Text as a terminal may see it, and figures as people read them.
//!
//! Invariant: what comes out of [`plain`] and [`json`] has no character that steers a terminal or turns the text around.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Control characters (C0, DEL, C1) and those that reorder, join or hide what is written.
fn steers(sign: char) -> bool {
    sign.is_control()
        || matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `text` with such characters written as escapes.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for sign in text.chars() {
        match steers(sign) {
            true => plain.extend(sign.escape_unicode()),
            false => plain.push(sign),
        }
    }
    plain.into()
}

/// A JSON document with such characters as JSON writes them; line feeds between its parts stay.
pub(super) fn json(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    for sign in document.chars() {
        match sign {
            // Outside of strings these are space, and inside of them JSON has none.
            '\n' => text.push(sign),
            '\r' | '\t' => text.push(' '),
            _ if steers(sign) => {
                let _ = write!(text, "\\u{:04x}", u32::from(sign));
            }
            _ => text.push(sign),
        }
    }
    text
}

/// Columns that `text` takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `columns`, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return text.into();
    }
    let mut left = columns.saturating_sub(1);
    let mut short = String::new();
    for sign in text.chars() {
        let Some(rest) = left.checked_sub(sign.width().unwrap_or(0)) else { break };
        left = rest;
        short.push(sign);
    }
    if columns > 0 {
        short.push('…');
    }
    short.into()
}

/// A number of octets in at most five columns; K, M and so on count by 1024.
pub(super) fn octets(count: u64) -> String {
    if count < 1024 {
        return count.to_string();
    }
    let mut value = count as f64;
    for unit in ['K', 'M', 'G', 'T', 'P', 'E'] {
        value /= 1024.0;
        // What would round to 1024 belongs to the next unit.
        if value < 9.95 {
            return format!("{value:.1}{unit}");
        }
        if value < 1023.5 {
            return format!("{value:.0}{unit}");
        }
    }
    format!("{value:.0}E")
}

/// A signed number of octets.
pub(super) fn window(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    format!("{sign}{}", octets(count.unsigned_abs()))
}

/// Seconds in at most six columns.
pub(super) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "-".to_owned();
    }
    if seconds < 9.995 {
        return format!("{seconds:.2}s");
    }
    if seconds < 59.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// A rate: one digit behind the point below ten.
#[cfg(feature = "top")]
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 9.95 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// The direction of a frame, seen from the gateway: `<` received, `>` sent.
pub(super) fn arrow(direction: Option<&str>) -> char {
    match direction {
        Some("rx") => '<',
        Some("tx") => '>',
        _ => '?',
    }
}

/// `1 session`, `2 sessions`.
pub(super) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_comes_through() {
        assert_eq!(plain("/a/ä b"), "/a/ä b");
        assert_eq!(plain("a\u{1b}[2Jb\n\u{9b}c\u{7f}"), "a\\u{1b}[2Jb\\u{a}\\u{9b}c\\u{7f}");
        assert_eq!(plain("\u{202e}gpj.exe\u{200b}"), "\\u{202e}gpj.exe\\u{200b}");
    }

    #[test]
    fn json_stays_the_same_json() {
        let document = "{\n\t\"path\":\"/\u{9b}2J\u{7f}\u{202e}\\u001b\"}\r\n";
        let safe = json(document);
        assert_eq!(safe, "{\n \"path\":\"/\\u009b2J\\u007f\\u202e\\u001b\"} \n");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(document), read(&safe));
    }

    #[test]
    fn text_is_cut_to_columns_and_says_so() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), "".into()));
    }

    #[test]
    fn octets_take_five_columns_at_most() {
        for (count, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (10_137, "9.9K"),
            (10_240, "10K"),
            (1_047_552, "1023K"),
            (1_048_575, "1.0M"),
            (5 << 30, "5.0G"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(octets(count), text, "{count}");
        }
        assert_eq!(window(-65_535), "-64K");
    }

    #[test]
    fn seconds_take_six_columns_at_most() {
        for (count, text) in [
            (0.0, "0.00s"),
            (9.994, "9.99s"),
            (9.996, "10.0s"),
            (59.96, "1m00s"),
            (3599.6, "1h00m"),
            (90_000.0, "1d01h"),
            (f64::NAN, "-"),
            (-1.0, "-"),
        ] {
            assert_eq!(seconds(count), text, "{count}");
        }
    }
}
