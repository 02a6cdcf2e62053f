//! Files and directories that change, move or go while they are looked for and sent.

use std::os::unix::fs::PermissionsExt as _;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use stagedoor_actors::files::{Directory, Files};
use stagedoor_metrics::Outcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::hostile::Tree;
use super::meddler::Meddler;
use super::*;

/// Octets of a file that is sent in many pieces.
const LARGE: usize = 3_000_000;

/// A tree with a large file.
fn tree() -> Tree {
    let tree = Tree::new();
    std::fs::write(tree.path("large"), octets(0..LARGE)).unwrap();
    tree
}

/// A request for `/large`, of which the first octets have come.
struct Begun {
    first: Bytes,
    body: h2::RecvStream,
    _upload: h2::SendStream<Bytes>,
}

async fn begin(send: &mut SendRequest<Bytes>) -> Begun {
    let request = Request::get("http://a/large").body(()).unwrap();
    let (response, _upload) = send.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["content-length"], LARGE.to_string());
    let mut body = response.into_body();
    let first = body.data().await.unwrap().unwrap();
    Begun { first, body, _upload }
}

/// All octets, or what came instead of the end.
async fn rest(begun: Begun) -> Result<Vec<u8>, h2::Error> {
    let Begun { first, mut body, .. } = begun;
    let mut all = first.to_vec();
    body.flow_control().release_capacity(first.len()).unwrap();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len()).unwrap();
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

#[test]
fn a_file_that_is_cut_while_sent_resets_its_stream_alone() {
    run(async {
        for left in [0, 1, 200_000] {
            let tree = tree();
            std::fs::write(tree.path("whole"), octets(0..LARGE)).unwrap();
            let stage = tree.stage();
            let mut send = client(&stage, 65_535).await;
            let begun = begin(&mut send).await;
            File::options().write(true).open(tree.path("large")).unwrap().set_len(left).unwrap();
            let (cut, whole) = tokio::join!(rest(begun), ask(&mut send, Method::GET, "/whole", &[]));
            assert_eq!(cut.unwrap_err().reason(), Some(h2::Reason::INTERNAL_ERROR));
            assert!(whole.octets() == octets(0..LARGE), "its neighbour goes on");
            settle().await;
            assert_eq!((stage.outcome(Outcome::ResetByUs), stage.outcome(Outcome::Complete)), (1, 1));
            let again = ask(&mut send, Method::GET, "/large", &[]).await;
            assert!(again.octets() == octets(0..left as usize), "and is as long as it is now");
        }
    });
}

#[test]
fn on_http1_a_file_that_is_cut_cuts_its_connection() {
    run(async {
        for coding in ["HTTP/1.1", "HTTP/1.0"] {
            let tree = tree();
            let stage = tree.stage();
            let (_session, mut io) = stage.connect_buffered(1_024);
            let request = format!("GET /large {coding}\r\nhost: a\r\nconnection: keep-alive\r\n\r\n");
            io.write_all(request.as_bytes()).await.unwrap();
            let mut received = vec![0; 512];
            io.read_exact(&mut received).await.unwrap();
            let head = String::from_utf8_lossy(&received).into_owned();
            assert!(head.contains("content-length: 3000000\r\n"), "{head}");
            File::options().write(true).open(tree.path("large")).unwrap().set_len(1_000).unwrap();
            io.read_to_end(&mut received).await.ok();
            let body = received.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let sent = received.len() - body;
            assert!(sent < LARGE, "a client that counts knows: {sent}");
            assert!(received[body..] == octets(0..sent), "nothing is put in its place");
            settle().await;
            assert_eq!(stage.outcome(Outcome::Complete), 0);
        }
    });
}

