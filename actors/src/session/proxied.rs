//! The header of the PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt` §2): the first octets of a
//! connection, with which a proxy in front of us says whose it is.
//!
//! Reads nothing itself and decides nothing about trust. Invariants: it asks for no octet that could lie behind the header,
//! so that what follows is found by whoever reads next; it keeps [`LONGEST`] octets at most; where the octets were cut does
//! not matter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::config::ProxyProtocol;

/// What a header of version 2 begins with.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What one of version 1 does.
const V1: &[u8; 6] = b"PROXY ";
/// The shortest of version 1: `PROXY UNKNOWN` and its line end.
const V1_LEAST: usize = 15;
/// The longest (§2.1).
const V1_MOST: usize = 107;
/// Of version 2, the part of fixed length.
const V2_FIXED: usize = 16;
/// Octets of a header of version 2 that are taken, those of its TLVs included.
const LONGEST: usize = 4096;

/// What the octets of a connection are, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// As many octets more, or fewer, and it may be told.
    More(usize),
    /// Not a header of a kind that is spoken here.
    Foreign,
    /// A header, whole: whose the connection is; `None` where it does not say, and the socket's own end counts.
    Whole(Option<SocketAddr>),
    /// It began as a header and is none.
    Broken(&'static str),
}

/// The octets of a header as they come in.
pub(super) struct Header {
    speaks: ProxyProtocol,
    octets: Vec<u8>,
}

impl Header {
    pub(super) fn new(speaks: ProxyProtocol) -> Self {
        Self { speaks, octets: Vec::new() }
    }

    /// Octets that came; no more of them than were asked for.
    pub(super) fn extend(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// The signature came whole: whoever sent it means a header.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.look(), Found::Foreign) && (self.octets.starts_with(V1) || self.octets.starts_with(V2))
    }

    /// What came so far, for whoever reads on where it is no header.
    pub(super) fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    /// What it is, so far.
    pub(super) fn look(&self) -> Found {
        let octets = &self.octets[..];
        let (v1, v2) = match self.speaks {
            ProxyProtocol::Off => (false, false),
            ProxyProtocol::V1 => (true, false),
            ProxyProtocol::V2 => (false, true),
            ProxyProtocol::Any => (true, true),
        };
        let begins = |signature: &[u8]| {
            let known = octets.len().min(signature.len());
            octets[..known] == signature[..known]
        };
        if v2 && begins(V2) {
            // The first octet alone is told apart from TLS and HTTP at no cost: the rest may be none of ours.
            return match octets.len() {
                0 => Found::More(1),
                known if known < V2.len() => Found::More(V2.len() - known),
                _ => version_2(octets),
            };
        }
        if v1 && begins(V1) {
            return match octets.len() {
                0 => Found::More(1),
                known if known < V1.len() => Found::More(V1.len() - known),
                _ => version_1(octets),
            };
        }
        Found::Foreign
    }
}

/// `octets` begin with [`V1`].
fn version_1(octets: &[u8]) -> Found {
    if octets.len() < V1_LEAST {
        return Found::More(V1_LEAST - octets.len());
    }
    let Some(line) = octets.strip_suffix(b"\r\n") else {
        // The end of a line is nowhere but at the end: no octet was read beyond it.
        return match octets.len() < V1_MOST {
            true => Found::More(1),
            false => Found::Broken("a PROXY line without an end"),
        };
    };
    let Ok(line) = std::str::from_utf8(line) else { return Found::Broken("a PROXY line that is not ASCII") };
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let client = match words[..] {
        ["UNKNOWN", ..] => return Found::Whole(None),
        ["TCP4", from, to, from_port, to_port] => ends::<Ipv4Addr>([from, to], [from_port, to_port]),
        ["TCP6", from, to, from_port, to_port] => ends::<Ipv6Addr>([from, to], [from_port, to_port]),
        _ => None,
    };
    client.map_or(Found::Broken("a PROXY line that is not well formed"), |client| Found::Whole(Some(client)))
}

