//! Live frames as events, redacted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::Serialize;
use stagedoor_actors::tap::{TapFrame, TapItem};
use stagedoor_actors::{NoTap, Redact, Reply};
use stagedoor_protocol::frame::{self, kind};
use stagedoor_protocol::{Detail, Fields, Origin, settings};
use tokio::sync::mpsc::Receiver;

use super::Admin;
use super::problem::Problem;
use super::query::Query;
use super::stream::{self, Events};

/// A frame.
#[derive(Serialize)]
struct FrameSeen {
    at: f64,
    session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    direction: &'static str,
    frame: &'static str,
    flags: Vec<&'static str>,
    stream: u32,
    length: u32,
    #[serde(flatten)]
    detail: DetailSeen,
}

#[derive(Default, Serialize)]
#[serde(default)]
struct DetailSeen {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<[String; 2]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    increment: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_stream: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promised: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prioritized: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
}

#[derive(Serialize)]
struct Lost {
    lost: u64,
}

#[derive(Serialize)]
struct End {
    reason: &'static str,
}

/// How frames are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) redact: Redact,
    pub(super) query: bool,
}

impl Shown {
    fn frame(&self, told: &TapFrame, route: Option<String>) -> FrameSeen {
        let frame = &told.frame;
        FrameSeen {
            at: (told.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e6).round() / 1e6,
            session: told.session.to_string(),
            route,
            direction: if frame.by == Origin::Local { "tx" } else { "rx" },
            frame: frame::name(frame.kind),
            flags: frame::flag_names(frame.kind, frame.flags).collect(),
            stream: frame.id.get(),
            length: frame.length,
            detail: self.detail(&frame.detail),
        }
    }

    fn detail(&self, detail: &Detail) -> DetailSeen {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let none = DetailSeen::default();
        match detail {
            Detail::Fields(fields) => DetailSeen { fields: self.fields(fields), ..none },
            Detail::Settings(settings) => {
                let named = |id: u16| settings::name(id).map_or_else(|| format!("0x{id:x}"), str::to_owned);
                DetailSeen {
                    settings: settings.iter().map(|(id, value)| (named(*id), *value)).collect(),
                    ..none
                }
            }
            Detail::Increment(increment) => DetailSeen { increment: Some(*increment), ..none },
            Detail::Code(code) => DetailSeen { code: Some(code.name()), ..none },
            Detail::GoAway { last, code, debug } => DetailSeen {
                code: Some(code.name()),
                last_stream: Some(last.get()),
                debug: (!debug.is_empty()).then(|| text(debug)),
                ..none
            },
            Detail::Ping(payload) => {
                let hex = payload.iter().map(|octet| format!("{octet:02x}")).collect();
                DetailSeen { payload: Some(hex), ..none }
            }
            Detail::Promise(promised) => DetailSeen { promised: Some(promised.get()), ..none },
            Detail::Priority(stream, value) => {
                DetailSeen { prioritized: Some(stream.get()), priority: Some(text(value)), ..none }
            }
            _ => none,
        }
    }

    fn fields(&self, fields: &Fields) -> Vec<[String; 2]> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        fields
            .iter()
            .map(|field| {
                let mut value = text(self.redact.shown(field.name, field.value));
                if field.name == b":path" && !self.query {
                    value.truncate(value.find('?').unwrap_or(value.len()));
                }
                [text(field.name), value]
            })
            .collect()
    }
}

/// At most so many requests a second are shown: a stream is shown whole or not at all.
struct Rate {
    most: Option<u64>,
    since: Instant,
    begun: u64,
    /// Streams of this second that are left out.
    hidden: std::collections::HashSet<(stagedoor_metrics::SessionId, u32)>,
}

impl Rate {
    fn new(most: Option<u64>) -> Self {
        Self { most, since: Instant::now(), begun: 0, hidden: std::collections::HashSet::new() }
    }

    /// Streams that are remembered as left out.
    const HIDDEN: usize = 100_000;

    fn shows(&mut self, told: &TapFrame) -> bool {
        let Some(most) = self.most else { return true };
        let (frame, key) = (&told.frame, (told.session, told.frame.id.get()));
        if frame.kind == kind::HEADERS
            && frame.by == Origin::Remote
            && matches!(frame.detail, Detail::Fields(_))
        {
            if self.since.elapsed() >= Duration::from_secs(1) {
                self.since = Instant::now();
                self.begun = 0;
            }
            self.begun += 1;
            if self.begun > most {
                if self.hidden.len() >= Self::HIDDEN {
                    self.hidden.clear();
                }
                self.hidden.insert(key);
                return false;
            }
        }
        !self.hidden.contains(&key)
    }
}

