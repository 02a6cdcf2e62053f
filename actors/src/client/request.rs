//! The head of a request as a caller writes it: what is left out comes from the session (RFC 9113 §8.3.1).

use stagedoor_protocol::{Fields, RequestHead};

use super::error::RequestError;
use super::target::Target;
use crate::convert;

/// Method, target and fields. `Default` is `GET /`.
///
/// ```
/// use stagedoor_actors::client::RequestParts;
///
/// let upload = RequestParts::post("/files").with_field("content-type", "text/plain");
/// assert_eq!((&*upload.method, upload.path.as_deref()), ("POST", Some("/files")));
/// let socket = RequestParts::extended_connect("websocket", "/chat");
/// assert_eq!(socket.protocol.as_deref(), Some("websocket"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestParts {
    /// `GET` where empty.
    pub method: String,
    /// `/` where `None`; none at all in plain CONNECT.
    pub path: Option<String>,
    /// The session's where `None`.
    pub scheme: Option<String>,
    /// The session's where `None`, unless there is a `host` field.
    pub authority: Option<String>,
    /// `:protocol` of an extended CONNECT (RFC 8441).
    pub protocol: Option<String>,
    /// Regular fields in order, names in lower case.
    pub fields: Fields,
}

impl RequestParts {
    /// A request for a path with its query.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: method.into(), path: Some(path.into()), ..Self::default() }
    }

    /// `GET path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// `POST path`.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new("POST", path)
    }

    /// A tunnel to `authority` (RFC 9113 §8.5).
    pub fn connect(authority: impl Into<String>) -> Self {
        Self { method: "CONNECT".into(), authority: Some(authority.into()), ..Self::default() }
    }

    /// An extended CONNECT (RFC 8441), `websocket` for one.
    pub fn extended_connect(protocol: impl Into<String>, path: impl Into<String>) -> Self {
        Self { protocol: Some(protocol.into()), ..Self::new("CONNECT", path) }
    }

    /// Adds a field.
    #[must_use]
    pub fn with_field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push(name, value);
        self
    }

    /// Sets `:authority`.
    #[must_use]
    pub fn with_authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// The method, `GET` where none was given.
    pub(super) fn method(&self) -> &str {
        if self.method.is_empty() { "GET" } else { &self.method }
    }

    pub(super) fn is_connect(&self) -> bool {
        self.method == "CONNECT"
    }

    /// The head on a session to `target`.
    pub(super) fn head(self, target: &Target) -> Result<RequestHead, RequestError> {
        let scheme = self.scheme.as_deref().unwrap_or(target.scheme.as_str());
        let path = self.path.as_deref().unwrap_or("/");
        let mut head = if self.is_connect() {
            match (&self.protocol, &self.authority) {
                // A tunnel has to say where to (RFC 9113 §8.5), and a path or scheme given would be malformed.
                (None, None) => return Err(RequestError::NoAuthority),
                (None, Some(authority)) if self.path.is_none() && self.scheme.is_none() => {
                    RequestHead::connect(authority)
                }
                (None, Some(authority)) => RequestHead::new("CONNECT", scheme, authority, path),
                (Some(protocol), authority) => {
                    let authority = authority.as_deref().unwrap_or(&target.authority);
                    RequestHead::extended_connect(protocol, scheme, authority, path)
                }
            }
        } else {
            // With a host field the caller has named the authority; another one is not invented.
            let authority = match &self.authority {
                Some(authority) => authority,
                None if self.fields.contains("host") => "",
                None => target.authority.as_str(),
            };
            match &self.protocol {
                None => RequestHead::new(self.method(), scheme, authority, path),
                Some(_) => {
                    return Err(RequestError::ProtocolWithoutConnect(self.method().to_owned()));
                }
            }
        };
        for field in self.fields.iter() {
            match field.sensitive {
                true => head.fields_mut().push_sensitive(field.name, field.value),
                false => head.fields_mut().push(field.name, field.value),
            }
        }
        Ok(head)
    }
}

impl From<RequestHead> for RequestParts {
    fn from(head: RequestHead) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Self {
            method: head.method().to_owned(),
            path: own(head.path()),
            scheme: own(head.scheme()),
            authority: match head.fields().contains("host") {
                true => None,
                false => own(head.authority()),
            },
            protocol: own(head.protocol()),
            fields: head.fields().clone(),
        }
    }
}

impl From<&http::request::Parts> for RequestParts {
    fn from(parts: &http::request::Parts) -> Self {
        let connect = parts.method == http::Method::CONNECT;
        let path = parts.uri.path_and_query().map(|path| match path.as_str() {
            // `OPTIONS *` (RFC 9113 §8.3.1).
            "" => "/".to_owned(),
            path => path.to_owned(),
        });
        Self {
            method: parts.method.as_str().to_owned(),
            path: path.filter(|_| !connect),
            scheme: parts.uri.scheme_str().map(str::to_owned).filter(|_| !connect),
            authority: parts.uri.authority().map(|authority| authority.as_str().to_owned()),
            protocol: None,
            fields: convert::to_fields(&parts.headers),
        }
    }
}

impl From<http::request::Parts> for RequestParts {
    fn from(parts: http::request::Parts) -> Self {
        Self::from(&parts)
    }
}

impl From<&str> for RequestParts {
    /// `GET path`.
    fn from(path: &str) -> Self {
        Self::get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Scheme;

    fn head(parts: RequestParts) -> RequestHead {
        parts.head(&Target::parse("http://example.com:81", Scheme::Https).unwrap()).unwrap()
    }

    #[test]
    fn what_is_left_out_comes_from_the_session() {
        let head = head(RequestParts::default());
        assert_eq!((head.method(), head.path()), ("GET", Some("/")));
        assert_eq!((head.scheme(), head.authority()), (Some("http"), Some("example.com:81")));
    }

    #[test]
    fn an_authority_is_not_invented_beside_host() {
        let head = head(RequestParts::get("/").with_field("host", "other"));
        let again = RequestParts::from(head.clone());
        assert_eq!(again.authority, None, "only host was sent");
        assert_eq!(head.authority(), Some("other"));
    }

    #[test]
    fn a_tunnel_names_its_end() {
        let tunnel = head(RequestParts::connect("example.org:443"));
        assert_eq!(
            (tunnel.authority(), tunnel.path(), tunnel.scheme()),
            (Some("example.org:443"), None, None)
        );
        let target = Target::parse("http://a", Scheme::Https).unwrap();
        let nowhere = RequestParts { method: "CONNECT".into(), ..RequestParts::default() };
        assert!(matches!(nowhere.head(&target), Err(RequestError::NoAuthority)));
    }
}
