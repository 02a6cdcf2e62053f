//! Texts with parameters of a path in them: where a request is sent on to, or a client elsewhere.

use super::pattern::Spans;

/// `/new/{id}`, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The parameter of this number.
    Parameter(usize),
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// A brace without its other one.
    #[error("a parameter is written as {{name}}, a brace as {{{{ or }}}}")]
    Braces,
    /// The pattern has no such parameter.
    #[error("the path has no parameter {0}")]
    Unknown(String),
}

impl Template {
    /// A template of parameters that are called `names`, in the order of their pattern.
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str, names: &[String]) -> Result<Self, BadTemplate> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '{' | '}' if letters.peek() == Some(&letter) => {
                    letters.next();
                    plain.push(letter);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match letters.next() {
                            Some('}') => break,
                            Some(letter) => name.push(letter),
                            None => return Err(BadTemplate::Braces),
                        }
                    }
                    let name = name.strip_prefix('*').unwrap_or(&name);
                    let at = names.iter().position(|known| known == name);
                    let at = at.ok_or_else(|| BadTemplate::Unknown(name.to_owned()))?;
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Parameter(at));
                }
                '}' => return Err(BadTemplate::Braces),
                letter => plain.push(letter),
            }
        }
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    /// The text with the parameters that stand at `spans` of `path` (canonical), and the query of a request (`?a=b`)
    /// behind one it has itself.
    pub(super) fn fill(&self, path: &[u8], spans: &Spans, query: &str) -> String {
        let mut text = String::with_capacity(path.len() + query.len() + 16);
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                // A path is UTF-8, and spans end at slashes or ASCII text.
                Part::Parameter(at) => text.push_str(&String::from_utf8_lossy(spans.get(path, *at))),
            }
        }
        match query.strip_prefix('?') {
            Some(more) if text.contains('?') => {
                text.push('&');
                text.push_str(more);
            }
            _ => text.push_str(query),
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::pattern::{Pattern, Tree};

    fn filled(pattern: &str, template: &str, path: &str, query: &str) -> String {
        let pattern = Pattern::parse(pattern).unwrap();
        let template = Template::parse(template, &pattern.names).unwrap();
        let mut tree = Tree::default();
        tree.insert(Some(&pattern), ());
        let spans = tree.visit(Some(path.as_bytes()), &mut |(), spans| Some(*spans)).unwrap();
        template.fill(path.as_bytes(), &spans, query)
    }

    #[test]
    fn parameters_and_query_are_filled_in() {
        assert_eq!(filled("/u/{id}/{*rest}", "/v2/{rest}/of/{id}", "/u/7/a/b", "?q=1"), "/v2/a/b/of/7?q=1");
        assert_eq!(filled("/u/{id}", "/user?id={id}", "/u/7", "?q=1"), "/user?id=7&q=1");
        assert_eq!(filled("/u/{id}", "/{{x}}", "/u/7", ""), "/{x}");
        assert_eq!(filled("/{*rest}", "/a/{*rest}", "/ä%2F", ""), "/a/ä%2F");
    }

    #[test]
    fn bad_templates_are_told() {
        let bad = |text| Template::parse(text, &["id".to_owned()]).unwrap_err();
        assert_eq!(bad("/{name}"), BadTemplate::Unknown("name".to_owned()));
        assert_eq!(bad("/{id"), BadTemplate::Braces);
        assert_eq!(bad("/id}"), BadTemplate::Braces);
    }
}
