//! Reads the part of PromQL that boards and rules are written in, into a tree that `check.rs` walks.
//!
//! Not a whole PromQL: no offsets, subqueries, `without`, `ignoring` or `bool`, and operators are read from left to
//! right without precedence, which changes no name and no label. What it does not know is an error, so a typing
//! mistake cannot pass as something unread.

use std::fmt;

/// A piece of an expression.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expr {
    /// A number, or a string given to a function.
    Constant,
    /// `name{label="value"}[range]`.
    Series { name: String, matchers: Vec<String>, range: Option<String> },
    /// `function(...)`.
    Call { function: String, args: Vec<Self> },
    /// `operator by (labels) (...)`; no labels: over everything.
    Aggregate { operator: String, by: Vec<String>, args: Vec<Self> },
    /// `left operator right`.
    Pair { left: Box<Self>, operator: String, matching: Option<Matching>, right: Box<Self> },
}

/// `on (labels) group_left (more)`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Matching {
    pub(super) on: Vec<String>,
    /// Several of the left have one partner on the right.
    pub(super) many_to_one: bool,
}

/// Why an expression could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    wanted: &'static str,
    /// What stands there instead.
    rest: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is missing before `{}`", self.wanted, self.rest)
    }
}

/// Operators that fold many series into fewer.
const AGGREGATORS: &[&str] = &["sum", "min", "max", "avg", "count", "topk", "bottomk"];

/// Operators between two expressions; longer ones first where one begins with another.
const OPERATORS: &[&str] = &["==", "!=", ">=", "<=", "+", "-", "*", "/", ">", "<", "and", "or", "unless"];

