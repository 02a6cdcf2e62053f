//! Header blocks without state: literals that no table keeps (RFC 7541 §6.2.2), names and values as given.

/// A prefixed integer (RFC 7541 §5.1).
pub fn integer(value: usize, bits: u32, first: u8, out: &mut Vec<u8>) {
    let limit = (1usize << bits) - 1;
    if value < limit {
        out.push(first | value as u8);
        return;
    }
    out.push(first | limit as u8);
    let mut rest = value - limit;
    while rest >= 128 {
        out.push(rest as u8 & 127 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn string(octets: &[u8], out: &mut Vec<u8>) {
    integer(octets.len(), 7, 0, out);
    out.extend_from_slice(octets);
}

/// A literal without indexing.
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = vec![0];
    string(name.as_ref(), &mut out);
    string(value.as_ref(), &mut out);
    out
}

/// A literal with incremental indexing (RFC 7541 §6.2.1).
pub fn indexed_literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = vec![0x40];
    string(name.as_ref(), &mut out);
    string(value.as_ref(), &mut out);
    out
}

/// A reference to a table entry (RFC 7541 §6.1).
pub fn index(entry: usize) -> Vec<u8> {
    let mut out = Vec::new();
    integer(entry, 7, 0x80, &mut out);
    out
}

/// A dynamic table size update (RFC 7541 §6.3).
pub fn size_update(octets: usize) -> Vec<u8> {
    let mut out = Vec::new();
    integer(octets, 5, 0x20, &mut out);
    out
}

/// A block of these fields.
pub fn of<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

fn request(method: &str, extra: &[(&str, &str)]) -> Vec<u8> {
    let mut block =
        of(&[(":method", method), (":scheme", "https"), (":authority", "example.com"), (":path", "/")]);
    block.extend(of(extra));
    block
}

/// `GET /`.
pub fn get() -> Vec<u8> {
    request("GET", &[])
}

/// `GET /` with fields.
pub fn get_with(extra: &[(&str, &str)]) -> Vec<u8> {
    request("GET", extra)
}

/// `POST /`.
pub fn post() -> Vec<u8> {
    request("POST", &[])
}

/// `POST /` with fields.
pub fn post_with(extra: &[(&str, &str)]) -> Vec<u8> {
    request("POST", extra)
}

/// A response head.
pub fn status(status: &str) -> Vec<u8> {
    of(&[(":status", status)])
}

/// A response head with fields.
pub fn status_with(status: &str, extra: &[(&str, &str)]) -> Vec<u8> {
    let mut block = of(&[(":status", status)]);
    block.extend(of(extra));
    block
}
