//! The arrows between the packages (docs/architecture.md, "Layers"), as `cargo tree` sees them: `protocol` has
//! no runtime below it, `metrics` knows nobody of ours, `actors` not the root, and nothing points back.

use std::collections::BTreeSet;
use std::process::Command;

/// What a package needs at run time, directly and below.
struct Below {
    package: &'static str,
    names: BTreeSet<String>,
}

impl Below {
    /// Asks cargo. `metadata` would not do: it joins the features that tests ask for.
    fn of(package: &'static str) -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"])
            // Of this platform alone: crates of others are not there on a machine that has only built this one.
            .args(["--locked", "--offline"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
        let names = tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| *name != package);
        let names: BTreeSet<_> = names.map(str::to_owned).collect();
        assert!(!names.is_empty(), "{package} needs something");
        Self { package, names }
    }

    fn has_none_of(&self, unwanted: &[&str]) {
        for name in unwanted {
            assert!(!self.names.contains(*name), "{} needs {name}", self.package);
        }
    }

    fn ours(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).filter(|name| name.starts_with("stagedoor")).collect()
    }
}

#[test]
fn protocol_has_no_runtime_below_it() {
    let below = Below::of("stagedoor-protocol");
    below.has_none_of(&["tokio", "actix", "actix-rt", "mio", "socket2", "rustls", "hyper", "prometheus"]);
    below.has_none_of(&["tracing", "tracing-subscriber", "serde", "http"]);
    assert!(below.ours().is_empty());
}

#[test]
fn metrics_knows_nobody_of_ours() {
    let below = Below::of("stagedoor-metrics");
    assert!(below.ours().is_empty());
    below.has_none_of(&["tokio", "actix", "hyper", "tracing-subscriber"]);
}

#[test]
fn actors_stand_on_protocol_and_metrics_and_not_on_the_root() {
    let below = Below::of("stagedoor-actors");
    assert_eq!(below.ours(), ["stagedoor-metrics", "stagedoor-protocol"]);
    // A library installs neither a subscriber nor an allocator.
    below.has_none_of(&["tracing-subscriber", "mimalloc", "clap"]);
}

#[test]
fn the_root_sees_all_three_and_no_oracle_of_the_tests() {
    let below = Below::of("stagedoor");
    assert_eq!(below.ours(), ["stagedoor-actors", "stagedoor-metrics", "stagedoor-protocol"]);
    below.has_none_of(&["hpack", "loona-hpack", "libnghttp2-sys", "h2"]);
}