/// The first of two ends, where both are what they should be.
fn ends<T: FromStr + Into<IpAddr>>(addresses: [&str; 2], ports: [&str; 2]) -> Option<SocketAddr> {
    let [from, to] = addresses.map(|text| text.parse::<T>().ok());
    let [from_port, to_port] = ports.map(port);
    to.and(to_port)?;
    Some(SocketAddr::new(from?.into(), from_port?))
}

/// Decimal, without a sign or a leading zero (§2.1).
fn port(text: &str) -> Option<u16> {
    let proper = text == "0" || !text.starts_with('0') && text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| proper)
}

/// `octets` begin with [`V2`].
fn version_2(octets: &[u8]) -> Found {
    if octets.len() < V2_FIXED {
        return Found::More(V2_FIXED - octets.len());
    }
    let (kind, family, length) = (octets[12], octets[13], u16::from_be_bytes([octets[14], octets[15]]));
    let local = match kind {
        0x20 => true,
        0x21 => false,
        _ => return Found::Broken("a PROXY header of an unknown version or command"),
    };
    let whole = V2_FIXED + usize::from(length);
    if whole > LONGEST {
        return Found::Broken("a PROXY header that is too long");
    }
    // The length of the addresses follows from their family: one that is too short will not get better.
    let inet = match family {
        0x11 => 12,
        0x21 => 36,
        // UNSPEC, datagrams, Unix sockets: the socket's own end counts (§2.2).
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => 0,
        _ => return Found::Broken("a PROXY header of an unknown family"),
    };
    if !local && usize::from(length) < inet {
        return Found::Broken("a PROXY header that is too short");
    }
    if octets.len() < whole {
        return Found::More(whole - octets.len());
    }
    if local {
        return Found::Whole(None);
    }
    let at = &octets[V2_FIXED..];
    Found::Whole(match family {
        0x11 => v2_client::<4>(at, 8),
        0x21 => v2_client::<16>(at, 32),
        _ => None,
    })
}

