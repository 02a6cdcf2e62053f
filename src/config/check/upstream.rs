//! Upstreams: where they are, and that what is spoken can be spoken there.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::at::At;
use super::super::diagnostic::Code;
use super::super::file::{self, File};
use super::super::model::{
    Balance, Eject, Endpoint, EndpointAddress, Endpoints, Health, Keepalive, Retry, RetryOn, Upstream,
    UpstreamLimits, UpstreamProtocol, UpstreamTimeouts, UpstreamTls,
};
use super::super::problem::Problem;
use super::super::source::Span;
use super::super::word::{RetryWord, Time};
use super::Check;

impl Check<'_> {
    pub(super) fn upstreams(&mut self, file: &File) -> Vec<Upstream> {
        let mut names = BTreeSet::new();
        let mut upstreams = Vec::new();
        for (index, written) in file.upstream.iter().enumerate() {
            let name = self.name("upstream", index, &written.span, written.name.as_ref(), &mut names);
            let used = file.route.iter().any(|route| {
                let to = route.proxy.as_ref().and_then(|proxy| proxy.upstream.as_ref());
                to.is_some_and(|to| to.0 == name)
            });
            if let Some(at) = &written.name
                && !used
            {
                let problem = Problem::new(Code::UnusedUpstream, "", "nothing is sent here");
                self.warning(&at.span, format!("no route sends to upstream {name:?}"), problem);
            }
            upstreams.push(self.upstream(index, name, written));
        }
        upstreams
    }

    fn upstream(&mut self, index: usize, name: String, written: &At<file::Upstream>) -> Upstream {
        let whose = super::whose("upstream", index, written.name.as_ref());
        let endpoints = self.endpoints(index, &whose, written);
        self.zero(&whose, "health.every", written.health.as_ref().map(|health| &health.every));
        self.zero(&whose, "health.timeout", written.health.as_ref().map(|health| &health.timeout));
        self.zero(&whose, "eject.for", written.eject.as_ref().map(|eject| &eject.time));
        self.zero(&whose, "retry.per_try", written.retry.per_try.as_ref());
        self.zero(&whose, "keepalive.idle", Some(&written.keepalive.idle));
        if written.keepalive.ping.0 != Duration::ZERO {
            self.zero(&whose, "keepalive.timeout", Some(&written.keepalive.timeout));
        }
        if let Some(host) = written.health.as_ref().and_then(|health| health.host.as_ref()) {
            self.authority(&format!("{whose}: health.host"), &host.0, &host.span);
        }
        Upstream {
            name,
            endpoints,
            protocol: match written.protocol.value {
                file::Speaks::Auto => UpstreamProtocol::Auto,
                file::Speaks::Http1 => UpstreamProtocol::Http1,
                file::Speaks::H2 => UpstreamProtocol::H2,
                file::Speaks::H2c => UpstreamProtocol::H2c,
            },
            balance: match &written.balance {
                file::Balance::RoundRobin => Balance::RoundRobin,
                file::Balance::P2c => Balance::P2c,
                file::Balance::Least => Balance::Least,
                file::Balance::Hash(key) => Balance::Hash(key.0.clone()),
            },
            health: written.health.as_ref().map(|health| Health {
                path: health.path.0.clone(),
                host: health.host.as_ref().map(|host| host.0.clone()),
                every: health.every.0,
                timeout: health.timeout.0,
                rise: health.rise.0,
                fall: health.fall.0,
            }),
            eject: written.eject.as_ref().map(|eject| Eject {
                consecutive_failures: eject.consecutive_failures.0,
                time: eject.time.0,
                max_share: eject.max_share.0,
            }),
            retry: retry(written),
            timeouts: UpstreamTimeouts {
                connect: written.timeouts.connect.0,
                response: written.timeouts.response.0,
                stall: written.timeouts.stall.0,
            },
            keepalive: Keepalive {
                ping: written.keepalive.ping.0,
                timeout: written.keepalive.timeout.0,
                idle: written.keepalive.idle.0,
            },
            tls: self.upstream_tls(&whose, written.tls.as_ref()),
            limits: UpstreamLimits {
                connections: written.limits.connections.0 as usize,
                pending: written.limits.pending.0 as usize,
            },
        }
    }

    fn endpoints(&mut self, index: usize, whose: &str, written: &At<file::Upstream>) -> Endpoints {
        const HELP: &str =
            "say where: endpoints = [\"http://10.0.0.7:8080\"], or dns = \"api.internal:8080\"";
        if let (Some(endpoints), Some(dns)) = (&written.endpoints, &written.dns) {
            let problem =
                Problem::new(Code::Conflict, "", "endpoints are listed too").help("keep one of both");
            let later = if endpoints.span.start > dns.span.start { &endpoints.span } else { &dns.span };
            self.error(later, format!("{whose} has both endpoints and dns"), problem);
        }
        if let Some(dns) = &written.dns {
            self.speaks(whose, written.protocol.value, dns.tls, &dns.span);
            let (tls, name) = (dns.tls, dns.name.clone());
            return match dns.port {
                Some(port) => Endpoints::Dns { tls, host: name, port },
                None => Endpoints::Srv { tls, name },
            };
        }
        let Some(endpoints) = &written.endpoints else {
            self.missing("upstream", index, &written.span, whose, "endpoints", HELP);
            return Endpoints::Listed(Vec::new());
        };
        if endpoints.is_empty() {
            self.missing("upstream", index, &endpoints.span, whose, "endpoints", HELP);
        }
        let mut listed = Vec::new();
        for endpoint in endpoints.iter() {
            let Some(url) = &endpoint.url else {
                let help = "an endpoint is a URL, or { url = \"http://10.0.0.8:8080\", weight = 2 }";
                let whose = format!("{whose}: an endpoint");
                self.missing("upstream", index, &endpoint.span, &whose, "url", help);
                continue;
            };
            let span = super::first_written([&url.span, &endpoint.span]);
            self.speaks(whose, written.protocol.value, url.tls, &span);
            let address = match &url.address {
                EndpointAddress::Unix(path) => EndpointAddress::Unix(self.dir.join(path)),
                EndpointAddress::Tcp { .. } => url.address.clone(),
            };
            // 1 to 1000.
            let weight = u16::try_from(endpoint.weight.0).unwrap_or(1);
            listed.push(Endpoint { tls: url.tls, address, weight });
        }
        Endpoints::Listed(listed)
    }

    /// HTTP/2 over TLS wants TLS, in cleartext none.
    fn speaks(&mut self, whose: &str, protocol: file::Speaks, tls: bool, span: &Span) {
        let (name, scheme, other) = match protocol {
            file::Speaks::H2c if tls => ("h2c", "https", "protocol = \"h2\" is HTTP/2 over TLS"),
            file::Speaks::H2 if !tls => ("h2", "http", "protocol = \"h2c\" is HTTP/2 in cleartext"),
            _ => return,
        };
        let problem =
            Problem::new(Code::ProtocolMismatch, "", format!("{scheme} cannot carry {name}")).help(other);
        self.error(span, format!("{whose} speaks {name} to an endpoint of {scheme}"), problem);
    }

    /// A time that nobody could keep.
    fn zero(&mut self, whose: &str, key: &str, time: Option<&At<Time>>) {
        if let Some(time) = time
            && time.0 == Duration::ZERO
        {
            let problem = Problem::new(Code::OutOfRange, "", "must be more than 0");
            self.error(&time.span, format!("{whose}: {key} is out of range"), problem);
        }
    }

    fn upstream_tls(&mut self, whose: &str, written: Option<&At<file::UpstreamTls>>) -> UpstreamTls {
        let Some(tls) = written else { return UpstreamTls::default() };
        if let Some(ca) = &tls.ca {
            self.authorities(&format!("{whose}: tls.ca"), ca);
        }
        if let Some(name) = &tls.server_name
            && name.0.starts_with("*.")
        {
            let problem = Problem::new(Code::BadHost, "", "a name of its own is wanted");
            self.error(&name.span, format!("{whose}: tls.server_name cannot be a wildcard"), problem);
        }
        let client = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => {
                self.pair(&format!("{whose}: the certificate we show"), cert, key);
                Some((self.path(cert), self.path(key)))
            }
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => {
                let problem = Problem::new(Code::MissingKey, "", "the other is missing")
                    .help("a certificate is two files: cert = \"chain.pem\", key = \"key.pem\"");
                self.error(&one.span, format!("{whose}: tls has one of cert and key"), problem);
                None
            }
        };
        UpstreamTls {
            ca: tls.ca.as_ref().map(|ca| self.path(ca)),
            server_name: tls.server_name.as_ref().map(|name| name.0.clone()),
            client,
        }
    }
}

fn retry(written: &file::Upstream) -> Retry {
    let mut on = RetryOn::default();
    for word in &written.retry.on {
        match word.value {
            RetryWord::Connect => on.connect = true,
            RetryWord::Refused => on.refused = true,
            RetryWord::Unprocessed => on.unprocessed = true,
            RetryWord::Reset => on.reset = true,
            RetryWord::Status(status) => on.statuses.push(status),
        }
    }
    Retry {
        attempts: written.retry.attempts.0,
        on,
        budget: written.retry.budget.0,
        per_try: written.retry.per_try.as_ref().map(|time| time.0),
    }
}
