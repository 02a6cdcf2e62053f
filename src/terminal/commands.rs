//! The commands that ask once: `sessions`, `session`, `close`, `drain`, `resume`, `log`.

use serde::Deserialize;

use super::args::{
    AdminArgs, CloseArgs, CloseTarget, DrainArgs, LogArgs, ResumeArgs, SessionArgs, SessionsArgs,
};
use super::connection::{Admin, Answer, Query};
use super::shapes::Session;
use super::tables::{self, SESSIONS, STREAMS, Table};
use super::text::{counted, cut, plain};
use super::{print, room};
use crate::banner::Colour;
use crate::failure::{Exit, Failure};

/// Asks once, and says good-bye.
pub(super) async fn ask(
    args: &AdminArgs,
    method: &str,
    query: &Query,
    body: Option<String>,
) -> Result<Answer, Failure> {
    let admin = Admin::connect(args).await?;
    let answer = admin.call(method, query.text(), body).await;
    admin.part().await;
    Ok(answer?)
}

/// `stagedoor sessions`.
pub(super) async fn sessions(args: &SessionsArgs) -> Result<(), Failure> {
    let query = Query::new(&["api", "sessions"])
        .with_some("filter", args.filter.as_deref())
        .with_some("sort", args.sort.as_deref());
    let answer = ask(&args.admin, "GET", &query, None).await?;
    if args.json {
        return print(answer.document()?).await;
    }
    let sessions: Vec<Session> = answer.json()?;
    let mut text = table(&Table::new(SESSIONS, &sessions, room(), None));
    if let Some(total) = answer.total.filter(|total| *total > sessions.len() as u64) {
        text.push_str(&format!("{} of {total}; --filter says which\n", sessions.len()));
    }
    print(text).await
}

/// `stagedoor session`.
pub(super) async fn session(args: &SessionArgs) -> Result<(), Failure> {
    let query = Query::new(&["api", "sessions", &args.id]);
    let answer = ask(&args.admin, "GET", &query, None).await?;
    if args.json {
        return print(answer.document()?).await;
    }
    print(detail(&answer.json()?, room())).await
}

/// All there is to say of a session.
fn detail(session: &Session, room: usize) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(&cut(line, room));
        text.push('\n');
    };
    for (name, fact) in tables::facts(session) {
        line(&format!("{name:<10}{fact}"));
    }
    line("");
    line("waited for");
    tables::waits(&session.waits).lines().for_each(&mut line);
    if !session.streams.is_empty() {
        line("");
        table(&Table::new(STREAMS, &session.streams, room, None)).lines().for_each(&mut line);
    }
    if !session.recorder.is_empty() {
        line("");
        line("flight recorder");
        session.recorder.iter().for_each(|entry| line(&tables::entry(entry)));
    }
    text
}

/// A table whose head stands out where stdout can.
pub(super) fn table(table: &Table) -> String {
    match Colour::of_stdout() {
        Colour::Off => table.text(),
        Colour::On => match table.text().split_once('\n') {
            Some((head, rows)) => format!("\x1b[1m{head}\x1b[0m\n{rows}"),
            None => table.text(),
        },
    }
}

/// `stagedoor close`.
pub(super) async fn close(args: &CloseArgs) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Closed {
        #[serde(default)]
        state: String,
    }
    match &args.target {
        CloseTarget::Session(session) => {
            let query = Query::new(&["api", "sessions", session])
                .with_some("code", args.code.as_deref())
                .with_some("reason", args.reason.as_deref())
                .with_some("now", args.now.then_some("true"));
            let closed: Closed = ask(&args.admin, "DELETE", &query, None).await?.json()?;
            print(format!("session {} {}\n", plain(session), plain(&closed.state))).await
        }
        CloseTarget::Stream { session, stream } => {
            if args.now || args.reason.is_some() {
                let words = "--now and --reason are for sessions; a stream is reset at once, with --code";
                return Err(Failure::new(Exit::Usage, words));
            }
            let query = Query::new(&["api", "sessions", session, "streams", &stream.to_string()])
                .with_some("code", args.code.as_deref());
            ask(&args.admin, "DELETE", &query, None).await?;
            print(format!("stream {stream} of session {} reset\n", plain(session))).await
        }
    }
}

/// `stagedoor drain`.
pub(super) async fn drain(args: &DrainArgs) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Draining {
        #[serde(default)]
        sessions: u64,
    }
    // The API reads one number with one unit, people write more.
    let timeout = args.timeout.map(|timeout| match timeout.subsec_millis() {
        0 => format!("{}s", timeout.as_secs()),
        _ => format!("{}ms", timeout.as_millis()),
    });
    let query = Query::new(&["api", "drain"])
        .with_some("listener", args.listener.as_deref())
        .with_some("timeout", timeout);
    let draining: Draining = ask(&args.admin, "POST", &query, None).await?.json()?;
    let what = args.listener.as_deref().map(|name| format!("listener {} ", plain(name))).unwrap_or_default();
    print(format!("{what}draining, {} left\n", counted(draining.sessions, "session"))).await
}

/// `stagedoor resume`.
pub(super) async fn resume(args: &ResumeArgs) -> Result<(), Failure> {
    let query = Query::new(&["api", "resume"]).with_some("listener", args.listener.as_deref());
    ask(&args.admin, "POST", &query, None).await?;
    let what = args.listener.as_deref().map(|name| format!("listener {} ", plain(name))).unwrap_or_default();
    print(format!("{what}accepting again\n")).await
}

/// `stagedoor log`.
pub(super) async fn log(args: &LogArgs) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Filter {
        #[serde(default)]
        filter: String,
    }
    let method = if args.filter.is_some() { "PUT" } else { "GET" };
    let query = Query::new(&["api", "log"]);
    let now: Filter = ask(&args.admin, method, &query, args.filter.clone()).await?.json()?;
    print(format!("{}\n", plain(&now.filter))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::shapes::{Entry, Stream, Waits};
    use crate::terminal::text::width;

    fn seen() -> Session {
        Session {
            id: "0-1a".to_owned(),
            waits: Waits { handler: 1.5, socket: 0.5, ..Waits::default() },
            streams: vec![Stream { id: 5, path: "/drip".to_owned(), ..Stream::default() }],
            recorder: vec![Entry { frame: Some("PING".to_owned()), ..Entry::default() }],
            ..Session::default()
        }
    }

    #[test]
    fn a_session_is_told_with_its_streams_waits_and_frames() {
        let text = detail(&seen(), usize::MAX);
        for words in
            ["0-1a", "  handler                  1.50s   75%", "/drip", "flight recorder", "PING stream=0"]
        {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
    }

    #[test]
    fn it_fits_the_terminal() {
        for room in [1, 20, 80] {
            assert!(detail(&seen(), room).lines().all(|line| width(line) <= room), "{room}");
        }
    }
}
