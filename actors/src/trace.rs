//! Trace context (W3C Trace Context): what a request says of the trace it belongs to, and the trace that begins
//! here where it says nothing.
//!
//! Keeps nothing of a request. A trace that begins here is made of the ids of session and stream and a key of the
//! process: it costs nothing until somebody asks, and everybody who knows the two ids is told the same. Exports
//! nothing.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use stagedoor_metrics::SessionId;
use stagedoor_protocol::{RequestHead, StreamId};

use crate::session::{SessionHandle, SessionInfo};

/// Octets of `tracestate` that are passed on (§3.3.1.5: at least this many should be).
const STATE: usize = 512;
/// Members of a `tracestate` (§3.3.1.1).
const MEMBERS: usize = 32;
/// Octets of a member from which on it is the first to go when the list is too long (§3.3.1.5).
const LONG_MEMBER: usize = 128;
/// Octets of a `traceparent` of version 00.
const PARENT: usize = 55;

/// The caller records this trace (§3.2.2.5).
pub const SAMPLED: u8 = 0x01;
/// The right half of the trace id is random (Level 2, §3.2.2.5.2).
pub const RANDOM: u8 = 0x02;

/// Traces that begin here are recorded by somebody.
static RECORDED: AtomicBool = AtomicBool::new(false);

/// Where a request stands in its trace.
///
/// ```
/// use stagedoor_actors::trace;
/// use stagedoor_metrics::SessionId;
/// use stagedoor_protocol::RequestHead;
///
/// let mut head = RequestHead::new("GET", "http", "example.org", "/");
/// let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// head.fields_mut().push("traceparent", parent);
/// let context = trace::of(&head, SessionId { worker: 0, number: 1 }, 1);
/// assert_eq!(context.trace_id_hex(), "0af7651916cd43dd8448eb211c80319c");
/// assert_eq!(context.parent, Some(0xb7ad_6b71_6920_3331));
/// assert!(context.is_sampled() && context.traceparent() != parent, "the same trace, a span of our own");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// Names the trace; never zero.
    pub trace_id: u128,
    /// The caller's span; `None` where the trace begins here.
    pub parent: Option<u64>,
    /// Our span, of this stream; never zero.
    pub span_id: u64,
    /// [`SAMPLED`] and [`RANDOM`]; other bits are not passed on (§3.2.2.5).
    pub flags: u8,
    /// `tracestate` as it came, its fields joined; at most 512 octets.
    pub state: Option<Box<str>>,
}

impl TraceContext {
    /// The value of `traceparent` for requests that are made on behalf of this one.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.traceparent_octets().iter().map(|octet| char::from(*octet)).collect()
    }

    /// [`Self::traceparent`] without an allocation, for who writes it with every request.
    #[must_use]
    pub fn traceparent_octets(&self) -> [u8; PARENT] {
        let mut text = [b'-'; PARENT];
        let (before, after) = text.split_at_mut(35);
        digits(&mut before[..2], 0);
        digits(&mut before[3..], self.trace_id);
        digits(&mut after[1..17], self.span_id.into());
        digits(&mut after[18..], self.flags.into());
        text
    }

    /// The value of `tracestate` beside it, where there is one.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The trace id as people and other systems write it: 32 lower-case hex digits.
    #[must_use]
    pub fn trace_id_hex(&self) -> String {
        let mut text = String::with_capacity(32);
        // Writing to a String does not fail.
        let _ = write!(text, "{:032x}", self.trace_id);
        text
    }

    /// Somebody records this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// A number in hex that fills `text`.
fn digits(text: &mut [u8], mut number: u128) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}

/// Says whether traces that begin here are recorded; their contexts tell so to those they are sent on to.
///
/// ```no_run
/// // Something exports the spans of traces that begin here.
/// stagedoor_actors::trace::record_begun(true);
/// ```
pub fn record_begun(recorded: bool) {
    RECORDED.store(recorded, Ordering::Relaxed);
}

/// The request says something of its trace. Looks at names alone, most of them by their length.
///
/// ```
/// use stagedoor_actors::trace;
/// use stagedoor_protocol::RequestHead;
///
/// let mut head = RequestHead::new("GET", "http", "example.org", "/");
/// assert!(!trace::is_brought(&head));
/// head.fields_mut().push("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
/// assert!(trace::is_brought(&head));
/// ```
#[inline]
#[must_use]
pub fn is_brought(head: &RequestHead) -> bool {
    head.fields().iter().any(|field| field.name.len() == 11 && field.name == b"traceparent")
}

