//! `deploy/` as those see it who will run it: systemd judges its units, the schemas of Kubernetes its manifests, and what
//! one file says of another, of the configuration and of this binary holds.
//!
//! No cluster, no container engine and no systemd that runs is needed. Files of YAML are read by Python into JSON.

mod container;
mod kubernetes;
mod systemd;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::command::stagedoor;
use crate::support::peers::{Certificate, absent, stdout};
use crate::support::python::environment;

/// A file or folder of the repository.
fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Python that knows YAML and the schemas of Kubernetes; none, loudly, where it cannot be had.
fn python() -> Option<PathBuf> {
    environment("kubernetes", &["kubernetes-validate==1.37.0"])
}

/// The arguments of the script beside this file.
fn script(command: &str, rest: &[String]) -> Vec<String> {
    [vec![at("tests/peers/deploy/manifests.py").display().to_string(), command.to_owned()], rest.to_vec()]
        .concat()
}

/// The documents of a file.
fn documents(python: &PathBuf, path: &str) -> Vec<Value> {
    let args = script("json", &[at(path).display().to_string()]);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    serde_json::from_str(&stdout(python, &args)).expect("JSON")
}

/// The one document of a file.
fn document(python: &PathBuf, path: &str) -> Value {
    let mut documents = documents(python, path);
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

fn toml(path: &str) -> toml::Table {
    read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a configuration binds, by the name of the listener; the admin address as `admin`.
fn binds(config: &toml::Table) -> Vec<(String, String)> {
    let text = |value: &toml::Value| value.as_str().expect("text").to_owned();
    let mut binds: Vec<_> = config["listener"]
        .as_array()
        .expect("listeners")
        .iter()
        .flat_map(|listener| {
            let name = text(&listener["name"]);
            let binds = listener["bind"].as_array().expect("a list");
            binds.iter().map(move |bind| (name.clone(), text(bind)))
        })
        .collect();
    binds.push(("admin".to_owned(), text(&config["admin"]["bind"])));
    binds
}

/// The port of an address.
fn port(address: &str) -> u64 {
    address.parse::<std::net::SocketAddr>().unwrap_or_else(|error| panic!("{address}: {error}")).port().into()
}

/// Seconds of a setting such as `drain.timeout`.
fn seconds(value: &toml::Value) -> u64 {
    humantime::parse_duration(value.as_str().expect("text")).expect("a time").as_secs()
}

/// The longest way down: `min_accept` and `timeout`.
fn drain(config: &toml::Table) -> u64 {
    let drain = &config["server"]["drain"];
    seconds(&drain["min_accept"]) + seconds(&drain["timeout"])
}

/// Whether this binary reads a configuration; where it does not, loudly.
fn reads_configurations() -> bool {
    let place = tempfile::tempdir().unwrap();
    let reads = stagedoor(place.path(), &["check", "--help"]).code == Some(0);
    if !reads {
        absent("`stagedoor check`");
    }
    reads
}

/// Whether the words of a command line are ones that `stagedoor` takes.
fn takes(words: &[&str]) {
    if !reads_configurations() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let help = stagedoor(place.path(), &[words[0], "--help"]);
    assert_eq!(help.code, Some(0), "{words:?}: {help:?}");
    let help = String::from_utf8(help.out).unwrap();
    let known: Vec<_> = help.split(|c: char| c.is_whitespace() || "[],".contains(c)).collect();
    for flag in words.iter().filter(|word| word.starts_with('-')) {
        assert!(known.contains(flag), "{flag} is no flag of {}", words[0]);
    }
}

/// What a file of configuration names in `/etc/stagedoor` is put in a place of ours, then `stagedoor check` judges it.
fn check(path: &str) {
    let place = tempfile::tempdir().unwrap();
    let own = Certificate::new();
    let (certificate, key) = own.paths();
    let etc = place.path().join("etc");
    for folder in ["tls", "admin"] {
        std::fs::create_dir_all(etc.join(folder)).unwrap();
    }
    std::fs::copy(certificate, etc.join("tls/tls.crt")).unwrap();
    std::fs::copy(key, etc.join("tls/tls.key")).unwrap();
    std::fs::write(etc.join("admin/token"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let file = place.path().join("stagedoor.toml");
    let here = read(path).replace("/etc/stagedoor/", &format!("{}/", etc.display()));
    std::fs::write(&file, here).unwrap();
    let ran = stagedoor(place.path(), &["check", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{path}:\n{}", ran.err);
}

#[test]
fn every_configuration_passes_its_own_check() {
    if !reads_configurations() {
        return;
    }
    for path in [
        "deploy/systemd/stagedoor.toml",
        "deploy/container/stagedoor.toml",
        "deploy/kubernetes/stagedoor.toml",
    ] {
        check(path);
    }
}

#[test]
fn routes_of_configurations_send_to_what_there_is() {
    for place in ["systemd", "container", "kubernetes"] {
        let config = toml(&format!("deploy/{place}/stagedoor.toml"));
        let names = |table: &str| -> Vec<String> {
            let entries = config.get(table).and_then(toml::Value::as_array);
            entries
                .into_iter()
                .flatten()
                .map(|entry| entry["name"].as_str().expect("text").to_owned())
                .collect()
        };
        let (listeners, upstreams) = (names("listener"), names("upstream"));
        for route in config["route"].as_array().unwrap() {
            if let Some(listener) = route.get("match").and_then(|wanted| wanted.get("listener")) {
                assert!(
                    listeners.iter().any(|name| Some(&**name) == listener.as_str()),
                    "{place}: {listener}"
                );
            }
            if let Some(proxy) = route.get("proxy") {
                let upstream = proxy["upstream"].as_str();
                assert!(upstreams.iter().any(|name| Some(&**name) == upstream), "{place}: {proxy}");
            }
        }
    }
}
