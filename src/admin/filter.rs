//! Filters and orders of sessions: `field op value` joined by `and`. Asks nobody; judges a [`SessionView`].
//!
//! Invariant: a filter that was read applies to every session; what cannot be compared is an error when it is read.

use std::cmp::Ordering;

use stagedoor_actors::view::SessionView;

/// A filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filter(Vec<Condition>);

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    field: Field,
    op: Op,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Contains,
    Less,
    Greater,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(f64),
}

/// Something of a session that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Role,
    Protocol,
    Listener,
    Peer,
    State,
    Age,
    Idle,
    BytesIn,
    BytesOut,
    StreamsOpen,
    StreamsTotal,
    WriteQueue,
    SendWindow,
    Memory,
    Wait,
    Route,
    Method,
}

/// What the value of a field looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Count,
    Octets,
    Seconds,
}

impl Field {
    const ALL: [(&'static str, Self); 18] = [
        ("id", Self::Id),
        ("role", Self::Role),
        ("protocol", Self::Protocol),
        ("listener", Self::Listener),
        ("peer", Self::Peer),
        ("state", Self::State),
        ("age", Self::Age),
        ("idle", Self::Idle),
        ("bytes.in", Self::BytesIn),
        ("bytes.out", Self::BytesOut),
        ("streams_open", Self::StreamsOpen),
        ("streams_total", Self::StreamsTotal),
        ("write_queue_bytes", Self::WriteQueue),
        ("send_window", Self::SendWindow),
        ("memory_bytes", Self::Memory),
        ("wait", Self::Wait),
        ("route", Self::Route),
        ("method", Self::Method),
    ];

    fn named(name: &str) -> Option<Self> {
        // As in the JSON, too.
        let name = name.strip_suffix("_seconds").unwrap_or(name);
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    fn shape(self) -> Shape {
        match self {
            Self::Id | Self::Role | Self::Protocol | Self::Listener | Self::Peer | Self::State => Shape::Text,
            Self::Route | Self::Method => Shape::Text,
            Self::Age | Self::Idle | Self::Wait => Shape::Seconds,
            Self::BytesIn | Self::BytesOut | Self::WriteQueue | Self::SendWindow | Self::Memory => {
                Shape::Octets
            }
            Self::StreamsOpen | Self::StreamsTotal => Shape::Count,
        }
    }

    /// Whether its sessions must be asked for it: their live numbers do not have it.
    fn is_of_streams(self) -> bool {
        matches!(self, Self::Route | Self::Method)
    }

    fn number(self, session: &SessionView) -> f64 {
        match self {
            Self::Age => session.age_seconds,
            Self::Idle => session.idle_seconds,
            Self::BytesIn => session.bytes_in as f64,
            Self::BytesOut => session.bytes_out as f64,
            Self::StreamsOpen => session.streams_open as f64,
            Self::StreamsTotal => session.streams_total as f64,
            Self::WriteQueue => session.write_queue_bytes as f64,
            Self::SendWindow => session.send_window as f64,
            Self::Memory => session.memory_bytes as f64,
            Self::Wait => session.waits.iter().map(std::time::Duration::as_secs_f64).sum(),
            _ => 0.0,
        }
    }

    /// Whether some value of it fulfils `wanted`: a session may have several routes.
    fn texts(self, session: &SessionView, wanted: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Id => wanted(&session.id),
            Self::Role => wanted(session.role),
            Self::Protocol => wanted(session.protocol),
            Self::Listener => wanted(&session.listener),
            Self::Peer => wanted(session.peer.as_deref().unwrap_or_default()),
            Self::State => wanted(session.state),
            Self::Route => session.streams.iter().any(|stream| wanted(&stream.route)),
            Self::Method => session.streams.iter().any(|stream| wanted(&stream.method)),
            _ => false,
        }
    }
}

/// What is wrong with a filter or an order, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {what}")]
pub(super) struct Bad {
    /// In characters, from 1.
    pub(super) column: usize,
    what: String,
}

impl Filter {
    /// Reads a filter; an empty text is the filter that all pass.
    /// # Errors
    /// What is wrong first.
    pub(super) fn parse(text: &str) -> Result<Self, Bad> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut words = Words { text, at: 0 };
        let mut conditions = Vec::new();
        loop {
            conditions.push(words.condition()?);
            words.skip_spaces();
            if words.rest().is_empty() {
                return Ok(Self(conditions));
            }
            let (at, word) = words.word();
            if !word.eq_ignore_ascii_case("and") {
                return Err(words.bad(at, format!("{word:?} where `and` joins conditions")));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sessions must be asked before they can be judged.
    pub(super) fn needs_streams(&self) -> bool {
        self.0.iter().any(|condition| condition.field.is_of_streams())
    }

    /// Whether a session passes.
    pub(super) fn passes(&self, session: &SessionView) -> bool {
        self.0.iter().all(|condition| condition.holds(session))
    }
}

impl Condition {
    fn holds(&self, session: &SessionView) -> bool {
        match &self.value {
            Value::Number(wanted) => {
                let order = self.field.number(session).partial_cmp(wanted);
                match self.op {
                    Op::Equal => order == Some(Ordering::Equal),
                    Op::NotEqual => order != Some(Ordering::Equal),
                    Op::Less => order == Some(Ordering::Less),
                    Op::Greater => order == Some(Ordering::Greater),
                    Op::Contains => false,
                }
            }
            Value::Text(wanted) => match self.op {
                Op::Equal => self.field.texts(session, |text| text == wanted),
                Op::NotEqual => !self.field.texts(session, |text| text == wanted),
                Op::Contains => self.field.texts(session, |text| text.contains(&**wanted)),
                Op::Less | Op::Greater => false,
            },
        }
    }
}

/// A text that is read from left to right.
struct Words<'a> {
    text: &'a str,
    /// Octets read.
    at: usize,
}

const OPS: [(&str, Op); 5] =
    [("!=", Op::NotEqual), ("=", Op::Equal), ("~", Op::Contains), ("<", Op::Less), (">", Op::Greater)];

impl<'a> Words<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn bad(&self, at: usize, what: String) -> Bad {
        let before = self.text.get(..at).unwrap_or(self.text);
        Bad { column: before.chars().count() + 1, what }
    }

