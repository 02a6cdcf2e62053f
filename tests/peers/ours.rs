//! Our client, as the tests against servers of others use it.

use std::future::Future;
use std::rc::Rc;

use stagedoor::client::{
    ClientSession, ClientStream, Options, RequestOptions, RequestParts, StreamError, Tls, connect,
};

use crate::support::PATIENCE;
use crate::support::peers::Certificate;

/// Runs a test's future in an actix System, with a deadline.
pub(crate) fn system(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") });
}

/// So many octets that repeat late.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|at| at.wrapping_mul(31).wrapping_add(at >> 8) as u8).collect()
}

/// Where a server listens, and how it is trusted.
pub(crate) struct Site {
    pub(crate) port: u16,
    pub(crate) certificate: Option<Rc<Certificate>>,
}

impl Site {
    pub(crate) fn is_tls(&self) -> bool {
        self.certificate.is_some()
    }

    /// A session to it.
    pub(crate) fn session(&self, options: Options) -> ClientSession {
        let tls =
            self.certificate.as_ref().map_or_else(Tls::native, |own| Tls::only_ca_file(&own.certificate));
        let (scheme, host) = if self.is_tls() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        connect(&format!("{scheme}://{host}:{}", self.port), Options { tls, ..options })
            .expect("an authority")
    }
}

/// GET.
pub(crate) fn get(session: &ClientSession, path: &str) -> ClientStream {
    session.request(path, RequestOptions::default()).expect("a request")
}

/// POST, with a body that is sent by hand.
pub(crate) fn post(session: &ClientSession, path: &str) -> ClientStream {
    session.request(RequestParts::post(path), RequestOptions::default()).expect("a request")
}

/// The octets of a response as far as they went, and why they went no further.
pub(crate) async fn octets(stream: &mut ClientStream) -> (Vec<u8>, Option<StreamError>) {
    let mut octets = Vec::new();
    while let Some(chunk) = stream.chunk().await {
        match chunk {
            Ok(chunk) => octets.extend_from_slice(&chunk),
            Err(error) => return (octets, Some(error)),
        }
    }
    (octets, None)
}

/// Status and text of a response that has to be whole.
pub(crate) async fn answer(mut stream: ClientStream) -> (u16, String) {
    let head = stream.response().await.expect("a response");
    let (octets, error) = octets(&mut stream).await;
    assert!(error.is_none(), "{error:?}");
    stream.closed().await.expect("a good end");
    (head.status, String::from_utf8(octets).expect("text"))
}

/// The text of a GET.
pub(crate) async fn text(session: &ClientSession, path: &str) -> String {
    let (status, text) = answer(get(session, path)).await;
    assert_eq!(status, 200, "{path}: {text}");
    text
}
