//! Sessions and streams as people see them: plain data, taken by message from the actors that own them.

use std::time::{Duration, Instant, SystemTime};

use stagedoor_metrics::{CloseReason, Peer, SessionStats, StreamStats, WaitOn};
use stagedoor_protocol::{ConnectionState, ErrorCode, StreamId};

use crate::link::Link;
use crate::session::{Entry, WaitTimes};

/// A session as it stands.
///
/// ```
/// use stagedoor_actors::SessionView;
///
/// /// A line for people.
/// fn line(session: &SessionView) -> String {
///     let SessionView { id, state, streams_open, .. } = session;
///     format!("{id} is {state}, {streams_open} streams, {:.0} s old", session.age_seconds)
/// }
/// # let stats = stagedoor_metrics::SessionStats::new(
/// #     "0-1".parse().unwrap(),
/// #     stagedoor_metrics::Role::Server,
/// #     stagedoor_metrics::Protocol::H2,
/// #     "http".into(),
/// #     stagedoor_metrics::Peer::Named("memory".into()),
/// #     std::time::Instant::now(),
/// # );
/// # let view = SessionView::of_stats(&stats, std::time::Instant::now());
/// # assert_eq!(line(&view), "0-1 is handshake, 0 streams, 0 s old");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SessionView {
    /// `w-n`: worker, counter in base 36.
    pub id: String,
    pub role: &'static str,
    pub protocol: &'static str,
    pub listener: String,
    pub peer: Option<String>,
    /// handshake, open, draining, closing
    pub state: &'static str,
    pub age_seconds: f64,
    pub idle_seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub streams_open: u64,
    pub streams_total: u64,
    pub write_queue_bytes: u64,
    pub send_window: i64,
    pub recv_window: i64,
    pub memory_bytes: u64,
    /// What the time of its streams went to, those that ended too, in the order of [`WaitOn::ALL`].
    pub waits: WaitTimes,
    /// Windows, tables and questions of an HTTP/2 session.
    pub http2: Option<ConnectionState>,
    pub streams: Vec<StreamView>,
    /// Its last frames and turning points, oldest first; of a session that was asked after alone.
    pub recorder: Vec<Recorded>,
}

impl SessionView {
    /// What its live numbers say, without its streams.
    pub fn of_stats(stats: &SessionStats, now: Instant) -> Self {
        Self {
            id: stats.id().to_string(),
            role: stats.role().label(),
            protocol: stats.protocol().label(),
            listener: stats.listener().to_string(),
            peer: match stats.peer() {
                Peer::Inet(address) => Some(address.to_string()),
                Peer::Named(_) => None,
            },
            state: stats.state().label(),
            age_seconds: now.saturating_duration_since(stats.opened()).as_secs_f64(),
            idle_seconds: stats.idle(now).as_secs_f64(),
            bytes_in: stats.bytes_in.get(),
            bytes_out: stats.bytes_out.get(),
            streams_open: u64::try_from(stats.streams_open.get()).unwrap_or(0),
            streams_total: stats.streams_total.get(),
            write_queue_bytes: u64::try_from(stats.write_queue_bytes.get()).unwrap_or(0),
            send_window: stats.send_window.get(),
            recv_window: 0,
            memory_bytes: u64::try_from(stats.memory_bytes.get()).unwrap_or(0),
            waits: wait_times(stats),
            http2: None,
            streams: stats.streams().iter().map(|stream| StreamView::of_stats(stream, now)).collect(),
            recorder: Vec::new(),
        }
    }
}

impl SessionView {
    /// What a live stream's time went to that the session's own figures do not have yet.
    pub(crate) fn add_unpublished(&mut self, entry: &Entry, now: Instant) {
        let waits = entry.parts.as_ref().and_then(|parts| parts.waits.as_ref());
        let news = waits.map(|waits| waits.unpublished(now)).unwrap_or_default();
        for (time, news) in self.waits.iter_mut().zip(news) {
            *time += news;
        }
    }
}

/// What the cells of a session say of its streams' time.
pub(crate) fn wait_times(stats: &SessionStats) -> WaitTimes {
    let mut times = WaitTimes::default();
    for (time, on) in times.iter_mut().zip(WaitOn::ALL) {
        *time = Duration::from_nanos(stats.waited(*on));
    }
    times
}

/// A stream as it stands.
///
/// ```
/// use stagedoor_actors::StreamView;
///
/// /// Streams that wait for their clients.
/// fn slow(streams: &[StreamView]) -> impl Iterator<Item = &StreamView> {
///     use stagedoor_metrics::WaitOn as On;
///     streams.iter().filter(|stream| matches!(stream.on, On::RequestBody | On::PeerStreamWindow | On::Socket))
/// }
/// # assert_eq!(slow(&[]).count(), 0);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StreamView {
    pub id: u32,
    pub route: String,
    pub method: String,
    /// Without its query where that is not to be shown (`ListenerConfig::show_query`), at most 256 octets; empty where it
    /// is not known.
    pub path: String,
    /// Of its final head; 0 before that.
    pub status: u16,
    pub state: &'static str,
    pub age_seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub write_queue_bytes: u64,
    pub send_window: i64,
    /// What it waits for now.
    pub on: WaitOn,
    /// What its time went to, in the order of [`WaitOn::ALL`]; adds up to its age.
    pub waits: WaitTimes,
    /// The trace it belongs to; `None` where its actor was not asked.
    pub trace: Option<u128>,
}

