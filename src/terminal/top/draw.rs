//! Paints the model of `top` into a buffer. Pure: no terminal, no clock.
//!
//! Invariants: any area will do, an empty one too; nothing that came from a gateway is painted with control characters in it;
//! without colour the causes are letters.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::state::{Dialog, Focus, Link, Model, Opened, Order, View};
use crate::terminal::shapes::{Cause, Waits};
use crate::terminal::tables::{self, Column, SESSIONS, STREAMS, Table};
use crate::terminal::text::{counted, cut, octets, plain, rate, seconds, width};

/// Cells of a bar of causes, in a row of a table.
const BAR: u16 = 14;

/// Where there is less room there are no bars.
const ROOM_FOR_BARS: u16 = 60;

/// Rows above the table of sessions, its head with them.
const LIST_HEAD: u16 = 4;

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Theme {
    pub(super) colour: bool,
}

impl Theme {
    fn of(self, cause: Cause) -> (char, Style) {
        let (letter, colour) = match cause {
            Cause::RequestBody => ('b', Color::Blue),
            Cause::Handler => ('h', Color::Green),
            Cause::Upstream => ('u', Color::Cyan),
            Cause::PeerStreamWindow => ('w', Color::Yellow),
            Cause::PeerConnectionWindow => ('c', Color::Magenta),
            Cause::Scheduler => ('q', Color::White),
            Cause::Socket => ('s', Color::Red),
        };
        match self.colour {
            true => ('█', Style::new().fg(colour)),
            false => (letter, Style::new()),
        }
    }

    fn warning(self) -> Style {
        match self.colour {
            true => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            false => BOLD,
        }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Tells the model how many rows are seen of what.
pub(super) fn measure(model: &mut Model, area: Rect) {
    model.list.set_page(area.height.saturating_sub(LIST_HEAD + 1).into());
    if let View::Session(opened) = &mut model.view {
        let parts = Parts::of(opened, area);
        opened.streams.set_page(parts.streams.height.saturating_sub(1).into());
        opened.recorder.set_page(parts.recorder.height.saturating_sub(1).into());
    }
}

/// Paints.
pub(super) fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let mut canvas = Canvas { buffer, area, theme };
    let area = area.intersection(canvas.buffer.area);
    canvas.area = area;
    if area.is_empty() {
        return;
    }
    canvas.head(model);
    match &model.view {
        View::List => canvas.list(model),
        View::Session(opened) => canvas.session(opened),
    }
    canvas.foot(model);
    if let Dialog::Help = model.dialog {
        canvas.help();
    }
}

/// Where the parts of a session are.
struct Parts {
    facts: Rect,
    streams: Rect,
    recorder: Rect,
}

impl Parts {
    fn of(opened: &Opened, area: Rect) -> Self {
        let facts = opened.session.as_ref().map_or(1, |session| tables::facts(session).len() as u16);
        // A bar of its whole width, its legend in two rows, and an empty one.
        let facts = Rect { y: area.y + 1, height: facts + 4, ..area }.intersection(area);
        let rest = area.height.saturating_sub(1 + facts.height + 1);
        // Of many streams half of the room, of few what they take: the head, a row each, and an empty one.
        let count = opened.session.as_ref().map_or(0, |session| session.streams.len());
        let wanted = u16::try_from(count).unwrap_or(u16::MAX).saturating_add(2);
        let streams = wanted.max(3).min(rest.div_ceil(2));
        let top = area.y + 1 + facts.height;
        Self {
            facts,
            // A row is left empty between the two.
            streams: Rect { y: top, height: streams.saturating_sub(1), ..area }.intersection(area),
            recorder: Rect { y: top + streams, height: rest - streams, ..area }.intersection(area),
        }
    }
}

struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    theme: Theme,
}

