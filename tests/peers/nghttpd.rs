//! Our client against nghttpd, the server of nghttp2: files, trailers, pushes, uploads, narrow limits, over TLS and in
//! cleartext.

use std::rc::Rc;

use bytes::Bytes;
use stagedoor::client::{Event, Options, RequestOptions, RequestParts, SessionEnd, StreamError};
use stagedoor_metrics::CloseReason;
use stagedoor_protocol::ErrorCode;
use tempfile::TempDir;

use crate::ours::{Site, answer, get, octets, post, sample, system, text};
use crate::support::peers::{Certificate, Running, find, listening};

/// A server that is told to have these files, and how it is reached.
struct Nghttpd {
    _process: Running,
    _root: TempDir,
    site: Site,
}

fn nghttpd(flags: &[&str], tls: bool) -> Option<Nghttpd> {
    let program = find("nghttpd")?;
    let root = tempfile::tempdir().unwrap();
    for (name, content) in
        [("hello.txt", b"hello".to_vec()), ("style.css", b"css".to_vec()), ("big", sample(20 << 20))]
    {
        std::fs::write(root.path().join(name), content).unwrap();
    }
    let certificate = tls.then(|| Rc::new(Certificate::new()));
    let directory = root.path().to_str().unwrap();
    let start = |ports: &[u16]| {
        let port = ports[0].to_string();
        let mut args = vec!["-v", "-a", "127.0.0.1", "-d", directory];
        args.extend(flags);
        match &certificate {
            None => args.extend(["--no-tls", &port]),
            Some(own) => args.extend([&*port, own.paths().1, own.paths().0]),
        }
        Running::start(&program, &args)
    };
    let (process, at) = listening(1, start, |line| line.contains("listen 127.0.0.1:"));
    Some(Nghttpd { _process: process, _root: root, site: Site { port: at[0].port(), certificate } })
}

fn with_nghttpd(flags: &[&str], test: impl AsyncFn(Site)) {
    for tls in [false, true] {
        let Some(server) = nghttpd(flags, tls) else { return };
        let Nghttpd { _process, _root, site } = server;
        system(test(site));
    }
}

#[test]
fn files_of_nghttpd_arrive_whole() {
    with_nghttpd(&[], async |site| {
        let session = site.session(Options::default());
        assert_eq!(text(&session, "/hello.txt").await, "hello");
        let mut streams: Vec<_> = (0..4).map(|_| get(&session, "/big")).collect();
        for stream in &mut streams {
            assert_eq!(stream.response().await.unwrap().status, 200);
        }
        let whole = sample(20 << 20);
        for mut stream in streams {
            let (octets, error) = octets(&mut stream).await;
            assert!(error.is_none(), "{error:?}");
            assert!(octets == whole);
        }
        let head = session.request(RequestParts::new("HEAD", "/big"), RequestOptions::default()).unwrap();
        assert_eq!(answer(head).await, (200, String::new()));
        assert_eq!(answer(get(&session, "/nowhere")).await.0, 404);
        let end = session.close().await;
        assert!(matches!(end, SessionEnd::Closed { reason: CloseReason::Drain, .. }), "{end}");
        assert_eq!(end.code(), Some(ErrorCode::NO_ERROR));
    });
}

#[test]
fn trailers_of_nghttpd_come_after_the_body() {
    with_nghttpd(&["--trailer", "x-sum: abc"], async |site| {
        let session = site.session(Options::default());
        let mut stream = get(&session, "/hello.txt");
        let (body, error) = octets(&mut stream).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(body, b"hello");
        assert_eq!(stream.trailers().expect("trailers").get("x-sum"), Some(&b"abc"[..]));
        stream.closed().await.unwrap();
    });
}

