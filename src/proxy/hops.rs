//! Fields that belong to one hop and not to the message (RFC 9110 §7.6.1): taken off requests and answers before they go
//! on. HTTP/2 has none but `te`; HTTP/1.1 names more of them in `connection`.

use stagedoor_protocol::Fields;

/// Takes the fields of this hop off a request. `te: trailers` stays: it is how gRPC says that it is gRPC; any other `te`
/// goes. `expect` goes because it is answered here (RFC 9110 §10.1.1).
pub(crate) fn strip_request(fields: &mut Fields) {
    let te = fields.get("te").map(wants_trailers);
    strip(fields);
    if let Some(trailers) = te {
        fields.remove("te");
        if trailers {
            fields.push("te", "trailers");
        }
    }
}

/// Takes the fields of that hop off an answer.
pub(crate) fn strip_response(fields: &mut Fields) {
    strip(fields);
}

fn strip(fields: &mut Fields) {
    // One look first: most messages of HTTP/2 have none.
    if !fields.iter().any(|field| is_of_the_hop(field.name)) {
        return;
    }
    let named = named(fields);
    fields.retain(|field| !is_of_the_hop(field.name) && !named.iter().any(|name| name == field.name));
}

/// Never passed on, whether `connection` names it or not.
fn is_of_the_hop(name: &[u8]) -> bool {
    match name.len() {
        6 => name == b"expect",
        7 => name == b"upgrade",
        10 => name == b"connection" || name == b"keep-alive",
        14 => name == b"http2-settings",
        16 => name == b"proxy-connection",
        17 => name == b"transfer-encoding",
        18 => name == b"proxy-authenticate",
        19 => name == b"proxy-authorization",
        _ => false,
    }
}

/// What `connection` names beside those, lower case. What the message cannot do without is not of the hop, whoever says
/// so (a known way to smuggle).
fn named(fields: &Fields) -> Vec<Vec<u8>> {
    let values = fields.get_all("connection");
    let options = values.flat_map(|value| value.split(|octet| *octet == b','));
    // The two that nearly every answer has name no field, or one that goes anyway.
    let others = options
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close"));
    let names = others.map(<[u8]>::to_ascii_lowercase);
    names
        .filter(|name| {
            !matches!(
                &**name,
                b"host" | b"content-length" | b"content-type" | b"te" | b"cookie" | b"authorization"
            )
        })
        .collect()
}

fn wants_trailers(te: &[u8]) -> bool {
    te.split(|octet| *octet == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(fields: &[(&str, &str)]) -> Vec<String> {
        let mut fields: Fields = fields.iter().copied().collect();
        strip_request(&mut fields);
        fields
            .iter()
            .map(|field| format!("{}: {}", field.name.escape_ascii(), field.value.escape_ascii()))
            .collect()
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        assert_eq!(
            stripped(&[
                ("accept", "*/*"),
                ("connection", "keep-alive, X-Hop"),
                ("connection", "close"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("x-end", "2"),
            ]),
            ["accept: */*", "x-end: 2"]
        );
    }

    #[test]
    fn connection_cannot_take_off_what_the_message_needs() {
        let fields = [
            ("connection", "host, content-length, authorization, cookie, te"),
            ("host", "a"),
            ("content-length", "5"),
            ("authorization", "b"),
            ("te", "trailers"),
        ];
        assert_eq!(stripped(&fields), ["host: a", "content-length: 5", "authorization: b", "te: trailers"]);
    }

    #[test]
    fn te_says_trailers_or_nothing() {
        assert_eq!(stripped(&[("te", "trailers")]), ["te: trailers"]);
        assert_eq!(stripped(&[("te", "gzip, Trailers")]), ["te: trailers"]);
        assert_eq!(stripped(&[("te", "gzip;q=0.5")]), [""; 0]);
    }

    #[test]
    fn each_hop_field_goes() {
        let always = [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authorization",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "expect",
        ];
        for name in always {
            assert_eq!(stripped(&[(name, "x"), ("a", "b")]), ["a: b"], "{name}");
        }
    }
}
