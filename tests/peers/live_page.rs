//! The live page in Chromium, on a gateway that serves: what a person sees and does there.
//!
//! The rules of the API are tested in `tests/gateway/`; here only what needs a browser.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use stagedoor::Response;

use crate::support::browser::Browser;
use crate::support::client::{Client, Failed, Speaks, next_octets, nothing};
use crate::support::observed::Server;
use crate::support::peers::find;
use crate::support::played::Played;
use crate::support::raw::{DATA, GOAWAY, HEADERS, RST_STREAM, Raw};
use crate::support::{Gateway, run};

/// The one session of the cleartext listener: its row.
const ROW: &str = "[...document.querySelectorAll('#rows tr')]\
    .find((row) => row.querySelector('.c-listener').textContent === 'plain')";

/// Opens the page in a browser as wide as a desk's.
async fn open(gateway: &Gateway, chromium: &Path) -> Browser {
    open_at(gateway.admin, "", chromium).await
}

/// The same at an address, and at a place of the page.
async fn open_at(admin: SocketAddr, place: &str, chromium: &Path) -> Browser {
    let mut browser = Browser::start(chromium).await;
    browser.size(1440, 900, false).await;
    browser.open(&format!("http://{admin}/{place}")).await;
    browser.sees("document.documentElement.dataset.live === 'live'").await;
    browser
}

/// The id of the session in [`ROW`], once it is there.
async fn id_of_row(browser: &mut Browser) -> String {
    let id = browser.sees(&format!("{ROW}?.dataset.id")).await;
    id.as_str().expect("an id").to_owned()
}

/// Opens the session in its panel, by the keyboard.
async fn open_session(browser: &mut Browser, id: &str) {
    browser.enter(&format!("#rows tr[data-id='{id}'] a")).await;
    browser.sees(&format!("document.querySelector('#panel h2').textContent === '{id}'")).await;
}

/// Whether one of the elements has this text and no other.
fn one_says(selector: &str, text: &str) -> String {
    format!("[...document.querySelectorAll({selector:?})].some((node) => node.textContent === {text:?})")
}

async fn text_of(browser: &mut Browser, expression: &str) -> String {
    match browser.evaluate(expression).await {
        Value::String(text) => text,
        other => panic!("{expression} is {other}"),
    }
}

#[test]
fn a_session_appears_moves_and_is_closed_by_its_button() {
    let Some(chromium) = find("chromium") else { return };
    let gateway = Gateway::start();
    run(async {
        let mut browser = open(&gateway, &chromium).await;
        assert_eq!(browser.evaluate(&format!("{ROW} === undefined")).await, true, "nobody is there yet");

        let mut client = Client::connect(&gateway, Speaks::H2c).await;
        let request = client.request("GET", "/drip?bytes=900M&rate=200k").body(nothing()).unwrap();
        let mut body = client.send(request).await.expect("a head").into_body();
        let reader = tokio::spawn(async move {
            while let Some(octets) = next_octets(&mut body).await {
                octets?;
            }
            Ok::<(), Failed>(())
        });

        let id = id_of_row(&mut browser).await;
        let out = format!("{ROW}.querySelector('.c-out').textContent");
        let before = text_of(&mut browser, &out).await;
        browser.sees(&format!("{out} !== '{before}'")).await;
        browser.sees(&format!("/[1-9].*B\\/s$/.test({ROW}.querySelector('.c-outrate').textContent)")).await;

        open_session(&mut browser, &id).await;
        browser.sees("document.querySelector('#panel [data-stream] .path').textContent === '/drip'").await;
        browser.sees(&one_says("#recorder .kind", "DATA")).await;
        browser.click("#watch").await;
        browser.sees(&one_says("#frames .kind", "DATA")).await;

        browser.click("#close-now").await;
        browser.sees("document.querySelector('#confirm').open").await;
        assert!(!reader.is_finished(), "the button asks before it does");
        browser.click("#confirm-yes").await;
        browser.sees(&format!("!document.querySelector('#confirm').open && {ROW} === undefined")).await;
        browser.sees("!document.querySelector('#ended').hidden").await;
        let cut = reader.await.expect("the reader runs").expect_err("the download was cut off");
        assert!(!cut.to_string().is_empty());

        assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
        browser.close().await;
    });
}

