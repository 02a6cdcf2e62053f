//! Where to connect to: the one place that knows schemes, default ports and brackets (RFC 3986 §3.2).
//!
//! Resolves nothing. Invariant: `authority` is what `:authority` says by default: host and port, brackets where
//! they belong, no userinfo, no default port.

use std::net::IpAddr;

use http::Uri;

use super::error::ConnectError;

/// `http` is h2c with prior knowledge (RFC 9113 §3.3), `https` TLS with ALPN `h2`.
///
/// ```
/// use stagedoor_actors::client::{Scheme, Target};
///
/// let target = Target::parse("example.org", Scheme::Http)?;
/// assert_eq!((target.scheme.as_str(), target.port), ("http", 80));
/// assert_eq!(Target::parse("example.org", Scheme::Https)?.port, 443);
/// # Ok::<(), stagedoor_actors::client::ConnectError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Cleartext, port 80.
    Http,
    /// TLS, port 443.
    #[default]
    Https,
}

impl Scheme {
    /// As `:scheme` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where a session connects to.
///
/// ```
/// use stagedoor_actors::client::{Scheme, Target};
///
/// let target = Target::parse("http://[::1]:8080/ignored", Scheme::Https)?;
/// assert_eq!((&*target.host, target.port), ("::1", 8080));
/// assert_eq!(target.origin(), "http://[::1]:8080");
/// # Ok::<(), stagedoor_actors::client::ConnectError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How.
    pub scheme: Scheme,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, the scheme's where none was given.
    pub port: u16,
    /// What `:authority` says where a request does not.
    pub authority: String,
}

impl Target {
    /// Reads `[scheme://][userinfo@]host[:port][/path]`; userinfo and path are not looked at. Where no scheme is
    /// given it is `scheme`.
    /// # Errors
    /// [`ConnectError::InvalidAuthority`], [`ConnectError::UnsupportedScheme`].
    pub fn parse(authority: &str, scheme: Scheme) -> Result<Self, ConnectError> {
        let invalid = |why: &str| ConnectError::InvalidAuthority {
            authority: authority.to_owned(),
            why: why.to_owned(),
        };
        let (scheme, rest) = match authority.split_once("://") {
            None => (scheme, authority),
            Some((name, rest)) if name.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((name, rest)) if name.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((name, _)) => return Err(ConnectError::UnsupportedScheme(name.to_owned())),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let rest = rest[..end].rsplit_once('@').map_or(&rest[..end], |(_, host)| host);
        // A bare IPv6 address is accepted where nothing but an address can be meant.
        let bracketed = match rest.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => format!("[{rest}]"),
            Ok(IpAddr::V4(_)) | Err(_) => rest.to_owned(),
        };
        let uri: Uri = bracketed.parse().map_err(|error| invalid(&format!("{error}")))?;
        let parsed = uri.authority().ok_or_else(|| invalid("there is no host"))?;
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(invalid("there is no host"));
        }
        if parsed.host().starts_with('[') && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(invalid("what stands in brackets is no IPv6 address"));
        }
        let port = match parsed.port() {
            Some(port) => port.as_str().parse().map_err(|_| invalid("the port is no number up to 65535"))?,
            None if parsed.as_str().ends_with(':') => scheme.port(),
            None if parsed.as_str().len() > parsed.host().len() => {
                return Err(invalid("the port is no number up to 65535"));
            }
            None => scheme.port(),
        };
        if port == 0 {
            return Err(invalid("port 0 cannot be connected to"));
        }
        let authority = match port == scheme.port() {
            true => parsed.host().to_owned(),
            false => format!("{}:{port}", parsed.host()),
        };
        Ok(Self { scheme, host, port, authority })
    }

    /// The origin as ORIGIN frames spell it (RFC 6454 §6.2).
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme.as_str(), self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Target {
        Target::parse(text, Scheme::Https).unwrap()
    }

    #[test]
    fn a_scheme_brings_its_port() {
        for (text, scheme, host, port, authority) in [
            ("http://example.com", Scheme::Http, "example.com", 80, "example.com"),
            ("https://example.com/", Scheme::Https, "example.com", 443, "example.com"),
            ("HTTP://example.com:8080/a?b#c", Scheme::Http, "example.com", 8080, "example.com:8080"),
            ("https://example.com:443", Scheme::Https, "example.com", 443, "example.com"),
            ("http://example.com:443", Scheme::Http, "example.com", 443, "example.com:443"),
            ("example.com", Scheme::Https, "example.com", 443, "example.com"),
            ("localhost:8443", Scheme::Https, "localhost", 8443, "localhost:8443"),
            ("127.0.0.1:9", Scheme::Https, "127.0.0.1", 9, "127.0.0.1:9"),
        ] {
            let target = parse(text);
            let found = (target.scheme, &*target.host, target.port, &*target.authority);
            assert_eq!(found, (scheme, host, port, authority), "{text}");
        }
    }

    #[test]
    fn brackets_belong_to_the_authority_and_not_to_the_host() {
        for text in ["https://[::1]:8443/x", "[::1]:8443"] {
            assert_eq!((&*parse(text).host, &*parse(text).authority), ("::1", "[::1]:8443"), "{text}");
        }
        assert_eq!((&*parse("::1").host, &*parse("::1").authority), ("::1", "[::1]"));
    }

    #[test]
    fn userinfo_and_path_are_not_looked_at() {
        let target = parse("http://user:pass@example.com:81/path@x?query=a:b");
        assert_eq!((&*target.host, target.port, &*target.authority), ("example.com", 81, "example.com:81"));
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        for text in ["ftp://example.com", "ws://example.com", "://example.com"] {
            let error = Target::parse(text, Scheme::Https).unwrap_err();
            assert!(matches!(error, ConnectError::UnsupportedScheme(_)), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        for text in [
            "",
            "http://",
            "http://:80",
            "http://a b",
            "http://a:99999",
            "http://a:x",
            "http://a:0",
            "http://[::x]",
        ] {
            let error = Target::parse(text, Scheme::Https).unwrap_err();
            assert!(matches!(error, ConnectError::InvalidAuthority { .. }), "{text}: {error}");
        }
    }
}
