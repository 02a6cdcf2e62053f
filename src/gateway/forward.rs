//! What a request that is sent on says of where it comes from: `Forwarded` (RFC 7239), `X-Forwarded-For`, `-Proto` and
//! `-Host`, `X-Real-IP`, `X-Request-Id`, `traceparent` (W3C Trace Context), `Via` (RFC 9110 §7.6.3), and the client's
//! certificate.
//!
//! What a client says of these itself is taken out and written anew; what one of `trusted_proxies` says is kept and
//! appended to. Hop-by-hop fields are not touched here.
//!
//! Invariant: an upstream that believes these fields believes us and our proxies, never a client.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;

use stagedoor_actors::TraceContext;
use stagedoor_protocol::{Field, Fields, RequestHead};

use super::answer::Wants;
use super::client::{Client, Trust};

/// Octets of a request id that is kept.
const LONGEST_ID: usize = 128;
/// Every field that begins so speaks of a client's certificate.
const CERTIFICATE: &[u8] = b"x-client-cert-";

/// Where a request comes from.
pub(super) struct Origin<'a> {
    pub(super) client: Client,
    pub(super) trust: &'a Trust,
    /// It came over TLS.
    pub(super) encrypted: bool,
    pub(super) http2: bool,
    pub(super) trace: TraceContext,
}

/// What was seen of a request on the way.
pub(super) struct Seen {
    pub(super) wants: Wants,
    pub(super) id: RequestId,
}

/// Names a request in the logs of everybody it passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestId {
    /// Ours.
    New([u8; 26]),
    /// A proxy's.
    Kept(Box<[u8]>),
}

impl RequestId {
    /// A new one: a ULID, which sorts by time.
    fn new() -> Self {
        thread_local! {
            /// In step by thread: ids of one millisecond are counted up, so that little is asked of the system.
            static GENERATOR: RefCell<ulid::Generator> = const { RefCell::new(ulid::Generator::new()) };
        }
        let id = GENERATOR.with_borrow_mut(|ids| match ids.generate() {
            Ok(id) => id,
            Err(overflow) => overflow.commit_overflow_random(),
        });
        let mut text = [0; ulid::ULID_LEN];
        id.array_to_str(&mut text);
        Self::New(text)
    }

    /// Its text.
    pub(super) fn as_octets(&self) -> &[u8] {
        match self {
            Self::New(text) => text,
            Self::Kept(text) => text,
        }
    }
}

/// Writes what the request says of its origin.
pub(super) fn forward(head: &mut RequestHead, origin: &Origin<'_>) -> Seen {
    let before = Before::of(head.fields(), origin);
    let mut wants = Wants::default();
    let mut kept_id = None;
    head.fields_mut().retain(|field| {
        wants.see(field.name, field.value);
        if origin.client.trusted && field.name == b"x-request-id" && is_id(field.value) {
            kept_id = Some(RequestId::Kept(field.value.into()));
        }
        !is_ours(&field)
    });
    let id = kept_id.unwrap_or_else(RequestId::new);
    // It cannot be kept while fields are pushed, which share its memory.
    let authority = match head.authority_octets() {
        // HTTP/1.1 and some of HTTP/2 say it in `host`.
        [] => head.authority().unwrap_or_default().as_bytes().to_owned(),
        octets => octets.to_owned(),
    };
    let scheme = if origin.encrypted { "https" } else { "http" };
    let fields = head.fields_mut();
    fields.push("x-request-id", id.as_octets());
    fields.push("traceparent", origin.trace.traceparent_octets());
    if let Some(state) = origin.trace.tracestate() {
        fields.push("tracestate", state);
    }
    let mut text = Vec::with_capacity(96);
    let peer = origin.client.peer.map(AddressText::of);
    if let Some(peer) = &peer {
        before.list(&mut text, before.addresses.as_deref());
        text.extend_from_slice(peer.as_octets());
        fields.push("x-forwarded-for", &text);
    }
    match (origin.client.address, &peer) {
        (None, _) => {}
        (address, Some(peer)) if address == origin.client.peer => fields.push("x-real-ip", peer.as_octets()),
        (Some(client), _) => fields.push("x-real-ip", AddressText::of(client).as_octets()),
    }
    fields.push("x-forwarded-proto", before.proto.as_deref().unwrap_or(scheme.as_bytes()));
    match before.host.as_deref() {
        Some(host) => fields.push("x-forwarded-host", host),
        None if authority.is_empty() => {}
        None => fields.push("x-forwarded-host", &authority),
    }
    text.clear();
    before.list(&mut text, before.forwarded.as_deref());
    forwarded(&mut text, peer.as_ref(), &authority, scheme);
    fields.push("forwarded", &text);
    fields.push("via", if origin.http2 { "2 stagedoor" } else { "1.1 stagedoor" });
    Seen { wants, id }
}

