//! The host of an authority (RFC 9110 §4.2, RFC 3986 §3.2.2), as routes and certificates name it.
//!
//! Lower case, without port, without the one dot that ends an absolute name; IPv6 addresses in brackets, in the
//! form of RFC 5952. Resolves nothing.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The host that `authority` names; `None` where it is none: user information, a port that is no number, nothing at
/// all.
pub(super) fn of(authority: &str) -> Option<Cow<'_, str>> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return is_port(port).then(|| Cow::Owned(format!("[{address}]")));
    }
    let end = authority.find(':').unwrap_or(authority.len());
    let (host, port) = authority.split_at_checked(end)?;
    if !is_port(port) || host.contains('@') {
        return None;
    }
    named(host)
}

/// A host as it is compared, from the form a configuration or a certificate has it in.
pub(super) fn named(host: &str) -> Option<Cow<'_, str>> {
    if host.contains(':')
        && let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>()
    {
        return Some(Cow::Owned(format!("[{address}]")));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    let is_lower = !host.bytes().any(|octet| octet.is_ascii_uppercase());
    Some(if is_lower { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) })
}

/// What follows a host: nothing, or a colon and digits, or the colon alone (RFC 3986 §3.2.3).
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|octet| octet.is_ascii_digit()),
        None => text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_port_and_final_dot_do_not_matter() {
        for (authority, host) in [
            ("example.org", "example.org"),
            ("EXAMPLE.org:8443", "example.org"),
            ("example.org.:80", "example.org"),
            ("example.org:", "example.org"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:8443", "[::1]"),
            ("[0:0::1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
        ] {
            assert_eq!(of(authority).as_deref(), Some(host), "{authority}");
        }
        assert_eq!(named("::1").as_deref(), Some("[::1]"));
    }

    #[test]
    fn what_is_no_authority_has_no_host() {
        for authority in
            ["", ".", ":80", "a@b", "user:pw@b", "a:b", "a:1:2", "a:123456", "[::1", "[x]", "[::1]x"]
        {
            assert_eq!(of(authority), None, "{authority}");
        }
    }
}
