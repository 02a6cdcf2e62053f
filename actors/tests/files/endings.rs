//! Bodies that end otherwise than planned, files that are no regular ones, and what is left of descriptors.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, mkfifoat};
use stagedoor_actors::{ListenerConfig, Response};
use stagedoor_metrics::Outcome;

use super::*;

fn reset_of(answer: &Answer) -> Option<h2::Reason> {
    answer.body.as_ref().err().and_then(h2::Error::reason)
}

/// Starts a request; the octets that came with the first frame of its body, and what follows.
async fn begin(send: &mut SendRequest<Bytes>) -> (Bytes, h2::RecvStream, h2::SendStream<Bytes>) {
    let request = Request::get("http://a/").body(()).unwrap();
    let (response, upload) = send.send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let first = body.data().await.unwrap().unwrap();
    (first, body, upload)
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_resets_its_stream() {
    run(async {
        let (_dir, path) = file_of(4_000_000);
        let of = path.clone();
        let stage = Stage::new(serving(move || FileResponse::path(&of)));
        let mut send = client(&stage, 65_535).await;
        let (first, mut body, _) = begin(&mut send).await;
        File::options().write(true).open(&path).unwrap().set_len(1_000).unwrap();
        body.flow_control().release_capacity(first.len()).unwrap();
        let mut received = first.len();
        let error = loop {
            match body.data().await.expect("never silently short") {
                Ok(chunk) => {
                    received += chunk.len();
                    body.flow_control().release_capacity(chunk.len()).unwrap();
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        assert!(received < 4_000_000);
        settle().await;
        assert_eq!(stage.outcome(Outcome::ResetByUs), 1);
        assert_eq!(open_on(&path), 0);
        // Its neighbours live.
        assert_eq!(ask(&mut send, Method::GET, "/", &[]).await.octets().len(), 1_000);
    });
}

#[test]
fn a_file_that_grows_is_sent_as_long_as_it_was() {
    run(async {
        let (_dir, path) = file_of(400_000);
        let of = path.clone();
        let stage = Stage::new(serving(move || FileResponse::path(&of)));
        let mut send = client(&stage, 65_535).await;
        let (first, mut body, _) = begin(&mut send).await;
        File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
        body.flow_control().release_capacity(first.len()).unwrap();
        let mut received = first.len();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.unwrap();
            received += chunk.len();
            body.flow_control().release_capacity(chunk.len()).unwrap();
        }
        assert_eq!(received, 400_000);
    });
}

#[test]
fn a_read_that_fails_after_the_head_resets_the_stream() {
    run(async {
        let (_dir, path) = file_of(100_000);
        let of = path.clone();
        // Open for writing only: its size can be asked, its octets cannot be read.
        let service = serving(move || FileResponse::new(File::options().append(true).open(&of).unwrap()));
        let (answer, stage) = once(service, Method::GET, &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(reset_of(&answer), Some(h2::Reason::INTERNAL_ERROR));
        assert_eq!(stage.outcome(Outcome::ResetByUs), 1);
        assert_eq!(open_on(&path), 0);
    });
}

#[test]
fn a_client_that_goes_away_leaves_no_descriptor() {
    run(async {
        let (_dir, path) = file_of(4_000_000);
        let of = path.clone();
        let stage = Stage::new(serving(move || FileResponse::path(&of)));
        let mut send = client(&stage, 65_535).await;
        let (_first, body, mut upload) = begin(&mut send).await;
        assert_eq!(open_on(&path), 1);
        upload.send_reset(h2::Reason::CANCEL);
        drop(body);
        while open_on(&path) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_head_that_is_refused_leaves_no_descriptor() {
    run(async {
        let (_dir, path) = file_of(4_000_000);
        let of = path.clone();
        let answer = get(serving(move || FileResponse::path(&of).field("x-bad", "a\r\nb")), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.octets().len()), (500, 0));
        assert_eq!(open_on(&path), 0);
    });
}

#[test]
fn a_fifo_is_sent_when_asked_for_and_has_no_length() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let of = path.clone();
        let service = serving(move || FileResponse::path(&of).allow_special(true));
        // Opens when the other side has.
        let writer = std::thread::spawn(move || {
            let mut fifo = File::options().write(true).open(path).unwrap();
            fifo.write_all(&octets(0..300_000)).unwrap();
        });
        let (answer, stage) = once(service, Method::GET, &[]).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("content-length") && !answer.headers.contains_key("etag"));
        assert!(answer.octets() == octets(0..300_000));
        assert_eq!(stage.outcome(Outcome::Complete), 1);
        writer.join().unwrap();
    });
}

#[test]
fn a_pipe_and_a_device_are_read_to_their_end() {
    run(async {
        let service = service(move |request| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(b"through a pipe").unwrap();
            FileResponse::new(File::from(OwnedFd::from(reader))).allow_special(true).answer(&request.head)
        });
        assert_eq!(get(service, &[]).await.octets(), b"through a pipe");
        let null = serving(|| FileResponse::path("/dev/null").allow_special(true));
        let answer = get(null, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.octets().len()), (200, 0));
        let stage = Stage::new(serving(|| FileResponse::path("/dev/zero").allow_special(true)));
        let mut send = client(&stage, 65_535).await;
        let (first, _body, _upload) = begin(&mut send).await;
        assert!(!first.is_empty() && first.iter().all(|octet| *octet == 0));
    });
}

/// HTTP/1.1: what cannot be finished is cut off, so that a client sees less than was promised.
#[test]
fn on_http1_a_file_that_shrinks_ends_the_connection() {
    run(async {
        let (_dir, path) = file_of(4_000_000);
        let of = path.clone();
        let config = ListenerConfig::new("test", ([127, 0, 0, 1], 0).into());
        let stage = Stage::with(config, serving(move || FileResponse::path(&of)));
        let (_session, mut io) = stage.connect_buffered(1_024);
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        io.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut first = vec![0; 512];
        io.read_exact(&mut first).await.unwrap();
        let head = String::from_utf8_lossy(&first).to_ascii_lowercase();
        assert!(head.contains("content-length: 4000000"), "{head}");
        File::options().write(true).open(&path).unwrap().set_len(1_000).unwrap();
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.ok();
        assert!(rest.len() < 4_000_000);
    });
}

#[test]
fn an_async_handler_may_take_the_response_itself() {
    run(async {
        let (dir, path) = file_of(10);
        let none = dir.path().join("none");
        let service = service(move |request| {
            let (path, none) = (path.clone(), none.clone());
            stagedoor_actors::Reply::later(async move {
                let missing = FileResponse::path(none).response(&request.head).await;
                assert_eq!(missing.status, 404);
                let response: Response = FileResponse::path(path).response(&request.head).await;
                response.with_field("x-seen", "yes")
            })
        });
        let answer = get(service, &[]).await;
        assert_eq!((answer.header("x-seen"), answer.octets().len()), ("yes", 10));
    });
}
