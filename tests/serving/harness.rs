//! A gateway with a configuration that changes under it.
//!
//! Invariant: the file is exchanged whole (written beside it and renamed), so a reader sees the old text or the new one.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::{Answer, Client};
use crate::support::exposition::Scrape;
use crate::support::{Process, address_of};

/// What every test's file begins with, unless it says this itself.
pub(crate) const HEAD: &str = "\
[server]
workers = 2
drain = { min_accept = \"0s\", timeout = \"20s\" }
[admin]
bind = \"127.0.0.1:0\"
";

/// A cleartext listener.
pub(crate) const PLAIN: &str = "\
[[listener]]
name = \"plain\"
bind = \"127.0.0.1:0\"
";

/// A route that says `words`.
pub(crate) fn says(name: &str, path: &str, words: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nmatch = {{ path = \"{path}\" }}\nrespond = {{ body = \"{words}\" }}\n"
    )
}

/// An upstream in cleartext.
pub(crate) fn upstream(name: &str, address: SocketAddr, more: &str) -> String {
    format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{address}\"]\n{more}\n")
}

/// A gateway that serves by a file in a directory of its own.
pub(crate) struct Serving {
    pub(crate) process: Process,
    place: TempDir,
}

impl Serving {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(text: &str) -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), text, &[])
    }

    /// The same with a directory that has something in it already, and flags.
    pub(crate) fn start_with(place: TempDir, text: &str, flags: &[&str]) -> Self {
        write(place.path(), text);
        let file = file(place.path());
        let mut args = vec!["serve", "-c", file.to_str().unwrap()];
        args.extend(flags);
        Self::of(place, Process::spawn(&args))
    }

    /// Waits until `process` is ready.
    pub(crate) fn of(place: TempDir, process: Process) -> Self {
        process.line(|line| line.starts_with("ready in "));
        Self { process, place }
    }

    /// Where a listener was when it became ready.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        address_of(&self.process.stderr(), name).unwrap_or_else(|| panic!("no address of {name}"))
    }

    /// Its directory.
    pub(crate) fn place(&self) -> &Path {
        self.place.path()
    }

    /// Exchanges the file.
    pub(crate) fn write(&self, text: &str) {
        write(self.place(), text);
    }

    /// HTTP/1.1 to the admin listener.
    pub(crate) async fn admin(&self) -> Client {
        Client::plain(self.address("admin"), false).await
    }

    /// HTTP/1.1 or h2c to a cleartext listener.
    pub(crate) async fn client(&self, listener: &str, http2: bool) -> Client {
        Client::plain(self.address(listener), http2).await
    }

    /// Exchanges the file and orders a reload.
    pub(crate) async fn reload(&self, text: &str) -> Answer {
        self.write(text);
        self.admin().await.post("/api/reload", "").await
    }

    /// [`Self::reload`] that comes into force: what it says has changed.
    pub(crate) async fn reloaded(&self, text: &str) -> Vec<String> {
        let answer = self.reload(text).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let changed = answer.json()["changed"].as_array().cloned().unwrap_or_default();
        changed.iter().map(|sentence| sentence.as_str().unwrap().to_owned()).collect()
    }

    /// What the admin API says at a path.
    pub(crate) async fn told(&self, path: &str) -> Value {
        let answer = self.admin().await.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// What a scraper sees now.
    pub(crate) async fn scrape(&self) -> Scrape {
        Scrape::read(self.admin().await.get("/metrics").await.text())
    }

    /// Waits until series of a family add up to what is wanted.
    pub(crate) async fn until(&self, family: &str, labels: &[(&str, &str)], wanted: f64) {
        let name = format!("stagedoor_{family}");
        until(&name, async || self.scrape().await.sum(&name, labels) == wanted).await;
    }

    /// Where a listener is now, by the metrics.
    pub(crate) async fn bound(&self, name: &str) -> Option<SocketAddr> {
        let scrape = self.scrape().await;
        let wanted = format!("listener=\"{name}\"");
        let info = scrape
            .series
            .keys()
            .find(|series| series.starts_with("stagedoor_listener_info{") && series.contains(&wanted))?;
        info.split("address=\"").nth(1)?.split('"').next()?.parse().ok()
    }
}

/// Waits for something that nobody tells of, by looking at it again and again.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut met: impl FnMut() -> F) {
    let looking = async {
        while !met().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(20), looking).await;
    looked.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// The configuration of a place.
pub(crate) fn file(place: &Path) -> PathBuf {
    place.join("stagedoor.toml")
}

/// Exchanges the configuration of a place; [`HEAD`] goes before what has no `[server]`.
pub(crate) fn write(place: &Path, text: &str) {
    let text = if text.contains("[server]") { text.to_owned() } else { format!("{HEAD}{text}") };
    let beside = place.join(".new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, file(place)).unwrap();
}
