//! Clients that behave. Each checks what it was given: one that is not served fails the soak.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use h2::client::SendRequest;
use http::Request;
use stagedoor_protocol::frame::{flag, kind};

use super::Target;
use super::dice::Dice;
use super::http1::Http1;
use super::link::{Carrier, Leaving, Link, connect};
use crate::octets::octet_at;
use crate::wire::{self, CANCEL, MAX_WINDOW};

/// A few at once on each listener ask for a file, so that every worker opens what it opens once and keeps: the root of its
/// files.
pub(super) async fn greetings(target: &Target) -> Result<()> {
    let mut links = Vec::new();
    // In turn, one listener would get every other worker, and the other one the rest.
    for carrier in [Carrier::Plain, Carrier::Tls] {
        for _ in 0..GREETINGS {
            let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
            let stream = link.ask("GET", "/files/", true).await?;
            let answer = link.answer(stream).await?;
            ensure!(answer.good, "/files/: {answer:?}");
            links.push(link);
        }
    }
    Ok(())
}

/// Several downloads at once on one session, by the crate `h2`.
pub(super) async fn downloads(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let sizes: Vec<usize> = (0..dice.between(1, 8)).map(|_| dice.between(0, 300_000) as usize).collect();
    with_h2(target, carrier, async |session| {
        let all = sizes.iter().map(|&octets| async move {
            let body = exchange(session.clone(), "GET", &format!("/bytes/{octets}"), Bytes::new()).await?;
            ensure!(body.len() == octets, "{} octets, not {octets}", body.len());
            let right = body.iter().enumerate().all(|(place, octet)| *octet == octet_at(place));
            ensure!(right, "other octets");
            Ok(())
        });
        try_join_all(all).await.map(drop)
    })
    .await
}

/// Uploads that come back, by the crate `h2`.
pub(super) async fn echoes(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let sizes: Vec<usize> = (0..dice.between(1, 4)).map(|_| dice.between(0, 200_000) as usize).collect();
    with_h2(target, carrier, async |session| {
        let all = sizes.iter().map(|&octets| async move {
            let sent: Bytes = (0..octets).map(octet_at).collect();
            let body = exchange(session.clone(), "POST", "/echo", sent.clone()).await?;
            ensure!(body == sent, "{} octets came back of {octets}", body.len());
            Ok(())
        });
        try_join_all(all).await.map(drop)
    })
    .await
}

/// A few paths one after another: files, fields, trailers, hints, a handler that refuses a body.
pub(super) async fn visits(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
    let paths = ["/", "/files/", "/headers", "/trailers", "/hints", "/session", "/drip?bytes=100&rate=10k"];
    for _ in 0..dice.between(2, 6) {
        let path = paths[dice.between(0, paths.len() as u64 - 1) as usize];
        let stream = link.ask("GET", path, true).await?;
        let answer = link.answer(stream).await.with_context(|| path.to_owned())?;
        ensure!(answer.good && !answer.body.is_empty(), "{path}: {answer:?}");
    }
    let (stream, octets) = link.request("POST", "/reject", false);
    link.send(&octets).await?;
    let answer = link.answer(stream).await?;
    ensure!(!answer.good && answer.body.starts_with(b"no body"), "/reject: {answer:?}");
    link.served(13).await
}

/// Requests one after another over HTTP/1.1.
pub(super) async fn http1(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut client = open_http1(target, carrier).await?;
    for _ in 0..dice.between(1, 5) {
        let octets = dice.between(0, 100_000) as usize;
        let body = client.get(&format!("/bytes/{octets}")).await?;
        ensure!(body.len() == octets, "{} octets, not {octets}", body.len());
    }
    client.finish().await;
    Ok(())
}

/// The first events of a stream that has no end; then it is not wanted any more.
pub(super) async fn events(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
    let stream = link.ask("GET", "/events", true).await?;
    wait_for(&mut link, stream, kind::DATA).await?;
    if dice.coin() {
        link.send(&wire::reset(stream, CANCEL)).await?;
        link.served(13).await?;
    }
    Ok(())
}

/// A WebSocket that says hello: extended CONNECT (RFC 8441). It ends in good order, or with its connection.
pub(super) async fn websocket(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
    let (scheme, authority) = (link.scheme(), link.authority());
    let fields = [wire::field(":protocol", "websocket"), wire::field("sec-websocket-version", "13")];
    let block = [wire::request("CONNECT", scheme, authority, "/ws"), fields.concat()].concat();
    let stream = 1; // the first of this session
    link.send(&wire::headers(stream, &block, false)).await?;
    link.send(&wire::frame(kind::DATA, 0, stream, HELLO)).await?;
    let answer = wait_for(&mut link, stream, kind::DATA).await?;
    ensure!(answer.payload == HELLO_BACK, "{answer:?}");
    if dice.coin() {
        link.send(&wire::frame(kind::DATA, flag::END_STREAM, stream, CLOSE)).await?;
        link.answer(stream).await?;
    }
    Ok(())
}

