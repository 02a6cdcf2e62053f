//! Sessions and streams in columns: the same for `sessions`, `session`, `top --once` and the screen of `top`.
//!
//! Knows no terminal: it is told how many columns there are. Invariants: no line is wider than that; cells are free of
//! control characters.

use super::shapes::{Cause, Session, Stream, Waits};
use super::text::{self, cut, octets, plain, seconds, width, window};

/// Between two columns.
const GAP: usize = 2;

/// Numbers of HTTP/2 in a line.
const FACTS: usize = 4;

/// Which side of the column a cell is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A column of rows of `T`.
pub(super) struct Column<T> {
    pub(super) title: &'static str,
    side: Side,
    /// Where there is no room, the columns with the highest number go first; zero stays.
    leaves: u8,
    /// It becomes as narrow as this before a column leaves.
    narrowest: Option<usize>,
    /// The field it is sorted by.
    pub(super) sort: Option<&'static str>,
    cell: fn(&T) -> String,
}

/// A column whose cells begin at its left; see [`Column`] for what the arguments are.
pub(super) const fn left<T>(
    title: &'static str,
    leaves: u8,
    sort: Option<&'static str>,
    cell: fn(&T) -> String,
) -> Column<T> {
    Column { title, side: Side::Left, leaves, narrowest: None, sort, cell }
}

/// One whose cells end at its right.
pub(super) const fn right<T>(
    title: &'static str,
    leaves: u8,
    sort: Option<&'static str>,
    cell: fn(&T) -> String,
) -> Column<T> {
    Column { title, side: Side::Right, leaves, narrowest: None, sort, cell }
}

/// One that becomes narrow before others leave.
pub(super) const fn shrinking<T>(
    title: &'static str,
    narrowest: usize,
    leaves: u8,
    sort: Option<&'static str>,
    cell: fn(&T) -> String,
) -> Column<T> {
    Column { title, side: Side::Left, leaves, narrowest: Some(narrowest), sort, cell }
}

/// Of a session.
pub(super) const SESSIONS: &[Column<Session>] = &[
    left("ID", 0, Some("id"), |session| plain(&session.id).into_owned()),
    shrinking("LISTENER", 8, 3, Some("listener"), |session| plain(&session.listener).into_owned()),
    left("PROTOCOL", 6, Some("protocol"), |session| plain(&session.protocol).into_owned()),
    shrinking("PEER", 21, 1, Some("peer"), |session| {
        plain(session.peer.as_deref().unwrap_or("-")).into_owned()
    }),
    left("STATE", 2, Some("state"), |session| plain(&session.state).into_owned()),
    right("AGE", 4, Some("age"), |session| seconds(session.age_seconds)),
    right("IDLE", 9, Some("idle"), |session| seconds(session.idle_seconds)),
    right("OPEN", 0, Some("streams_open"), |session| session.streams_open.to_string()),
    right("TOTAL", 5, Some("streams_total"), |session| session.streams_total.to_string()),
    right("IN", 7, Some("bytes.in"), |session| octets(session.bytes.received)),
    right("OUT", 2, Some("bytes.out"), |session| octets(session.bytes.sent)),
    right("QUEUE", 8, Some("write_queue_bytes"), |session| octets(session.write_queue_bytes)),
    right("WINDOW", 10, Some("send_window"), |session| window(session.send_window)),
    right("MEMORY", 11, Some("memory_bytes"), |session| octets(session.memory_bytes)),
    left("WAITED FOR", 1, Some("wait"), |session| main_cause(&session.waits)),
];

