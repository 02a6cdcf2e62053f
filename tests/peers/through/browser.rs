//! Chromium opens a WebSocket through the gateway: by extended CONNECT on its HTTP/2 session (RFC 8441), by upgrade where
//! a listener speaks HTTP/1.1 alone.

use serde_json::json;

use super::scrape;
use crate::support::browser::Browser;
use crate::support::configured::Configured;
use crate::support::peers::find;
use crate::support::{Gateway, run};

/// What the page does: three messages, each answered before the next, then a close.
const TALK: &str = "new Promise((done, fail) => {
    const socket = new WebSocket(`wss://${location.host}/ws`), heard = [];
    const sent = ['hello', 'h\u{e4}llo', 'x'.repeat(100000)];
    socket.onopen = () => socket.send(sent[0]);
    socket.onmessage = ({ data }) => {
        heard.push(data);
        if (heard.length < sent.length) socket.send(sent[heard.length]);
        else socket.close(1000, 'enough');
    };
    socket.onerror = () => fail(new Error('it failed'));
    socket.onclose = ({ code, wasClean }) => done({ code, wasClean,
        same: JSON.stringify(heard) === JSON.stringify(sent) });
})";

/// A page, and the echo of the demo behind it at `/ws`.
fn gateway(demo: &Gateway, upstream: &str, listener: &str) -> Gateway {
    let rest = format!(
        r#"
        [[upstream]]
        name = "site"
        endpoints = ["http://{}"]
        protocol = "{upstream}"
        [[route]]
        name = "socket"
        match = {{ path = "/ws" }}
        proxy = {{ upstream = "site" }}
        [[route]]
        name = "page"
        [route.respond]
        status = 200
        body = "<!doctype html><title>a page</title>"
        headers = {{ content-type = "text/html" }}
        "#,
        demo.plain
    );
    Configured { public: listener.to_owned(), ..Configured::default() }.start(&rest)
}

#[test]
fn a_page_talks_to_a_websocket_over_http2_and_over_http1() {
    let Some(chromium) = find("chromium") else { return };
    let demo = Gateway::start();
    for (listener, method) in [("", "CONNECT"), ("protocols = [\"http/1.1\"]", "GET")] {
        for upstream in ["http/1.1", "h2c"] {
            let gateway = gateway(&demo, upstream, listener);
            run(async {
                // Who vouches for the certificate is tested with curl; the browser has no store of ours.
                let mut browser = Browser::start_with(&chromium, &["--ignore-certificate-errors"]).await;
                browser.open(&format!("https://localhost:{}/", gateway.public.port())).await;
                assert_eq!(browser.evaluate("document.title").await, "a page");
                let talked = browser.evaluate(TALK).await;
                assert_eq!(talked, json!({ "code": 1000, "wasClean": true, "same": true }), "{upstream}");
                browser.close().await;
                let opened = [("route", "socket"), ("method", method)];
                let opened = scrape(&gateway).await.sum("stagedoor_requests_total", &opened);
                assert_eq!(opened, 1.0, "{method} to {upstream}");
            });
        }
    }
}
