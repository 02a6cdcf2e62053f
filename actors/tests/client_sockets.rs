//! The client over real sockets and other streams: TCP, TLS, Unix, tunnels, and servers of other people.

mod common;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Stage, config, frame, hello, run, run_paused, service};
use rustls_pki_types::PrivateKeyDer;
use stagedoor_actors::client::{
    AbortHandle, ClientSession, ConnectError, Connector, Error, Options, RequestError, RequestOptions,
    RequestParts, Scheme, SessionEnd, StreamError, Tls, WireObserver, connect,
};
use stagedoor_actors::session::SessionEvent;
use stagedoor_actors::{Host, ListenerConfig, Response, Service, TunnelTo};
use stagedoor_protocol::{ErrorCode, Fields, StreamId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};

async fn text_of(session: &ClientSession, path: &str) -> String {
    let request = http::Request::get(path).body(()).expect("a request");
    let response = session.send(request).await.expect("a response");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect_up_to(1 << 20).await.expect("a whole body");
    String::from_utf8(body.to_vec()).expect("text")
}

/// Serves `host` on a free port of `address` until the test is over.
async fn serve(host: &Rc<Host>, address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let host = Rc::clone(host);
    actix::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            host.spawn_session(stream, Some(peer));
        }
    });
    port
}

struct Certified {
    server: Arc<rustls::ServerConfig>,
    /// A PEM file of the authority; kept until the test is over.
    authority: std::path::PathBuf,
}

impl Drop for Certified {
    fn drop(&mut self) {
        std::fs::remove_file(&self.authority).ok();
    }
}

fn certified(names: &[&str]) -> Certified {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let unique = format!("stagedoor-client-{}-{:p}.pem", std::process::id(), Arc::as_ptr(&Arc::new(())));
    let authority = std::env::temp_dir().join(unique);
    std::fs::write(&authority, made.cert.pem()).expect("a file");
    Certified { server: Arc::new(server), authority }
}

fn tls_config(certified: &Certified) -> ListenerConfig {
    ListenerConfig { tls: Some(Arc::clone(&certified.server)), ..config() }
}

#[test]
fn h2c_over_tcp() {
    run(async {
        let stage = Stage::new(hello());
        let port = serve(&stage.host, "127.0.0.1").await;
        let session = connect(&format!("http://user@127.0.0.1:{port}/ignored"), Options::default()).unwrap();
        assert_eq!(text_of(&session, "/").await, "hello, world\n");
        let handle = session.handle().expect("it is up");
        assert_eq!(handle.peer.map(|peer| peer.port()), Some(port));
        assert!(handle.local.is_some() && !handle.is_encrypted());
        assert_eq!(handle.protocol, "h2c");
    });
}

#[test]
fn an_ipv6_address_in_brackets_and_a_name_with_two_families() {
    run(async {
        let stage = Stage::new(service(|request| {
            Response::text(request.head.authority().unwrap_or_default().to_owned()).into()
        }));
        // Where the machine has no IPv6 there is nothing to connect to.
        match TcpListener::bind("[::1]:0").await {
            Ok(probe) => {
                drop(probe);
                let port = serve(&stage.host, "::1").await;
                let session = connect(&format!("http://[::1]:{port}"), Options::default()).unwrap();
                assert_eq!(text_of(&session, "/").await, format!("[::1]:{port}"));
            }
            Err(error) => eprintln!("skipped the IPv6 half: {error}"),
        }
        // The name may have ::1 first, where nobody listens.
        let port = serve(&stage.host, "127.0.0.1").await;
        let session = connect(&format!("http://localhost:{port}"), Options::default()).unwrap();
        assert_eq!(text_of(&session, "/").await, format!("localhost:{port}"));
    });
}

#[test]
fn a_local_address_is_used() {
    run(async {
        let stage = Stage::new(service(|request| {
            Response::text(request.session.peer.map_or_else(String::new, |peer| peer.ip().to_string())).into()
        }));
        let port = serve(&stage.host, "127.0.0.1").await;
        let local: IpAddr = "127.0.0.7".parse().unwrap();
        let options = Options::with_connector(Connector::tcp_from(local));
        let session = connect(&format!("http://127.0.0.1:{port}"), options).unwrap();
        assert_eq!(text_of(&session, "/").await, "127.0.0.7");
    });
}

