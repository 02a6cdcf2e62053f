//! One process takes the place of another on the same listening socket: nothing is lost that a client could not tell.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::harness::{HEAD, Serving, file, says, write};
use super::load::Load;
use crate::support::client::Client;
use crate::support::command::{command, ended};
use crate::support::peers::{Running, find, listening};
use crate::support::raw::{ACK, DATA, GOAWAY, PING, RST_STREAM, Raw};
use crate::support::{Process, run};

fn inherited(more: &str) -> String {
    format!("{HEAD}[[listener]]\nname = \"public\"\nbind = [\"fd:public\"]\n{more}")
}

/// A process that has `socket`, under the name `public`.
fn with(socket: &TcpListener, text: &str) -> Serving {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), text);
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
    command.args(["serve", "-c", file(place.path()).to_str().unwrap()]);
    command.envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "public"), ("LISTEN_FDS_FIRST_FD", "0")]);
    let socket: OwnedFd = socket.try_clone().unwrap().into();
    let state = tempfile::tempdir().unwrap();
    Serving::of(place, Process::of_command_with(state, command, Stdio::from(socket)))
}

fn gone(serving: Serving) {
    serving.process.signal(Signal::TERM);
    let (status, said) = serving.process.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("drained in "), "{said}");
}

#[test]
fn no_request_is_lost_between_two_processes() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let saying = |words: &str| inherited(&says("words", "/", words));
    let mut serving = with(&socket, &saying("first"));
    let state = tempfile::tempdir().unwrap();
    let url = format!("http://{address}/");
    let bench = command(state.path(), &["bench", &url, "-d", "50s", "-c", "4", "-m", "8", "--json"]).spawn();
    let bench = bench.unwrap();
    run(async {
        let load = Load::moving(address, "/");
        load.goes_on(200).await;
        for words in ["second", "third"] {
            let next = with(&socket, &saying(words));
            gone(std::mem::replace(&mut serving, next));
            load.goes_on(200).await;
        }
        let tally = load.end();
        tally.only(&["first", "second", "third"]);
        assert!(tally.connections >= 6, "two for each process: {}", tally.connections);
    });
    // One INT: it begins nothing more, and tells.
    kill_process(Pid::from_child(&bench), Signal::INT).unwrap();
    let ran = ended(bench);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let figures: Value = serde_json::from_slice(&ran.out).unwrap();
    let requests = &figures["requests"];
    assert_eq!((&requests["failed"], &requests["unfinished"]), (&0.into(), &0.into()), "{figures}");
    assert_eq!(figures["status"].as_object().unwrap().keys().collect::<Vec<_>>(), ["2xx"]);
    assert!(figures["connections"]["made"].as_u64().unwrap() >= 12, "four for each process: {figures}");
}

#[test]
fn what_is_above_the_last_id_is_the_next_process_s() {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let text = inherited("[[route]]\nname = \"demo\"\ndemo = {}\n");
    let first = with(&socket, &text);
    let mut raw = Raw::connect(address, 1_000);
    raw.request(1, "GET", "/bytes/2000", true);
    let had = raw.body(1, 1_000).len();
    let second = with(&socket, &text);
    first.process.signal(Signal::TERM);
    assert_eq!(raw.next_of(GOAWAY).number(0), 0x7fff_ffff);
    let ping = raw.next_of(PING);
    raw.frame(PING, ACK, 0, &ping.payload);
    assert_eq!(raw.next_of(GOAWAY).number(0), 1);
    raw.request(3, "GET", "/bytes/1", true);
    raw.window_update(1, 10_000);
    let mut more = 0;
    while let Some(frame) = raw.next() {
        if frame.stream == 3 {
            let refused = (RST_STREAM, h2::Reason::REFUSED_STREAM);
            assert_eq!((frame.kind, frame.number(0).into()), refused, "nothing answers it here: {frame:?}");
        }
        if frame.kind == DATA {
            more += frame.payload.len();
        }
    }
    assert_eq!(had + more, 2_000, "what was below it is whole");
    assert_eq!(first.process.ended().0.code(), Some(0));
    run(async {
        let mut client = Client::plain(address, true).await;
        assert_eq!(client.get("/bytes/1").await.text(), "A");
    });
    gone(second);
}

#[test]
fn a_socket_that_nobody_handed_over_is_an_error_that_names_it() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &inherited(&says("words", "/", "words")));
    let process = Process::spawn(&["serve", "-c", file(place.path()).to_str().unwrap()]);
    let (status, said) = process.ended();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("no socket \"public\" was handed over") && said.contains("LISTEN_FDS"), "{said}");
}

#[test]
fn systemd_starts_it_with_the_first_connection() {
    let Some(activate) = find("systemd-socket-activate") else { return };
    let (place, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(place.path(), &inherited(&says("words", "/", "by systemd")));
    let file = file(place.path());
    let state = format!("STAGEDOOR_STATE_DIR={}", state.path().display());
    let started = |ports: &[u16]| {
        let listen = format!("127.0.0.1:{}", ports[0]);
        let binary = env!("CARGO_BIN_EXE_stagedoor");
        let words =
            ["-l", &listen, "--fdname=public", "-E", &state, binary, "serve", "-c", file.to_str().unwrap()];
        Running::start(&activate, &words)
    };
    let (running, addresses) = listening(1, started, |line| line.starts_with("Listening on "));
    run(async {
        let mut client = Client::plain(addresses[0], true).await;
        assert_eq!(client.get("/").await.text(), "by systemd");
    });
    running.line(|line| line.starts_with("ready in "));
}
