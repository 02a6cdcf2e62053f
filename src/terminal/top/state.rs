//! What `top` shows and what keys do to it. Pure: no terminal, no clock, no gateway; what is to be done outside is a
//! [`Command`].
//!
//! Invariants: the selection follows its session or stream while that is there, wherever it moves; nothing is closed or reset
//! without a question before it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::cursor::Cursor;
use super::{ROWS, Watch};
use crate::terminal::shapes::{Overview, Session, Stream};
use crate::terminal::tables::SESSIONS;

/// Two overviews that are closer than so many seconds tell no rate.
const APART: f64 = 0.5;

/// Signs of a filter that may be typed.
const FILTER: usize = 1000;

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Listen to something else from now on.
    Watch(Watch),
    /// Tell the gateway.
    Order(Order),
    /// Give the terminal back until we are continued.
    Suspend,
    /// Paint everything anew.
    Repaint,
    Quit,
}

/// What the gateway is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Close { session: String, now: bool },
    Reset { session: String, stream: u32 },
}

/// The connection to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Up,
    /// It is tried again; why it is down.
    Lost(String),
}

/// What is on the screen.
pub(super) enum View {
    List,
    Session(Box<Opened>),
}

/// A session that is looked at alone.
pub(super) struct Opened {
    pub(super) id: String,
    /// None until the gateway told of it.
    pub(super) session: Option<Session>,
    /// It is not there any more; what is shown is what was last told.
    pub(super) gone: bool,
    pub(super) focus: Focus,
    pub(super) streams: Cursor,
    pub(super) recorder: Cursor,
}

/// What the arrows move in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Streams,
    Recorder,
}

/// What waits for keys in front of the view.
pub(super) enum Dialog {
    None,
    Help,
    /// A filter is typed; what was wrong with it before.
    Filter {
        text: String,
        refused: Option<String>,
    },
    Confirm(Order),
}

/// By the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) requests: f64,
    pub(super) received: f64,
    pub(super) sent: f64,
}

/// See the module.
pub(super) struct Model {
    pub(super) link: Link,
    pub(super) overview: Overview,
    pub(super) rates: Option<Rates>,
    /// The overview that rates are reckoned from, without its rows.
    before: Option<Overview>,
    pub(super) filter: String,
    pub(super) sort: String,
    /// The last filter and order that the gateway took.
    good: (String, String),
    offset: u64,
    pub(super) list: Cursor,
    selected: Option<String>,
    pub(super) view: View,
    pub(super) dialog: Dialog,
    /// What came of the last order.
    pub(super) notice: Option<String>,
}

impl Model {
    /// A model of which the gateway has taken `watch`.
    pub(super) fn new(watch: Watch) -> Self {
        Self {
            link: Link::Up,
            overview: Overview::default(),
            rates: None,
            before: None,
            good: (watch.filter.clone(), watch.sort.clone()),
            filter: watch.filter,
            sort: watch.sort,
            offset: watch.offset,
            list: Cursor::default(),
            selected: None,
            view: View::List,
            dialog: Dialog::None,
            notice: None,
        }
    }

    /// What is to be listened to.
    pub(super) fn watch(&self) -> Watch {
        let (session, limit) = match &self.view {
            View::List => (None, ROWS),
            // The head of the screen needs no rows.
            View::Session(opened) => (Some(opened.id.clone()), 1),
        };
        Watch { filter: self.filter.clone(), sort: self.sort.clone(), offset: self.offset, limit, session }
    }

    /// The field of the order, and whether the largest come first.
    pub(super) fn order(&self) -> (&str, bool) {
        match self.sort.strip_prefix('-') {
            Some(field) => (field, true),
            None => (&self.sort, false),
        }
    }

