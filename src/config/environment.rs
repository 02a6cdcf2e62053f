//! Variables of the environment over the file: `STAGEDOOR__LISTENER__PUBLIC__BIND=[::]:443` is `bind` of the listener
//! `public`. Between two underscores twice stands a key, the name of a table in a list, or its number from 0 where it
//! has no name. Case does not matter, and `_` stands for `-` too.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Code;
use super::problem::Problem;
use super::source::{Sources, Span};
use super::suggest;
use super::tree;

/// What the variables begin with.
pub(super) const PREFIX: &str = "STAGEDOOR__";

/// Puts the value of one variable where its name says. A text that is no value of TOML is a string.
pub(super) fn set<'i>(
    root: &mut DeTable<'i>,
    sources: &'i Sources,
    variable: &str,
    span: &Span,
) -> Result<(), Problem> {
    let steps: Vec<&str> = variable.strip_prefix(PREFIX).unwrap_or_default().split("__").collect();
    if steps.iter().any(|step| step.is_empty()) {
        return Err(
            bad("names no key", "a step is empty").help("a variable looks like STAGEDOOR__SERVER__WORKERS")
        );
    }
    set_in_table(root, &steps, value(sources, span), span)
}

fn bad(message: impl Into<String>, label: impl Into<String>) -> Problem {
    Problem::new(Code::BadEnvironment, message, label)
}

fn value<'i>(sources: &'i Sources, span: &Span) -> Spanned<DeValue<'i>> {
    let text = sources.text(span);
    match DeValue::parse(text) {
        Ok(value) => {
            let value = tree::moved(value, span.start);
            Spanned::new(span.clone(), value.into_inner())
        }
        Err(_) => Spanned::new(span.clone(), DeValue::String(Cow::Borrowed(text))),
    }
}

/// Names as they can be written in a variable.
fn plain(name: &str) -> String {
    let sign = |sign: char| if matches!(sign, '-' | '.') { '_' } else { sign.to_ascii_lowercase() };
    name.chars().map(sign).collect()
}

/// The keys of lists of tables; one that the file has none of is no table of ours to make.
const LISTS: [&str; 3] = ["listener", "upstream", "route"];

fn set_in_table<'i>(
    table: &mut DeTable<'i>,
    steps: &[&str],
    value: Spanned<DeValue<'i>>,
    span: &Span,
) -> Result<(), Problem> {
    let Some((step, below)) = steps.split_first() else { return Ok(()) };
    let wanted = plain(step);
    let there = table.keys().map(|key| key.get_ref().to_string()).find(|key| plain(key) == wanted);
    let key = there.clone().unwrap_or(wanted);
    if below.is_empty() {
        table.remove(key.as_str());
        table.insert(Spanned::new(span.clone(), Cow::Owned(key)), value);
        return Ok(());
    }
    if there.is_none() {
        if LISTS.contains(&key.as_str()) {
            return Err(bad(format!("names a table of {key}"), format!("the file has no [[{key}]]")));
        }
        // A place of its own: the value has the whole text.
        let nothing = span.start..span.start;
        let empty = Spanned::new(nothing.clone(), DeValue::Table(DeTable::new()));
        table.insert(Spanned::new(nothing, Cow::Owned(key.clone())), empty);
    }
    let Some(entry) = table.get_mut(key.as_str()) else { return Ok(()) };
    set_in_value(entry, &key, below, value, span)
}

