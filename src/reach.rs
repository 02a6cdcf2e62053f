//! What `get` and `bench` share: the URL and the fields a user wrote, whom https trusts, and how failures of our client
//! become exit codes. Connects nothing itself.

use stagedoor::Fields;
use stagedoor::client::{
    ConnectError, Error, Options, RequestError, Scheme, SessionEnd, StreamError, Target, Tls,
};
use stagedoor::devca;
use stagedoor_metrics::CloseReason;

use crate::failure::{Exit, Failure};

/// What a user wrote and we cannot use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{0:?} is no URL: it begins with http:// or https://, as in https://localhost:8443/")]
    NoScheme(String),
    #[error("{url:?} is no URL: {why}")]
    Syntax { url: String, why: String },
    #[error("a URL carries no user or password here; give them as -H 'authorization: ...'")]
    UserInfo,
    #[error("--h2c is HTTP/2 in cleartext and goes with http:// alone, not with {0}")]
    NotCleartext(String),
    #[error("-H {0:?} is no field: one looks like 'name: value'")]
    NoColon(String),
    #[error("-H {0:?}: names that begin with ':' come from the URL and the method")]
    PseudoField(String),
    #[error("-H {field:?}: {why}")]
    Field { field: String, why: &'static str },
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        Self::new(Exit::Input, error.to_string())
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Scheme and authority, for [`stagedoor::client::connect`].
    pub(crate) origin: String,
    /// `:path`.
    pub(crate) path: String,
    scheme: Scheme,
}

impl Url {
    /// Reads a URL; a fragment is dropped. `h2c` insists on cleartext.
    pub(crate) fn parse(text: &str, h2c: bool) -> Result<Self, InputError> {
        let syntax = |why: &dyn ToString| InputError::Syntax { url: text.to_owned(), why: why.to_string() };
        let Some((_, rest)) = text.split_once("://") else {
            return Err(InputError::NoScheme(text.to_owned()));
        };
        if rest.is_empty() || rest.starts_with(['/', '?', '#']) {
            return Err(syntax(&"there is no host"));
        }
        let target = Target::parse(text, Scheme::Https).map_err(|error| match error {
            ConnectError::InvalidAuthority { why, .. } => syntax(&why),
            error => syntax(&error),
        })?;
        let uri: http::Uri = text.parse().map_err(|error: http::uri::InvalidUri| syntax(&error))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(InputError::UserInfo);
        }
        if h2c && target.scheme != Scheme::Http {
            return Err(InputError::NotCleartext(target.origin()));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { origin: target.origin(), path, scheme: target.scheme })
    }

    /// What is spoken there.
    pub(crate) fn protocol(&self) -> &'static str {
        match self.scheme {
            Scheme::Http => "h2c",
            Scheme::Https => "h2",
        }
    }

    /// The options of a session there: https trusts the system's certificates and this user's development authority.
    pub(crate) fn options(&self) -> Options {
        let authority = devca::state_dir().ok().and_then(|state| devca::authority_in(&state));
        let tls = authority.map_or_else(Tls::native, Tls::with_ca_file);
        Options { tls, ..Options::default() }
    }
}

/// The fields of `-H`, with those every request has unless they were given.
pub(crate) fn fields(given: &[String]) -> Result<Fields, InputError> {
    let mut fields = Fields::default();
    for text in given {
        if text.starts_with(':') {
            return Err(InputError::PseudoField(text.clone()));
        }
        let (name, value) = text.split_once(':').ok_or_else(|| InputError::NoColon(text.clone()))?;
        let wrong = |why| InputError::Field { field: text.clone(), why };
        let name = http::HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong("the name has a character that no name of a field has"))?;
        let value = http::HeaderValue::from_str(value.trim_matches([' ', '\t']))
            .or_else(|_| http::HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes()))
            .map_err(|_| wrong("the value has a control character"))?;
        fields.push(name.as_str(), value.as_bytes());
    }
    for (name, value) in [("user-agent", concat!("stagedoor/", env!("CARGO_PKG_VERSION"))), ("accept", "*/*")]
    {
        if !fields.contains(name) {
            fields.push(name, value);
        }
    }
    Ok(fields)
}

