//! The commands that look at a running gateway and steer it, against the gateway: `sessions`, `session`, `close`, `tap`, `log`,
//! `drain`, `resume`, `top`.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{TryRecvError, channel};

use serde_json::Value;

use crate::support::Gateway;
use crate::support::command::{Ran, command, ended, stagedoor};
use crate::support::raw::{GOAWAY, HEADERS, RST_STREAM, Raw};
use crate::support::typed::Typed;

const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn look(gateway: &Gateway, args: &[&str]) -> Ran {
    let admin = format!("http://{}", gateway.admin);
    stagedoor(gateway.process.state(), &[args, &["--admin", &admin]].concat())
}

fn text(gateway: &Gateway, args: &[&str]) -> String {
    String::from_utf8(look(gateway, args).quietly()).unwrap()
}

fn json(gateway: &Gateway, args: &[&str]) -> Value {
    serde_json::from_slice(&look(gateway, args).quietly()).unwrap()
}

/// A connection to the plain listener with a response under way on stream 1.
fn busy(gateway: &Gateway) -> Raw {
    let mut raw = Raw::connect(gateway.plain, 65_535);
    raw.request(1, "GET", "/drip?bytes=1M&rate=1k", true);
    raw.next_of(HEADERS);
    raw
}

/// The identity of the one open session of the plain listener.
fn id(gateway: &Gateway) -> String {
    let sessions = json(gateway, &["sessions", "--json", "--filter", "listener = plain and state = open"]);
    match sessions.as_array().unwrap().as_slice() {
        [session] => session["id"].as_str().unwrap().to_owned(),
        _ => panic!("{sessions}"),
    }
}

#[test]
fn who_is_connected_is_listed_and_told_in_full() {
    let gateway = Gateway::start();
    let _raw = busy(&gateway);
    let id = id(&gateway);
    let list = text(&gateway, &["sessions", "--filter", "listener = plain and streams_open > 0"]);
    let row = list.lines().find(|line| line.starts_with(&id)).unwrap_or_else(|| panic!("no {id} in {list}"));
    assert!(row.contains("h2c") && row.contains("127.0.0.1:"), "{list}");
    let none = text(&gateway, &["sessions", "--filter", "listener = public"]);
    assert_eq!(none.lines().count(), 1, "the head alone: {none}");

    let session = json(&gateway, &["session", &id, "--json"]);
    assert_eq!((&session["id"], &session["streams"][0]["path"]), (&Value::from(&*id), &"/drip".into()));
    let told = text(&gateway, &["session", &id]);
    for words in [&*id, "/drip", "flight recorder", "< HEADERS stream=1", "request_body", "handler"] {
        assert!(told.contains(words), "no {words:?} in\n{told}");
    }
    assert!(!told.contains("rate=1k"), "the query is not shown: {told}");
}

#[test]
fn the_order_of_the_list_is_chosen() {
    let gateway = Gateway::start();
    let _first = busy(&gateway);
    let oldest = id(&gateway);
    let _second = busy(&gateway);
    let ids = |sort: &str| -> Vec<String> {
        let sessions =
            json(&gateway, &["sessions", "--json", "--filter", "listener = plain", "--sort", sort]);
        sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().into()).collect()
    };
    let (mut up, down) = (ids("age"), ids("-age"));
    assert_eq!((down.len(), &down[0]), (2, &oldest));
    up.reverse();
    assert_eq!(up, down);
}

#[test]
fn what_is_wrong_is_told_in_the_words_of_the_gateway() {
    let gateway = Gateway::start();
    look(&gateway, &["session", "9-zz"]).failed_with(1, "9-zz");
    look(&gateway, &["close", "9-zz"]).failed_with(1, "9-zz");
    look(&gateway, &["close", "9-zz/1"]).failed_with(1, "9-zz");
    look(&gateway, &["tap", "9-zz"]).failed_with(1, "9-zz");
    look(&gateway, &["sessions", "--filter", "agee > 1s"]).failed_with(1, "agee");
    look(&gateway, &["top", "--once", "--filter", "agee > 1s"]).failed_with(1, "agee");
    look(&gateway, &["sessions", "--sort", "beauty"]).failed_with(1, "beauty");
    look(&gateway, &["log", "info,hyper=loud"]).failed_with(1, "hyper=loud");
}

#[test]
fn a_session_is_closed_in_good_order_or_now() {
    let gateway = Gateway::start();
    let mut raw = busy(&gateway);
    let id = id(&gateway);
    assert_eq!(text(&gateway, &["close", &id, "--reason", "rest"]), format!("session {id} draining\n"));
    raw.next_of(GOAWAY);
    // The stream goes on, until somebody has no more patience.
    assert_eq!(text(&gateway, &["close", &id, "--now"]), format!("session {id} closing\n"));
    while raw.next().is_some() {}

    let mut raw = busy(&gateway);
    let id = self::id(&gateway);
    text(&gateway, &["close", &id, "--now", "--code", "ENHANCE_YOUR_CALM"]);
    assert_eq!(raw.next_of(GOAWAY).number(4), ENHANCE_YOUR_CALM);
    while raw.next().is_some() {}
}

