//! Who a certificate says somebody is, as text that may stand in a header field.
//!
//! Judges nothing: whether a certificate is believed is decided in the handshake, before anybody asks here.
//! Invariant: every text is printable ASCII without a character that could end or begin a part of it; what a
//! certificate says otherwise is escaped (RFC 4514 §2.4), so that nobody takes one name for two.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::hex::hex;

/// Octets of the longest subject and of the longest list of names that are passed on.
const LONGEST: usize = 4096;

/// Who a client is, by the certificate it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The subject (RFC 4514): `CN=ana,O=Example`. For `x-client-cert-subject`; may be empty.
    pub subject: String,
    /// The alternative names: `DNS:a.example, URI:spiffe://example/a`. For `x-client-cert-san`; may be empty.
    pub san: String,
    /// SHA-256 of the certificate, in lower case hex.
    pub fingerprint: String,
}

impl ClientIdentity {
    /// Reads the certificate of a client (DER). `None` where it is none, or one whose subject or names are longer
    /// than 4096 octets each: a part of a name is another name.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let (subject, san) = (name_text(certificate.subject()), san_text(&certificate));
        let fits = subject.len() <= LONGEST && san.len() <= LONGEST;
        fits.then(|| Self { subject, san, fingerprint: fingerprint(der) })
    }
}

/// The subject of a certificate (DER), as in [`ClientIdentity::subject`].
#[must_use]
pub fn client_subject(der: &[u8]) -> Option<String> {
    ClientIdentity::parse(der).map(|identity| identity.subject)
}

/// SHA-256 in lower case hex.
pub(super) fn fingerprint(der: &[u8]) -> String {
    hex(&Sha256::digest(der))
}

/// A distinguished name (RFC 4514 §2): the last part first.
pub(super) fn name_text(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (at, part) in parts.iter().rev().enumerate() {
        for (within, attribute) in part.iter().enumerate() {
            match (at, within) {
                (0, 0) => {}
                (_, 0) => text.push(','),
                _ => text.push('+'),
            }
            push_attribute(&mut text, attribute);
        }
    }
    text
}

fn push_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let known = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    match (known, attribute.as_str()) {
        (Some((_, short)), Ok(value)) => {
            text.push_str(short);
            text.push('=');
            escape(text, value);
        }
        // RFC 4514 §2.4: what has no text is shown as its BER octets.
        (known, _) => {
            text.push_str(known.map_or(oid.as_str(), |(_, short)| short));
            text.push_str("=#");
            text.push_str(&hex(&ber(attribute)));
        }
    }
}

/// A value with its tag and length. Values with long tags are no attribute that anybody defined: their tag is cut.
fn ber(attribute: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    let value = attribute.attr_value();
    let constructed = if value.header.is_constructed() { 0x20 } else { 0 };
    let tag = u8::try_from(value.tag().0 & 0x1f).unwrap_or_default();
    let mut octets = vec![(value.class() as u8) << 6 | constructed | tag];
    match u8::try_from(value.data.len()) {
        Ok(length) if length < 0x80 => octets.push(length),
        _ => {
            let length = value.data.len().to_be_bytes();
            let digits = length.iter().skip_while(|octet| **octet == 0);
            octets.push(0x80 | u8::try_from(digits.clone().count()).unwrap_or_default());
            octets.extend(digits);
        }
    }
    octets.extend_from_slice(value.data);
    octets
}

/// Alternative names (RFC 5280 §4.2.1.6), in their order. Kinds that nobody routes by are left out.
fn san_text(certificate: &X509Certificate<'_>) -> String {
    let mut text = String::new();
    for name in general_names(certificate) {
        let before = text.len();
        if before > 0 {
            text.push_str(", ");
        }
        let mut push = |kind: &str, value: &str| {
            text.push_str(kind);
            escape(&mut text, value);
        };
        match name {
            GeneralName::DNSName(name) => push("DNS:", name),
            GeneralName::URI(uri) => push("URI:", uri),
            GeneralName::RFC822Name(mail) => push("email:", mail),
            GeneralName::DirectoryName(name) => push("dirName:", &name_text(name)),
            GeneralName::IPAddress(octets) => match address(octets) {
                Some(address) => push("IP:", &address.to_string()),
                None => text.truncate(before),
            },
            _ => text.truncate(before),
        }
    }
    text
}

