//! `stagedoor tap`: the frames of a running gateway as they cross, a line or some for each.
//!
//! The gateway decodes and redacts; nothing is decoded here. A slow reader of stdout slows the stream of events, and the
//! gateway counts what it could not say.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::args::TapArgs;
use super::connection::{Admin, Events, Query, Trouble, not_understood};
use super::room;
use super::shapes::{Ended, Frame, Lost};
use super::sse::Event;
use super::text::{self, counted, cut, plain};
use crate::failure::{Exit, Failure};
use crate::output::{Output, Written};

/// How often we look whether anybody still reads.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until the session ends, nobody reads, or a signal.
///
/// # Errors
/// What the gateway refused, and a connection that was lost.
pub(super) async fn run(args: &TapArgs) -> Result<(), Failure> {
    let query = match &args.session {
        Some(session) => Query::new(&["api", "sessions", session, "frames"]),
        None => Query::new(&["api", "frames"]),
    };
    let query = query.with_some("route", args.route.as_deref()).with_some("max_rps", args.max_rps);
    let admin = Admin::connect(&args.admin).await?;
    let events = admin.events(query.text()).await?;
    let result = follow(events, args).await;
    admin.part().await;
    result
}

async fn follow(mut events: Events, args: &TapArgs) -> Result<(), Failure> {
    let mut output = Output::open(None)?;
    let mut look = tokio::time::interval(LOOK);
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = look.tick() => match somebody_reads() {
                true => continue,
                false => return Ok(()),
            },
        };
        let Some(event) = event else {
            output.finish().await?;
            let words = "the gateway ended the stream of frames";
            return Err(
                Failure::new(Exit::Reach, words).with_way_out("is it stopping? 'stagedoor top' tells")
            );
        };
        let over = event.name == "end";
        let text = match args.json {
            true => line_of_json(&event),
            false => lines(&event, room())?,
        };
        if let Some(text) = text
            && output.write(text.into()).await? == Written::NobodyReads
        {
            return Ok(());
        }
        if over {
            return output.finish().await;
        }
    }
}

/// Whoever read our stdout has not gone.
fn somebody_reads() -> bool {
    let stdout = io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(_) => !asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
        Err(_) => true,
    }
}

/// A frame as the gateway says it; other events with their name.
fn line_of_json(event: &Event) -> Option<String> {
    let data = text::json(&event.data).replace('\n', " ");
    match &*event.name {
        "frame" | "end" | "lost" => Some(format!("{data}\n")),
        // What a newer gateway says beside them.
        _ => None,
    }
}

/// An event for people.
fn lines(event: &Event, room: usize) -> Result<Option<String>, Trouble> {
    fn read<'a, T: serde::Deserialize<'a>>(event: &'a Event) -> Result<T, Trouble> {
        serde_json::from_str(&event.data).map_err(|error| not_understood(&error))
    }
    let text = match &*event.name {
        "frame" => frame(&read::<Frame>(event)?),
        "lost" => {
            let lost = read::<Lost>(event)?.lost;
            format!("({} lost: they came faster than they were read)", counted(lost, "frame"))
        }
        "end" => format!("(the session ended: {})", plain(&read::<Ended>(event)?.reason)),
        _ => return Ok(None),
    };
    Ok(Some(text.lines().fold(String::new(), |whole, line| whole + &cut(line, room) + "\n")))
}

fn frame(frame: &Frame) -> String {
    const INDENT: &str = "                  ";
    let mut text = format!(
        "{}  {} {} {} stream={} length={}",
        clock(frame.at),
        plain(&frame.session),
        text::arrow(Some(&frame.direction)),
        plain(&frame.frame),
        frame.stream,
        frame.length
    );
    if !frame.flags.is_empty() {
        let _ = write!(text, " flags={}", plain(&frame.flags.join("|")));
    }
    let mut figures = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, " {name}={}", plain(&value));
        }
    };
    figures("increment", frame.increment.map(|increment| increment.to_string()));
    figures("code", frame.code.as_ref().map(ToString::to_string));
    figures("last", frame.last_stream.map(|last| last.to_string()));
    figures("debug", frame.debug.clone());
    figures("payload", frame.payload.clone());
    for (name, value) in &frame.fields {
        let _ = write!(text, "\n{INDENT}{}: {}", plain(name), plain(value));
    }
    for (name, value) in &frame.settings {
        let _ = write!(text, "\n{INDENT}{}={}", plain(name), plain(&value.to_string()));
    }
    text
}

/// The time of day in UTC, with milliseconds.
fn clock(at: f64) -> String {
    // Four digits of a year: what is beyond is no time that a gateway has.
    const LAST: f64 = 253_402_300_799.0;
    let since = Duration::try_from_secs_f64(at.clamp(0.0, LAST)).unwrap_or_default();
    let stamp = humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string();
    stamp.split_once('T').map_or(stamp.clone(), |(_, time)| time.trim_end_matches('Z').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, data: &str, room: usize) -> Option<String> {
        lines(&Event { name: name.to_owned(), data: data.to_owned() }, room).unwrap()
    }

    #[test]
    fn a_frame_is_a_line_and_its_fields_are_below() {
        let headers = r#"{"at":1764500000.1234,"session":"0-1a","direction":"rx","frame":"HEADERS","flags":["END_HEADERS"],
            "stream":1,"length":40,"fields":[[":method","GET"],["cookie","[redacted]"]]}"#;
        assert_eq!(
            shown("frame", headers, 200).unwrap(),
            "10:53:20.123  0-1a < HEADERS stream=1 length=40 flags=END_HEADERS\n                  :method: GET\n\
             \x20                 cookie: [redacted]\n"
        );
        let goaway = r#"{"at":1764500000,"session":"0-1a","direction":"tx","frame":"GOAWAY","stream":0,"length":11,
            "code":"NO_ERROR","last_stream":7,"debug":"bye"}"#;
        assert_eq!(
            shown("frame", goaway, 200).unwrap(),
            "10:53:20.000  0-1a > GOAWAY stream=0 length=11 code=NO_ERROR last=7 debug=bye\n"
        );
        let settings = r#"{"frame":"SETTINGS","settings":{"MAX_FRAME_SIZE":16384}}"#;
        assert!(shown("frame", settings, 200).unwrap().ends_with("MAX_FRAME_SIZE=16384\n"));
    }

    #[test]
    fn what_is_lost_and_what_ended_it_is_said() {
        assert!(shown("lost", r#"{"lost":12}"#, 200).unwrap().starts_with("(12 frames lost"));
        assert_eq!(shown("end", r#"{"reason":"drain"}"#, 200).unwrap(), "(the session ended: drain)\n");
        assert_eq!(shown("news", "{}", 200), None);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_or_steers_it() {
        let data = r#"{"at":1e300,"session":"\u001b[2J","direction":"rx","frame":"HEADERS","flags":[],"stream":1,"length":40,
            "fields":[["x-long","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\u001b]0;x\u0007\n\u009b"]]}"#;
        let text = shown("frame", data, 40).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.lines().all(|line| text::width(line) <= 40 && !line.contains(char::is_control)),
            "{text:?}"
        );
    }

    #[test]
    fn json_is_a_line_an_event() {
        let event = |name: &str| Event { name: name.to_owned(), data: "{\n\"a\":\"\u{9b}\"}".to_owned() };
        assert_eq!(line_of_json(&event("frame")).unwrap(), "{ \"a\":\"\\u009b\"}\n");
        assert_eq!(line_of_json(&event("other")), None);
    }
}