/// Of a stream.
pub(super) const STREAMS: &[Column<Stream>] = &[
    right("ID", 0, None, |stream| stream.id.to_string()),
    left("METHOD", 3, None, |stream| plain(&stream.method).into_owned()),
    shrinking("PATH", 16, 0, None, |stream| plain(&stream.path).into_owned()),
    shrinking("ROUTE", 8, 7, None, |stream| plain(&stream.route).into_owned()),
    right("STATUS", 4, None, |stream| stream.status.map_or("-".to_owned(), |status| status.to_string())),
    left("STATE", 6, None, |stream| plain(&stream.state).into_owned()),
    right("AGE", 1, None, |stream| seconds(stream.age_seconds)),
    right("IN", 8, None, |stream| octets(stream.bytes.received)),
    right("OUT", 5, None, |stream| octets(stream.bytes.sent)),
    right("QUEUE", 9, None, |stream| octets(stream.write_queue_bytes)),
    right("WINDOW", 10, None, |stream| window(stream.send_window)),
    left("ON", 2, None, |stream| plain(stream.on.as_deref().unwrap_or("-")).into_owned()),
];

/// Rows in columns that fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Index of each column that stayed, and its width.
    columns: Vec<(usize, usize)>,
    head: String,
    rows: Vec<String>,
}

impl Table {
    /// Lays `rows` out in at most `room` columns of the terminal. `mark` is the title that gets an arrow.
    pub(super) fn new<T>(columns: &[Column<T>], rows: &[T], room: usize, mark: Option<(&str, char)>) -> Self {
        let titles: Vec<String> = columns.iter().map(|column| title(column, mark)).collect();
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| columns.iter().map(|column| (column.cell)(row)).collect()).collect();
        let natural = |index: usize| {
            let widths = cells.iter().map(|row| width(&row[index]));
            widths.chain([width(&titles[index])]).max().unwrap_or(0)
        };
        let mut fit: Vec<(usize, usize)> = (0..columns.len()).map(|index| (index, natural(index))).collect();
        while let Some(over) = needed(&fit).checked_sub(room).filter(|over| *over > 0) {
            let floor = |index: usize| columns[index].narrowest.unwrap_or(usize::MAX);
            let widest = fit.iter_mut().filter(|(index, width)| *width > floor(*index));
            if let Some((index, width)) = widest.max_by_key(|(_, width)| *width) {
                *width = width.saturating_sub(over).max(floor(*index));
                continue;
            }
            // What the rows are ordered by stays, or nobody would see why.
            let leaves = |index: usize| match mark {
                Some((field, _)) if columns[index].sort == Some(field) => 0,
                _ => columns[index].leaves,
            };
            let leaving = fit.iter().enumerate().max_by_key(|(_, (index, _))| leaves(*index));
            match leaving {
                Some((place, (index, _))) if leaves(*index) > 0 => {
                    fit.remove(place);
                    // There may be room again for what became narrow.
                    for (index, width) in &mut fit {
                        *width = natural(*index);
                    }
                }
                _ => break,
            }
        }
        let line = |row: &[String]| cut(&line_of(columns, &fit, row), room).into_owned();
        Self { head: line(&titles), rows: cells.iter().map(|row| line(row)).collect(), columns: fit }
    }

    /// The titles.
    #[cfg(feature = "top")]
    pub(super) fn head(&self) -> &str {
        &self.head
    }

    /// The rows.
    #[cfg(feature = "top")]
    pub(super) fn rows(&self) -> &[String] {
        &self.rows
    }

    /// All of it, line by line.
    pub(super) fn text(&self) -> String {
        let lines = [&self.head].into_iter().chain(&self.rows);
        lines.fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }
}

fn title<T>(column: &Column<T>, mark: Option<(&str, char)>) -> String {
    match mark {
        Some((field, arrow)) if column.sort == Some(field) => format!("{}{arrow}", column.title),
        _ => column.title.to_owned(),
    }
}

fn needed(fit: &[(usize, usize)]) -> usize {
    fit.iter().map(|(_, width)| width).sum::<usize>() + GAP * fit.len().saturating_sub(1)
}

fn line_of<T>(columns: &[Column<T>], fit: &[(usize, usize)], row: &[String]) -> String {
    let mut line = String::new();
    for (place, (index, columns_wide)) in fit.iter().enumerate() {
        if place > 0 {
            line.push_str("  ");
        }
        let cell = cut(&row[*index], *columns_wide);
        let space = " ".repeat(columns_wide.saturating_sub(width(&cell)));
        match columns[*index].side {
            Side::Left => line.extend([&*cell, &space]),
            Side::Right => line.extend([&*space, &cell]),
        }
    }
    line
}

