//! The commands around a configuration: the first steps, the one-shot proxy, and how faults end a start.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::{PLAIN, Serving, file, says, write};
use crate::support::client::{Client, Speaks};
use crate::support::command::stagedoor;
use crate::support::{Gateway, Process, address_of, run};

#[test]
fn init_check_and_serve_are_three_steps() {
    let place = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let dir = place.path().join("gateway");
    let made = stagedoor(state.path(), &["init", dir.to_str().unwrap()]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let config = dir.join("stagedoor.toml");
    let checked = stagedoor(state.path(), &["check", config.to_str().unwrap()]);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    let flags = ["--public", "127.0.0.1:0", "--plain", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let words = [&["serve", "-c", config.to_str().unwrap()][..], &flags].concat();
    let gateway = Gateway::of(Process::spawn(&words));
    for speaks in Speaks::ALL {
        run(async {
            let mut client = Client::connect(&gateway, speaks).await.naming("localhost");
            let answer = client.get("/").await;
            assert!(answer.status < 400, "{speaks:?}: {} {}", answer.status, answer.text());
        });
    }
    // Somebody's work is not written over.
    let again = stagedoor(state.path(), &["init", dir.to_str().unwrap()]);
    assert_eq!(again.code, Some(1), "{}", again.err);
}

#[test]
fn one_command_is_a_proxy() {
    let origin = Gateway::start();
    for scheme in ["http", "h2c"] {
        let to = format!("{scheme}://{}", origin.plain);
        let process = Process::spawn(&["proxy", "127.0.0.1:0", &to, "--admin", "127.0.0.1:0"]);
        process.line(|line| line.starts_with("ready in "));
        let address = address_of(&process.stderr(), "proxy").unwrap();
        run(async {
            for http2 in [true, false] {
                let mut client = Client::plain(address, http2).await;
                assert_eq!(client.post("/echo", "there and back").await.text(), "there and back");
                let seen = client.get("/headers").await.json();
                assert_eq!(seen["authority"], address.to_string(), "the host that the client asked for");
            }
            let mut admin = Client::plain(address_of(&process.stderr(), "admin").unwrap(), false).await;
            assert!(admin.get("/api/upstreams").await.text().contains(&origin.plain.to_string()));
            let reload = admin.post("/api/reload", "").await;
            assert_eq!(reload.status, 409, "there is no file: {}", reload.text());
        });
        process.signal(Signal::HUP);
        process.line(|line| line.contains("no configuration file"));
        let began = Instant::now();
        process.signal(Signal::INT);
        assert_eq!(process.ended().0.code(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(4), "no balancer is waited for: {:?}", began.elapsed());
    }
    let public = Process::spawn(&["proxy", "https://localhost:0", &format!("http://{}", origin.plain)]);
    public.line(|line| line.starts_with("ready in "));
    let address = address_of(&public.stderr(), "proxy").unwrap();
    let url = format!("https://localhost:{}/bytes/3", address.port());
    let got = stagedoor(public.state(), &["get", &url]);
    assert_eq!(got.quietly(), b"ABC", "by the development certificate");
}

#[test]
fn faults_start_nothing_and_are_listed_together() {
    let place = tempfile::tempdir().unwrap();
    let text = format!(
        "{PLAIN}{}[[upstream]]\nname = \"api\"\nendpoints = [\"http://127.0.0.1:1\"]\n\
         [[route]]\nname = \"a\"\nproxy = {{ upstream = \"apj\" }}\n\
         [[route]]\nname = \"b\"\ntimeout = \"soon\"\nrespond = {{ body = \"b\" }}\n",
        "protocol = [\"h2\"]\n"
    );
    write(place.path(), &text);
    let config = file(place.path());
    let state = tempfile::tempdir().unwrap();
    for words in [vec!["serve", "-c", config.to_str().unwrap()], vec!["check", config.to_str().unwrap()]] {
        let ran = stagedoor(state.path(), &words);
        assert_eq!(ran.code, Some(1), "{words:?}: {}", ran.err);
        let said = ran.err + &String::from_utf8(ran.out).unwrap();
        for told in ["protocol", "apj", "did you mean \"api\"?", "soon", "stagedoor.toml:"] {
            assert!(said.contains(told), "{words:?}: no {told} in\n{said}");
        }
        assert!(!said.contains("ready in"), "{said}");
    }
    let nowhere = place.path().join("nowhere.toml");
    let ran = stagedoor(state.path(), &["serve", "-c", nowhere.to_str().unwrap()]);
    ran.failed_with(1, "nowhere.toml");
    stagedoor(state.path(), &["serve", "--watch"]).failed_with(2, "--config");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let route = says("words", "/", "hello");
    let place = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let listener = format!("[[listener]]\nname = \"web\"\nbind = \"{address}\"\n{route}");
    let admin = format!("[server]\nworkers = 1\n[admin]\nbind = \"{address}\"\n{PLAIN}{route}");
    for (text, name) in [(listener, "web"), (admin, "admin")] {
        write(place.path(), &text);
        let ran = stagedoor(state.path(), &["serve", "-c", file(place.path()).to_str().unwrap()]);
        ran.failed_with(3, &address);
        assert!(ran.err.contains(name), "{}", ran.err);
    }
}

#[test]
fn the_environment_and_flags_go_before_the_file() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &format!("{PLAIN}{}", says("words", "/", "hello")));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stagedoor"));
    command.args(["serve", "-c", file(place.path()).to_str().unwrap(), "--workers", "3"]);
    command.env("STAGEDOOR__ROUTE__WORDS__RESPOND__BODY", "from the environment");
    let serving = Serving::of(place, Process::of_command(tempfile::tempdir().unwrap(), command));
    assert!(serving.process.stderr().contains("3 workers"), "{}", serving.process.stderr());
    run(async {
        assert_eq!(serving.client("plain", true).await.get("/").await.text(), "from the environment");
        let document = serving.told("/api/config").await;
        assert!(document.to_string().contains("STAGEDOOR__ROUTE__WORDS__RESPOND__BODY"), "{document}");
        // A reload reads the environment as it was.
        serving.reloaded(&format!("{PLAIN}{}", says("words", "/", "from the file"))).await;
        assert_eq!(serving.client("plain", true).await.get("/").await.text(), "from the environment");
    });
}
