//! gRPC as grpcio speaks it, a server and a client: unary calls and streams in each direction, metadata, deadlines,
//! cancellation, errors with and without messages. The two scripts beside this file hold the methods and the scenarios;
//! what stands between them is the test's business.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::peers::Running;
use crate::support::python::environment;

/// A server that runs, and what a client needs to run beside it.
pub(crate) struct Server {
    _running: Running,
    python: PathBuf,
    /// `127.0.0.1:PORT`, cleartext HTTP/2.
    pub(crate) address: String,
}

/// Starts one; none, loudly, where there is no grpcio.
pub(crate) fn server() -> Option<Server> {
    let python = environment("grpc", &["grpcio==1.85.3"])?;
    let running = Running::start(&python, &[&script("server.py")]);
    let line = running.line(|line| line.starts_with("{\"listening\""));
    let port = serde_json::from_str::<Value>(&line).expect("JSON")["listening"].as_u64().expect("a port");
    Some(Server { _running: running, python, address: format!("127.0.0.1:{port}") })
}

/// Every scenario of a client that calls `target` (`host:port`), with TLS where there is an authority to trust: each must
/// see what it would see of the server itself, and the server must hear of what was cancelled.
pub(crate) fn scenario(server: &Server, target: &str, authority: Option<&Path>) {
    let script = script("client.py");
    let mut args = vec![&*script, target, &server.address];
    args.extend(authority.map(|path| path.to_str().expect("text")));
    let said = Running::start(&server.python, &args).finish();
    let seen: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let wanted = wanted();
    for (seen, wanted) in seen.iter().zip(&wanted) {
        assert_eq!(seen, wanted, "calls to {target}");
    }
    assert_eq!(seen.len(), wanted.len(), "{said}");
}

/// The status with which a unary call of `method` (a path) to `target` ends, without a deadline of its own.
pub(crate) fn called(server: &Server, target: &str, authority: Option<&Path>, method: &str) -> String {
    let script = script("call.py");
    let mut args = vec![&*script, target, method];
    args.extend(authority.map(|path| path.to_str().expect("text")));
    Running::start(&server.python, &args).finish().trim_end().to_owned()
}

fn wanted() -> Vec<Value> {
    vec![
        json!({
            "scenario": "unary", "answer": "hello", "code": "OK",
            "initial": { "x-initial": "a value, with a comma", "x-blob-bin": "0001feff" },
            "trailing": { "x-trailing": "a value, with a comma", "x-trailing-bin": "00ff" },
        }),
        json!({ "scenario": "empty", "octets": 0 }),
        json!({ "scenario": "large", "octets": 8 << 20, "same": true }),
        json!({ "scenario": "server_streaming", "count": 1000, "in_order": true }),
        json!({ "scenario": "client_streaming", "total": [500, 500_000] }),
        json!({ "scenario": "bidirectional", "count": 100, "in_order": true }),
        json!({ "scenario": "deadline_told", "within": true }),
        json!({ "scenario": "deadline_passed", "code": "DEADLINE_EXCEEDED", "heard": 1 }),
        json!({ "scenario": "cancelled", "first": "started", "code": "CANCELLED", "heard": 1 }),
        json!({
            "scenario": "trailers_only", "code": "FAILED_PRECONDITION", "details": "not like this: 100 % für alle",
            "trailing": { "x-why": "refused" },
        }),
        json!({
            "scenario": "error_after_a_message", "first": "first", "code": "DATA_LOSS", "details": "broke off",
            "trailing": {},
        }),
        json!({ "scenario": "unknown_method", "code": "UNIMPLEMENTED" }),
        json!({ "scenario": "many_at_once", "right": 200 }),
    ]
}

fn script(name: &str) -> String {
    format!("{}/tests/peers/grpc/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_scenarios_hold_without_anybody_between() {
    let Some(server) = server() else { return };
    scenario(&server, &server.address, None);
}
