//! Other people's programs, where they are installed. A test that needs one that is not says so on stderr,
//! past the capture of the test harness; with `CI=true` it fails.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A program by name, or none, loudly.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&places).map(|place| place.join(name)).find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").as_deref() != Some(OsStr::new("true")),
            "{name} is not installed, and CI=true"
        );
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: {test} needs {name}, which is not installed\n");
    }
    found
}

/// Runs a program to its end, in the English of its authors.
pub(crate) fn output(program: &PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").env_remove("http_proxy").env_remove("https_proxy");
    command.env_remove("ALL_PROXY").stdin(Stdio::null()).output().expect("it runs")
}

/// What a program printed; it must have ended well.
pub(crate) fn stdout(program: &PathBuf, args: &[&str]) -> String {
    let output = output(program, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {args:?}: {}\n{out}\n{err}", program.display(), output.status);
    out.into_owned()
}
