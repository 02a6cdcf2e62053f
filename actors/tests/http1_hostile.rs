//! HTTP/1.1 from peers who want one request read as two, or as another: each is refused or read in exactly one way,
//! nothing behind a refused request is taken for a request, and a neighbour is served all the while.
//!
//! What hyper reads is hyper's; what it lets through and must not be is refused in `session/http1/request.rs`.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::*;
use stagedoor_actors::{Reply, Response};
use stagedoor_metrics::{CloseReason, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

/// What stands behind every request here.
const BEHIND: &str = "GET /behind HTTP/1.1\r\nhost: a\r\n\r\n";

/// A request as a handler saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Call {
    /// Method, authority and path.
    line: String,
    length: Option<u64>,
    body: String,
    trailers: String,
    /// It was read to its end.
    whole: bool,
}

impl Call {
    fn get(line: &str) -> Self {
        Self { line: line.to_owned(), whole: true, ..Self::default() }
    }

    /// The upload of these tests, with its declared length.
    fn post(length: Option<u64>) -> Self {
        Self { length, body: "hello".to_owned(), ..Self::get("POST a /p") }
    }
}

type Calls = Rc<RefCell<Vec<Call>>>;

/// A stage whose handlers read their bodies and write down what they saw.
fn door() -> (Stage, Calls) {
    let calls = Calls::default();
    let seen = Rc::clone(&calls);
    let stage = Stage::new(service(move |request| {
        let seen = Rc::clone(&seen);
        Reply::later(async move {
            let head = &request.head;
            let (authority, path) = (head.authority().unwrap_or("-"), head.path().unwrap_or("-"));
            let line = format!("{} {authority} {path}", head.method());
            let mut body = request.body;
            let mut call = Call { line, length: body.content_length(), ..Call::default() };
            seen.borrow_mut().push(call.clone());
            let place = seen.borrow().len() - 1;
            call.whole = loop {
                match body.chunk().await {
                    None => break true,
                    Some(Ok(chunk)) => call.body.push_str(&String::from_utf8_lossy(&chunk)),
                    Some(Err(_)) => break false,
                }
            };
            for field in body.trailers().iter().flat_map(|fields| fields.iter()) {
                let (name, value) = (field.name.escape_ascii(), field.value.escape_ascii());
                call.trailers.push_str(&format!("{name}={value};"));
            }
            seen.borrow_mut()[place] = call;
            Response::text("taken")
        })
    }));
    (stage, calls)
}

/// What came of octets.
#[derive(Debug)]
struct Outcome {
    answer: String,
    calls: Vec<Call>,
    /// The connection ended, though its client had not ended its side.
    ended: bool,
    reason: CloseReason,
}

impl Outcome {
    fn statuses(&self) -> Vec<u16> {
        let heads = self.answer.split("HTTP/1.").skip(1);
        heads.map(|head| head[2..5].parse().unwrap()).collect()
    }
}

/// A GET on a session that lives, and its answer.
async fn ask(io: &mut DuplexStream) {
    io.write_all(b"GET /neighbour HTTP/1.1\r\nhost: n\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\ntaken") {
        answer.push(char::from(io.read_u8().await.expect("an answer")));
    }
}

/// Sends octets on a session of their own, `piece` by piece, beside a neighbour that asks before and after.
async fn attack(octets: &[u8], piece: usize) -> Outcome {
    let (stage, calls) = door();
    let (_neighbour, mut beside) = stage.connect();
    ask(&mut beside).await;
    calls.borrow_mut().clear();

    let (_session, io) = stage.connect();
    let (mut read, mut write) = tokio::io::split(io);
    let octets = octets.to_vec();
    let writing = actix_rt::spawn(async move {
        for piece in octets.chunks(piece) {
            // A session that has heard enough need not read the rest.
            write.write_all(piece).await.ok();
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        }
        write
    });
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(1), read.read_to_end(&mut answer)).await.is_ok();
    if !ended {
        writing.await.unwrap().shutdown().await.ok();
        read.read_to_end(&mut answer).await.ok();
    } else {
        writing.abort();
    }
    drop(read);
    let reason = stage.ended().await.reason;
    settle().await;
    let seen = calls.take();

    ask(&mut beside).await;
    assert_eq!(calls.borrow().len(), 1, "the neighbour is served");
    drop(beside);
    stage.ended().await;
    settle().await;
    assert!(stage.metrics.live().is_empty(), "nothing is left");
    assert_eq!(stage.cells.streams_active[Protocol::Http1].get(), 0);
    Outcome { answer: String::from_utf8_lossy(&answer).into_owned(), calls: seen, ended, reason }
}

