//! One request as one line: JSON, and the Common and Combined formats as Apache writes them.
//!
//! Invariant: whatever a client sent, a line has one line feed, its last octet, and no control character: what could
//! end a line, a string or move a terminal's cursor is escaped.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use stagedoor_metrics::WaitOn;

/// Octets of a text of the client's that are written at most; `...` stands for the rest.
const MAX_TEXT: usize = 2048;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// An object, with everything there is to know.
    Json,
    /// The Common Log Format: peer, time, request line, status, octets of the body.
    Common,
    /// The same, with referer and user agent.
    Combined,
}

impl FromStr for AccessFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "common" => Ok(Self::Common),
            "combined" => Ok(Self::Combined),
            _ => Err("a format is json, common or combined"),
        }
    }
}

/// What is known of a request that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// When it came.
    pub(super) time: SystemTime,
    pub(super) session: &'a str,
    pub(super) stream: u32,
    pub(super) trace_id: u128,
    pub(super) listener: &'a str,
    pub(super) protocol: &'a str,
    pub(super) peer: Option<SocketAddr>,
    /// Of a head that could be read.
    pub(super) request: Option<RequestLine<'a>>,
    /// 0 when there was no final head.
    pub(super) status: u16,
    pub(super) outcome: &'a str,
    /// Why it was answered by an error.
    pub(super) cause: Option<&'a str>,
    pub(super) route: &'a str,
    /// Of the bodies, received and sent.
    pub(super) octets: (u64, u64),
    pub(super) lasted: Duration,
    /// To the final head.
    pub(super) start: Option<Duration>,
    /// In the order of [`WaitOn::ALL`].
    pub(super) waits: [Duration; 7],
}

/// What the client sent, as it is to be shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) user_agent: Option<&'a [u8]>,
}

impl AccessFormat {
    /// The line of `record`, with its line feed.
    pub(super) fn line(self, record: &Record<'_>) -> String {
        let mut line = String::with_capacity(640);
        // Writing to a String does not fail.
        let _ = match self {
            Self::Json => json(&mut line, record),
            Self::Common => common(&mut line, record),
            Self::Combined => common(&mut line, record).and_then(|()| combined(&mut line, record)),
        };
        line.push('\n');
        line
    }
}

fn json(line: &mut String, record: &Record<'_>) -> fmt::Result {
    let Record { session, stream, trace_id, listener, protocol, status, outcome, route, .. } = *record;
    let request = record.request;
    write!(line, "{{\"time\":\"{}\"", humantime::format_rfc3339_millis(record.time))?;
    write!(line, ",\"session\":{},\"stream\":{stream}", Json(Some(session.as_bytes())))?;
    write!(line, ",\"trace_id\":\"{trace_id:032x}\"")?;
    write!(line, ",\"listener\":{}", Json(Some(listener.as_bytes())))?;
    write!(line, ",\"protocol\":{}", Json(Some(protocol.as_bytes())))?;
    match record.peer {
        Some(peer) => write!(line, ",\"peer\":\"{peer}\"")?,
        None => line.push_str(",\"peer\":null"),
    }
    write!(line, ",\"method\":{}", Json(request.map(|request| request.method.as_bytes())))?;
    write!(line, ",\"path\":{}", Json(request.map(|request| request.path.as_bytes())))?;
    match status {
        0 => line.push_str(",\"status\":null"),
        _ => write!(line, ",\"status\":{status}")?,
    }
    write!(line, ",\"outcome\":{}", Json(Some(outcome.as_bytes())))?;
    write!(line, ",\"cause\":{}", Json(record.cause.map(str::as_bytes)))?;
    write!(line, ",\"route\":{}", Json(Some(route.as_bytes())))?;
    write!(line, ",\"bytes\":{{\"in\":{},\"out\":{}}}", record.octets.0, record.octets.1)?;
    write!(line, ",\"duration_seconds\":{:.6}", record.lasted.as_secs_f64())?;
    match record.start {
        Some(start) => write!(line, ",\"start_seconds\":{:.6}", start.as_secs_f64())?,
        None => line.push_str(",\"start_seconds\":null"),
    }
    for (place, (on, wait)) in WaitOn::ALL.iter().zip(record.waits).enumerate() {
        let before = if place == 0 { ",\"waits\":{" } else { "," };
        write!(line, "{before}\"{}\":{:.6}", on.label(), wait.as_secs_f64())?;
    }
    write!(line, "}},\"user_agent\":{}", Json(request.and_then(|request| request.user_agent)))?;
    write!(line, ",\"referer\":{}}}", Json(request.and_then(|request| request.referer)))
}

