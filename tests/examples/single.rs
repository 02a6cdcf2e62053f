//! Examples that are asked once, or that ask themselves.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::program::{Curl, Example};
use crate::support::peers::find;

#[test]
fn client_asks_hears_and_ends_by_itself() {
    let example = Example::start("client");
    let said = example.ended();
    let lines: Vec<&str> = said.lines().skip(1).collect();
    let [whole, pieces @ .., end] = &lines[..] else { panic!("{said}") };
    assert_eq!(*whole, r#"200 OK b"A WHOLE BODY""#);
    let heard = [r#"piece -> b"PIECE""#, r#"by -> b"BY""#, r#"piece -> b"PIECE""#];
    assert_eq!(pieces[..3], heard, "{said}");
    assert!(pieces.last().unwrap().contains("x-octets") && pieces.last().unwrap().contains("12"), "{said}");
    assert!(end.starts_with("the session ended: "), "{said}");
}

#[test]
fn observer_prints_each_session_and_stream() {
    let Some(curls) = Curl::both() else { return };
    let example = Example::start("observer");
    for (curl, protocol) in curls.iter().zip(["h2c", "http/1.1"]) {
        assert_eq!(curl.get(&[&example.url("/")]), "you are seen\n");
        let opened = example.line(|line| line.contains(&format!(" opened: {protocol} from Some(127.0.0.1:")));
        let id = opened.split(' ').next().unwrap();
        let tells = |what: &str| example.line(|line| line.starts_with(&format!("{id}{what}")));
        tells("/1 opened: GET Some(\"/\")");
        tells("/1 closed: complete, 200, 13 octets in ");
        tells(" closed: client_closed");
    }
    example.interrupted();
}

#[test]
fn sse_ticks_and_goes_on_where_a_client_was() {
    let Some([http2, _]) = Curl::both() else { return };
    let curl = find("curl").unwrap();
    let example = Example::start("sse");
    assert!(http2.get(&["-i", &example.url("/")]).contains("content-type: text/html; charset=utf-8"));
    for (speaks, heard, next) in [("--http2-prior-knowledge", "0", 1), ("--http1.1", "41", 42)] {
        let url = example.url("/ticks");
        let last = format!("last-event-id: {heard}");
        let mut child = Command::new(&curl)
            .args(["-sSN", "--max-time", "30", "--noproxy", "*", speaks, "-H", &last, &url])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let events: Vec<String> = lines.take(8).collect();
        let event =
            |n: i32| [format!("data: tick {n}"), "event: tick".into(), format!("id: {n}"), String::new()];
        assert_eq!(events, [event(next), event(next + 1)].concat());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    example.interrupted();
}
