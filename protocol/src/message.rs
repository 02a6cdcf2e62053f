//! Messages: heads, and the rules that make one malformed (RFC 9113 §8, RFC 9110 §5, RFC 8441 §4).
//!
//! `Collector` takes fields as the decoder emits them and says at the end what they are; what may be sent is
//! [`crate::check`]'s business. It never stops the decoder: a refused message must still leave the compression tables in step (RFC 9113 §4.3).

use crate::fields::{Fields, Span};
use crate::hpack::{FieldRef, token};
use crate::limit::Limit;
use crate::priority::Priority;
use crate::shared::SharedHead;
use crate::syntax::{is_authority, is_path, is_scheme, is_tchar, parse_content_length, parse_status};
pub use crate::syntax::{is_connection_specific, is_field_name, is_field_value};

/// The rule a message breaks (RFC 9113 §8.1.1): RST_STREAM(PROTOCOL_ERROR).
///
/// ```
/// use stagedoor_protocol::message::Malformed;
/// use stagedoor_protocol::{Fields, UserError};
///
/// let fields = Fields::from_iter([("connection", "close")]);
/// match fields.check_trailers(true) {
///     Err(UserError::InvalidField(error)) => assert_eq!(error.rule, Malformed::ConnectionSpecific),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A field name that is empty, not a token, or has upper-case letters (§8.2.1).
    #[error("invalid field name")]
    FieldName,
    /// A field value with NUL, CR, LF, or blank at an edge (§8.2.1).
    #[error("invalid field value")]
    FieldValue,
    /// Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade, or TE other than `trailers` (§8.2.2).
    #[error("connection-specific field")]
    ConnectionSpecific,
    /// A pseudo-header field after a regular one, in trailers, twice, or not known here (§8.3).
    #[error("misplaced, repeated or unknown pseudo-header field")]
    PseudoField,
    /// A pseudo-header field that must be there is not (§8.3.1, §8.3.2).
    #[error("missing pseudo-header field {0}")]
    MissingPseudo(&'static str),
    /// A pseudo-header field with a value it cannot have (§8.3.1).
    #[error("invalid value of {0}")]
    PseudoValue(&'static str),
    /// A pseudo-header field that CONNECT does not have (§8.5).
    #[error("CONNECT has no {0}")]
    ConnectPseudo(&'static str),
    /// `host` and `:authority` differ (§8.3.1).
    #[error("host and :authority differ")]
    HostMismatch,
    /// A content-length that is no number, or two that differ (RFC 9110 §8.6).
    #[error("invalid content-length")]
    ContentLength,
    /// DATA octets differ from content-length (§8.1.1).
    #[error("body and content-length differ")]
    BodyLength,
    /// Trailers without END_STREAM, or a head where trailers belong (§8.1).
    #[error("header section where none may be")]
    UnexpectedHeaders,
    /// DATA before the head of a response, or where no body may be (§8.1, §8.5).
    #[error("DATA where none may be")]
    UnexpectedData,
    /// `:protocol` without SETTINGS_ENABLE_CONNECT_PROTOCOL or outside CONNECT (RFC 8441 §4).
    #[error("extended CONNECT is not allowed here")]
    ExtendedConnect,
    /// 101, an informational head with END_STREAM, or a status that is not three digits (§8.1, §8.6).
    #[error("invalid status")]
    Status,
}

/// The head of a request.
///
/// ```
/// use stagedoor_protocol::RequestHead;
///
/// let mut head = RequestHead::new("GET", "https", "example.org", "/static/list.txt?all");
/// head.fields_mut().push("accept", "*/*");
/// head.strip_path("/static".len());
/// assert_eq!((head.method(), head.path()), ("GET", Some("/list.txt?all")));
/// assert_eq!((head.authority(), head.fields().len()), (Some("example.org"), 1));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    fields: Fields,
    method: Span,
    scheme: Span,
    authority: Span,
    path: Span,
    protocol: Span,
    content_length: Option<u64>,
    priority: Option<Priority>,
    expects: bool,
}

impl RequestHead {
    /// A request for `path` (with its query) at `scheme`://`authority`.
    pub fn new(method: &str, scheme: &str, authority: &str, path: &str) -> Self {
        let mut head = Self::default();
        head.method = head.fields.push_span(method.as_bytes());
        head.scheme = head.fields.push_span(scheme.as_bytes());
        if !authority.is_empty() {
            head.authority = head.fields.push_span(authority.as_bytes());
        }
        head.path = head.fields.push_span(path.as_bytes());
        head
    }

    /// A tunnel to `authority` (RFC 9113 §8.5).
    pub fn connect(authority: &str) -> Self {
        let mut head = Self::default();
        head.method = head.fields.push_span(b"CONNECT");
        head.authority = head.fields.push_span(authority.as_bytes());
        head
    }

    /// An extended CONNECT for `protocol` (RFC 8441 §4).
    pub fn extended_connect(protocol: &str, scheme: &str, authority: &str, path: &str) -> Self {
        let mut head = Self::new("CONNECT", scheme, authority, path);
        head.protocol = head.fields.push_span(protocol.as_bytes());
        head
    }

    #[inline]
    fn text(&self, span: Span) -> Option<&str> {
        // Checked when it was collected; what a caller wrote was a &str.
        if span.is_absent() { None } else { std::str::from_utf8(self.fields.span(span)).ok() }
    }

    /// `:method`.
    pub fn method(&self) -> &str {
        self.text(self.method).unwrap_or_default()
    }

    /// `:scheme`; none in plain CONNECT.
    pub fn scheme(&self) -> Option<&str> {
        self.text(self.scheme)
    }

    /// `:authority`, or the value of `host` where only that was sent.
    pub fn authority(&self) -> Option<&str> {
        let host = || self.fields.get("host").and_then(|host| std::str::from_utf8(host).ok());
        self.text(self.authority).or_else(host)
    }

    /// `:path` with its query; none in plain CONNECT.
    pub fn path(&self) -> Option<&str> {
        self.text(self.path)
    }

    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub fn protocol(&self) -> Option<&str> {
        self.text(self.protocol)
    }

    /// The declared length of the body in octets.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The `priority` field (RFC 9218 §5), where sent.
    pub fn priority(&self) -> Option<Priority> {
        self.priority
    }

    /// There is an `expect` field (RFC 9110 §10.1.1).
    pub fn expects(&self) -> bool {
        self.expects
    }

    /// Sends the request to another path, its query with it. What may stand in a path is looked at when the head is
    /// sent.
    pub fn set_path(&mut self, path: &str) {
        self.path = self.fields.push_span(path.as_bytes());
    }

    /// Takes octets off the beginning of the path, without a copy where a slash follows; otherwise one is put there.
    /// A path that is not so long stays as it is.
    pub fn strip_path(&mut self, octets: usize) {
        let Some(left) = self.path_octets().get(octets..) else { return };
        self.path = match left {
            _ if self.path.is_absent() => return,
            [b'/', ..] => self.path.skip(octets),
            _ => {
                let whole = [b"/", left].concat();
                self.fields.push_span(&whole)
            }
        };
    }

    /// Sends the request to another authority; `host` fields, which would contradict it, go.
    pub fn set_authority(&mut self, authority: &str) {
        self.fields.remove("host");
        self.authority = self.fields.push_span(authority.as_bytes());
    }

    /// Regular fields in order.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Regular fields, to be changed. `content_length()`, `priority()` and `expects()` keep what was received
    /// until [`Self::scan`].
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Reads `content_length()`, `priority()` and `expects()` anew off the fields, for heads that were put
    /// together by hand. A content-length that is no number counts as none.
    pub fn scan(&mut self) {
        let length = self.fields.get("content-length");
        self.content_length = length.and_then(|value| parse_content_length(value).ok());
        self.priority = self.fields.get("priority").map(Priority::parse);
        self.expects = self.fields.contains("expect");
    }

    /// Makes it fit an HTTP/2 connection of its own: `scheme` is that connection's, and `host` becomes `:authority` where
    /// nothing else was said (RFC 9113 §8.3.1). A `host` beside `:authority` goes.
    pub fn pass_on(&mut self, scheme: &str) {
        if !self.scheme.is_absent() && self.fields.span(self.scheme) != scheme.as_bytes() {
            self.scheme = self.fields.push_span(scheme.as_bytes());
        }
        if self.fields.contains("host") {
            if self.authority.is_absent()
                && let Some(host) = self.fields.get("host").map(<[u8]>::to_vec)
            {
                self.authority = self.fields.push_span(&host);
            }
            self.fields.remove("host");
        }
    }

    /// Pseudo-header fields in the order they are sent.
    pub(crate) fn pseudo(&self) -> impl Iterator<Item = (&'static str, &[u8])> + '_ {
        self.pseudo_tokens().map(|(name, _, value)| (name, value))
    }

    /// The same with the tokens of their names, 0 where the static table has none.
    pub(crate) fn pseudo_tokens(&self) -> impl Iterator<Item = (&'static str, u8, &[u8])> + '_ {
        [
            (":method", token::METHOD, self.method),
            (":scheme", token::SCHEME, self.scheme),
            (":authority", token::AUTHORITY, self.authority),
            (":path", token::PATH, self.path),
            (":protocol", 0, self.protocol),
        ]
        .into_iter()
        .filter(|(_, _, span)| !span.is_absent())
        .map(|(name, token, span)| (name, token, self.fields.span(span)))
    }

    /// Octets of the method. For who compares them: nothing is looked at.
    #[inline]
    pub fn method_octets(&self) -> &[u8] {
        if self.method.is_absent() { &[] } else { self.fields.span(self.method) }
    }

    /// Octets of `:authority`; none where there is none, whatever `host` says.
    #[inline]
    pub fn authority_octets(&self) -> &[u8] {
        if self.authority.is_absent() { &[] } else { self.fields.span(self.authority) }
    }

    /// Octets of the path with its query; none where there is none. For who copies them: nothing is looked at.
    #[inline]
    pub fn path_octets(&self) -> &[u8] {
        if self.path.is_absent() { &[] } else { self.fields.span(self.path) }
    }

    /// The head as one block that whoever keeps a part of it shares.
    pub fn share(self) -> SharedHead {
        let Self { fields, method, scheme, authority, path, .. } = self;
        let (arena, index) = fields.into_parts();
        SharedHead { block: arena.into(), index, method, scheme, authority, path }
    }

    /// All fields as they are sent, pseudo-header fields first.
    pub(crate) fn all_fields(&self) -> Fields {
        let mut all = Fields::new();
        for (name, value) in self.pseudo() {
            all.push(name, value);
        }
        all.extend_from(&self.fields);
        all
    }

    /// Octets the pseudo-header fields take in a header block at most, beside what every block may take.
    pub(crate) fn pseudo_octets(&self) -> usize {
        self.pseudo().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Whether each pseudo-header field may have its value (§8.3.1, RFC 8441 §4).
    pub(crate) fn judge_values(&self) -> Result<(), Malformed> {
        let judge = |name: &'static str, span: Span, valid: fn(&[u8]) -> bool| {
            let fine = span.is_absent() || valid(self.fields.span(span));
            if fine { Ok(()) } else { Err(Malformed::PseudoValue(name)) }
        };
        judge(":method", self.method, is_method)?;
        judge(":scheme", self.scheme, is_scheme)?;
        judge(":authority", self.authority, is_authority)?;
        judge(":path", self.path, is_path)?;
        judge(":protocol", self.protocol, is_protocol)
    }

    /// Whether the pseudo-header fields agree with one another and with `host` (§8.3.1, §8.5; RFC 8441 §4).
    #[inline]
    pub(crate) fn judge(&self, host: Option<&[u8]>) -> Result<(), Malformed> {
        if self.method.is_absent() {
            return Err(Malformed::MissingPseudo(":method"));
        }
        let text = |span| self.fields.span(span);
        let absent = Span::is_absent;
        if let Some(host) = host
            && !absent(self.authority)
            // The names of hosts have no case (RFC 3986 §3.2.2).
            && !host.eq_ignore_ascii_case(text(self.authority))
        {
            return Err(Malformed::HostMismatch);
        }
        let connect = text(self.method) == b"CONNECT";
        if connect && absent(self.protocol) {
            if text(self.authority).is_empty() {
                return Err(Malformed::MissingPseudo(":authority"));
            }
            if text(self.authority).contains(&b'@') {
                return Err(Malformed::PseudoValue(":authority"));
            }
            if !absent(self.scheme) {
                return Err(Malformed::ConnectPseudo(":scheme"));
            }
            if !absent(self.path) {
                return Err(Malformed::ConnectPseudo(":path"));
            }
            return Ok(());
        }
        if !absent(self.protocol) && !connect {
            return Err(Malformed::ExtendedConnect);
        }
        if absent(self.scheme) {
            return Err(Malformed::MissingPseudo(":scheme"));
        }
        if absent(self.path) {
            return Err(Malformed::MissingPseudo(":path"));
        }
        if connect && absent(self.authority) {
            return Err(Malformed::MissingPseudo(":authority"));
        }
        // Schemes have no case (RFC 3986 §3.1).
        let web = match text(self.scheme) {
            b"http" | b"https" => true,
            other => other.eq_ignore_ascii_case(b"http") || other.eq_ignore_ascii_case(b"https"),
        };
        match text(self.path) {
            [b'/', ..] => {}
            b"*" if text(self.method) == b"OPTIONS" => {}
            _ if web => return Err(Malformed::PseudoValue(":path")),
            _ => {}
        }
        if web && text(self.authority).contains(&b'@') {
            return Err(Malformed::PseudoValue(":authority"));
        }
        Ok(())
    }
}

/// Values a pseudo-header field of a request may have (§8.3.1, RFC 8441 §4).
#[inline(always)]
fn is_method(value: &[u8]) -> bool {
    matches!(value, b"GET" | b"POST" | b"HEAD")
        || (!value.is_empty() && value.iter().all(|&octet| is_tchar(octet)))
}

fn is_protocol(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|&octet| is_tchar(octet) || octet == b'/')
}

/// The head of a response.
///
/// ```
/// use stagedoor_protocol::{Fields, ResponseHead};
///
/// let head = ResponseHead::new(303, Fields::from_iter([("location", "/jobs/7")]));
/// assert_eq!(head.check(true), Ok(()));
/// assert!(ResponseHead::new(99, Fields::new()).check(true).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    /// Regular fields in order.
    pub fields: Fields,
}

impl ResponseHead {
    /// A head with a status and fields.
    pub fn new(status: u16, fields: Fields) -> Self {
        Self { status, fields }
    }

    /// All fields as they are sent, the pseudo-header field first.
    pub(crate) fn all_fields(&self) -> Fields {
        let mut all = Fields::new();
        all.push(":status", self.status.to_string());
        all.extend_from(&self.fields);
        all
    }
}

/// What a header section must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request { connect_protocol: bool },
    Response,
    Trailers,
}

