//! What may be sent (RFC 9113 §8, RFC 9110 §5): the one place where heads and trailers of our own are judged.
//!
//! Pure: knows no connection and changes nothing, so that an owner can ask before it queues. The connection asks here
//! too, once for each head. By the rules of receipt and a few more: what we send, no peer may find malformed.

use crate::error::UserError;
use crate::fields::Fields;
use crate::hpack::token;
use crate::message::{Malformed, RequestHead, ResponseHead};
use crate::syntax::{is_authority, is_field_name, is_field_value, parse_content_length};

/// A field that must not be sent, and the rule it breaks.
///
/// ```
/// use stagedoor_protocol::{Fields, UserError};
///
/// let Err(UserError::InvalidField(error)) = Fields::from_iter([(":path", "/")]).check_trailers(true) else {
///     unreachable!("trailers have no pseudo-header fields");
/// };
/// assert_eq!(error.name, ":path");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?}: {rule}")]
pub struct FieldError {
    /// Its name, the first 64 octets of it, with what is not printable escaped.
    pub name: String,
    /// The rule.
    pub rule: Malformed,
}

/// Where fields stand.
const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const TRAILERS: u8 = 2;

impl RequestHead {
    /// Whether this request can be sent, but for what the connection alone knows (whether the peer takes extended
    /// CONNECT). `strict` as in [`crate::Config::strict_single_value_fields`].
    /// # Errors
    /// [`UserError::InvalidField`] names the field and the rule, [`UserError::RepeatedField`] a field that may be
    /// there once.
    pub fn check(&self, strict: bool) -> Result<(), UserError> {
        self.check_to_send(strict, true).map(drop)
    }

    pub(crate) fn check_to_send(
        &self,
        strict: bool,
        connect_protocol: bool,
    ) -> Result<Option<u64>, UserError> {
        let length = check_fields::<REQUEST>(self.fields(), strict)?;
        let host = || self.fields().iter().find(|field| field.token == token::HOST).map(|field| field.value);
        self.judge_values().and_then(|()| self.judge(host())).map_err(|rule| refuse(subject(rule), rule))?;
        if self.protocol().is_some() && !connect_protocol {
            return Err(refuse(b":protocol", Malformed::ExtendedConnect));
        }
        Ok(length)
    }
}

impl ResponseHead {
    /// Whether this can be sent as the final head of a response.
    /// # Errors
    /// [`UserError::InvalidStatus`] outside 200 to 599; else as [`RequestHead::check`].
    pub fn check(&self, strict: bool) -> Result<(), UserError> {
        self.check_to_send(strict).map(drop)
    }

    #[inline]
    pub(crate) fn check_to_send(&self, strict: bool) -> Result<Option<u64>, UserError> {
        if !(200..600).contains(&self.status) {
            return Err(UserError::InvalidStatus(self.status));
        }
        check_fields::<RESPONSE>(&self.fields, strict)
    }

    /// Whether this can be sent as an informational head.
    /// # Errors
    /// [`UserError::InvalidStatus`] outside 100 to 199, and for 101, which HTTP/2 does not have (RFC 9113 §8.6); else
    /// as [`RequestHead::check`].
    pub fn check_informational(&self, strict: bool) -> Result<(), UserError> {
        if self.status == 101 || !(100..200).contains(&self.status) {
            return Err(UserError::InvalidStatus(self.status));
        }
        check_fields::<RESPONSE>(&self.fields, strict).map(drop)
    }
}

impl Fields {
    /// Whether these can be sent as trailers.
    /// # Errors
    /// As [`RequestHead::check`]; pseudo-header fields and content-length (RFC 9110 §6.5.1) are among the refused.
    pub fn check_trailers(&self, strict: bool) -> Result<(), UserError> {
        check_fields::<TRAILERS>(self, strict).map(drop)
    }
}

