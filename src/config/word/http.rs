//! Words of HTTP: fields, methods, paths, statuses, media types; and the small languages around them.

use std::fmt;

use schemars::{Schema, json_schema};

use super::super::diagnostic::Code;
use super::super::model::{HashKey, RatePer};
use super::super::problem::Problem;
use super::Word;

/// A name of a field, lower case (RFC 9110 §5.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct FieldName(pub(in super::super) String);

/// A value of a field (RFC 9110 §5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct FieldValue(pub(in super::super) String);

/// A method (RFC 9110 §9.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Method(pub(in super::super) String);

/// A pattern of paths: `/api/{*rest}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Pattern(pub(in super::super) String);

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct PathPrefix(pub(in super::super) String);

/// A path with `{name}` for parameters of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Template(pub(in super::super) String);

/// A media type, or `text/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct MediaType(pub(in super::super) String);

/// A status of an error, as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct StatusWord(pub(in super::super) u16);

/// A filter of logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Filter(pub(in super::super) String);

/// What requests are told apart by: `client`, `path`, `header:x-user`, `cookie:session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Key(pub(in super::super) HashKey);

/// Whose requests are counted together: `client`, `header:x-user`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct RateKey(pub(in super::super) RatePer);

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum RetryWord {
    Connect,
    Refused,
    Unprocessed,
    Reset,
    Status(u16),
}

super::words!(
    FieldName, FieldValue, Method, Pattern, PathPrefix, Template, MediaType, StatusWord, Filter, Key,
    RateKey, RetryWord
);

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let sign = |sign: u8| sign.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&sign);
    !text.is_empty() && text.len() <= 256 && text.bytes().all(sign)
}

impl Word for FieldName {
    const NAME: &'static str = "FieldName";
    const WHAT: &'static str = "the name of a field";

    fn read(text: &str) -> Result<Self, Problem> {
        match is_token(text) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(Problem::new(
                Code::BadHeader,
                "is not the name of a field",
                "letters, digits and '-' alone",
            )),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "The name of a field, in either case.", "examples": ["x-user"] })
    }
}

impl Word for FieldValue {
    const NAME: &'static str = "FieldValue";
    const WHAT: &'static str = "the value of a field";

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: &str| Err(Problem::new(Code::BadHeader, "is not the value of a field", label));
        if text.bytes().any(|sign| (sign < 0x20 && sign != b'\t') || sign == 0x7f) {
            return bad("line ends and control characters may not be sent");
        }
        if text.trim_matches([' ', '\t']) != text {
            return bad("white space around a value is not sent");
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "The value of a field." })
    }
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

impl Word for Method {
    const NAME: &'static str = "Method";
    const WHAT: &'static str = "a method such as \"GET\"";

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: &str| Problem::new(Code::BadMethod, "is not a method", label);
        if !is_token(text) {
            return Err(bad("letters alone, as in GET"));
        }
        match METHODS.iter().find(|method| method.eq_ignore_ascii_case(text)) {
            Some(method) if *method != text => {
                Err(bad("methods are told apart by case").help(format!("did you mean {method:?}?")))
            }
            _ => Ok(Self(text.to_owned())),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A method, in capitals.", "examples": ["GET", "POST"] })
    }
}

/// What keeps a text from being a path, if something does.
fn not_a_path(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("it is empty"),
        _ if !text.starts_with('/') => Some("a path begins with '/'"),
        _ if text.contains(['?', '#']) => Some("a path ends before '?' and '#'"),
        _ if !text.bytes().all(|sign| sign.is_ascii_graphic()) => {
            Some("spaces and other than ASCII are written as %20")
        }
        _ => None,
    }
}

impl Word for PathPrefix {
    const NAME: &'static str = "UrlPath";
    const WHAT: &'static str = "a path such as \"/api\"";