#[test]
fn pushes_of_nghttpd_are_taken_or_cancelled() {
    with_nghttpd(&["-p/hello.txt=/style.css,/big"], async |site| {
        let session = site.session(Options { accept_push: true, ..Options::default() });
        let mut page = get(&session, "/hello.txt");
        let Some(Event::Push(mut style)) = page.next_event().await else { panic!("a push") };
        let Some(Event::Push(big)) = page.next_event().await else { panic!("a push") };
        assert_eq!((style.head.path(), big.head.path()), (Some("/style.css"), Some("/big")));
        drop(big);
        assert_eq!(style.stream.response().await.unwrap().status, 200);
        assert_eq!(octets(&mut style.stream).await.0, b"css");
        assert_eq!(octets(&mut page).await.0, b"hello");
        // Nobody asked: nothing is promised, the session lives.
        let session = site.session(Options::default());
        let mut page = get(&session, "/hello.txt");
        assert!(matches!(page.next_event().await, Some(Event::Response(_))));
        assert_eq!(octets(&mut page).await.0, b"hello");
    });
}

#[test]
fn nghttpd_echoes_uploads() {
    with_nghttpd(&["--echo-upload"], async |site| {
        let session = site.session(Options::default());
        let whole = sample(20 << 20);
        let options = RequestOptions::with_body(whole.clone().into());
        let mut stream = session.request(RequestParts::post("/"), options).unwrap();
        let (back, error) = octets(&mut stream).await;
        assert!(error.is_none(), "{error:?}");
        assert!(back == whole);
        // Piece by piece, with trailers it does not look at.
        let mut stream = post(&session, "/");
        for _ in 0..10 {
            stream.send_data(Bytes::from_static(b"piece ")).await.unwrap();
        }
        stream.send_trailers([("x-sum", "1")].into_iter().collect()).await.unwrap();
        assert_eq!(octets(&mut stream).await.0, b"piece ".repeat(10));
    });
}

#[test]
fn narrow_windows_few_streams_padding_and_small_tables_of_nghttpd_are_obeyed() {
    let flags = ["--echo-upload", "-m", "2", "-w", "10", "-W", "16", "-b", "255", "-c", "0"];
    with_nghttpd(&flags, async |site| {
        let session = site.session(Options { initial_max_streams: 1, ..Options::default() });
        let whole = sample(50_000);
        let streams: Vec<_> = (0..20)
            .map(|_| {
                let options = RequestOptions::with_body(whole.clone().into());
                session.request(RequestParts::post("/"), options).unwrap()
            })
            .collect();
        for mut stream in streams {
            let (back, error) = octets(&mut stream).await;
            assert!(error.is_none(), "{error:?}");
            assert!(back == whole);
        }
        let remote = session.handle().unwrap().remote_settings().unwrap();
        assert_eq!((remote.max_concurrent_streams, remote.initial_window_size), (2, 1_023));
    });
}

#[test]
fn what_nghttpd_refuses_before_its_limit_is_known_is_safe_to_ask_again() {
    with_nghttpd(&["-m", "2"], async |site| {
        let session = site.session(Options::default());
        let streams: Vec<_> = (0..20).map(|_| get(&session, "/hello.txt")).collect();
        for mut stream in streams {
            match stream.response().await {
                Ok(_) => assert_eq!(octets(&mut stream).await.0, b"hello"),
                Err(error) => {
                    assert!(
                        matches!(error, StreamError::Unprocessed { code: ErrorCode::REFUSED_STREAM }),
                        "{error}"
                    );
                    assert!(error.is_retry_safe());
                    // The limit is known by now: the same session is enough.
                    assert_eq!(text(&session, "/hello.txt").await, "hello");
                }
            }
        }
    });
}

#[test]
fn an_early_answer_of_nghttpd_is_no_error() {
    with_nghttpd(&["--early-response"], async |site| {
        let session = site.session(Options::default());
        for _ in 0..3 {
            let options = RequestOptions::with_body(sample(5 << 20).into());
            let stream = session.request(RequestParts::post("/hello.txt"), options).unwrap();
            assert_eq!(answer(stream).await, (200, "hello".to_owned()));
        }
        assert_eq!(text(&session, "/hello.txt").await, "hello");
    });
}

#[test]
fn nghttpd_answers_our_ping() {
    with_nghttpd(&[], async |site| {
        let session = site.session(Options::default());
        session.ready().await.unwrap();
        let handle = session.handle().unwrap();
        assert_eq!(handle.is_encrypted(), site.is_tls());
        let pong = handle.ping(Some(*b"nghttpd!")).unwrap().await.unwrap();
        assert_eq!(&pong.payload, b"nghttpd!");
    });
}
