//! HTTP/1.1 as far as the soak needs it: one request after another, answers of known length, an upgrade.

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::link::Io;

/// A connection.
pub(super) struct Http1 {
    io: Box<dyn Io>,
    authority: String,
    /// Read and not yet looked at.
    rest: Vec<u8>,
}

impl Http1 {
    pub(super) fn new(io: Box<dyn Io>, authority: String) -> Self {
        Self { io, authority, rest: Vec::new() }
    }

    /// GET, and the body of the answer, which must be 200.
    pub(super) async fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        // What was rendered a moment ago does not do.
        let head = self.exchange(&format!("GET {path} HTTP/1.1"), "cache-control: no-cache\r\n").await?;
        ensure!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.with_context(|| format!("no length: {head}"))?.trim().parse()?;
        while self.rest.len() < length {
            self.read().await?;
        }
        Ok(self.rest.drain(..length).collect())
    }

    /// Sends a request with more `fields` (each with its line end) and reads the head of the answer, in small letters.
    pub(super) async fn exchange(&mut self, line: &str, fields: &str) -> Result<String> {
        self.send(format!("{line}\r\nhost: {}\r\n{fields}\r\n", self.authority).as_bytes()).await?;
        loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.rest[..end]).to_ascii_lowercase();
                self.rest.drain(..end + 4);
                return Ok(head);
            }
            self.read().await?;
        }
    }

    /// Whatever octets follow, as they are.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.io.write_all(octets).await?;
        Ok(self.io.flush().await?)
    }

    /// The next `count` octets.
    pub(super) async fn octets(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.rest.len() < count {
            self.read().await?;
        }
        Ok(self.rest.drain(..count).collect())
    }

    pub(super) async fn finish(&mut self) {
        // The other side may have gone first.
        let _ = self.io.shutdown().await;
    }

    async fn read(&mut self) -> Result<()> {
        let count = self.io.read_buf(&mut self.rest).await?;
        if count == 0 {
            bail!("closed behind {} octets", self.rest.len());
        }
        Ok(())
    }
}