    /// The session under the selection, or the one that is looked at.
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.view {
            View::List => self.overview.rows.get(self.list.at()?),
            View::Session(opened) => opened.session.as_ref(),
        }
    }

    /// The gateway told how it is.
    pub(super) fn hear_overview(&mut self, overview: Overview) -> Option<Command> {
        self.link = Link::Up;
        self.good = (self.filter.clone(), self.sort.clone());
        self.reckon(&overview);
        if let View::Session(_) = self.view {
            let rows = std::mem::take(&mut self.overview.rows);
            self.overview = Overview { rows, total: self.overview.total, ..overview };
            return None;
        }
        self.overview = overview;
        if self.overview.rows.is_empty() && self.offset > 0 {
            // Everything moved to pages before this one.
            self.offset = 0;
            return Some(Command::Watch(self.watch()));
        }
        self.list.set_len(self.overview.rows.len());
        let place = self.overview.rows.iter().position(|row| Some(&row.id) == self.selected.as_ref());
        if let Some(place) = place {
            self.list.go(place);
        }
        self.select();
        None
    }

    /// The gateway told of the session that is looked at.
    pub(super) fn hear_session(&mut self, session: Session) {
        let View::Session(opened) = &mut self.view else { return };
        if session.id != opened.id {
            return;
        }
        let selected = opened.stream().map(|stream| stream.id);
        let follow = opened.recorder.is_at_end();
        opened.streams.set_len(session.streams.len());
        opened.recorder.set_len(session.recorder.len());
        if let Some(place) = session.streams.iter().position(|stream| Some(stream.id) == selected) {
            opened.streams.go(place);
        }
        if follow {
            opened.recorder.go(usize::MAX);
        }
        opened.gone = false;
        opened.session = Some(session);
    }

    /// The session that is looked at is not there.
    pub(super) fn hear_gone(&mut self, id: &str) {
        if let View::Session(opened) = &mut self.view
            && opened.id == id
        {
            opened.gone = true;
        }
    }

    /// The gateway cannot be heard.
    pub(super) fn hear_lost(&mut self, why: String) {
        self.link = Link::Lost(why);
        self.rates = None;
    }

    /// The gateway does not take the filter or the order: back to the last that it took.
    pub(super) fn hear_refused(&mut self, words: String) -> Option<Command> {
        let tried = (std::mem::take(&mut self.filter), std::mem::take(&mut self.sort));
        (self.filter, self.sort) = self.good.clone();
        if tried == self.good {
            self.link = Link::Lost(words);
            return None;
        }
        if tried.0 == self.good.0 {
            self.notice = Some(words);
        } else {
            self.dialog = Dialog::Filter { text: tried.0, refused: Some(words) };
        }
        Some(Command::Watch(self.watch()))
    }

    /// What came of an order.
    pub(super) fn hear_told(&mut self, words: String) {
        self.notice = Some(words);
    }

    /// A key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Command> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Some(Command::Quit),
                KeyCode::Char('z') => return Some(Command::Suspend),
                KeyCode::Char('l') => return Some(Command::Repaint),
                KeyCode::Char('u') => {
                    if let Dialog::Filter { text, .. } = &mut self.dialog {
                        text.clear();
                    }
                    return None;
                }
                _ => {}
            }
        }
        self.notice = None;
        match std::mem::replace(&mut self.dialog, Dialog::None) {
            Dialog::None => self.press_in_view(key.code),
            // Any key ends the help, and does nothing else.
            Dialog::Help => None,
            Dialog::Confirm(order) => match key.code {
                KeyCode::Char('y' | 'Y') => Some(Command::Order(order)),
                _ => None,
            },
            Dialog::Filter { text, refused } => self.press_in_filter(text, refused, key.code),
        }
    }

    fn press_in_filter(
        &mut self,
        mut text: String,
        mut refused: Option<String>,
        code: KeyCode,
    ) -> Option<Command> {
        match code {
            KeyCode::Esc => return None,
            KeyCode::Enter => {
                self.filter = text.trim().to_owned();
                self.offset = 0;
                return Some(Command::Watch(self.watch()));
            }
            KeyCode::Backspace => {
                text.pop();
                refused = None;
            }
            KeyCode::Char(sign) if text.len() < FILTER && !sign.is_control() => {
                text.push(sign);
                refused = None;
            }
            _ => {}
        }
        self.dialog = Dialog::Filter { text, refused };
        None
    }

    fn press_in_view(&mut self, code: KeyCode) -> Option<Command> {
        match code {
            KeyCode::Char('q') => return Some(Command::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.dialog = Dialog::Help,
            KeyCode::Char('c') => self.ask_to_close(false),
            KeyCode::Char('C') => self.ask_to_close(true),
            _ => match &mut self.view {
                View::List => return self.press_in_list(code),
                View::Session(opened) => {
                    if matches!(code, KeyCode::Esc | KeyCode::Left | KeyCode::Backspace) {
                        self.view = View::List;
                        return Some(Command::Watch(self.watch()));
                    }
                    if let Some(order) = opened.press(code) {
                        self.dialog = Dialog::Confirm(order);
                    }
                }
            },
        }
        None
    }

    fn press_in_list(&mut self, code: KeyCode) -> Option<Command> {
        match code {
            KeyCode::Enter | KeyCode::Right => {
                let id = self.selected.clone()?;
                // What the list knows of it is there at once; its streams come with the next event.
                let session = self.session().cloned();
                self.view = View::Session(Box::new(Opened::new(id, session)));
                return Some(Command::Watch(self.watch()));
            }
            KeyCode::Char('/' | 'f') => {
                self.dialog = Dialog::Filter { text: self.filter.clone(), refused: None };
            }
            KeyCode::Char('>') => return self.sort_by(1),
            KeyCode::Char('<') => return self.sort_by(-1),
            KeyCode::Char('r') => {
                let (field, descending) = self.order();
                self.sort = if descending { field.to_owned() } else { format!("-{field}") };
                return Some(Command::Watch(self.watch()));
            }
            KeyCode::Down | KeyCode::Char('j') if self.list.is_at_end() => return self.next_rows(),
            KeyCode::Up | KeyCode::Char('k') if self.list.at() == Some(0) => return self.rows_before(),
            _ => {
                travel(&mut self.list, code);
                self.select();
            }
        }
        None
    }

    /// Remembers what the cursor is at.
    fn select(&mut self) {
        self.selected = self.list.at().and_then(|at| Some(self.overview.rows.get(at)?.id.clone()));
    }

    /// The rows behind those the gateway told.
    fn next_rows(&mut self) -> Option<Command> {
        let end = self.offset + self.overview.rows.len() as u64;
        if end >= self.overview.total || self.overview.rows.is_empty() {
            return None;
        }
        self.offset = end;
        self.selected = None;
        self.list.go(0);
        Some(Command::Watch(self.watch()))
    }

    fn rows_before(&mut self) -> Option<Command> {
        if self.offset == 0 {
            return None;
        }
        self.offset = self.offset.saturating_sub(ROWS);
        self.selected = None;
        self.list.go(0);
        Some(Command::Watch(self.watch()))
    }

    /// Orders by the field of the column `by` columns further.
    fn sort_by(&mut self, by: isize) -> Option<Command> {
        let fields: Vec<&str> = SESSIONS.iter().filter_map(|column| column.sort).collect();
        let now = fields.iter().position(|field| *field == self.order().0).unwrap_or(0);
        let next = (now as isize + by).rem_euclid(fields.len() as isize) as usize;
        let field = *fields.get(next)?;
        // Of figures people look for the largest.
        let words = matches!(field, "id" | "listener" | "protocol" | "peer" | "state");
        self.sort = if words { field.to_owned() } else { format!("-{field}") };
        self.offset = 0;
        Some(Command::Watch(self.watch()))
    }

    fn ask_to_close(&mut self, now: bool) {
        if let Some(session) = self.session() {
            self.dialog = Dialog::Confirm(Order::Close { session: session.id.clone(), now });
        }
    }

    fn reckon(&mut self, overview: &Overview) {
        let head = || Some(Overview { rows: Vec::new(), ..overview.clone() });
        let Some(before) = &self.before else {
            self.before = head();
            return;
        };
        let seconds = overview.at - before.at;
        if (0.0..APART).contains(&seconds) {
            return;
        }
        let rate = |now: u64, then: u64| Some(now.checked_sub(then)? as f64 / seconds);
        let rates = || {
            Some(Rates {
                requests: rate(overview.requests_total, before.requests_total)?,
                received: rate(overview.bytes.received, before.bytes.received)?,
                sent: rate(overview.bytes.sent, before.bytes.sent)?,
            })
        };
        // A gateway that was started again counts from zero, and its clock may have been set.
        self.rates = if seconds > 0.0 { rates() } else { None };
        self.before = head();
    }
}