/// Where the request `head` of a stream stands in its trace: the one it brought, where that is valid, and
/// otherwise one that begins with it.
///
/// ```
/// use stagedoor_actors::trace;
/// use stagedoor_metrics::SessionId;
/// use stagedoor_protocol::RequestHead;
///
/// let head = RequestHead::new("GET", "http", "example.org", "/");
/// let session = SessionId { worker: 0, number: 1 };
/// let context = trace::of(&head, session, 1);
/// assert_eq!((context.parent, context.trace_id), (None, trace::begun(session, 1)));
/// assert_eq!(trace::of(&head, session, 1), context, "whoever asks is told the same");
/// ```
#[must_use]
pub fn of(head: &RequestHead, session: SessionId, stream: u32) -> TraceContext {
    let span_id = never_zero(u128::from(mixed(session, stream, Lane::Span))) as u64;
    match brought(head) {
        Some(Brought { trace_id, parent, flags }) => {
            TraceContext { trace_id, parent: Some(parent), span_id, flags, state: state(head) }
        }
        None => {
            let sampled = if RECORDED.load(Ordering::Relaxed) { SAMPLED } else { 0 };
            let trace_id = begun(session, stream);
            TraceContext { trace_id, parent: None, span_id, flags: RANDOM | sampled, state: None }
        }
    }
}

/// The same for those who hold a handle of the session.
pub(crate) fn of_stream(head: &RequestHead, session: &SessionHandle, stream: StreamId) -> TraceContext {
    let SessionInfo { worker, number, .. } = *session.info();
    of(head, SessionId { worker, number }, stream.get())
}

/// The trace id of a request that brought none: the same whenever it is asked for in the life of the process.
///
/// ```
/// use stagedoor_actors::trace::begun;
/// use stagedoor_metrics::SessionId;
///
/// let session = SessionId { worker: 0, number: 1 };
/// assert_eq!(begun(session, 1), begun(session, 1));
/// assert_ne!(begun(session, 1), begun(session, 3));
/// ```
#[must_use]
pub fn begun(session: SessionId, stream: u32) -> u128 {
    let left = mixed(session, stream, Lane::Left);
    let right = mixed(session, stream, Lane::Right);
    never_zero(u128::from(left) << 64 | u128::from(right))
}

#[derive(Clone, Copy)]
enum Lane {
    Left,
    Right,
    Span,
}

/// SipHash with a key of the process: who does not know the key cannot tell the next id from those before.
fn mixed(session: SessionId, stream: u32, lane: Lane) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = KEY.get_or_init(RandomState::new).build_hasher();
    // In one piece: two rounds instead of four.
    let mut who = [0; 15];
    who[..8].copy_from_slice(&session.number.to_le_bytes());
    who[8..12].copy_from_slice(&stream.to_le_bytes());
    who[12..14].copy_from_slice(&session.worker.to_le_bytes());
    who[14] = lane as u8;
    hasher.write(&who);
    hasher.finish()
}

fn never_zero(id: u128) -> u128 {
    id.max(1)
}

struct Brought {
    trace_id: u128,
    parent: u64,
    flags: u8,
}

/// `traceparent`, where there is exactly one.
fn brought(head: &RequestHead) -> Option<Brought> {
    let mut values = head.fields().get_all("traceparent");
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    parse(value)
}

/// §3.2: `version-traceid-parentid-flags`. What later versions append is skipped (§3.2.4).
fn parse(value: &[u8]) -> Option<Brought> {
    let (known, more) = value.split_at_checked(PARENT)?;
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let version = hex(&known[..2])?;
    let whole = match version {
        0 => more.is_empty(),
        0xff => false,
        _ => more.is_empty() || more.starts_with(b"-"),
    };
    let (trace_id, parent) = (hex(&known[3..35])?, hex(&known[36..52])? as u64);
    let flags = hex(&known[53..])? as u8 & (SAMPLED | RANDOM);
    (dashes && whole && trace_id != 0 && parent != 0).then_some(Brought { trace_id, parent, flags })
}