impl Canvas<'_> {
    /// Writes one piece and says where it ended.
    fn write(&mut self, x: u16, y: u16, text: &str, style: Style) -> u16 {
        if y >= self.area.bottom() || x >= self.area.right() {
            return x;
        }
        let room = (self.area.right() - x).into();
        self.buffer.set_stringn(x, y, cut(text, room), room, style).0
    }

    /// A row from the left to the right edge.
    fn row(&mut self, y: u16, text: &str, style: Style) {
        let end = self.write(self.area.x, y, text, style);
        if y < self.area.bottom() && end < self.area.right() {
            self.buffer.set_style(Rect { x: end, y, width: self.area.right() - end, height: 1 }, style);
        }
    }

    fn head(&mut self, model: &Model) {
        let overview = &model.overview;
        let (requests, octets_a_second) = match model.rates {
            Some(rates) => (
                format!("{} req/s", rate(rates.requests)),
                format!("in {}/s   out {}/s", octets(rates.received as u64), octets(rates.sent as u64)),
            ),
            None => (
                counted(overview.requests_total, "request"),
                format!("in {}   out {}", octets(overview.bytes.received), octets(overview.bytes.sent)),
            ),
        };
        let overloaded = if overview.overloaded { "   OVERLOADED" } else { "" };
        let text = format!(
            "stagedoor {}   {}{overloaded}   up {}   {}   {}   {requests}   {octets_a_second}",
            plain(&overview.version),
            plain(&overview.stage),
            seconds(overview.uptime_seconds),
            counted(overview.sessions, "session"),
            counted(overview.streams, "stream"),
        );
        self.row(self.area.y, &text, CHOSEN);
        if let Link::Lost(why) = &model.link {
            self.row(
                self.area.y,
                &format!("not connected, trying again: {}", plain(why)),
                self.theme.warning(),
            );
        }
    }

    /// What the colours mean, with `words` for each cause.
    fn legend(&mut self, mut x: u16, y: u16, causes: &[Cause], words: impl Fn(Cause) -> String) {
        for cause in causes {
            let (sign, style) = self.theme.of(*cause);
            x = self.write(x, y, &sign.to_string(), style);
            x = self.write(x, y, &format!(" {}  ", words(*cause)), Style::new());
        }
    }

    fn bar(&mut self, x: u16, y: u16, cells: u16, waits: &Waits) {
        let mut x = x;
        for (cause, share) in Cause::ALL.into_iter().zip(waits.shares(cells.into())) {
            let (sign, style) = self.theme.of(cause);
            x = self.write(x, y, &sign.to_string().repeat(share), style);
        }
    }

    fn list(&mut self, model: &Model) {
        let (x, y) = (self.area.x, self.area.y);
        let end = self.write(x, y + 1, "waited for  ", Style::new());
        self.legend(end, y + 1, &Cause::ALL, |cause| cause.short().to_owned());
        let (field, descending) = model.order();
        let rows = &model.overview.rows;
        let first = model.overview.offset + u64::from(!rows.is_empty());
        let text = format!(
            "{first}-{} of {}   by {}{}   filter {}",
            model.overview.offset + rows.len() as u64,
            model.overview.total,
            plain(field),
            if descending { ", largest first" } else { "" },
            if model.filter.is_empty() { "-".into() } else { plain(&model.filter) },
        );
        self.write(x, y + 2, &text, Style::new());
        let mark = (field, if descending { '↓' } else { '↑' });
        let table = Rect { y: y + 3, height: self.area.height.saturating_sub(LIST_HEAD), ..self.area };
        // The bar takes the place of the last column.
        let columns = &SESSIONS[..SESSIONS.len() - 1];
        let waits: Vec<&Waits> = rows.iter().map(|session| &session.waits).collect();
        let place = (model.list.top(), model.list.at());
        self.table(table, columns, rows, &waits, Some(mark), place);
        if rows.is_empty() {
            let words = match model.filter.is_empty() {
                true => "no session",
                false => "no session matches the filter; / changes it",
            };
            self.write(x, y + LIST_HEAD, words, Style::new());
        }
    }

    /// Rows with a bar each; `place` is the first that is seen, and the one that is chosen.
    fn table<T>(
        &mut self,
        area: Rect,
        columns: &[Column<T>],
        rows: &[T],
        waits: &[&Waits],
        mark: Option<(&str, char)>,
        place: (usize, Option<usize>),
    ) {
        let bars = area.width >= ROOM_FOR_BARS;
        let room = if bars { area.width - BAR - 2 } else { area.width };
        let seen = usize::from(area.height.saturating_sub(1));
        let (top, chosen) = place;
        let end = (top + seen).min(rows.len());
        // Only what is seen has a say in how wide the columns are.
        let table = Table::new(columns, rows.get(top..end).unwrap_or_default(), room.into(), mark);
        let bar_at = area.x + u16::try_from(width(table.head())).unwrap_or(u16::MAX).min(room) + 2;
        self.write(area.x, area.y, table.head(), BOLD);
        if bars {
            let arrow =
                mark.filter(|(field, _)| *field == "wait").map_or(String::new(), |(_, arrow)| arrow.into());
            self.write(bar_at, area.y, &format!("WAITED FOR{arrow}"), BOLD);
        }
        for (index, row) in table.rows().iter().enumerate() {
            let y = area.y + 1 + index as u16;
            if chosen == Some(top + index) {
                self.row(y, row, CHOSEN);
                // The bar keeps its colours.
                let end = area.right().saturating_sub(bar_at);
                let rest = Rect { x: bar_at, y, width: end, height: 1 }.intersection(self.area);
                self.buffer.set_style(rest, Style::new().remove_modifier(Modifier::REVERSED));
            } else {
                self.write(area.x, y, row, Style::new());
            }
            if bars && let Some(waits) = waits.get(top + index) {
                self.bar(bar_at, y, BAR, waits);
            }
        }
    }

    fn session(&mut self, opened: &Opened) {
        let parts = Parts::of(opened, self.area);
        let Some(session) = &opened.session else {
            self.write(parts.facts.x, parts.facts.y, &format!("session {}", plain(&opened.id)), Style::new());
            return;
        };
        let whole = self.area;
        // What does not fit the part of the facts is not painted over the streams.
        self.area = parts.facts;
        let mut y = parts.facts.y;
        for (name, fact) in tables::facts(session) {
            let end = self.write(whole.x, y, &format!("{name:<10}"), BOLD);
            self.write(end, y, &fact, Style::new());
            y += 1;
        }
        if opened.gone {
            let words = "   this session has ended: Esc goes back";
            let at = whole.x
                + 10
                + u16::try_from(width(&tables::facts(session)[0].1)).unwrap_or(u16::MAX).min(whole.width);
            self.write(at, parts.facts.y, words, self.theme.warning());
        }
        let at = self.write(whole.x, y, "waited    ", BOLD);
        let bar = whole.right().saturating_sub(at).min(70);
        self.bar(at, y, bar, &session.waits);
        let words = |cause: Cause| format!("{} {}", cause.short(), seconds(session.waits.of(cause)));
        let (upper, lower) = Cause::ALL.split_at(4);
        self.legend(whole.x + 10, y + 1, upper, words);
        self.legend(whole.x + 10, y + 2, lower, words);
        self.area = whole;

        let waits: Vec<&Waits> = session.streams.iter().map(|stream| &stream.waits).collect();
        let chosen = opened.streams.at().filter(|_| opened.focus == Focus::Streams);
        let place = (opened.streams.top(), chosen);
        self.table(parts.streams, STREAMS, &session.streams, &waits, None, place);
        if session.streams.is_empty() {
            self.write(parts.streams.x, parts.streams.y + 1, "no open stream", Style::new());
        }

        let area = parts.recorder;
        if area.is_empty() {
            return;
        }
        self.write(area.x, area.y, "FLIGHT RECORDER", BOLD);
        let seen = usize::from(area.height - 1);
        let entries = session.recorder.iter().enumerate().skip(opened.recorder.top()).take(seen);
        for (row, (index, entry)) in entries.enumerate() {
            let y = area.y + 1 + row as u16;
            let line = tables::entry(entry);
            match opened.focus == Focus::Recorder && opened.recorder.at() == Some(index) {
                true => self.row(y, &line, CHOSEN),
                false => {
                    self.write(area.x, y, &line, Style::new());
                }
            }
        }
    }

    fn foot(&mut self, model: &Model) {
        if self.area.height < 2 {
            return;
        }
        let y = self.area.bottom() - 1;
        let open = model.session().map_or(0, |session| session.streams_open);
        let (text, style) = match (&model.dialog, &model.notice) {
            (Dialog::Confirm(order), _) => (question(order, open), self.theme.warning()),
            (Dialog::Filter { text, refused }, _) => {
                if let Some(words) = refused
                    && self.area.height > 2
                {
                    self.row(y - 1, &plain(words), self.theme.warning());
                }
                // The end of what is typed stays in sight.
                let room = usize::from(self.area.width).saturating_sub(10);
                let shown = plain(text);
                let skip = shown.chars().count().saturating_sub(room);
                (format!("filter: {}_", shown.chars().skip(skip).collect::<String>()), BOLD)
            }
            (_, Some(notice)) => (plain(notice).into_owned(), BOLD),
            (Dialog::None | Dialog::Help, None) => (keys(&model.view).to_owned(), Style::new()),
        };
        // What was painted below is gone.
        self.row(y, &" ".repeat(self.area.width.into()), Style::new());
        self.row(y, &text, style);
    }

    fn help(&mut self) {
        let wide = HELP.iter().map(|line| width(line)).max().unwrap_or(0) as u16 + 4;
        let high = HELP.len() as u16 + 2;
        let size = (wide.min(self.area.width), high.min(self.area.height));
        let area = Rect {
            x: self.area.x + (self.area.width - size.0) / 2,
            y: self.area.y + (self.area.height - size.1) / 2,
            width: size.0,
            height: size.1,
        };
        let whole = std::mem::replace(&mut self.area, area);
        let blank = " ".repeat(area.width.into());
        for row in 0..area.height {
            self.row(area.y + row, &blank, CHOSEN);
            if let Some(line) = (row > 0).then(|| HELP.get(usize::from(row) - 1)).flatten() {
                self.row(area.y + row, &format!("  {line}"), CHOSEN);
            }
        }
        self.area = whole;
    }
}

