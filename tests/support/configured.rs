//! A gateway that runs by a configuration: the compiled `serve -c FILE`, its file and its addresses.
//!
//! The file lies in the state directory of the process, so both go with it. What a test does not say is as short as can
//! be: two workers, an admin listener, `public` (TLS with the development certificate) and `plain`, no access log.

use std::fs;
use std::path::PathBuf;

use super::{Gateway, Process};

/// Where every listener may be bound: the system picks the port.
const FREE: &str = "127.0.0.1:0";

/// What precedes the upstreams and routes of a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Configured {
    /// More keys of `[server]`.
    pub(crate) server: String,
    /// More keys of the listener `public`.
    pub(crate) public: String,
    /// More keys of its `[listener.tls]`.
    pub(crate) tls: String,
    /// More keys of the listener `plain`.
    pub(crate) plain: String,
}

impl Configured {
    /// Starts a gateway with these upstreams and routes, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not come up; what it said is shown.
    pub(crate) fn start(&self, rest: &str) -> Gateway {
        let state = tempfile::tempdir().expect("a directory");
        let file = state.path().join("stagedoor.toml");
        fs::write(&file, self.text(rest)).expect("a file");
        Gateway::of(Process::spawn_in(state, &["serve", "-c", file.to_str().expect("text")]))
    }

    /// The whole file.
    fn text(&self, rest: &str) -> String {
        let Self { server, public, tls, plain } = self;
        format!(
            "[server]\nworkers = 2\ndrain = {{ min_accept = \"0s\", timeout = \"10s\" }}\n{server}\n\
             [admin]\nbind = \"{FREE}\"\n[log]\naccess = {{ format = \"off\" }}\n\
             [[listener]]\nname = \"public\"\nbind = [\"{FREE}\"]\n{public}\n[listener.tls]\n{tls}\n\
             [[listener]]\nname = \"plain\"\nbind = [\"{FREE}\"]\n{plain}\n{rest}\n"
        )
    }
}

/// Starts one with nothing but these upstreams and routes.
pub(crate) fn serving(rest: &str) -> Gateway {
    Configured::default().start(rest)
}

impl Gateway {
    /// The file it runs by.
    pub(crate) fn file(&self) -> PathBuf {
        self.process.state().join("stagedoor.toml")
    }
}