    /// What stands before the next space or operator, and where it began.
    fn word(&mut self) -> (usize, &'a str) {
        self.skip_spaces();
        let (at, rest) = (self.at, self.rest());
        let end =
            rest.find(|sign: char| sign.is_whitespace() || "=!~<>".contains(sign)).unwrap_or(rest.len());
        self.at += end;
        (at, &rest[..end])
    }

    fn condition(&mut self) -> Result<Condition, Bad> {
        let (at, name) = self.word();
        let Some(field) = Field::named(name) else {
            let known: Vec<_> = Field::ALL.iter().map(|(name, _)| *name).collect();
            return Err(self.bad(at, format!("{name:?} is no field; fields are {}", known.join(", "))));
        };
        self.skip_spaces();
        let at = self.at;
        let Some((sign, op)) = OPS.iter().find(|(sign, _)| self.rest().starts_with(sign)) else {
            return Err(self.bad(at, format!("{name} is followed by one of = != ~ < >")));
        };
        self.at += sign.len();
        let fits = match field.shape() {
            Shape::Text => matches!(op, Op::Equal | Op::NotEqual | Op::Contains),
            Shape::Count | Shape::Octets | Shape::Seconds => *op != Op::Contains,
        };
        if !fits {
            return Err(self.bad(at, format!("{sign} does not go with {name}")));
        }
        let (at, text) = self.value()?;
        let value = match field.shape() {
            Shape::Text => Value::Text(text.to_owned()),
            shape => Value::Number(number(shape, text).map_err(|what| self.bad(at, what))?),
        };
        Ok(Condition { field, op: *op, value })
    }

    /// A value: up to the next space, or between quotation marks.
    fn value(&mut self) -> Result<(usize, &'a str), Bad> {
        self.skip_spaces();
        let (at, rest) = (self.at, self.rest());
        if let Some(quoted) = rest.strip_prefix('"') {
            let Some(end) = quoted.find('"') else {
                return Err(self.bad(at, "a quotation mark is not closed".to_owned()));
            };
            self.at += end + 2;
            return Ok((at, &quoted[..end]));
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.bad(at, "a value is missing".to_owned()));
        }
        self.at += end;
        Ok((at, &rest[..end]))
    }
}

/// A number as the configuration has them: `5m`, `1.5s`, `10MiB`, `64k`, or plain.
fn number(shape: Shape, text: &str) -> Result<f64, String> {
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        return Ok(number);
    }
    match shape {
        Shape::Seconds => humantime::parse_duration(text)
            .map(|duration| duration.as_secs_f64())
            .map_err(|_| format!("{text:?} is no duration; one looks like 90s, 5m or 1h")),
        Shape::Octets => {
            octets(text).ok_or_else(|| format!("{text:?} is no size; one looks like 512, 64KiB or 10MiB"))
        }
        Shape::Count | Shape::Text => Err(format!("{text:?} is no number")),
    }
}

fn octets(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("kB", 1e3),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("B", 1.0),
    ];
    let (digits, unit) = UNITS.iter().find_map(|(unit, octets)| Some((text.strip_suffix(unit)?, *octets)))?;
    let number: f64 = digits.trim().parse().ok()?;
    number.is_finite().then_some(number * unit)
}

