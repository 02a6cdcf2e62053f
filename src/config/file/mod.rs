//! The file as it is written: a struct a table, every key with its default. The words of the documentation here are those
//! of the schema. Knows no other keys: what it cannot hold is an error of the reader.

mod listener;
mod route;
mod upstream;

pub(super) use listener::{ClientAuth, Listener, MinVersion, Protocol, ProxyHeader, Tls};
pub(super) use route::{
    Coding, Compress, CompressTable, Files, HeaderEdits, HeaderTest, Proxy, Redirect, Respond, Route, Scheme,
};
pub(super) use upstream::{Balance, Speaks, Upstream, UpstreamTls};

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::at::At;
use super::diagnostic::Code;
use super::problem::Problem;
use super::word::{AdminAt, Block, FieldName, FilePath, Filter, Int, ServerAddress, Time, Word as _};

/// The configuration of stagedoor.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Stagedoor")]
pub(super) struct File {
    /// The process.
    pub(super) server: Server,
    /// Where the process is looked at.
    pub(super) admin: Admin,
    /// What is logged.
    pub(super) log: Log,
    /// The rows of live sessions and streams among the metrics.
    pub(super) metrics: Metrics,
    /// Where connections are taken; at least one.
    pub(super) listener: Vec<At<Listener>>,
    /// Servers that requests are sent on to.
    pub(super) upstream: Vec<At<Upstream>>,
    /// Where requests go.
    pub(super) route: Vec<At<Route>>,
}

/// The process.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Server {
    /// Threads that serve, 1 to 1024; "auto" is one a core.
    pub(super) workers: At<Workers>,
    /// How the process goes down.
    pub(super) drain: Drain,
    /// Blocks of addresses whose Forwarded, X-Forwarded-* and PROXY headers are believed.
    pub(super) trusted_proxies: Vec<At<Block>>,
    /// Servers of DNS that are asked for TTL and SRV; none is the system's.
    pub(super) dns_servers: Vec<At<ServerAddress>>,
}

/// How many threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Workers {
    #[default]
    Auto,
    Number(u16),
}

const AUTO: &str = "auto";

struct WorkersVisitor;

impl Visitor<'_> for WorkersVisitor {
    type Value = Workers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or a whole number")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Workers, E> {
        match text {
            AUTO => Ok(Workers::Auto),
            _ => Err(E::custom(
                Problem::new(
                    Code::UnknownValue,
                    "is not a number of threads",
                    "neither \"auto\" nor a number",
                )
                .help("workers = \"auto\" takes one a core, workers = 2 takes two"),
            )),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Workers, E> {
        let within = u16::try_from(number).ok().filter(|number| (1..=1024).contains(number));
        within.map(Workers::Number).ok_or_else(|| {
            E::custom(Problem::new(Code::OutOfRange, "is out of range", "must be between 1 and 1024"))
        })
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WorkersVisitor)
    }
}

impl Serialize for Workers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(AUTO),
            Self::Number(number) => serializer.serialize_u16(*number),
        }
    }
}

impl JsonSchema for Workers {
    fn schema_name() -> Cow<'static, str> {
        "Workers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": AUTO }, { "type": "integer", "minimum": 1, "maximum": 1024 }] })
    }
}

/// How the process goes down.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Drain {
    /// How long connections are still accepted after readiness failed.
    pub(super) min_accept: At<Time>,
    /// How long streams may go on then.
    pub(super) timeout: At<Time>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { min_accept: At::default_of(Time::secs(5)), timeout: At::default_of(Time::secs(30)) }
    }
}

/// Where the process is looked at.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    /// Where the admin API, its page and the metrics are served; "off" is nowhere. Any but a loopback address or a Unix socket needs token_file.
    pub(super) bind: At<AdminAt>,
    /// A file whose first line everyone who asks must know.
    pub(super) token_file: Option<At<FilePath>>,
}

impl Default for Admin {
    fn default() -> Self {
        let loopback = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 9901));
        Self { bind: At::default_of(AdminAt(Some(super::Bind::Tcp(loopback)))), token_file: None }
    }
}

/// What is logged.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    /// A level (error, warn, info, debug, trace, off) or a filter as in info,hyper=debug.
    pub(super) level: At<Filter>,
    /// The access log.
    pub(super) access: Access,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: At::default_of(Filter("info".to_owned())), access: Access::default() }
    }
}

/// The access log.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Access {
    /// How its lines look.
    pub(super) format: Format,
    /// A file; "-" is standard output.
    pub(super) path: At<FilePath>,
    /// Fields whose values are never shown, in logs, taps, recorder and API.
    pub(super) redact: Vec<At<FieldName>>,
    /// Show the queries of paths.
    pub(super) show_query: bool,
}

impl Default for Access {
    fn default() -> Self {
        let hidden = |name: &str| FieldName::read(name).ok().map(At::default_of);
        Self {
            format: Format::default(),
            path: At::default_of(FilePath("-".to_owned())),
            redact: ["authorization", "cookie"].into_iter().filter_map(hidden).collect(),
            show_query: false,
        }
    }
}

/// How lines of the access log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AccessFormat")]
pub(super) enum Format {
    /// An object a line.
    #[default]
    Json,
    /// Common Log Format.
    Common,
    /// Combined Log Format.
    Combined,
    /// No access log.
    Off,
}

/// The rows of live sessions and streams among the metrics.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Metrics {
    /// Rows of sessions.
    pub(super) sessions: SessionRows,
    /// Rows of streams.
    pub(super) streams: StreamRows,
}

/// Rows of sessions.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SessionRows {
    /// Rows at once.
    pub(super) max: At<Int<0, 100_000>>,
    /// Who is younger has no row.
    pub(super) min_age: At<Time>,
    /// New rows in any minute.
    pub(super) new_per_minute: At<Int<0, 100_000>>,
    /// What names a row, of sessions and of streams.
    pub(super) label_mode: LabelMode,
}

impl Default for SessionRows {
    fn default() -> Self {
        Self {
            max: At::default_of(Int(256)),
            min_age: At::default_of(Time::secs(10)),
            new_per_minute: At::default_of(Int(30)),
            label_mode: LabelMode::default(),
        }
    }
}

/// Rows of streams.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StreamRows {
    /// Rows at once.
    pub(super) max: At<Int<0, 100_000>>,
    /// Who is younger has no row.
    pub(super) min_age: At<Time>,
    /// New rows in any minute.
    pub(super) new_per_minute: At<Int<0, 100_000>>,
}

impl Default for StreamRows {
    fn default() -> Self {
        Self {
            max: At::default_of(Int(256)),
            min_age: At::default_of(Time::secs(5)),
            new_per_minute: At::default_of(Int(30)),
        }
    }
}

/// What names a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LabelMode {
    /// Its id, which no other row ever has.
    #[default]
    Id,
    /// A small number, free again later: few series over months.
    Slot,
    /// Nothing: there are no rows.
    Off,
}
