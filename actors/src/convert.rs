//! Between our [`Fields`] and `http::HeaderMap`, for the edges that speak the types of the `http` crate.

use std::array;
use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use stagedoor_protocol::hpack::token;
use stagedoor_protocol::{Field, Fields, RequestHead};

/// Fields as a header map; what the `http` crate cannot hold is left out (it was refused before).
///
/// ```
/// use stagedoor_actors::convert::{to_fields, to_headers};
/// use stagedoor_protocol::Fields;
///
/// let fields = Fields::from_iter([("accept", "text/html"), ("accept", "text/plain"), ("x-own", "1")]);
/// let headers = to_headers(&fields);
/// assert_eq!(headers.get_all("accept").iter().count(), 2);
/// assert_eq!(to_fields(&headers), fields);
/// ```
#[must_use]
pub fn to_headers(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (field, value) in fields.shared() {
        if let (Some(name), Some(value)) = (to_name(&field), to_value(&field, value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// A request's method, target and fields with the types of the `http` crate; `None` where they cannot hold it. Cookie
/// crumbs are one field (RFC 9113 §8.2.3). `known` is an authority that is likely asked for again; it is kept up to date.
///
/// ```
/// use stagedoor_actors::convert::to_request;
/// use stagedoor_protocol::RequestHead;
///
/// let mut head = RequestHead::new("GET", "https", "example.org", "/a?b");
/// head.fields_mut().extend([("cookie", "a=1"), ("cookie", "b=2")]);
/// let request = to_request(head, true, (), &mut None).unwrap();
/// assert_eq!(request.uri(), "https://example.org/a?b");
/// assert_eq!(request.headers()["cookie"], "a=1; b=2");
/// ```
#[must_use]
pub fn to_request<B>(
    head: RequestHead,
    http2: bool,
    body: B,
    known: &mut Option<Authority>,
) -> Option<http::Request<B>> {
    let crumbs = head.fields().iter().filter(|field| field.token == token::COOKIE).nth(1);
    let cookie = crumbs.and_then(|_| head.fields().cookie()).map(Cow::into_owned);
    let head = head.share();
    let mut headers = HeaderMap::with_capacity(head.len());
    for (field, value) in head.fields() {
        if let (Some(name), Some(value)) = (to_name(&field), to_value(&field, value)) {
            headers.append(name, value);
        }
    }
    if let Some(cookie) = cookie {
        headers.insert(header::COOKIE, HeaderValue::from_maybe_shared(Bytes::from(cookie)).ok()?);
    }
    let mut authority = head.authority();
    if authority.is_empty() {
        // HTTP/1.1 has it there.
        authority =
            headers.get(header::HOST).map(|host| Bytes::copy_from_slice(host.as_bytes())).unwrap_or_default();
    }
    let uri = uri_of(head.scheme(), authority, head.path(), known)?;
    let mut request = http::Request::new(body);
    *request.method_mut() = Method::from_bytes(head.method()).ok()?;
    *request.uri_mut() = uri;
    *request.version_mut() = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    Some(request)
}

/// The target of a request; `None` where it is no URI of the `http` crate.
///
/// ```
/// use stagedoor_actors::convert::to_uri;
/// use stagedoor_protocol::RequestHead;
///
/// let head = RequestHead::new("GET", "https", "example.org", "/a?b");
/// assert_eq!(to_uri(&head).unwrap(), "https://example.org/a?b");
/// ```
#[must_use]
pub fn to_uri(head: &RequestHead) -> Option<Uri> {
    let shared = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let authority = head.authority().map(shared).unwrap_or_default();
    let path = head.path().map(shared).unwrap_or_default();
    uri_of(head.scheme().unwrap_or("http").as_bytes(), authority, path, &mut None)
}

fn uri_of(scheme: &[u8], authority: Bytes, path: Bytes, known: &mut Option<Authority>) -> Option<Uri> {
    let mut parts = Parts::default();
    if !path.is_empty() {
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path).ok()?);
    }
    if !authority.is_empty() {
        let same = known.as_ref().filter(|known| known.as_str().as_bytes() == authority);
        parts.authority = match same {
            Some(known) => Some(known.clone()),
            None => {
                // A copy, or what is kept would keep the whole head.
                let copy = Bytes::copy_from_slice(&authority);
                known.insert(Authority::from_maybe_shared(copy).ok()?).clone().into()
            }
        };
        if parts.path_and_query.is_some() {
            parts.scheme = Some(match scheme {
                b"https" => Scheme::HTTPS,
                b"" | b"http" => Scheme::HTTP,
                other => Scheme::try_from(other).ok()?,
            });
        }
    }
    Uri::from_parts(parts).ok()
}

/// The name of a field; `None` where it is none.
///
/// ```
/// use stagedoor_actors::convert::{to_name, to_value};
/// use stagedoor_protocol::Fields;
///
/// let mut fields = Fields::new();
/// fields.push_sensitive("authorization", "Basic x");
/// for (field, octets) in fields.shared() {
///     assert_eq!(to_name(&field).unwrap(), http::header::AUTHORIZATION);
///     assert!(to_value(&field, octets).unwrap().is_sensitive());
/// }
/// ```
#[must_use]
pub fn to_name(field: &Field<'_>) -> Option<HeaderName> {
    /// By token.
    static KNOWN: LazyLock<[Option<HeaderName>; 62]> =
        LazyLock::new(|| array::from_fn(|token| HeaderName::from_bytes(token::name(token as u8)).ok()));
    // What a gateway writes into every request.
    static USUAL: [HeaderName; 7] = [
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("tracestate"),
        HeaderName::from_static("x-forwarded-for"),
        HeaderName::from_static("x-forwarded-proto"),
        HeaderName::from_static("x-forwarded-host"),
        HeaderName::from_static("x-real-ip"),
    ];
    let known = match KNOWN.get(usize::from(field.token)) {
        Some(Some(name)) => Some(name),
        _ => USUAL.iter().find(|name| name.as_str().as_bytes() == field.name),
    };
    known.cloned().or_else(|| HeaderName::from_bytes(field.name).ok())
}

/// The value of a field, of which `octets` are a part of a shared block; `None` where it cannot be one.
#[must_use]
pub fn to_value(field: &Field<'_>, octets: Bytes) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(octets).ok()?;
    value.set_sensitive(field.sensitive);
    Some(value)
}

/// A header map as fields, names in the map's order.
#[must_use]
pub fn to_fields(headers: &HeaderMap) -> Fields {
    // A response gets a length and a date on its way.
    let fields = headers.len() + 2;
    let mut fields = Fields::with_capacity(fields, fields * 40);
    for (name, value) in headers {
        if value.is_sensitive() {
            fields.push_sensitive(name.as_str(), value.as_bytes());
        } else {
            fields.push(name.as_str(), value.as_bytes());
        }
    }
    fields
}