/// Takes fields one by one, keeps what is within bounds, remembers the first rule that was broken.
#[derive(Debug)]
pub(crate) struct Collector {
    kind: Kind,
    head: RequestHead,
    status: Option<u16>,
    broken: Option<Malformed>,
    regular_seen: bool,
    host: Span,
    size: usize,
    count: usize,
    max_size: usize,
    max_count: usize,
}

impl Collector {
    pub(crate) fn new(kind: Kind, max_size: usize, max_count: usize) -> Self {
        Self {
            kind,
            head: RequestHead::default(),
            status: None,
            broken: None,
            regular_seen: false,
            host: Span::ABSENT,
            size: 0,
            count: 0,
            max_size,
            max_count,
        }
    }

    /// Reserves once for a block of `encoded` octets.
    pub(crate) fn reserve(&mut self, fields: usize, octets: usize) {
        self.head.fields = Fields::with_capacity(fields, octets);
    }

    /// The list or the number of fields is past its bound (RFC 9113 §10.5.1).
    pub(crate) fn too_large(&self) -> bool {
        self.size > self.max_size || self.count > self.max_count
    }

    /// Which of the two it is.
    pub(crate) fn excess(&self) -> Limit {
        if self.count > self.max_count { Limit::HeaderFields } else { Limit::HeaderBytes }
    }