/// Names of the static table that a message has once, as bits by token.
const ONCE: u64 = 1 << token::AGE
    | 1 << token::AUTHORIZATION
    | 1 << token::CONTENT_ENCODING
    | 1 << token::CONTENT_LANGUAGE
    | 1 << token::CONTENT_LENGTH
    | 1 << token::CONTENT_LOCATION
    | 1 << token::CONTENT_RANGE
    | 1 << token::CONTENT_TYPE
    | 1 << token::DATE
    | 1 << token::ETAG
    | 1 << token::EXPIRES
    | 1 << token::FROM
    | 1 << token::HOST
    | 1 << token::IF_MATCH
    | 1 << token::IF_MODIFIED_SINCE
    | 1 << token::IF_NONE_MATCH
    | 1 << token::IF_RANGE
    | 1 << token::IF_UNMODIFIED_SINCE
    | 1 << token::LAST_MODIFIED
    | 1 << token::LOCATION
    | 1 << token::MAX_FORWARDS
    | 1 << token::PROXY_AUTHORIZATION
    | 1 << token::RANGE
    | 1 << token::REFERER
    | 1 << token::RETRY_AFTER
    | 1 << token::USER_AGENT;

/// What a name without a token is to a sender.
#[derive(Clone, Copy)]
enum Unlisted {
    Any,
    /// Speaks of an HTTP/1.1 connection (§8.2.2).
    Connection,
    Te,
    /// A message has it once: a bit of its own.
    Once(u64),
}

#[inline]
fn unlisted(name: &[u8]) -> Unlisted {
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"upgrade" | b"http2-settings" => {
            Unlisted::Connection
        }
        b"te" => Unlisted::Te,
        b"access-control-allow-credentials" => Unlisted::Once(1),
        b"access-control-max-age" => Unlisted::Once(1 << 1),
        b"access-control-request-method" => Unlisted::Once(1 << 2),
        b"content-md5" => Unlisted::Once(1 << 3),
        b"dnt" => Unlisted::Once(1 << 4),
        b"tk" => Unlisted::Once(1 << 5),
        b"upgrade-insecure-requests" => Unlisted::Once(1 << 6),
        b"x-content-type-options" => Unlisted::Once(1 << 7),
        _ => Unlisted::Any,
    }
}

/// Judges each field, and what they are together; tells content-length on the way.
fn check_fields<const PLACE: u8>(fields: &Fields, strict: bool) -> Result<Option<u64>, UserError> {
    let mut declared: Option<u64> = None;
    // A bit for each name seen: by token, and those of `Unlisted::Once`.
    let (mut seen, mut again) = (0u64, 0u64);
    let (mut seen_unlisted, mut again_unlisted) = (0u64, 0u64);
    for (field, received) in fields.iter_received() {
        let bit = 1u64 << (field.token & 63);
        again |= seen & bit;
        seen |= bit;
        match field.token {
            0 => {
                if !received && !is_field_name(field.name) {
                    return Err(refuse(field.name, wrong_name(field.name)));
                }
                match unlisted(field.name) {
                    Unlisted::Any => {}
                    Unlisted::Once(bit) => {
                        again_unlisted |= seen_unlisted & bit;
                        seen_unlisted |= bit;
                    }
                    // The one that means something in HTTP/2 too, in requests.
                    Unlisted::Te if PLACE == REQUEST && field.value.eq_ignore_ascii_case(b"trailers") => {}
                    Unlisted::Te | Unlisted::Connection => {
                        return Err(refuse(field.name, Malformed::ConnectionSpecific));
                    }
                }
            }
            // The first tokens are the pseudo-header fields.
            1..=token::STATUS => return Err(refuse(field.name, Malformed::PseudoField)),
            token::TRANSFER_ENCODING => return Err(refuse(field.name, Malformed::ConnectionSpecific)),
            token::CONTENT_LENGTH => {
                let length = parse_content_length(field.value).map_err(|rule| refuse(field.name, rule))?;
                if PLACE == TRAILERS || declared.is_some_and(|other| other != length) {
                    return Err(refuse(field.name, Malformed::ContentLength));
                }
                declared = Some(length);
            }
            token::HOST if PLACE == REQUEST => {
                let valid = is_authority(field.value) && !field.value.contains(&b'@');
                if !valid || again & 1 << token::HOST != 0 {
                    return Err(refuse(field.name, Malformed::PseudoValue("host")));
                }
            }
            _ => {}
        }
        if !received && !is_field_value(field.value) {
            return Err(refuse(field.name, Malformed::FieldValue));
        }
    }
    if strict && (again & ONCE) | again_unlisted != 0 {
        return Err(repeated(fields));
    }
    Ok(declared)
}

