//! One POST a batch to the collector, on the thread of the SDK's queue: HTTP/1.1 in cleartext, a connection each.
//! Tries nothing twice: that is the exporter's part.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// What a batch may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Octets of an answer that are read.
const ANSWER: usize = 1 << 20;

/// See the module. Has a runtime of its own, because its thread has none.
#[derive(Debug)]
pub(super) struct Post {
    runtime: Runtime,
    /// The last batch did not arrive, and that was said.
    failing: AtomicBool,
}

impl Post {
    pub(super) fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { runtime, failing: AtomicBool::new(false) })
    }
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Nobody else is served by this thread.
        let answer = self.runtime.block_on(async {
            match tokio::time::timeout(LIMIT, post(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer in {} s", LIMIT.as_secs()).into()),
            }
        });
        match &answer {
            Ok(answer) if answer.status().is_success() => self.failing.store(false, Ordering::Relaxed),
            failed => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    let why = match failed {
                        Ok(answer) => format!("it answered {}", answer.status()),
                        Err(error) => error.to_string(),
                    };
                    tracing::warn!(why, "the collector takes no spans; those that find no room are dropped");
                }
            }
        }
        answer
    }
}

async fn post(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let host = request.uri().host().ok_or("the URL names no host")?.to_owned();
    let port = request.uri().port_u16().unwrap_or(80);
    // IPv6 addresses have brackets in a URL.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let socket = TcpStream::connect((name, port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().map(ToString::to_string).unwrap_or(host);
    parts.headers.insert(header::HOST, authority.parse()?);
    parts.headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    parts.uri = target.parse()?;
    let exchange = async {
        let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
        Ok::<_, HttpError>(Response::from_parts(parts, body))
    };
    tokio::pin!(exchange, connection);
    let mut gone = false;
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            // An answer may have come before the end.
            ended = &mut connection, if !gone => match ended {
                Ok(()) => gone = true,
                Err(error) => return Err(error.into()),
            },
        }
    }
}
