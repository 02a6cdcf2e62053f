//! The pictures of the live page in `docs/images/`: taken of a gateway under traffic of every kind, when asked to.
//!
//! `STAGEDOOR_SCREENSHOTS=1 cargo test --test peers pictures -- --nocapture` writes them. Without the variable there is
//! nothing to do here: how a page looks is judged by people.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use crate::support::Gateway;
use crate::support::browser::Browser;
use crate::support::client::{Client, Speaks, Upload, fed, next_octets, nothing};
use crate::support::configured::serving;
use crate::support::nobody::nobody;
use crate::support::peers::find;
use crate::support::raw::{HEADERS, Raw};

/// Updates of the page before the first picture, so that its curves have a shape; one comes each second.
const UPDATES: u32 = 40;

#[test]
fn pictures_of_the_live_page() {
    if std::env::var_os("STAGEDOOR_SCREENSHOTS").is_none_or(|asked| asked != "1") {
        return;
    }
    let Some(chromium) = find("chromium") else { return };
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    std::fs::create_dir_all(&images).expect("a directory");
    let gateway = Gateway::start();
    let front = before(&gateway);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut traffic = Traffic::default();
        traffic.start(&gateway).await;
        traffic.pass(&front).await;
        let taken = tokio::time::timeout(Duration::from_secs(180), async {
            take(&gateway, &chromium, &images).await;
            take_gateway(&front, &chromium, &images).await;
        });
        tokio::select! {
            taken = taken => taken.expect("in time"),
            () = traffic.run() => unreachable!("traffic goes on"),
        }
    });
}

/// A gateway before that one, with upstreams that are up and one endpoint that is not.
fn before(origin: &Gateway) -> Gateway {
    let gone = nobody();
    let plain = origin.plain;
    serving(&format!(
        "[[upstream]]\nname = \"api\"\nprotocol = \"h2c\"\nendpoints = [\"http://{plain}\", \"http://{gone}\"]\n\
         health = {{ path = \"/bytes/1\", every = \"1s\", timeout = \"1s\", rise = 1, fall = 1 }}\n\
         [[upstream]]\nname = \"pages\"\nprotocol = \"http/1.1\"\nendpoints = [\"http://{plain}\"]\n\
         [[route]]\nname = \"pages\"\nmatch = {{ path = \"/bytes/{{count}}\" }}\n\
         proxy = {{ upstream = \"pages\" }}\n\
         [[route]]\nname = \"api\"\nproxy = {{ upstream = \"api\" }}\n"
    ))
}

async fn take_gateway(front: &Gateway, chromium: &Path, images: &Path) {
    let mut browser = Browser::start(chromium).await;
    browser.size(1440, 900, false).await;
    browser.open(&format!("http://{}/#view=gateway", front.admin)).await;
    browser.sees("document.querySelectorAll('#gateway .down').length > 0").await;
    // A rate needs two looks.
    let told = "[...document.querySelectorAll('#gateway table')].some((table) => \
        /a second/.test(table.tHead.textContent) && table.tBodies[0].rows.length > 1 && \
        !/\\u2013/.test(table.tBodies[0].textContent))";
    browser.sees(told).await;
    browser.picture(&images.join("live-gateway.png")).await;
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    browser.close().await;
}

async fn take(gateway: &Gateway, chromium: &Path, images: &Path) {
    let mut browser = Browser::start(chromium).await;
    browser.size(1440, 900, false).await;
    browser.open(&format!("http://{}/#sort=-wait", gateway.admin)).await;
    let curve = |points| format!("document.querySelector('polyline').points.numberOfItems >= {points}");
    // Half a minute is the most that one look may take.
    for points in [UPDATES / 2, UPDATES] {
        browser.sees(&curve(points)).await;
    }
    browser.picture(&images.join("live.png")).await;
    browser.dark(true).await;
    browser.picture(&images.join("live-dark.png")).await;
    browser.dark(false).await;

    // The session with the most streams has the most to show.
    let busiest = "[...document.querySelectorAll('#rows tr')].sort((a, b) => \
        b.querySelector('.c-open').textContent - a.querySelector('.c-open').textContent)[0].querySelector('a')";
    browser.evaluate(&format!("{busiest}.click()")).await;
    browser.sees("document.querySelectorAll('#panel [data-stream]').length > 3").await;
    browser.sees("/B\\/s/.test(document.querySelector('#panel .facts').textContent)").await;
    browser.picture(&images.join("live-session.png")).await;

    browser.evaluate("document.querySelector('#panel .shut').click()").await;
    browser.size(390, 844, true).await;
    browser.sees("document.querySelectorAll('#rows tr').length > 3").await;
    browser.picture(&images.join("live-phone.png")).await;
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    browser.close().await;
}

/// Peers of every kind: quick and slow, patient and stuck.
#[derive(Default)]
struct Traffic {
    tasks: JoinSet<()>,
    /// Kept open: peers that say nothing more, connections that rest, and the ends of bodies that never come.
    silent: Vec<Raw>,
    resting: Vec<Client>,
    uploads: Vec<UnboundedSender<Frame<Bytes>>>,
}

