//! Patterns of paths (`/users/{id}`, `/files/{*rest}`, `/img/{name}.png`) and a tree of many of them.
//!
//! A pattern is a row of segments. A segment is written out, or a parameter, which takes one segment that is not empty,
//! perhaps with text around it; `{*rest}` at the end takes everything that is left, be it nothing. `{{` and `}}` are
//! braces. The tree gives every pattern that a path matches, the most specific first: segment by segment from the
//! left, what is written out goes before a parameter, a parameter with more text around it before one with less, and
//! both before the rest.
//!
//! Knows nothing of hosts, methods and routes. `matchit` finds one pattern of a path; routes whose other conditions do
//! not hold make the next one needed, hence a tree of our own.

use std::cmp::Reverse;

use super::path;

/// Parameters a pattern may have.
pub(super) const MOST_PARAMETERS: usize = 16;

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It does not begin with a slash.
    #[error("a path begins with a slash")]
    NoSlash,
    /// A brace without its other one, two parameters in a segment, or a name that is none.
    #[error("a parameter is written as {{name}}, one a segment, and the rest as {{*name}} at the end")]
    Braces,
    /// Two parameters of one name.
    #[error("two parameters are called {0}")]
    Twice(String),
    /// More than 16.
    #[error("a pattern has at most 16 parameters")]
    TooMany,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
    /// Of its parameters, in order.
    pub(super) names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<[u8]>),
    Parameter { before: Box<[u8]>, after: Box<[u8]> },
    Rest,
}

impl Segment {
    /// Smaller is more specific.
    fn rank(&self) -> (u8, Reverse<usize>, &[u8], &[u8]) {
        match self {
            Self::Literal(text) => (0, Reverse(0), &**text, &[][..]),
            Self::Parameter { before, after } => {
                (1, Reverse(before.len() + after.len()), &**before, &**after)
            }
            Self::Rest => (2, Reverse(0), &[][..], &[][..]),
        }
    }
}

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, BadPattern> {
        let below = text.strip_prefix('/').ok_or(BadPattern::NoSlash)?;
        let mut pattern = Self { segments: Vec::new(), names: Vec::new() };
        let mut segments = below.split('/').peekable();
        while let Some(text) = segments.next() {
            let (segment, name) = parse_segment(text)?;
            if segment == Segment::Rest && segments.peek().is_some() {
                return Err(BadPattern::Braces);
            }
            if let Some(name) = name {
                if pattern.names.contains(&name) {
                    return Err(BadPattern::Twice(name));
                }
                pattern.names.push(name);
            }
            pattern.segments.push(segment);
        }
        if pattern.names.len() > MOST_PARAMETERS { Err(BadPattern::TooMany) } else { Ok(pattern) }
    }

    /// The more specific one first, of two that match the same path.
    #[cfg(test)]
    pub(super) fn specificity(&self, other: &Self) -> std::cmp::Ordering {
        self.segments.iter().map(Segment::rank).cmp(other.segments.iter().map(Segment::rank))
    }

    /// Whether it takes a canonical path; the plain definition, against which the tree is tested.
    #[cfg(test)]
    pub(super) fn takes(&self, path: &[u8]) -> bool {
        let Some(below) = path.strip_prefix(b"/") else { return false };
        let parts: Vec<&[u8]> = below.split(|octet| *octet == b'/').collect();
        let rest = self.segments.last() == Some(&Segment::Rest);
        let fixed = self.segments.len() - usize::from(rest);
        let fits = if rest { parts.len() > fixed } else { parts.len() == fixed };
        fits && self.segments.iter().zip(parts).all(|(segment, part)| match segment {
            Segment::Literal(text) => **text == *part,
            Segment::Parameter { before, after } => affixed(part, before, after).is_some(),
            Segment::Rest => true,
        })
    }
}

