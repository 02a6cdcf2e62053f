//! `completions` and `man`: printed from the command line itself.

use std::process::Stdio;

use crate::support::command::{command, ended, stagedoor};

fn said(args: &[&str]) -> String {
    let state = tempfile::tempdir().unwrap();
    String::from_utf8(stagedoor(state.path(), args).quietly()).unwrap()
}

#[test]
fn every_shell_is_told_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for word in ["reload", "certs", "upstreams", "completions", "no-observe"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let state = tempfile::tempdir().unwrap();
    stagedoor(state.path(), &["completions", "tcl"]).failed_with(2, "possible values");
}

#[test]
fn bash_takes_the_script_for_one() {
    let state = tempfile::tempdir().unwrap();
    let script = state.path().join("stagedoor.bash");
    std::fs::write(&script, said(&["completions", "bash"])).unwrap();
    let checked = std::process::Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(checked.success());
}

#[test]
fn a_page_is_printed_and_one_for_every_command_written() {
    let page = said(&["man"]);
    assert!(page.contains(".TH stagedoor 1") && page.contains("stagedoor\\-reload(1)"), "{page}");
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("man1");
    assert_eq!(said(&["man", "--dir", dir.to_str().unwrap()]), "");
    for page in ["stagedoor.1", "stagedoor-serve.1", "stagedoor-certs.1"] {
        assert!(dir.join(page).is_file(), "{page}");
    }
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    let state = tempfile::tempdir().unwrap();
    let mut child = command(state.path(), &["man"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(ended(child).code, Some(0));
}
