//! The commands that look at a gateway against answers no gateway of ours gives: refusals, hostile text, events cut anywhere,
//! and nobody at all.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};
use stagedoor::{Body, Reply, Request, Response};

use crate::support::command::{Ran, command, ended, stagedoor};
use crate::support::embedded::Embedded;
use crate::support::typed::Typed;

/// Steers terminals, turns text around, ends lines.
const HOSTILE: &str = "/\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\n\u{202e}";

fn session() -> Value {
    json!({
        "id": "0-1a", "role": "server", "protocol": "h2", "listener": "public", "peer": HOSTILE, "state": "open",
        "age_seconds": 75.0, "idle_seconds": 0.1, "bytes": {"in": 1, "out": 2}, "streams_open": 1, "streams_total": 3,
        "write_queue_bytes": 0, "send_window": 65535, "recv_window": 65535, "memory_bytes": 0,
        "waits": {"handler": 3.0, "socket": 1.0}, "something_new": {"of": ["a later version"]},
        "streams": [{"id": 5, "path": HOSTILE, "method": HOSTILE, "state": "open", "on": "handler"}],
        "recorder": [{"at_seconds": 0.1, "direction": "rx", "frame": HOSTILE, "flags": [], "stream": 1, "length": 9},
                     {"at_seconds": 0.2, "state": HOSTILE, "code": "x", "stream": 0}],
    })
}

fn overview() -> Value {
    json!({
        "at": 1764500000.0, "version": "0.1.0", "uptime_seconds": 61.0, "stage": "ready", "sessions": 1, "streams": 1,
        "sessions_opened_total": 1, "requests_total": 7, "bytes": {"in": 1, "out": 2}, "overloaded": false, "total": 1,
        "offset": 0, "limit": 50, "rows": [session()],
    })
}

fn document(status: u16, value: &Value) -> Reply {
    let body = Body::Full(value.to_string().into());
    Response::new(status).with_field("content-type", "application/json").with_body(body).into()
}