#[test]
fn a_file_that_is_replaced_or_removed_while_sent_is_sent_as_it_was() {
    run(async {
        let tree = tree();
        let stage = tree.stage();
        let mut send = client(&stage, 65_535).await;
        let mut other = client(&stage, 65_535).await;
        let begun = begin(&mut send).await;
        std::fs::write(tree.path("new"), "new").unwrap();
        std::fs::rename(tree.path("new"), tree.path("large")).unwrap();
        assert_eq!(ask(&mut other, Method::GET, "/large", &[]).await.octets(), b"new");
        assert!(rest(begun).await.unwrap() == octets(0..LARGE));

        std::fs::write(tree.path("large"), octets(0..LARGE)).unwrap();
        let begun = begin(&mut send).await;
        std::fs::remove_file(tree.path("large")).unwrap();
        assert_eq!(ask(&mut other, Method::GET, "/large", &[]).await.status, 404);
        assert!(rest(begun).await.unwrap() == octets(0..LARGE));
    });
}

#[test]
fn a_root_that_goes_is_404_until_there_is_one_again() {
    run_paused(async {
        let tree = tree();
        let stage = tree.stage();
        let begun = begin(&mut client(&stage, 65_535).await).await;
        let mut send = client(&stage, 65_535).await;
        std::fs::remove_dir_all(tree.path("")).unwrap();
        // The directory has no name any more, and is one all the same while somebody holds it.
        for (path, status) in
            [("/large", 404), ("/file", 404), ("/", 403), ("/sub/name", 404), ("/none", 404)]
        {
            assert_eq!(ask(&mut send, Method::GET, path, &[]).await.status, status, "{path}");
            tokio::time::advance(Duration::from_millis(1_001)).await;
        }
        assert!(rest(begun).await.unwrap() == octets(0..LARGE), "what was begun is finished");
        std::fs::create_dir(tree.path("")).unwrap();
        std::fs::write(tree.path("file"), "anew").unwrap();
        tokio::time::advance(Duration::from_millis(1_001)).await;
        assert_eq!(ask(&mut send, Method::GET, "/file", &[]).await.octets(), b"anew");
        assert_eq!(ask(&mut send, Method::GET, "/sub/name", &[]).await.status, 404);
    });
}

#[test]
fn a_file_that_comes_and_goes_is_whole_or_404() {
    run(async {
        let tree = Tree::new();
        let (name, beside) = (tree.path("fickle"), tree.path("beside"));
        let meddler = Meddler::new(move || {
            std::fs::write(&beside, octets(0..40_000)).unwrap();
            std::fs::rename(&beside, &name).unwrap();
            std::fs::remove_file(&name).unwrap();
        });
        let stage = tree.stage();
        let mut send = client(&stage, 1 << 20).await;
        let (mut there, mut gone) = (0, 0);
        while there < 100 || gone < 100 || meddler.times() <= 100 {
            let answer = ask(&mut send, Method::GET, "/fickle", &[]).await;
            match answer.status.as_u16() {
                200 => {
                    assert!(answer.octets() == octets(0..40_000));
                    there += 1;
                }
                404 => gone += 1,
                other => panic!("{other}"),
            }
        }
        assert!(meddler.end() > 100);
    });
}

#[test]
fn a_sibling_that_comes_and_goes_is_sent_as_what_it_is_or_not_at_all() {
    run(async {
        let tree = Tree::new();
        std::fs::write(tree.path("page.css"), "plain").unwrap();
        let (name, beside) = (tree.path("page.css.br"), tree.path("beside"));
        let meddler = Meddler::new(move || {
            std::fs::write(&beside, "small").unwrap();
            std::fs::rename(&beside, &name).unwrap();
            std::fs::remove_file(&name).unwrap();
        });
        let stage = tree.stage();
        let mut send = client(&stage, 1 << 20).await;
        let (mut small, mut plain) = (0, 0);
        while small < 100 || plain < 100 || meddler.times() <= 100 {
            let answer = ask(&mut send, Method::GET, "/page.css", &[("accept-encoding", "br")]).await;
            assert_eq!((answer.status.as_u16(), answer.header("vary")), (200, "accept-encoding"));
            match (answer.header("content-encoding"), answer.octets()) {
                ("br", b"small") => small += 1,
                ("", b"plain") => plain += 1,
                (coding, octets) => panic!("{coding} {octets:?}"),
            }
        }
        assert!(meddler.end() > 100);
    });
}