/// In which order sessions are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    field: Field,
    descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { field: Field::Id, descending: false }
    }
}

impl Order {
    /// Reads the name of a field, `-` before it for the largest first.
    /// # Errors
    /// What is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, Bad> {
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        match Field::named(name).filter(|field| !field.is_of_streams()) {
            Some(field) => Ok(Self { field, descending }),
            None => Err(Bad { column: 1, what: format!("sessions cannot be sorted by {name:?}") }),
        }
    }

    /// Sorts sessions that come in the order of their ids.
    pub(super) fn sort(self, sessions: &mut [SessionView]) {
        let by_text =
            |text: fn(&SessionView) -> &str| move |a: &SessionView, b: &SessionView| text(a).cmp(text(b));
        match self.field {
            Field::Id => {
                if self.descending {
                    sessions.reverse();
                }
                return;
            }
            Field::Role => sessions.sort_by(by_text(|session| session.role)),
            Field::Protocol => sessions.sort_by(by_text(|session| session.protocol)),
            Field::Listener => sessions.sort_by(by_text(|session| &session.listener)),
            Field::Peer => sessions.sort_by(by_text(|session| session.peer.as_deref().unwrap_or_default())),
            Field::State => sessions.sort_by(by_text(|session| session.state)),
            field => {
                return sessions.sort_by(|a, b| {
                    let order = field.number(a).total_cmp(&field.number(b));
                    if self.descending { order.reverse() } else { order }
                });
            }
        }
        if self.descending {
            sessions.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use stagedoor_actors::session::WaitTimes;

    use super::*;

    fn session(id: &str, age: f64, out: u64) -> SessionView {
        SessionView {
            id: id.into(),
            role: "server",
            protocol: "h2",
            listener: "public".into(),
            peer: Some("10.0.0.7:5000".into()),
            state: "open",
            age_seconds: age,
            idle_seconds: 0.0,
            bytes_in: 0,
            bytes_out: out,
            streams_open: 2,
            streams_total: 9,
            write_queue_bytes: 0,
            send_window: -5,
            recv_window: 0,
            memory_bytes: 0,
            waits: WaitTimes::default(),
            http2: None,
            streams: Vec::new(),
            recorder: Vec::new(),
        }
    }

    fn passes(filter: &str) -> bool {
        Filter::parse(filter).unwrap().passes(&session("0-1a", 400.0, 11 << 20))
    }

    #[test]
    fn conditions_are_joined_and_units_understood() {
        for filter in [
            "",
            "age > 5m",
            "age_seconds<7m and bytes.out > 10MiB and listener = public",
            "peer ~ 10.0. and id != 0-1b AND state=open",
            "send_window < 0",
            "protocol = \"h2\"",
            "streams_open = 2",
        ] {
            assert!(passes(filter), "{filter}");
        }
        for filter in ["age > 7m", "route = demo", "listener != public", "peer ~ 11.", "bytes.out < 1kB"] {
            assert!(!passes(filter), "{filter}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (filter, column, words) in [
            ("ag > 5", 1, "is no field; fields are id, role"),
            ("age 5", 5, "followed by one of"),
            ("age > soon", 7, "is no duration"),
            ("bytes.in > many", 12, "is no size"),
            ("listener > x", 10, "does not go with listener"),
            ("age ~ 5", 5, "does not go with age"),
            ("age > 5 or id = 1", 9, "where `and` joins"),
            ("age >", 6, "a value is missing"),
            ("peer = \"x", 8, "is not closed"),
            ("streams_open = NaN", 16, "is no number"),
            ("é = 1", 1, "is no field"),
        ] {
            let bad = Filter::parse(filter).unwrap_err();
            assert_eq!(bad.column, column, "{filter}: {bad}");
            assert!(bad.to_string().contains(words), "{filter}: {bad}");
        }
    }

    #[test]
    fn orders_go_both_ways_and_keep_ids_among_equals() {
        let mut sessions = vec![session("0-1", 1.0, 5), session("0-2", 9.0, 5), session("0-3", 4.0, 7)];
        let ids = |sessions: &[SessionView]| {
            sessions.iter().map(|session| session.id.clone()).collect::<Vec<_>>().join(" ")
        };
        Order::parse("-age").unwrap().sort(&mut sessions);
        assert_eq!(ids(&sessions), "0-2 0-3 0-1");
        let mut sessions = vec![session("0-1", 1.0, 5), session("0-2", 9.0, 5), session("0-3", 4.0, 7)];
        Order::parse("-bytes.out").unwrap().sort(&mut sessions);
        assert_eq!(ids(&sessions), "0-3 0-1 0-2");
        assert!(Order::parse("route").is_err() && Order::parse("").is_err());
    }
}