/// A name that is no field name: a pseudo-header field among the others, or no token in lower case.
#[cold]
fn wrong_name(name: &[u8]) -> Malformed {
    if name.first() == Some(&b':') { Malformed::PseudoField } else { Malformed::FieldName }
}

#[cold]
fn refuse(name: &[u8], rule: Malformed) -> UserError {
    let name = name[..name.len().min(64)].escape_ascii().to_string();
    UserError::InvalidField(Box::new(FieldError { name, rule }))
}

/// The field that a rule about several speaks of.
#[cold]
fn subject(rule: Malformed) -> &'static [u8] {
    match rule {
        Malformed::MissingPseudo(name) | Malformed::PseudoValue(name) | Malformed::ConnectPseudo(name) => {
            name.as_bytes()
        }
        Malformed::HostMismatch => b"host",
        Malformed::ExtendedConnect => b":protocol",
        _ => b"",
    }
}

/// The first field that may be there once and is there again.
#[cold]
fn repeated(fields: &Fields) -> UserError {
    let once = |field: &crate::fields::Field<'_>| match field.token {
        0 => matches!(unlisted(field.name), Unlisted::Once(_)),
        token => ONCE & 1 << token != 0,
    };
    let mut names = Vec::new();
    for field in fields.iter().filter(once) {
        if names.contains(&field.name) {
            return UserError::RepeatedField(String::from_utf8_lossy(field.name).into_owned());
        }
        names.push(field.name);
    }
    UserError::RepeatedField(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the static table; the others are in [`unlisted`].
    const ONCE_NAMES: [&str; 26] = [
        "age",
        "authorization",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expires",
        "from",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "last-modified",
        "location",
        "max-forwards",
        "proxy-authorization",
        "range",
        "referer",
        "retry-after",
        "user-agent",
    ];
    const ONCE_UNLISTED: [&str; 8] = [
        "access-control-allow-credentials",
        "access-control-max-age",
        "access-control-request-method",
        "content-md5",
        "dnt",
        "tk",
        "upgrade-insecure-requests",
        "x-content-type-options",
    ];

    #[test]
    fn each_single_value_field_is_refused_twice_and_passes_once_or_where_nobody_is_strict() {
        for name in ONCE_NAMES.iter().chain(&ONCE_UNLISTED) {
            let value = if *name == "content-length" { "5" } else { "a" };
            let one: Fields = [(name, value), (&"x", "1"), (&"x", "2")].into_iter().collect();
            let head = ResponseHead::new(200, one);
            assert_eq!(head.check(true), Ok(()), "{name}");
            let two: Fields = [(name, value), (&"x", "1"), (name, value)].into_iter().collect();
            let head = ResponseHead::new(200, two);
            assert_eq!(head.check(true), Err(UserError::RepeatedField((*name).into())));
            assert_eq!(head.check(false), Ok(()), "{name}");
        }
        assert_eq!(ONCE.count_ones() as usize, ONCE_NAMES.len());
    }

    #[test]
    fn a_list_field_may_be_there_as_often_as_it_likes() {
        for name in ["set-cookie", "vary", "link", "accept", "cookie", "via", "x-own", "www-authenticate"] {
            let fields: Fields = [(name, "a"), (name, "b"), (name, "c")].into_iter().collect();
            assert_eq!(ResponseHead::new(200, fields).check(true), Ok(()), "{name}");
        }
    }

    #[test]
    fn the_name_of_a_refused_field_is_printable_and_short() {
        let name = "x\r\n".repeat(50);
        let fields: Fields = [(name, "")].into_iter().collect();
        let Err(UserError::InvalidField(error)) = fields.check_trailers(true) else { panic!("refused") };
        assert!(error.name.starts_with("x\\r\\nx") && error.name.len() <= 256, "{error}");
        assert_eq!(error.rule, Malformed::FieldName);
    }
}
