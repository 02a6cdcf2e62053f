//! A server under test, clients for everything it speaks, and events that are waited for.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use stagedoor::{App, Event, Events, Server, ServerHandle, Tls, get};
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::client::{Client, Speaks};
use crate::support::exposition::Scrape;
use crate::support::peers::Certificate;

/// A server with a listener in the clear (`http`) and one over TLS (`https`), and what a client needs to reach it.
pub(crate) struct Site {
    pub(crate) handle: ServerHandle,
    pub(crate) certificate: Certificate,
}

impl Site {
    /// Starts `server` with both listeners.
    pub(crate) async fn start(server: Server) -> Self {
        let certificate = Certificate::new();
        let tls = Tls::pem(&certificate.certificate, &certificate.key);
        let server = server.listen("127.0.0.1:0").listen(("127.0.0.1:0", tls));
        Self { handle: server.start().await.unwrap(), certificate }
    }

    /// The same of an app, on two workers.
    pub(crate) async fn of(app: App) -> Self {
        Self::start(Server::new().workers(2).app(app)).await
    }

    /// Where a listener is reached.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.handle.address(listener).expect("it listens")
    }

    pub(crate) fn plain(&self) -> SocketAddr {
        self.address("http")
    }

    /// A connection that speaks so.
    pub(crate) async fn client(&self, speaks: Speaks) -> Client {
        match speaks {
            Speaks::H2c => Client::plain(self.plain(), true).await,
            Speaks::Http1 => Client::plain(self.plain(), false).await,
            Speaks::H2 => self.over_tls(b"h2").await,
            Speaks::Http1Tls => self.over_tls(b"http/1.1").await,
        }
    }

    async fn over_tls(&self, alpn: &[u8]) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate.certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        Client::tls(Arc::new(config), self.address("https"), "localhost").await.unwrap()
    }

    /// What is counted, once everything that was answered before is.
    pub(crate) async fn scrape(&self) -> Scrape {
        self.handle.caught_up(PATIENCE).await;
        Scrape::read(&String::from_utf8(self.handle.metrics().render_text()).unwrap())
    }

    pub(crate) async fn stop(self) {
        self.handle.stop().await;
    }
}

/// A server that says hello.
pub(crate) fn hello() -> Server {
    Server::new().workers(2).route("/", get(|| async { "hello\n" }))
}

/// Runs a test's future in an actix System, with a deadline.
pub(crate) fn system(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(within(test));
}

/// What comes, or a failure.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

/// The next event that is wanted; those before it are passed over.
pub(crate) async fn until<T>(events: &mut Events, wanted: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = within(events.next()).await.expect("the server lives");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

/// Lets others run until it is so.
pub(crate) async fn becomes(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// So many octets that repeat late.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|at| at.wrapping_mul(31).wrapping_add(at >> 8) as u8).collect()
}