#[test]
fn a_hostile_path_is_text_and_its_stream_is_reset_by_its_button() {
    let Some(chromium) = find("chromium") else { return };
    let gateway = Gateway::start();
    run(async {
        // Answers meet a shut window, so their streams stay.
        let mut peer = Raw::connect(gateway.plain, 0);
        peer.request(1, "GET", "/drip?bytes=900M&rate=1M", true);
        peer.next_of(HEADERS);

        let mut browser = open(&gateway, &chromium).await;
        let id = id_of_row(&mut browser).await;
        open_session(&mut browser, &id).await;
        browser
            .sees("document.querySelector('[data-stream=\"1\"] .on').textContent === 'on stream window'")
            .await;
        browser.click("#watch").await;
        browser.sees("document.querySelector('#watched').textContent.startsWith('listening')").await;
        peer.request(3, "GET", "/<img/src=x/onerror=document.title='owned'>\u{202e}fdp", true);
        // What would turn the line around is written out.
        let shown = r"GET /<img/src=x/onerror=document.title='owned'>\u{202e}fdp";
        browser.sees(&one_says("#frames summary", shown)).await;
        assert_eq!(browser.evaluate("document.images.length").await, 0);
        assert_eq!(browser.evaluate("document.title").await, "stagedoor");

        browser.click("[data-reset='1']").await;
        browser.click("#confirm-yes").await;
        browser.sees("!document.querySelector('[data-stream=\"1\"]')").await;
        let reset = peer.next_of(RST_STREAM);
        assert_eq!((reset.stream, reset.number(0)), (1, 8), "CANCEL");
        assert_eq!(browser.evaluate(&format!("{ROW}.dataset.id")).await, id.as_str(), "the session lives on");

        browser.click("#close-graceful").await;
        browser.click("#confirm-yes").await;
        let goaway = tokio::task::spawn_blocking(move || {
            let goaway = peer.next_of(GOAWAY);
            // It drains until we close, or until it hears nothing any more.
            drop(peer);
            goaway
        });
        assert_eq!(goaway.await.expect("a GOAWAY").number(4), 0, "NO_ERROR");
        browser.sees(&format!("{ROW} === undefined")).await;

        assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
        browser.close().await;
    });
}

#[test]
fn a_filter_is_the_servers_and_a_bad_one_is_explained_beside_its_box() {
    let Some(chromium) = find("chromium") else { return };
    let gateway = Gateway::start();
    run(async {
        let mut peer = Raw::connect(gateway.plain, 65_535);
        peer.request(1, "GET", "/events", true);
        peer.next_of(DATA);

        let mut browser = open(&gateway, &chromium).await;
        id_of_row(&mut browser).await;
        browser.write("#filter", "listener = public").await;
        browser.sees("!document.querySelector('#empty').hidden").await;
        browser.write("#filter", "listener = plain").await;
        id_of_row(&mut browser).await;
        assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());

        browser.write("#filter", "colour = red").await;
        let problem = browser.sees("document.querySelector('#problem').textContent").await;
        assert!(problem.as_str().expect("words").contains("colour"), "{problem}");
        id_of_row(&mut browser).await;

        // A reload comes back to the filter that held.
        browser.reload().await;
        browser.sees("document.querySelector('#filter').value === 'listener = plain'").await;
        browser.close().await;
    });
}

#[test]
fn what_runs_behind_is_seen_with_its_troubles_and_fits_a_phone() {
    let Some(chromium) = find("chromium") else { return };
    let server = Server::start_with(Some(Arc::new(Played::default())), |_| Response::text("hello").into());
    run(async {
        let mut browser = open_at(server.admin, "#view=gateway", &chromium).await;
        browser.sees(&one_says("#gateway td", "http://10.0.0.7:8080")).await;
        browser.sees(&one_says("#gateway td.down", "ejected, 12 s more")).await;
        browser.sees(&one_says("#gateway td", "example.org, *.example.org")).await;
        browser.sees(&one_says("#gateway .errors", "error[config::syntax]: no <b>bold</b>")).await;
        // An endpoint that is ejected, and a load that failed.
        browser.sees(&one_says("nav a.alarm", "Gateway (2)")).await;
        browser.sees(&one_says("#gateway dd", "/etc/stagedoor/stagedoor.toml")).await;
        if let Some(dir) = std::env::var_os("STAGEDOOR_LOOK") {
            browser.picture(&Path::new(&dir).join("gateway.png")).await;
        }
        browser.dark(true).await;
        browser.size(390, 844, true).await;
        browser.sees("document.documentElement.scrollWidth <= innerWidth").await;
        browser.sees("getComputedStyle(document.querySelector('#gateway .minor')).display === 'none'").await;
        if let Some(dir) = std::env::var_os("STAGEDOOR_LOOK") {
            browser.picture(&Path::new(&dir).join("gateway-phone.png")).await;
        }
        assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
        browser.close().await;
    });
}
