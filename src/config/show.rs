//! The merged configuration as it is in force, each value with where it came from: as TOML for people
//! (`stagedoor check --show`), as JSON for the API.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;
use toml::{Table, Value};

use super::file::File;
use super::source::{Sources, Span};
use super::tree::{Path, Step, written};

/// Column at which origins begin, where values are shorter.
const COLUMN: usize = 56;

/// Both forms.
pub(super) struct Shown {
    pub(super) text: String,
    pub(super) document: serde_json::Value,
}

/// Shows a file whose values were written at `places`.
pub(super) fn show(file: &File, places: &BTreeMap<Path, Span>, sources: &Sources) -> Shown {
    let Ok(table) = Table::try_from(file) else {
        // What was read from TOML can be written as TOML.
        return Shown { text: String::new(), document: json!({}) };
    };
    let mut show = Show { places, sources, text: String::new(), origins: serde_json::Map::new() };
    for (key, value) in &table {
        let mut path = vec![Step::Key(key.clone())];
        match value {
            Value::Table(table) => show.table(&format!("[{key}]"), table, &mut path),
            Value::Array(list) => {
                for (index, item) in list.iter().enumerate() {
                    path.push(Step::Index(index));
                    if let Value::Table(table) = item {
                        show.table(&format!("[[{key}]]"), table, &mut path);
                    }
                    path.pop();
                }
            }
            _ => {}
        }
    }
    let config = serde_json::to_value(&table).unwrap_or_default();
    Shown { text: show.text, document: json!({ "config": config, "origins": show.origins }) }
}

struct Show<'a> {
    places: &'a BTreeMap<Path, Span>,
    sources: &'a Sources,
    text: String,
    origins: serde_json::Map<String, serde_json::Value>,
}

impl Show<'_> {
    fn table(&mut self, head: &str, table: &Table, path: &mut Path) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(head);
        self.text.push('\n');
        self.entries("", table, path);
    }

    /// Tables within go by dotted keys, so that each value has a line of its own.
    fn entries(&mut self, above: &str, table: &Table, path: &mut Path) {
        for (key, value) in table {
            let name = format!("{above}{}", bare(key));
            path.push(Step::Key(key.clone()));
            match value {
                Value::Table(within) if !within.is_empty() => self.entries(&format!("{name}."), within, path),
                // An empty table says nothing but that it is there; where nobody wrote it, it is not.
                Value::Table(_) if !self.places.contains_key(path.as_slice()) => {}
                value => self.value(&name, value, path),
            }
            path.pop();
        }
    }

    fn value(&mut self, name: &str, value: &Value, path: &Path) {
        let from = self.origin(path);
        let line = format!("{name} = {value}");
        let _ = writeln!(self.text, "{line:COLUMN$} # from {from}");
        self.origins.insert(written(path), from.into());
    }

    /// Where a value was written, or what is around it: `compress = true` stands for all of its table.
    fn origin(&self, path: &Path) -> String {
        let span = self.places.get(path);
        span.and_then(|span| self.sources.origin(span)).unwrap_or_else(|| "defaults".to_owned())
    }
}

/// A key as TOML has it.
fn bare(key: &str) -> String {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_');
    match !key.is_empty() && key.chars().all(plain) {
        true => key.to_owned(),
        false => Value::String(key.to_owned()).to_string(),
    }
}
