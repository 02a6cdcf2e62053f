//! Between our [`Fields`] and `http::HeaderMap`, for the edges that speak the types of the `http` crate.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use stagedoor_protocol::{Field, Fields};

/// Fields as a header map; what the `http` crate cannot hold is left out (it was refused before).
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

/// The name of a field; `None` where it is none.
#[must_use]
pub fn to_name(field: &Field<'_>) -> Option<HeaderName> {
    // What a gateway writes into every request; those of the static table the crate knows by itself.
    static USUAL: [HeaderName; 7] = [
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("tracestate"),
        HeaderName::from_static("x-forwarded-for"),
        HeaderName::from_static("x-forwarded-proto"),
        HeaderName::from_static("x-forwarded-host"),
        HeaderName::from_static("x-real-ip"),
    ];
    let usual = || USUAL.iter().find(|name| name.as_str().as_bytes() == field.name).cloned();
    let known = if field.token == 0 { usual() } else { None };
    known.or_else(|| HeaderName::from_bytes(field.name).ok())
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
    let mut fields = Fields::with_capacity(headers.len(), headers.len() * 32);
    for (name, value) in headers {
        if value.is_sensitive() {
            fields.push_sensitive(name.as_str(), value.as_bytes());
        } else {
            fields.push(name.as_str(), value.as_bytes());
        }
    }
    fields
}
