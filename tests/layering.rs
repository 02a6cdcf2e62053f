//! The arrows between the packages (docs/architecture.md, "Layers"), read from `cargo metadata`: `protocol`
//! has no runtime below it, `metrics` knows nobody of ours, `actors` not the root, and nothing points back.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What every package needs at run time, directly and below. Development and build dependencies are left out.
struct Graph {
    below: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let name_of: BTreeMap<_, _> = list(&metadata["packages"])
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let below = list(&metadata["resolve"]["nodes"]).map(|node| {
            let needed = list(&node["deps"])
                .filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()))
                .map(|dep| name_of[&text(&dep["pkg"])].clone());
            (name_of[&text(&node["id"])].clone(), needed.collect())
        });
        let mut graph = Self { below: BTreeMap::new() };
        for (package, needed) in below {
            // Two versions of a package share a name: what either needs counts.
            graph.below.entry(package).or_insert_with(BTreeSet::new).extend::<BTreeSet<_>>(needed);
        }
        graph
    }

    /// Everything below `package`.
    fn closure(&self, package: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open = vec![package];
        while let Some(next) = open.pop() {
            for needed in self.below.get(next).unwrap_or_else(|| panic!("no package {next}")) {
                if found.insert(needed.as_str()) {
                    open.push(needed);
                }
            }
        }
        found
    }

    fn ours_below(&self, package: &str) -> Vec<&str> {
        self.closure(package).into_iter().filter(|name| name.starts_with("stagedoor")).collect()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn protocol_has_no_runtime_below_it() {
    let graph = Graph::read();
    let below = graph.closure("stagedoor-protocol");
    let runtimes = [
        "tokio",
        "actix",
        "actix-rt",
        "mio",
        "socket2",
        "rustls",
        "hyper",
        "prometheus",
        "tracing",
        "tracing-subscriber",
        "serde",
        "http",
    ];
    for runtime in runtimes {
        assert!(!below.contains(runtime), "protocol needs {runtime}");
    }
    assert!(graph.ours_below("stagedoor-protocol").is_empty());
}

#[test]
fn metrics_knows_nobody_of_ours() {
    let graph = Graph::read();
    assert!(graph.ours_below("stagedoor-metrics").is_empty());
    for foreign in ["tokio", "actix", "hyper", "tracing-subscriber"] {
        assert!(!graph.closure("stagedoor-metrics").contains(foreign), "metrics needs {foreign}");
    }
}

#[test]
fn actors_stand_on_protocol_and_metrics_and_not_on_the_root() {
    let graph = Graph::read();
    assert_eq!(graph.ours_below("stagedoor-actors"), ["stagedoor-metrics", "stagedoor-protocol"]);
    assert!(
        !graph.closure("stagedoor-actors").contains("tracing-subscriber"),
        "a library installs no subscriber"
    );
}

#[test]
fn the_root_sees_all_three_and_the_allocator_is_its_own() {
    let graph = Graph::read();
    assert_eq!(
        graph.ours_below("stagedoor"),
        ["stagedoor-actors", "stagedoor-metrics", "stagedoor-protocol"]
    );
    assert!(!graph.closure("stagedoor-actors").contains("mimalloc"));
}

#[test]
fn the_oracles_of_the_tests_face_no_network() {
    let graph = Graph::read();
    for oracle in ["hpack", "loona-hpack", "libnghttp2-sys", "h2"] {
        assert!(!graph.closure("stagedoor").contains(oracle), "the gateway needs {oracle}");
    }
}