/// Reads an expression.
///
/// # Errors
/// Where it stops being one.
pub(super) fn parse(text: &str) -> Result<Expr, Unreadable> {
    let mut reader = Reader { rest: text };
    let expr = reader.expression()?;
    reader.skip();
    if reader.rest.is_empty() { Ok(expr) } else { Err(reader.missing("an operator")) }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn missing(&self, wanted: &'static str) -> Unreadable {
        Unreadable { wanted, rest: self.rest.chars().take(40).collect() }
    }

    /// Takes `sign` if it comes next.
    fn take(&mut self, sign: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, sign: &'static str) -> Result<(), Unreadable> {
        if self.take(sign) { Ok(()) } else { Err(self.missing(sign)) }
    }

    /// Takes a name, empty when none comes next. Names of recorded series have colons.
    fn name(&mut self) -> &'a str {
        self.skip();
        let end = self.rest.find(|sign: char| !(sign.is_ascii_alphanumeric() || matches!(sign, '_' | ':')));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if name.starts_with(|sign: char| sign.is_ascii_digit()) {
            return "";
        }
        self.rest = rest;
        name
    }

    /// Takes the word `word`, but not a longer one that begins with it.
    fn word(&mut self, word: &str) -> bool {
        let before = self.rest;
        if self.name() == word {
            return true;
        }
        self.rest = before;
        false
    }

    fn expression(&mut self) -> Result<Expr, Unreadable> {
        let mut left = self.operand()?;
        while let Some(operator) = self.operator() {
            let matching = self.matching()?;
            let right = Box::new(self.operand()?);
            left = Expr::Pair { left: Box::new(left), operator: operator.to_owned(), matching, right };
        }
        Ok(left)
    }

    fn operator(&mut self) -> Option<&'static str> {
        OPERATORS.iter().copied().find(|operator| {
            if operator.starts_with(char::is_alphabetic) { self.word(operator) } else { self.take(operator) }
        })
    }

    fn matching(&mut self) -> Result<Option<Matching>, Unreadable> {
        if !self.word("on") {
            return Ok(None);
        }
        let on = self.labels()?;
        let many_to_one = self.word("group_left");
        if many_to_one && !self.labels()?.is_empty() {
            return Err(self.missing("an empty group_left ()"));
        }
        Ok(Some(Matching { on, many_to_one }))
    }

    fn operand(&mut self) -> Result<Expr, Unreadable> {
        if self.take("(") {
            let inner = self.expression()?;
            self.want(")")?;
            return Ok(inner);
        }
        if self.take("\"") {
            return self.text().map(|_| Expr::Constant);
        }
        if self.rest.starts_with(|sign: char| sign.is_ascii_digit()) {
            let end = self.rest.find(|sign: char| !(sign.is_ascii_digit() || matches!(sign, '.' | 'e')));
            self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
            return Ok(Expr::Constant);
        }
        let name = self.name().to_owned();
        if name.is_empty() {
            return Err(self.missing("a name"));
        }
        if AGGREGATORS.contains(&&*name) {
            let by = if self.word("by") { self.labels()? } else { Vec::new() };
            return Ok(Expr::Aggregate { operator: name, by, args: self.args()? });
        }
        self.skip();
        if self.rest.starts_with('(') {
            return Ok(Expr::Call { function: name, args: self.args()? });
        }
        let matchers = self.matchers()?;
        Ok(Expr::Series { name, matchers, range: self.range()? })
    }

    fn args(&mut self) -> Result<Vec<Expr>, Unreadable> {
        self.want("(")?;
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if !self.take(",") {
                self.want(")")?;
                return Ok(args);
            }
        }
    }

    fn labels(&mut self) -> Result<Vec<String>, Unreadable> {
        self.want("(")?;
        let mut labels = Vec::new();
        while !self.take(")") {
            let name = self.name();
            if name.is_empty() {
                return Err(self.missing("a label"));
            }
            labels.push(name.to_owned());
            self.take(",");
        }
        Ok(labels)
    }

    /// The labels that `{...}` names.
    fn matchers(&mut self) -> Result<Vec<String>, Unreadable> {
        let mut labels = Vec::new();
        if !self.take("{") {
            return Ok(labels);
        }
        while !self.take("}") {
            let name = self.name();
            if name.is_empty() {
                return Err(self.missing("a label"));
            }
            labels.push(name.to_owned());
            if !["=~", "!~", "!=", "="].iter().any(|operator| self.take(operator)) {
                return Err(self.missing("= or =~"));
            }
            self.want("\"")?;
            self.text()?;
            self.take(",");
        }
        Ok(labels)
    }

    /// What is left of a string after its opening quote.
    fn text(&mut self) -> Result<&'a str, Unreadable> {
        let Some((text, rest)) = self.rest.split_once('"') else {
            return Err(self.missing("a closing quote"));
        };
        self.rest = rest;
        Ok(text)
    }

    fn range(&mut self) -> Result<Option<String>, Unreadable> {
        if !self.take("[") {
            return Ok(None);
        }
        let Some((range, rest)) = self.rest.split_once(']') else {
            return Err(self.missing("]"));
        };
        self.rest = rest;
        Ok(Some(range.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_becomes_a_tree() {
        let expr =
            parse(r#"topk(5, sum by (a, b) (rate(x_total{c=~"$c",d!="}"}[$__rate_interval])))"#).unwrap();
        let Expr::Aggregate { operator, by, args } = expr else { panic!("{expr:?}") };
        assert_eq!((&*operator, by.len(), &args[0]), ("topk", 0, &Expr::Constant));
        let Expr::Aggregate { by, args, .. } = &args[1] else { panic!("{args:?}") };
        assert_eq!(by, &["a", "b"]);
        let Expr::Call { function, args } = &args[0] else { panic!("{args:?}") };
        let range = Some("$__rate_interval".to_owned());
        let series = Expr::Series { name: "x_total".into(), matchers: vec!["c".into(), "d".into()], range };
        assert_eq!((&**function, args), ("rate", &vec![series]));
    }

    #[test]
    fn pairs_carry_their_matching() {
        let expr = parse("a / on (x, y) group_left () b and on (x) order > 2e3").unwrap();
        let Expr::Pair { operator, left, .. } = &expr else { panic!("{expr:?}") };
        assert_eq!(&**operator, ">");
        let Expr::Pair { operator, left, matching, .. } = &**left else { panic!("{left:?}") };
        assert_eq!((&**operator, matching.as_ref().unwrap().on.len()), ("and", 1));
        let Expr::Pair { matching, .. } = &**left else { panic!("{left:?}") };
        assert!(matching.as_ref().unwrap().many_to_one);
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        for text in
            ["", "a{", "a{b}", "a{b=c}", "sum(a", "sum by a (b)", "a b", "a[5m", "rate(a,)", "a offset 5m"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("sum(a) x").unwrap_err().to_string(), "an operator is missing before `x`");
    }
}