impl Url {
    /// A connection that did not come up, or a session that ended early.
    pub(crate) fn lost(&self, end: &SessionEnd) -> Failure {
        const WHICH: &str = "does the server speak HTTP/2 there, and is it http:// or https://?";
        let failure = Failure::new(Exit::Reach, end.to_string());
        match end {
            SessionEnd::Connect(ConnectError::Tls { error, .. }) => match tls(error) {
                Some(rustls::Error::InvalidCertificate(
                    rustls::CertificateError::UnknownIssuer,
                )) => failure.with_way_out(
                    "neither this system nor stagedoor's development authority vouches for its certificate",
                ),
                Some(rustls::Error::InvalidMessage(_)) => failure.with_way_out(WHICH),
                _ => failure,
            },
            SessionEnd::Connect(ConnectError::NoHttp2 { .. }) => {
                failure.with_way_out("this client speaks HTTP/2 alone")
            }
            SessionEnd::Closed { reason: CloseReason::ClientClosed, .. } => {
                let words = format!("{} closed the connection before the response was whole", self.origin);
                Failure::new(Exit::Reach, words).with_way_out(WHICH)
            }
            SessionEnd::Closed { reason: CloseReason::ProtocolError, .. } if self.scheme == Scheme::Http => {
                failure.with_way_out(WHICH)
            }
            _ => failure,
        }
    }

    /// A request that did not come to its good end.
    pub(crate) fn failed(&self, error: &Error) -> Failure {
        match error {
            Error::Request(RequestError::Closed(end)) => self.lost(end),
            Error::Request(RequestError::Closing) => Failure::new(Exit::Reach, error.to_string()),
            Error::Request(_) => Failure::new(Exit::Input, error.to_string()),
            Error::Stream(StreamError::Cancelled { cause: end } | StreamError::SessionClosed(end)) => {
                self.lost(end)
            }
            _ => Failure::new(Exit::Reach, error.to_string()),
        }
    }
}

/// What TLS itself says.
fn tls(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_origin_and_a_path() {
        for (text, origin, path) in [
            ("http://localhost:8080", "http://localhost:8080", "/"),
            ("https://example.org:443/a/b?c=d#e", "https://example.org", "/a/b?c=d"),
            ("HTTPS://[::1]:8443/", "https://[::1]:8443", "/"),
            ("http://example.org?q", "http://example.org", "/?q"),
        ] {
            let url = Url::parse(text, false).unwrap();
            assert_eq!((&*url.origin, &*url.path), (origin, path), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_why() {
        for (text, words) in [
            ("localhost:8443", "begins with http:// or https://"),
            ("", "begins with http:// or https://"),
            ("ftp://example.org/", "the scheme \"ftp\" is not supported"),
            ("http://", "there is no host"),
            ("http://a:99999/", "the port is no number up to 65535"),
            ("http://a/ b", "is no URL"),
            ("http://user:pass@a/", "-H 'authorization"),
        ] {
            let error = Url::parse(text, false).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(matches!(Url::parse("https://a/", true), Err(InputError::NotCleartext(_))));
        assert!(Url::parse("http://a/", true).is_ok());
    }

    #[test]
    fn fields_are_names_and_values() {
        let given = [
            "X-One: 1".to_owned(),
            "x-two:".to_owned(),
            "User-Agent:\tme ".to_owned(),
            "x-three: ä".to_owned(),
        ];
        let fields = fields(&given).unwrap();
        let found: Vec<_> = fields.iter().map(|field| (field.name, field.value)).collect();
        let expected: [(&[u8], &[u8]); 5] = [
            (b"x-one", b"1"),
            (b"x-two", b""),
            (b"user-agent", b"me"),
            (b"x-three", "ä".as_bytes()),
            (b"accept", b"*/*"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_field_is_told_why() {
        for (text, words) in [
            ("nothing", "one looks like 'name: value'"),
            (":path: /", "come from the URL"),
            ("a b: c", "no name of a field"),
            (" : c", "no name of a field"),
            ("a: b\nc", "control character"),
        ] {
            let error = fields(&[text.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