fn common(line: &mut String, record: &Record<'_>) -> fmt::Result {
    match record.peer {
        Some(peer) => write!(line, "{}", peer.ip().to_canonical())?,
        None => line.push('-'),
    }
    // Neither identd nor names of users are known here.
    write!(line, " - - [{}] ", Stamp(record.time))?;
    let version = if record.protocol.starts_with("h2") { "HTTP/2.0" } else { "HTTP/1.1" };
    match record.request {
        Some(RequestLine { method, path, .. }) => {
            write!(line, "\"{} {} {version}\"", Quoted(method.as_bytes()), Quoted(path.as_bytes()))?;
        }
        None => line.push_str("\"-\""),
    }
    match record.status {
        0 => line.push_str(" -"),
        status => write!(line, " {status}")?,
    }
    match record.octets.1 {
        0 => line.push_str(" -"),
        octets => write!(line, " {octets}")?,
    }
    Ok(())
}

fn combined(line: &mut String, record: &Record<'_>) -> fmt::Result {
    let shown = |value: Option<&[u8]>| Quoted(value.unwrap_or(b"-")).to_string();
    let referer = shown(record.request.and_then(|request| request.referer));
    let agent = shown(record.request.and_then(|request| request.user_agent));
    write!(line, " \"{referer}\" \"{agent}\"")
}

/// A time as in `[10/Oct/2000:13:55:36 +0000]`, without the brackets.
struct Stamp(SystemTime);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let text = humantime::format_rfc3339_seconds(self.0).to_string();
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
        let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
        write!(f, "{}/{}/{}:{} +0000", part(8..10), month.unwrap_or(&"-"), part(0..4), part(11..19))
    }
}

/// A string of JSON with its quotes, or `null`. Octets that are not UTF-8 become U+FFFD.
struct Json<'a>(Option<&'a [u8]>);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(octets) = self.0 else { return f.write_str("null") };
        let (octets, cut) = bounded(octets);
        f.write_char('"')?;
        for sign in String::from_utf8_lossy(octets).chars() {
            match sign {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                // Of all planes, only these two beside the controls end a line for somebody; others turn text round.
                '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    write!(f, "\\u{:04x}", u32::from(sign))?;
                }
                _ if sign.is_control() => write!(f, "\\u{:04x}", u32::from(sign))?,
                _ => f.write_char(sign)?,
            }
        }
        f.write_str(if cut { "...\"" } else { "\"" })
    }
}

/// What stands between quotes in Apache's formats: visible ASCII, everything else escaped as Apache does.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (octets, cut) = bounded(self.0);
        for octet in octets {
            match octet {
                b'"' => f.write_str("\\\"")?,
                b'\\' => f.write_str("\\\\")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                b' '..=b'~' => f.write_char(char::from(*octet))?,
                _ => write!(f, "\\x{octet:02x}")?,
            }
        }
        f.write_str(if cut { "..." } else { "" })
    }
}

