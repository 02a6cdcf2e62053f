//! The access log: one line for each request that is over, whatever became of it.
//!
//! It is an observer of sessions: it hears that a stream began, with its head, and how it ended, and changes
//! nothing. Lines go to a thread of their own, and are dropped and counted where it cannot keep up: no request waits
//! for a disk. Values that are redacted, and queries unless they are asked for, never reach a line.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use stagedoor::access::{AccessFormat, AccessLog};
//! use stagedoor::{Metrics, ServerBuilder};
//!
//! let log = AccessLog::new(AccessFormat::Json).to_path("/var/log/stagedoor/access.log")?;
//! let server = ServerBuilder::new(Metrics::new("stagedoor"), 2).observe(log.observer());
//! # drop(server);
//! # Ok(())
//! # }
//! ```

mod format;
mod writer;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stagedoor_actors::redact::Redact;
use stagedoor_actors::{Observer, ObserverFactory, SessionEvent, SessionHandle, trace};
use stagedoor_metrics::{Role, SessionId};
use stagedoor_protocol::{RequestHead, StreamId};

pub use format::AccessFormat;
use format::{Record, RequestLine};
use writer::{OnDrop, Writer};

/// What is written, before it is known where to.
pub struct AccessLogOptions {
    what: What,
    on_drop: OnDrop,
}

#[derive(Clone, Debug)]
struct What {
    format: AccessFormat,
    redact: Redact,
    show_query: bool,
    /// Listeners whose requests are not written.
    silent: Vec<String>,
}

impl AccessLogOptions {
    /// Queries are written, of paths and of referers; without this they are cut.
    #[must_use]
    pub fn show_query(mut self, shown: bool) -> Self {
        self.what.show_query = shown;
        self
    }

    /// Values that are left out; only `user-agent` and `referer` matter here.
    #[must_use]
    pub fn redact(mut self, redact: Redact) -> Self {
        self.what.redact = redact;
        self
    }

    /// Listeners whose requests are not written, in place of the one there is: `admin`.
    #[must_use]
    pub fn silent<N: Into<String>>(mut self, listeners: impl IntoIterator<Item = N>) -> Self {
        self.what.silent = listeners.into_iter().map(Into::into).collect();
        self
    }

    /// Called with the number of lines that were dropped just now, on whatever thread that is.
    #[must_use]
    pub fn on_drop(mut self, told: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.on_drop = Box::new(told);
        self
    }

    /// Appends to a file, which is made where there is none. Into a named pipe lines go as its readers come and go.
    /// # Errors
    /// A file that cannot be opened.
    pub fn to_path(self, path: impl AsRef<Path>) -> io::Result<AccessLog> {
        let file = open(path.as_ref())?;
        self.to_writer(Box::new(file))
    }

    /// Writes to stdout.
    /// # Errors
    /// No thread for it.
    pub fn to_stdout(self) -> io::Result<AccessLog> {
        self.to_writer(Box::new(io::stdout()))
    }

    /// Writes to `out`, which may block.
    /// # Errors
    /// No thread for it.
    pub fn to_writer(self, out: Box<dyn Write + Send>) -> io::Result<AccessLog> {
        let writer = Writer::start(out, self.on_drop)?;
        Ok(AccessLog(Arc::new(Inner { what: self.what, writer })))
    }
}

fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|known| known.file_type().is_fifo()) {
        // With a reading end of our own, opening waits for no reader and writing fails for none.
        return OpenOptions::new().read(true).write(true).open(path);
    }
    OpenOptions::new().append(true).create(true).open(path)
}

/// A log that is written; a clone is the same log.
#[derive(Clone)]
pub struct AccessLog(Arc<Inner>);

struct Inner {
    what: What,
    writer: Writer,
}

impl AccessLog {
    /// A log in `format`: queries cut, credentials redacted, nothing of the listener `admin`.
    #[allow(clippy::new_ret_no_self, reason = "it is one once it is known where to write")]
    #[must_use]
    pub fn new(format: AccessFormat) -> AccessLogOptions {
        let what =
            What { format, redact: Redact::default(), show_query: false, silent: vec!["admin".into()] };
        AccessLogOptions { what, on_drop: Box::new(|_| ()) }
    }

    /// For [`ServerBuilder::observe`](stagedoor_actors::ServerBuilder::observe).
    #[must_use]
    pub fn observer(&self) -> ObserverFactory {
        let log = self.clone();
        Arc::new(move || Rc::new(AccessObserver::new(log.clone())))
    }