impl Traffic {
    async fn start(&mut self, gateway: &Gateway) {
        // Downloads at many rates, on every protocol.
        for (place, rate) in ["3k", "40k", "250k", "900k", "3M", "8k", "120k", "15k"].into_iter().enumerate()
        {
            for speaks in [Speaks::ALL[place % 4], Speaks::H2, Speaks::H2c] {
                let client = Client::connect(gateway, speaks).await;
                self.download(client, format!("/drip?bytes=900M&rate={rate}"), Duration::ZERO);
            }
        }
        // Sessions with streams of many kinds, some read slowly.
        for speaks in [Speaks::H2, Speaks::H2c, Speaks::H2, Speaks::H2] {
            let shared = Client::connect_with(gateway, speaks, 128 << 10).await;
            for target in ["/drip?bytes=900M&rate=400k", "/events", "/delay/300", "/drip?bytes=900M&rate=2k"]
            {
                self.download(shared.share(), target.to_owned(), Duration::ZERO);
            }
            for rest in [30, 120] {
                let target = "/bytes/900000000".to_owned();
                self.download(shared.share(), target, Duration::from_millis(rest));
            }
            let (sender, body) = fed();
            let _ = sender.send(Frame::data(Bytes::from_static(&[b'a'; 4096])));
            self.uploads.push(sender);
            self.upload(shared.share(), "/sha256", body);
            self.again(shared, "/headers", 15);
        }
        // Many small requests, one after another, and now and then a big one.
        for (place, speaks) in Speaks::ALL.into_iter().enumerate() {
            self.again(Client::connect(gateway, speaks).await, "/bytes/3000", 10 + place as u64);
            self.again(Client::connect(gateway, speaks).await, "/delay/0.05", 8);
            self.again(Client::connect(gateway, speaks).await, "/bytes/2000000", 230 * (place as u64 + 1));
        }
        // A body that does not come; an answer nobody reads: the peer's stream window, its connection's, its socket.
        for speaks in [Speaks::H2, Speaks::Http1] {
            let (sender, body) = fed();
            self.uploads.push(sender);
            let client = Client::connect(gateway, speaks).await;
            self.upload(client, "/count", body);
        }
        for (window, streams, connection) in [
            (0, 1, 0),
            (20_000, 2, 0),
            (1 << 20, 3, 0),
            (1 << 20, 1, 0),
            (1 << 28, 1, 1 << 28),
            (1 << 28, 2, 1 << 28),
        ] {
            let mut peer = Raw::connect(gateway.plain, window);
            if connection > 0 {
                peer.window_update(0, connection);
            }
            for stream in 0..streams {
                peer.request(2 * stream + 1, "GET", "/bytes/50000000", true);
            }
            // On the way SETTINGS are acknowledged, which is owed.
            peer.next_of(HEADERS);
            self.silent.push(peer);
        }
        // Nothing at all.
        for speaks in Speaks::ALL {
            self.resting.push(Client::connect(gateway, speaks).await);
        }
    }

    /// Requests that are sent on.
    async fn pass(&mut self, front: &Gateway) {
        for speaks in Speaks::ALL {
            self.again(Client::connect(front, speaks).await, "/bytes/3000", 12);
            self.again(Client::connect(front, speaks).await, "/delay/0.05", 9);
            self.download(
                Client::connect(front, speaks).await,
                "/drip?bytes=900M&rate=200k".to_owned(),
                Duration::ZERO,
            );
        }
    }

    /// Reads an answer, with a `rest` after each piece.
    fn download(&mut self, mut client: Client, target: String, rest: Duration) {
        self.tasks.spawn(async move {
            let request = client.request("GET", &target).body(nothing()).expect("a request");
            let Ok(answer) = client.send(request).await else { return };
            let mut body = answer.into_body();
            while let Some(Ok(_)) = next_octets(&mut body).await {
                if !rest.is_zero() {
                    tokio::time::sleep(rest).await;
                }
            }
        });
    }

    fn upload(&mut self, mut client: Client, target: &str, body: Upload) {
        let request = client.request("POST", target).body(body).expect("a request");
        self.tasks.spawn(async move {
            let Ok(answer) = client.send(request).await else { return };
            let mut body = answer.into_body();
            while let Some(Ok(_)) = next_octets(&mut body).await {}
        });
    }

    /// Asks for the same again and again, faster and slower by turns, so that curves have a shape.
    fn again(&mut self, mut client: Client, target: &'static str, least_milliseconds: u64) {
        self.tasks.spawn(async move {
            for turn in 0u64.. {
                client.get(target).await;
                let slower = (turn % 97).abs_diff(48) * least_milliseconds / 12;
                tokio::time::sleep(Duration::from_millis(least_milliseconds + slower)).await;
            }
        });
    }

    /// Goes on until it is dropped.
    async fn run(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        std::future::pending().await
    }
}
