//! The admin API on a Unix socket: the commands find it there, and a request may name any host.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;

use stagedoor::admin::Admin;
use stagedoor::{Bind, Lifecycle, ListenerConfig, Metrics, ServerBuilder, ServerSlot, Stage};
use tokio::sync::oneshot;

use crate::support::command::stagedoor;

/// What a request that names a foreign host is answered.
fn ask(socket: &Path, method: &str, target: &str) -> String {
    let mut io = UnixStream::connect(socket).unwrap();
    let head = format!("{method} {target} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    io.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_commands_speak_to_an_admin_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let bind = Bind::Unix(path.clone());
    let (tell, told) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async {
            let metrics = Metrics::new("stagedoor");
            let (lifecycle, slot) = (Lifecycle::new(metrics.clone()), ServerSlot::default());
            let host = Ipv4Addr::LOCALHOST;
            let admin = Admin::new(metrics.clone(), lifecycle.clone(), slot.clone(), host.into());
            let mut config = ListenerConfig::new("admin", (host, 0).into());
            config.bind = vec![bind];
            let builder = ServerBuilder::new(metrics, 1).listen(config, admin.factory(), true);
            let server = builder.start().await.unwrap();
            slot.set(server.clone()).ok();
            lifecycle.advance(Stage::Ready);
            tell.send(()).unwrap();
            let _ = stopped.await;
            server.stop().await;
        });
    });
    told.recv().expect("it starts");
    assert!(ask(&path, "GET", "/readyz").starts_with("HTTP/1.1 200"));
    let admin = format!("unix:{}", path.display());
    let sessions = stagedoor(dir.path(), &["sessions", "--json", "--admin", &admin]).quietly();
    let sessions: serde_json::Value = serde_json::from_slice(&sessions).unwrap();
    // The command itself is there.
    assert!(sessions.as_array().unwrap().iter().any(|session| session["listener"] == "admin"), "{sessions}");
    let drained = stagedoor(dir.path(), &["drain", "--admin", &admin]);
    drained.quietly();
    assert!(ask(&path, "GET", "/readyz").starts_with("HTTP/1.1 503"));
    drop(stop);
    thread.join().unwrap();
    assert!(!path.exists());
}
