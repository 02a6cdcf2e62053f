//! `[[route]]`: which requests, what is changed about them, and what is done.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::config::at::{At, Many};
use crate::config::word::{
    Block, FieldName, FieldValue, FilePath, Host, Int, Label, MediaType, Method, PathPrefix, Pattern,
    PerSecond, RateKey, Size, StatusWord, Template, Time,
};

/// Where requests go: which, what is changed about them, and one action.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Route {
    /// A name of its own: label of metrics. Required.
    pub(in super::super) name: Option<At<Label>>,
    /// Which requests; without it all.
    #[serde(rename = "match")]
    pub(in super::super) matches: Match,
    /// Taken off the beginning of the path.
    pub(in super::super) strip_prefix: Option<At<PathPrefix>>,
    /// A new path, with {name} for parameters of match.path.
    pub(in super::super) rewrite: Option<At<Template>>,
    /// Edits of what is sent on.
    pub(in super::super) request_headers: HeaderEdits,
    /// Edits of what is answered.
    pub(in super::super) response_headers: HeaderEdits,
    /// 429 beyond it.
    pub(in super::super) rate_limit: Option<At<RateLimit>>,
    /// Octets of a request body; 413 beyond it.
    pub(in super::super) max_body: Option<At<Size>>,
    /// The deadline of the whole exchange; off by default.
    pub(in super::super) timeout: Option<At<Time>>,
    /// Blocks of addresses that may ask; others are answered 403. Either this or deny.
    pub(in super::super) allow: Option<At<Many<Block>>>,
    /// Blocks of addresses that are answered 403. Either this or allow.
    pub(in super::super) deny: Option<At<Many<Block>>>,
    /// Compression of answers: true, or a table.
    pub(in super::super) compress: Option<At<Compress>>,
    /// Bodies of errors that the gateway itself answers with, by status.
    pub(in super::super) errors: BTreeMap<StatusWord, At<ErrorBody>>,
    /// Plain CONNECT is sent on (with proxy alone).
    pub(in super::super) connect: At<bool>,
    /// The action: send the request on.
    pub(in super::super) proxy: Option<At<Proxy>>,
    /// The action: answer with files.
    pub(in super::super) files: Option<At<Files>>,
    /// The action: send the client elsewhere.
    pub(in super::super) redirect: Option<At<Redirect>>,
    /// The action: a fixed answer.
    pub(in super::super) respond: Option<At<Respond>>,
    /// The action: the demo site.
    pub(in super::super) demo: Option<At<Demo>>,
}

/// Which requests: all that fit everything said here.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Match {
    /// Hosts, one or a list; `*.` and a name is all below it.
    pub(in super::super) host: Many<Host>,
    /// A pattern of the path: /api/{*rest}, /users/{id}.
    pub(in super::super) path: Option<At<Pattern>>,
    /// Methods.
    pub(in super::super) methods: Many<Method>,
    /// Fields with their values; true is any value.
    pub(in super::super) headers: BTreeMap<FieldName, HeaderTest>,
    /// Names of listeners, one or a list.
    pub(in super::super) listener: Many<Label>,
}

/// What a field must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum HeaderTest {
    /// Anything.
    Present,
    Is(FieldValue),
}

struct HeaderTestVisitor;

impl Visitor<'_> for HeaderTestVisitor {
    type Value = HeaderTest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of a field, or true")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HeaderTest, E> {
        FieldValue::deserialize(StrDeserializer::new(text)).map(HeaderTest::Is)
    }

    fn visit_bool<E: serde::de::Error>(self, there: bool) -> Result<HeaderTest, E> {
        match there {
            true => Ok(HeaderTest::Present),
            false => Err(E::invalid_value(serde::de::Unexpected::Bool(false), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderTest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeaderTestVisitor)
    }
}

impl Serialize for HeaderTest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Present => serializer.serialize_bool(true),
            Self::Is(value) => value.serialize(serializer),
        }
    }
}

impl JsonSchema for HeaderTest {
    fn schema_name() -> Cow<'static, str> {
        "HeaderTest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "const": true }] })
    }
}

/// Edits of fields: remove, then set, then add.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct HeaderEdits {
    /// In place of what was there.
    pub(in super::super) set: BTreeMap<FieldName, At<FieldValue>>,
    /// Beside what was there.
    pub(in super::super) add: BTreeMap<FieldName, At<FieldValue>>,
    /// Names.
    pub(in super::super) remove: Many<FieldName>,
}

/// So many requests.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct RateLimit {
    /// Whose requests are counted together.
    pub(in super::super) per: At<RateKey>,
    /// Requests a second. Required.
    pub(in super::super) rate: Option<At<PerSecond>>,
    /// Requests at once after a pause; the rate by default.
    pub(in super::super) burst: Option<At<Int<1, { u32::MAX }>>>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per: At::default_of(RateKey(crate::config::RatePer::Client)), rate: None, burst: None }
    }
}

