//! No example without a test, and none that does not say how it is run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The tests of examples, where a name is looked for.
const TESTS: [&str; 4] =
    [include_str!("alike.rs"), include_str!("chat.rs"), include_str!("grpc.rs"), include_str!("single.rs")];

fn examples() -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let sources = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Whether a test here starts it, or it is a test itself.
fn is_tested(name: &str, source: &str) -> bool {
    let starts = [format!("start(\"{name}\")"), format!("start_at(\"{name}\",")];
    source.contains("#[test]") || TESTS.iter().any(|test| starts.iter().any(|start| test.contains(start)))
}

#[test]
fn every_example_has_a_test_and_says_first_how_it_is_run() {
    let examples = examples();
    assert!(examples.len() >= 13, "{:?}", examples.keys());
    for (name, source) in examples {
        assert!(is_tested(&name, &source), "examples/{name}.rs has no test in tests/examples/");
        let first = source.lines().next().unwrap_or_default();
        let says = [format!("`cargo run --example {name}`"), format!("`cargo test --example {name}")];
        assert!(
            first.starts_with("//! ") && says.iter().any(|command| first.contains(command)),
            "examples/{name}.rs does not say first how it is run: {first}"
        );
    }
}

#[test]
fn an_example_that_nobody_starts_is_found() {
    assert!(!is_tested("nobody", "fn main() {}"));
    assert!(is_tested("nobody", "#[test]\nfn itself() {}"));
}
