//! `[[upstream]]`: servers that requests are sent on to.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::config::at::At;
use crate::config::word::{
    EndpointUrl, FieldValue, FilePath, Host, Int, Key, Label, Lookup, PathPrefix, RetryWord, Share, Time,
};

/// Servers that requests are sent on to.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Upstream {
    /// A name of its own, which routes send to: label of metrics, name in the API. Required.
    pub(in super::super) name: Option<At<Label>>,
    /// URLs of the servers; a table where one has a weight. Either this or dns.
    pub(in super::super) endpoints: Option<At<Vec<At<Endpoint>>>>,
    /// A name whose addresses are the servers, looked up again as its TTL says. Either this or endpoints.
    pub(in super::super) dns: Option<At<Lookup>>,
    /// What is spoken. "auto" is what ALPN picks over https, and HTTP/1.1 over http.
    pub(in super::super) protocol: At<Speaks>,
    /// Who is asked next.
    pub(in super::super) balance: Balance,
    /// Active checks; without this table there are none.
    pub(in super::super) health: Option<At<Health>>,
    /// Passive ejection of servers that fail; without this table there is none.
    pub(in super::super) eject: Option<At<Eject>>,
    /// Asking again, where that does nothing twice.
    pub(in super::super) retry: Retry,
    /// Deadlines; 0 switches one off.
    pub(in super::super) timeouts: Timeouts,
    /// Connections that are kept open.
    pub(in super::super) keepalive: Keepalive,
    /// How https servers are trusted.
    pub(in super::super) tls: Option<At<UpstreamTls>>,
    /// Ceilings of each server.
    pub(in super::super) limits: Limits,
}

/// A server.
#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct Endpoint {
    /// `None` is missing, and an error later.
    pub(in super::super) url: Option<At<EndpointUrl>>,
    pub(in super::super) weight: At<Int<1, 1000>>,
}

/// A server with its weight.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Endpoint")]
struct EndpointTable {
    /// http://host:port, https://host:port or unix:/path. Required.
    url: Option<At<EndpointUrl>>,
    /// Its share of the requests, 1 to 1000.
    weight: At<Int<1, 1000>>,
}

impl Default for EndpointTable {
    fn default() -> Self {
        Self { url: None, weight: At::default_of(Int(1)) }
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = Endpoint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL, or a table with url and weight")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Endpoint, E> {
        let url = EndpointUrl::deserialize(StrDeserializer::new(text))?;
        Ok(Endpoint { url: Some(At::default_of(url)), weight: At::default_of(Int(1)) })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Endpoint, A::Error> {
        let EndpointTable { url, weight } = EndpointTable::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Endpoint { url, weight })
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EndpointVisitor)
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> Cow<'static, str> {
        "EndpointOrUrl".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<EndpointUrl>(), generator.subschema_for::<EndpointTable>()] })
    }
}

/// What is spoken to servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "UpstreamProtocol")]
pub(in super::super) enum Speaks {
    /// What ALPN picks over https; HTTP/1.1 over http.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 over TLS.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/2 in cleartext, by prior knowledge.
    #[serde(rename = "h2c")]
    H2c,
}

/// Who is asked next.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The less busy of two taken at random.
    #[default]
    P2c,
    /// The least busy.
    Least,
    /// The same server for the same key: client, path, header:NAME or cookie:NAME.
    Hash(Key),
}

/// Active checks.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Health {
    /// What is asked for by GET; any 2xx or 3xx is good.
    pub(in super::super) path: At<PathPrefix>,
    /// The host that is asked for; the server's own by default.
    pub(in super::super) host: Option<At<FieldValue>>,
    /// From the end of one check to the beginning of the next.
    pub(in super::super) every: At<Time>,
    /// Of one check.
    pub(in super::super) timeout: At<Time>,
    /// Good checks in a row that bring a server back.
    pub(in super::super) rise: At<Int<1, 1000>>,
    /// Bad checks in a row that take it out.
    pub(in super::super) fall: At<Int<1, 1000>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: At::default_of(PathPrefix("/".to_owned())),
            host: None,
            every: At::default_of(Time::secs(5)),
            timeout: At::default_of(Time::secs(1)),
            rise: At::default_of(Int(2)),
            fall: At::default_of(Int(3)),
        }
    }
}