fn events(text: String) -> Reply {
    Response::new(200)
        .with_field("content-type", "text/event-stream")
        .with_body(Body::Full(text.into()))
        .into()
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn problem(status: u16, detail: &str) -> Reply {
    document(status, &json!({"title": "No", "status": status, "detail": detail}))
}

/// An admin address that answers as it likes.
fn strange() -> Embedded {
    Embedded::start(
        |_| (),
        |request: Request| {
            let target = request.head.path().unwrap_or_default().to_owned();
            let path = target.split('?').next().unwrap_or_default();
            let delete = request.head.method() == "DELETE";
            match path {
                "/api/sessions" if target.contains("filter=") => {
                    problem(400, "column 1: \u{1b}[2J is no field")
                }
                "/api/sessions" => document(200, &json!([session()])),
                "/api/sessions/0-1a" if delete => {
                    document(200, &json!({"session": "0-1a", "state": "draining"}))
                }
                "/api/sessions/0-1a" => document(200, &session()),
                "/api/sessions/secret" => problem(401, "this address asks for a token"),
                "/api/sessions/broken" => Response::text("[").into(),
                "/api/sessions/ill" => problem(503, "not now"),
                "/api/sessions/0-1a/frames" => events(format!(
                    ": hello\n\n{}{}{}",
                    event(
                        "frame",
                        &json!({"at": 1764500000.5, "session": "0-1a", "direction": "rx", "frame": "HEADERS",
                        "flags": ["END_HEADERS"], "stream": 1, "length": 40, "fields": [[":path", HOSTILE]]})
                    ),
                    event("lost", &json!({"lost": 3})),
                    event("end", &json!({"reason": "client_closed"})),
                )),
                "/api/frames" => events(event("frame", &json!({"frame": "PING"}))),
                "/api/events" => events(event("overview", &overview()) + &event("session", &session())),
                _ => problem(404, "there is no such thing"),
            }
        },
    )
}

fn look(server: &Embedded, args: &[&str]) -> Ran {
    let admin = format!("http://{}", server.address);
    stagedoor(Path::new("/nonexistent"), &[args, &["--admin", &admin]].concat())
}

/// What a terminal could be steered by.
fn steers(sign: char) -> bool {
    sign != '\n' && (sign.is_control() || sign == '\u{202e}')
}

#[test]
fn what_a_peer_sent_never_steers_the_terminal() {
    let server = strange();
    for args in [
        &["sessions"][..],
        &["sessions", "--json"],
        &["session", "0-1a"],
        &["session", "0-1a", "--json"],
        &["top", "--once"],
        &["top", "--once", "--json"],
        &["tap", "0-1a"],
        &["tap", "0-1a", "--json"],
    ] {
        let text = String::from_utf8(look(&server, args).quietly()).unwrap();
        assert!(!text.contains(steers), "{args:?}: {text:?}");
        assert!(text.contains("u001b") || text.contains("u{1b}"), "{args:?}: {text:?}");
    }
    let refused = look(&server, &["sessions", "--filter", "x = y"]);
    refused.failed_with(1, "column 1: \\u{1b}[2J is no field");
    assert!(!refused.err.contains(steers));
}

#[test]
fn json_is_passed_on_with_all_that_is_new_in_it() {
    let server = strange();
    let read = |args: &[&str]| serde_json::from_slice::<Value>(&look(&server, args).quietly()).unwrap();
    assert_eq!(read(&["session", "0-1a", "--json"]), session());
    assert_eq!(read(&["sessions", "--json"]), json!([session()]));
    assert_eq!(read(&["top", "--once", "--json"]), overview());
    let tap = look(&server, &["tap", "0-1a", "--json"]).quietly();
    let lines: Vec<Value> = tap
        .split_inclusive(|octet| *octet == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines[0]["fields"][0][1], HOSTILE);
    assert_eq!(lines[1..], [json!({"lost": 3}), json!({"reason": "client_closed"})]);
}

#[test]
fn a_tap_of_one_session_ends_with_it() {
    let text = String::from_utf8(look(&strange(), &["tap", "0-1a"]).quietly()).unwrap();
    assert!(
        text.starts_with("10:53:20.500  0-1a < HEADERS stream=1 length=40 flags=END_HEADERS\n"),
        "{text}"
    );
    assert!(text.ends_with("(the session ended: client_closed)\n"), "{text}");
    // That of all has no end of its own.
    look(&strange(), &["tap"]).failed_with(3, "the gateway ended the stream of frames");
}

#[test]
fn refusals_are_the_users_and_the_rest_is_the_gateways() {
    let server = strange();
    look(&server, &["session", "1-zz"]).failed_with(1, "there is no such thing");
    look(&server, &["session", "../.."]).failed_with(1, "there is no such thing");
    look(&server, &["session", "secret"]).failed_with(1, "--token FILE");
    look(&server, &["session", "ill"]).failed_with(3, "not now");
    look(&server, &["session", "broken"]).failed_with(3, "cannot be read");
    look(&server, &["close", "0-1a/5", "--now"]).failed_with(2, "--now and --reason are for sessions");
    look(&server, &["close", "0-1a/five"]).failed_with(2, "a stream of it like 0-1a/5");
    look(&server, &["tap", "0-1a", "--route", "demo"]).failed_with(2, "cannot be used with");
}

#[test]
fn nobody_there_is_told_with_a_way_out() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let state = tempfile::tempdir().unwrap();
    for args in [&["sessions"][..], &["top"], &["top", "--once"], &["tap"], &["log"], &["drain"]] {
        let mut command = command(state.path(), args);
        let ran = ended(command.env("STAGEDOOR_ADMIN", format!("http://{address}")).spawn().unwrap());
        ran.failed_with(3, &format!("no gateway at http://{address}"));
        ran.failed_with(3, "'stagedoor serve' starts a gateway");
    }
    let socket = format!("unix:{}", state.path().join("none.sock").display());
    stagedoor(state.path(), &["sessions", "--admin", &socket])
        .failed_with(3, &format!("no gateway at {socket}"));
    stagedoor(state.path(), &["sessions", "--admin", "ftp://x"]).failed_with(2, "not supported");
}

#[test]
fn whoever_speaks_no_http_2_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let old = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let state = tempfile::tempdir().unwrap();
    let ran = stagedoor(state.path(), &["sessions", "--admin", &address.to_string()]);
    old.join().unwrap();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    ran.failed_with(3, "STAGEDOOR_ADMIN");
}

#[test]
fn a_token_goes_along_and_is_not_shown() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    let server = Embedded::start(
        |_| (),
        move |request: Request| {
            let token = request.head.fields().get("authorization").map(<[u8]>::to_vec);
            ears.lock().unwrap().push(token);
            document(200, &json!({"filter": "info"}))
        },
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(look(&server, &["log", "--token", file]).quietly(), b"info\n");
    assert_eq!(look(&server, &["log"]).quietly(), b"info\n");
    assert_eq!(*heard.lock().unwrap(), [Some(b"Bearer s3cret".to_vec()), None]);
    let missing = dir.path().join("none");
    look(&server, &["log", "--token", missing.to_str().unwrap()]).failed_with(1, "cannot use the token");
}