/// What was waited for most, and its share.
pub(super) fn main_cause(waits: &Waits) -> String {
    match waits.main() {
        Some((cause, share)) => format!("{} {:.0}%", cause.short(), share * 100.0),
        None => "-".to_owned(),
    }
}

/// The head of `top --once`.
#[cfg(feature = "top")]
pub(super) fn overview(overview: &super::shapes::Overview) -> String {
    let overloaded = if overview.overloaded { "   overloaded" } else { "" };
    format!(
        "stagedoor {}   {}   up {}   {}   {}   {}   in {}   out {}{overloaded}\n",
        plain(&overview.version),
        plain(&overview.stage),
        seconds(overview.uptime_seconds),
        text::counted(overview.sessions, "session"),
        text::counted(overview.streams, "stream"),
        text::counted(overview.requests_total, "request"),
        octets(overview.bytes.received),
        octets(overview.bytes.sent),
    )
}

/// What a session is, in lines of a name and what it is.
pub(super) fn facts(session: &Session) -> Vec<(&'static str, String)> {
    let peer = session.peer.as_deref().unwrap_or("-");
    let mut facts = vec![
        (
            "session",
            format!("{}   {}   {}", plain(&session.id), plain(&session.role), plain(&session.protocol)),
        ),
        ("listener", format!("{}   peer {}", plain(&session.listener), plain(peer))),
        (
            "state",
            format!(
                "{}   age {}   idle {}",
                plain(&session.state),
                seconds(session.age_seconds),
                seconds(session.idle_seconds)
            ),
        ),
        ("streams", format!("{} open   {} in all", session.streams_open, session.streams_total)),
        (
            "octets",
            format!(
                "in {}   out {}   waiting to be written {}   memory {}",
                octets(session.bytes.received),
                octets(session.bytes.sent),
                octets(session.write_queue_bytes),
                octets(session.memory_bytes)
            ),
        ),
        (
            "windows",
            format!("send {}   receive {}", window(session.send_window), window(session.recv_window)),
        ),
    ];
    if let Some(http2) = &session.http2 {
        let words = http2.iter().map(|(name, value)| format!("{name} {}", scalar(value)));
        let words: Vec<String> = words.map(|words| plain(&words).into_owned()).collect();
        let names = std::iter::once("http/2").chain(std::iter::repeat(""));
        facts.extend(names.zip(words.chunks(FACTS).map(|words| words.join("   "))));
    }
    facts
}

fn scalar(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "-".to_owned(),
        value => value.to_string(),
    }
}

/// What was waited for, a line a cause, with the share beside it.
pub(super) fn waits(waits: &Waits) -> String {
    let total = waits.total().max(f64::MIN_POSITIVE);
    Cause::ALL.iter().fold(String::new(), |text, cause| {
        let (name, spent) = (cause.name(), waits.of(*cause));
        text + &format!("  {name:<22}  {:>6}  {:>3.0}%\n", seconds(spent), spent / total * 100.0)
    })
}