    fn read(text: &str) -> Result<Self, Problem> {
        match not_a_path(text) {
            None => Ok(Self(text.to_owned())),
            Some(label) => Err(Problem::new(Code::BadPath, "is not a path", label)),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^/[^?#]*$", "examples": ["/api"] })
    }
}

impl Word for Pattern {
    const NAME: &'static str = "Pattern";
    const WHAT: &'static str = "a pattern such as \"/api/{*rest}\"";

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: &str| {
            Problem::new(Code::BadPattern, "is not a pattern of paths", label).help(
                "a pattern looks like /users, /users/{id} or /files/{*rest}; braces themselves are {{ and }}",
            )
        };
        if let Some(label) = not_a_path(text) {
            return Err(bad(label));
        }
        use matchit::InsertError as Error;
        matchit::Router::new().insert(text, ()).map_err(|error| match error {
            Error::InvalidParamSegment => bad("one parameter in a segment"),
            Error::InvalidParam => bad("a parameter is a name in braces: {id}"),
            Error::InvalidCatchAll => bad("what takes the rest stands at the end: {*rest}"),
            _ => bad("this cannot be read"),
        })?;
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A path with {name} for a segment and {*name} for the rest.", "pattern": "^/", "examples": ["/api/{*rest}", "/users/{id}"] })
    }
}

impl Pattern {
    /// Its parameters.
    pub(in super::super) fn parameters(&self) -> Vec<&str> {
        parameters(&self.0).unwrap_or_default().into_iter().map(|name| name.trim_start_matches('*')).collect()
    }
}

impl Template {
    /// The parameters it asks for.
    pub(in super::super) fn parameters(&self) -> Vec<&str> {
        parameters(&self.0).unwrap_or_default()
    }
}

/// What stands in single braces; `None` where they do not pair.
fn parameters(text: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (brace, after) = (rest.get(at..=at)?, rest.get(at + 1..)?);
        rest = if let Some(escaped) = after.strip_prefix(brace) {
            escaped
        } else if brace == "{" {
            let (name, after) = after.split_once('}')?;
            names.push(name);
            after
        } else {
            return None;
        };
    }
    Some(names)
}

impl Word for Template {
    const NAME: &'static str = "Template";
    const WHAT: &'static str = "a path such as \"/new/{rest}\"";

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: &str| {
            Problem::new(Code::BadPath, "is not a path", label)
                .help("a path looks like /new or /new/{rest}, with parameters of the pattern; braces themselves are {{ and }}")
        };
        if let Some(label) = not_a_path(text) {
            return Err(bad(label));
        }
        match parameters(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(bad("braces come in pairs")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A path with {name} for parameters of the pattern.", "pattern": "^/", "examples": ["/new/{rest}"] })
    }
}

impl Word for MediaType {
    const NAME: &'static str = "MediaType";
    const WHAT: &'static str = "a media type such as \"text/html\"";