/// Small enough to be sent in one message, to be kept, and to be neither.
#[test]
fn a_file_that_grows_and_shrinks_all_the_time_is_as_long_as_its_head_said_or_reset() {
    run(async {
        for most in [9_000, 100_000, 600_000] {
            let tree = Tree::new();
            std::fs::write(tree.path("restless"), octets(0..most)).unwrap();
            let file = File::options().write(true).open(tree.path("restless")).unwrap();
            let mut seed = most;
            let meddler = Meddler::new(move || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                file.set_len((seed >> 33) as u64 % most as u64).unwrap();
            });
            let stage = tree.stage();
            let mut send = client(&stage, 1 << 20).await;
            let mut whole = 0;
            let mut reset = 0;
            let mut asked = 0;
            while asked < 600 || meddler.times() <= 100 {
                asked += 1;
                let answer = ask(&mut send, Method::GET, "/restless", &[]).await;
                assert_eq!(answer.status, 200);
                match &answer.body {
                    Ok(octets) => {
                        assert_eq!(octets.len().to_string(), answer.header("content-length"));
                        whole += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
                        reset += 1;
                    }
                }
            }
            assert!(whole > 0 && meddler.end() > 100, "{whole} whole, {reset} reset");
        }
    });
}

#[test]
fn what_may_not_be_read_is_403_for_whoever_is_not_allowed_everything() {
    // Of a thread of its own, which gives up what lets root read everything.
    let thread = std::thread::spawn(|| {
        let mut have = capabilities(None).unwrap();
        let all = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        have.effective.remove(all);
        have.permitted.remove(all);
        set_capabilities(None, have).unwrap();
        run(async {
            let tree = Tree::new();
            let close = |name: &str, mode| {
                std::fs::set_permissions(tree.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
            };
            std::fs::create_dir(tree.path("shut")).unwrap();
            std::fs::write(tree.path("shut/name"), "inside").unwrap();
            std::fs::create_dir(tree.path("blind")).unwrap();
            std::fs::write(tree.path("blind/name"), "inside").unwrap();
            std::fs::write(tree.path("page.css"), "plain").unwrap();
            std::fs::write(tree.path("page.css.br"), "small").unwrap();
            for (name, mode) in [("file", 0o000), ("shut", 0o600), ("blind", 0o300), ("page.css.br", 0o000)] {
                close(name, mode);
            }
            assert!(File::open(tree.path("file")).is_err(), "it really may not");
            let stage = Stage::new(Rc::new(Files::new(tree.directory().listing(true))));
            let mut send = client(&stage, 1 << 20).await;
            for (path, status) in [
                ("/file", 403),
                ("/shut/name", 403),
                ("/shut/", 403),
                // It may be gone through, not read.
                ("/blind/name", 200),
                ("/blind/", 403),
                ("/sub/name", 200),
            ] {
                let answer = ask(&mut send, Method::GET, path, &[]).await;
                assert_eq!(answer.status, status, "{path}");
                if status == 403 {
                    let said = String::from_utf8_lossy(answer.octets()).into_owned();
                    assert_eq!(said, format!("what lies at {path} may not be read\n"));
                }
            }
            let answer = ask(&mut send, Method::GET, "/page.css", &[("accept-encoding", "br")]).await;
            assert_eq!(
                (answer.status.as_u16(), answer.octets()),
                (200, &b"plain"[..]),
                "the file itself will do"
            );
            for name in ["file", "shut", "blind"] {
                close(name, 0o700);
            }
            let open = Directory::open(tree.path("")).unwrap();
            drop(open);
        });
    });
    thread.join().unwrap();
}
