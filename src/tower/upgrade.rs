//! Tunnels for `tower` services: CONNECT, extended CONNECT (RFC 8441) and upgrades of HTTP/1.1, as axum's WebSockets
//! want them, which is by way of `hyper::upgrade`.
//!
//! hyper alone can make what `hyper::upgrade::on` finds in a request. So it is given a connection of its own, in memory,
//! on which the upgrade is asked for; where the service agrees, the far end of that connection and the tunnel of the
//! stream are joined. Costs nothing where no tunnel is asked for.
//!
//! Invariant: everything runs in the future of the stream and ends with it.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use bytes::Buf;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use stagedoor_actors::{Reply, Request, Response, Tunnel, convert};
use stagedoor_protocol::Fields;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::oneshot;
use tower_service::Service;

use super::answer::answer;
use super::{Via, ask};
use crate::app::Call;
use crate::facade::Protocol;
use crate::send_body::SendBody;

/// Octets on their way between the tunnel and the service, each way.
const BETWEEN: usize = 64 << 10;

/// What asks hyper for an upgrade; it is told of no other.
const ASKS: &[u8] = b"GET / HTTP/1.1\r\nhost: tunnel\r\nconnection: upgrade\r\nupgrade: tunnel\r\n\r\n";

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

/// See the module.
pub(super) fn tunnelled<S, B>(service: S, call: Call) -> Reply
where
    S: Service<http::Request<SendBody>, Response = http::Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Data: Buf,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Call { request: ours, params, .. } = call;
    let http2 = ours.session.is_http2();
    let request = convert::to_request(ours.head.clone(), http2, SendBody::empty(), &mut None);
    let Some(mut request) = request else { return Response::new(400).into() };
    let (session, stream) = (ours.session.shared_info(), ours.stream);
    request.extensions_mut().insert(Via { session, stream, params });
    if let Some(protocol) = ours.head.protocol() {
        request.extensions_mut().insert(Protocol(protocol.to_owned()));
        #[cfg(feature = "hyper-http2")]
        request.extensions_mut().insert(hyper::ext::Protocol::from(protocol));
    }
    Reply::later(async move {
        let Some(offer) = Offer::make().await else {
            return Response::new(500);
        };
        let (upgrade, agreed) = offer;
        request.extensions_mut().insert(upgrade);
        let response = match ask(service, request).await {
            Ok(response) => response,
            Err(failed) => return failed,
        };
        let status = response.status().as_u16();
        // 101 on HTTP/1.1, 2xx to both kinds of CONNECT.
        if status == 101 || ours.head.method_octets() == b"CONNECT" && (200..300).contains(&status) {
            open(ours, convert::to_fields(response.headers()), agreed)
        } else {
            answer(response)
        }
    })
}

/// The response that opens the tunnel of a stream and joins it to what the service holds.
fn open(request: Request, mut fields: Fields, agreed: Offer) -> Response {
    // The head of a tunnel says these itself, or may not.
    fields.retain(|field| !matches!(field.name, b"connection" | b"upgrade" | b"content-length"));
    let opened = request.tunnel_response(fields, |tunnel| async move {
        if let Err(error) = agreed.join(tunnel).await {
            tracing::debug!(%error, "a tunnel of a service ended");
        }
    });
    opened.unwrap_or_else(|error| {
        tracing::error!(%error, "a service wants a tunnel that cannot be");
        Response::new(500)
    })
}

/// An upgrade that hyper was asked for and waits with.
struct Offer {
    connection: Connection,
    far: DuplexStream,
    agree: oneshot::Sender<()>,
}

impl Offer {
    /// hyper's promise of an upgraded connection, and what keeps it.
    async fn make() -> Option<(OnUpgrade, Self)> {
        let (near, mut far) = tokio::io::duplex(BETWEEN);
        let (agree, agreed) = oneshot::channel::<()>();
        let (found, mut wanted) = oneshot::channel::<OnUpgrade>();
        let once = Cell::new(Some((agreed, found)));
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            let once = once.take();
            let upgrade = hyper::upgrade::on(&mut request);
            async move {
                let mut response = http::Response::new(String::new());
                if let Some((agreed, found)) = once {
                    found.send(upgrade).ok();
                    if agreed.await.is_ok() {
                        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                    }
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(near), service);
        let mut connection: Connection = Box::pin(connection.with_upgrades());
        far.write_all(ASKS).await.ok()?;
        tokio::select! {
            upgrade = &mut wanted => Some((upgrade.ok()?, Self { connection, far, agree })),
            _ = &mut connection => None,
        }
    }

    /// Lets hyper keep its promise, then passes octets both ways until both have ended.
    async fn join(self, mut tunnel: Tunnel) -> std::io::Result<()> {
        let Self { connection, mut far, agree } = self;
        agree.send(()).ok();
        let joined = async move {
            skip_head(&mut far).await?;
            tokio::io::copy_bidirectional(&mut far, &mut tunnel).await.map(drop)
        };
        let (_, joined) = futures_util::future::join(connection, joined).await;
        joined
    }
}

/// Reads what hyper answered to [`ASKS`]; what comes after it is the service's.
async fn skip_head(far: &mut DuplexStream) -> std::io::Result<()> {
    let mut matched = 0;
    while matched < 4 {
        let octet = far.read_u8().await?;
        matched = match (octet, matched) {
            (b'\r', 0 | 2) | (b'\n', 1 | 3) => matched + 1,
            (b'\r', _) => 1,
            _ => 0,
        };
    }
    Ok(())
}
