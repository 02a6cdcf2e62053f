//! docs/parity.md against the tree: no row of Node's catalogue is missing, each state is one of three, and every
//! test that is named there exists where it is said to be.
//!
//! Knows ids and names alone; whether a test shows what its row says is for readers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/parity.md";

/// Every id there must be: letters, then the first and the last number of a run.
const CATALOGUE: [(&str, u32, u32); 21] = [
    ("L", 1, 25),
    ("C", 1, 11),
    ("G", 1, 13),
    ("S", 1, 31),
    ("S", 40, 42),
    ("S", 50, 54),
    ("T", 1, 21),
    ("T", 30, 33),
    ("T", 40, 54),
    ("V", 1, 19),
    ("Q", 1, 6),
    ("R", 1, 13),
    ("E", 1, 26),
    ("M", 1, 8),
    ("M", 20, 25),
    ("D", 1, 7),
    ("X", 1, 8),
    // Rules of life, scenarios, wishes and faults.
    ("2.", 1, 10),
    ("3.", 1, 13),
    ("P", 1, 20),
    ("F", 1, 15),
];

fn catalogue() -> BTreeSet<String> {
    let id = |letters: &str, number| match letters.ends_with('.') {
        true => format!("{letters}{number}"),
        false => format!("{letters}{number:02}"),
    };
    CATALOGUE.iter().flat_map(|&(letters, from, to)| (from..=to).map(move |n| id(letters, n))).collect()
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(at(path)).map_err(|error| format!("{path}: {error}"))
}

/// A line of a table.
#[derive(Debug)]
struct Row<'a> {
    line: usize,
    cells: Vec<&'a str>,
}

impl Row<'_> {
    fn id(&self) -> &str {
        self.cells[0]
    }

    /// `done`, `better` or `not offered`, with what is said of it; rows of five cells have one.
    fn state(&self) -> Option<(&str, &str)> {
        let state = self.cells.get(3).filter(|_| self.cells.len() == 5)?;
        Some(state.split_once(':').map_or((*state, ""), |(state, words)| (state, words.trim())))
    }
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (number, line) in page.lines().enumerate() {
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|')) else {
            continue;
        };
        let cells: Vec<_> = inner.split('|').map(str::trim).collect();
        if !matches!(cells[0], "id" | "section" | "group" | "---") {
            rows.push(Row { line: number + 1, cells });
        }
    }
    rows
}

/// The tests a cell names: `` `one`, `two` (file); `three` (file) ``.
fn citations(cell: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut cited = Vec::new();
    if cell == "—" {
        return Ok(cited);
    }
    for group in cell.split(';').map(str::trim) {
        let (names, file) = group
            .strip_suffix(')')
            .and_then(|group| group.split_once(" ("))
            .ok_or_else(|| format!("{group:?} is not written as `test`, `test` (file)"))?;
        for name in names.split(',').map(str::trim) {
            let bare = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
            cited.push((bare.ok_or_else(|| format!("{name:?} does not stand in backticks"))?, file));
        }
    }
    Ok(cited)
}

/// The names of the tests of a file: functions under an attribute that ends in `test`, and the first word given
/// to `on_every_protocol!`.
fn tests_in(source: &str) -> BTreeSet<&str> {
    fn word(text: &str) -> &str {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
    }
    let mut names = BTreeSet::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if let Some(attribute) = line.strip_prefix("#[") {
            let name = attribute.split([']', '(']).next().unwrap_or("");
            marked |= name == "test" || name.ends_with("::test");
        } else if let Some(given) = line.strip_prefix("on_every_protocol!(") {
            names.insert(word(given));
        } else if !line.is_empty() && !line.starts_with("//") {
            let function = line.split_once("fn ").filter(|(before, _)| {
                before.split_whitespace().all(|word| matches!(word, "async" | "pub" | "pub(crate)"))
            });
            if let (true, Some((_, rest))) = (marked, function) {
                names.insert(word(rest));
            }
            marked = false;
        }
    }
    names
}

/// Fails with every fault at once.
fn none_of(faults: &[String], way_out: &str) {
    let mut words = String::new();
    for fault in faults {
        let _ = writeln!(words, "  {fault}");
    }
    assert!(faults.is_empty(), "{} faults in {PAGE}:\n{words}{way_out}", faults.len());
}

