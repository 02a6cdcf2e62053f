//! From texts to the structs of `file/`, with every error of one run: serde ends at the first it meets, so what it
//! stumbled over is taken out of the document and it begins again.
//!
//! Invariant: each round takes something out, so it ends.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Code, Severity};
use super::environment;
use super::file::File;
use super::problem::Problem;
use super::source::{NOWHERE, Sources, Span};
use super::suggest;
use super::tree::{self, Path, Step};

/// Errors after which nobody reads on.
const MOST: usize = 100;

/// Something to say, with its place in [`Sources`].
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) problem: Problem,
}

/// What was read.
pub(super) struct Read {
    /// What could be read of it, defaults in place of the rest.
    pub(super) file: File,
    pub(super) findings: Vec<Finding>,
    /// Where something was taken out; what is missing there is not missed again.
    pub(super) broken: BTreeSet<Path>,
    /// There were too many errors, or one that no value could be blamed for: `file` is empty.
    pub(super) given_up: bool,
    /// Where each value was written.
    pub(super) places: BTreeMap<Path, Span>,
}

/// Reads file and variables, whose values are in `sources`.
pub(super) fn read(sources: &Sources, variables: &[(String, Span)]) -> Read {
    let mut findings = Vec::new();
    let mut broken = BTreeSet::new();
    let mut root = match DeTable::parse(sources.file()) {
        Ok(root) => root.into_inner(),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            findings.push(Finding {
                severity: Severity::Error,
                span,
                message: "this is not TOML".to_owned(),
                problem: Problem::new(Code::Syntax, "", error.message().replace('\n', ", ")),
            });
            return Read { file: File::default(), findings, broken, given_up: true, places: BTreeMap::new() };
        }
    };
    for (name, span) in variables {
        if let Err(problem) = environment::set(&mut root, sources, name, span) {
            let message = format!("{name} {}", problem.message);
            findings.push(Finding { severity: Severity::Error, span: span.clone(), message, problem });
        }
    }
    let places = tree::places(&root);
    let whole = root.clone();
    loop {
        let document = toml::Deserializer::from(Spanned::new(0..0, root.clone()));
        let error = match File::deserialize(document) {
            Ok(file) => {
                lists_for_tables(&file, &root, &whole, &mut findings);
                return Read { file, findings, broken, given_up: false, places };
            }
            Err(error) => error,
        };
        let span = error.span().unwrap_or(NOWHERE);
        let path = tree::find(&root, &span);
        if let Some(path) = &path
            && as_text(&mut root, path, sources, variables)
        {
            continue;
        }
        // Numbers in lists are those of the file, whatever was taken out since.
        let written = tree::find(&whole, &span);
        // A choice whose only key was taken out has been spoken of.
        let emptied =
            |path: &Path| broken.iter().any(|gone: &Path| gone.len() > path.len() && gone.starts_with(path));
        if !(error.message().contains("found 0 elements") && path.as_ref().is_some_and(emptied)) {
            findings.push(finding(&whole, written.as_deref(), span, error.message()));
        }
        let gone = path.is_some_and(|path| {
            let gone = tree::remove(&mut root, &path);
            broken.insert(path);
            gone
        });
        if !gone || findings.len() >= MOST {
            return Read { file: File::default(), findings, broken, given_up: true, places };
        }
    }
}

/// A variable whose text is also a value of TOML, where a string is wanted: it is a string after all. Says whether it
/// was made one.
fn as_text<'i>(
    root: &mut DeTable<'i>,
    path: &[Step],
    sources: &'i Sources,
    variables: &[(String, Span)],
) -> bool {
    let Some(value) = tree::get_mut(root, path) else { return false };
    let span = value.span();
    let scalar = matches!(
        value.get_ref(),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
    );
    if !scalar || !variables.iter().any(|(_, variable)| *variable == span) {
        return false;
    }
    let text = DeValue::String(Cow::Borrowed(sources.text(&span)));
    // Where text does no better the error is about what was written.
    let before = std::mem::replace(value, Spanned::new(span.clone(), text));
    let document = toml::Deserializer::from(Spanned::new(0..0, root.clone()));
    let better = File::deserialize(document).err().is_none_or(|error| error.span() != Some(span));
    if !better && let Some(value) = tree::get_mut(root, path) {
        *value = before;
    }
    better
}

