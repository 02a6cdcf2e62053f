//! The texts a configuration is made of, file and variables of the environment, as one: an offset says by itself
//! which it is in.

use std::ops::Range;
use std::path::Path;

use super::diagnostic::{Place, Source};

/// Octets in [`Sources::text`].
pub(super) type Span = Range<usize>;

/// The span of what nobody wrote: a default.
pub(super) const NOWHERE: Span = usize::MAX..usize::MAX;

/// See the module.
pub(super) struct Sources {
    text: String,
    parts: Vec<(Span, Source)>,
}

impl Sources {
    /// The file first, so that its offsets are those of the whole.
    pub(super) fn new(file: &Path, text: String) -> Self {
        let span = 0..text.len();
        Self { text, parts: vec![(span, Source::File(file.to_owned()))] }
    }

    /// Adds the value of a variable.
    pub(super) fn add(&mut self, variable: &str, value: &str) -> Span {
        // A span that ends one text never touches the next.
        self.text.push('\n');
        let start = self.text.len();
        self.text.push_str(value);
        let span = start..self.text.len();
        self.parts.push((span.clone(), Source::Variable(variable.to_owned())));
        span
    }

    /// The text of a span; empty where there is none.
    pub(super) fn text(&self, span: &Span) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The text of the file.
    pub(super) fn file(&self) -> &str {
        self.parts.first().map(|(span, _)| self.text(span)).unwrap_or_default()
    }

    /// Where a span is; `None` of [`NOWHERE`].
    pub(super) fn place(&self, span: &Span) -> Option<Place> {
        let (part, source) = self.part(span)?;
        let text = self.text(part);
        let start = floor(text, span.start - part.start);
        let end = floor(text, span.end.saturating_sub(part.start).clamp(start, text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        Some(Place {
            source: source.clone(),
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            length: text[start..end.min(line_end)].trim_end_matches('\r').chars().count(),
            text: line.to_owned(),
        })
    }

    /// Where a value came from, in short: `stagedoor.toml:4` or the name of the variable.
    pub(super) fn origin(&self, span: &Span) -> Option<String> {
        let place = self.place(span)?;
        Some(match place.source {
            Source::File(path) => {
                let name = path.file_name().map_or_else(|| path.display(), |name| Path::new(name).display());
                format!("{name}:{}", place.line)
            }
            Source::Variable(name) => name,
        })
    }

    fn part(&self, span: &Span) -> Option<&(Span, Source)> {
        self.parts.iter().find(|(part, _)| part.start <= span.start && span.start <= part.end)
    }
}

/// The nearest boundary of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_knows_its_source() {
        let mut sources = Sources::new(Path::new("dir/a.toml"), "one\r\nzwölf = 1\n".to_owned());
        let first = sources.add("STAGEDOOR__A", "");
        let second = sources.add("STAGEDOOR__B", "x\ny");
        let place = sources.place(&(5..11)).unwrap();
        assert_eq!((place.line, place.column, place.length, place.text.as_str()), (2, 1, 5, "zwölf = 1"));
        assert_eq!(sources.place(&(0..9)).unwrap().length, 3, "within its line");
        assert_eq!(sources.origin(&(5..11)).as_deref(), Some("a.toml:2"));
        assert_eq!(sources.origin(&first).as_deref(), Some("STAGEDOOR__A"));
        assert_eq!(sources.place(&(second.end - 1..second.end)).unwrap().line, 2);
        assert_eq!(sources.place(&NOWHERE), None);
        assert_eq!(sources.file(), "one\r\nzwölf = 1\n");
    }
}