#[test]
fn a_unix_socket() {
    run(async {
        let stage = Stage::new(hello());
        let path = std::env::temp_dir().join(format!("stagedoor-client-{}.sock", std::process::id()));
        std::fs::remove_file(&path).ok();
        let listener = UnixListener::bind(&path).unwrap();
        let host = Rc::clone(&stage.host);
        actix::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                host.spawn_session(stream, None);
            }
        });
        let session = connect("http://service", Options::with_connector(Connector::unix(&path))).unwrap();
        assert_eq!(text_of(&session, "/").await, "hello, world\n");
        std::fs::remove_file(&path).ok();
    });
}

#[test]
fn tls_with_alpn_and_the_name_as_sni() {
    run(async {
        let certified = certified(&["localhost", "127.0.0.1"]);
        let stage = Stage::with(
            tls_config(&certified),
            service(|request| {
                let name = request.session.server_name.clone().unwrap_or_else(|| "none".to_owned());
                Response::text(format!("{} {name}", request.head.scheme().unwrap_or_default())).into()
            }),
        );
        let port = serve(&stage.host, "127.0.0.1").await;
        let options = || Options { tls: Tls::only_ca_file(&certified.authority), ..Options::default() };
        let session = connect(&format!("https://localhost:{port}"), options()).unwrap();
        assert_eq!(text_of(&session, "/").await, "https localhost");
        let handle = session.handle().unwrap();
        assert_eq!(
            (handle.protocol, handle.tls.as_ref().and_then(|tls| tls.alpn.as_deref())),
            ("h2", Some("h2"))
        );
        let by_address = connect(&format!("127.0.0.1:{port}"), options()).unwrap();
        assert_eq!(text_of(&by_address, "/").await, "https none", "an address is no SNI");
        let mut named = options();
        named.tls = named.tls.with_server_name("localhost");
        let session = connect(&format!("https://127.0.0.1:{port}"), named).unwrap();
        assert_eq!(text_of(&session, "/").await, "https localhost");
    });
}

/// Keeps what crossed.
#[derive(Default)]
struct Heard {
    sent: RefCell<Vec<u8>>,
    received: RefCell<Vec<u8>>,
}

impl WireObserver for Heard {
    fn sent(&self, octets: &[u8]) {
        self.sent.borrow_mut().extend_from_slice(octets);
    }

    fn received(&self, octets: &[u8]) {
        self.received.borrow_mut().extend_from_slice(octets);
    }
}

/// Types of the frames in `octets`, which end with a whole one.
fn kinds(mut octets: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some((head, rest)) = octets.split_first_chunk::<9>() {
        kinds.push(head[3]);
        octets = &rest[u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize..];
    }
    assert!(octets.is_empty(), "half a frame header");
    kinds
}

#[test]
fn an_observer_hears_the_frames_both_ways_above_tls() {
    run(async {
        let certified = certified(&["localhost"]);
        for config in [config(), tls_config(&certified)] {
            let scheme = if config.tls.is_some() { Scheme::Https } else { Scheme::Http };
            let stage = Stage::with(config, hello());
            let port = serve(&stage.host, "127.0.0.1").await;
            let heard = Rc::new(Heard::default());
            let tls = Tls::only_ca_file(&certified.authority);
            let wire: Rc<dyn WireObserver> = heard.clone();
            let options = Options { tls, scheme, wire: Some(wire), ..Options::default() };
            let session = connect(&format!("localhost:{port}"), options).expect("an authority");
            assert_eq!(text_of(&session, "/").await, "hello, world\n");
            session.close().await;
            let (sent, received) = (heard.sent.borrow(), heard.received.borrow());
            let sent = kinds(sent.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("a preface"));
            let received = kinds(&received);
            // SETTINGS first on either side (RFC 9113 §3.4), then the exchange, then GOAWAY.
            assert_eq!((sent[0], received[0]), (4, 4));
            assert!(sent.contains(&1) && received.contains(&1) && received.contains(&0));
            assert!(sent.contains(&7), "{sent:?}");
        }
    });
}

