//! Why a server does not start, or does not change.

use stagedoor_actors::{ReconfigureError, StartError};

use crate::app::RouteError;
use crate::devca;

/// What [`Server`](crate::Server) answers by default.
///
/// ```no_run
/// async fn serve() -> stagedoor::Result<()> {
///     stagedoor::Server::new().listen("127.0.0.1:8080").run().await
/// }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A server that does not start, or is not changed: nothing runs, or everything runs as it did.
///
/// ```
/// use stagedoor::{Error, Server, testing};
///
/// testing::run(async {
///     let twice = Server::new().listen("127.0.0.1:8080").listen("127.0.0.1:8080");
///     match twice.start().await.err() {
///         Some(Error::SameAddress(address)) => assert_eq!(address, "127.0.0.1:8080"),
///         other => panic!("{other:?}"),
///     }
/// });
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It has nowhere to listen.
    #[error("the server has no listener; give it one: .listen(\"127.0.0.1:8080\")")]
    NoListener,
    /// An address is none.
    #[error(
        "{0:?} is no address to listen on; one is \"127.0.0.1:8080\", \"[::1]:8080\" or \"localhost:8080\""
    )]
    Address(String),
    /// Two listeners have one name.
    #[error("two listeners are called {0:?}; name one of them with Listen::name")]
    SameName(String),
    /// Two listeners want one address.
    #[error("two listeners want {0}; a port has room for one, port 0 takes a free one")]
    SameAddress(String),
    /// A route cannot be.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// A certificate or key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// There is no development certificate.
    #[error(transparent)]
    DevCertificate(#[from] devca::Error),
    /// An option cannot be, or an address cannot be bound.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A running server cannot be changed so.
    #[error(transparent)]
    Reload(#[from] ReconfigureError),
    /// The thread of the server could not be started.
    #[error("the server has no thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The system it was to run in has stopped.
    #[error("the actix System has stopped")]
    Stopped,
}