/// As many octets as are written, and whether there are more. Cuts no character of UTF-8 in two.
fn bounded(octets: &[u8]) -> (&[u8], bool) {
    if octets.len() <= MAX_TEXT {
        return (octets, false);
    }
    let goes_on = |octet: u8| octet & 0xc0 == 0x80;
    let end = (MAX_TEXT - 3..=MAX_TEXT).rev().find(|end| !goes_on(octets[*end])).unwrap_or(MAX_TEXT);
    (&octets[..end], true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const FORMATS: [AccessFormat; 3] = [AccessFormat::Json, AccessFormat::Common, AccessFormat::Combined];

    fn record<'a>(request: Option<RequestLine<'a>>) -> Record<'a> {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(971_186_136_789),
            session: "0-1a",
            stream: 5,
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            listener: "public",
            protocol: "h2",
            peer: Some(([192, 0, 2, 7], 50_000).into()),
            request,
            status: 200,
            outcome: "complete",
            cause: None,
            route: "demo",
            octets: (0, 2326),
            lasted: Duration::from_micros(1_500),
            start: Some(Duration::from_micros(1_250)),
            waits: [0, 1_250, 0, 0, 0, 0, 250].map(Duration::from_micros),
        }
    }

    fn sent<'a>(path: &'a str, referer: Option<&'a [u8]>, user_agent: Option<&'a [u8]>) -> Record<'a> {
        record(Some(RequestLine { method: "GET", path, referer, user_agent }))
    }

    #[test]
    fn json_has_every_field() {
        let line = AccessFormat::Json.line(&sent("/a", Some(b"http://b/"), Some(b"me/1")));
        assert_eq!(
            line,
            "{\"time\":\"2000-10-10T13:55:36.789Z\",\"session\":\"0-1a\",\"stream\":5,\
             \"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"listener\":\"public\",\"protocol\":\"h2\",\
             \"peer\":\"192.0.2.7:50000\",\"method\":\"GET\",\"path\":\"/a\",\"status\":200,\
             \"outcome\":\"complete\",\"cause\":null,\"route\":\"demo\",\"bytes\":{\"in\":0,\"out\":2326},\
             \"duration_seconds\":0.001500,\"start_seconds\":0.001250,\"waits\":{\"request_body\":0.000000,\
             \"handler\":0.001250,\"upstream\":0.000000,\"peer_stream_window\":0.000000,\
             \"peer_connection_window\":0.000000,\"scheduler\":0.000000,\"socket\":0.000250},\
             \"user_agent\":\"me/1\",\"referer\":\"http://b/\"}\n"
        );
    }

    #[test]
    fn common_and_combined_are_apaches() {
        let record =
            sent("/apache_pb.gif", Some(b"http://www.example.com/start.html"), Some(b"Mozilla/4.08"));
        let common = "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET /apache_pb.gif HTTP/2.0\" 200 2326";
        assert_eq!(AccessFormat::Common.line(&record), format!("{common}\n"));
        assert_eq!(
            AccessFormat::Combined.line(&record),
            format!("{common} \"http://www.example.com/start.html\" \"Mozilla/4.08\"\n")
        );
    }

    #[test]
    fn what_is_not_known_has_its_sign() {
        let nothing = Record { peer: None, status: 0, octets: (0, 0), start: None, ..record(None) };
        assert_eq!(
            AccessFormat::Combined.line(&nothing),
            "- - - [10/Oct/2000:13:55:36 +0000] \"-\" - - \"-\" \"-\"\n"
        );
        let json: Value = serde_json::from_str(&AccessFormat::Json.line(&nothing)).unwrap();
        for field in ["peer", "method", "path", "status", "start_seconds", "user_agent", "referer"] {
            assert!(json[field].is_null(), "{field}");
        }
    }

    #[test]
    fn hostile_texts_stay_within_their_quotes() {
        let agent = b"a\"b\\c\r\nGET / \x1b[2J\x7f\xff\t\xc2\x85\xe2\x80\xa8\xe2\x80\xae";
        let record = sent("/\"x", None, Some(agent));
        let line = AccessFormat::Combined.line(&record);
        assert!(line.contains("\"GET /\\\"x HTTP/2.0\""), "{line}");
        let shown = r#""a\"b\\c\r\nGET / \x1b[2J\x7f\xff\t\xc2\x85\xe2\x80\xa8\xe2\x80\xae""#;
        assert!(line.ends_with(&format!(" \"-\" {shown}\n")), "{line}");
        let line = AccessFormat::Json.line(&record);
        let escaped = r#""a\"b\\c\u000d\u000aGET / \u001b[2J\u007f"#.to_owned()
            + "\u{fffd}"
            + r"\u0009\u0085\u2028\u202e";
        assert!(line.contains(&escaped), "{line}");
    }

    #[test]
    fn texts_have_a_bound() {
        let long = "\u{e4}".repeat(MAX_TEXT);
        let json: Value = serde_json::from_str(&AccessFormat::Json.line(&sent(&long, None, None))).unwrap();
        let path = json["path"].as_str().unwrap();
        assert!(path.len() <= MAX_TEXT + 3 && path.ends_with("\u{e4}..."));
        let whole = "a".repeat(MAX_TEXT);
        let json: Value = serde_json::from_str(&AccessFormat::Json.line(&sent(&whole, None, None))).unwrap();
        assert_eq!(json["path"], whole);
    }

    proptest! {
        #[test]
        fn a_record_is_always_one_line(
            method in ".*", path in ".*", route in ".*",
            agent in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3000)),
            referer in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..64)),
        ) {
            let request = RequestLine {
                method: &method, path: &path, referer: referer.as_deref(), user_agent: agent.as_deref(),
            };
            let record = Record { route: &route, ..record(Some(request)) };
            for format in FORMATS {
                let line = format.line(&record);
                let text = line.strip_suffix('\n').unwrap();
                prop_assert!(!text.contains(char::is_control), "{:?}", text);
            }
            let json: Value = serde_json::from_str(&AccessFormat::Json.line(&record)).unwrap();
            prop_assert_eq!(json.as_object().unwrap().len(), 19);
            prop_assert_eq!(json["route"].as_str().unwrap(), &*route);
            if let Some(agent) = agent.as_ref().filter(|agent| agent.len() <= MAX_TEXT) {
                prop_assert_eq!(json["user_agent"].as_str().unwrap(), String::from_utf8_lossy(agent));
            }
            // Quotes that are not escaped come in pairs, as many as the format has.
            let line = AccessFormat::Combined.line(&record);
            let mut signs = line.chars();
            let mut quotes = 0;
            while let Some(sign) = signs.next() {
                match sign {
                    '\\' => { signs.next(); }
                    '"' => quotes += 1,
                    _ => {}
                }
            }
            prop_assert_eq!(quotes, 6);
        }
    }
}
