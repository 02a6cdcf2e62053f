//! The configuration as a whole: every message, the sample of docs/configuration.md, what is shown, and that no text breaks
//! the reader.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

mod random;
mod sample;
mod schema;

/// Reads a text as if it were the file of a directory.
fn load_in(dir: &Path, text: &str, env: &[(&str, &str)]) -> Result<Loaded, Faults> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_text(&dir.join(FILE), text.to_owned(), env, &Defaults::default(), SystemTime::now())
}

/// `tests/config/*.toml` with the messages of each in `*.stderr`. `STAGEDOOR_BLESS=1` writes them.
#[test]
fn every_message_is_as_it_was() {
    // Relative, so that no message names a directory of this machine.
    let dir = Path::new("tests/config");
    let bless = std::env::var_os("STAGEDOOR_BLESS").is_some();
    let mut cases: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    cases.sort();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let text = fs::read(case).unwrap();
        let text = String::from_utf8_lossy(&text);
        let variables = text.lines().filter_map(|line| line.strip_prefix("# env: ")?.split_once('='));
        let variables: Vec<_> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let name = case.file_stem().unwrap().to_string_lossy().into_owned();
        let said = match load(case, variables.into_iter(), &Defaults::default()) {
            Ok(loaded) => {
                assert!(name.starts_with("warn_"), "{name} has no error");
                Faults(loaded.warnings)
            }
            Err(faults) => {
                assert!(faults.errors() > 0, "{name} failed without an error");
                assert!(!name.starts_with("warn_"), "{name} has errors:\n{faults}");
                faults
            }
        };
        seen.extend(said.0.iter().map(|one| one.code));
        let expected = case.with_extension("stderr");
        if bless {
            fs::write(&expected, said.to_string()).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said.to_string() {
            wrong.push(format!("--- {name}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "not as in *.stderr (STAGEDOOR_BLESS=1 takes it over):\n{}", wrong.join("\n"));
    let unseen: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code)).collect();
    assert!(unseen.is_empty(), "no case says {unseen:?}");
}

#[test]
fn what_is_shown_reads_as_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let text = "\
[server]
workers = 3
trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.1\"]
[[listener]]
name = \"public\"
bind = \"127.0.0.1:80\"
limits.session_max_age = {}
[[upstream]]
name = \"api\"
endpoints = [\"http://a:1\", { url = \"https://[::1]\", weight = 2 }, \"unix:x.sock\"]
balance = { hash = \"cookie:s\" }
health = {}
[[route]]
name = \"api\"
match = { path = \"/{*rest}\", headers = { x-a = true, x-b = \"1\" } }
request_headers = { set = { \"x.y\" = \"\\\"quoted\\\" \\\\\" } }
compress = { min_bytes = 100 }
proxy = { upstream = \"api\" }
[[route]]
name = \"demo\"
demo = {}
";
    let env = [("STAGEDOOR__LISTENER__PUBLIC__BIND", "[::]:443"), ("STAGEDOOR__LOG__LEVEL", "debug")];
    let loaded = load_in(dir.path(), text, &env).unwrap_or_else(|faults| panic!("{faults}"));
    let lines = |wanted: &str| {
        let mut found = loaded.show().lines().filter(|line| line.starts_with(wanted));
        let line = found.next().unwrap_or_else(|| panic!("{wanted}\n{}", loaded.show()));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(lines("workers"), "workers = 3 # from stagedoor.toml:2");
    assert_eq!(lines("level"), "level = \"debug\" # from STAGEDOOR__LOG__LEVEL");
    assert_eq!(lines("bind = [\"[::]"), "bind = [\"[::]:443\"] # from STAGEDOOR__LISTENER__PUBLIC__BIND");
    assert_eq!(lines("drain.timeout"), "drain.timeout = \"30s\" # from defaults");
    assert_eq!(lines("health.every"), "health.every = \"5s\" # from defaults");
    assert_eq!(lines("limits.sessions ="), "limits.sessions = 20000 # from defaults");
    assert_eq!(lines("demo"), "demo = {} # from stagedoor.toml:21");
    assert!(loaded.show().lines().all(|line| !line.contains(" = ") || line.contains("# from ")));
    assert_eq!(loaded.document["origins"]["server.workers"], "stagedoor.toml:2");
    assert_eq!(loaded.document["origins"]["listener[0].bind"], "STAGEDOOR__LISTENER__PUBLIC__BIND");
    assert_eq!(loaded.document["config"]["listener"][0]["bind"][0], "[::]:443");

    let again = load_in(dir.path(), loaded.show(), &[]).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
    assert_eq!(again.document["config"], loaded.document["config"]);
}

#[test]
fn a_text_that_looks_like_a_number_is_a_text_where_one_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[[listener]]\nname = 'a'\nbind = '127.0.0.1:80'\n[[route]]\nname = 'r'\nrespond = {}\n";
    let env = [("STAGEDOOR__ROUTE__R__RESPOND__BODY", "42"), ("STAGEDOOR__LISTENER__A__TIMEOUTS__HARD", "0")];
    let loaded = load_in(dir.path(), text, &env).unwrap_or_else(|faults| panic!("{faults}"));
    let Action::Respond(respond) = &loaded.config.routes[0].action else { panic!("respond") };
    assert_eq!(respond.body, "42");
}

#[test]
fn errors_end_somewhere() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..5000).map(|n| format!("key{n} = {n}\n")).collect();
    let faults = load_in(dir.path(), &text, &[]).unwrap_err();
    assert_eq!(faults.errors(), 100);
    assert!(load_in(dir.path(), &format!("a = {}", "[".repeat(100_000)), &[]).is_err());
}

#[test]
fn files_that_it_depends_on_are_told() {
    let path = Path::new("tests/config/warn_certificate_expired.toml");
    let loaded = load(path, std::iter::empty(), &Defaults { sessions: 7 }).unwrap();
    let names: Vec<_> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    assert_eq!(
        names,
        [
            "tests/config/warn_certificate_expired.toml",
            "tests/config/files/expired.pem",
            "tests/config/files/good.key"
        ]
    );
    assert_eq!(loaded.config.listeners[0].limits.sessions, 7);
}
