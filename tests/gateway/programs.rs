//! Other people's programs against the gateway: curl, nghttp, h2load.

use crate::support::client::Client;
use crate::support::exposition::Scrape;

use crate::support::peers::{find, output, stdout};
use crate::support::{Gateway, run, sha256};

#[test]
fn curl_speaks_all_three() {
    let Some(curl) = find("curl") else { return };
    let gateway = Gateway::start();
    let ca = gateway.process.ca_pem();
    let ca = ca.to_str().unwrap();
    let public = format!("https://localhost:{}", gateway.public.port());
    let plain = format!("http://{}", gateway.plain);
    let upload = gateway.process.state().join("upload");
    std::fs::write(&upload, vec![b'a'; 2_000_000]).unwrap();
    let upload = format!("@{}", upload.display());
    for (flag, site, version) in [
        ("--http2", &public, "2"),
        ("--http1.1", &public, "1.1"),
        ("--http2-prior-knowledge", &plain, "2"),
        ("--http1.1", &plain, "1.1"),
    ] {
        let curl_of = |args: &[&str]| {
            stdout(
                &curl,
                &[&["-sS", "--max-time", "30", "--noproxy", "*", "-4", "--cacert", ca, flag], args].concat(),
            )
        };
        let url = |path: &str| format!("{site}{path}");
        assert_eq!(
            curl_of(&["-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url("/")]),
            format!("{version} 200")
        );
        assert_eq!(curl_of(&["--data-binary", "hello", &url("/echo")]), "hello");
        assert_eq!(curl_of(&["-r", "0-3", &url("/bytes/1000000")]), "ABCD");
        assert_eq!(
            curl_of(&["-o", "/dev/null", "-w", "%{size_download}", &url("/bytes/10485760")]),
            "10485760"
        );
        // Large enough for curl to say `expect: 100-continue` on HTTP/1.1.
        let digest = curl_of(&["--data-binary", &upload, &url("/sha256")]);
        assert_eq!(digest.trim_end(), sha256(&[b'a'; 2_000_000]));
        let trailers = curl_of(&["-i", "-H", "te: trailers", &url("/trailers")]);
        assert!(trailers.contains("x-octets: 42"), "{trailers}");
        assert!(curl_of(&["-I", &url("/bytes/7")]).contains("content-length: 7"));
        let refused = ["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "x"];
        assert_eq!(curl_of(&[&refused[..], &[&url("/reject")]].concat()), "413");
    }
    // Only the development authority vouches for it.
    let stranger = output(&curl, &["-sS", "--max-time", "30", "--noproxy", "*", "-4", &format!("{public}/")]);
    assert_eq!(stranger.status.code(), Some(60), "{}", String::from_utf8_lossy(&stranger.stderr));
}

#[test]
fn nghttp_sees_a_clean_session() {
    let Some(nghttp) = find("nghttp") else { return };
    let gateway = Gateway::start();
    let sites = [format!("http://{}", gateway.plain), format!("https://localhost:{}", gateway.public.port())];
    for site in sites {
        let url = format!("{site}/bytes/100000");
        let log = stdout(&nghttp, &["-nv", "--no-dep", "-t", "30", &url, &url]);
        assert!(log.contains(":status: 200"), "{log}");
        assert!(log.contains("SETTINGS_NO_RFC7540_PRIORITIES(0x09):1") || log.contains("(0x09):1"), "{log}");
        assert!(!log.contains("recv RST_STREAM") && !log.contains("[ERROR]"), "{log}");
    }
}

#[test]
fn h2load_loses_nothing() {
    let Some(h2load) = find("h2load") else { return };
    let gateway = Gateway::start();
    let sites = [format!("http://{}", gateway.plain), format!("https://localhost:{}", gateway.public.port())];
    for site in sites {
        for (path, requests) in [("/bytes/13", "20000"), ("/bytes/100000", "500")] {
            let url = format!("{site}{path}");
            let report = stdout(&h2load, &["-n", requests, "-c", "10", "-m", "50", &url]);
            let expected = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
            assert!(report.contains(&expected), "{report}");
        }
    }
    let url = format!("http://{}/bytes/13", gateway.plain);
    let report = stdout(&h2load, &["--h1", "-n", "5000", "-c", "10", &url]);
    assert!(report.contains("5000 succeeded, 0 failed, 0 errored"), "{report}");
    run(async {
        let scrape = Scrape::read(Client::admin(&gateway).await.get("/metrics").await.text());
        assert_eq!(scrape.sum("stagedoor_requests_total", &[("route", "demo"), ("code", "200")]), 46_000.0);
        assert_eq!(scrape.sum("stagedoor_actor_panics_total", &[]), 0.0);
    });
}
