//! The crate `h2` on the other side, always there: what the tests of bodies and trailers in `actors/tests` leave out.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use stagedoor::client::{Event, Options, RequestError, RequestOptions, RequestParts, StreamError};
use stagedoor::{ListenerConfig, Metrics, ServerBuilder};
use stagedoor_protocol::ErrorCode;
use tokio::net::{TcpListener, TcpStream};

use crate::node::library::Stagehand;
use crate::ours::{Site, answer, get, octets, system};

/// Pushes with `/page`, resets `/reset`, says GOAWAY after `/last`, answers everything else.
async fn serve(listener: TcpListener) {
    let (io, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::Builder::new().handshake::<_, Bytes>(io).await.unwrap();
    while let Some(accepted) = connection.accept().await {
        let Ok((request, mut respond)) = accepted else { return };
        match request.uri().path() {
            "/reset" => respond.send_reset(h2::Reason::ENHANCE_YOUR_CALM),
            path => {
                if path == "/page" {
                    let uri = request.uri().to_string().replace("/page", "/style.css");
                    let promise = http::Request::get(uri).body(()).unwrap();
                    let mut pushed = respond.push_request(promise).expect("pushes are allowed");
                    let mut body = pushed.send_response(http::Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"css"), true).unwrap();
                }
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"body"), true).unwrap();
                if path == "/last" {
                    connection.graceful_shutdown();
                }
            }
        }
    }
}

#[test]
fn a_server_of_h2_pushes_resets_and_goes_away() {
    system(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Site { port: listener.local_addr().unwrap().port(), certificate: None };
        let server = actix_rt::spawn(serve(listener));
        let session = site.session(Options { accept_push: true, ..Options::default() });
        let mut page = get(&session, "/page");
        let Some(Event::Push(mut push)) = page.next_event().await else { panic!("a push") };
        assert_eq!(push.head.path(), Some("/style.css"));
        assert_eq!(octets(&mut push.stream).await.0, b"css");
        assert_eq!(octets(&mut page).await.0, b"body");
        let error = get(&session, "/reset").response().await.unwrap_err();
        assert!(matches!(error, StreamError::Reset(ErrorCode::ENHANCE_YOUR_CALM)), "{error}");
        let tunnel = session.connect_tunnel(RequestParts::extended_connect("echo", "/")).await;
        assert!(tunnel.is_err(), "it offers no extended CONNECT");
        assert_eq!(answer(get(&session, "/last")).await, (200, "body".to_owned()));
        assert_eq!(session.ended().await.code(), Some(ErrorCode::NO_ERROR));
        let late = session.request("/", RequestOptions::default()).unwrap_err();
        assert!(matches!(late, RequestError::Closing | RequestError::Closed(_)), "{late}");
        assert!(late.is_retry_safe());
        server.await.unwrap();
    });
}

#[test]
fn our_graceful_close_is_understood_by_a_server_of_h2() {
    system(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Site { port: listener.local_addr().unwrap().port(), certificate: None };
        let server = actix_rt::spawn(serve(listener));
        let session = site.session(Options::default());
        assert_eq!(answer(get(&session, "/")).await, (200, "body".to_owned()));
        assert_eq!(session.close().await.code(), Some(ErrorCode::NO_ERROR));
        server.await.unwrap();
    });
}

#[test]
fn a_client_of_h2_takes_what_a_handler_pushes() {
    system(async {
        let config = ListenerConfig::new("stage", "127.0.0.1:0".parse().unwrap());
        let server = ServerBuilder::new(Metrics::new("stagedoor"), 1)
            .listen(config, Arc::new(|| Rc::new(Stagehand)), false)
            .start()
            .await
            .unwrap();
        let address = server.addresses()[0].1.tcp().unwrap();
        let io = TcpStream::connect(address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (mut sender, connection) = builder.enable_push(true).handshake::<_, Bytes>(io).await.unwrap();
        actix_rt::spawn(async move { connection.await.ok() });
        let request = http::Request::get(format!("http://{address}/page")).body(()).unwrap();
        let (mut response, _) = sender.send_request(request, true).unwrap();
        let mut pushes = response.push_promises();
        let whole = async |mut body: h2::RecvStream| {
            let mut octets = Vec::new();
            while let Some(chunk) = body.data().await {
                let chunk = chunk.unwrap();
                body.flow_control().release_capacity(chunk.len()).unwrap();
                octets.extend_from_slice(&chunk);
            }
            octets
        };
        for (path, status, length) in [("/style.css", 200, 3), ("/big", 200, 300_000)] {
            let (head, pushed) = pushes.push_promise().await.unwrap().unwrap().into_parts();
            assert_eq!((head.method(), head.uri().path()), (&http::Method::GET, path));
            let pushed = pushed.await.unwrap();
            assert_eq!(pushed.status(), status);
            assert_eq!(whole(pushed.into_body()).await.len(), length);
        }
        assert_eq!(whole(response.await.unwrap().into_body()).await, b"2 4 6");
        server.stop().await;
    });
}