/// Serde takes a list for a table, its items for the values of the keys in their order. Nobody means that.
fn lists_for_tables(file: &File, root: &DeTable<'_>, whole: &DeTable<'_>, findings: &mut Vec<Finding>) {
    fn look(meant: &toml::Value, written: &Spanned<DeValue<'_>>, found: &mut Vec<Span>) {
        match (meant, written.get_ref()) {
            (toml::Value::Table(_), DeValue::Array(_)) => found.push(written.span()),
            (toml::Value::Table(meant), DeValue::Table(written)) => {
                for (key, written) in written {
                    if let Some(meant) = meant.get(key.get_ref().as_ref()) {
                        look(meant, written, found);
                    }
                }
            }
            (toml::Value::Array(meant), DeValue::Array(written)) => {
                meant.iter().zip(written.iter()).for_each(|(meant, written)| look(meant, written, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    let meant = toml::Table::try_from(file).unwrap_or_default();
    for (key, written) in root {
        if let Some(meant) = meant.get(key.get_ref().as_ref()) {
            look(meant, written, &mut found);
        }
    }
    for span in found {
        let path = tree::find(whole, &span);
        findings.push(finding(whole, path.as_deref(), span, "invalid type: sequence, expected struct"));
    }
}

/// What serde said, in our words.
fn finding(root: &DeTable<'_>, path: Option<&[Step]>, span: Span, message: &str) -> Finding {
    let called = path.map_or_else(|| "the file".to_owned(), |path| tree::called(root, path));
    let make = |message: String, problem| Finding { severity: Severity::Error, span, message, problem };
    if let Some(problem) = Problem::read(message) {
        return make(format!("{called} {}", problem.message), problem);
    }
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (mut key, known) = names(rest);
        if let Some(Step::Key(written)) = path.and_then(<[Step]>::last) {
            key.clone_from(written);
        }
        let table = match path.and_then(<[Step]>::split_last) {
            Some((_, [])) | None => "the file".to_owned(),
            Some((_, above)) => tree::called(root, above),
        };
        let problem = Problem::new(Code::UnknownKey, "", "no such key").help(suggest::help(
            &key,
            "keys",
            known.iter().map(String::as_str),
        ));
        return make(format!("{table} has no key {key:?}"), problem);
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (word, known) = names(rest);
        let problem = Problem::new(Code::UnknownValue, "", "no such value").help(suggest::help(
            &word,
            "values",
            known.iter().map(String::as_str),
        ));
        return make(format!("{called} cannot be {word:?}"), problem);
    }
    let label =
        match message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")) {
            Some(rest) => match rest.split_once(", expected ") {
                Some((found, wanted)) => format!("{} is wanted, this is {}", plain(wanted), plain(found)),
                None => plain(rest),
            },
            None => plain(message),
        };
    make(format!("{called} has the wrong type"), Problem::new(Code::WrongType, "", label))
}

/// "`x`, expected one of `a`, `b`" in pieces.
fn names(text: &str) -> (String, Vec<String>) {
    let mut quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let first = quoted.next().unwrap_or_default();
    (first, quoted.collect())
}

/// Words of serde without their backticks, and without the names of our types.
fn plain(text: &str) -> String {
    let text = text.replace('`', "");
    match text.as_str() {
        "map" | "a map" => "a table".to_owned(),
        "sequence" | "a sequence" => "a list".to_owned(),
        _ if text.starts_with("struct") => "a table".to_owned(),
        _ if text.starts_with("wanted string or table") => "a string or a table is wanted".to_owned(),
        _ if text.starts_with("wanted exactly 1 element") => "a table with one key is wanted".to_owned(),
        _ => text,
    }
}
