//! Draws a [`Diagnostic`]: code, place, the line at fault with what is meant underlined, a way out. Knows no files.
//!
//! Invariant: what it draws is one line a line, whatever is in the text: control characters are shown as U+FFFD.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

use super::diagnostic::{Diagnostic, Place, Severity, Source};

/// Columns of a source line that are shown; of a longer one the part around the fault.
const COLUMNS: usize = 100;
/// Columns shown before the fault where a line is cut.
const BEFORE: usize = 40;
/// Columns of a tab.
const TAB: usize = 4;
const CUT: char = '\u{2026}';

/// All, with an empty line between.
pub(super) fn all(diagnostics: &[Diagnostic], colour: bool) -> String {
    let mut text = String::new();
    for (index, one) in diagnostics.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        draw(&mut text, one, colour);
    }
    text
}

/// One, with the end of its last line.
pub(super) fn draw(out: &mut String, one: &Diagnostic, colour: bool) {
    let paint = Paint { on: colour, severity: one.severity };
    let (loud, end, blue) = (paint.loud(), paint.end(), paint.blue());
    let _ = writeln!(out, "{loud}{}[{}]{end}: {}", one.severity.word(), one.code, clean(&one.message));
    if let Some(place) = &one.place {
        let number = match place.source {
            Source::File(_) => place.line.to_string(),
            Source::Variable(_) => String::new(),
        };
        let gutter = number.len();
        let _ = write!(out, "{:gutter$} {blue}-->{end} ", "");
        let _ = match &place.source {
            Source::File(path) => writeln!(out, "{}:{}:{}", path.display(), place.line, place.column),
            Source::Variable(name) => writeln!(out, "{name} in the environment"),
        };
        let line = Line::of(place);
        let _ = writeln!(out, "{blue}{number:gutter$} |{end} {}", line.shown);
        let carets = "^".repeat(line.carets);
        let label = clean(&one.label);
        let gap = if label.is_empty() { "" } else { " " };
        let _ = writeln!(
            out,
            "{:gutter$} {blue}|{end} {:before$}{loud}{carets}{gap}{label}{end}",
            "",
            "",
            before = line.before
        );
    } else if !one.label.is_empty() {
        let _ = writeln!(out, "  {}", clean(&one.label));
    }
    if let Some(help) = &one.help {
        let _ = writeln!(out, "{blue}help{end}: {}", clean(help));
    }
}

/// A source line as it is shown.
struct Line {
    shown: String,
    /// Columns before the first caret.
    before: usize,
    carets: usize,
}

impl Line {
    fn of(place: &Place) -> Self {
        // What each character is shown as, and how wide.
        let cells: Vec<(char, usize)> = place.text.chars().map(cell).collect();
        let first = place.column.saturating_sub(1).min(cells.len());
        let last = first.saturating_add(place.length).min(cells.len());
        let width = |cells: &[(char, usize)]| cells.iter().map(|(_, width)| width).sum::<usize>();
        let (mut from, mut to) = (0, cells.len());
        if width(&cells) > COLUMNS {
            let mut room = BEFORE;
            from = first;
            while from > 0 && cells[from - 1].1 <= room {
                from -= 1;
                room -= cells[from].1;
            }
            let mut room = COLUMNS - width(&cells[from..first]).min(COLUMNS);
            to = first;
            while to < cells.len() && cells[to].1 <= room {
                room -= cells[to].1;
                to += 1;
            }
        }
        let mut shown = String::new();
        let mut before = width(&cells[from..first]);
        if from > 0 {
            shown.push(CUT);
            before += 1;
        }
        for (sign, width) in &cells[from..to] {
            match sign {
                '\t' => shown.extend(std::iter::repeat_n(' ', *width)),
                sign => shown.push(*sign),
            }
        }
        if to < cells.len() {
            shown.push(CUT);
        }
        let carets = width(&cells[first..last.min(to).max(first)]).max(1);
        Self { shown, before, carets }
    }
}

fn cell(sign: char) -> (char, usize) {
    match sign {
        '\t' => ('\t', TAB),
        sign => match sign.width() {
            Some(width) => (sign, width),
            None => (char::REPLACEMENT_CHARACTER, 1),
        },
    }
}

/// Without control characters.
fn clean(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() { char::REPLACEMENT_CHARACTER } else { sign }).collect()
}

struct Paint {
    on: bool,
    severity: Severity,
}

impl Paint {
    fn loud(&self) -> &'static str {
        match self.severity {
            _ if !self.on => "",
            Severity::Error => "\x1b[1;31m",
            Severity::Warning => "\x1b[1;33m",
            Severity::Notice => "\x1b[1;36m",
        }
    }

    fn blue(&self) -> &'static str {
        if self.on { "\x1b[34m" } else { "" }
    }

    fn end(&self) -> &'static str {
        if self.on { "\x1b[0m" } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::Code;
    use super::*;

    fn one(text: &str, column: usize, length: usize) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: Code::UnknownUpstream,
            message: "route \"api\" sends to an upstream that does not exist".to_owned(),
            place: Some(Place {
                source: Source::File("stagedoor.toml".into()),
                line: 68,
                column,
                length,
                text: text.to_owned(),
            }),
            label: "no upstream has this name".to_owned(),
            help: Some("did you mean \"api\"? known upstreams: api, auth".to_owned()),
        }
    }

    #[test]
    fn the_format_is_that_of_the_contract() {
        let text = one("proxy = { upstream = \"apj\" }", 22, 5).render(false);
        let wanted = "\
error[config::unknown_upstream]: route \"api\" sends to an upstream that does not exist
   --> stagedoor.toml:68:22
68 | proxy = { upstream = \"apj\" }
   |                      ^^^^^ no upstream has this name
help: did you mean \"api\"? known upstreams: api, auth
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn carets_stand_below_what_is_meant_after_tabs_and_wide_characters() {
        let text = one("\tα = \"日本\" # x", 6, 4).render(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "68 |     α = \"日本\" # x");
        assert_eq!(lines[3], "   |         ^^^^^^ no upstream has this name");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_fault_is_shown() {
        let long = format!("{}BAD{}", "a".repeat(5000), "b".repeat(5000));
        let text = one(&long, 5001, 3).render(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2].chars().count(), 5 + 1 + 100 + 1);
        let caret = lines[3].find('^').unwrap();
        let shown: Vec<char> = lines[2].chars().collect();
        assert_eq!(shown[caret..caret + 3].iter().collect::<String>(), "BAD");
        // What is meant may be longer than what is shown, and may lie past the end.
        for (column, length) in [(1, 10_003), (5001, 9_000), (10_004, 1), (20_000, 1), (0, 0)] {
            assert!(one(&long, column, length).render(false).contains('^'), "{column} {length}");
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let mut bad = one("a = \u{1b}[2J", 5, 1);
        bad.message = "\u{1b}]0;title\u{7} \n two".to_owned();
        let text = bad.render(false);
        assert!(text.chars().all(|sign| sign == '\n' || !sign.is_control()), "{text:?}");
        assert_eq!(text.lines().count(), 5);
    }

    #[test]
    fn colour_adds_nothing_but_escape_sequences() {
        let bad = one("proxy = { upstream = \"apj\" }", 22, 5);
        let mut stripped = String::new();
        let coloured = bad.render(true);
        let mut pieces = coloured.split('\u{1b}');
        stripped.push_str(pieces.next().unwrap());
        for piece in pieces {
            stripped.push_str(piece.split_once('m').unwrap().1);
        }
        assert_ne!(coloured, stripped);
        assert_eq!(stripped, bad.render(false));
    }
}
