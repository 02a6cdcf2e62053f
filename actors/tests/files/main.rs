//! Files as responses and directories as services, over an in-memory pipe with the `h2` crate as client.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

#[path = "../common/mod.rs"]
mod common;

mod changing;
mod directory;
mod endings;
mod hostile;
mod links;
mod meddler;
mod response;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::*;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use stagedoor_actors::Service;
use stagedoor_actors::files::FileResponse;
use tempfile::TempDir;

/// A client on a new session whose streams may have `window` octets on their way.
async fn client(stage: &Stage, window: u32) -> SendRequest<Bytes> {
    let (_session, io) = stage.connect();
    let (send, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(window.max(65_535))
        .handshake(io)
        .await
        .unwrap();
    actix_rt::spawn(async move { connection.await.ok() });
    send
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<Vec<u8>, h2::Error>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn octets(&self) -> &[u8] {
        self.body.as_deref().unwrap()
    }
}

async fn ask(
    send: &mut SendRequest<Bytes>,
    method: Method,
    path: &str,
    fields: &[(&'static str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("http://a{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (response, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    let mut octets = Vec::new();
    let mut error = None;
    while let Some(chunk) = body.data().await {
        match chunk {
            Ok(chunk) => {
                body.flow_control().release_capacity(chunk.len()).unwrap();
                octets.extend_from_slice(&chunk);
            }
            Err(reset) => {
                error = Some(reset);
                break;
            }
        }
    }
    let octets = error.map_or(Ok(octets), Err);
    Answer { status: head.status, headers: head.headers, body: octets }
}

/// Asks a new session with `service` one thing.
async fn once(service: Rc<dyn Service>, method: Method, fields: &[(&'static str, &str)]) -> (Answer, Stage) {
    let stage = Stage::new(service);
    let mut send = client(&stage, 1 << 20).await;
    let answer = ask(&mut send, method, "/", fields).await;
    settle().await;
    (answer, stage)
}

async fn get(service: Rc<dyn Service>, fields: &[(&'static str, &str)]) -> Answer {
    once(service, Method::GET, fields).await.0
}

/// Octet `place` of every file made here.
fn octet_at(place: usize) -> u8 {
    (place % 251) as u8
}

fn octets(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(octet_at).collect()
}

/// A directory with one file of `length` octets that was written long ago.
fn file_of(length: usize) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut file = File::create(&path).unwrap();
    file.write_all(&octets(0..length)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)).unwrap();
    (dir, path)
}

/// Descriptors of this process that are `path`. Tests run side by side, so all of them are no measure.
fn open_on(path: &Path) -> usize {
    let path = path.canonicalize().unwrap();
    let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    entries.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path)).count()
}

fn serving(response: impl Fn() -> FileResponse + 'static) -> Rc<dyn Service> {
    service(move |request| response().answer(&request.head))
}
