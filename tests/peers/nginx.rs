//! Our client against nginx: static files with ranges and conditions, uploads it refuses, sessions it ends after a few
//! requests, over TLS and in cleartext.

use std::path::Path;
use std::rc::Rc;

use stagedoor::client::{ClientSession, ClientStream, Error, Options, RequestOptions, RequestParts};
use stagedoor_protocol::Fields;
use tempfile::TempDir;

use crate::ours::{Site, answer, get, octets, sample, system, text};
use crate::support::peers::{Certificate, Running, find, listening};
use crate::support::sha256;

/// One process without a master: it is gone with the child. The ports are written by who starts it.
const CONFIGURATION: &str = "
daemon off;
master_process off;
pid PLACE/pid;
error_log stderr notice;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path PLACE/body;
    proxy_temp_path PLACE/proxy;
    fastcgi_temp_path PLACE/fastcgi;
    scgi_temp_path PLACE/scgi;
    uwsgi_temp_path PLACE/uwsgi;
    default_type application/octet-stream;
    ssl_certificate CERTIFICATE;
    ssl_certificate_key KEY;
    root PLACE/files;
    server {
        listen 127.0.0.1:PORT0 http2;
        listen 127.0.0.1:PORT1 ssl http2;
        client_max_body_size 1m;
        http2_max_concurrent_streams 4;
        location /drop { return 200 dropped; }
        location /sum { add_trailer x-sum abc; alias PLACE/files/hello.txt; }
    }
    server {
        listen 127.0.0.1:PORT2 http2;
        listen 127.0.0.1:PORT3 ssl http2;
        keepalive_requests 5;
    }
}
";

/// The plain server and the one with `keepalive_requests`, each in cleartext and with TLS.
struct Nginx {
    _process: Running,
    _place: TempDir,
    ample: [Site; 2],
    strict: [Site; 2],
}