    /// Octets of the list so far, 32 a field included.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    #[inline]
    pub(crate) fn field(&mut self, field: FieldRef<'_>) {
        self.count += 1;
        self.size = self.size.saturating_add(field.name.len() + field.value.len() + 32);
        if self.broken.is_some() || self.too_large() {
            return;
        }
        let taken = if field.name.first() == Some(&b':') { self.pseudo(field) } else { self.regular(field) };
        if let Err(rule) = taken {
            self.broken = Some(rule);
        }
    }

    fn pseudo(&mut self, field: FieldRef<'_>) -> Result<(), Malformed> {
        if self.regular_seen {
            return Err(Malformed::PseudoField);
        }
        let store = |head: &mut RequestHead| head.fields.push_span(field.value);
        let head = &mut self.head;
        match (self.kind, field.token) {
            (Kind::Request { .. }, token::METHOD) if head.method.is_absent() => {
                if !is_method(field.value) {
                    return Err(Malformed::PseudoValue(":method"));
                }
                head.method = store(head);
            }
            (Kind::Request { .. }, token::SCHEME) if head.scheme.is_absent() => {
                if !is_scheme(field.value) {
                    return Err(Malformed::PseudoValue(":scheme"));
                }
                head.scheme = store(head);
            }
            (Kind::Request { .. }, token::AUTHORITY) if head.authority.is_absent() => {
                if !is_authority(field.value) {
                    return Err(Malformed::PseudoValue(":authority"));
                }
                head.authority = store(head);
            }
            (Kind::Request { .. }, token::PATH) if head.path.is_absent() => {
                if !is_path(field.value) {
                    return Err(Malformed::PseudoValue(":path"));
                }
                head.path = store(head);
            }
            (Kind::Request { connect_protocol }, 0)
                if field.name == b":protocol" && head.protocol.is_absent() =>
            {
                if !connect_protocol {
                    return Err(Malformed::ExtendedConnect);
                }
                if !is_protocol(field.value) {
                    return Err(Malformed::PseudoValue(":protocol"));
                }
                head.protocol = store(head);
            }
            (Kind::Response, token::STATUS) if self.status.is_none() => {
                self.status = Some(parse_status(field.value)?);
            }
            _ => return Err(Malformed::PseudoField),
        }
        Ok(())
    }

