//! Sessions of ours with an endpoint: where they go and what each is told, checks and requests alike.

use std::sync::Arc;
use std::time::Duration;

use stagedoor_actors::client::{self, Connector, Options};

use super::{Endpoint, Upstream};
use crate::config::EndpointAddress;

/// Where a session of ours goes to.
pub(crate) fn origin(endpoint: &Endpoint) -> String {
    format!("{}://{}", if endpoint.tls { "https" } else { "http" }, endpoint.authority)
}

/// What every session of ours to an endpoint is told, checks and requests alike.
pub(crate) fn options(upstream: &Upstream, endpoint: &Endpoint, connect: Duration) -> Options {
    let mut options = Options {
        connect_timeout: connect,
        name: format!("upstream:{}", upstream.config.name),
        ..Options::default()
    };
    if let EndpointAddress::Unix(path) = &endpoint.address {
        options.connector = Connector::unix(path);
    }
    if let Some(trust) = upstream.trust().filter(|_| endpoint.tls) {
        options.tls = client::Tls::config(Arc::clone(&trust.http2));
        if let Some(name) = &upstream.config.tls.server_name {
            options.tls = options.tls.with_server_name(name);
        }
    }
    options
}