#[test]
fn a_certificate_nobody_vouches_for_is_a_typed_error() {
    run(async {
        let (ours, theirs) = (certified(&["localhost"]), certified(&["localhost"]));
        let stage = Stage::with(tls_config(&theirs), hello());
        let port = serve(&stage.host, "127.0.0.1").await;
        let options = Options { tls: Tls::only_ca_file(&ours.authority), ..Options::default() };
        let session = connect(&format!("https://localhost:{port}"), options).unwrap();
        let mut stream = session.request("/", RequestOptions::default()).unwrap();
        let error = session.ready().await.unwrap_err();
        assert!(matches!(&error, SessionEnd::Connect(ConnectError::Tls { .. })), "{error}");
        let error = stream.response().await.unwrap_err();
        let StreamError::Cancelled { cause: SessionEnd::Connect(_) } = &error else { panic!("{error}") };
        assert!(error.is_retry_safe());
        let later = session.request("/", RequestOptions::default()).unwrap_err();
        assert!(matches!(later, RequestError::Closed(SessionEnd::Connect(_))), "{later}");
    });
}

#[test]
fn a_file_without_certificates_is_named() {
    run(async {
        let empty = std::env::temp_dir().join(format!("stagedoor-client-empty-{}.pem", std::process::id()));
        std::fs::write(&empty, "nothing").unwrap();
        let stage = Stage::new(hello());
        let port = serve(&stage.host, "127.0.0.1").await;
        let options = Options { tls: Tls::only_ca_file(&empty), ..Options::default() };
        let error =
            connect(&format!("https://localhost:{port}"), options).unwrap().ready().await.unwrap_err();
        std::fs::remove_file(&empty).ok();
        assert!(error.to_string().contains("stagedoor-client-empty"), "{error}");
    });
}

#[test]
fn a_tls_server_without_h2_is_a_typed_error() {
    run(async {
        let certified = certified(&["localhost"]);
        for protocols in [vec![b"http/1.1".to_vec()], Vec::new()] {
            let mut server = rustls::ServerConfig::clone(&certified.server);
            server.alpn_protocols = protocols;
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            actix::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut seen = Vec::new();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    stream.read_to_end(&mut seen).await.ok();
                }
                assert!(seen.is_empty(), "not an octet of HTTP/2 is sent");
            });
            let options = Options { tls: Tls::only_ca_file(&certified.authority), ..Options::default() };
            let session = connect(&format!("https://localhost:{port}"), options).unwrap();
            let error = session.ready().await.unwrap_err();
            assert!(matches!(error, SessionEnd::Connect(ConnectError::NoHttp2 { .. })), "{error}");
        }
    });
}

