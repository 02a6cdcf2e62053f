//! Which hosts an admin request may name: a guard against DNS rebinding, where a page of a foreign site
//! reaches this address under the name of that site.
//!
//! Looks at the host alone, not at the port: a tunnel may change that, a rebinding page cannot gain by it.

use std::net::{IpAddr, Ipv6Addr};

/// Whether `authority` is `localhost` or the address `bound`.
pub(super) fn names_us(authority: Option<&str>, bound: IpAddr) -> bool {
    let Some(host) = authority.and_then(host_of) else { return false };
    match host {
        Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        // Bound to every address, we have them all; a rebinding page has a name.
        Host::Address(address) => address == bound || bound.is_unspecified(),
    }
}

enum Host<'a> {
    Name(&'a str),
    Address(IpAddr),
}

/// The host of an authority, if the whole is well formed; user information is not (RFC 9110 §4.2.4).
fn host_of(authority: &str) -> Option<Host<'_>> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (Host::Address(address.parse::<Ipv6Addr>().ok()?.into()), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            (host.parse().map_or(Host::Name(host), Host::Address), port)
        }
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let proper =
        port.is_empty() || port.starts_with(':') && digits.bytes().all(|octet| octet.is_ascii_digit());
    proper.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bind_address_and_localhost_are_us() {
        let v4 = "127.0.0.1".parse().unwrap();
        for authority in ["127.0.0.1", "127.0.0.1:9901", "localhost", "LocalHost:1", "localhost:"] {
            assert!(names_us(Some(authority), v4), "{authority}");
        }
        let v6 = "::1".parse().unwrap();
        for authority in ["[::1]", "[::1]:9901", "[0:0::1]:9901", "localhost:9901"] {
            assert!(names_us(Some(authority), v6), "{authority}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        let v4 = "127.0.0.1".parse().unwrap();
        for authority in [
            "",
            "evil.example",
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1]",
            "127.0.0.2",
            "localhost:99x",
            "user@localhost",
            "[127.0.0.1]",
            "[::1",
            "localhost.",
            "127.1",
            "localhost:1:2",
        ] {
            assert!(!names_us(Some(authority), v4), "{authority}");
        }
        assert!(!names_us(None, v4));
    }
}
