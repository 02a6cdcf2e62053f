//! The units, with systemd's own tools.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{at, binds, drain, read, takes, toml};
use crate::support::peers::{find, output};

const SOCKETS: [&str; 2] = ["stagedoor.socket", "stagedoor-plain.socket"];

/// The units in a folder, with this binary in the place of the one that is installed.
fn units() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let service = read("deploy/systemd/stagedoor.service");
    let installed = "ExecStart=/usr/bin/stagedoor ";
    assert!(service.contains(installed));
    let service = service.replace(installed, &format!("ExecStart={} ", env!("CARGO_BIN_EXE_stagedoor")));
    std::fs::write(place.path().join("stagedoor.service"), service).unwrap();
    for socket in SOCKETS {
        std::fs::copy(at("deploy/systemd").join(socket), place.path().join(socket)).unwrap();
    }
    place
}

/// What a tool says of the units, in full; it must find nothing wrong.
fn judged(program: &PathBuf, args: &[&str]) -> String {
    let ran = output(program, args);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && err.is_empty(), "{args:?}: {}\n{out}\n{err}", ran.status);
    out.into_owned()
}

/// The values of a key.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(found, _)| *found == key).map(|(_, value)| value).collect()
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let values = values(unit, key);
    assert_eq!(values.len(), 1, "{key}");
    values[0]
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(analyze) = find("systemd-analyze") else { return };
    let place = units();
    let paths = ["stagedoor.service", SOCKETS[0], SOCKETS[1]].map(|unit| place.path().join(unit));
    let paths = paths.each_ref().map(|path| path.to_str().unwrap());
    judged(&analyze, &["verify", "--man=no", paths[0], paths[1], paths[2]]);
}

#[test]
fn systemd_would_tell_of_a_mistake() {
    let Some(analyze) = find("systemd-analyze") else { return };
    let place = units();
    let path = place.path().join("stagedoor.service");
    let planted = std::fs::read_to_string(&path).unwrap().replace("TimeoutStopSec=", "TimeoutStopSecs=");
    std::fs::write(&path, planted).unwrap();
    let ran = output(&analyze, &["verify", "--man=no", path.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("TimeoutStopSecs"), "{ran:?}");
}

#[test]
fn little_is_exposed() {
    let Some(analyze) = find("systemd-analyze") else { return };
    let place = units();
    let path = place.path().join("stagedoor.service");
    // The threshold is in tenths: 1.5 of 10, what is left being the network that a gateway is for.
    let args = ["security", "--no-pager", "--offline=yes", "--threshold=15", path.to_str().unwrap()];
    let said = judged(&analyze, &args);
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[test]
fn a_version_that_can_wait_for_reloads_knows_the_drop_in() {
    let Some(analyze) = find("systemd-analyze") else { return };
    let drop_in = read("deploy/systemd/stagedoor.service.d/notify-reload.conf");
    assert_eq!(value(&drop_in, "Type"), "notify-reload");
    let version = judged(&analyze, &["--version"]);
    let version: u32 =
        version.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    let place = units();
    let folder = place.path().join("stagedoor.service.d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("notify-reload.conf"), &drop_in).unwrap();
    let path = place.path().join("stagedoor.service");
    let said = output(&analyze, &["verify", "--man=no", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.contains("notify-reload"), version < 253, "systemd {version}: {said}");
}

#[test]
fn the_service_gets_the_sockets_that_the_configuration_asks_for() {
    let service = read("deploy/systemd/stagedoor.service");
    let config = toml("deploy/systemd/stagedoor.toml");
    for (key, separator) in [("Requires", ' '), ("Sockets", ' '), ("Also", ' ')] {
        let named: Vec<_> = value(&service, key).split(separator).collect();
        assert_eq!(named, SOCKETS, "{key}");
    }
    let mut handed: Vec<_> = SOCKETS
        .iter()
        .map(|socket| {
            let unit = read(&format!("deploy/systemd/{socket}"));
            assert_eq!(value(&unit, "Service"), "stagedoor.service");
            format!("fd:{}", value(&unit, "FileDescriptorName"))
        })
        .collect();
    let bound = binds(&config);
    let mut wanted: Vec<_> =
        bound.iter().filter(|(name, _)| name != "admin").map(|(_, bind)| bind.clone()).collect();
    handed.sort();
    wanted.sort();
    assert_eq!(handed, wanted);
}

#[test]
fn a_drain_ends_before_systemd_loses_patience() {
    let patience: u64 = value(&read("deploy/systemd/stagedoor.service"), "TimeoutStopSec").parse().unwrap();
    let drain = drain(&toml("deploy/systemd/stagedoor.toml"));
    assert!(drain + 10 <= patience, "{drain} s of {patience} s");
}

#[test]
fn the_command_line_is_one_that_there_is() {
    let service = read("deploy/systemd/stagedoor.service");
    let words: Vec<_> = value(&service, "ExecStart").split_whitespace().collect();
    assert_eq!(words[0], "/usr/bin/stagedoor");
    takes(&words[1..]);
}

#[test]
fn the_user_is_one_that_is_made() {
    let made = read("deploy/systemd/stagedoor.sysusers");
    let user = made.lines().find_map(|line| line.strip_prefix("u ")).and_then(|line| line.split(' ').next());
    let service = read("deploy/systemd/stagedoor.service");
    assert_eq!(user, Some(value(&service, "User")));
    let Some(sysusers) = find("systemd-sysusers") else { return };
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let line = made.lines().find(|line| line.starts_with("u ")).unwrap();
    let ran = Command::new(sysusers)
        .arg(format!("--root={}", root.path().display()))
        .args(["--inline", line])
        .output()
        .unwrap();
    let made = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap_or_default();
    assert!(ran.status.success() && made.starts_with("stagedoor:"), "{ran:?}\n{made}");
}