/// The same over HTTP/1.1: an upgrade.
pub(super) async fn upgrade(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut client = open_http1(target, carrier).await?;
    let fields = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                  sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let head = client.exchange("GET /ws HTTP/1.1", fields).await?;
    ensure!(head.starts_with("http/1.1 101 "), "{head}");
    client.send(HELLO).await?;
    ensure!(client.octets(HELLO_BACK.len()).await? == HELLO_BACK);
    if dice.coin() {
        client.send(CLOSE).await?;
        client.octets(4).await?;
    }
    Ok(())
}

/// A session that drains itself: GOAWAY while answers are on their way; they come whole, then the gateway closes.
pub(super) async fn goodbye(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
    let octets = dice.between(100, 1000);
    let stream = link.ask("GET", &format!("/drip?bytes={octets}&rate=10k"), true).await?;
    link.send(&wire::frame(kind::GOAWAY, 0, 0, &[0; 8])).await?;
    let answer = link.answer(stream).await?;
    ensure!(answer.good && answer.body.len() as u64 == octets, "{} octets, not {octets}", answer.body.len());
    link.ended().await
}

/// Handlers that panic, before and after the head; their session serves on.
pub(super) async fn panics(target: &Target, carrier: Carrier, dice: &mut Dice) -> Result<()> {
    const INTERNAL_ERROR: u32 = 2;
    let mut link = Link::open(target, carrier, MAX_WINDOW, Leaving::Quietly).await?;
    let stream = link.ask("GET", "/panic", true).await?;
    let answer = link.answer(stream).await?;
    ensure!(!answer.good && answer.reset.is_none(), "no 500: {answer:?}");
    let after = dice.between(0, 10_000);
    let stream = link.ask("GET", &format!("/panic?after={after}"), true).await?;
    let answer = link.answer(stream).await?;
    ensure!(answer.reset == Some(INTERNAL_ERROR), "panicked after {after}: {:?}", answer.reset);
    link.served(13).await
}

/// Somebody at the admin address, who looks at everything.
pub(super) async fn operator(target: &Target) -> Result<()> {
    let tcp = tokio::net::TcpStream::connect(target.admin).await?;
    let mut client = Http1::new(Box::new(tcp), target.admin.to_string());
    for path in ["/api/sessions", "/metrics", "/livez", "/readyz"] {
        ensure!(!client.get(path).await?.is_empty(), "{path} is empty");
    }
    Ok(())
}

/// HTTP/1.1 to the gateway.
pub(super) async fn open_http1(target: &Target, carrier: Carrier) -> Result<Http1> {
    let io = connect(target, carrier, false, Leaving::Quietly).await?;
    Ok(Http1::new(io, "localhost".to_owned()))
}

/// Reads until a frame of this kind and stream.
pub(super) async fn wait_for(link: &mut Link, stream: u32, kind: u8) -> Result<wire::Frame> {
    loop {
        let frame = link.next().await?.context("closed early")?;
        if frame.stream == stream && frame.kind == kind && !(kind == kind::DATA && frame.payload.is_empty()) {
            return Ok(frame);
        }
        if matches!(frame.kind, kind::RST_STREAM | kind::GOAWAY) {
            bail!("instead of a frame of kind {kind}: {frame:?}");
        }
    }
}

/// A session by the crate `h2`, closed in good order behind `requests`.
async fn with_h2(
    target: &Target,
    carrier: Carrier,
    requests: impl AsyncFnOnce(&SendRequest<Bytes>) -> Result<()>,
) -> Result<()> {
    let io = connect(target, carrier, true, Leaving::Quietly).await?;
    let (session, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .handshake(io)
        .await?;
    let asked = async {
        let asked = requests(&session).await;
        drop(session);
        asked
    };
    // It ends when the last handle has gone.
    let (asked, ended) = tokio::join!(asked, connection);
    asked?;
    ended.context("the connection")
}

async fn exchange(session: SendRequest<Bytes>, method: &str, path: &str, upload: Bytes) -> Result<Bytes> {
    let request = Request::builder().method(method).uri(format!("http://localhost{path}")).body(())?;
    let mut session = session.ready().await?;
    let (response, mut body) = session.send_request(request, method == "GET")?;
    if method != "GET" {
        body.send_data(upload, true)?;
    }
    let response = response.await?;
    ensure!(response.status() == 200, "{path}: {}", response.status());
    let (mut body, mut octets) = (response.into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        octets.extend_from_slice(&piece);
    }
    Ok(octets.into())
}

/// Sessions that are spread over the workers, so that each gets one.
const GREETINGS: usize = 16;
/// A text frame that says hello, masked by nothing but zeros (RFC 6455 §5.2), and the same back.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
const HELLO_BACK: &[u8] = b"\x81\x05hello";
/// Close, 1000.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