#[test]
fn a_unix_socket_is_as_good_as_an_address() {
    let server = strange();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let address = server.address;
    let relay = std::thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = std::net::TcpStream::connect(address).unwrap();
        let (mut from_far, mut to_near) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let back = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_far, &mut to_near);
            let _ = to_near.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut &near, &mut &far);
        let _ = far.shutdown(std::net::Shutdown::Write);
        back.join().unwrap();
    });
    let admin = format!("unix:{}", path.display());
    let ran = stagedoor(dir.path(), &["session", "0-1a", "--admin", &admin]);
    relay.join().unwrap();
    assert!(String::from_utf8(ran.quietly()).unwrap().contains("0-1a"));
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let server = strange();
    let admin = format!("http://{}", server.address);
    // Nobody reads at all: the reading end is closed before the command writes.
    for args in
        [&["sessions"][..], &["session", "0-1a"], &["top", "--once"], &["top", "--json"], &["tap", "0-1a"]]
    {
        let script = "exec 3>&1; { \"$0\" \"$@\" 2>&3; echo \"code $?\" >&3; } | true";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_stagedoor")]).args(args).args(["--admin", &admin]);
        command.env("STAGEDOOR_STATE_DIR", "/nonexistent").stdout(Stdio::piped()).stderr(Stdio::piped());
        let ran = ended(command.spawn().unwrap());
        let said = String::from_utf8(ran.out).unwrap();
        // `top --json` may see the end of the events before the end of its reader.
        let fine = ["code 0\n", "stagedoor: the gateway ended the stream of events\ncode 3\n"];
        assert!(fine[..if args[0] == "top" { 2 } else { 1 }].contains(&&*said), "{args:?}: {said}");
    }
}

#[test]
fn tables_fit_the_terminal_and_have_colour_there_alone() {
    let server = strange();
    let admin = format!("http://{}", server.address);
    let on = |columns: u16, colour: bool| {
        let mut command = command(Path::new("/nonexistent"), &["sessions", "--admin", &admin]);
        if !colour {
            command.env("NO_COLOR", "1");
        }
        let (ran, seen, _) = Typed::start_keeping(command, columns, 24).ended();
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{seen}");
        seen
    };
    let narrow = on(40, true);
    assert!(narrow.contains("\u{1b}[1m") && narrow.contains("\u{1b}[0m"), "{narrow:?}");
    let plain = on(40, false);
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    assert!(plain.lines().all(|line| line.trim_end().chars().count() <= 40), "{plain}");
    assert!(plain.contains("0-1a") && plain.contains('…'), "{plain}");
    let piped = String::from_utf8(look(&server, &["sessions"]).quietly()).unwrap();
    assert!(!piped.contains('\u{1b}') && piped.contains("handler 75%"), "{piped}");
}

/// `top` on a terminal, with what it shows of the strange gateway.
fn top(server: &Embedded) -> Typed {
    let admin = format!("http://{}", server.address);
    let mut typed = Typed::start(command(Path::new("/nonexistent"), &["top", "--admin", &admin]), 120, 30);
    typed.until("\u{1b}[?1049h");
    typed.until("0-1a");
    typed
}

#[test]
fn top_takes_the_terminal_and_gives_it_back() {
    let server = strange();
    let mut typed = top(&server);
    assert!(!typed.is_as_before());
    typed.keys("q");
    let (ran, rest, as_before) = typed.ended();
    assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{rest:?}");
    assert!(rest.contains("\u{1b}[?1049l") && rest.contains("\u{1b}[?25h") && as_before, "{rest:?}");
}

#[test]
fn top_gives_the_terminal_back_on_a_signal() {
    let server = strange();
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP")] {
        let typed = top(&server);
        typed.signal(signal);
        let (ran, rest, as_before) = typed.ended();
        ran.failed_with(130, &format!("stopped by {name}"));
        assert!(rest.contains("\u{1b}[?1049l") && as_before, "{rest:?}");
    }
}

#[test]
fn top_is_steered_by_keys_and_follows_the_size_of_the_terminal() {
    let server = strange();
    let mut typed = top(&server);
    typed.keys("\r");
    typed.painted("FLIGHT RECORDER");
    typed.keys("c");
    typed.painted("may finish?");
    typed.keys("y");
    typed.painted("drained");
    // Backspace goes back as Escape does, which with Ctrl-L behind it would be another key.
    typed.keys("\u{7f}");
    typed.painted("filter");
    typed.keys("?");
    typed.painted("any key ends it");
    typed.keys("x");
    typed.resize(60, 10);
    typed.until("\u{1b}[2J");
    typed.painted("0-1a");
    // Ctrl-C as a key.
    typed.keys("\u{3}");
    let (ran, rest, as_before) = typed.ended();
    assert_eq!((ran.code, as_before), (Some(0), true), "{rest:?}");
}

#[test]
fn top_of_a_gateway_that_stops_waits_for_it() {
    let server = strange();
    let mut typed = top(&server);
    drop(server);
    typed.painted("not connected, trying again: no gateway");
    typed.keys("q");
    assert_eq!(typed.ended().0.code, Some(0));
}

#[test]
fn top_whose_terminal_goes_away_ends() {
    let server = strange();
    let ran = ended(top(&server).abandon());
    assert_ne!(ran.code, Some(70), "{ran:?}");
}
