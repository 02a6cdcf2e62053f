//! What a service manager is told of this process (sd_notify(3)): that it serves, reloads, drains, and is alive.
//!
//! Says nothing where nobody listens: without `NOTIFY_SOCKET` every function returns at once. Takes no orders; signals are
//! `signals.rs`'s business. Invariant: a manager that cannot be told changes nothing for those who are served, it is logged
//! and the gateway goes on.

use std::time::Duration;

use sd_notify::NotifyState;

/// Every listener is up, or a reload is over, well or not: a manager that was told of the reload waits for this either way.
/// `status` is shown to people (`systemctl status`); of several lines the first.
pub fn ready(status: &str) {
    let status = first_line(status);
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id()), NotifyState::Status(status)]);
}

/// A reload begins. [`ready`] must follow.
pub fn reloading() {
    // systemd 253 pairs it with its order by the time; one that cannot be had is a manager that waits, not a reload that fails.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => {
            tracing::warn!(%error, "no monotonic clock");
            tell(&[NotifyState::Reloading]);
        }
    }
}

/// The way down begins: nothing will be ready again.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(first_line(status))]);
}

/// Where it stands, for people; of several lines the first.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(first_line(status))]);
}

/// How often [`alive`] must be said: half of `WATCHDOG_USEC`. None where nobody asks, or asks another process
/// (`WATCHDOG_PID`).
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2).filter(|every| !every.is_zero())
}

/// This process does what it is for.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Says [`alive`] every `every`, as long as `answers` resolves within that time each time it is asked: a manager ends and
/// restarts a process of which it hears nothing. Never resolves; dropping it ends it.
pub async fn watch<F: Future<Output = ()>>(every: Duration, mut answers: impl FnMut() -> F) {
    loop {
        tokio::time::sleep(every).await;
        if tokio::time::timeout(every, answers()).await.is_ok() {
            alive();
        } else {
            tracing::error!(patience = ?every, "not every worker answers; the watchdog is not told that we live");
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told: {states:?}");
    }
}

/// A line break would begin another assignment.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// What is said in a process of its own, since the address of a manager is part of its environment.
    const PART: &str = "STAGEDOOR_TEST_NOTIFY";

    #[test]
    #[ignore = "the tests below run it, each in an environment of its own"]
    fn part() {
        match &*std::env::var(PART).unwrap() {
            "life" => {
                ready("serving 2 listeners");
                reloading();
                ready("reload failed: stagedoor.toml:3:1\nREADY=0");
                stopping("draining");
                status("3 sessions, 7 streams, 12 s left\nWATCHDOG=trigger");
                alive();
            }
            "watchdog" => println!("every {:?}", watchdog()),
            "watch" => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut asked = 0;
                    let answers = || {
                        asked += 1;
                        let stuck = asked == 2;
                        async move {
                            if stuck {
                                status("stuck");
                                std::future::pending::<()>().await;
                            }
                            if asked == 4 {
                                status("enough");
                            }
                        }
                    };
                    let rounds = watch(Duration::from_millis(20), answers);
                    tokio::time::timeout(Duration::from_secs(60), rounds).await.unwrap_err();
                });
            }
            other => panic!("no part {other}"),
        }
    }

    fn playing(part: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "notify::tests::part", "--ignored", "--nocapture"]).env(PART, part);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        command
    }

    /// The place of a manager that listens.
    fn manager(place: &Path) -> (UnixDatagram, std::path::PathBuf) {
        let path = place.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (socket, path)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut octets = [0; 4096];
        let length = socket.recv(&mut octets).unwrap();
        let text = std::str::from_utf8(&octets[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_manager_hears_of_the_whole_life() {
        let place = tempfile::tempdir().unwrap();
        let (socket, path) = manager(place.path());
        let mut child = playing("life").env("NOTIFY_SOCKET", &path).spawn().unwrap();
        let pid = format!("MAINPID={}", child.id());
        assert_eq!(heard(&socket), ["READY=1", &*pid, "STATUS=serving 2 listeners"]);
        let reloading = heard(&socket);
        assert_eq!((reloading.len(), &*reloading[0]), (2, "RELOADING=1"));
        let time: u64 = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(time > 0);
        // A message for people cannot say anything to the manager.
        assert_eq!(heard(&socket), ["READY=1", &*pid, "STATUS=reload failed: stagedoor.toml:3:1"]);
        assert_eq!(heard(&socket), ["STOPPING=1", "STATUS=draining"]);
        assert_eq!(heard(&socket), ["STATUS=3 sessions, 7 streams, 12 s left"]);
        assert_eq!(heard(&socket), ["WATCHDOG=1"]);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        assert!(playing("life").output().unwrap().status.success(), "no manager at all");
        let place = tempfile::tempdir().unwrap();
        let gone = place.path().join("gone");
        let ran = playing("life").env("NOTIFY_SOCKET", gone).output().unwrap();
        assert!(ran.status.success(), "one that went away: {ran:?}");
    }

    #[test]
    fn the_watchdog_is_told_twice_in_its_patience() {
        let every = |patience: Option<&str>, pid: Option<&str>| {
            let mut command = playing("watchdog");
            command.envs(patience.map(|patience| ("WATCHDOG_USEC", patience)));
            command.envs(pid.map(|pid| ("WATCHDOG_PID", pid)));
            let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
            said.split_once("every ").unwrap().1.lines().next().unwrap().to_owned()
        };
        assert_eq!(every(Some("30000000"), None), "Some(15s)");
        assert_eq!(every(None, None), "None");
        assert_eq!(every(Some("30000000"), Some("1")), "None");
        for nonsense in ["0", "soon", "-5", ""] {
            assert_eq!(every(Some(nonsense), None), "None", "{nonsense}");
        }
    }

    #[test]
    fn a_worker_that_does_not_answer_silences_the_watchdog() {
        let place = tempfile::tempdir().unwrap();
        let (socket, path) = manager(place.path());
        let mut child = playing("watch").env("NOTIFY_SOCKET", &path).spawn().unwrap();
        let said: Vec<_> = std::iter::repeat_with(|| heard(&socket).concat()).take(5).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(said, ["WATCHDOG=1", "STATUS=stuck", "WATCHDOG=1", "STATUS=enough", "WATCHDOG=1"]);
    }
}