/// The outcome, which is the same when the octets come one by one.
fn outcome(name: &'static str, octets: String, check: impl Fn(&Outcome) + 'static) {
    run_paused(async move {
        println!("{name}");
        check(&attack(octets.as_bytes(), octets.len()).await);
        if octets.len() < 2_000 {
            println!("{name}, octet by octet");
            check(&attack(octets.as_bytes(), 1).await);
        }
    });
}

/// Answered with a status before any handler was called, and over.
fn refused(name: &'static str, status: u16, octets: String) {
    outcome(name, octets + BEHIND, move |outcome| {
        assert_eq!(outcome.statuses(), [status], "{name}: {outcome:?}");
        assert_eq!(outcome.calls, [], "{name}: {outcome:?}");
        assert!(outcome.ended && outcome.reason == CloseReason::ProtocolError, "{name}: {outcome:?}");
    });
}

/// Read as one request and no other; what stands behind it is the next one.
fn taken(name: &'static str, call: Call, octets: String) {
    outcome(name, octets + BEHIND, move |outcome| {
        assert_eq!(outcome.calls, [call.clone(), Call::get("GET a /behind")], "{name}: {outcome:?}");
        assert_eq!(outcome.statuses(), [200, 200], "{name}: {outcome:?}");
        assert!(!outcome.ended, "{name}: {outcome:?}");
    });
}

/// Read as one request, and over: what stands behind it is nothing.
fn last(name: &'static str, call: Call, octets: String) {
    outcome(name, octets + BEHIND, move |outcome| {
        assert_eq!(outcome.calls, std::slice::from_ref(&call), "{name}: {outcome:?}");
        assert_eq!(outcome.statuses(), [200], "{name}: {outcome:?}");
        assert!(outcome.ended, "{name}: {outcome:?}");
    });
}

fn line(line: &str) -> String {
    format!("{line}\r\nhost: a\r\n\r\n")
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

fn host(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost:{host}\r\n\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}")
}

fn length(value: &str) -> String {
    post(&format!("content-length:{value}\r\n"), "hello")
}

/// A whole chunked body behind codings.
fn coding(value: &str) -> String {
    post(&format!("transfer-encoding:{value}\r\n"), WHOLE)
}

fn chunked(body: &str) -> String {
    post("transfer-encoding: chunked\r\n", body)
}

const WHOLE: &str = "5\r\nhello\r\n0\r\n\r\n";

#[test]
fn a_length_is_digits_and_one_number() {
    for (name, octets) in [
        ("two that differ", post("content-length: 5\r\ncontent-length: 6\r\n", "hello")),
        ("a list", length(" 5,5")),
        ("a list with blanks", length(" 5, 5")),
        ("a sign", length(" +5")),
        ("below zero", length(" -1")),
        ("hex", length(" 0x5")),
        ("a fraction", length(" 5.0")),
        ("two words", length(" 5 5")),
        ("nothing", length("")),
        ("2^64", length(" 18446744073709551616")),
        ("a blank that is none", length(" \x0b5")),
        (
            "chunked behind a length that is none",
            post("content-length: x\r\ntransfer-encoding: chunked\r\n", WHOLE),
        ),
    ] {
        refused(name, 400, octets);
    }
    refused("2^64 - 1", 431, length(" 18446744073709551615"));
    for (name, octets) in [
        ("plain", length(" 5")),
        ("twice the same", post("content-length: 5\r\ncontent-length: 5\r\n", "hello")),
        ("zeros in front", length(&format!(" {}5", "0".repeat(30)))),
        ("tabs around", length("\t5\t")),
    ] {
        taken(name, Call::post(Some(5)), octets);
    }
    // A name that only looks like one is another field.
    taken(
        "an underscore",
        Call::post(Some(5)),
        post("transfer_encoding: chunked\r\ncontent-length: 5\r\n", "hello"),
    );
    let length = BEHIND.len();
    let request = get(&format!("content-length: {length}\r\n")) + BEHIND;
    let whole = Call { length: Some(length as u64), body: BEHIND.to_owned(), ..Call::get("GET a /") };
    taken("a request as a body", whole, request);
}

