//! Debian's Chromium without a screen, driven over the DevTools protocol: one page, which a test opens, looks at,
//! clicks in and takes pictures of.
//!
//! Knows nothing of any page of ours. Waiting happens inside the page, where each change is seen (a MutationObserver),
//! never by asking again and again. Whatever the page complains of (exceptions, the console, a violated policy, a
//! failed request) is kept for the test to look at.

use std::net::SocketAddr;
use std::path::Path;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::peers::Running;

/// How long a page may take to show something, in milliseconds. Below the patience of a test, so that what was waited
/// for is named.
const IN_PAGE_MILLISECONDS: u32 = 30_000;

/// A browser with one page. It ends when it is dropped.
pub(crate) struct Browser {
    socket: WebSocketStream<TcpStream>,
    /// The DevTools session that is attached to the page; empty before.
    page: String,
    sent: u64,
    loads: u64,
    complaints: Vec<String>,
    /// Before its profile: the process goes first.
    running: Running,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with a profile of its own and attaches to its page.
    pub(crate) async fn start(chromium: &Path) -> Self {
        Self::start_with(chromium, &[]).await
    }

    /// The same with more flags.
    pub(crate) async fn start_with(chromium: &Path, more: &[&str]) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let profile_flag = format!("--user-data-dir={}", profile.path().display());
        let mut flags = vec![
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--remote-debugging-port=0",
            &profile_flag,
        ];
        flags.extend(more);
        flags.push("about:blank");
        let running = Running::start(chromium, &flags);
        let line = running.line_said(|line| line.starts_with("DevTools listening on ws://")).await;
        let url = line.split_whitespace().last().expect("an address");
        let authority = url.split('/').nth(2).expect("an authority");
        let address: SocketAddr = authority.parse().expect("an address of this machine");
        let tcp = TcpStream::connect(address).await.expect("DevTools listens");
        let (socket, _) = tokio_tungstenite::client_async(url, tcp).await.expect("a WebSocket");
        let mut browser = Self {
            socket,
            page: String::new(),
            sent: 0,
            loads: 0,
            complaints: Vec::new(),
            running,
            _profile: profile,
        };
        browser.attach().await;
        browser
    }

    async fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attached = self
            .call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}))
            .await;
        attached["sessionId"].as_str().expect("a session").clone_into(&mut self.page);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(domain, json!({})).await;
        }
    }

    /// Opens `url` and waits until it has loaded.
    pub(crate) async fn open(&mut self, url: &str) {
        let loads = self.loads;
        let opened = self.call("Page.navigate", json!({"url": url})).await;
        assert!(opened["errorText"].is_null(), "{url}: {}", opened["errorText"]);
        self.loaded_after(loads).await;
    }

    /// Loads the page anew and waits until it has loaded.
    pub(crate) async fn reload(&mut self) {
        let loads = self.loads;
        self.call("Page.reload", json!({})).await;
        self.loaded_after(loads).await;
    }

    async fn loaded_after(&mut self, loads: u64) {
        while self.loads == loads {
            let message = self.receive().await;
            self.note(&message);
        }
    }

    /// The value of an expression; of a promise, what comes of it.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", parameters).await;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(thrown["exception"]["description"].as_str().unwrap_or("thrown").to_owned()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Waits until an expression is true of the page, and gives its value.
    ///
    /// # Panics
    /// After half a minute, with what the page shows then.
    pub(crate) async fn sees(&mut self, expression: &str) -> Value {
        let watch = format!(
            "new Promise((done, fail) => {{
                const ask = () => {{ try {{ return ({expression}); }} catch {{ return undefined; }} }};
                const first = ask();
                if (first) return done(first);
                const observer = new MutationObserver(() => {{
                    const seen = ask();
                    if (seen) {{ observer.disconnect(); clearTimeout(late); done(seen); }}
                }});
                observer.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }});
                const give_up = () => {{ observer.disconnect(); fail(new Error('not seen in time')); }};
                const late = setTimeout(give_up, {IN_PAGE_MILLISECONDS});
            }})"
        );
        match self.try_evaluate(&watch).await {
            Ok(seen) => seen,
            Err(error) => {
                let text = self.evaluate("document.body.innerText").await;
                panic!(
                    "{expression}: {error}\n{}\ncomplaints: {:#?}",
                    text.as_str().unwrap_or_default(),
                    self.complaints
                );
            }
        }
    }

    /// Waits for an element that can be clicked, and clicks in its middle as a mouse does.
    pub(crate) async fn click(&mut self, selector: &str) {
        let middle = format!(
            "(() => {{
                const node = document.querySelector({selector:?});
                if (!node || node.disabled) return undefined;
                node.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = node.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
                return node.contains(document.elementFromPoint(x, y)) && {{ x, y }};
            }})()"
        );
        let mut at = self.sees(&middle).await;
        at["button"] = json!("left");
        at["clickCount"] = json!(1);
        for kind in ["mousePressed", "mouseReleased"] {
            at["type"] = json!(kind);
            self.call("Input.dispatchMouseEvent", at.clone()).await;
        }
    }

    /// Waits for an element, gives it the keyboard, and presses Enter.
    pub(crate) async fn enter(&mut self, selector: &str) {
        let focus = format!(
            "(() => {{ const node = document.querySelector({selector:?}); node?.focus(); return node !== null; }})()"
        );
        self.sees(&focus).await;
        let key = json!({"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"});
        for kind in ["keyDown", "keyUp"] {
            let mut event = key.clone();
            event["type"] = json!(kind);
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Writes into an element that takes text, in place of what it holds, and presses Enter.
    pub(crate) async fn write(&mut self, selector: &str, text: &str) {
        let choose = format!(
            "(() => {{
                const node = document.querySelector({selector:?});
                node?.focus();
                node?.select();
                return node !== null;
            }})()"
        );
        self.sees(&choose).await;
        self.call("Input.insertText", json!({"text": text})).await;
        self.enter(selector).await;
    }

    /// The size of the window in CSS pixels; a phone's has a touch screen and scrollbars that lie over the page.
    pub(crate) async fn size(&mut self, width: u32, height: u32, phone: bool) {
        let scale = if phone { 2 } else { 1 };
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Whether the system it runs on prefers dark pages.
    pub(crate) async fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// A picture of the window, as a PNG file.
    pub(crate) async fn picture(&mut self, file: &Path) {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        let octets = from_base64(taken["data"].as_str().expect("a picture"));
        std::fs::write(file, octets).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// What the page complained of since it was opened: exceptions, errors of the console, requests that failed,
    /// violations of its policy.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Ends it in good order, so that it leaves nothing behind in its profile.
    pub(crate) async fn close(mut self) {
        self.page.clear();
        self.call("Browser.close", json!({})).await;
        let running = self.running;
        tokio::task::spawn_blocking(move || running.finish()).await.expect("it ends well");
    }

    /// A command and its result.
    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let id = self.sent;
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if !self.page.is_empty() {
            command["sessionId"] = json!(self.page);
        }
        let sent = self.socket.send(Message::text(command.to_string())).await;
        sent.unwrap_or_else(|error| panic!("{method}: {error}"));
        loop {
            let mut message = self.receive().await;
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    async fn receive(&mut self) -> Value {
        loop {
            let message = self.socket.next().await.expect("the browser runs").expect("a message");
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    /// Remembers an event that matters.
    fn note(&mut self, event: &Value) {
        let of = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.loads += 1,
            "Runtime.exceptionThrown" => {
                self.complaints.push(format!("exception: {}", of["exceptionDetails"]))
            }
            "Runtime.consoleAPICalled" if of["type"] == "error" || of["type"] == "warning" => {
                self.complaints.push(format!("console: {}", of["args"]));
            }
            "Log.entryAdded" if of["entry"]["level"] == "error" || of["entry"]["level"] == "warning" => {
                self.complaints.push(format!("log: {} {}", of["entry"]["text"], of["entry"]["url"]));
            }
            _ => {}
        }
    }
}

/// The octets of a text in base64 (RFC 4648 §4).
fn from_base64(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("{letter} is no letter of base64"),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push((bits >> held) as u8);
        }
    }
    octets
}
