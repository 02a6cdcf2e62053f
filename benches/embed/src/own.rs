//! The servers that axum and tonic bring along.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// `axum::serve`.
pub(crate) async fn axum(router: Router, pair: Option<(PathBuf, PathBuf)>) -> Result<()> {
    let listener = listen().await?;
    match pair {
        None => {
            let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
                socket.set_nodelay(true).ok();
            });
            axum::serve(listener, router).await?;
        }
        Some((certificate, key)) => {
            let acceptor = acceptor(&certificate, &key)?;
            axum::serve(Tls { listener, acceptor }, router).await?;
        }
    }
    Ok(())
}

/// tonic's transport.
pub(crate) async fn tonic(routes: Routes, pair: Option<(PathBuf, PathBuf)>) -> Result<()> {
    let listener = listen().await?;
    let sockets = TcpListenerStream::new(listener).map(|socket| {
        let socket = socket?;
        socket.set_nodelay(true)?;
        Ok::<_, std::io::Error>(socket)
    });
    let mut server = Server::builder();
    if let Some((certificate, key)) = pair {
        let identity = Identity::from_pem(fs::read(certificate)?, fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    server.add_routes(routes).serve_with_incoming(sockets).await?;
    Ok(())
}

async fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    Ok(listener)
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// TLS as `axum::serve` takes it.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((socket, peer)) = self.listener.accept().await else { continue };
            socket.set_nodelay(true).ok();
            // A client that gives up during the handshake is its own business.
            if let Ok(stream) = self.acceptor.accept(socket).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