fn nginx() -> Option<Nginx> {
    let program = find("nginx")?;
    let place = tempfile::tempdir().unwrap();
    let own = Certificate::new();
    let at = place.path().to_str().unwrap();
    std::fs::create_dir(place.path().join("files")).unwrap();
    std::fs::write(place.path().join("files/hello.txt"), "hello, world").unwrap();
    std::fs::write(place.path().join("files/big"), sample(20 << 20)).unwrap();
    let configuration = place.path().join("nginx.conf");
    let start = |ports: &[u16]| {
        let (certificate, key) = own.paths();
        let mut text =
            CONFIGURATION.replace("PLACE", at).replace("CERTIFICATE", certificate).replace("KEY", key);
        for (number, port) in ports.iter().enumerate() {
            text = text.replace(&format!("PORT{number}"), &port.to_string());
        }
        std::fs::write(&configuration, text).unwrap();
        Running::start(&program, &["-p", at, "-e", "stderr", "-c", path(&configuration)])
    };
    // What it says once its sockets listen.
    let (process, ports) = listening(4, start, |line| line.contains("OS: Linux"));
    let [plain, tls, strict, strict_tls] = [0, 1, 2, 3].map(|number: usize| ports[number].port());
    let own = Rc::new(own);
    let site = |port, tls: bool| Site { port, certificate: tls.then(|| Rc::clone(&own)) };
    Some(Nginx {
        _process: process,
        _place: place,
        ample: [site(plain, false), site(tls, true)],
        strict: [site(strict, false), site(strict_tls, true)],
    })
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn with(session: &ClientSession, path: &str, fields: &[(&str, &str)]) -> ClientStream {
    let fields: Fields = fields.iter().copied().collect();
    let parts = RequestParts { fields, ..RequestParts::get(path) };
    session.request(parts, RequestOptions::default()).expect("a request")
}

#[test]
fn files_of_nginx_arrive_whole_and_in_parts() {
    let Some(nginx) = nginx() else { return };
    system(async {
        for site in &nginx.ample {
            let session = site.session(Options::default());
            let mut stream = get(&session, "/hello.txt");
            let head = stream.response().await.unwrap();
            assert_eq!((head.status, head.fields.get("content-length")), (200, Some(&b"12"[..])));
            let etag = String::from_utf8(head.fields.get("etag").expect("an etag").to_vec()).unwrap();
            assert_eq!(octets(&mut stream).await.0, b"hello, world");

            for (range, status, part) in [
                ("bytes=0-4", 206, "hello"),
                ("bytes=-5", 206, "world"),
                ("bytes=7-", 206, "world"),
                ("lines=1-2", 200, "hello, world"),
            ] {
                let found = answer(with(&session, "/hello.txt", &[("range", range)])).await;
                assert_eq!(found, (status, part.to_owned()), "{range}");
            }
            let mut beyond = with(&session, "/hello.txt", &[("range", "bytes=100-")]);
            let head = beyond.response().await.unwrap();
            assert_eq!((head.status, head.fields.get("content-range")), (416, Some(&b"bytes */12"[..])));
            let same = answer(with(&session, "/hello.txt", &[("if-none-match", &etag)])).await;
            assert_eq!(same, (304, String::new()));
            let head = RequestParts::new("HEAD", "/hello.txt");
            let head = session.request(head, RequestOptions::default()).unwrap();
            assert_eq!(answer(head).await, (200, String::new()));
            assert_eq!(answer(get(&session, "/nowhere")).await.0, 404);
        }
    });
}

#[test]
fn many_large_files_of_nginx_come_through_its_limit_of_four_streams() {
    let Some(nginx) = nginx() else { return };
    let whole = sha256(&sample(20 << 20));
    system(async {
        for site in &nginx.ample {
            // One request, until nginx has said how many it takes.
            let session = site.session(Options { initial_max_streams: 1, ..Options::default() });
            let streams: Vec<_> = (0..8).map(|_| get(&session, "/big")).collect();
            for mut stream in streams {
                let (octets, error) = octets(&mut stream).await;
                assert!(error.is_none(), "{error:?}");
                assert_eq!(sha256(&octets), whole);
            }
            let remote = session.handle().unwrap().remote_settings().unwrap();
            assert_eq!(remote.max_concurrent_streams, 4);
        }
    });
}

#[test]
fn trailers_of_nginx_come_after_the_body() {
    let Some(nginx) = nginx() else { return };
    system(async {
        for site in &nginx.ample {
            let session = site.session(Options::default());
            let mut stream = get(&session, "/sum");
            assert_eq!(octets(&mut stream).await.0, b"hello, world");
            assert_eq!(stream.trailers().expect("trailers").get("x-sum"), Some(&b"abc"[..]));
        }
    });
}

#[test]
fn an_upload_that_nginx_refuses_early_is_answered_whole() {
    let Some(nginx) = nginx() else { return };
    system(async {
        for site in &nginx.ample {
            let session = site.session(Options::default());
            for (path, length, expected) in
                [("/hello.txt", 20 << 20, 413), ("/drop", 20 << 20, 413), ("/drop", 1 << 20, 200)]
            {
                let options = RequestOptions::with_body(sample(length).into());
                let stream = session.request(RequestParts::post(path), options).unwrap();
                let (status, said) = answer(stream).await;
                assert_eq!(status, expected, "{path}: {said}");
                assert!(!said.is_empty());
            }
            assert_eq!(text(&session, "/hello.txt").await, "hello, world", "the session is as it was");
        }
    });
}

#[test]
fn requests_after_the_last_one_nginx_takes_are_safe_to_make_on_another_session() {
    let Some(nginx) = nginx() else { return };
    system(async {
        for site in &nginx.strict {
            let (mut left, mut sessions) = (23, 0);
            while left > 0 {
                let session = site.session(Options::default());
                sessions += 1;
                let mut answered = 0;
                let streams: Vec<_> = (0..left).map(|_| get(&session, "/hello.txt")).collect();
                for mut stream in streams {
                    match stream.response().await {
                        Ok(head) => {
                            assert_eq!(head.status, 200);
                            assert_eq!(octets(&mut stream).await.0, b"hello, world");
                            answered += 1;
                        }
                        Err(error) => assert!(error.is_retry_safe(), "{error}"),
                    }
                }
                assert!((1..=5).contains(&answered), "{answered} on one session");
                left -= answered;
                if left > 0 {
                    // GOAWAY was heard: the call itself refuses more.
                    let late = session.send(http::Request::get("/hello.txt").body("").unwrap()).await;
                    let late = late.map(|_| ()).unwrap_err();
                    assert!(matches!(late, Error::Request(_)) && late.is_retry_safe(), "{late}");
                }
            }
            assert!(sessions >= 5, "{sessions}");
        }
    });
}
