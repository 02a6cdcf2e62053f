//! A server on sockets of its own, and clients that speak HTTP/1.1 or raw octets to it.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use stagedoor_actors::{
    ListenerConfig, Reply, Response, ServerBuilder, ServerHandle, Service, ServiceFactory,
};
use stagedoor_metrics::{CloseReason, ConnectionResult, ListenerCells, Metrics};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

use super::service;

/// A running server and what it counts.
pub struct Served {
    pub handle: ServerHandle,
    pub metrics: Metrics,
}

impl Served {
    /// Two workers and these listeners, on a service of [`site`].
    pub async fn start(listeners: impl IntoIterator<Item = ListenerConfig>) -> Self {
        let metrics = Metrics::new("stagedoor");
        let mut builder = ServerBuilder::new(metrics.clone(), 2);
        for listener in listeners {
            builder = builder.listen(listener, site(), false);
        }
        Self { handle: builder.start().await.expect("it starts"), metrics }
    }

    /// The TCP address of a listener.
    pub fn tcp(&self, listener: &str) -> SocketAddr {
        self.handle.address(listener).expect("it listens")
    }

    /// Connections of a listener that had this result, over all arbiters.
    pub fn connections(&self, listener: &str, result: ConnectionResult) -> u64 {
        self.sum(listener, |cells| cells.connections[result].get())
    }

    /// Sessions of a listener that ended so.
    pub fn closed(&self, listener: &str, reason: CloseReason) -> u64 {
        self.sum(listener, |cells| cells.sessions_closed.iter().map(|(_, of)| of[reason].get()).sum())
    }

    fn sum(&self, listener: &str, count: impl Fn(&ListenerCells) -> u64) -> u64 {
        let id = self.metrics.add_listener(listener, "-");
        [0, 1, u16::MAX].iter().map(|shard| count(&self.metrics.shard(*shard).listener(id))).sum()
    }

    /// The value of a row of the metrics page.
    pub fn row(&self, row: &str) -> f64 {
        let page = String::from_utf8(self.metrics.render_text()).expect("text");
        let line = page.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no {row}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }
}

/// `/peer` says who asks, `/tls` how, `/hold` answers when [`let_go`] is called, `/forever` never, all else is `hello`.
pub fn site() -> ServiceFactory {
    named("hello")
}

/// The same with another word.
pub fn named(word: &'static str) -> ServiceFactory {
    Arc::new(move || -> Rc<dyn Service> {
        service(move |request| match request.head.path() {
            Some("/peer") => {
                let session = &request.session;
                Response::text(format!("{:?} unix={}", session.peer, session.unix)).into()
            }
            Some("/tls") => Response::text(format!("{:?}", request.session.tls)).into(),
            Some("/hold") => Reply::later(async {
                held().subscribe().wait_for(|go| *go).await.ok();
                Response::text("held")
            }),
            Some("/forever") => Reply::later(std::future::pending()),
            _ => Response::text(word).into(),
        })
    })
}

fn held() -> &'static watch::Sender<bool> {
    static HELD: std::sync::OnceLock<watch::Sender<bool>> = std::sync::OnceLock::new();
    HELD.get_or_init(|| watch::Sender::new(false))
}

/// Answers every `/hold`, those to come too.
pub fn let_go() {
    held().send_replace(true);
}

/// What comes back until the end of the connection, for `octets`.
pub async fn talk(mut io: impl AsyncRead + AsyncWrite + Unpin, octets: &[u8]) -> String {
    // Who is refused may hear so before all is said.
    io.write_all(octets).await.ok();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// `GET path` over HTTP/1.1, the last request of its connection.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").into_bytes()
}

/// The body of an answer over TCP; empty where there is none.
pub async fn ask(address: SocketAddr, path: &str) -> String {
    match TcpStream::connect(address).await {
        Ok(io) => body(&talk(io, &get(path)).await).to_owned(),
        Err(_) => String::new(),
    }
}

/// The same over a Unix socket.
pub async fn ask_unix(socket: &Path, path: &str) -> String {
    match UnixStream::connect(socket).await {
        Ok(io) => body(&talk(io, &get(path)).await).to_owned(),
        Err(_) => String::new(),
    }
}

/// What follows the head.
pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Waits until `holds`, looking often.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}
