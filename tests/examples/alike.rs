//! What answers the same to HTTP/2 and to HTTP/1.1.

use crate::program::{Curl, Example};

#[test]
fn hello_greets_by_name_and_names_the_protocol() {
    let Some(curls) = Curl::both() else { return };
    let example = Example::start("hello");
    for (curl, protocol) in curls.iter().zip(["h2c", "http/1.1"]) {
        let hello = curl.get(&[&example.url("/hello/j%C3%B6rg")]);
        assert!(hello.starts_with("hello jörg, this is session "), "{hello}");
        assert!(hello.ends_with(&format!(" over {protocol}\n")), "{hello}");
        assert_eq!(curl.answer(&[&example.url("/")]), "404 there is nothing here");
    }
    example.interrupted();
}

#[test]
fn axum_routes_as_it_does_elsewhere() {
    let Some(curls) = Curl::both() else { return };
    let example = Example::start("axum");
    for curl in &curls {
        assert_eq!(curl.answer(&[&example.url("/")]), "200 hello from axum");
        assert_eq!(curl.answer(&[&example.url("/users/7")]), r#"200 [["user",7]]"#);
        assert!(curl.answer(&[&example.url("/users/x")]).starts_with("400 "));
        assert_eq!(curl.answer(&[&example.url("/nowhere")]), "404 ");
    }
    example.interrupted();
}

#[test]
fn files_are_sent_whole_in_parts_and_not_at_all() {
    let Some(curls) = Curl::both() else { return };
    let example = Example::start("files");
    for curl in &curls {
        let text = curl.get(&[&example.url("/static/files.rs")]);
        assert_eq!(text, include_str!("../../examples/files.rs"));
        assert_eq!(curl.answer(&["-r", "0-8", &example.url("/static/files.rs")]), "206 //! Files");
        let readme = curl.get(&["-i", &example.url("/readme")]);
        assert!(readme.contains("content-type: text/markdown; charset=utf-8"), "{readme}");
        assert!(readme.ends_with(include_str!("../../README.md")), "{readme}");
        let etag = readme.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an etag").trim();
        let unless = format!("if-none-match: {etag}");
        assert_eq!(curl.answer(&["-H", &unless, &example.url("/readme")]), "304 ");
        assert!(curl.get(&[&example.url("/static/")]).contains("hello.rs"));
        assert!(curl.answer(&[&example.url("/static/none")]).starts_with("404 "));
        let above = example.url("/static/../Cargo.toml");
        assert!(!curl.get(&["--path-as-is", &above]).contains("[workspace]"));
    }
    example.interrupted();
}

#[test]
fn trailers_say_at_the_end_what_came() {
    let Some(curls) = Curl::both() else { return };
    let example = Example::start("trailers");
    for curl in &curls {
        let answer = curl.get(&["-i", "-H", "te: trailers", "-d", "some more words", &example.url("/count")]);
        let (head, rest) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with(if curl.http2 { "HTTP/2 200" } else { "HTTP/1.1 200" }), "{answer}");
        assert!(!head.contains("x-octets: "), "not before the end: {answer}");
        assert!(rest.starts_with("some more words"), "{answer}");
        assert!(rest.contains("x-octets: 15") && rest.contains("x-words: 3"), "{answer}");
    }
    example.interrupted();
}

#[test]
fn mailbox_keeps_jobs_between_requests() {
    let Some(curls) = Curl::both() else { return };
    let example = Example::start("mailbox");
    for (curl, number) in curls.iter().zip(1..) {
        let job = format!("paint door {number}");
        assert_eq!(curl.answer(&["-d", &job, &example.url("/jobs")]), format!("201 job {number}"));
        assert_eq!(curl.answer(&[&example.url(&format!("/jobs/{number}"))]), format!("200 {job}"));
        assert_eq!(curl.answer(&[&example.url("/jobs/77")]), "404 no such job");
        assert!(curl.answer(&["-X", "DELETE", &example.url("/jobs/1")]).starts_with("405 "));
        let long = "x".repeat(1001);
        assert!(curl.answer(&["-d", &long, &example.url("/jobs")]).starts_with("413 "));
    }
    example.interrupted();
}

#[test]
fn two_servers_of_one_system_ask_the_same_actor() {
    let Some([http2, http1]) = Curl::both() else { return };
    let example = Example::start("actix_web");
    let [ours, theirs] = example.addresses()[..] else { panic!("two addresses: {}", example.line) };
    let (ours, theirs) = (format!("http://{ours}/"), format!("http://{theirs}/"));
    assert_eq!(http2.get(&[&ours]), "stagedoor serves visitor 1\n");
    assert_eq!(http1.get(&[&theirs]), "actix-web serves visitor 2\n");
    assert_eq!(http1.get(&[&ours]), "stagedoor serves visitor 3\n");
    example.interrupted();
}

#[test]
fn own_listener_serves_what_it_accepted() {
    let Some(curls) = Curl::both() else { return };
    let example = Example::start("own_listener");
    for curl in &curls {
        assert_eq!(curl.answer(&[&example.url("/")]), "200 hello from a socket of yours");
    }
    example.interrupted();
}

#[test]
fn unix_socket_is_there_while_the_server_is() {
    let Some(curls) = Curl::both() else { return };
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.sock");
    let path = path.to_str().unwrap();
    let example = Example::start_at("unix_socket", path);
    assert_eq!(example.line, format!("unix:{path}"));
    for (curl, protocol) in curls.iter().zip(["h2c", "http/1.1"]) {
        let hello = curl.get(&["--unix-socket", path, "http://localhost/"]);
        assert_eq!(hello, format!("hello over a Unix socket: true, by {protocol}\n"));
    }
    example.interrupted();
    assert!(!std::path::Path::new(path).exists(), "its file goes with it");
}