impl StreamView {
    /// What its live numbers say; route and path are its session's to tell.
    fn of_stats(stats: &StreamStats, now: Instant) -> Self {
        let mut waits = WaitTimes::default();
        for (time, on) in waits.iter_mut().zip(WaitOn::ALL) {
            *time = Duration::from_nanos(stats.waits[*on].get());
        }
        let on = stats.on();
        waits[on as usize] += stats.waited(now);
        Self {
            id: stats.id(),
            route: String::new(),
            method: stats.method().label().to_owned(),
            path: String::new(),
            status: 0,
            state: "",
            age_seconds: now.saturating_duration_since(stats.opened()).as_secs_f64(),
            bytes_in: stats.bytes_in.get(),
            bytes_out: stats.bytes_out.get(),
            write_queue_bytes: u64::try_from(stats.write_queue_bytes.get()).unwrap_or(0),
            send_window: stats.send_window.get(),
            on,
            waits,
            trace: None,
        }
    }

    /// What its session knows of it, without what the engine alone can tell.
    pub(crate) fn of_entry(
        id: StreamId,
        entry: &Entry,
        link: &Link,
        state: &'static str,
        now: Instant,
    ) -> Self {
        let session = link.info.id.parse().ok();
        let parts = entry.parts.as_ref();
        let waits = parts.and_then(|parts| parts.waits.as_ref());
        let age = now.saturating_duration_since(entry.opened);
        Self {
            id: id.get(),
            route: link.service.route_name(entry.route).into_owned(),
            method: entry.method.label().to_owned(),
            path: parts.map(|parts| String::from_utf8_lossy(&parts.path).into_owned()).unwrap_or_default(),
            status: entry.status,
            state,
            age_seconds: age.as_secs_f64(),
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            write_queue_bytes: 0,
            send_window: 0,
            on: waits.map_or(WaitOn::Handler, |waits| waits.on()),
            waits: waits.map_or_else(
                || {
                    let mut times = WaitTimes::default();
                    times[WaitOn::Handler as usize] = age;
                    times
                },
                |waits| waits.times(now),
            ),
            trace: session.map(|session| entry.trace_id(session, id)),
        }
    }
}

/// An entry of a flight recorder, in words.
///
/// ```
/// use stagedoor_actors::SessionView;
///
/// fn last_frames(session: &SessionView) {
///     for entry in &session.recorder {
///         println!("{:?} stream {}: {:?}", entry.at, entry.stream, entry.what);
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Since the session opened.
    pub at: Duration,
    /// The stream; 0 for the session.
    pub stream: u32,
    /// What it was.
    pub what: RecordedWhat,
}

/// See [`Recorded`].
///
/// ```
/// use stagedoor_actors::view::{Recorded, RecordedWhat};
///
/// fn line(entry: &Recorded) -> String {
///     match &entry.what {
///         RecordedWhat::Frame { sent: true, name, .. } => format!("> {name} on {}", entry.stream),
///         RecordedWhat::Frame { name, .. } => format!("< {name} on {}", entry.stream),
///         RecordedWhat::Turn { name, code } => format!("{name} {code}"),
///     }
/// }
/// # let what = RecordedWhat::Frame { sent: true, name: "PING", flags: vec!["ACK"], length: 8 };
/// # let entry = Recorded { at: std::time::Duration::ZERO, stream: 0, what };
/// # assert_eq!(line(&entry), "> PING on 0");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum RecordedWhat {
    /// A frame.
    Frame { sent: bool, name: &'static str, flags: Vec<&'static str>, length: u32 },
    /// A turning point: which, and the code or reason that goes with it.
    Turn { name: &'static str, code: String },
}

/// A session that ended as it should not have.
///
/// ```
/// use stagedoor_actors::PostMortem;
///
/// fn line(ended: &PostMortem) -> String {
///     let PostMortem { view, reason, code, detail, .. } = ended;
///     format!("{} ended by {reason} ({code}): {detail}; {} frames are kept", view.id, view.recorder.len())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PostMortem {
    /// How it stood at the end; its flight recorder with it.
    pub view: SessionView,
    /// Why it ended.
    pub reason: CloseReason,
    /// The error code that was told, or would have been.
    pub code: ErrorCode,
    /// For people.
    pub detail: String,
    /// When it opened.
    pub opened_at: SystemTime,
    /// When it ended.
    pub closed_at: SystemTime,
}
