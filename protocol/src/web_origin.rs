//! Origins of the web (RFC 6454 §4, §6.2): from a URL to the ASCII that ALTSVC and ORIGIN frames carry.
//!
//! Knows `http` and `https` alone; resolves nothing, and takes host names in ASCII (A-labels).

/// The origin of an `http` or `https` URL as `scheme://host[:port]`: lower case, without the port its scheme implies.
/// Path, query and fragment are left out. None where the URL has user information, no host, a port that is none, a
/// character no host has, or another scheme, whose origin would be `null`.
///
/// ```
/// # use stagedoor_protocol::web_origin::serialise;
/// assert_eq!(serialise("HTTPS://Example.org:443/a?b").as_deref(), Some("https://example.org"));
/// assert_eq!(serialise("http://[::1]:8080"), Some("http://[::1]:8080".into()));
/// assert_eq!(serialise("ftp://example.org"), None);
/// ```
pub fn serialise(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (scheme, implied) = if scheme.eq_ignore_ascii_case("https") {
        ("https", 443)
    } else if scheme.eq_ignore_ascii_case("http") {
        ("http", 80)
    } else {
        return None;
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    // The colons of an IPv6 address stand in brackets.
    let host_end = match authority.strip_prefix('[') {
        Some(inner) => inner.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(host_end)?;
    let valid = match host.strip_prefix('[') {
        Some(inner) => inner.trim_end_matches(']').parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_host),
    };
    if !valid {
        return None;
    }
    let mut origin = format!("{scheme}://{}", host.to_ascii_lowercase());
    match port.strip_prefix(':') {
        // An empty port is no port (RFC 3986 §3.2.3).
        Some("") => {}
        Some(digits) if digits.bytes().all(|octet| octet.is_ascii_digit()) => {
            let port: u16 = digits.parse().ok()?;
            if port != implied {
                origin.push_str(&format!(":{port}"));
            }
        }
        Some(_) => return None,
        None if port.is_empty() => {}
        None => return None,
    }
    Some(origin)
}

/// An octet of a registered name (RFC 3986 §3.2.2), escapes apart.
fn is_host(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_origin_and_what_is_none() {
        for (url, origin) in [
            ("https://example.org", "https://example.org"),
            ("https://example.org/", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("https://EXAMPLE.org:8111/this?x#y", "https://example.org:8111"),
            ("https://127.0.0.1:0", "https://127.0.0.1:0"),
            ("https://example.org:", "https://example.org"),
            ("https://[2001:DB8::1]:443", "https://[2001:db8::1]"),
        ] {
            assert_eq!(serialise(url).as_deref(), Some(origin), "{url}");
        }
        for url in [
            "",
            "null",
            "://",
            "https://",
            "https:///path",
            "https://:443",
            "https://user@example.org",
            "https://example.org:65536",
            "https://example.org:4x",
            "https://example.org:+1",
            "https://exa mple.org",
            "https://exämple.org",
            "https://[::1",
            "https://[::1]x",
            "https://[]]",
            "https://[zz]",
            "wss://example.org",
            "file:///etc",
            "example.org",
        ] {
            assert_eq!(serialise(url), None, "{url}");
        }
    }
}