#[test]
fn a_stream_is_reset_and_its_session_lives_on() {
    let gateway = Gateway::start();
    let mut raw = busy(&gateway);
    let id = id(&gateway);
    let stream = format!("{id}/1");
    assert_eq!(text(&gateway, &["close", &stream]), format!("stream 1 of session {id} reset\n"));
    assert_eq!(raw.next_of(RST_STREAM).number(0), CANCEL);
    look(&gateway, &["close", &stream]).failed_with(1, "1");
    raw.request(3, "GET", "/drip?bytes=1M&rate=1k", true);
    raw.next_of(HEADERS);
    text(&gateway, &["close", &format!("{id}/3"), "--code", "11"]);
    assert_eq!(raw.next_of(RST_STREAM).number(0), ENHANCE_YOUR_CALM);
}

#[test]
fn frames_are_seen_as_they_cross_until_nobody_reads() {
    let gateway = Gateway::start();
    let admin = format!("http://{}", gateway.admin);
    let mut raw = Raw::connect(gateway.plain, 65_535);
    let args = ["tap", "--json", "--route", "demo", "--admin", &admin];
    let mut child = command(gateway.process.state(), &args).spawn().unwrap();
    let (tell, told) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["frame"] == "HEADERS" {
                // Its end of the pipe is closed with it.
                return tell.send(event).unwrap();
            }
        }
    });
    // Requests go on until the tap, which takes its time to connect, has seen one.
    let mut stream = 1;
    let event = loop {
        raw.request(stream, "GET", "/status/204?secret=1", true);
        raw.next_of(HEADERS);
        stream += 2;
        match told.try_recv() {
            Ok(event) => break event,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => panic!("the tap ended: {:?}", ended(child)),
        }
    };
    reader.join().unwrap();
    assert!(event["session"].is_string() && event["at"].is_number(), "{event}");
    assert!(!event.to_string().contains("secret"), "{event}");
    // No frame is needed for the tap to notice.
    assert!(ended(child).quietly().is_empty());
}

#[test]
fn the_tap_of_a_session_ends_with_the_session() {
    let gateway = Gateway::start();
    let admin = format!("http://{}", gateway.admin);
    let mut raw = busy(&gateway);
    let id = id(&gateway);
    let mut child = command(gateway.process.state(), &["tap", &id, "--admin", &admin]).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    // The drip goes on, so a frame comes without our doing.
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains(&format!("  {id} > DATA stream=1 length=")), "{line}");
    look(&gateway, &["close", &id, "--now"]).quietly();
    while raw.next().is_some() {}
    let last = output.lines().map_while(Result::ok).last().unwrap();
    assert!(last.starts_with("(the session ended: "), "{last}");
    assert_eq!(ended(child).code, Some(0));
}

#[test]
fn what_is_logged_is_shown_and_set() {
    let gateway = Gateway::start();
    assert_eq!(text(&gateway, &["log"]), "info\n");
    assert_eq!(text(&gateway, &["log", "warn,stagedoor_actors=debug"]), "warn,stagedoor_actors=debug\n");
    assert_eq!(text(&gateway, &["log"]), "warn,stagedoor_actors=debug\n");
}

#[test]
fn a_gateway_drains_and_resumes() {
    let gateway = Gateway::start();
    let mut raw = busy(&gateway);
    assert_eq!(text(&gateway, &["drain", "--timeout", "1m 30s"]), "draining, 1 session left\n");
    raw.next_of(GOAWAY);
    assert!(text(&gateway, &["top", "--once"]).contains("   draining   "));
    assert_eq!(text(&gateway, &["resume"]), "accepting again\n");
    assert!(text(&gateway, &["top", "--once"]).contains("   ready   "));
    let _again = busy(&gateway);
}

#[test]
fn top_prints_once_and_as_json() {
    let gateway = Gateway::start();
    let _raw = busy(&gateway);
    let id = id(&gateway);
    let page = text(&gateway, &["top", "--once", "--filter", "listener = plain", "--sort", "-bytes.out"]);
    assert!(page.starts_with(concat!("stagedoor ", env!("CARGO_PKG_VERSION"), "   ready   up ")), "{page}");
    assert!(page.contains(&format!("\n{id} ")) && page.contains("1 session   1 stream"), "{page}");
    let overview = json(&gateway, &["top", "--once", "--json"]);
    assert_eq!((&overview["sessions"], &overview["stage"]), (&1.into(), &"ready".into()), "{overview}");
}

#[test]
fn top_opens_a_session_resets_its_stream_and_closes_it() {
    let gateway = Gateway::start();
    let mut raw = busy(&gateway);
    let admin = format!("http://{}", gateway.admin);
    let args = ["top", "--filter", "listener = plain", "--admin", &admin];
    let mut typed = Typed::start(command(gateway.process.state(), &args), 120, 30);
    typed.painted("127.0.0.1:");
    typed.keys("\r");
    typed.painted("/drip");
    // The end of the recorder is seen, and the drip goes on.
    typed.painted("DATA");
    typed.keys("xy");
    assert_eq!(raw.next_of(RST_STREAM).number(0), CANCEL);
    typed.keys("C");
    typed.painted("now and cut off");
    typed.keys("y");
    while raw.next().is_some() {}
    typed.painted("this session has ended");
    typed.keys("\u{7f}");
    typed.painted("matches");
    typed.keys("/");
    typed.painted("filter: listener = plain");
    typed.keys("\u{15}agee > 1s\r");
    // The gateway says what is wrong, and the filter can be mended.
    typed.painted("filter: agee > 1s_");
    typed.keys("\u{3}");
    let (ran, rest, as_before) = typed.ended();
    assert_eq!((ran.code, &*ran.err, as_before), (Some(0), "", true), "{rest:?}");
}
