//! Node's http2, as client and as server: the engine behind it is nghttp2, the vocabulary the one this project grew
//! from. The scripts beside this file are tables of scenarios; each prints what it saw as one line of JSON.

mod client;
pub(crate) mod library;
mod server;

use std::path::PathBuf;

use crate::support::peers::{Running, find};

/// Starts a scenario of a script; none where there is no Node.
pub(crate) fn start(script: &str, args: &[&str]) -> Option<Running> {
    let node = find("node")?;
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/peers/node", script].iter().collect();
    Some(Running::start(&node, &[&[script.to_str().expect("a path of text")], args].concat()))
}

/// What a scenario saw, once it is through.
pub(crate) fn seen(running: Running) -> serde_json::Value {
    let said = running.finish();
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {said}"))
}