    /// Lines that were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.writer.dropped()
    }

    /// Waits until what was given so far is written; false where that takes longer than `limit`. Blocks.
    pub fn flush(&self, limit: Duration) -> bool {
        self.0.writer.flush(limit)
    }
}

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessLog").field("what", &self.0.what).finish_non_exhaustive()
    }
}

/// Hears the sessions of one worker and listener, or of one [`Host`](stagedoor_actors::Host), and writes their
/// requests.
pub struct AccessObserver {
    log: AccessLog,
    /// Sessions with streams that are not over, by id.
    sessions: RefCell<HashMap<String, Open>>,
}

/// Streams of a session that are not over. There are a few hundred at most.
struct Open {
    id: SessionId,
    heads: Vec<(StreamId, Arc<RequestHead>)>,
}

impl AccessObserver {
    /// Writes to `log`.
    #[must_use]
    pub fn new(log: AccessLog) -> Self {
        Self { log, sessions: RefCell::default() }
    }

    fn opened(&self, session: &SessionHandle, id: StreamId, head: &Arc<RequestHead>) {
        let mut sessions = self.sessions.borrow_mut();
        if let Some(open) = sessions.get_mut(&session.id) {
            return open.heads.push((id, Arc::clone(head)));
        }
        let open = Open { id: id_of(session), heads: vec![(id, Arc::clone(head))] };
        sessions.insert(session.id.clone(), open);
    }

    /// The head of a stream that is over; none where it could not be read.
    fn taken(&self, session: &SessionHandle, id: StreamId) -> (SessionId, Option<Arc<RequestHead>>) {
        let mut sessions = self.sessions.borrow_mut();
        let Some(open) = sessions.get_mut(&session.id) else { return (id_of(session), None) };
        let place = open.heads.iter().position(|(known, _)| *known == id);
        (open.id, place.map(|place| open.heads.swap_remove(place).1))
    }
}

impl Observer for AccessObserver {
    fn observe(&self, session: &SessionHandle, event: &SessionEvent) {
        let what = &self.log.0.what;
        if session.role != Role::Server || what.silent.contains(&session.listener) {
            return;
        }
        match event {
            SessionEvent::StreamOpened { id, head } => self.opened(session, *id, head),
            SessionEvent::StreamClosed {
                id,
                outcome,
                status,
                lasted,
                octets,
                times,
                route,
                waits,
                cause,
                ..
            } => {
                let (number, head) = self.taken(session, *id);
                let head = head.as_deref();
                let stream = id.get();
                let trace_id = match head {
                    Some(head) => trace::of(head, number, stream).trace_id,
                    None => trace::begun(number, stream),
                };
                let referer = head.and_then(|head| what.field(head, "referer"));
                let user_agent = head.and_then(|head| what.field(head, "user-agent"));
                let request = head.map(|head| RequestLine {
                    method: head.method(),
                    path: what.cut(head.path().or_else(|| head.authority()).unwrap_or_default()),
                    referer: referer.map(|value| what.cut_octets(value)),
                    user_agent,
                });
                let now = SystemTime::now();
                let line = what.format.line(&Record {
                    time: now.checked_sub(*lasted).unwrap_or(now),
                    session: &session.id,
                    stream,
                    trace_id,
                    listener: &session.listener,
                    protocol: session.protocol,
                    peer: session.peer,
                    request,
                    status: *status,
                    outcome: outcome.label(),
                    cause: *cause,
                    route: &session.route_name(*route),
                    octets: *octets,
                    lasted: *lasted,
                    start: times.head,
                    waits: *waits,
                });
                self.log.0.writer.write(line);
            }
            SessionEvent::Closed { .. } => {
                self.sessions.borrow_mut().remove(&session.id);
            }
            _ => {}
        }
    }
}

impl What {
    fn field<'a>(&self, head: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
        head.fields().get(name).map(|value| self.redact.shown(name.as_bytes(), value))
    }

    fn cut<'a>(&self, target: &'a str) -> &'a str {
        if self.show_query { target } else { target.split_once('?').map_or(target, |(path, _)| path) }
    }

    fn cut_octets<'a>(&self, value: &'a [u8]) -> &'a [u8] {
        if self.show_query { value } else { value.split(|octet| *octet == b'?').next().unwrap_or_default() }
    }
}

/// Sessions write their ids themselves.
fn id_of(session: &SessionHandle) -> SessionId {
    session.id.parse().unwrap_or(SessionId { worker: 0, number: 0 })
}