#[test]
fn every_row_is_there_once() {
    let page = read(PAGE).unwrap();
    let mut seen = BTreeMap::new();
    let mut faults = Vec::new();
    let wanted = catalogue();
    for row in rows(&page) {
        if !wanted.contains(row.id()) {
            faults.push(format!("line {}: {} is no id of the catalogue", row.line, row.id()));
        }
        if let Some(before) = seen.insert(row.id().to_owned(), row.line) {
            faults.push(format!("line {}: {} stands on line {before} already", row.line, row.id()));
        }
    }
    faults.extend(wanted.iter().filter(|id| !seen.contains_key(*id)).map(|id| format!("{id} has no row")));
    none_of(&faults, "Give each id one row; the list of ids is CATALOGUE in tests/parity.rs.");
}

#[test]
fn every_state_is_one_of_three_and_has_what_it_needs() {
    let page = read(PAGE).unwrap();
    let mut faults = Vec::new();
    for row in rows(&page) {
        let mut fault = |words: &str| faults.push(format!("line {}: {} {words}", row.line, row.id()));
        let numbered = row.id().starts_with(|first: char| "LCGSTVQREMDX".contains(first));
        match row.state() {
            None if numbered => fault("has not five cells: id, Node's name, in stagedoor, state, shown by"),
            None => {}
            Some(("done", _)) if row.cells[4] == "—" => fault("is done, and names no test that shows it"),
            Some(("better", "")) => fault("is better, and does not say how: `better: ...`"),
            Some(("not offered", "")) => fault("is not offered, and does not say why: `not offered: ...`"),
            Some(("done" | "better" | "not offered", _)) => {}
            Some((state, _)) => fault(&format!("is {state:?}, which is none of done, better, not offered")),
        }
        if row.cells.iter().any(|cell| cell.is_empty()) {
            fault("has an empty cell");
        }
    }
    none_of(&faults, "A row that cannot name a test is not done: write the test, or say what is missing.");
}

#[test]
fn every_test_that_is_named_exists() {
    let page = read(PAGE).unwrap();
    let mut sources: BTreeMap<&str, Result<String, String>> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut named = 0;
    for row in rows(&page) {
        let mut fault = |words: String| faults.push(format!("line {}: {}: {words}", row.line, row.id()));
        let last = *row.cells.last().expect("a row has cells");
        if row.id().starts_with("3.") {
            for file in last.split(',').map(|file| file.trim().trim_matches('`')) {
                match read(file) {
                    Ok(source) if tests_in(&source).is_empty() => fault(format!("{file} has no tests")),
                    Ok(_) => {}
                    Err(error) => fault(error),
                }
            }
            continue;
        }
        let cited = citations(last).unwrap_or_else(|words| {
            fault(words);
            Vec::new()
        });
        for (name, file) in cited {
            named += 1;
            match sources.entry(file).or_insert_with(|| read(file)) {
                Ok(source) if tests_in(source).contains(name) => {}
                Ok(_) => fault(format!("no test {name} in {file}")),
                Err(error) => fault(error.clone()),
            }
        }
    }
    none_of(&faults, "Name the test that shows the row now, with the file it is in.");
    assert!(named > catalogue().len(), "{named} tests are named in {PAGE}: is it read at all?");
}

#[test]
fn tests_are_known_by_their_attribute_and_by_their_macro() {
    let source = "
        #[test]
        // Words between.
        #[should_panic(expected = \"x\")]
        fn under_two_attributes() {}

        #[tokio::test(start_paused = true)]
        async fn of_tokio() {}

        fn of_nobody() {}
        on_every_protocol!(in_a_macro, |client, _speaks| {});
        #[cfg(test)]
        fn a_helper() {}
    ";
    let found: Vec<_> = tests_in(source).into_iter().collect();
    assert_eq!(found, ["in_a_macro", "of_tokio", "under_two_attributes"]);
    assert_eq!(
        citations("`a`, `b` (x.rs); `c` (y.rs)"),
        Ok(vec![("a", "x.rs"), ("b", "x.rs"), ("c", "y.rs")])
    );
    assert!(citations("`a`").is_err() && citations("a (x.rs)").is_err());
    let row = &rows("| L01 | a | b | better: by far | — |")[0];
    assert_eq!((row.id(), row.state()), ("L01", Some(("better", "by far"))));
}