    fn read(text: &str) -> Result<Self, Problem> {
        match text.split_once('/') {
            Some((kind, sub)) if is_token(kind) && kind != "*" && is_token(sub) => {
                Ok(Self(text.to_ascii_lowercase()))
            }
            _ => Err(Problem::new(Code::BadMediaType, "is not a media type", "no such type")
                .help("a media type looks like application/json, or text/* for all of a kind")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A media type; text/* is all of its kind.", "examples": ["text/*", "application/json"] })
    }
}

impl Word for StatusWord {
    const NAME: &'static str = "ErrorStatus";
    const WHAT: &'static str = "a status from 400 to 599";
    const NUMBERS: bool = true;

    fn read(text: &str) -> Result<Self, Problem> {
        let status = text.parse().ok().filter(|status| (400..=599).contains(status) && text.len() == 3);
        let bad = || Problem::new(Code::BadStatus, "is not a status of an error", "400 to 599");
        status.map(Self).ok_or_else(bad)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A status of an error.", "pattern": "^[45][0-9][0-9]$" })
    }
}

impl Word for Filter {
    const NAME: &'static str = "LogFilter";
    const WHAT: &'static str = "a level such as \"info\", or a filter";

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: String| {
            Problem::new(Code::BadFilter, "is not a filter of logs", label)
                .help(crate::filter::BadFilter::WAY_OUT)
        };
        if text.trim().is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        match crate::filter::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(bad(error.to_string())),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "A level, or targets with levels.", "examples": ["info", "info,hyper=debug"] })
    }
}

/// `header:NAME` or `cookie:NAME`.
fn named<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    text.strip_prefix(kind)?.strip_prefix(':').filter(|name| is_token(name))
}

impl Word for Key {
    const NAME: &'static str = "HashKey";
    const WHAT: &'static str = "a key such as \"header:x-user\"";

    fn read(text: &str) -> Result<Self, Problem> {
        let key = match text {
            "client" => Some(HashKey::Client),
            "path" => Some(HashKey::Path),
            _ => named(text, "header")
                .map(|name| HashKey::Header(name.to_ascii_lowercase()))
                .or_else(|| named(text, "cookie").map(|name| HashKey::Cookie(name.to_owned()))),
        };
        key.map(Self).ok_or_else(|| {
            Problem::new(Code::BadKey, "is not a key to balance by", "no such key")
                .help("a key is client, path, header:NAME or cookie:NAME")
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "client, path, header:NAME or cookie:NAME.", "pattern": "^(client|path|header:.+|cookie:.+)$" })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            HashKey::Client => f.write_str("client"),
            HashKey::Path => f.write_str("path"),
            HashKey::Header(name) => write!(f, "header:{name}"),
            HashKey::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

impl Word for RateKey {
    const NAME: &'static str = "RateKey";
    const WHAT: &'static str = "a key such as \"client\"";

    fn read(text: &str) -> Result<Self, Problem> {
        let key = match text {
            "client" => Some(RatePer::Client),
            _ => named(text, "header").map(|name| RatePer::Header(name.to_ascii_lowercase())),
        };
        key.map(Self).ok_or_else(|| {
            Problem::new(Code::BadKey, "is not a key to count by", "no such key")
                .help("a key is client or header:NAME")
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "description": "client or header:NAME.", "pattern": "^(client|header:.+)$" })
    }
}

impl fmt::Display for RateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            RatePer::Client => f.write_str("client"),
            RatePer::Header(name) => write!(f, "header:{name}"),
        }
    }
}

impl Word for RetryWord {
    const NAME: &'static str = "RetryOn";
    const WHAT: &'static str = "what to try again, such as \"connect\" or \"503\"";
    const NUMBERS: bool = true;

    fn read(text: &str) -> Result<Self, Problem> {
        match text {
            "connect" => Ok(Self::Connect),
            "refused" => Ok(Self::Refused),
            "unprocessed" => Ok(Self::Unprocessed),
            "reset" => Ok(Self::Reset),
            _ => match StatusWord::read(text) {
                Ok(StatusWord(status)) => Ok(Self::Status(status)),
                Err(_) => Err(Problem::new(
                    Code::UnknownValue,
                    "says what is not tried again",
                    "no such reason",
                )
                .help("known reasons: connect, refused, unprocessed, reset, and statuses from 400 to 599")),
            },
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "connect, refused, unprocessed, reset or a status of an error.", "minimum": 400, "maximum": 599, "pattern": "^(connect|refused|unprocessed|reset|[45][0-9][0-9])$" })
    }
}

impl fmt::Display for RetryWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Refused => f.write_str("refused"),
            Self::Unprocessed => f.write_str("unprocessed"),
            Self::Reset => f.write_str("reset"),
            Self::Status(status) => status.fmt(f),
        }
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! shown_as_text {
    ($($word:ty),*) => { $(
        impl fmt::Display for $word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}

shown_as_text!(FieldName, FieldValue, Method, Pattern, PathPrefix, Template, MediaType, Filter);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<W: Word + fmt::Debug>(texts: &[&str], code: Code) {
        for text in texts {
            assert_eq!(W::read(text).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn fields_cannot_split_a_message() {
        assert_eq!(FieldName::read("X-User").unwrap().0, "x-user");
        refused::<FieldName>(&["", "a b", "a:b", ":path", "ä", "a\n"], Code::BadHeader);
        assert!(FieldValue::read("").is_ok() && FieldValue::read("text/plain; q=0.5\tö").is_ok());
        refused::<FieldValue>(&["a\r\nb: c", "a\n", "\0", " a", "a ", "\u{7f}"], Code::BadHeader);
    }

    #[test]
    fn methods_are_capitals_where_they_are_known() {
        assert!(Method::read("GET").is_ok() && Method::read("purge").is_ok());
        refused::<Method>(&["", "get", "Post", "G T"], Code::BadMethod);
    }

    #[test]
    fn patterns_are_those_of_the_router() {
        assert_eq!(Pattern::read("/a/{id}/{*rest}").unwrap().parameters(), ["id", "rest"]);
        assert_eq!(Pattern::read("/{{a}}/{b}").unwrap().parameters(), ["b"]);
        let bad = ["", "a", "/{", "/{}", "/{a}{b}", "/{*a}/b", "/a?b", "/a b", "/}", "/ä"];
        refused::<Pattern>(&bad, Code::BadPattern);
        assert_eq!(Template::read("/{a}/x{b}").unwrap().parameters(), ["a", "b"]);
        refused::<Template>(&["", "x", "/{a", "/a}", "/a#b"], Code::BadPath);
        refused::<PathPrefix>(&["", "api", "/a?b"], Code::BadPath);
    }

    #[test]
    fn keys_and_reasons_read_as_they_are_shown() {
        for text in ["client", "path", "header:x-user", "cookie:Session"] {
            assert_eq!(Key::read(text).unwrap().to_string(), text);
        }
        refused::<Key>(&["", "header:", "header", "cookie:a b", "address"], Code::BadKey);
        refused::<RateKey>(&["", "path", "header:"], Code::BadKey);
        for text in ["connect", "refused", "unprocessed", "reset", "503"] {
            assert_eq!(RetryWord::read(text).unwrap().to_string(), text);
        }
        refused::<RetryWord>(&["", "200", "timeout", "0503"], Code::UnknownValue);
        refused::<StatusWord>(&["399", "600", "x", "", "+502"], Code::BadStatus);
    }

    #[test]
    fn filters_and_types() {
        assert!(Filter::read("info,hyper=debug").is_ok());
        refused::<Filter>(&["", " ", "info,=x="], Code::BadFilter);
        assert_eq!(MediaType::read("Text/*").unwrap().0, "text/*");
        refused::<MediaType>(&["", "text", "*/*", "text/", "a b/c"], Code::BadMediaType);
    }
}
