//! A library is a guest in its process: what an application links never ends the process, takes its signals, or chooses
//! its allocator and its log. Reads the sources as text; what other crates do is not its business.
//!
//! Invariant: the modules that it leaves out are those that `src/lib.rs` gates by the feature `gateway`, or one that
//! brings it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Whose affair these are: the application's.
const FORBIDDEN: [&str; 8] = [
    "process::exit",
    "process::abort",
    "set_global_default",
    "#[global_allocator]",
    "tokio::signal",
    "signal_hook",
    // Whoever installs one for the process chooses for everybody in it.
    "install_default",
    "set_hook",
];

/// Gates of modules that are the gateway's.
const GATES: [&str; 3] =
    ["#[cfg(feature = \"gateway\")]", "#[cfg(feature = \"otlp\")]", "#[cfg(feature = \"top\")]"];

/// A file of ours, by its lines.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// Where `at` is in the tree, for people; lines count from zero here and from one there.
    fn place(&self, at: usize) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        format!("{}:{}", self.path.strip_prefix(root).unwrap_or(&self.path).display(), at + 1)
    }
}

/// Appends every Rust file in `dir` and below.
fn sources_in(dir: &Path, found: &mut Vec<Source>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", dir.display())).path();
        if path.is_dir() {
            sources_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(Source::read(path));
        }
    }
}

/// The modules that a `lib.rs` declares, without those of the gateway.
fn modules_without_gateway(lib: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut gated = false;
    for line in lib.lines() {
        let line = line.trim();
        let module = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ");
        match module.and_then(|rest| rest.strip_suffix(';')) {
            Some(name) if !gated => _ = names.insert(name),
            _ => {}
        }
        gated = GATES.contains(&line) || (gated && line.starts_with("#["));
    }
    names
}

/// Everything that an application links which embeds the library.
fn library() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for package in ["actors", "metrics", "protocol"] {
        sources_in(&root.join(package).join("src"), &mut found);
    }
    let lib = Source::read(root.join("src/lib.rs"));
    for module in modules_without_gateway(&lib.text) {
        let (file, dir) = (root.join(format!("src/{module}.rs")), root.join("src").join(module));
        assert!(file.exists() || dir.join("mod.rs").exists(), "src/lib.rs has a module {module} of no file");
        if file.exists() {
            found.push(Source::read(file));
        }
        if dir.exists() {
            sources_in(&dir, &mut found);
        }
    }
    found.push(lib);
    found
}

/// The lines with one of the words, as `place: word`.
fn mentions(source: &Source) -> Vec<String> {
    // What an application may do is shown in the docs.
    let code = |(_, line): &(usize, &str)| !line.trim_start().starts_with("//");
    let lines = source.text.lines().enumerate().filter(code);
    lines
        .flat_map(|(at, line)| {
            let found = FORBIDDEN.iter().filter(move |word| line.contains(**word));
            found.map(move |word| format!("{}: {word}", source.place(at)))
        })
        .collect()
}

/// The lines that begin something unsafe and say no reason, neither on them nor in the three above.
fn unexplained(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.text.lines().collect();
    let unsafe_code = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        [
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe extern",
            "unsafe trait",
            "unsafe(",
            "allow(unsafe_code",
        ]
        .iter()
        .any(|word| code.contains(word))
    };
    let explains = |line: &&str| line.contains("SAFETY:") || line.contains("reason = ");
    let silent = |at: &usize| !lines[at.saturating_sub(3)..=*at].iter().any(explains);
    (0..lines.len())
        .filter(|at| unsafe_code(lines[*at]))
        .filter(silent)
        .map(|at| format!("{}: unsafe without a reason", source.place(at)))
        .collect()
}

#[test]
fn the_library_leaves_the_process_to_the_application() {
    let sources = library();
    for wanted in ["src/lib.rs", "src/devca.rs", "actors/src/server.rs", "protocol/src/lib.rs"] {
        assert!(sources.iter().any(|source| source.path.ends_with(wanted)), "{wanted} is looked at");
    }
    let found: Vec<_> = sources.iter().flat_map(mentions).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn what_is_unsafe_has_a_reason() {
    let found: Vec<_> = library().iter().flat_map(unexplained).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_gate_goes_for_the_module_below_it_alone() {
    let lib = "pub mod a;\n#[cfg(feature = \"gateway\")]\npub mod b;\n#[cfg(feature = \"gateway\")]\n#[doc(hidden)]\nmod c;\nmod d;\n#[cfg(unix)]\nmod e;\n";
    assert_eq!(modules_without_gateway(lib).into_iter().collect::<Vec<_>>(), ["a", "d", "e"]);
}

#[test]
fn a_fault_is_named_with_its_file_and_line() {
    let source = Source {
        path: Path::new(env!("CARGO_MANIFEST_DIR")).join("src/x.rs"),
        text: "fn f() {\n    std::process::exit(1);\n    // SAFETY: never run.\n    unsafe { g() }\n}\n\n\nunsafe fn g() {}\n".to_owned(),
    };
    assert_eq!(mentions(&source), ["src/x.rs:2: process::exit"]);
    assert_eq!(unexplained(&source), ["src/x.rs:8: unsafe without a reason"]);
}

#[test]
fn types_of_actix_are_seen_in_the_module_of_actors_alone() {
    let facade = library();
    let facade = facade.iter().filter(|source| {
        let path = source.path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&source.path);
        path.starts_with("src") && path != Path::new("src/actor.rs")
    });
    let public = |line: &str| {
        let line = line.trim_start();
        line.starts_with("pub ")
            && (line.contains("actix") || line.contains("Arbiter") || line.contains("Recipient"))
    };
    let found: Vec<_> = facade
        .flat_map(|source| {
            let lines = source.text.lines().enumerate().filter(move |(_, line)| public(line));
            lines.map(|(at, line)| format!("{}: {line}", source.place(at)))
        })
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
