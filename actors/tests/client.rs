//! The client against our own server: requests, bodies both ways, informational heads, aborts, endings.

mod common;

use std::rc::Rc;

use bytes::Bytes;
use common::{Stage, hello, run, service};
use stagedoor_actors::client::{Connector, Options, RequestOptions, RequestParts, connect};
use stagedoor_actors::{Body, Host, Response, Service};

/// A client of a session of `host`, over a pipe.
fn client_of(host: &Rc<Host>) -> stagedoor_actors::client::ClientSession {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    host.spawn_session(theirs, None);
    connect("http://example.com", Options::with_connector(Connector::over(ours))).expect("an authority")
}

#[test]
fn a_get_brings_head_and_body() {
    run(async {
        let stage = Stage::new(hello());
        let session = client_of(&stage.host);
        let mut stream = session.request(RequestParts::get("/"), RequestOptions::default()).unwrap();
        let head = stream.response().await.unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.fields.get("content-length"), Some(&b"13"[..]));
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "hello, world\n");
        assert!(stream.chunk().await.is_none());
        stream.closed().await.unwrap();
        assert_eq!(stream.id().unwrap().get(), 1);
    });
}

/// Sends the body of the request back.
fn echo() -> Rc<dyn Service> {
    service(|request| Response::new(200).with_body(Body::stream(request.body)).into())
}

#[test]
fn a_request_with_a_body_is_echoed() {
    run(async {
        let stage = Stage::new(echo());
        let session = client_of(&stage.host);
        let options = RequestOptions::with_body(Body::Full(Bytes::from_static(b"over there")));
        let mut stream = session.request(RequestParts::post("/"), options).unwrap();
        assert_eq!(stream.response().await.unwrap().status, 200);
        let mut body = stream.into_body();
        assert_eq!(body.collect_up_to(100).await.unwrap(), "over there");
    });
}