#[test]
fn nobody_listens() {
    run(async {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let session = connect(&format!("http://127.0.0.1:{port}"), Options::default()).unwrap();
        let mut stream = session.request("/", RequestOptions::default()).unwrap();
        let error = stream.response().await.unwrap_err();
        let StreamError::Cancelled { cause: SessionEnd::Connect(ConnectError::Io { error, .. }) } = error
        else {
            panic!("{error}")
        };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_connection_has_to_come_up_in_time() {
    run_paused(async {
        let never = Connector::with(|_| std::future::pending());
        let options = Options { connect_timeout: Duration::from_secs(7), ..Options::with_connector(never) };
        let begun = tokio::time::Instant::now();
        let error = connect("http://example.com", options).unwrap().ready().await.unwrap_err();
        let SessionEnd::Connect(ConnectError::Timeout { after, .. }) = error else { panic!("{error}") };
        assert_eq!((after.as_secs(), begun.elapsed().as_secs()), (7, 7));
    });
}

#[test]
fn a_signal_ends_a_session_in_the_making_and_one_that_runs() {
    run(async {
        let abort = AbortHandle::new();
        let never = Connector::with(|_| std::future::pending());
        let options = Options { signal: Some(abort.signal()), ..Options::with_connector(never) };
        let session = connect("http://example.com", options.clone()).unwrap();
        let mut stream = session.request("/", RequestOptions::default()).unwrap();
        common::settle().await;
        abort.abort();
        assert!(matches!(stream.response().await, Err(StreamError::Aborted)));
        assert!(session.ready().await.is_err());
        assert!(matches!(connect("http://example.com", options), Err(ConnectError::GivenUp)));

        let (forever, dropped) = common::forever();
        let stage = Stage::new(forever);
        let port = serve(&stage.host, "127.0.0.1").await;
        let abort = AbortHandle::new();
        let options = Options { signal: Some(abort.signal()), ..Options::default() };
        let session = connect(&format!("http://127.0.0.1:{port}"), options).unwrap();
        let mut stream = session.request("/", RequestOptions::default()).unwrap();
        stream.opened().await.unwrap();
        text_is_waiting(&stage).await;
        abort.abort();
        assert!(matches!(stream.response().await, Err(StreamError::Aborted)));
        session.ended().await;
        stage.ended().await;
        assert_eq!(dropped.get(), 1);
    });
}

/// Until the server runs the handler.
async fn text_is_waiting(stage: &Stage) {
    while stage.cells.streams_active[stagedoor_metrics::Protocol::H2c].get() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn what_cannot_be_connected_to_is_refused_by_the_call() {
    run(async {
        let error = connect("ftp://example.com", Options::default()).unwrap_err();
        assert!(matches!(&error, ConnectError::UnsupportedScheme(scheme) if scheme == "ftp"), "{error}");
        let error = connect("http://", Options::default()).unwrap_err();
        assert!(matches!(error, ConnectError::InvalidAuthority { .. }), "{error}");
    });
}

/// A TLS server of one connection that says `frames` after its SETTINGS, and answers each request with `status`.
async fn tls_script(certified: &Certified, frames: Vec<u8>, status: &'static str) -> u16 {
    let mut server = rustls::ServerConfig::clone(&certified.server);
    server.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    actix::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut stream = acceptor.accept(stream).await.expect("TLS");
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.expect("the preface");
        stream.write_all(&[frame(4, 0, 0, &[]), frames].concat()).await.expect("the client reads");
        let mut header = [0; 9];
        while stream.read_exact(&mut header).await.is_ok() {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.expect("a whole frame");
            let id = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            let answer = match (header[3], header[4]) {
                (4, 0) => frame(4, 1, 0, &[]),
                (1, _) => frame(1, 0x5, id, &[&[0x08, 3][..], status.as_bytes()].concat()),
                _ => continue,
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
    port
}

fn origins(list: &[&str]) -> Vec<u8> {
    let entries = list.iter().flat_map(|origin| {
        let length = u16::try_from(origin.len()).expect("short").to_be_bytes();
        [&length[..], origin.as_bytes()].concat()
    });
    frame(0xc, 0, 0, &entries.collect::<Vec<u8>>())
}

#[test]
fn an_origin_set_grows_by_origin_frames_and_shrinks_by_421() {
    run(async {
        let certified = certified(&["localhost"]);
        let said = [
            origins(&["https://a.example", "https://b.example"]),
            // ALTSVC of an origin, and one that is cut off in the middle: harmless.
            frame(0xa, 0, 0, b"\0\x11https://a.exampleh3=\":443\""),
            frame(0xa, 0, 0, b"\0\xffhttps"),
        ];
        let port = tls_script(&certified, said.concat(), "421").await;
        let options = Options { tls: Tls::only_ca_file(&certified.authority), ..Options::default() };
        let session = connect(&format!("https://localhost:{port}"), options).unwrap();
        let own = format!("https://localhost:{port}");
        assert_eq!(session.origin_set(), Some(vec![own.clone()]));
        session.ready().await.unwrap();
        let mut events = session.handle().unwrap().events();
        let (mut origins_heard, mut services) = (0, Vec::new());
        while origins_heard == 0 || services.is_empty() {
            match events.next().await.expect("the session lives") {
                SessionEvent::Origin { origins } => origins_heard = origins.len(),
                SessionEvent::AltSvc { stream, origin, value } => services.push((stream, origin, value)),
                _ => {}
            }
        }
        assert_eq!(origins_heard, 2);
        assert_eq!(
            services,
            [(StreamId::CONNECTION, "https://a.example".to_owned(), "h3=\":443\"".to_owned())]
        );
        let all = [own.clone(), "https://a.example".to_owned(), "https://b.example".to_owned()];
        assert_eq!(session.origin_set().as_deref(), Some(&all[..]));
        let elsewhere = RequestParts::get("/").with_authority("a.example");
        let mut stream = session.request(elsewhere, RequestOptions::default()).unwrap();
        assert_eq!(stream.response().await.unwrap().status, 421);
        assert_eq!(session.origin_set(), Some(vec![own, "https://b.example".to_owned()]));
        session.close().await;
        assert_eq!(session.origin_set(), None);
    });
}

#[test]
fn more_origins_than_allowed_end_the_session() {
    run(async {
        let certified = certified(&["localhost"]);
        let said = origins(&["https://a.example", "https://b.example", "https://c.example"]);
        let port = tls_script(&certified, said, "200").await;
        let tls = Tls::only_ca_file(&certified.authority);
        let options = Options { tls, max_origins: 3, ..Options::default() };
        let session = connect(&format!("https://localhost:{port}"), options).unwrap();
        let end = session.ended().await;
        assert_eq!(end.code(), Some(ErrorCode::ENHANCE_YOUR_CALM), "{end}");
        assert!(end.to_string().contains("too many origins"), "{end}");
    });
}

#[test]
fn origins_in_cleartext_are_not_believed() {
    run(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let session = connect("http://example.com", Options::with_connector(Connector::over(ours))).unwrap();
        theirs.write_all(&[frame(4, 0, 0, &[]), origins(&["https://a.example"])].concat()).await.unwrap();
        session.offers_connect_protocol().await.unwrap();
        common::settle().await;
        assert_eq!(session.origin_set(), None);
        assert!(session.takes_requests());
    });
}

/// Joins both ends of a tunnel to a TCP connection of the authority it asks for; refuses `nowhere:1`.
fn proxy() -> Rc<dyn Service> {
    service(|request| {
        let Some(TunnelTo::Authority(authority)) = request.tunnel() else {
            return Response::text("no tunnel").into();
        };
        let authority = authority.to_owned();
        if authority == "nowhere:1" {
            return Response::new(502).into();
        }
        let reply = request.accept_tunnel(Fields::new(), |mut tunnel| async move {
            if let Ok(mut upstream) = TcpStream::connect(authority).await {
                tokio::io::copy_bidirectional(&mut tunnel, &mut upstream).await.ok();
            }
        });
        reply.expect("a tunnel was asked for")
    })
}

#[test]
fn http2_inside_a_tunnel_of_http2() {
    run(async {
        let stage = Stage::new(hello());
        let port = serve(&stage.host, "127.0.0.1").await;
        let outer = Stage::new(proxy());
        let proxy_port = serve(&outer.host, "127.0.0.1").await;
        let to_proxy = connect(&format!("http://127.0.0.1:{proxy_port}"), Options::default()).unwrap();
        let through = to_proxy.clone();
        let connector = Connector::with(move |target| {
            let through = through.clone();
            async move {
                let to = RequestParts::connect(format!("{}:{}", target.host, target.port));
                let tunnel = through.connect_tunnel(to).await.map_err(std::io::Error::other)?;
                let io: Box<dyn stagedoor_actors::transport::Io> = Box::new(tunnel);
                Ok(io)
            }
        });
        let inner = connect(&format!("http://127.0.0.1:{port}"), Options::with_connector(connector)).unwrap();
        assert_eq!(text_of(&inner, "/").await, "hello, world\n");
        inner.close().await;
        assert_eq!(text_of(&to_proxy, "/").await, "no tunnel", "the session outside lives on");
        let refused = to_proxy.connect_tunnel(RequestParts::connect("nowhere:1")).await.unwrap_err();
        assert!(matches!(refused, Error::Stream(StreamError::TunnelRefused(502))), "{refused}");
    });
}

#[test]
fn an_extended_connect_carries_octets_both_ways_and_ends_each_way_alone() {
    run(async {
        let stage = Stage::new(service(|request| {
            let Some(TunnelTo::Protocol("websocket")) = request.tunnel() else {
                return Response::new(501).into();
            };
            let reply = request.accept_tunnel(Fields::new(), |mut tunnel| async move {
                let mut said = Vec::new();
                tunnel.read_to_end(&mut said).await.expect("the client ends its side");
                tunnel.write_all(&said).await.expect("the client still reads");
            });
            reply.expect("a tunnel was asked for")
        }));
        let port = serve(&stage.host, "127.0.0.1").await;
        let session = connect(&format!("http://127.0.0.1:{port}"), Options::default()).unwrap();
        let parts = RequestParts::extended_connect("websocket", "/chat");
        let mut tunnel = session.connect_tunnel(parts).await.unwrap();
        assert_eq!(tunnel.head().status, 200);
        let said = vec![7; 300_000];
        tunnel.write_all(&said[..200_000]).await.unwrap();
        tunnel.write_all(&said[200_000..]).await.unwrap();
        tunnel.shutdown().await.unwrap();
        assert!(tunnel.write_all(b"more").await.is_err());
        let mut heard = Vec::new();
        tunnel.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, said);
        let other = RequestParts::extended_connect("other", "/");
        let refused = session.connect_tunnel(other).await.unwrap_err();
        assert!(matches!(refused, Error::Stream(StreamError::TunnelRefused(501))), "{refused}");
    });
}

/// What a server of the crate `h2` does with a request: its method, its body, trailers.
async fn h2_server(io: tokio::io::DuplexStream) {
    let mut server = h2::server::Builder::new().handshake::<_, Bytes>(io).await.expect("a handshake");
    while let Some(accepted) = server.accept().await {
        let Ok((request, mut respond)) = accepted else { return };
        actix::spawn(async move {
            let mut body = request.into_body();
            let mut octets = 0;
            while let Some(chunk) = body.data().await {
                let chunk = chunk.expect("a whole body");
                octets += chunk.len();
                body.flow_control().release_capacity(chunk.len()).expect("capacity");
            }
            let trailers = body.trailers().await.expect("good trailers");
            let mut send = respond.send_response(http::Response::new(()), false).expect("a response");
            send.send_data(Bytes::from(format!("{octets}")), false).expect("data");
            send.send_trailers(trailers.unwrap_or_default()).expect("trailers");
        });
    }
}

#[test]
fn a_server_of_the_crate_h2() {
    run(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        actix::spawn(h2_server(theirs));
        let session = connect("http://example.com", Options::with_connector(Connector::over(ours))).unwrap();
        let mut streams: Vec<_> = (0..20)
            .map(|_| session.request(RequestParts::post("/"), RequestOptions::default()).expect("a request"))
            .collect();
        for stream in &mut streams {
            stream.send_data(vec![1; 100_000].into()).await.unwrap();
            stream.send_trailers([("x-sum", "1")].into_iter().collect()).await.unwrap();
        }
        for mut stream in streams {
            assert_eq!(stream.response().await.unwrap().status, 200);
            assert_eq!(stream.chunk().await.unwrap().unwrap(), "100000");
            assert!(stream.chunk().await.is_none());
            assert_eq!(stream.trailers().unwrap().get("x-sum"), Some(&b"1"[..]));
            stream.closed().await.unwrap();
        }
    });
}

#[derive(Clone)]
struct Here;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, task: F) {
        actix::spawn(task);
    }
}

#[test]
fn a_server_of_hyper() {
    run(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        actix::spawn(async move {
            let echo = |request: hyper::Request<hyper::body::Incoming>| async move {
                Ok::<_, std::convert::Infallible>(hyper::Response::new(request.into_body()))
            };
            let io = hyper_util::rt::TokioIo::new(theirs);
            let service = hyper::service::service_fn(echo);
            hyper::server::conn::http2::Builder::new(Here).serve_connection(io, service).await.ok();
        });
        let session = connect("http://example.com", Options::with_connector(Connector::over(ours))).unwrap();
        let whole = vec![3; 1_000_000];
        let request = http::Request::post("/").body(whole.clone()).unwrap();
        let response = session.send(request).await.unwrap();
        let back = response.into_body().collect_up_to(2_000_000).await.unwrap();
        assert_eq!(back, whole);
        session.close().await;
    });
}