/// What proxies of ours said before.
#[derive(Default)]
struct Before {
    addresses: Option<Vec<u8>>,
    forwarded: Option<Vec<u8>>,
    proto: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
}

impl Before {
    fn of(fields: &Fields, origin: &Origin<'_>) -> Self {
        if !origin.client.trusted {
            return Self::default();
        }
        let joined = |name| fields.joined(name).map(Cow::into_owned);
        let mut before = Self {
            addresses: joined("x-forwarded-for"),
            forwarded: joined("forwarded"),
            proto: joined("x-forwarded-proto"),
            host: joined("x-forwarded-host"),
        };
        // A proxy that appends to the one passes on the other as a client wrote it.
        if before.addresses.is_some()
            && before.forwarded.is_some()
            && origin.trust.by_forwarded(origin.client.peer, fields) != origin.client.address
        {
            before.forwarded = None;
        }
        before
    }

    /// Begins a list in `text` with what was there before.
    fn list(&self, text: &mut Vec<u8>, before: Option<&[u8]>) {
        if let Some(before) = before.filter(|before| std::str::from_utf8(before).is_ok())
            && !before.trim_ascii().is_empty()
        {
            text.extend_from_slice(before);
            text.extend_from_slice(b", ");
        }
    }
}

/// An element of `Forwarded` (RFC 7239 §4).
fn forwarded(text: &mut Vec<u8>, peer: Option<&AddressText>, authority: &[u8], scheme: &str) {
    match peer {
        Some(peer) if peer.quoted => {
            text.extend_from_slice(b"for=\"[");
            text.extend_from_slice(peer.as_octets());
            text.extend_from_slice(b"]\"");
        }
        Some(peer) => {
            text.extend_from_slice(b"for=");
            text.extend_from_slice(peer.as_octets());
        }
        None => text.extend_from_slice(b"for=unknown"),
    }
    if !authority.is_empty() && !authority.contains(&b'"') {
        text.extend_from_slice(b";host=\"");
        text.extend_from_slice(authority);
        text.push(b'"');
    }
    text.extend_from_slice(b";proto=");
    text.extend_from_slice(scheme.as_bytes());
}

/// An address as text, made once a request and without the formatting machinery where it is IPv4.
struct AddressText {
    /// The longest is an IPv6 address with an IPv4 one in it.
    text: [u8; 45],
    length: usize,
    /// It has colons.
    quoted: bool,
}

impl AddressText {
    fn of(address: IpAddr) -> Self {
        let mut made = Self { text: [0; 45], length: 0, quoted: address.is_ipv6() };
        match address {
            IpAddr::V4(address) => {
                for (place, octet) in address.octets().into_iter().enumerate() {
                    if place > 0 {
                        made.put(b'.');
                    }
                    if octet >= 100 {
                        made.put(b'0' + octet / 100);
                    }
                    if octet >= 10 {
                        made.put(b'0' + octet / 10 % 10);
                    }
                    made.put(b'0' + octet % 10);
                }
            }
            IpAddr::V6(address) => address.to_string().bytes().for_each(|octet| made.put(octet)),
        }
        made
    }

