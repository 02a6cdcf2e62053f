//! curl before the gateway in every way it can come: HTTP/2 over TLS and in cleartext, HTTP/1.1, a Unix socket, after a
//! PROXY header, with a certificate of its own. Behind it nginx, and the demo of another gateway.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::before;
use super::nginx::Nginx;
use crate::ours::sample;
use crate::support::Gateway;
use crate::support::configured::Configured;
use crate::support::nobody::nobody;
use crate::support::peers::{find, output, stdout};

/// curl, and what every run of it is told.
struct Curl(PathBuf);

impl Curl {
    fn find() -> Option<Self> {
        find("curl").map(Self)
    }

    /// Its output; it must end well.
    fn run(&self, args: &[&str]) -> String {
        stdout(&self.0, &[&["-sS", "--max-time", "30", "--noproxy", "*"], args].concat())
    }

    /// How it fails.
    fn fails(&self, args: &[&str]) -> Option<i32> {
        output(&self.0, &[&["-sS", "--max-time", "30", "--noproxy", "*"], args].concat()).status.code()
    }
}

/// The demo behind everything, of which `/headers` tells what arrived.
fn routed(demo: &Gateway) -> String {
    format!(
        "[[upstream]]\nname = \"site\"\nendpoints = [\"http://{}\"]\n\
         [[route]]\nname = \"all\"\nproxy = {{ upstream = \"site\" }}",
        demo.plain
    )
}

/// The value of a field as `/headers` tells it.
fn field(told: &str, name: &str) -> Option<String> {
    let told: serde_json::Value =
        serde_json::from_str(told).unwrap_or_else(|error| panic!("{error} in {told}"));
    let fields = told["fields"].as_array().expect("fields");
    fields.iter().find(|one| one[0] == name).map(|one| one[1].as_str().expect("text").to_owned())
}