/// One entry of the flight recorder.
pub(super) fn entry(entry: &super::shapes::Entry) -> String {
    let at = format!("{:>9.3}", entry.at_seconds);
    let line = match (&entry.frame, &entry.state) {
        (Some(frame), _) => {
            let flags = match entry.flags.is_empty() {
                true => String::new(),
                false => format!(" {}", entry.flags.join("|")),
            };
            let arrow = text::arrow(entry.direction.as_deref());
            format!("{at} {arrow} {frame} stream={} length={}{flags}", entry.stream, entry.length)
        }
        (None, state) => {
            let stream = match entry.stream {
                0 => String::new(),
                stream => format!(" stream={stream}"),
            };
            let code = entry.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
            format!("{at} = {}{stream}{code}", state.as_deref().unwrap_or("-"))
        }
    };
    plain(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::shapes::{Entry, Moved};

    fn session(id: &str, peer: &str) -> Session {
        Session {
            id: id.to_owned(),
            listener: "public".to_owned(),
            protocol: "h2".to_owned(),
            peer: Some(peer.to_owned()),
            state: "open".to_owned(),
            age_seconds: 75.0,
            bytes: Moved { received: 2048, sent: 10 },
            streams_open: 1,
            ..Session::default()
        }
    }

    #[test]
    fn a_table_is_as_wide_as_it_has_to_be() {
        let rows = [session("0-1", "127.0.0.1:5000"), session("0-2z", "[::1]:7")];
        let table = Table::new(SESSIONS, &rows, usize::MAX, Some(("age", '↓')));
        assert_eq!(
            table.text(),
            "ID    LISTENER  PROTOCOL  PEER            STATE   AGE↓   IDLE  OPEN  TOTAL    IN  OUT  QUEUE  WINDOW  MEMORY  WAITED FOR\n\
             0-1   public    h2        127.0.0.1:5000  open   1m15s  0.00s     1      0  2.0K   10      0       0       0  -\n\
             0-2z  public    h2        [::1]:7         open   1m15s  0.00s     1      0  2.0K   10      0       0       0  -\n"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_what_matters_stays() {
        let rows = [session("0-1", "[2001:db8:1234:5678:9abc:def0:1234:5678]:50000")];
        for room in 0..160 {
            let table = Table::new(SESSIONS, &rows, room, None);
            for line in table.text().lines() {
                assert!(width(line) <= room, "{room}: {line:?}");
            }
        }
        let narrow = Table::new(SESSIONS, &rows, 40, None).text();
        assert!(narrow.contains("[2001:") && narrow.contains('…') && narrow.contains("OPEN"), "{narrow}");
        assert!(!narrow.contains("MEMORY"), "{narrow}");
        let by_memory = Table::new(SESSIONS, &rows, 40, Some(("memory_bytes", '↓'))).text();
        assert!(by_memory.contains("MEMORY↓"), "what it is ordered by is seen: {by_memory}");
    }

    #[test]
    fn what_a_peer_sent_cannot_steer_the_terminal() {
        let stream = Stream { id: 1, path: "/\u{1b}]0;x\u{7}\u{9b}2J".to_owned(), ..Stream::default() };
        let text = Table::new(STREAMS, &[stream], usize::MAX, None).text();
        assert!(text.contains("/\\u{1b}]0;x\\u{7}\\u{9b}2J"), "{text}");
        assert!(text.chars().all(|sign| sign == '\n' || !sign.is_control()), "{text:?}");
        let hostile =
            Session { id: "\u{1b}c".to_owned(), peer: Some("\u{7}".to_owned()), ..Session::default() };
        assert!(facts(&hostile).iter().all(|(_, fact)| !fact.contains(char::is_control)));
    }

    #[test]
    fn the_flight_recorder_reads_as_a_log() {
        let frame = Entry {
            at_seconds: 1.2344,
            direction: Some("rx".to_owned()),
            frame: Some("HEADERS".to_owned()),
            flags: vec!["END_STREAM".to_owned(), "END_HEADERS".to_owned()],
            stream: 1,
            length: 123,
            ..Entry::default()
        };
        assert_eq!(entry(&frame), "    1.234 < HEADERS stream=1 length=123 END_STREAM|END_HEADERS");
        let text = r#"{"at_seconds":2.0,"state":"closed","code":"idle_timeout","stream":0}"#;
        assert_eq!(entry(&serde_json::from_str(text).unwrap()), "    2.000 = closed idle_timeout");
    }

    #[test]
    fn the_cause_most_waited_for_is_named_with_its_share() {
        let waits = Waits { handler: 3.0, socket: 1.0, ..Waits::default() };
        assert_eq!(main_cause(&waits), "handler 75%");
        assert_eq!(main_cause(&Waits::default()), "-");
    }
}