/// Lower-case digits alone (§3.2.1).
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// `tracestate`, its fields joined (§3.3.1); none where it is not well formed. Of a list that is too long, long
/// members go first and then the last ones (§3.3.1.5).
fn state(head: &RequestHead) -> Option<Box<str>> {
    let joined = head.fields().joined("tracestate")?;
    let text = std::str::from_utf8(&joined).ok()?;
    let mut members: Vec<&str> = text.split(',').map(str::trim).filter(|member| !member.is_empty()).collect();
    let fine = |member: &&str| {
        let printable = member.bytes().all(|octet| matches!(octet, b' '..=b'~'));
        printable && member.split_once('=').is_some_and(|(key, _)| !key.is_empty())
    };
    if members.is_empty() || members.len() > MEMBERS || !members.iter().all(fine) {
        return None;
    }
    let length = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>() - 1;
    while length(&members) > STATE {
        let long = members.iter().rposition(|member| member.len() > LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
        if members.is_empty() {
            return None;
        }
    }
    Some(members.join(",").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SessionId = SessionId { worker: 0, number: 1 };
    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::new("GET", "http", "localhost", "/");
        fields.iter().for_each(|(name, value)| head.fields_mut().push(name, value));
        head
    }

    #[test]
    fn a_parent_is_written_as_it_is_read() {
        let begun = of(&request(&[]), ONE, 7);
        let wanted = format!("00-{:032x}-{:016x}-{:02x}", begun.trace_id, begun.span_id, begun.flags);
        assert_eq!(begun.traceparent(), wanted);
        assert_eq!(of(&request(&[("traceparent", &wanted)]), ONE, 9).trace_id, begun.trace_id);
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_ours() {
        let head = request(&[("traceparent", GOOD), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert!(is_brought(&head));
        let trace = of(&head, ONE, 1);
        assert_eq!(trace.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((trace.parent, trace.flags), (Some(0x00f0_67aa_0ba9_02b7), SAMPLED));
        assert_eq!(trace.tracestate(), Some("a=1,b=2"));
        let sent_on = trace.traceparent();
        assert_eq!(sent_on, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", trace.span_id));
        assert_ne!(Some(trace.span_id), trace.parent);
        assert!(parse(sent_on.as_bytes()).is_some());
    }

    #[test]
    fn what_is_not_a_traceparent_begins_a_trace() {
        let dirty = [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-\u{e4}bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ];
        for value in dirty {
            let trace = of(&request(&[("traceparent", value), ("tracestate", "a=1")]), ONE, 1);
            assert_eq!((trace.parent, trace.tracestate()), (None, None), "{value}");
            assert_eq!(trace.trace_id, begun(ONE, 1), "{value}");
        }
        let twice = request(&[("traceparent", GOOD), ("traceparent", GOOD)]);
        assert_eq!(of(&twice, ONE, 1).parent, None);
    }

    #[test]
    fn whatever_is_taken_is_sent_on_as_it_was_meant() {
        let mut taken = 0;
        for place in 0..GOOD.len() {
            for octet in 0..=u8::MAX {
                let mut value = GOOD.as_bytes().to_vec();
                value[place] = octet;
                let mut head = request(&[]);
                head.fields_mut().push("traceparent", &value);
                let trace = of(&head, ONE, 1);
                let Some(parent) = trace.parent else { continue };
                taken += 1;
                let text = String::from_utf8(value).unwrap();
                let flags = u8::from_str_radix(&text[53..], 16).unwrap() & (SAMPLED | RANDOM);
                assert_eq!((&*trace.trace_id_hex(), trace.flags), (&text[3..35], flags));
                assert_eq!(format!("{parent:016x}"), text[36..52]);
            }
        }
        // One of sixteen digits in each place but those of the dashes. Versions but 00 are later ones.
        assert_eq!(taken, 52 * 16 + 3);
    }

    #[test]
    fn later_versions_are_read_as_far_as_we_know_them() {
        for tail in ["", "-", "-what-the-future-brings"] {
            let value = format!("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff{tail}");
            let trace = of(&request(&[("traceparent", &value)]), ONE, 1);
            assert_eq!((trace.parent, trace.flags), (Some(0x00f0_67aa_0ba9_02b7), SAMPLED | RANDOM));
            assert!(trace.traceparent().starts_with("00-4bf9"));
        }
    }

    #[test]
    fn a_trace_begins_the_same_whenever_it_is_asked_for() {
        let head = request(&[]);
        assert!(!is_brought(&head));
        let trace = of(&head, ONE, 3);
        assert_eq!(trace, of(&head, ONE, 3));
        assert_eq!(trace.trace_id, begun(ONE, 3));
        let mut seen = std::collections::HashSet::new();
        for worker in 0..4 {
            for number in 0..32 {
                for stream in [1, 3, 5] {
                    let trace = of(&head, SessionId { worker, number }, stream);
                    assert!(seen.insert(trace.trace_id) && seen.insert(u128::from(trace.span_id)));
                }
            }
        }
    }

    #[test]
    fn a_state_that_is_too_long_loses_long_members_and_then_the_last() {
        let state_of = |state: &str| {
            let trace = of(&request(&[("traceparent", GOOD), ("tracestate", state)]), ONE, 1);
            trace.tracestate().map(str::to_owned)
        };
        let member = |key: char, octets: usize| format!("{key}={}", "v".repeat(octets - 2));
        let whole = format!("{},{}", member('a', 256), member('b', 255));
        assert_eq!(whole.len(), STATE);
        assert_eq!(state_of(&whole).as_deref(), Some(&*whole));
        let longer = format!("{},{},c=1", member('a', 100), member('b', 412));
        assert_eq!(state_of(&longer), Some(format!("{},c=1", member('a', 100))));
        let short: Vec<_> = ('a'..='f').map(|key| member(key, 100)).collect();
        assert_eq!(state_of(&short.join(",")), Some(short[..5].join(",")));
        for bad in ["", ",", "a", "=1", "a=\u{7}", &vec!["a=1"; 33].join(",")] {
            assert_eq!(state_of(bad), None, "{bad:?}");
        }
    }
}
