//! Both ends of TLS with a certificate of their own, made once.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::io::DuplexStream;
use tokio_rustls::client::TlsStream;

type Ends = (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>);

/// What a listener has, and a client that trusts it and speaks `h2`.
pub fn ends() -> &'static Ends {
    static MADE: OnceLock<Ends> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("the key of the certificate");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        (Arc::new(server), Arc::new(client))
    })
}

/// The client's end of a connection, shaken.
pub async fn shake(io: DuplexStream) -> io::Result<TlsStream<DuplexStream>> {
    shake_with(io, Arc::clone(&ends().1)).await
}

/// The same for HTTP/1.1.
pub async fn shake_http1(io: DuplexStream) -> io::Result<TlsStream<DuplexStream>> {
    let mut config = rustls::ClientConfig::clone(&ends().1);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    shake_with(io, Arc::new(config)).await
}

async fn shake_with(
    io: DuplexStream,
    config: Arc<rustls::ClientConfig>,
) -> io::Result<TlsStream<DuplexStream>> {
    let name = rustls_pki_types::ServerName::try_from("localhost").expect("a name");
    tokio_rustls::TlsConnector::from(config).connect(name, io).await
}
