//! Steady load from a thread of its own: requests one after the other on connections of every kind, each judged.
//!
//! It counts a request as failed that no client could repeat without asking whether it was done already: what GOAWAY calls
//! unprocessed, and what was never sent because the connection was on its way down, goes to another connection instead.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::harness::until;
use crate::support::client::{Upload, nothing};

/// What became of a load.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers by their status and text.
    pub(crate) answers: BTreeMap<(u16, String), u64>,
    /// Requests without an answer, in words.
    pub(crate) failures: Vec<String>,
    /// Connections of HTTP/2.
    pub(crate) connections: u64,
}

impl Tally {
    /// Every request was answered 200, by one of these; each was heard.
    pub(crate) fn only(&self, bodies: &[&str]) {
        assert_eq!(self.failures, Vec::<String>::new(), "{:?}", self.answers);
        let heard: Vec<_> = self.answers.keys().map(|(status, body)| (*status, body.as_str())).collect();
        let mut wanted: Vec<_> = bodies.iter().map(|body| (200, *body)).collect();
        wanted.sort_unstable();
        assert_eq!(heard, wanted, "{:?}", self.answers);
    }
}

/// How a client of the load behaves.
#[derive(Clone, Copy)]
enum Kind {
    /// HTTP/2, so many streams at once.
    Two(usize),
    /// HTTP/1.1 with keep-alive.
    Kept,
    /// HTTP/1.1, a connection a request.
    Once,
}

/// See the module.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    path: String,
    may_end: bool,
    stop: AtomicBool,
    answered: AtomicU64,
    tally: Mutex<Tally>,
}

impl Load {
    /// Two sessions of h2c with four streams each, and two of HTTP/1.1.
    pub(crate) fn start(address: SocketAddr, path: &str) -> Self {
        Self::of(address, path, &[Kind::Two(4), Kind::Two(4), Kind::Kept, Kind::Kept], false)
    }

    /// The same for a server that goes away: HTTP/1.1 has no GOAWAY, so there each request has its own connection.
    pub(crate) fn moving(address: SocketAddr, path: &str) -> Self {
        Self::of(address, path, &[Kind::Two(4), Kind::Two(4), Kind::Once], false)
    }

    /// The same for one that nobody replaces: a client ends where nobody listens any more.
    pub(crate) fn until_closed(address: SocketAddr, path: &str) -> Self {
        Self::of(address, path, &[Kind::Two(4), Kind::Two(4), Kind::Once], true)
    }

    fn of(address: SocketAddr, path: &str, kinds: &'static [Kind], may_end: bool) -> Self {
        let shared = Arc::new(Shared {
            address,
            path: path.to_owned(),
            may_end,
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            tally: Mutex::default(),
        });
        let run = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let clients = kinds.iter().map(|kind| Arc::clone(&run).client(*kind));
            runtime.block_on(futures_util::future::join_all(clients));
        });
        Self { shared, thread: Some(thread) }
    }

    /// Waits until so many more were answered, or one failed.
    pub(crate) async fn goes_on(&self, more: u64) {
        let from = self.shared.answered.load(Ordering::Relaxed);
        let shared = &self.shared;
        until("the load goes on", async || {
            shared.answered.load(Ordering::Relaxed) >= from + more
                || !shared.tally.lock().unwrap().failures.is_empty()
        })
        .await;
    }

    /// Waits until every client has ended by itself.
    pub(crate) async fn ended(&mut self) {
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(|| thread.join()).await.unwrap().expect("the load ran");
    }

    /// Ends it.
    pub(crate) fn end(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load ran");
        }
        std::mem::take(&mut self.shared.tally.lock().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn failed(&self, what: String) {
        // A load that fails does so at once: the first words are those that count.
        let failures = &mut self.tally.lock().unwrap().failures;
        if failures.len() < 20 {
            failures.push(what);
        }
    }

    fn answered(&self, status: u16, body: &[u8]) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(body).into_owned();
        *self.tally.lock().unwrap().answers.entry((status, text)).or_default() += 1;
    }

    fn connected(&self) {
        self.tally.lock().unwrap().connections += 1;
    }

    async fn client(self: Arc<Self>, kind: Kind) {
        while !self.stopped() {
            let io = match TcpStream::connect(self.address).await {
                Ok(tcp) => TokioIo::new(tcp),
                Err(error) if self.may_end && error.kind() == ErrorKind::ConnectionRefused => return,
                Err(error) => {
                    self.failed(format!("connecting: {error}"));
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            match kind {
                Kind::Two(streams) => {
                    let Ok((sender, connection)) = http2::handshake(TokioExecutor::new(), io).await else {
                        self.failed("no preface".to_owned());
                        continue;
                    };
                    self.connected();
                    let runs = tokio::spawn(connection);
                    let shares = (0..streams).map(|_| self.share(sender.clone()));
                    futures_util::future::join_all(shares).await;
                    drop(sender);
                    runs.abort();
                }
                Kind::Kept | Kind::Once => {
                    let (sender, connection) = http1::handshake(io).await.unwrap();
                    let runs = tokio::spawn(connection);
                    self.in_turn(sender, matches!(kind, Kind::Once)).await;
                    runs.abort();
                }
            }
        }
    }

    /// A stream after the other until the connection takes no more.
    async fn share(&self, mut sender: http2::SendRequest<Upload>) {
        while !self.stopped() && sender.ready().await.is_ok() {
            let uri = format!("http://{}{}", self.address, self.path);
            let request = Request::get(uri).body(nothing()).unwrap();
            let answer = async {
                let (head, body) = sender.send_request(request).await?.into_parts();
                Ok::<_, hyper::Error>((head.status.as_u16(), body.collect().await?.to_bytes()))
            };
            match answer.await {
                Ok((status, body)) => self.answered(status, &body),
                Err(error) if error.is_canceled() || unprocessed(&error) => return,
                Err(error) => return self.failed(format!("h2c: {error:?}")),
            }
        }
    }

    async fn in_turn(&self, mut sender: http1::SendRequest<Upload>, once: bool) {
        while !self.stopped() && sender.ready().await.is_ok() {
            let request = Request::get(&self.path).header("host", self.address.to_string());
            let request = if once { request.header("connection", "close") } else { request };
            let answer = async {
                let (head, body) = sender.send_request(request.body(nothing()).unwrap()).await?.into_parts();
                Ok::<_, hyper::Error>((head.status.as_u16(), body.collect().await?.to_bytes()))
            };
            match answer.await {
                Ok((status, body)) => self.answered(status, &body),
                Err(error) if error.is_canceled() => return,
                Err(error) => return self.failed(format!("http/1.1: {error:?}")),
            }
            if once {
                return;
            }
        }
    }
}

/// The stream is above the last id of a GOAWAY: `h2` ends those so, and lets those below go on.
fn unprocessed(error: &hyper::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return refused
                || error.is_remote() && error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        }
        cause = error.source();
    }
    false
}