impl Opened {
    fn new(id: String, session: Option<Session>) -> Self {
        Self {
            id,
            session,
            gone: false,
            focus: Focus::Streams,
            streams: Cursor::default(),
            recorder: Cursor::default(),
        }
    }

    /// The stream under the selection.
    pub(super) fn stream(&self) -> Option<&Stream> {
        self.session.as_ref()?.streams.get(self.streams.at()?)
    }

    /// A key; what is to be asked.
    fn press(&mut self, code: KeyCode) -> Option<Order> {
        match (code, self.focus) {
            (KeyCode::Tab | KeyCode::BackTab, Focus::Streams) => self.focus = Focus::Recorder,
            (KeyCode::Tab | KeyCode::BackTab, Focus::Recorder) => self.focus = Focus::Streams,
            (KeyCode::Char('x'), Focus::Streams) => {
                let stream = self.stream()?.id;
                return Some(Order::Reset { session: self.id.clone(), stream });
            }
            (_, Focus::Streams) => travel(&mut self.streams, code),
            (_, Focus::Recorder) => travel(&mut self.recorder, code),
        }
        None
    }
}

fn travel(cursor: &mut Cursor, code: KeyCode) {
    match code {
        KeyCode::Down | KeyCode::Char('j') => cursor.step(1),
        KeyCode::Up | KeyCode::Char('k') => cursor.step(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => cursor.turn(1),
        KeyCode::PageUp => cursor.turn(-1),
        KeyCode::Home | KeyCode::Char('g') => cursor.go(0),
        KeyCode::End | KeyCode::Char('G') => cursor.go(usize::MAX),
        _ => {}
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