fn set_in_value<'i>(
    entry: &mut Spanned<DeValue<'i>>,
    key: &str,
    steps: &[&str],
    value: Spanned<DeValue<'i>>,
    span: &Span,
) -> Result<(), Problem> {
    match entry.get_mut() {
        DeValue::Table(table) => set_in_table(table, steps, value, span),
        DeValue::Array(list) => {
            let Some((step, below)) = steps.split_first() else { return Ok(()) };
            let wanted = plain(step);
            let named = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
                DeValue::Table(table) => table.get("name")?.get_ref().as_str().map(str::to_owned),
                _ => None,
            };
            let names: Vec<Option<String>> = list.iter().map(named).collect();
            let by_name =
                names.iter().position(|name| name.as_deref().is_some_and(|name| plain(name) == wanted));
            let by_number = || step.parse().ok().filter(|at| names.get(*at).is_some_and(Option::is_none));
            let at = by_name.or_else(by_number).and_then(|at| list.get_mut(at));
            match at {
                Some(item) if below.is_empty() => {
                    *item = value;
                    Ok(())
                }
                Some(item) => set_in_value(item, key, below, value, span),
                None => {
                    let names: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
                    let label = format!("no {key} is called {wanted:?}");
                    let help = suggest::help(&wanted, "names", names);
                    Err(bad(format!("names a table of {key}"), label).help(help))
                }
            }
        }
        _ => Err(bad(format!("goes through {key}"), format!("{key} is a value, not a table"))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str = "\
server.workers = 1
[[listener]]
name = 'public'
bind = '[::]:80'
[[listener]]
name = 'in-side'
tls.certificate = [{ cert = 'a' }]
";

    fn with(variables: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut sources = Sources::new(Path::new("x"), FILE.to_owned());
        let spans: Vec<Span> = variables.iter().map(|(name, value)| sources.add(name, value)).collect();
        let mut root = DeTable::parse(sources.file()).unwrap().into_inner();
        let mut problems = Vec::new();
        for ((name, _), span) in variables.iter().zip(&spans) {
            if let Err(problem) = set(&mut root, &sources, name, span) {
                problems.push(format!("{}: {}", problem.message, problem.label));
            }
        }
        (
            toml::to_string(
                &toml::Table::deserialize(toml::Deserializer::from(Spanned::new(0..0, root))).unwrap(),
            )
            .unwrap(),
            problems,
        )
    }

    use serde::Deserialize as _;

    #[test]
    fn variables_win_over_the_file() {
        let (text, problems) = with(&[
            ("STAGEDOOR__SERVER__WORKERS", "2"),
            ("STAGEDOOR__LISTENER__PUBLIC__BIND", "[::]:443"),
            ("STAGEDOOR__LISTENER__IN_SIDE__TLS__CERTIFICATE__0__CERT", "b"),
            ("STAGEDOOR__LOG__ACCESS__FORMAT", "off"),
            ("STAGEDOOR__SERVER__TRUSTED_PROXIES", "['::1']"),
        ]);
        assert_eq!(problems, [""; 0]);
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["server"]["workers"].as_integer(), Some(2));
        assert_eq!(table["listener"][0]["bind"].as_str(), Some("[::]:443"));
        assert_eq!(table["listener"][1]["tls"]["certificate"][0]["cert"].as_str(), Some("b"));
        assert_eq!(table["log"]["access"]["format"].as_str(), Some("off"));
        assert_eq!(table["server"]["trusted_proxies"][0].as_str(), Some("::1"));
    }

    #[test]
    fn a_variable_that_leads_nowhere_says_so() {
        let (_, problems) = with(&[
            ("STAGEDOOR__", "1"),
            ("STAGEDOOR__SERVER____X", "1"),
            ("STAGEDOOR__SERVER__WORKERS__X", "1"),
            ("STAGEDOOR__LISTENER__PUBLIK__BIND", "1"),
            ("STAGEDOOR__LISTENER__0__BIND", "1"),
            ("STAGEDOOR__UPSTREAM__API__PROTOCOL", "h2"),
        ]);
        assert_eq!(
            problems,
            [
                "names no key: a step is empty",
                "names no key: a step is empty",
                "goes through workers: workers is a value, not a table",
                "names a table of listener: no listener is called \"publik\"",
                "names a table of listener: no listener is called \"0\"",
                "names a table of upstream: the file has no [[upstream]]",
            ]
        );
    }
}