/// The alternative names of a certificate; none where it has none or they do not parse.
pub(super) fn general_names<'a>(certificate: &'a X509Certificate<'a>) -> &'a [GeneralName<'a>] {
    match certificate.subject_alternative_name() {
        Ok(Some(names)) => &names.value.general_names,
        _ => &[],
    }
}

/// The address in an alternative name: four octets or sixteen.
pub(super) fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

/// RFC 4514 §2.4, and beyond it whatever is not printable ASCII.
fn escape(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (at, octet) in value.bytes().enumerate() {
        let edge = at == 0 || at == last;
        match octet {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(octet));
            }
            b'#' | b' ' if edge => {
                text.push('\\');
                text.push(char::from(octet));
            }
            b' '..=b'~' => text.push(char::from(octet)),
            // Writing to a string does not fail.
            _ => drop(write!(text, "\\{octet:02X}")),
        }
    }
}

/// Attribute types with the names that RFC 4514 §3 and the registry of LDAP descriptors give them.
const SHORT_NAMES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "givenName"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn der(name: impl IntoIterator<Item = (DnType, DnValue)>, san: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in name {
            params.distinguished_name.push(kind, value);
        }
        params.subject_alt_names = san;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn text(value: &str) -> DnValue {
        DnValue::Utf8String(value.to_owned())
    }

    #[test]
    fn a_subject_is_written_as_rfc_4514_says() {
        let name = [
            (DnType::CountryName, text("PT")),
            (DnType::OrganizationName, text("Sue, Grabbit + \"Runn\"")),
            (DnType::CustomDnType(vec![1, 3, 6, 1, 4]), text("x")),
            (DnType::CommonName, text(" #Lučić\r\nx-admin: 1 ")),
        ];
        let subject = client_subject(&der(name, Vec::new())).unwrap();
        assert_eq!(
            subject,
            r#"CN=\ #Lu\C4\8Di\C4\87\0D\0Ax-admin: 1\ ,1.3.6.1.4=#0c0178,O=Sue\, Grabbit \+ \"Runn\",C=PT"#
        );
        assert!(http::HeaderValue::from_str(&subject).is_ok());
    }

    #[test]
    fn alternative_names_are_listed_and_none_passes_for_two() {
        let san = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI("spiffe://example/a, DNS:admin.example".try_into().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::Rfc822Name("ana@example.org".try_into().unwrap()),
        ];
        let der = der([], san);
        let identity = ClientIdentity::parse(&der).unwrap();
        assert_eq!(
            identity.san,
            r"DNS:a.example, URI:spiffe://example/a\, DNS:admin.example, IP:2001:db8::1, email:ana@example.org"
        );
        assert_eq!(identity.subject, "");
        assert_eq!(identity.fingerprint, hex(&Sha256::digest(&der)));
    }

    #[test]
    fn what_is_no_certificate_is_nobody_and_so_is_who_has_too_many_names() {
        assert_eq!(ClientIdentity::parse(b""), None);
        assert_eq!(ClientIdentity::parse(&[0x30; 64]), None);
        // "DNS:" and ", " between them: 4096 octets pass, 4097 do not.
        for (octets, passes) in [(4092, true), (4093, false)] {
            let name = SanType::DnsName("a".repeat(octets).as_str().try_into().unwrap());
            assert_eq!(ClientIdentity::parse(&der([], vec![name])).is_some(), passes, "{octets}");
        }
    }

    #[test]
    fn names_that_do_not_parse_are_none() {
        let mut params = CertificateParams::default();
        // subjectAltName whose sequence is cut short.
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x05, 0x82])];
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(
            ClientIdentity::parse(certificate.der()).map(|identity| identity.san),
            Some(String::new())
        );
    }
}
