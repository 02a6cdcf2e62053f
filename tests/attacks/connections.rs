//! Connections that say nothing, too many of them, and a process without descriptors.

use std::io::Read as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Usage, scrape, until, until_admin_answers};
use crate::support::client::{Client, Speaks};
use crate::support::{Gateway, Process, run};

/// Slow loris before the first octet: those that wait longest make room, who speaks is served.
#[test]
fn connections_that_say_nothing_do_not_keep_others_out() {
    let gateway = Gateway::start();
    let before = Usage::of(&gateway);
    let silent: Vec<TcpStream> = (0..600)
        .map(|n| TcpStream::connect(if n % 2 == 0 { gateway.public } else { gateway.plain }).unwrap())
        .collect();
    run(async {
        for speaks in Speaks::ALL {
            let mut client = Client::connect(&gateway, speaks).await;
            assert_eq!(client.get("/bytes/13").await.body.len(), 13, "{speaks:?}");
        }
        let scrape = scrape(&gateway).await;
        for listener in ["public", "plain"] {
            let labels = [("listener", listener), ("result", "refused_overload")];
            let gone = scrape.value("stagedoor_listener_connections_total", &labels);
            assert!(gone >= 40.0, "{listener}: {gone} of 300 made room, 256 may wait");
        }
    });
    let after = Usage::of(&gateway);
    assert!(after.resident.saturating_sub(before.resident) < 16 << 20);
    assert!((after.processor - before.processor).as_secs_f64() < 4.0);
    drop(silent);
}

/// With 64 descriptors in all: sessions that do nothing make room, no spinning, no crash, and all is well afterwards.
#[test]
fn a_process_without_descriptors_goes_on() {
    let process = limited(64);
    let gateway = Gateway::of(process);
    let mut held: Vec<TcpStream> = Vec::new();
    run(async {
        let mut neighbour = Client::connect(&gateway, Speaks::H2c).await;
        for _ in 0..100 {
            // Some of these are closed at once, or later to make room.
            held.extend(TcpStream::connect(gateway.plain));
            assert_eq!(neighbour.get("/bytes/13").await.body.len(), 13);
        }
        let before = Usage::of(&gateway).processor;
        tokio::time::sleep(Duration::from_millis(700)).await;
        let spun = Usage::of(&gateway).processor - before;
        assert!(spun < Duration::from_millis(350), "{spun:?} of a processor in 700 ms");
        assert_eq!(neighbour.get("/bytes/13").await.body.len(), 13);
        let open = Usage::of(&gateway).descriptors;
        // Some with higher numbers may have been inherited.
        assert!((50..80).contains(&open), "{open}");
        let mut ended = 0;
        for socket in &mut held {
            socket.set_nonblocking(true).unwrap();
            ended += usize::from(matches!(socket.read(&mut [0; 1]), Ok(0)));
        }
        assert!(ended >= 30, "{ended} of 100 were told that there is no room");
        drop(held);
        until_admin_answers(&gateway).await;
        // It is over without anybody's doing, and new clients are served.
        until(&gateway, "stagedoor_overloaded", &[], 0.0).await;
        let scrape = until(&gateway, "stagedoor_listener_accepting", &[("listener", "plain")], 1.0).await;
        let mut client = Client::connect(&gateway, Speaks::H2).await;
        assert_eq!(client.get("/bytes/13").await.body.len(), 13);
        assert_eq!(scrape.sum("stagedoor_actor_panics_total", &[]), 0.0);
    });
}

/// The gateway under a limit of descriptors.
fn limited(descriptors: u32) -> Process {
    let limit = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limit, env!("CARGO_BIN_EXE_stagedoor")]);
    command.args("serve --public 127.0.0.1:0 --plain 127.0.0.1:0 --admin 127.0.0.1:0 --workers 2".split(' '));
    Process::of_command(tempfile::tempdir().unwrap(), command)
}