/// Compression of answers.
#[derive(Clone, Debug)]
pub(in super::super) enum Compress {
    /// `true` and `false`.
    Switch(bool),
    Table(CompressTable),
}

/// Compression of answers.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Compress")]
pub(in super::super) struct CompressTable {
    /// Codings in order of preference where the client has none.
    pub(in super::super) encodings: Vec<Coding>,
    /// Octets below which it is not worth it.
    pub(in super::super) min_bytes: At<Size>,
    /// Media types; text/* is all of its kind.
    pub(in super::super) types: Vec<At<MediaType>>,
}

/// What is worth compressing.
const TYPES: [&str; 9] = [
    "text/*",
    "application/json",
    "application/problem+json",
    "application/javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/manifest+json",
    "application/wasm",
    "image/svg+xml",
];

impl Default for CompressTable {
    fn default() -> Self {
        Self {
            encodings: vec![Coding::Brotli, Coding::Zstd, Coding::Gzip],
            min_bytes: At::default_of(Size(1 << 10)),
            types: TYPES.iter().map(|name| At::default_of(MediaType((*name).to_owned()))).collect(),
        }
    }
}

struct CompressVisitor;

impl<'de> Visitor<'de> for CompressVisitor {
    type Value = Compress;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a table")
    }

    fn visit_bool<E>(self, on: bool) -> Result<Compress, E> {
        Ok(Compress::Switch(on))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Compress, A::Error> {
        CompressTable::deserialize(MapAccessDeserializer::new(map)).map(Compress::Table)
    }
}

impl<'de> Deserialize<'de> for Compress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CompressVisitor)
    }
}

impl Serialize for Compress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Switch(on) => serializer.serialize_bool(*on),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

impl JsonSchema for Compress {
    fn schema_name() -> Cow<'static, str> {
        "CompressOrSwitch".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, generator.subschema_for::<CompressTable>()] })
    }
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in super::super) enum Coding {
    /// Brotli.
    #[serde(rename = "br")]
    Brotli,
    /// Zstandard.
    #[serde(rename = "zstd")]
    Zstd,
    /// Gzip.
    #[serde(rename = "gzip")]
    Gzip,
}

/// What an error says.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct ErrorBody {
    /// A file with the body, read when the configuration is. Required.
    pub(in super::super) file: Option<At<FilePath>>,
    /// Its content-type; by default what the name of the file says.
    pub(in super::super) content_type: Option<At<FieldValue>>,
}

/// Send the request on.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Proxy {
    /// The name of an upstream. Required.
    pub(in super::super) upstream: Option<At<Label>>,
    /// The authority that the upstream sees; the client's by default.
    pub(in super::super) host: Option<At<FieldValue>>,
}

/// Answer with files.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Files {
    /// The directory. Required.
    pub(in super::super) root: Option<At<FilePath>>,
    /// Names of files that answer for a directory, tried in turn.
    pub(in super::super) index: Vec<At<FilePath>>,
    /// Codings looked for beside a file, in this order.
    pub(in super::super) precompressed: Vec<Coding>,
    /// List directories without an index.
    pub(in super::super) listing: bool,
    /// The cache-control of every file; none by default.
    pub(in super::super) cache_control: Option<At<FieldValue>>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            root: None,
            index: vec![At::default_of(FilePath("index.html".to_owned()))],
            precompressed: vec![Coding::Brotli, Coding::Zstd, Coding::Gzip],
            listing: false,
            cache_control: None,
        }
    }
}

/// Send the client elsewhere. What is not said stays as it was.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Redirect {
    /// The scheme.
    pub(in super::super) scheme: Option<Scheme>,
    /// The host, with a port where it has one.
    pub(in super::super) host: Option<At<FieldValue>>,
    /// The path, with {name} for parameters of match.path; the query is kept.
    pub(in super::super) path: Option<At<Template>>,
    /// 301, 302, 303, 307 or 308.
    pub(in super::super) status: At<Int<300, 399>>,
}

impl Default for Redirect {
    fn default() -> Self {
        Self { scheme: None, host: None, path: None, status: At::default_of(Int(308)) }
    }
}

/// A scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Scheme {
    /// http.
    Http,
    /// https.
    Https,
}

/// A fixed answer.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Respond {
    /// 200 to 599.
    pub(in super::super) status: At<Int<200, 599>>,
    /// The body.
    pub(in super::super) body: At<String>,
    /// Fields.
    pub(in super::super) headers: BTreeMap<FieldName, At<FieldValue>>,
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: At::default_of(Int(200)), body: At::default(), headers: BTreeMap::new() }
    }
}

/// The demo site.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Demo {}
