//! Chromium opens the demo page over TLS and runs its script.

use crate::support::Gateway;
use crate::support::peers::{find, stdout};

#[test]
fn a_browser_sees_its_own_session() {
    let Some(chromium) = find("chromium") else { return };
    // One worker: Chromium opens spare connections, and its session may be the second's otherwise.
    let gateway = Gateway::start_with(&["--workers", "1"]);
    let profile = tempfile::tempdir().unwrap();
    let page = stdout(
        &chromium,
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            // Who vouches for the certificate is tested with curl; the browser has no store of ours.
            "--ignore-certificate-errors",
            &format!("--user-data-dir={}", profile.path().display()),
            "--virtual-time-budget=5000",
            "--dump-dom",
            &format!("https://localhost:{}/", gateway.public.port()),
        ],
    );
    assert!(page.contains("Your session"), "{page}");
    // The script has asked /session and put the numbers in: over h2, with a session id of ours.
    let text: String =
        page.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text).collect();
    for part in ["h2", "public", "open", "0-"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}