/// Passive ejection.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Eject {
    /// Answers of 5xx or failures in a row.
    pub(in super::super) consecutive_failures: At<Int<1, 100_000>>,
    /// How long a server stays out; doubled each time in a row, up to ten times.
    #[serde(rename = "for")]
    pub(in super::super) time: At<Time>,
    /// The share of the servers that may be out at once, 0 to 1; at least one stays in.
    pub(in super::super) max_share: At<Share>,
}

impl Default for Eject {
    fn default() -> Self {
        Self {
            consecutive_failures: At::default_of(Int(5)),
            time: At::default_of(Time::secs(30)),
            max_share: At::default_of(Share(0.5)),
        }
    }
}

/// Asking again.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Retry {
    /// Tries beyond the first; 0 is none.
    pub(in super::super) attempts: At<Int<0, 10>>,
    /// What is tried again: connect, refused, unprocessed; of idempotent requests also reset and statuses.
    pub(in super::super) on: Vec<At<RetryWord>>,
    /// Retries as a share of requests over ten seconds, 0 to 1; three a second are always allowed.
    pub(in super::super) budget: At<Share>,
    /// The deadline of one try, to the head of its answer; off by default.
    pub(in super::super) per_try: Option<At<Time>>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: At::default_of(Int(2)),
            on: [RetryWord::Connect, RetryWord::Refused, RetryWord::Unprocessed].map(At::default_of).into(),
            budget: At::default_of(Share(0.2)),
            per_try: None,
        }
    }
}

/// Deadlines of an exchange with a server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "UpstreamTimeouts")]
pub(in super::super) struct Timeouts {
    /// TCP and TLS.
    pub(in super::super) connect: At<Time>,
    /// To the head of the response, extended while octets of the request move.
    pub(in super::super) response: At<Time>,
    /// As a listener's stall; never on gRPC and tunnels.
    pub(in super::super) stall: At<Time>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: At::default_of(Time::secs(2)),
            response: At::default_of(Time::secs(30)),
            stall: At::default_of(Time::secs(60)),
        }
    }
}

/// Connections that are kept open.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "UpstreamKeepalive")]
pub(in super::super) struct Keepalive {
    /// PING after this long without a sign of life (HTTP/2); 0 is off.
    pub(in super::super) ping: At<Time>,
    /// It must be answered in this time.
    pub(in super::super) timeout: At<Time>,
    /// A connection without a request is closed after this long.
    pub(in super::super) idle: At<Time>,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            ping: At::default_of(Time::secs(20)),
            timeout: At::default_of(Time::secs(10)),
            idle: At::default_of(Time::secs(90)),
        }
    }
}

/// How https servers are trusted.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct UpstreamTls {
    /// A PEM file of the authorities; the system's by default.
    pub(in super::super) ca: Option<At<FilePath>>,
    /// The name in SNI and certificate; the server's host by default.
    pub(in super::super) server_name: Option<At<Host>>,
    /// A PEM file of the certificate we show where we are asked; with key.
    pub(in super::super) cert: Option<At<FilePath>>,
    /// A PEM file of its private key; with cert.
    pub(in super::super) key: Option<At<FilePath>>,
}

/// Ceilings of a server, over all workers.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "UpstreamLimits")]
pub(in super::super) struct Limits {
    /// Connections at once.
    pub(in super::super) connections: At<Int<1, 1_000_000>>,
    /// Requests that may wait for a connection or a stream; more are answered 503.
    pub(in super::super) pending: At<Int<0, 1_000_000>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: At::default_of(Int(1024)), pending: At::default_of(Int(8192)) }
    }
}
