//! Who a client is: the address that rules and limits count by.
//!
//! It is the peer of the connection, unless the peer is one of `trusted_proxies`: then the right-most address of
//! `X-Forwarded-For` that is not one of them, or of `Forwarded` (RFC 7239) where there is no `X-Forwarded-For`. Every
//! proxy appends the peer it sees, so what stands further left was written by whom nobody vouches for.
//!
//! Invariant: a field of an untrusted peer changes nothing, and an address that cannot be read is nobody's.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use stagedoor_protocol::Fields;

/// Whose word is believed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust(pub(super) Vec<IpNet>);

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// `None` where it is not known.
    pub(super) address: Option<IpAddr>,
    /// Who is at the other end of the connection.
    pub(super) peer: Option<IpAddr>,
    /// The peer is one of our proxies.
    pub(super) trusted: bool,
}

impl Trust {
    /// Who sent a request with these fields over a connection of `peer`.
    pub(super) fn client(&self, peer: Option<SocketAddr>, fields: &Fields) -> Client {
        let peer = peer.map(|peer| peer.ip().to_canonical());
        let trusted = peer.is_some_and(|peer| self.includes(peer));
        let address = if trusted { self.behind(peer, fields) } else { peer };
        Client { address, peer, trusted }
    }

    fn includes(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    fn behind(&self, peer: Option<IpAddr>, fields: &Fields) -> Option<IpAddr> {
        match fields.contains("x-forwarded-for") {
            true => self.right_most(peer, elements(fields, "x-forwarded-for").map(address_in)),
            false => self.right_most(peer, elements(fields, "forwarded").map(forwarded_for)),
        }
    }

    /// The address that `Forwarded` alone would tell, where it is there.
    pub(super) fn by_forwarded(&self, peer: Option<IpAddr>, fields: &Fields) -> Option<IpAddr> {
        self.right_most(peer, elements(fields, "forwarded").map(forwarded_for))
    }

    /// The first that is not trusted, from the right; the left-most where all are.
    fn right_most(
        &self,
        peer: Option<IpAddr>,
        addresses: impl Iterator<Item = Option<IpAddr>>,
    ) -> Option<IpAddr> {
        let mut last = peer;
        for address in addresses {
            last = address;
            if !address.is_some_and(|address| self.includes(address)) {
                break;
            }
        }
        last
    }
}

/// The elements of a list field from the right, those in quotes whole.
fn elements<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let mut all: Vec<&[u8]> = Vec::new();
    for value in fields.get_all(name) {
        split(value, b',', &mut all);
    }
    all.into_iter().rev().filter(|element| !element.is_empty())
}

/// Splits outside of quotes.
fn split<'a>(text: &'a [u8], separator: u8, into: &mut Vec<&'a [u8]>) {
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            octet if *octet == separator && !quoted => {
                into.push(text.get(start..at).unwrap_or_default().trim_ascii());
                start = at + 1;
            }
            _ => {}
        }
    }
    into.push(text.get(start..).unwrap_or_default().trim_ascii());
}

/// `for` of an element of `Forwarded`; names that hide an address are none (RFC 7239 §6.2, §6.3).
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut pairs = Vec::new();
    split(element, b';', &mut pairs);
    let value = pairs.iter().find_map(|pair| {
        let (name, value) = pair.split_at_checked(pair.iter().position(|octet| *octet == b'=')?)?;
        name.trim_ascii().eq_ignore_ascii_case(b"for").then_some(value.get(1..)?)
    })?;
    let value = value.trim_ascii();
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    address_in(inner.unwrap_or(value))
}

/// An address, perhaps with a port; IPv6 with or without brackets.
fn address_in(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text.parse().ok().or_else(|| {
        let with_port = text.parse::<SocketAddr>().ok().map(|address| address.ip());
        let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
        with_port.or_else(bare)
    });
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, list: &[(&str, &str)]) -> Option<String> {
        let trust = Trust(["10.0.0.0/8", "::1/128"].iter().map(|net| net.parse().unwrap()).collect());
        let peer = SocketAddr::new(peer.parse().unwrap(), 9);
        let fields: Fields = list.iter().copied().collect();
        trust.client(Some(peer), &fields).address.map(|address| address.to_string())
    }

    #[test]
    fn only_proxies_of_ours_are_believed() {
        let forged = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")];
        assert_eq!(seen("192.0.2.1", &forged).as_deref(), Some("192.0.2.1"));
        assert_eq!(seen("10.1.1.1", &forged).as_deref(), Some("1.2.3.4"));
        assert_eq!(
            seen("::ffff:10.1.1.1", &forged).as_deref(),
            Some("1.2.3.4"),
            "an IPv4 peer of an IPv6 socket"
        );
        assert_eq!(seen("10.1.1.1", &[]).as_deref(), Some("10.1.1.1"));
    }

    #[test]
    fn the_right_most_untrusted_address_counts() {
        for (value, client) in [
            ("6.6.6.6, 1.2.3.4, 10.9.9.9", Some("1.2.3.4")),
            ("6.6.6.6,1.2.3.4:5555", Some("1.2.3.4")),
            ("6.6.6.6, [2001:db8::1]:80 ,10.1.1.2", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("10.3.3.3, 10.2.2.2", Some("10.3.3.3")),
            ("1.2.3.4, ,", Some("1.2.3.4")),
            ("1.2.3.4, unknown", None),
            ("1.2.3.4, garbage, 10.2.2.2", None),
        ] {
            assert_eq!(seen("10.1.1.1", &[("x-forwarded-for", value)]).as_deref(), client, "{value}");
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(seen("10.1.1.1", &lines).as_deref(), Some("1.2.3.4"), "the last line is the last proxy's");
    }

    #[test]
    fn forwarded_is_read_where_there_is_no_other() {
        for (value, client) in [
            ("for=6.6.6.6, for=1.2.3.4;proto=https;by=10.0.0.1", Some("1.2.3.4")),
            ("For=\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
            ("proto=https ; for=\"1.2.3.4:80\", for=10.0.0.2", Some("1.2.3.4")),
            ("for=1.2.3.4;host=\"a,for=6.6.6.6\"", Some("1.2.3.4")),
            ("for=1.2.3.4, for=_hidden", None),
            ("for=1.2.3.4, proto=http", None),
        ] {
            assert_eq!(seen("::1", &[("forwarded", value)]).as_deref(), client, "{value}");
        }
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(seen("::1", &both).as_deref(), Some("1.2.3.4"));
    }

    #[test]
    fn a_peer_without_an_address_is_nobody() {
        let fields: Fields = [("x-forwarded-for", "1.2.3.4")].into_iter().collect();
        let client = Trust::default().client(None, &fields);
        assert_eq!(client, Client { address: None, peer: None, trusted: false });
    }
}
