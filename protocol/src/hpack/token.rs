//! Names of the tokens in [`FieldRef::token`](super::FieldRef::token): the index of the first static
//! entry (RFC 7541 Appendix A) with a name.
//!
//! Says nothing about values. Invariant: a token of 0 means that the static table lacks the name, so a
//! field named here never arrives with token 0, however the peer encoded it.

/// `:authority`
pub const AUTHORITY: u8 = 1;
/// `:method`
pub const METHOD: u8 = 2;
/// `:path`
pub const PATH: u8 = 4;
/// `:scheme`
pub const SCHEME: u8 = 6;
/// `:status`
pub const STATUS: u8 = 8;
/// `accept-charset`
pub const ACCEPT_CHARSET: u8 = 15;
/// `accept-encoding`
pub const ACCEPT_ENCODING: u8 = 16;
/// `accept-language`
pub const ACCEPT_LANGUAGE: u8 = 17;
/// `accept-ranges`
pub const ACCEPT_RANGES: u8 = 18;
/// `accept`
pub const ACCEPT: u8 = 19;
/// `access-control-allow-origin`
pub const ACCESS_CONTROL_ALLOW_ORIGIN: u8 = 20;
/// `age`
pub const AGE: u8 = 21;
/// `allow`
pub const ALLOW: u8 = 22;
/// `authorization`
pub const AUTHORIZATION: u8 = 23;
/// `cache-control`
pub const CACHE_CONTROL: u8 = 24;
/// `content-disposition`
pub const CONTENT_DISPOSITION: u8 = 25;
/// `content-encoding`
pub const CONTENT_ENCODING: u8 = 26;
/// `content-language`
pub const CONTENT_LANGUAGE: u8 = 27;
/// `content-length`
pub const CONTENT_LENGTH: u8 = 28;
/// `content-location`
pub const CONTENT_LOCATION: u8 = 29;
/// `content-range`
pub const CONTENT_RANGE: u8 = 30;
/// `content-type`
pub const CONTENT_TYPE: u8 = 31;
/// `cookie`
pub const COOKIE: u8 = 32;
/// `date`
pub const DATE: u8 = 33;
/// `etag`
pub const ETAG: u8 = 34;
/// `expect`
pub const EXPECT: u8 = 35;
/// `expires`
pub const EXPIRES: u8 = 36;
/// `from`
pub const FROM: u8 = 37;
/// `host`
pub const HOST: u8 = 38;
/// `if-match`
pub const IF_MATCH: u8 = 39;
/// `if-modified-since`
pub const IF_MODIFIED_SINCE: u8 = 40;
/// `if-none-match`
pub const IF_NONE_MATCH: u8 = 41;
/// `if-range`
pub const IF_RANGE: u8 = 42;
/// `if-unmodified-since`
pub const IF_UNMODIFIED_SINCE: u8 = 43;
/// `last-modified`
pub const LAST_MODIFIED: u8 = 44;
/// `link`
pub const LINK: u8 = 45;
/// `location`
pub const LOCATION: u8 = 46;
/// `max-forwards`
pub const MAX_FORWARDS: u8 = 47;
/// `proxy-authenticate`
pub const PROXY_AUTHENTICATE: u8 = 48;
/// `proxy-authorization`
pub const PROXY_AUTHORIZATION: u8 = 49;
/// `range`
pub const RANGE: u8 = 50;
/// `referer`
pub const REFERER: u8 = 51;
/// `refresh`
pub const REFRESH: u8 = 52;
/// `retry-after`
pub const RETRY_AFTER: u8 = 53;
/// `server`
pub const SERVER: u8 = 54;
/// `set-cookie`
pub const SET_COOKIE: u8 = 55;
/// `strict-transport-security`
pub const STRICT_TRANSPORT_SECURITY: u8 = 56;
/// `transfer-encoding`
pub const TRANSFER_ENCODING: u8 = 57;
/// `user-agent`
pub const USER_AGENT: u8 = 58;
/// `vary`
pub const VARY: u8 = 59;
/// `via`
pub const VIA: u8 = 60;
/// `www-authenticate`
pub const WWW_AUTHENTICATE: u8 = 61;

/// The token of `name`, 0 where the static table has no such name.
///
/// ```
/// use stagedoor_protocol::hpack::token;
///
/// assert_eq!(token::of(b"content-type"), token::CONTENT_TYPE);
/// assert_eq!(token::of(b"x-own"), 0);
/// ```
#[inline]
pub fn of(name: &[u8]) -> u8 {
    super::static_table::name_token(name)
}

/// The name of a token; empty for 0 and for what is none.
///
/// ```
/// use stagedoor_protocol::hpack::token;
///
/// assert_eq!(token::name(token::CONTENT_TYPE), b"content-type");
/// assert_eq!(token::name(0), b"");
/// ```
#[inline]
pub fn name(token: u8) -> &'static [u8] {
    super::static_table::name_of(token)
}

/// Each token with its name, for tests.
#[cfg(test)]
pub(super) const ALL: &[(u8, &str)] = &[
    (AUTHORITY, ":authority"),
    (METHOD, ":method"),
    (PATH, ":path"),
    (SCHEME, ":scheme"),
    (STATUS, ":status"),
    (ACCEPT_CHARSET, "accept-charset"),
    (ACCEPT_ENCODING, "accept-encoding"),
    (ACCEPT_LANGUAGE, "accept-language"),
    (ACCEPT_RANGES, "accept-ranges"),
    (ACCEPT, "accept"),
    (ACCESS_CONTROL_ALLOW_ORIGIN, "access-control-allow-origin"),
    (AGE, "age"),
    (ALLOW, "allow"),
    (AUTHORIZATION, "authorization"),
    (CACHE_CONTROL, "cache-control"),
    (CONTENT_DISPOSITION, "content-disposition"),
    (CONTENT_ENCODING, "content-encoding"),
    (CONTENT_LANGUAGE, "content-language"),
    (CONTENT_LENGTH, "content-length"),
    (CONTENT_LOCATION, "content-location"),
    (CONTENT_RANGE, "content-range"),
    (CONTENT_TYPE, "content-type"),
    (COOKIE, "cookie"),
    (DATE, "date"),
    (ETAG, "etag"),
    (EXPECT, "expect"),
    (EXPIRES, "expires"),
    (FROM, "from"),
    (HOST, "host"),
    (IF_MATCH, "if-match"),
    (IF_MODIFIED_SINCE, "if-modified-since"),
    (IF_NONE_MATCH, "if-none-match"),
    (IF_RANGE, "if-range"),
    (IF_UNMODIFIED_SINCE, "if-unmodified-since"),
    (LAST_MODIFIED, "last-modified"),
    (LINK, "link"),
    (LOCATION, "location"),
    (MAX_FORWARDS, "max-forwards"),
    (PROXY_AUTHENTICATE, "proxy-authenticate"),
    (PROXY_AUTHORIZATION, "proxy-authorization"),
    (RANGE, "range"),
    (REFERER, "referer"),
    (REFRESH, "refresh"),
    (RETRY_AFTER, "retry-after"),
    (SERVER, "server"),
    (SET_COOKIE, "set-cookie"),
    (STRICT_TRANSPORT_SECURITY, "strict-transport-security"),
    (TRANSFER_ENCODING, "transfer-encoding"),
    (USER_AGENT, "user-agent"),
    (VARY, "vary"),
    (VIA, "via"),
    (WWW_AUTHENTICATE, "www-authenticate"),
];
