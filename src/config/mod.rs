//! The configuration of the gateway: one file of TOML and variables of the environment over it, checked once into
//! [`Config`], or all that is wrong with it, each with its place ([`Faults`]). Starts nothing, and keeps nothing open.
//!
//! The way: texts ([`load`]) are merged into a tree of values with places, that is read into the structs of the file with
//! every error of one run, and those are checked against each other and against what is on disk.
//!
//! Invariant: a [`Config`] is handed out only if no error was found.

mod at;
mod check;
mod diagnostic;
mod environment;
mod file;
mod model;
mod problem;
mod read;
mod render;
mod show;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod word;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use diagnostic::{Code, Diagnostic, Faults, Place, Severity, Source};
pub use model::*;

use check::Check;
use read::Finding;
use source::Sources;

/// The file that is read where none is named.
pub const FILE: &str = "stagedoor.toml";

/// Octets of a configuration; more is not what was meant.
const MOST: u64 = 16 << 20;

/// What the file does not say and only the process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `limits.sessions` of listeners: min(20 000, 0.9 x RLIMIT_NOFILE).
    pub sessions: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { sessions: 20_000 }
    }
}

/// A configuration, and what is known beside it.
///
/// ```
/// use stagedoor::config::{Defaults, Loaded, parse};
///
/// let text = "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8080\"\n[[route]]\nname = \"all\"\ndemo = {}\n";
/// let loaded: Loaded = parse("test", text.to_owned(), &Defaults::default()).unwrap();
/// assert!(loaded.show().contains("127.0.0.1:8080"));
/// ```
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was meant.
    pub config: Config,
    /// What works and is worth a word: warnings, then notices, each in the order of the file.
    pub warnings: Vec<Diagnostic>,
    /// What is in force, and where each value came from: `{"config": ..., "origins": {"server.workers": "stagedoor.toml:4"}}`.
    pub document: serde_json::Value,
    /// Files it was made of: itself, certificates, keys, authorities, the token, error bodies. When one changes, so may this.
    pub files: Vec<PathBuf>,
    shown: String,
}

impl Loaded {
    /// What is in force as TOML, with `# from ...` behind each value. It reads as the same configuration again.
    #[must_use]
    pub fn show(&self) -> &str {
        &self.shown
    }
}

/// Reads `path` and the variables of `env` that begin with `STAGEDOOR__`.
///
/// ```no_run
/// use std::path::Path;
///
/// use stagedoor::config::{Defaults, load};
///
/// match load(Path::new("stagedoor.toml"), std::env::vars(), &Defaults::default()) {
///     Ok(loaded) => print!("{}", loaded.show()),
///     Err(faults) => eprint!("{}", faults.render(true)),
/// }
/// ```
/// # Errors
/// All that is wrong with it.
pub fn load(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
    defaults: &Defaults,
) -> Result<Loaded, Faults> {
    let text = text_of(path).map_err(|(message, label)| {
        let help = (label == NOT_THERE).then(|| "`stagedoor init` writes one to begin with".to_owned());
        Faults(vec![Diagnostic {
            severity: Severity::Error,
            code: Code::Unreadable,
            message,
            place: None,
            label,
            help,
        }])
    })?;
    load_text(path, text, env, defaults, SystemTime::now())
}

/// The schema of the file (JSON Schema 2020-12), with every key and what it means.
///
/// ```
/// let schema = stagedoor::config::schema();
/// assert!(schema["properties"]["listener"].is_object());
/// ```
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(file::File).to_value()
}

const NOT_THERE: &str = "there is no such file";

/// The text of the file, or what to say of it and why.
fn text_of(path: &Path) -> Result<String, (String, String)> {
    let failed = |why: String| (format!("{} cannot be read", path.display()), why);
    let mut octets = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut octets)).map_err(
        |error| {
            failed(match error.kind() {
                std::io::ErrorKind::NotFound => NOT_THERE.to_owned(),
                std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
                std::io::ErrorKind::PermissionDenied => "it is not ours to read".to_owned(),
                _ => error.to_string(),
            })
        },
    )?;
    if octets.len() as u64 > MOST {
        return Err(failed("a configuration has 16 MiB at most".to_owned()));
    }
    String::from_utf8(octets).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line =
            error.as_bytes().get(..good).unwrap_or_default().iter().filter(|octet| **octet == b'\n').count()
                + 1;
        failed(format!("line {line} is not UTF-8"))
    })
}

/// Reads a text that no file holds; `name` is what errors call it.
///
/// ```
/// use stagedoor::config::{Defaults, parse};
///
/// let faults = parse("test", "[server]\nworkrs = 2\n".to_owned(), &Defaults::default()).unwrap_err();
/// assert!(faults.render(false).contains("workers"), "it says what was meant");
/// ```
/// # Errors
/// As [`load`].
pub fn parse(name: &str, text: String, defaults: &Defaults) -> Result<Loaded, Faults> {
    load_text(Path::new(name), text, std::iter::empty(), defaults, SystemTime::now())
}

fn load_text(
    path: &Path,
    text: String,
    env: impl Iterator<Item = (String, String)>,
    defaults: &Defaults,
    now: SystemTime,
) -> Result<Loaded, Faults> {
    let mut sources = Sources::new(path, text);
    let mut variables: Vec<(String, String)> =
        env.filter(|(name, _)| name.starts_with(environment::PREFIX)).collect();
    variables.sort();
    let variables: Vec<_> = variables
        .into_iter()
        .map(|(name, value)| {
            let span = sources.add(&name, &value);
            (name, span)
        })
        .collect();
    let mut read = read::read(&sources, &variables);
    for listener in &mut read.file.listener {
        let sessions = &mut listener.value.limits.sessions;
        sessions.get_or_insert_with(|| at::At::default_of(word::Int(defaults.sessions.max(1))));
    }
    let mut findings = std::mem::take(&mut read.findings);
    // Nothing was read where it is not TOML, and a file that was given up on is not judged by what is missing.
    if findings.iter().any(|finding| finding.problem.code == Code::Syntax) || read.given_up {
        return Err(Faults(diagnostics(findings, &sources)));
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut check = Check::new(dir, &read.broken, now);
    let config = check.all(&read.file);
    findings.append(&mut check.findings);
    // An upstream that a route means and does not name is not unused.
    let lost = |finding: &Finding| finding.problem.code == Code::UnknownUpstream;
    if findings.iter().any(lost) || !read.broken.is_empty() {
        findings.retain(|finding| finding.problem.code != Code::UnusedUpstream);
    }
    let mut files = vec![path.to_owned()];
    files.append(&mut check.files);
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    let said = diagnostics(findings, &sources);
    if failed {
        return Err(Faults(said));
    }
    let shown = show::show(&read.file, &read.places, &sources);
    Ok(Loaded { config, warnings: said, document: shown.document, files, shown: shown.text })
}

/// Findings in order: errors, warnings, notices, each as they are written.
fn diagnostics(mut findings: Vec<Finding>, sources: &Sources) -> Vec<Diagnostic> {
    findings.sort_by_key(|finding| (finding.severity, finding.span.start));
    let one = |finding: Finding| Diagnostic {
        severity: finding.severity,
        code: finding.problem.code,
        message: finding.message,
        place: sources.place(&finding.span),
        label: finding.problem.label,
        help: finding.problem.help,
    };
    findings.into_iter().map(one).collect()
}