#[test]
fn curl_downloads_resumes_and_uploads_whatever_it_speaks() {
    let (Some(curl), Some(nginx)) = (Curl::find(), Nginx::start()) else { return };
    let gateway = nginx.gateway();
    let (ca, place) = (gateway.process.ca_pem(), tempfile::tempdir().unwrap());
    let ca = ca.to_str().unwrap();
    let big = sample(20 << 20);
    let (source, partial) = (place.path().join("source"), place.path().join("partial"));
    std::fs::write(&source, &big).unwrap();
    let (source, partial) = (source.to_str().unwrap(), partial.to_str().unwrap());
    let (public, plain) =
        (format!("https://localhost:{}", gateway.public.port()), format!("http://{}", gateway.plain));
    for (number, (flag, site, version)) in [
        ("--http2", &public, "2"),
        ("--http1.1", &public, "1.1"),
        ("--http2-prior-knowledge", &plain, "2"),
        ("--http1.1", &plain, "1.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let curl = |args: &[&str]| curl.run(&[&["--cacert", ca, flag], args].concat());
        let url = |path: &str| format!("{site}{path}");
        let seen = curl(&["-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url("/hello.txt")]);
        assert_eq!(seen, format!("{version} 200"));

        // The first half, then what is missing.
        std::fs::write(partial, &big[..big.len() / 2]).unwrap();
        let seen = curl(&["-C", "-", "-o", partial, "-w", "%{http_code} %{size_download}", &url("/big")]);
        assert_eq!(seen, format!("206 {}", big.len() - big.len() / 2));
        assert!(std::fs::read(partial).unwrap() == big);

        // curl waits for 100 where it may; in chunks it does not know the length.
        for (kind, more) in [("expected", "expect: 100-continue"), ("chunked", "transfer-encoding: chunked")]
        {
            let path = format!("/put/{kind}{number}");
            let seen =
                curl(&["-T", source, "-H", more, "-o", "/dev/null", "-w", "%{http_code}", &url(&path)]);
            assert_eq!(seen, "201", "{flag} {path}");
            assert!(std::fs::read(nginx.place.path().join(&path[1..])).unwrap() == big, "{path}");
        }
        let seen = curl(&[
            "-T",
            source,
            "-H",
            "expect: 100-continue",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &url("/refuse"),
        ]);
        assert_eq!(seen, "413", "{flag}");
    }
}

#[test]
fn curl_comes_in_by_a_unix_socket() {
    let Some(curl) = Curl::find() else { return };
    let (demo, place) = (Gateway::start(), tempfile::tempdir().unwrap());
    let socket = place.path().join("stagedoor.sock");
    let socket = socket.to_str().unwrap();
    let local = format!("[[listener]]\nname = \"local\"\nbind = [\"unix:{socket}\"]\n");
    let _gateway = Configured::default().start(&(local + &routed(&demo)));
    for flag in ["--http1.1", "--http2-prior-knowledge"] {
        let said =
            curl.run(&["--unix-socket", socket, flag, "--data-binary", "hello", "http://localhost/echo"]);
        assert_eq!(said, "hello");
        let told = curl.run(&["--unix-socket", socket, flag, "http://localhost/headers"]);
        assert_eq!(field(&told, "x-forwarded-host").as_deref(), Some("localhost"));
        assert_eq!(field(&told, "x-forwarded-for"), None, "nobody there has an address");
    }
}

#[test]
fn curl_says_who_it_is_by_a_proxy_header() {
    let Some(curl) = Curl::find() else { return };
    let demo = Gateway::start();
    let gateway = Configured {
        server: "trusted_proxies = [\"127.0.0.1/32\"]".to_owned(),
        plain: "proxy_protocol = \"v1\"".to_owned(),
        ..Configured::default()
    }
    .start(&routed(&demo));
    let url = format!("http://{}/headers", gateway.plain);
    for flag in ["--http1.1", "--http2-prior-knowledge"] {
        let told = curl.run(&["--haproxy-protocol", flag, &url]);
        assert_eq!(field(&told, "x-forwarded-for").as_deref(), Some("127.0.0.1"));
        // Trusted, it has to say so.
        assert!(matches!(curl.fails(&[flag, &url]), Some(16 | 52 | 55 | 56)), "{flag}");
    }
}

/// An authority for clients, and one client.
struct Own {
    place: TempDir,
}

impl Own {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "clients");
        let key = KeyPair::generate().unwrap();
        let certificate = authority.self_signed(&key).unwrap();
        std::fs::write(place.path().join("ca.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(authority, key);

        let mut client = CertificateParams::default();
        client.distinguished_name = rcgen::DistinguishedName::new();
        client.distinguished_name.push(DnType::CommonName, "somebody");
        client.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        let key = KeyPair::generate().unwrap();
        let certificate = client.signed_by(&key, &issuer).unwrap();
        std::fs::write(place.path().join("client.pem"), certificate.pem()).unwrap();
        std::fs::write(place.path().join("client.key"), key.serialize_pem()).unwrap();
        Self { place }
    }

    fn path(&self, name: &str) -> String {
        self.place.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn curl_shows_a_certificate_and_is_named_to_the_upstream() {
    let Some(curl) = Curl::find() else { return };
    let (demo, own) = (Gateway::start(), Own::new());
    let (client, key) = (own.path("client.pem"), own.path("client.key"));
    for (auth, without) in [("required", false), ("optional", true)] {
        let tls = format!("client_auth = \"{auth}\"\nclient_ca = \"{}\"", own.path("ca.pem"));
        let gateway = Configured { tls, ..Configured::default() }.start(&routed(&demo));
        let ca = gateway.process.ca_pem();
        let ca = ca.to_str().unwrap();
        let url = format!("https://localhost:{}/headers", gateway.public.port());
        for flag in ["--http2", "--http1.1"] {
            let base = ["--cacert", ca, flag, "-H", "x-client-cert-subject: CN=root", &url];
            let told = curl.run(&[&["--cert", &client, "--key", &key], &base[..]].concat());
            let subject = field(&told, "x-client-cert-subject").expect("a subject");
            assert!(subject.contains("somebody") && !subject.contains("root"), "{subject}");
            if without {
                assert_eq!(field(&curl.run(&base), "x-client-cert-subject"), None, "not by its own word");
            } else {
                // TLS 1.3 tells only who reads: an error of the handshake or of what follows.
                assert!(curl.fails(&base).is_some_and(|code| code != 0), "{flag}");
            }
        }
    }
}

#[test]
fn curl_sees_why_the_gateway_cannot_answer() {
    let Some(curl) = Curl::find() else { return };
    let nobody = nobody();
    let gateway = before(&format!("endpoints = [\"http://{nobody}\"]"));
    for flag in ["--http1.1", "--http2-prior-knowledge"] {
        let said = curl.run(&[flag, "-i", &format!("http://{}/", gateway.plain)]);
        assert!(said.contains(" 502") && said.contains("connection_refused"), "{said}");
    }
}