#[test]
fn length_and_chunked_together_are_chunked_and_the_last_of_their_connection() {
    for (name, fields) in [
        ("length first", "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        ("length last", "transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        ("length of nothing", "content-length: 0\r\ntransfer-encoding: chunked\r\n"),
        ("length that is none", "transfer-encoding: chunked\r\ncontent-length: x\r\n"),
    ] {
        last(name, Call::post(None), post(fields, WHOLE));
    }
}

#[test]
fn chunked_once_is_the_only_coding() {
    for (name, status, octets) in [
        ("not the last", 400, coding(" chunked, identity")),
        ("identity", 400, coding(" identity")),
        ("unknown", 400, coding(" xchunked")),
        ("nothing", 400, coding("")),
        ("a parameter", 400, coding(" chunked;q=1")),
        ("quotes", 400, coding(" \"chunked\"")),
        ("a comma behind", 400, coding(" chunked,")),
        ("a blank that is none", 400, coding(" \x0bchunked")),
        ("two fields, the last identity", 400, coding(" chunked\r\ntransfer-encoding: identity")),
        ("identity in front", 501, coding(" identity, chunked")),
        ("gzip in front", 501, coding(" gzip, chunked")),
        ("unknown in front", 501, coding(" xchunked, chunked")),
        ("chunked twice", 501, coding(" chunked, chunked")),
        ("a comma in front", 501, coding(" ,chunked")),
        ("two fields", 501, coding(" chunked\r\ntransfer-encoding: chunked")),
        ("two fields, the first identity", 501, coding(" identity\r\ntransfer-encoding: chunked")),
        (
            "HTTP/1.0",
            400,
            format!("POST /p HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{WHOLE}"),
        ),
    ] {
        refused(name, status, octets);
    }
    taken("plain", Call::post(None), coding(" chunked"));
    taken("capitals", Call::post(None), coding("\tCHUNKED"));
}

#[test]
fn lines_are_what_they_are() {
    for (name, octets) in [
        ("blank before the colon", post("content-length : 5\r\n", "hello")),
        (
            "blank before the colon of a coding",
            post("transfer-encoding : chunked\r\ncontent-length: 5\r\n", "hello"),
        ),
        ("tab before the colon", get("x\t: 5\r\n")),
        ("blank before a name", get(" x: 5\r\n")),
        ("folded", get("x: 5\r\n y\r\n")),
        ("folded with a tab", get("x: 5\r\n\ty\r\n")),
        ("folded coding", coding("\r\n chunked")),
        ("folded before the first field", "GET / HTTP/1.1\r\n x: y\r\nhost: a\r\n\r\n".to_owned()),
        ("CR alone", get("x: 5\ry: 6\r\n")),
        ("CR twice", get("x: 5\r\r\n")),
        ("CR in the request line", line("GET /\r HTTP/1.1")),
        ("NUL in a value", get("x: a\0b\r\n")),
        ("NUL in a name", get("x\0y: b\r\n")),
        ("a control sign", get("x: a\x01b\r\n")),
        ("DEL", get("x: a\x7fb\r\n")),
        ("no name", get(": b\r\n")),
        ("no colon", get("nocolon\r\n")),
        ("a name that is no token", get("x[y]: b\r\n")),
        ("two blanks", line("GET  / HTTP/1.1")),
        ("tabs for blanks", line("GET\t/\tHTTP/1.1")),
        ("a blank in the target", line("GET /a b HTTP/1.1")),
        ("a blank in front", line(" GET / HTTP/1.1")),
        ("a blank behind", line("GET / HTTP/1.1 ")),
        ("a method that is no token", line("G@T / HTTP/1.1")),
        ("HTTP/0.9", "GET /\r\n".to_owned()),
        ("HTTP/0.9 with a blank", "GET / \r\n\r\n".to_owned()),
        ("HTTP/0.9 by name", line("GET / HTTP/0.9")),
        ("HTTP/1.2", line("GET / HTTP/1.2")),
        ("HTTP/1.10", line("GET / HTTP/1.10")),
        ("HTTP/2", line("GET / HTTP/2")),
        ("HTTP/2.0", line("GET / HTTP/2.0")),
        ("a zero in the version", line("GET / HTTP/01.1")),
        ("hTTP", line("GET / hTTP/1.1")),
        ("no HTTP at all", "\x01\x02\x03\r\n\r\n".to_owned()),
        ("TLS", "\x16\x03\x01\x02\0\x01\0".to_owned()),
    ] {
        refused(name, 400, octets);
    }
    // LF alone ends a line for hyper, everywhere in a head (RFC 9112 §2.2 allows it): one reading, whatever stands around.
    taken("LF alone", Call::get("GET a /"), "GET / HTTP/1.1\nhost: a\n\n".to_owned());
    taken("LF in fields", Call::get("GET a /"), get("x: 5\ny: 6\r\n"));
    taken("LF before a coding", Call::post(None), post("x: 5\ntransfer-encoding: chunked\r\n", WHOLE));
    taken("LF at the end", Call::get("GET a /"), "GET / HTTP/1.1\r\nhost: a\r\n\n".to_owned());
    taken("empty lines in front", Call::get("GET a /"), "\r\n\r\n".to_owned() + &get(""));
    taken("small letters", Call::get("get a /"), line("get / HTTP/1.1"));
}

#[test]
fn a_request_has_one_host() {
    for (name, octets) in [
        ("none", "GET / HTTP/1.1\r\nx: a\r\n\r\n".to_owned()),
        ("none beside an absolute target", "GET http://b/ HTTP/1.1\r\n\r\n".to_owned()),
        ("two", get("host: b\r\n")),
        ("two that are the same", get("host: a\r\n")),
        ("two in HTTP/1.0", "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n".to_owned()),
        ("a user", host(" user@a")),
        ("a user beside an absolute target", "GET http://b/ HTTP/1.1\r\nhost: u@a\r\n\r\n".to_owned()),
        ("a path", host(" a/b")),
        ("a query", host(" a?b")),
        ("a fragment", host(" a#b")),
        ("a backslash", host(" a\\b")),
        ("a blank", host(" a b")),
        ("a scheme", host(" http://a")),
        ("a port that is none", host(" a:x")),
        ("two ports", host(" a:1:2")),
        ("half an address", host(" [::1")),
        ("an address with more behind it", host(" [::1]x")),
        ("what is no ASCII", host(" ä")),
    ] {
        refused(name, 400, octets);
    }
    for (name, value, authority) in [
        ("a port", " a:81", "a:81"),
        ("an address", " [::1]:81", "[::1]:81"),
        ("signs a name may have", " a,b;c=d", "a,b;c=d"),
        ("nothing", "", "-"),
    ] {
        taken(name, Call::get(&format!("GET {authority} /")), host(value));
    }
}

#[test]
fn a_target_has_the_form_its_method_takes() {
    for (name, octets) in [
        ("a user", line("GET http://u@b/x HTTP/1.1")),
        ("another scheme", line("GET ftp://b/x HTTP/1.1")),
        ("no authority", line("GET http:///x HTTP/1.1")),
        ("a host and a port", line("GET b:80 HTTP/1.1")),
        ("a word", line("GET b HTTP/1.1")),
        ("a relative path", line("GET ../x HTTP/1.1")),
        ("a query alone", line("GET ?x HTTP/1.1")),
        ("* of GET", line("GET * HTTP/1.1")),
        ("CONNECT to a path", line("CONNECT /x HTTP/1.1")),
        ("CONNECT to a URL", line("CONNECT http://b/x HTTP/1.1")),
        ("CONNECT to *", line("CONNECT * HTTP/1.1")),
        ("CONNECT with a user", line("CONNECT u@b:80 HTTP/1.1")),
        ("CONNECT to two ports", line("CONNECT b:80:81 HTTP/1.1")),
    ] {
        refused(name, 400, octets);
    }
    // An absolute target goes before the host field (RFC 9112 §3.2.2).
    taken("absolute", Call::get("GET b /x"), line("GET http://b/x HTTP/1.1"));
    taken("absolute without a path", Call::get("GET b /"), line("GET http://b HTTP/1.1"));
    taken("absolute with a query alone", Call::get("GET b /?q"), line("GET http://b?q HTTP/1.1"));
    taken("* of OPTIONS", Call::get("OPTIONS a *"), line("OPTIONS * HTTP/1.1"));
    // The fragment that no target has is dropped by hyper, not read.
    taken("a fragment", Call::get("GET a /x"), line("GET /x#y HTTP/1.1"));
    // A handler that opens no tunnel answers, and nothing follows: what did would be the tunnel's.
    last("CONNECT", Call::get("CONNECT b:80 -"), line("CONNECT b:80 HTTP/1.1"));
    let with_body = Call { length: Some(5), body: "hello".to_owned(), ..Call::get("CONNECT b:80 -") };
    last(
        "CONNECT with a body",
        with_body,
        "CONNECT b:80 HTTP/1.1\r\nhost: b\r\ncontent-length: 5\r\n\r\nhello".into(),
    );
}

#[test]
fn nobody_is_talked_into_http2() {
    let upgrade =
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    taken("h2c", Call::get("GET a /"), get(upgrade));
    let fields = format!("{upgrade}content-length: 5\r\n");
    taken("h2c with a body", Call::post(Some(5)), post(&fields, "hello"));
    outcome(
        "the preface behind a request",
        get("") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + BEHIND,
        |outcome| {
            assert_eq!(outcome.calls, [Call::get("GET a /")], "{outcome:?}");
            assert!(outcome.ended && outcome.reason == CloseReason::ProtocolError, "{outcome:?}");
            // Whether it hears 400 depends on where the octets were cut.
            assert_eq!(outcome.statuses()[0], 200, "{outcome:?}");
        },
    );
}

#[test]
fn a_chunk_that_is_none_breaks_the_body_and_the_connection() {
    for (name, body, read) in [
        ("no hex", "g\r\nhello\r\n0\r\n\r\n", ""),
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n", ""),
        ("a sign", "+5\r\nhello\r\n0\r\n\r\n", ""),
        ("below zero", "-5\r\nhello\r\n0\r\n\r\n", ""),
        ("no size", "\r\nhello\r\n0\r\n\r\n", ""),
        ("a blank in front", " 5\r\nhello\r\n0\r\n\r\n", ""),
        ("two sizes", "5 5\r\nhello\r\n0\r\n\r\n", ""),
        ("LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", ""),
        ("CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", ""),
        ("LF alone", "5\nhello\n0\n\n", ""),
        ("LF behind a size", "5\nhello\r\n0\r\n\r\n", ""),
        ("CR twice", "5\r\rhello\r\n0\r\n\r\n", ""),
        ("2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n", ""),
        ("LF behind a chunk", "5\r\nhello\n0\r\n\r\n", "hello"),
        ("LF behind the last size", "5\r\nhello\r\n0\n\n", "hello"),
        ("too small a size", "4\r\nhello\r\n0\r\n\r\n", "hell"),
        ("too large a size", "6\r\nhello\r\n0\r\n\r\n", "hello\r"),
        ("a trailer that is no field", "5\r\nhello\r\n0\r\nx y\r\n\r\n", "hello"),
        ("a blank before the colon", "5\r\nhello\r\n0\r\nx : y\r\n\r\n", "hello"),
        ("NUL in a trailer", "5\r\nhello\r\n0\r\nx: \0\r\n\r\n", "hello"),
    ] {
        last(name, Call { body: read.to_owned(), whole: false, ..Call::post(None) }, chunked(body));
    }
    let broken = || Call { whole: false, ..Call::post(None) };
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "e".repeat(20_000));
    last("a long extension", Call { body: String::new(), ..broken() }, chunked(&long));
    let many = format!("5\r\nhello\r\n0\r\n{}\r\n", "x: y\r\n".repeat(200));
    last("many trailers", broken(), chunked(&many));
    let large = format!("5\r\nhello\r\n0\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    last("a large trailer", broken(), chunked(&large));
    taken("an extension", Call::post(None), chunked("5;a=b\r\nhello\r\n0\r\n\r\n"));
    taken("a blank behind", Call::post(None), chunked("5 \r\nhello\r\n0\r\n\r\n"));
    taken("zeros in front", Call::post(None), chunked("00000000000000000000000005\r\nhello\r\n00\r\n\r\n"));
}

/// hyper reads on to the next empty line where LF alone ends a trailer section: nobody may send another request then.
#[test]
fn a_request_with_trailers_is_the_last_one_and_they_say_nothing_of_its_framing() {
    let with = |trailers: &str| Call { trailers: trailers.to_owned(), ..Call::post(None) };
    last("trailers", with("x=y;"), chunked("5\r\nhello\r\n0\r\nx: y\r\n\r\n"));
    last(
        "trailers of framing",
        with("x=y;"),
        chunked(
            "5\r\nhello\r\n0\r\ncontent-length: 9\r\nhost: b\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
    );
    last("LF behind the last chunk", with(""), chunked("5\r\nhello\r\n0\r\n\n"));
    last("LF behind a trailer", with("x=y;"), chunked("5\r\nhello\r\n0\r\nx: y\n\r\n"));
}

#[test]
fn heads_have_bounds() {
    let field = |octets: usize| format!("x: {}\r\n", "y".repeat(octets));
    for (name, octets) in [
        ("a field of 130 KiB", get(&field(130 << 10))),
        ("130 fields of 1 KiB", get(&field(1_000).repeat(130))),
        ("1 000 fields", get(&field(1).repeat(1_000))),
        ("129 fields", get(&field(1).repeat(128))),
        ("a target of 100 KiB", line(&format!("GET /{} HTTP/1.1", "x".repeat(100 << 10)))),
        ("a target of 40 KiB", line(&format!("GET /{} HTTP/1.1", "x".repeat(40 << 10)))),
        ("a method of 100 KiB", line(&format!("{} / HTTP/1.1", "X".repeat(100 << 10)))),
        ("a method of 40 KiB", line(&format!("{} / HTTP/1.1", "X".repeat(40 << 10)))),
        ("a host of 40 KiB", host(&format!(" {}", "h".repeat(40 << 10)))),
    ] {
        refused(name, 431, octets);
    }
    taken("128 fields", Call::get("GET a /"), get(&field(1).repeat(127)));
    let path = format!("/{}", "x".repeat(30 << 10));
    taken("a target of 30 KiB", Call::get(&format!("GET a {path}")), line(&format!("GET {path} HTTP/1.1")));
}

#[test]
fn a_body_nobody_read_is_not_taken_for_a_request() {
    run_paused(async {
        let paths = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&paths);
        let stage = Stage::new(service(move |request| {
            seen.borrow_mut().push(request.head.path().unwrap_or_default().to_owned());
            Response::text("unread").into()
        }));
        let body = BEHIND.repeat(100);
        let chunk = format!("{:x}\r\n{BEHIND}\r\n", BEHIND.len());
        let chunks = chunk.repeat(100);
        for octets in [
            post(&format!("content-length: {}\r\n", body.len()), &body),
            chunked(&format!("{chunks}0\r\n\r\n")),
            chunked(&format!("0\r\n\n{BEHIND}{BEHIND}")),
            chunked(&format!("0\r\nx: y\n\r\n{BEHIND}{BEHIND}")),
            // Cut off in the middle.
            post("content-length: 10000\r\n", &body),
        ] {
            let (_session, mut io) = stage.connect();
            io.write_all(octets.as_bytes()).await.unwrap();
            io.shutdown().await.unwrap();
            let mut answer = String::new();
            io.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("unread"), "{answer}");
            assert_eq!(paths.take(), ["/p"], "{octets}");
        }
    });
}

#[test]
fn a_head_that_drips_has_its_deadline_and_costs_its_neighbour_nothing() {
    run_paused(async {
        let (stage, calls) = door();
        let (_neighbour, mut beside) = stage.connect();
        let (_session, io) = stage.connect();
        let (mut read, mut write) = tokio::io::split(io);
        let began = Instant::now();
        actix_rt::spawn(async move {
            for octet in get(&"x: y\r\n".repeat(100)).bytes() {
                if write.write_all(&[octet]).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        let mut answer = String::new();
        let reading = read.read_to_string(&mut answer);
        let asking = async {
            for _ in 0..50 {
                ask(&mut beside).await;
                sleep(Duration::from_millis(500)).await;
            }
        };
        let (ended, ()) = tokio::join!(async { reading.await.map(|_| began.elapsed()) }, asking);
        assert_eq!(ended.unwrap().as_secs(), 10);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert_eq!(stage.ended().await.reason, CloseReason::HeaderTimeout);
        assert_eq!(calls.borrow().len(), 50);
    });
}
