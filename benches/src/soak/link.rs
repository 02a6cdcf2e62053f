//! A connection to the gateway, and HTTP/2 on it frame by frame.

use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::sockopt::set_socket_linger;
use rustls_pki_types::ServerName;
use stagedoor_protocol::frame::{flag, kind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Target;
use crate::wire::{self, Frame, Frames};

/// What carries HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Plain,
    Tls,
}

/// How a connection ends that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// By FIN.
    Quietly,
    /// By RST: a peer that crashed.
    Abruptly,
}

pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Connects for HTTP/2, or for HTTP/1.1.
pub(super) async fn connect(
    target: &Target,
    carrier: Carrier,
    http2: bool,
    leaving: Leaving,
) -> Result<Box<dyn Io>> {
    let address = if carrier == Carrier::Tls { target.public } else { target.plain };
    let tcp = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    tcp.set_nodelay(true)?;
    if leaving == Leaving::Abruptly {
        set_socket_linger(&tcp, Some(Duration::ZERO))?;
    }
    Ok(match carrier {
        Carrier::Plain => Box::new(tcp),
        Carrier::Tls => {
            let config = target.tls[usize::from(!http2)].clone();
            let name = ServerName::try_from("localhost")?;
            Box::new(TlsConnector::from(config).connect(name, tcp).await.context("a TLS handshake")?)
        }
    })
}

/// A whole answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// 200.
    pub(super) good: bool,
    pub(super) body: Vec<u8>,
    /// The code of RST_STREAM, when that was its end.
    pub(super) reset: Option<u32>,
}

/// An HTTP/2 session of ours.
pub(super) struct Link {
    io: Box<dyn Io>,
    frames: Frames,
    room: Vec<u8>,
    scheme: &'static str,
    authority: String,
    next_stream: u32,
}

impl Link {
    /// Connects, says hello and waits for the gateway's. Each stream may have `window` octets on their way to us.
    pub(super) async fn open(
        target: &Target,
        carrier: Carrier,
        window: u32,
        leaving: Leaving,
    ) -> Result<Self> {
        let mut link = Self {
            io: connect(target, carrier, true, leaving).await?,
            frames: Frames::default(),
            room: vec![0; 16 << 10],
            scheme: if carrier == Carrier::Tls { "https" } else { "http" },
            authority: "localhost".to_owned(),
            next_stream: 1,
        };
        link.send(&wire::hello(window)).await?;
        let first = link.next().await?.context("closed before SETTINGS")?;
        ensure!(first.is_settings(), "not SETTINGS: {first:?}");
        Ok(link)
    }

    pub(super) fn scheme(&self) -> &'static str {
        self.scheme
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Without what was read and not looked at.
    pub(super) fn into_io(self) -> Box<dyn Io> {
        self.io
    }

    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.io.write_all(octets).await?;
        Ok(self.io.flush().await?)
    }

    /// A stream, and the octets that open it. A body follows unless it `ends`.
    pub(super) fn request(&mut self, method: &str, path: &str, ends: bool) -> (u32, Vec<u8>) {
        let block = wire::request(method, self.scheme, &self.authority, path);
        let stream = self.next_stream;
        self.next_stream += 2;
        (stream, wire::headers(stream, &block, ends))
    }

    /// Opens a stream; a body follows unless it `ends`.
    pub(super) async fn ask(&mut self, method: &str, path: &str, ends: bool) -> Result<u32> {
        let (stream, octets) = self.request(method, path, ends);
        self.send(&octets).await?;
        Ok(stream)
    }

    /// The next frame; none when the gateway has closed. SETTINGS and PING are answered on the way.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.frames.next() {
                let answer = match frame.kind {
                    _ if frame.is_settings() => wire::frame(kind::SETTINGS, flag::ACK, 0, &[]),
                    kind::PING if frame.flags & flag::ACK == 0 => {
                        wire::frame(kind::PING, flag::ACK, 0, &frame.payload)
                    }
                    _ => return Ok(Some(frame)),
                };
                // Who is leaving does not listen any more.
                let _ = self.send(&answer).await;
                return Ok(Some(frame));
            }
            match self.io.read(&mut self.room).await {
                Ok(0) => return Ok(None),
                Ok(count) => self.frames.push(&self.room[..count]),
                Err(error) if is_end(&error) => return Ok(None),
                Err(error) => return Err(error).context("reading a frame"),
            }
        }
    }

    /// Reads the answer on `stream` to its end and gives window back for it, and for the others.
    pub(super) async fn answer(&mut self, stream: u32) -> Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let frame =
                self.next().await?.with_context(|| format!("closed before the end of stream {stream}"))?;
            if frame.kind == kind::GOAWAY && frame.number(4) != 0 {
                bail!("GOAWAY {:?}", frame.payload);
            }
            if frame.kind == kind::DATA && !frame.payload.is_empty() {
                let octets = frame.payload.len() as u32; // a frame has less than 2^24
                self.send(&wire::window_update(0, octets)).await?;
                if !frame.ends_stream() {
                    self.send(&wire::window_update(frame.stream, octets)).await?;
                }
            }
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                // Informational heads come first, trailers last: what says 200 is the head.
                kind::HEADERS => answer.good |= wire::says_200(&frame.payload),
                kind::DATA => answer.body.extend_from_slice(&frame.payload),
                kind::RST_STREAM => answer.reset = Some(frame.number(0)),
                _ => {}
            }
            if frame.ends_stream() || answer.reset.is_some() {
                return Ok(answer);
            }
        }
    }

    /// Asks for `/bytes/{octets}` and checks what comes.
    pub(super) async fn served(&mut self, octets: usize) -> Result<()> {
        let stream = self.ask("GET", &format!("/bytes/{octets}"), true).await?;
        let answer = self.answer(stream).await?;
        ensure!(answer.good && answer.reset.is_none(), "not served: {:?}", answer.reset);
        ensure!(answer.body.len() == octets, "{} octets, not {octets}", answer.body.len());
        Ok(())
    }

    /// Reads until the gateway closes.
    pub(super) async fn ended(&mut self) -> Result<()> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// Says that no more comes.
    pub(super) async fn finish(&mut self) {
        // The other side may have gone first.
        let _ = self.io.shutdown().await;
    }
}

/// The end of a connection that its peer closed, one way or another. rustls calls the lack of close_notify by the first.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
