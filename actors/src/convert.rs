//! Between our [`Fields`] and `http::HeaderMap`, for the edges that speak the types of the `http` crate.

use http::{HeaderMap, HeaderName, HeaderValue};
use stagedoor_protocol::Fields;

/// Fields as a header map; what the `http` crate cannot hold is left out (it was refused before).
#[must_use]
pub fn to_headers(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields.iter() {
        let name = HeaderName::from_bytes(field.name);
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(field.sensitive);
            headers.append(name, value);
        }
    }
    headers
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