/// A segment and the name of its parameter.
fn parse_segment(text: &str) -> Result<(Segment, Option<String>), BadPattern> {
    let mut texts = [String::new(), String::new()];
    let mut name: Option<String> = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '{' | '}' if letters.peek() == Some(&letter) => {
                letters.next();
                texts[usize::from(name.is_some())].push(letter);
            }
            '{' if name.is_none() => {
                let mut found = String::new();
                loop {
                    match letters.next() {
                        Some('}') => break,
                        Some('{') | None => return Err(BadPattern::Braces),
                        Some(letter) => found.push(letter),
                    }
                }
                name = Some(found);
            }
            '{' | '}' => return Err(BadPattern::Braces),
            letter => texts[usize::from(name.is_some())].push(letter),
        }
    }
    let [before, after] = texts.map(|text| path::canonical(text.as_bytes()).into_owned().into_boxed_slice());
    let Some(name) = name else { return Ok((Segment::Literal(before), None)) };
    let (rest, word) = match name.strip_prefix('*') {
        Some(word) => (true, word),
        None => (false, &*name),
    };
    let fits = word.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-'));
    if word.is_empty() || !fits || rest && !(before.is_empty() && after.is_empty()) {
        return Err(BadPattern::Braces);
    }
    let segment = if rest { Segment::Rest } else { Segment::Parameter { before, after } };
    Ok((segment, Some(word.to_owned())))
}

/// What stands between `before` and `after` in a segment, where it is something.
fn affixed<'a>(segment: &'a [u8], before: &[u8], after: &[u8]) -> Option<&'a [u8]> {
    let inner = segment.strip_prefix(before)?.strip_suffix(after)?;
    (!inner.is_empty()).then_some(inner)
}

/// Where the parameters of a pattern stand in a canonical path, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    at: [(u32, u32); MOST_PARAMETERS],
    count: u8,
}

impl Spans {
    fn push(&mut self, start: usize, end: usize) {
        if let Some(place) = self.at.get_mut(usize::from(self.count)) {
            *place = (start as u32, end as u32);
            self.count += 1;
        }
    }

    fn pop(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// The octets of a parameter.
    pub(super) fn get<'a>(&self, path: &'a [u8], parameter: usize) -> &'a [u8] {
        let known = self.at.get(..usize::from(self.count)).unwrap_or_default();
        let span = known.get(parameter).and_then(|(start, end)| path.get(*start as usize..*end as usize));
        span.unwrap_or_default()
    }
}

/// Patterns, each with what hangs on it.
#[derive(Debug)]
pub(super) struct Tree<T> {
    root: Node<T>,
    /// Of no pattern: every path, and targets that are none.
    all: Vec<T>,
}

#[derive(Debug)]
struct Node<T> {
    here: Vec<T>,
    /// Sorted by text.
    literals: Vec<(Box<[u8]>, Node<T>)>,
    /// Sorted by rank.
    parameters: Vec<(Segment, Node<T>)>,
    rest: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { here: Vec::new(), literals: Vec::new(), parameters: Vec::new(), rest: Vec::new() }
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::default(), all: Vec::new() }
    }
}

impl<T> Tree<T> {
    /// Hangs `item` on a pattern behind those that hang there already.
    pub(super) fn insert(&mut self, pattern: Option<&Pattern>, item: T) {
        let Some(pattern) = pattern else { return self.all.push(item) };
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(text) => {
                    let at =
                        node.literals.binary_search_by(|(known, _)| known.cmp(text)).unwrap_or_else(|at| {
                            node.literals.insert(at, (text.clone(), Node::default()));
                            at
                        });
                    &mut node.literals[at].1
                }
                Segment::Parameter { .. } => {
                    let rank = segment.rank();
                    let known = node.parameters.binary_search_by(|(known, _)| known.rank().cmp(&rank));
                    let at = known.unwrap_or_else(|at| {
                        node.parameters.insert(at, (segment.clone(), Node::default()));
                        at
                    });
                    &mut node.parameters[at].1
                }
                // The last one: `parse` sees to it.
                Segment::Rest => return node.rest.push(item),
            };
        }
        node.here.push(item);
    }

    /// Shows what hangs on the patterns that `path` (canonical) matches, the most specific first, until `visit` has
    /// found something. Without a path, what hangs on none.
    pub(super) fn visit<'a, R>(
        &'a self,
        path: Option<&[u8]>,
        visit: &mut impl FnMut(&'a T, &Spans) -> Option<R>,
    ) -> Option<R> {
        let mut spans = Spans::default();
        if let Some(path) = path
            && path.first() == Some(&b'/')
            && let Some(found) = self.root.visit(path, 1, &mut spans, visit)
        {
            return Some(found);
        }
        self.all.iter().find_map(|item| visit(item, &Spans::default()))
    }
}

