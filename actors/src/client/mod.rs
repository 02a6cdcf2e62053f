//! The client: sessions of ours to servers of others, on the same engine as the sessions others open to us.
//!
//! [`connect`] starts a Session actor with the client's role on the calling arbiter and returns at once; requests may
//! be made before it is up. A [`ClientSession`] makes requests, a [`ClientStream`] is one of them. Speaks
//! HTTP/2 alone. Pools no sessions, follows no redirects, retries nothing: [`StreamError::is_retry_safe`]
//! tells who does.
//!
//! Invariants: every request ends in exactly one of a whole response and a typed error; all handles are of one
//! thread, the session's.

mod abort;
pub(crate) mod call;
mod connector;
pub(crate) mod desk;
mod easy;
mod error;
mod line;
mod options;
mod request;
mod session;
mod stream;
mod target;
mod tls;
mod tunnel;
mod waiters;
pub(crate) mod wire;

use std::rc::Rc;
use std::sync::Arc;

use stagedoor_metrics::Protocol;
use tokio::time::timeout;

pub use abort::{AbortHandle, AbortSignal};
pub use connector::Connector;
pub use error::{ConnectError, Error, RequestError, SendError, SessionEnd, StreamError};
pub use line::Line;
pub use options::{Options, RequestOptions};
pub use request::RequestParts;
pub use session::ClientSession;
pub use stream::{ClientStream, CollectError, Event, PushedStream, ResponseBody, StreamState};
pub use target::{Scheme, Target};
pub use tls::{Tls, system_roots};
pub use tunnel::Tunnel;
pub use wire::WireObserver;

use crate::host::Host;
use crate::session::{Established, Facts, Session, facts_of};
use crate::transport::Transport;
use abort::Abort;
use desk::{Desk, Keeper};
use wire::Watched;

/// Connects to `[scheme://]host[:port]` and returns at once; userinfo and path are not looked at. `http` is h2c
/// with prior knowledge, `https` TLS with ALPN `h2`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # let metrics = stagedoor_metrics::Metrics::new("example");
/// # let config = stagedoor_actors::ListenerConfig::new("memory", ([127, 0, 0, 1], 0).into());
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let hello = local_handler(async |_: HttpRequest| "hello");
/// # let host = stagedoor_actors::Host::new(&metrics, 0, config, hello);
/// # let (ours, theirs) = tokio::io::duplex(64 << 10);
/// # host.spawn_session(ours, None);
/// use stagedoor_actors::client::{Connector, Options, connect};
///
/// // Over TCP it is `Options::default()`.
/// let session = connect("http://example.org", Options::with_connector(Connector::over(theirs)))?;
/// let mut answer = session.send(http::Request::get("/").body(())?).await?;
/// assert_eq!(answer.body_mut().collect_up_to(100).await?, "hello");
/// session.close().await;
/// # Ok(())
/// # })
/// # }
/// ```
///
/// # Errors
/// [`ConnectError::InvalidAuthority`] and [`ConnectError::UnsupportedScheme`]. What goes wrong later is told by
/// [`ClientSession::ready`] and by the requests.
///
/// # Panics
/// Outside an actix System, as every actor.
pub fn connect(authority: &str, options: Options) -> Result<ClientSession, ConnectError> {
    let target = Target::parse(authority, options.scheme)?;
    if options.signal.as_ref().is_some_and(AbortSignal::is_aborted) {
        return Err(ConnectError::GivenUp);
    }
    let desk = Desk::new(
        target.clone(),
        options.http2.strict_single_value_fields,
        options.max_queued,
        options.max_origins,
        options.initial_max_streams,
    );
    let host = Host::of_client(&options);
    let signal = options.signal.clone();
    let protocol = match target.scheme {
        Scheme::Http => Protocol::H2c,
        Scheme::Https => Protocol::H2,
    };
    let establish = Box::pin(async move {
        let (limit, authority) = (options.connect_timeout, target.authority.clone());
        match timeout(limit, establish(target, options)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout { authority, after: limit }),
        }
    });
    let keeper = Keeper::new(Rc::clone(&desk));
    let addr = host.spawn_client(|id| Session::client(Rc::clone(&host), id, keeper, protocol, establish));
    desk.set_addr(addr);
    if let Some(signal) = &signal {
        let listener: Rc<dyn Abort> = desk.clone();
        signal.attach(Rc::downgrade(&listener));
    }
    Ok(ClientSession::new(desk, signal))
}

async fn establish(target: Target, mut options: Options) -> Result<Established, ConnectError> {
    let observer = options.wire.take();
    let mut established = reach(target, options).await?;
    if let Some(observer) = observer {
        established.io = Transport::Watched(Box::new(Watched::new(established.io, observer)));
    }
    Ok(established)
}

async fn reach(target: Target, options: Options) -> Result<Established, ConnectError> {
    let (io, peer) = options.connector.connect(&target).await?;
    match target.scheme {
        Scheme::Http => {
            let facts = Facts { local: io.local(), unix: io.is_unix(), ..Facts::default() };
            Ok(Established { io: Transport::Plain(io), peer, facts })
        }
        Scheme::Https => {
            let stream = options.tls.shake(io, &target).await?;
            let (io, tls) = stream.get_ref();
            let facts = Facts {
                local: io.local(),
                unix: io.is_unix(),
                server_name: Some(target.host),
                tls: Some(facts_of(tls)),
            };
            Ok(Established { io: Transport::ClientTls(Box::new(stream)), peer, facts })
        }
    }
}

impl Options {
    /// The configuration of the sessions' host, shared as listeners share theirs.
    pub(crate) fn host_config(&self) -> Arc<crate::ListenerConfig> {
        Arc::new(self.config())
    }
}
