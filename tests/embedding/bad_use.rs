//! Mistakes of who embeds: each is a typed error whose words name the place, nothing hangs, and nothing is left behind.

use std::net::TcpListener;
use std::time::Duration;

use stagedoor::{Error, Listen, RouteError, Server, StartError, Tls, Windows, get};
use tokio::time::timeout;

use crate::site::hello;
use crate::support::client::Client;
use crate::support::peers::Certificate;
use crate::support::run;

/// The error a server does not start by, which comes soon.
async fn refused(server: Server) -> Error {
    let started = timeout(Duration::from_secs(20), server.start()).await.expect("it does not hang");
    started.err().expect("it cannot be")
}

#[test]
fn a_server_without_a_listener() {
    run(async {
        let error = refused(hello()).await;
        assert!(matches!(error, Error::NoListener), "{error:?}");
        assert!(error.to_string().contains(".listen("), "it says what to do: {error}");
        let run = timeout(Duration::from_secs(20), hello().run()).await.expect("it does not hang");
        assert!(matches!(run, Err(Error::NoListener)));
    });
}

#[test]
fn two_listeners_of_one_port() {
    run(async {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        drop(socket);
        let error = refused(hello().listen(address.as_str()).listen(address.as_str())).await;
        assert!(matches!(&error, Error::SameAddress(same) if *same == address), "{error:?}");
        assert!(error.to_string().contains(&address), "{error}");
        let error = refused(hello().listen(Listen::plain(&address).and(&address))).await;
        assert!(matches!(error, Error::SameAddress(_)), "one listener is no better: {error:?}");
    });
}

#[test]
fn a_port_that_somebody_else_has() {
    run(async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = free.local_addr().unwrap();
        drop(free);
        let error = refused(hello().listen(other).listen(Listen::from(address).name("second"))).await;
        let Error::Start(StartError::Bind(bind)) = &error else { panic!("{error:?}") };
        assert_eq!((bind.listener.as_str(), bind.address.to_string()), ("second", address.to_string()));
        assert_eq!(bind.source.kind(), std::io::ErrorKind::AddrInUse);
        let words = error.to_string();
        assert!(words.contains("second") && words.contains(&address.to_string()), "{words}");
        // Nothing runs: what was bound first is free again.
        drop(TcpListener::bind(other).expect("it was let go"));
        drop(taken);
        let server = hello().listen(address).start().await.expect("it can be now");
        assert_eq!(Client::plain(address, true).await.get("/").await.status, 200);
        server.stop().await;
    });
}

#[test]
fn a_text_that_is_no_address() {
    run(async {
        for text in
            ["", "localhost", "127.0.0.1", "example.org:80", "127.0.0.1:99999", "localhost:http", ":80"]
        {
            let error = refused(hello().listen(text)).await;
            assert!(matches!(&error, Error::Address(named) if named == text), "{error:?}");
            let words = error.to_string();
            assert!(words.contains(&format!("{text:?}")) && words.contains("127.0.0.1:8080"), "{words}");
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = refused(hello().listen(Listen::inherited("handed", file))).await;
        assert!(matches!(error, Error::Address(_)), "{error:?}");
        assert!(error.to_string().contains("handed"), "{error}");
    });
}

#[test]
fn patterns_that_are_none() {
    run(async {
        let page = || get(|| async { "page" });
        for (patterns, wrong) in [
            (vec!["users"], "users"),
            (vec![""], ""),
            (vec!["/users/{id"], "/users/{id"),
            (vec!["/{*rest}/more"], "/{*rest}/more"),
            (vec!["/users/{id}", "/users/{name}"], "/users/{name}"),
            (vec!["/same", "/same"], "/same"),
        ] {
            let server =
                patterns.iter().fold(Server::new(), |server, pattern| server.route(*pattern, page()));
            let error = refused(server.listen("127.0.0.1:0")).await;
            let Error::Route(RouteError::Pattern { pattern, reason }) = &error else { panic!("{error:?}") };
            assert_eq!(pattern, wrong);
            let words = error.to_string();
            assert!(words.contains(&format!("{wrong:?}")) && words.contains(reason.as_str()), "{words}");
        }
    });
}

#[test]
fn files_that_are_no_certificate_or_no_key() {
    run(async {
        let good = Certificate::new();
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (missing, empty) = (place.path().join("missing.pem"), write("empty.pem", ""));
        let broken = write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
        let other = Certificate::new();
        for (certificate, key, named) in [
            (&missing, &good.key, "missing.pem"),
            (&empty, &good.key, "empty.pem"),
            (&broken, &good.key, "broken.pem"),
            (&good.certificate, &missing, "missing.pem"),
            (&good.certificate, &empty, "empty.pem"),
            (&good.certificate, &good.certificate, "certificate.pem"),
            (&good.certificate, &other.key, "key.pem"),
        ] {
            let error = refused(hello().listen(("127.0.0.1:0", Tls::pem(certificate, key)))).await;
            assert!(matches!(error, Error::Tls(_)), "{error:?}");
            assert!(error.to_string().contains(named), "{named} is not named: {error}");
        }
    });
}

#[test]
fn two_listeners_of_one_name() {
    run(async {
        let web = || Listen::plain("127.0.0.1:0").name("web");
        let error = refused(hello().listen(web()).listen(web())).await;
        assert!(matches!(&error, Error::SameName(name) if name == "web"), "{error:?}");
        assert!(error.to_string().contains("\"web\""), "{error}");
        // One that somebody named as another is named by default.
        let error =
            refused(hello().listen("127.0.0.1:0").listen(Listen::plain("127.0.0.1:0").name("http"))).await;
        assert!(matches!(error, Error::SameName(_)), "{error:?}");
    });
}

#[test]
fn options_out_of_range() {
    run(async {
        let listen = |change: fn(&mut stagedoor::ListenerConfig)| {
            hello().listen(Listen::plain("127.0.0.1:0").name("shop").configure(change))
        };
        let windows = {
            let mut windows = Windows::default();
            windows.stream.start = windows.stream.max + 1;
            windows
        };
        for (server, option) in [
            (listen(|config| config.limits.sessions = 0), "limits.sessions"),
            (listen(|config| config.limits.streams_per_session = 0), "limits.streams_per_session"),
            (listen(|config| config.timeouts.header = Duration::ZERO), "timeouts.header"),
            (listen(|config| config.options.max_frame_size = 1), "options.max_frame_size"),
            (listen(|config| (config.http1, config.http2) = (false, false)), "http2"),
            (listen(|_| ()).windows(windows), "windows.stream"),
        ] {
            let error = refused(server).await;
            let Error::Start(StartError::Config(config)) = &error else { panic!("{error:?}") };
            assert_eq!((config.listener.as_str(), config.option), ("shop", option));
            let words = error.to_string();
            assert!(words.contains("shop") && words.contains(option), "{words}");
        }
    });
}
