//! The least that hyper 1.x needs to answer over HTTP/2: the peer that `compare` measures us against.
//!
//! `GET /bytes/13`: 13 octets. `GET /bytes/N`: N octets in pieces of 16 KiB out of memory. `POST /count`: the number of
//! octets of the body. Anything else: a file below `--root`, read by `tokio::fs` in pieces of 256 KiB (three times cheaper than 64).
//!
//! `hyper_peer [--root DIR] [--certificate FILE --key FILE | --http1] [--port N]`: cleartext with prior knowledge, or TLS 1.3 when it is given a
//! certificate, or HTTP/1.1 with `--http1`. One thread, mimalloc, the limits hyper has by itself (200 streams). Prints the address it listens on.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Parser;
use futures_util::TryStreamExt as _;
use futures_util::stream::MapOk;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use stagedoor_bench::octets::{CHUNK, PERIOD, block};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::io::ReaderStream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    /// Loopback port, 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Speak HTTP/1.1 in cleartext, as an upstream of gateways
    #[arg(long, conflicts_with = "certificate")]
    http1: bool,
    /// Folder of the files
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Certificate chain, PEM: speak TLS 1.3 instead of cleartext
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Threads that read files stay: the CPU time of one that ended could not be read any more.
        .thread_keep_alive(Duration::from_secs(3600))
        .build()?
        .block_on(listen(arguments))
}

async fn listen(arguments: Arguments) -> Result<()> {
    let tls = match (&arguments.certificate, &arguments.key) {
        (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
        _ => None,
    };
    let root: Arc<Path> = arguments.root.into();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port)).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await.context("accepting")?;
        socket.set_nodelay(true)?;
        let (tls, root) = (tls.clone(), Arc::clone(&root));
        tokio::spawn(async move {
            match tls {
                None if arguments.http1 => serve_http1(socket, root).await,
                None => serve(socket, root).await,
                // A client that gives up during the handshake is its own business.
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        serve(socket, root).await;
                    }
                }
            }
        });
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, root: Arc<Path>) {
    let served = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(socket), service_fn(move |request| answer(request, Arc::clone(&root))))
        .await;
    // `compare` and its probes close without ceremony; requests that fail are seen at their end.
    drop(served);
}

async fn serve_http1(socket: TcpStream, root: Arc<Path>) {
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service_fn(move |request| answer(request, Arc::clone(&root))))
        .await;
    drop(served);
}

type Answer = Response<Given>;
type File = StreamBody<MapOk<ReaderStream<tokio::fs::File>, fn(Bytes) -> Frame<Bytes>>>;

async fn answer(request: Request<Incoming>, root: Arc<Path>) -> io::Result<Answer> {
    let path = request.uri().path();
    if path == stagedoor_bench::config::PATH {
        let body = Full::new(Bytes::from_static(stagedoor_bench::config::BODY.as_bytes()));
        return Ok(of_length(TEXT, HeaderValue::from_static("13"), Given::Whole(body)));
    }
    if let Some(count) = path.strip_prefix("/bytes/") {
        let left = count.parse().map_err(io::Error::other)?;
        return Ok(of_length(OCTETS, HeaderValue::from(left), Given::Memory(Memory { at: 0, left })));
    }
    if path == "/count" {
        return count(request.into_body()).await;
    }
    let file = tokio::fs::File::open(root.join(path.trim_start_matches('/'))).await?;
    let length = HeaderValue::from(file.metadata().await?.len());
    let frame: fn(Bytes) -> Frame<Bytes> = Frame::data;
    let pieces = StreamBody::new(ReaderStream::with_capacity(file, 256 << 10).map_ok(frame));
    Ok(of_length(OCTETS, length, Given::File(Box::pin(pieces))))
}

/// Counts the octets of a body as they come.
async fn count(mut body: Incoming) -> io::Result<Answer> {
    let mut octets = 0;
    while let Some(frame) = body.frame().await {
        octets += frame.map_err(io::Error::other)?.data_ref().map_or(0, Bytes::len);
    }
    let line = format!("{octets}\n");
    let length = HeaderValue::from(line.len());
    Ok(of_length(TEXT, length, Given::Whole(Full::new(Bytes::from(line)))))
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn of_length(kind: HeaderValue, length: HeaderValue, body: Given) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// The body of an answer.
enum Given {
    Whole(Full<Bytes>),
    Memory(Memory),
    File(Pin<Box<File>>),
}

impl Body for Given {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Memory(body) => Poll::Ready(body.next().map(|piece| Ok(Frame::data(piece)))),
            Self::File(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Memory(body) => body.left == 0,
            Self::File(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Memory(body) => SizeHint::with_exact(body.left),
            Self::File(body) => body.size_hint(),
        }
    }
}

/// The octets of `/bytes/N`, never copied.
struct Memory {
    at: usize,
    left: u64,
}

impl Memory {
    fn next(&mut self) -> Option<Bytes> {
        static BLOCK: LazyLock<Bytes> = LazyLock::new(|| block().into());
        let step = self.left.min(CHUNK as u64) as usize;
        let piece = BLOCK.slice(self.at..self.at + step);
        self.at = (self.at + step) % PERIOD;
        self.left -= step as u64;
        (step > 0).then_some(piece)
    }
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
