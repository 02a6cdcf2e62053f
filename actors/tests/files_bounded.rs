//! How much of a file is in memory while it is sent. Alone in its process, so that the process can be measured.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use common::*;
use http::Request;
use stagedoor_actors::files::FileResponse;

/// A number of octets or KiB under `name` in a file of /proc/self.
fn figure(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel counts it");
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

const MIB: u64 = 1 << 20;

#[test]
fn four_gibibytes_to_a_slow_reader_stay_under_two_mebibytes() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        let file = File::create(&path).unwrap();
        file.set_len(4 << 30).unwrap();
        file.write_all_at(b"end", (4 << 30) - 3).unwrap();

        let stage = Stage::new(service(move |request| FileResponse::path(&path).answer(&request.head)));
        let (_session, io) = stage.connect_buffered(64 << 10);
        let (mut send, connection) = h2::client::Builder::new()
            .initial_window_size(128 << 10)
            .initial_connection_window_size(128 << 10)
            .handshake::<_, bytes::Bytes>(io)
            .await
            .unwrap();
        actix_rt::spawn(async move { connection.await.ok() });
        let (memory, read) = (figure("status", "VmRSS"), figure("io", "rchar"));
        let (response, _) = send.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-length"], (4_u64 << 30).to_string().as_str());
        let mut body = response.into_body();
        let mut taken = 0;
        // A reader that takes a little, and waits until nothing moves any more.
        for _ in 0..200 {
            let chunk = body.data().await.unwrap().unwrap();
            taken += chunk.len() as u64;
            body.flow_control().release_capacity(chunk.len()).unwrap();
            drop(chunk);
            tokio::time::sleep(Duration::from_millis(1)).await;
            let ahead = figure("io", "rchar") - read - taken;
            assert!(ahead < 2 * MIB, "{ahead} octets ahead of {taken}");
        }
        assert!(taken > MIB, "{taken}");
        let grown = figure("status", "VmHWM").saturating_sub(memory) * 1024;
        assert!(grown < 2 * MIB, "{grown} octets of memory for it");

        // And the far end is there.
        let request = Request::get("http://a/").header("range", "bytes=-3").body(()).unwrap();
        drop(body);
        let (response, _) = send.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-range"], "bytes 4294967293-4294967295/4294967296");
        assert_eq!(response.into_body().data().await.unwrap().unwrap(), "end");
    });
}
