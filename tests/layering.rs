//! The arrows between the packages (docs/architecture.md, "Layers"), as `cargo tree` sees them: `protocol` has
//! no runtime below it, `metrics` knows nobody of ours, `actors` not the root, and nothing points back. Also what the
//! features of the root package keep away from those who embed it.

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
        Self::with(package, &[])
    }

    /// With these flags of features.
    fn with(package: &'static str, features: &[&str]) -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"])
            // Of this platform alone: crates of others are not there on a machine that has only built this one.
            .args(["--locked", "--offline"])
            .args(features)
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

/// What the command needs and an application that embeds the library does not.
const OF_THE_COMMAND: [&str; 26] = [
    "async-compression",
    "aws-lc-rs",
    "aws-lc-sys",
    "clap",
    "clap_complete",
    "clap_mangen",
    "crossterm",
    "hdrhistogram",
    "hickory-resolver",
    "indicatif",
    "libmimalloc-sys",
    "listenfd",
    "miette",
    "mimalloc",
    "notify",
    "prost",
    "ratatui",
    "rcgen",
    "ring",
    "schemars",
    "sd-notify",
    "serde_json",
    "tokio-tungstenite",
    "toml",
    "tracing-subscriber",
    "x509-parser",
];

#[test]
fn who_embeds_the_library_gets_little() {
    let small = Below::with("stagedoor", &["--no-default-features"]);
    small.has_none_of(&OF_THE_COMMAND);
    let telemetry: Vec<_> = small.names.iter().filter(|name| name.starts_with("opentelemetry")).collect();
    assert!(telemetry.is_empty(), "{telemetry:?}");

    let whole = Below::of("stagedoor");
    for wanted in ["clap", "libmimalloc-sys", "ratatui", "aws-lc-rs"] {
        assert!(whole.names.contains(wanted), "the command has {wanted}");
    }
    let (few, many) = (small.names.len(), whole.names.len());
    assert!(few * 2 <= many, "{few} crates for who embeds the library, {many} for the command");
}

#[test]
fn a_provider_of_cryptography_brings_its_own_and_no_other() {
    for (feature, wanted, unwanted) in [("aws-lc-rs", "aws-lc-rs", "ring"), ("ring", "ring", "aws-lc-rs")] {
        let below = Below::with("stagedoor", &["--no-default-features", "--features", feature]);
        assert!(below.names.contains(wanted) && below.names.contains("rcgen"), "{feature}");
        below.has_none_of(&[unwanted, "clap", "x509-parser", "serde_json"]);
    }
}