/// Which frames of a tap are shown.
enum Choice {
    /// Those of one session, all of them.
    Session,
    /// Those of every session, of one route where one is named.
    All { route: Option<String>, rate: Rate },
}

impl Choice {
    fn shows(&mut self, told: &TapFrame, route: Option<&str>) -> bool {
        match self {
            Self::Session => true,
            Self::All { route: None, rate } => rate.shows(told),
            Self::All { route: wanted, rate } => wanted.as_deref() == route && rate.shows(told),
        }
    }
}

impl Admin {
    /// `GET /api/sessions/{id}/frames`.
    pub(super) fn frames_of(&self, id: &str) -> Reply {
        let (admin, id) = (self.clone(), id.to_owned());
        Reply::later(async move {
            let tap = match admin.server.get() {
                Some(server) => server.tap(&id).await,
                None => Err(NoTap::Gone),
            };
            match tap {
                Ok(tap) => stream::respond(move |events| admin.tell(tap, events, Choice::Session)),
                Err(NoTap::Gone) => Problem::no_session(&id).into_response(),
                Err(error) => Problem::conflict(error.to_string()).into_response(),
            }
        })
    }

    /// `GET /api/frames`.
    pub(super) fn frames(&self, query: &Query) -> Reply {
        let known = ["route", "max_rps"];
        if let Some(name) = query.stranger(&known) {
            return Problem::unknown_parameter(name, &known).into();
        }
        let most = match query.number("max_rps", usize::MAX, 1, 1_000_000) {
            Ok(most) => (most != usize::MAX).then_some(most as u64),
            Err(what) => return Problem::bad(what).into(),
        };
        let (admin, route) = (self.clone(), query.get("route").map(str::to_owned));
        Reply::later(async move {
            let Some(server) = admin.server.get().cloned() else {
                return Problem::conflict("the server does not run yet").into_response();
            };
            let tap = server.tap_all().await;
            stream::respond(move |events| {
                admin.tell(tap, events, Choice::All { route, rate: Rate::new(most) })
            })
        })
    }

    async fn tell(self, mut tap: Receiver<TapItem>, events: Events, mut choice: Choice) {
        loop {
            let item = tokio::select! {
                item = tap.recv() => item,
                () = events.closed() => return,
            };
            let written = match item {
                None => return,
                Some(TapItem::Frame(told)) => {
                    let named = told.route.and_then(|route| self.metrics.route_name(route));
                    if !choice.shows(&told, named.as_deref()) {
                        continue;
                    }
                    let named = named.map(|name| name.to_string()).filter(|_| told.frame.id.get() != 0);
                    events.write("frame", &self.shown.frame(&told, named)).await
                }
                Some(TapItem::Lost(lost)) => events.write("lost", &Lost { lost }).await,
                // Nothing follows: the tap ends with its session.
                Some(TapItem::End(_, reason)) if matches!(choice, Choice::Session) => {
                    events.write("end", &End { reason: reason.label() }).await
                }
                Some(_) => true,
            };
            if !written {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_queries_are_not_shown() {
        let mut fields = Fields::new();
        for (name, value) in
            [(":path", "/a?token=1"), ("authorization", "Bearer x"), ("accept", "*/*"), ("x", "?y")]
        {
            fields.push(name, value);
        }
        let shown = Shown::default().detail(&Detail::Fields(fields.clone())).fields;
        let flat: Vec<_> = shown.iter().map(|[name, value]| format!("{name}={value}")).collect();
        assert_eq!(flat, [":path=/a", "authorization=[redacted]", "accept=*/*", "x=?y"]);
        let shown =
            Shown { query: true, redact: Redact::these(["X"]) }.detail(&Detail::Fields(fields)).fields;
        assert_eq!(shown[0][1], "/a?token=1");
        assert_eq!(shown[3][1], "[redacted]");
    }

    #[test]
    fn details_are_named_as_the_rfcs_name_them() {
        let seen = Shown::default().detail(&Detail::Settings(vec![(5, 16_384), (0xff, 1)]));
        assert_eq!(
            serde_json::to_value(&seen).unwrap(),
            serde_json::json!({ "settings": { "MAX_FRAME_SIZE": 16_384, "0xff": 1 } })
        );
        let seen = Shown::default().detail(&Detail::Ping([0, 1, 2, 3, 4, 5, 6, 255]));
        assert_eq!(
            serde_json::to_value(&seen).unwrap(),
            serde_json::json!({ "payload": "00010203040506ff" })
        );
    }
}