    #[inline]
    fn regular(&mut self, field: FieldRef<'_>) -> Result<(), Malformed> {
        self.regular_seen = true;
        if !is_field_value(field.value) {
            return Err(Malformed::FieldValue);
        }
        match field.token {
            0 => self.unlisted(field)?,
            token::TRANSFER_ENCODING => return Err(Malformed::ConnectionSpecific),
            token::CONTENT_LENGTH if self.kind != Kind::Trailers => {
                let length = parse_content_length(field.value)?;
                if self.head.content_length.is_some_and(|other| other != length) {
                    return Err(Malformed::ContentLength);
                }
                self.head.content_length = Some(length);
            }
            token::HOST if matches!(self.kind, Kind::Request { .. }) => {
                // No userinfo, whatever the scheme (RFC 9110 §7.2).
                if !self.host.is_absent() || !is_authority(field.value) || field.value.contains(&b'@') {
                    return Err(Malformed::PseudoValue("host"));
                }
                self.host = self.head.fields.push_span(field.value);
            }
            token::EXPECT => self.head.expects = true,
            _ => {}
        }
        self.head.fields.push_received(field.name, field.value, field.sensitive, field.token);
        Ok(())
    }

    /// A field whose name the static table does not list.
    fn unlisted(&mut self, field: FieldRef<'_>) -> Result<(), Malformed> {
        if !is_field_name(field.name) {
            return Err(Malformed::FieldName);
        }
        if is_connection_specific(field.name) {
            return Err(Malformed::ConnectionSpecific);
        }
        match field.name {
            b"te" if !field.value.eq_ignore_ascii_case(b"trailers") || self.kind == Kind::Response => {
                Err(Malformed::ConnectionSpecific)
            }
            b"priority" => {
                self.head.priority = Some(Priority::parse(field.value));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The fields as a request (§8.3.1, §8.5; RFC 8441 §4).
    pub(crate) fn request(self) -> Result<RequestHead, Malformed> {
        if let Some(rule) = self.broken {
            return Err(rule);
        }
        let host = (!self.host.is_absent()).then(|| self.head.fields.span(self.host));
        self.head.judge(host)?;
        Ok(self.head)
    }

    /// The fields as a response, with its declared length (§8.3.2).
    pub(crate) fn response(self) -> Result<(ResponseHead, Option<u64>), Malformed> {
        match (self.broken, self.status) {
            (Some(rule), _) => Err(rule),
            (None, None) => Err(Malformed::MissingPseudo(":status")),
            (None, Some(101)) => Err(Malformed::Status),
            (None, Some(status)) => {
                Ok((ResponseHead { status, fields: self.head.fields }, self.head.content_length))
            }
        }
    }

    /// The fields as trailers (§8.1).
    pub(crate) fn trailers(self) -> Result<Fields, Malformed> {
        self.broken.map_or(Ok(self.head.fields), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(list: &[(&str, &str)]) -> Result<RequestHead, Malformed> {
        let mut collector = Collector::new(Kind::Request { connect_protocol: true }, 4096, 32);
        for (name, value) in list {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            collector.field(FieldRef { name, value, token: token::of(name), sensitive: false });
        }
        collector.request()
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y")];

    fn with(extra: &[(&str, &str)]) -> Result<RequestHead, Malformed> {
        request(&[&GET[..], extra].concat())
    }

    #[test]
    fn a_plain_request_is_read() {
        let head = with(&[("content-length", "12"), ("priority", "u=1")]).unwrap();
        assert_eq!((head.method(), head.scheme(), head.path()), ("GET", Some("https"), Some("/x?y")));
        assert_eq!((head.content_length(), head.authority()), (Some(12), Some("a.example")));
        assert_eq!(head.priority(), Some(Priority { urgency: 1, incremental: false }));
        assert_eq!(head.fields().len(), 2);
    }

    #[test]
    fn a_request_is_sent_elsewhere() {
        let mut head = with(&[("host", "a.example"), ("x", "1")]).unwrap();
        head.set_authority("b.example:81");
        assert_eq!((head.authority(), head.fields().get("host")), (Some("b.example:81"), None));
        head.set_path("/api/v1?q");
        head.strip_path(4);
        assert_eq!(head.path(), Some("/v1?q"));
        head.strip_path(3);
        assert_eq!(head.path(), Some("/?q"), "a path begins with a slash");
        head.strip_path(4);
        assert_eq!(head.path(), Some("/?q"), "it is not so long");
        assert_eq!((head.method(), head.fields().get("x")), ("GET", Some(&b"1"[..])));
        let mut connect = RequestHead::connect("a:1");
        connect.strip_path(0);
        assert_eq!(connect.path(), None);
    }

    #[test]
    fn each_rule_is_named() {
        use Malformed::*;
        for (extra, rule) in [
            (("Upper", "x"), FieldName),
            (("", "x"), FieldName),
            (("sp ace", "x"), FieldName),
            (("x", "a\r\nb"), FieldValue),
            (("x", " a"), FieldValue),
            (("x", "a\t"), FieldValue),
            (("connection", "close"), ConnectionSpecific),
            (("te", "gzip"), ConnectionSpecific),
            (("host", "b.example"), HostMismatch),
            (("content-length", "+1"), ContentLength),
            (("content-length", ""), ContentLength),
        ] {
            assert_eq!(with(&[extra]), Err(rule), "{extra:?}");
        }
        assert!(with(&[("te", "trailers"), ("host", "A.example"), ("x", "")]).is_ok());
        assert_eq!(with(&[("content-length", "1"), ("content-length", "2")]), Err(ContentLength));
        assert_eq!(with(&[("x", "y"), (":method", "GET")]), Err(PseudoField));
        assert_eq!(with(&[(":method", "GET")]), Err(PseudoField));
        assert_eq!(request(&GET[1..]), Err(MissingPseudo(":method")));
        assert_eq!(request(&GET[..3]), Err(MissingPseudo(":path")));
    }

    #[test]
    fn connect_has_authority_alone_and_extended_connect_has_all() {
        assert!(request(&[(":method", "CONNECT"), (":authority", "a:1")]).is_ok());
        assert!(request(&[(":method", "CONNECT")]).is_err());
        assert!(request(&[(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]).is_err());
        let extended = [(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], GET[3]];
        assert_eq!(request(&extended).unwrap().protocol(), Some("websocket"));
        assert_eq!(with(&[(":protocol", "websocket")]), Err(Malformed::ExtendedConnect));
    }

    #[test]
    fn too_many_fields_and_too_many_octets_are_seen() {
        let mut collector = Collector::new(Kind::Trailers, 66, 2);
        let field = FieldRef { name: b"a", value: b"", token: 0, sensitive: false };
        collector.field(field);
        collector.field(field);
        assert!(!collector.too_large());
        collector.field(field);
        assert!(collector.too_large());
    }
}