    fn put(&mut self, octet: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = octet;
            self.length += 1;
        }
    }

    fn as_octets(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

/// A field that is written by us alone. `via` is appended to by everybody.
fn is_ours(field: &Field<'_>) -> bool {
    // Told by the length first: every field of every request comes by here.
    let known = match field.name.len() {
        9 => matches!(field.name, b"forwarded" | b"x-real-ip"),
        10 => field.name == b"tracestate",
        11 => field.name == b"traceparent",
        12 => field.name == b"x-request-id",
        15 => field.name == b"x-forwarded-for",
        16 => field.name == b"x-forwarded-host",
        17 => field.name == b"x-forwarded-proto",
        _ => false,
    };
    known || field.name.starts_with(CERTIFICATE)
}

/// An id that may stand in logs: short and printable.
fn is_id(value: &[u8]) -> bool {
    (1..=LONGEST_ID).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use stagedoor_actors::trace;
    use stagedoor_metrics::SessionId;

    use super::*;

    fn sent_on(peer: &str, list: &[(&str, &str)]) -> (Fields, Seen) {
        let mut head = RequestHead::new("GET", "https", "a.example:8443", "/");
        head.fields_mut().extend(list.iter().copied());
        let trust = Trust(vec!["10.0.0.0/8".parse().unwrap()]);
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        let origin = Origin {
            client: trust.client(Some(peer), head.fields()),
            trust: &trust,
            encrypted: true,
            http2: true,
            trace: trace::of(&head, SessionId { worker: 0, number: 1 }, 1),
        };
        let seen = forward(&mut head, &origin);
        (head.fields().clone(), seen)
    }

    fn all<'a>(fields: &'a Fields, name: &'a str) -> Vec<&'a str> {
        fields.get_all(name).map(|value| std::str::from_utf8(value).unwrap()).collect()
    }

    const FORGED: [(&str, &str); 6] = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-host", "evil"),
        ("x-real-ip", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-request-id", "forged"),
    ];

    #[test]
    fn addresses_are_written_as_everybody_writes_them() {
        for address in ["0.0.0.0", "10.200.3.99", "255.255.255.255", "::1", "2001:db8::ffff:255.255.255.255"]
        {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(AddressText::of(address).as_octets(), address.to_string().as_bytes());
        }
    }

    #[test]
    fn a_client_is_not_believed() {
        let (fields, seen) = sent_on("2001:db8::1", &FORGED);
        assert_eq!(all(&fields, "x-forwarded-for"), ["2001:db8::1"]);
        assert_eq!(all(&fields, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&fields, "x-forwarded-host"), ["a.example:8443"]);
        assert_eq!(all(&fields, "x-real-ip"), ["2001:db8::1"]);
        assert_eq!(all(&fields, "forwarded"), [r#"for="[2001:db8::1]";host="a.example:8443";proto=https"#]);
        assert!(matches!(seen.id, RequestId::New(_)));
        assert_eq!(all(&fields, "x-request-id"), [std::str::from_utf8(seen.id.as_octets()).unwrap()]);
    }

    #[test]
    fn a_proxy_of_ours_is_appended_to() {
        let list = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "b.example"),
            ("forwarded", "for=1.2.3.4"),
            ("x-request-id", "req-1"),
            ("via", "1.1 first"),
        ];
        let (fields, seen) = sent_on("10.1.1.1", &list);
        assert_eq!(all(&fields, "x-forwarded-for"), ["6.6.6.6, 1.2.3.4, 10.1.1.1"]);
        assert_eq!(all(&fields, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&fields, "x-forwarded-host"), ["b.example"]);
        assert_eq!(all(&fields, "x-real-ip"), ["1.2.3.4"]);
        assert_eq!(
            all(&fields, "forwarded"),
            [r#"for=1.2.3.4, for=10.1.1.1;host="a.example:8443";proto=https"#]
        );
        assert_eq!(seen.id, RequestId::Kept(b"req-1"[..].into()));
        assert_eq!(all(&fields, "via"), ["1.1 first", "2 stagedoor"]);
    }

    #[test]
    fn forwarded_that_contradicts_is_not_passed_on() {
        let list = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=6.6.6.6")];
        let (fields, _) = sent_on("10.1.1.1", &list);
        assert_eq!(all(&fields, "forwarded"), [r#"for=10.1.1.1;host="a.example:8443";proto=https"#]);
    }

    #[test]
    fn a_trace_goes_on_and_a_bad_id_does_not() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let long = "x".repeat(129);
        for bad in ["", "a b", &long] {
            let list = [("traceparent", parent), ("tracestate", "v=1"), ("x-request-id", bad)];
            let (fields, seen) = sent_on("10.1.1.1", &list);
            let [traceparent] = all(&fields, "traceparent")[..] else { panic!("one") };
            assert!(traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{traceparent}");
            assert_ne!(traceparent, parent, "our span is its parent");
            assert_eq!(all(&fields, "tracestate"), ["v=1"]);
            assert!(matches!(seen.id, RequestId::New(_)));
        }
    }

    #[test]
    fn ids_are_new_each_time_and_sort() {
        let ids: Vec<_> = (0..100).map(|_| RequestId::new().as_octets().to_vec()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn nobody_else_speaks_of_certificates() {
        let list = [("x-client-cert-subject", "CN=root"), ("x-client", "1"), ("x-client-cert-san", "2")];
        for peer in ["192.0.2.1", "10.1.1.1"] {
            let (fields, _) = sent_on(peer, &list);
            assert!(fields.contains("x-client"));
            assert!(!fields.iter().any(|field| field.name.starts_with(CERTIFICATE)), "{peer}");
        }
    }
}
