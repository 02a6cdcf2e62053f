//! A test in a process of its own, for who counts what a process holds: its neighbours' threads and sockets are not there.

use std::process::Command;

/// Set in that process.
const MARK: &str = "STAGEDOOR_TEST_ALONE";

/// Runs `test`, which is the body of the test called `name`, in a process where no other test runs.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let itself = std::env::current_exe().unwrap();
    let told = Command::new(itself).args(["--exact", name, "--nocapture"]).env(MARK, "1").output().unwrap();
    let said = [told.stdout, told.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(told.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{name} is no test: {said}");
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
}

impl Held {
    pub(crate) fn now() -> Self {
        let entries = |directory| std::fs::read_dir(directory).unwrap().count();
        // One descriptor is that of the reading itself.
        Self { threads: entries("/proc/self/task"), descriptors: entries("/proc/self/fd") - 1 }
    }
}