impl<T> Node<T> {
    /// `at` is where the next segment begins, behind the end of `path` where there is none.
    fn visit<'a, R>(
        &'a self,
        path: &[u8],
        at: usize,
        spans: &mut Spans,
        visit: &mut impl FnMut(&'a T, &Spans) -> Option<R>,
    ) -> Option<R> {
        let Some(left) = path.get(at..) else {
            return self.here.iter().find_map(|item| visit(item, spans));
        };
        let length = left.iter().position(|octet| *octet == b'/').unwrap_or(left.len());
        let segment = left.get(..length).unwrap_or_default();
        let next = at + length + 1;
        if let Ok(known) = self.literals.binary_search_by(|(text, _)| (**text).cmp(segment))
            && let Some((_, node)) = self.literals.get(known)
            && let Some(found) = node.visit(path, next, spans, visit)
        {
            return Some(found);
        }
        for (parameter, node) in &self.parameters {
            let Segment::Parameter { before, after } = parameter else { continue };
            if affixed(segment, before, after).is_none() {
                continue;
            }
            spans.push(at + before.len(), at + length - after.len());
            if let Some(found) = node.visit(path, next, spans, visit) {
                return Some(found);
            }
            spans.pop();
        }
        if self.rest.is_empty() {
            return None;
        }
        spans.push(at, path.len());
        let found = self.rest.iter().find_map(|item| visit(item, spans));
        spans.pop();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(patterns: &[&str]) -> Tree<String> {
        let mut tree = Tree::default();
        for text in patterns {
            tree.insert(Some(&Pattern::parse(text).unwrap()), (*text).to_owned());
        }
        tree
    }

    fn all(tree: &Tree<String>, path: &str) -> Vec<String> {
        let mut seen = Vec::new();
        tree.visit(Some(path.as_bytes()), &mut |item: &String, _| {
            seen.push(item.clone());
            None::<()>
        });
        seen
    }

    #[test]
    fn the_most_specific_comes_first_and_the_others_after_it() {
        let tree = tree(&["/{*rest}", "/a/{id}", "/a/{*rest}", "/a/b", "/{x}/b", "/a/{id}.png", "/a/p{id}"]);
        assert_eq!(all(&tree, "/a/b"), ["/a/b", "/a/{id}", "/a/{*rest}", "/{x}/b", "/{*rest}"]);
        assert_eq!(all(&tree, "/a/p.png"), ["/a/{id}.png", "/a/p{id}", "/a/{id}", "/a/{*rest}", "/{*rest}"]);
        assert_eq!(all(&tree, "/a/"), ["/a/{*rest}", "/{*rest}"], "a parameter is not empty, a rest may be");
        assert_eq!(all(&tree, "/a"), ["/{*rest}"]);
        assert_eq!(all(&tree, "/"), ["/{*rest}"]);
        assert_eq!(all(&tree, "*"), [""; 0]);
    }

    #[test]
    fn parameters_are_where_the_pattern_has_them() {
        let tree = tree(&["/{a}/x{b}y/{*rest}"]);
        let path = b"/one/xtwoy/three/four";
        let spans = tree.visit(Some(path), &mut |_, spans| Some(*spans)).unwrap();
        let parameters = [0, 1, 2, 3].map(|at| spans.get(path, at));
        assert_eq!(parameters, [&b"one"[..], b"two", b"three/four", b""]);
    }

    #[test]
    fn what_hangs_on_no_pattern_comes_last_and_takes_what_is_no_path() {
        let mut tree = tree(&["/a"]);
        tree.insert(None, "all".to_owned());
        assert_eq!(all(&tree, "/a"), ["/a", "all"]);
        assert_eq!(tree.visit(None, &mut |item: &String, _| Some(item.clone())).as_deref(), Some("all"));
    }

    #[test]
    fn literals_are_compared_in_their_canonical_form() {
        let tree = tree(&["/%7eme/a%2fb", "/{{x}}"]);
        assert_eq!(all(&tree, "/~me/a%2Fb").len(), 1);
        assert_eq!(all(&tree, "/{x}").len(), 1);
    }

    #[test]
    fn bad_patterns_are_told_apart() {
        let bad = |text| Pattern::parse(text).unwrap_err();
        assert_eq!(bad("api"), BadPattern::NoSlash);
        for text in ["/{", "/}", "/{a", "/{}", "/{*}", "/{a}{b}", "/{*a}/b", "/x{*a}", "/{a b}", "/{a{b}}"] {
            assert_eq!(bad(text), BadPattern::Braces, "{text}");
        }
        assert_eq!(bad("/{a}/{a}"), BadPattern::Twice("a".to_owned()));
        let many: String = (0..17).map(|number| format!("/{{p{number}}}")).collect();
        assert_eq!(bad(&many), BadPattern::TooMany);
    }
}