/// The first of two addresses of `N` octets; its port lies at `port`.
fn v2_client<const N: usize>(octets: &[u8], port: usize) -> Option<SocketAddr>
where
    [u8; N]: Into<IpAddr>,
{
    let address: &[u8; N] = octets.first_chunk()?;
    let port = octets.get(port..)?.first_chunk()?;
    Some(SocketAddr::new((*address).into(), u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `octets` that arrive by `pieces` at a time, and how many of them were taken.
    fn told(speaks: ProxyProtocol, octets: &[u8], pieces: usize) -> (Found, usize) {
        let mut header = Header::new(speaks);
        let mut at = 0;
        loop {
            match header.look() {
                Found::More(most) if at < octets.len() => {
                    let end = octets.len().min(at + most.min(pieces));
                    header.extend(&octets[at..end]);
                    at = end;
                }
                found => return (found, at),
            }
        }
    }

    fn v2(kind: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[kind, family][..], &length, body].concat()
    }

    fn inet(from: &str, rest: &[u8]) -> Vec<u8> {
        let from: SocketAddr = from.parse().unwrap();
        let (address, family) = match from.ip() {
            IpAddr::V4(ip) => (ip.octets().to_vec(), 0x11),
            IpAddr::V6(ip) => (ip.octets().to_vec(), 0x21),
        };
        let ports = [from.port().to_be_bytes(), [0x1f, 0x90]].concat();
        v2(0x21, family, &[&address[..], &address, &ports, rest].concat())
    }

    #[test]
    fn a_header_is_found_wherever_it_is_cut_and_nothing_behind_it_is_taken() {
        let v6 = "[2001:db8::1]:65535";
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.1 127.0.0.1 56324 443\r\n".to_vec(), Some("192.0.2.1:56324")),
            (b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n".to_vec(), Some(v6)),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ff ff 1 2 what else\r\n".to_vec(), None),
            (inet("192.0.2.1:56324", b""), Some("192.0.2.1:56324")),
            (inet(v6, &[4; 500]), Some(v6)),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, b"tlv"), None),
            (v2(0x21, 0x31, &[7; 216]), None),
            (v2(0x21, 0x00, &[1; LONGEST - V2_FIXED]), None),
        ] {
            let client = client.map(|client| client.parse().unwrap());
            let more = [&header[..], b"\x16\x03\x01GET / HTTP/1.1\r\n"].concat();
            for pieces in (1..=header.len()).chain([more.len()]) {
                assert_eq!(told(ProxyProtocol::Any, &more, pieces), (Found::Whole(client), header.len()));
            }
            for end in 0..header.len() {
                let (found, _) = told(ProxyProtocol::Any, &header[..end], end.max(1));
                assert!(matches!(found, Found::More(_)), "{end} octets of {header:?}: {found:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_foreign_at_its_first_odd_octet() {
        for (octets, taken) in [
            (&b"GET / HTTP/1.1\r\n"[..], 1),
            (b"\x16\x03\x01", 1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 6),
            (b"\r\n\r\n\0\r\nQUIT\r", 12),
        ] {
            assert_eq!(told(ProxyProtocol::Any, octets, 100), (Found::Foreign, taken), "{octets:?}");
        }
        let line = b"PROXY UNKNOWN\r\n";
        assert_eq!(told(ProxyProtocol::V2, line, 100).0, Found::Foreign);
        assert_eq!(told(ProxyProtocol::V1, &v2(0x20, 0, b""), 100).0, Found::Foreign);
        assert_eq!(told(ProxyProtocol::Off, line, 100).0, Found::Foreign);
    }

    #[test]
    fn broken_headers_are_told() {
        let long = |length: usize| [&b"PROXY UNKNOWN "[..], &vec![b'x'; length - 16], b"\r\n"].concat();
        assert_eq!(told(ProxyProtocol::Any, &long(107), 9).0, Found::Whole(None));
        let mut broken: Vec<Vec<u8>> = [
            "PROXY TCP4 192.0.2.1 127.0.0.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 127.0.0.1 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.1 127.0.0.1 +80 443\r\n",
            "PROXY TCP4 192.0.2.1 127.0.0.1 080 443\r\n",
            "PROXY TCP4 192.0.2.1 127.0.0.1 80 65536\r\n",
            "PROXY TCP4 192.0.2.1  127.0.0.1 80 443\r\n",
            "PROXY TCP4 192.0.2.1 ::1 80 443\r\n",
            "PROXY TCP6 192.0.2.1 ::1 80 443\r\n",
            "PROXY TCP4 192.0.2.256 127.0.0.1 80 443\r\n",
            "PROXY tcp4 192.0.2.1 127.0.0.1 80 443\r\n",
            "PROXY UDP4 192.0.2.1 127.0.0.1 80 443\r\n",
            "PROXY TCP4 \u{e4} 127.0.0.1 80 443\r\n",
        ]
        .map(|line| line.as_bytes().to_vec())
        .to_vec();
        broken.extend([
            long(108),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x41, &[0; 36]),
            v2(0x21, 0x00, &[0; LONGEST - V2_FIXED + 1]),
        ]);
        for header in broken {
            for pieces in [1, 7, 4096] {
                let (found, _) = told(ProxyProtocol::Any, &header, pieces);
                assert!(matches!(found, Found::Broken(_)), "{header:?}: {found:?}");
            }
        }
    }

    #[test]
    fn whatever_follows_a_signature_is_judged_within_bounds_however_it_is_cut() {
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        let mut dice = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x
        };
        const LINE: &[u8] = b"PROXY TCP4 UNKNOWN 192.0.2.1 ::1 80\r\n";
        for _ in 0..5_000 {
            let mut octets = Vec::new();
            if dice() % 2 == 0 {
                octets.extend_from_slice(V2);
                octets.extend([0x20 + (dice() % 3) as u8, (dice() % 0x40) as u8, (dice() % 18) as u8]);
                octets.extend((0..dice() % 5000).map(|_| dice() as u8));
            } else {
                octets.extend_from_slice(V1);
                octets.extend((0..dice() % 130).map(|_| LINE[dice() as usize % LINE.len()]));
            }
            let (whole, taken) = told(ProxyProtocol::Any, &octets, usize::MAX);
            assert!(taken <= LONGEST);
            let pieces = 1 + dice() as usize % 40;
            assert_eq!(told(ProxyProtocol::Any, &octets, pieces), (whole, taken), "{octets:?}");
        }
    }
}