/// What is asked before an order.
fn question(order: &Order, open: u64) -> String {
    let streams = counted(open, "stream");
    match order {
        Order::Close { session, now: false } => {
            format!("close session {}, its {streams} may finish?   y / n", plain(session))
        }
        Order::Close { session, now: true } => {
            format!("close session {} now and cut off {streams}?   y / n", plain(session))
        }
        Order::Reset { session, stream } => {
            format!("reset stream {stream} of session {}?   y / n", plain(session))
        }
    }
}

fn keys(view: &View) -> &'static str {
    match view {
        View::List => {
            "q quit   ? help   Enter open   / filter   < > sort   r reverse   c close   C close now"
        }
        View::Session(_) => {
            "q quit   ? help   Esc back   Tab streams, recorder   x reset stream   c close   C close now"
        }
    }
}

const HELP: &[&str] = &[
    "q, Ctrl-C       quit",
    "? h F1          this help; any key ends it",
    "arrows, j k     move; PgUp PgDn Home End too",
    "Ctrl-L, Ctrl-Z  paint anew, suspend",
    "",
    "sessions",
    "Enter           open: streams, windows, waits, flight recorder",
    "/               filter: field op value, joined by and",
    "                = != ~ < >   as in age > 90s and route = api",
    "< >             sort by the column before, after",
    "r               reverse the order",
    "",
    "one session",
    "Tab             move in the streams or the flight recorder",
    "x               reset the stream (asks)",
    "Esc             back to the sessions",
    "",
    "c               close: streams may finish (asks)",
    "C               close now: streams are cut off (asks)",
    "",
    "K M G count by 1024; octets are as the gateway sees them",
];

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
