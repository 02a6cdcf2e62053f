//! HTTP/1.1 as octets, from either end of a connection: what is said is what is written in the test.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// See the module.
pub(crate) struct Text {
    pub(crate) io: TcpStream,
    held: Vec<u8>,
}

impl Text {
    /// The next connection.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (io, _) = listener.accept().await.unwrap();
        Self::over(io)
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    fn over(io: TcpStream) -> Self {
        io.set_nodelay(true).unwrap();
        Self { io, held: Vec::new() }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.expect("it reads");
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> bool {
        // A connection that was cut is at its end too.
        self.io.read_buf(&mut self.held).await.is_ok_and(|count| count > 0)
    }

    /// The next head as it came, without its empty line; none where the connection ends first.
    pub(crate) async fn next_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.held.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.held.drain(..at + 4).collect();
                return Some(String::from_utf8(head[..at].to_vec()).unwrap());
            }
            if !self.more().await {
                assert_eq!(String::from_utf8_lossy(&self.held), "", "half a head");
                return None;
            }
        }
    }

    pub(crate) async fn head(&mut self) -> String {
        self.next_head().await.expect("a head")
    }

    /// So many octets.
    pub(crate) async fn octets(&mut self, count: usize) -> String {
        while self.held.len() < count {
            assert!(self.more().await, "only {:?}", String::from_utf8_lossy(&self.held));
        }
        String::from_utf8(self.held.drain(..count).collect()).unwrap()
    }

    /// So many octets, or none where the connection ends before.
    async fn octets_or_end(&mut self, count: usize) -> Option<String> {
        while self.held.len() < count {
            if !self.more().await {
                return None;
            }
        }
        Some(String::from_utf8(self.held.drain(..count).collect()).unwrap())
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            line.push_str(&self.octets_or_end(1).await?);
        }
        line.truncate(line.len() - 2);
        Some(line)
    }

    /// A body in chunks: its octets, and its trailer lines.
    pub(crate) async fn chunked(&mut self) -> (String, Vec<String>) {
        self.chunked_or_end().await.expect("a whole body in chunks")
    }

    /// The same, or none where the connection ends before it does: the request was taken back.
    pub(crate) async fn chunked_or_end(&mut self) -> Option<(String, Vec<String>)> {
        let mut body = String::new();
        loop {
            let size = usize::from_str_radix(&self.line().await?, 16).unwrap();
            if size == 0 {
                break;
            }
            body.push_str(&self.octets_or_end(size).await?);
            assert_eq!(self.line().await?, "");
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some((body, trailers));
            }
            trailers.push(line);
        }
    }

    /// All that still comes, to the end of the connection.
    pub(crate) async fn rest(mut self) -> String {
        while self.more().await {}
        String::from_utf8(self.held).unwrap()
    }

    /// The next request of an upstream's connection without a body, answered with `text`.
    pub(crate) async fn answer(&mut self, text: &str) -> String {
        let head = self.head().await;
        self.say(text).await;
        head
    }
}

/// The value of a field of a head, if it is there.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut found = head.split("\r\n").skip(1).filter_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = found.next();
    assert_eq!(found.next(), None, "{name} twice in {head}");
    value
}

/// A whole answer with a body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
