//! Certificates of a listener: exchanged while sessions live, picked by name, and asked of clients.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::harness::{Serving, says, until, upstream};
use crate::support::client::{Answer, Client, nothing};
use crate::support::{Gateway, run};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority that both sides believe.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

/// A certificate and its key.
struct Leaf {
    cert: String,
    key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Self { der: made.der().clone(), pem: made.pem(), issuer: Issuer::new(params, key) }
    }

    /// Ends after so many days.
    fn leaf(&self, names: &[&str], days: u32) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names[0].clone());
        let now = SystemTime::now();
        (params.not_before, params.not_after) = ((now - DAY).into(), (now + days * DAY).into());
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            cert: made.pem(),
            key: key.serialize_pem(),
            der: made.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// A client of HTTP/2, or of HTTP/1.1, that shows a certificate or none.
    fn client(&self, http2: bool, shows: Option<&Leaf>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            Some(leaf) => {
                let key = PrivateKeyDer::try_from(leaf.key_der.clone()).unwrap();
                builder.with_client_auth_cert(vec![leaf.der.clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        // Every handshake shows its certificate.
        config.resumption = rustls::client::Resumption::disabled();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Arc::new(config)
    }

    /// The certificate that is shown to who asks for `name`.
    async fn shown(&self, address: SocketAddr, name: &str) -> std::io::Result<CertificateDer<'static>> {
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = TlsConnector::from(self.client(true, None)).connect(name, tcp).await?;
        Ok(tls.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
    }
}

impl Leaf {
    fn write(&self, dir: &Path, name: &str) -> [PathBuf; 2] {
        let [cert, key] = ["crt", "key"].map(|kind| dir.join(format!("{name}.{kind}")));
        std::fs::write(&cert, &self.cert).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        [cert, key]
    }
}

fn certificate(names: &str, [cert, key]: [PathBuf; 2]) -> String {
    format!(
        "[[listener.tls.certificate]]\n{names}\ncert = \"{}\"\nkey = \"{}\"\n",
        cert.display(),
        key.display()
    )
}

fn listener(tls: &str, certificates: &str) -> String {
    format!("[[listener]]\nname = \"public\"\nbind = \"127.0.0.1:0\"\n[listener.tls]\n{tls}\n{certificates}")
}

/// A mounted secret as Kubernetes exchanges it: everything is a link through `..data`, which is renamed over.
struct Mounted {
    place: PathBuf,
    generation: u32,
}

impl Mounted {
    fn new(place: PathBuf, cert: &Leaf, key: &Leaf) -> Self {
        std::fs::create_dir(&place).unwrap();
        let mut mounted = Self { place, generation: 0 };
        mounted.put(cert, key);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), mounted.place.join(name)).unwrap();
        }
        mounted
    }

    fn put(&mut self, cert: &Leaf, key: &Leaf) {
        let before = self.place.join(format!("..{}", self.generation));
        self.generation += 1;
        let name = format!("..{}", self.generation);
        let dir = self.place.join(&name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("tls.crt"), &cert.cert).unwrap();
        std::fs::write(dir.join("tls.key"), &key.key).unwrap();
        symlink(&name, self.place.join("..data_tmp")).unwrap();
        std::fs::rename(self.place.join("..data_tmp"), self.place.join("..data")).unwrap();
        if before.exists() {
            std::fs::remove_dir_all(before).unwrap();
        }
    }

    fn paths(&self) -> [PathBuf; 2] {
        ["tls.crt", "tls.key"].map(|name| self.place.join(name))
    }
}

#[test]
fn a_symlink_that_moves_brings_the_new_certificate_and_ends_no_session() {
    let authority = Authority::new();
    let leaves = [10, 20, 30].map(|days| authority.leaf(&["a.example"], days));
    let place = tempfile::tempdir().unwrap();
    let mut mounted = Mounted::new(place.path().join("secret"), &leaves[0], &leaves[0]);
    let text = format!("{}{}", listener("", &certificate("", mounted.paths())), says("words", "/", "hello"));
    let serving = Serving::start_with(place, &text, &[]);
    let address = serving.address("public");
    run(async {
        assert_eq!(authority.shown(address, "a.example").await.unwrap(), leaves[0].der);
        let mut sessions = Vec::new();
        for http2 in [true, false] {
            let client = Client::tls(authority.client(http2, None), address, "a.example").await.unwrap();
            sessions.push(client);
        }
        let ends = async || {
            let scrape = serving.scrape().await;
            scrape.value("stagedoor_tls_certificate_not_after_timestamp_seconds", &[("cert", "a.example")])
        };
        let first = ends().await;

        let moved = Instant::now();
        mounted.put(&leaves[1], &leaves[1]);
        until("the new certificate", async || {
            authority.shown(address, "a.example").await.unwrap() == leaves[1].der
        })
        .await;
        assert!(moved.elapsed() < Duration::from_secs(5), "{:?}", moved.elapsed());
        let second = ends().await;
        assert!((second - first - 10.0 * DAY.as_secs_f64()).abs() < 60.0, "{first} {second}");

        // A certificate with the key of another: the pair that fits stays, and it is counted and said.
        mounted.put(&leaves[2], &leaves[0]);
        serving.until("tls_certificate_reloads_total", &[("result", "error")], 1.0).await;
        assert_eq!(authority.shown(address, "a.example").await.unwrap(), leaves[1].der);
        assert_eq!(ends().await, second);
        mounted.put(&leaves[2], &leaves[2]);
        until("the pair that fits", async || {
            authority.shown(address, "a.example").await.unwrap() == leaves[2].der
        })
        .await;
        serving.until("tls_certificate_reloads_total", &[("result", "ok")], 2.0).await;
        for client in &mut sessions {
            assert_eq!(client.get("/").await.text(), "hello");
        }
        serving.until("sessions_active", &[("listener", "public")], 2.0).await;
    });
}

#[test]
fn a_configuration_with_faults_does_not_keep_a_new_certificate_out() {
    let authority = Authority::new();
    let leaves = [10, 20].map(|days| authority.leaf(&["a.example"], days));
    let place = tempfile::tempdir().unwrap();
    let mut mounted = Mounted::new(place.path().join("secret"), &leaves[0], &leaves[0]);
    let text = format!("{}{}", listener("", &certificate("", mounted.paths())), says("words", "/", "hello"));
    let serving = Serving::start_with(place, &text, &["--watch"]);
    let address = serving.address("public");
    run(async {
        mounted.put(&leaves[1], &leaves[1]);
        serving.write(&format!("{text}[[rote]]\n"));
        until("the new certificate", async || {
            authority.shown(address, "a.example").await.unwrap() == leaves[1].der
        })
        .await;
        serving.until("config_last_reload_successful", &[], 0.0).await;
    });
}

#[test]
fn names_pick_certificates_and_a_reload_adds_some() {
    let authority = Authority::new();
    let place = tempfile::tempdir().unwrap();
    let leaves = [&["first.example"][..], &["*.wild.example"], &["exact.wild.example"], &["later.example"]]
        .map(|names| authority.leaf(names, 10));
    let tables: Vec<String> = leaves
        .iter()
        .enumerate()
        .map(|(at, leaf)| certificate("", leaf.write(place.path(), &at.to_string())))
        .collect();
    let route = says("words", "/", "hello");
    let text = |count: usize| format!("{}{route}", listener("", &tables[..count].concat()));
    let serving = Serving::start_with(place, &text(3), &[]);
    let address = serving.address("public");
    run(async {
        for (name, at) in [("first.example", 0), ("any.wild.example", 1), ("exact.wild.example", 2)] {
            assert_eq!(authority.shown(address, name).await.unwrap(), leaves[at].der, "{name}");
        }
        // The default, which does not fit.
        let error = authority.shown(address, "later.example").await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");

        // A host that this certificate does not cover is another connection's (RFC 9110 §15.5.20).
        for http2 in [true, false] {
            let client =
                Client::tls(authority.client(http2, None), address, "any.wild.example").await.unwrap();
            let mut client = client.naming("other.wild.example");
            assert_eq!(client.get("/").await.status, 200, "its wildcard covers that one too");
            let mut client = client.naming("first.example");
            assert_eq!(client.get("/").await.status, 421);
            let mut client = client.naming("any.wild.example");
            assert_eq!(client.get("/").await.status, 200, "the session lives");
        }

        let mut old = Client::tls(authority.client(true, None), address, "first.example").await.unwrap();
        assert_eq!(serving.reloaded(&text(4)).await, ["listener \"public\" changed"]);
        assert_eq!(authority.shown(address, "later.example").await.unwrap(), leaves[3].der);
        assert_eq!(old.get("/").await.text(), "hello");
        let certificates = serving.told("/api/certs").await;
        assert!(certificates.to_string().contains("later.example"), "{certificates}");

        serving.reloaded(&text(1)).await;
        let error = authority.shown(address, "exact.wild.example").await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
        let scrape = serving.scrape().await;
        let shown = scrape.series.keys().filter(|series| series.contains("certificate_not_after")).count();
        assert_eq!(shown, 1, "what is gone is not shown: {:?}", scrape.series.keys());
    });
}

#[test]
fn a_listener_takes_up_tls_and_lays_it_down() {
    let authority = Authority::new();
    let place = tempfile::tempdir().unwrap();
    let leaf = authority.leaf(&["a.example"], 10);
    let route = says("words", "/", "hello");
    let table = certificate("", leaf.write(place.path(), "leaf"));
    let cleartext = format!("[[listener]]\nname = \"public\"\nbind = \"127.0.0.1:0\"\n{route}");
    let encrypted = format!("{}{route}", listener("", &table));
    let serving = Serving::start_with(place, &cleartext, &[]);
    let address = serving.address("public");
    run(async {
        let mut before = Client::plain(address, true).await;
        assert_eq!(before.get("/").await.text(), "hello");
        assert_eq!(serving.reloaded(&encrypted).await, ["listener \"public\" changed"]);
        let mut tls = Client::tls(authority.client(true, None), address, "a.example").await.unwrap();
        assert_eq!(tls.get("/").await.text(), "hello");
        assert_eq!(before.get("/").await.text(), "hello", "a session keeps what it began with");
        assert_eq!(serving.reloaded(&cleartext).await, ["listener \"public\" changed"]);
        assert_eq!(Client::plain(address, false).await.get("/").await.text(), "hello");
        assert_eq!(tls.get("/").await.text(), "hello");
        assert!(authority.shown(address, "a.example").await.is_err());
        assert_eq!(serving.told("/api/certs").await, serde_json::json!([]));
    });
}

#[test]
fn a_reload_that_is_refused_leaves_no_certificate_behind() {
    let authority = Authority::new();
    let place = tempfile::tempdir().unwrap();
    let [kept, new] = [&["kept.example"][..], &["new.example"]].map(|names| authority.leaf(names, 10));
    let kept_pair = kept.write(place.path(), "kept");
    let route = says("words", "/", "hello");
    let text = format!("{}{route}", listener("", &certificate("", kept_pair.clone())));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = format!(
        "[[listener]]\nname = \"second\"\nbind = \"{}\"\n[listener.tls]\n{}",
        taken.local_addr().unwrap(),
        certificate("", kept_pair.clone()) + &certificate("", new.write(place.path(), "new"))
    );
    // A certificate with the key of another.
    let [cert, _] = kept_pair;
    let mismatch = certificate("", [cert, place.path().join("new.key")]);
    let serving = Serving::start_with(place, &text, &[]);
    let address = serving.address("public");
    run(async {
        for (faulty, words) in [
            (format!("{second}{text}"), "cannot bind"),
            (format!("{}{route}", listener("", &mismatch)), "key"),
        ] {
            let refused = serving.reload(&faulty).await;
            assert_eq!(refused.status, 422, "{}", refused.text());
            assert!(refused.text().contains(words), "{}", refused.text());
            assert_eq!(authority.shown(address, "kept.example").await.unwrap(), kept.der);
            let scrape = serving.scrape().await;
            let shown = |cert: &str| {
                scrape.series.keys().any(|series| series.contains("not_after") && series.contains(cert))
            };
            assert!(shown("kept.example") && !shown("new.example"), "{:?}", scrape.series.keys());
        }
    });
}

#[test]
fn a_certificate_of_two_listeners_is_told_of_until_both_are_gone() {
    let authority = Authority::new();
    let place = tempfile::tempdir().unwrap();
    let pair = authority.leaf(&["both.example"], 10).write(place.path(), "both");
    let first = listener("", &certificate("", pair));
    let both = format!("{first}{}", first.replace("\"public\"", "\"second\""));
    let route = says("words", "/", "hello");
    let serving = Serving::start_with(place, &format!("{both}{route}"), &[]);
    run(async {
        let second = serving.address("second");
        let mut client = Client::tls(authority.client(true, None), second, "both.example").await.unwrap();
        assert_eq!(client.get("/").await.text(), "hello");
        assert_eq!(serving.reloaded(&format!("{first}{route}")).await, ["listener \"second\" is gone"]);
        drop(client);
        let gone = |line: &str| line.contains("the listener is gone") && line.contains("second");
        until("it is gone", async || serving.process.stderr().lines().any(gone)).await;
        let scrape = serving.scrape().await;
        let ends = scrape
            .value("stagedoor_tls_certificate_not_after_timestamp_seconds", &[("cert", "both.example")]);
        assert!(ends > 0.0, "the other listener shows it");
    });
}

#[test]
fn clients_show_certificates_and_upstreams_hear_whose() {
    let authority = Authority::new();
    let origin = Gateway::start();
    let [server, friend] = [&["a.example"][..], &["ada.example"]].map(|names| authority.leaf(names, 10));
    let stranger = Authority::new().leaf(&["eve.example"], 10);
    for auth in ["optional", "required"] {
        let place = tempfile::tempdir().unwrap();
        let ca = place.path().join("clients.pem");
        std::fs::write(&ca, &authority.pem).unwrap();
        let tls = format!("client_auth = \"{auth}\"\nclient_ca = \"{}\"", ca.display());
        let text = format!(
            "{}{}[[route]]\nname = \"all\"\nproxy = {{ upstream = \"origin\" }}\n",
            listener(&tls, &certificate("", server.write(place.path(), "server"))),
            upstream("origin", origin.plain, "")
        );
        let serving = Serving::start_with(place, &text, &[]);
        let address = serving.address("public");
        run(async {
            for http2 in [true, false] {
                let asked = async |shows: Option<&Leaf>| {
                    let mut client =
                        Client::tls(authority.client(http2, shows), address, "a.example").await.ok()?;
                    let request =
                        client.request("GET", "/headers").header("x-client-cert-subject", "CN=root");
                    client.whole(request.body(nothing()).unwrap()).await.ok()
                };
                let subjects = |answer: &Answer| -> Vec<String> {
                    let told = answer.json();
                    let fields = told["fields"].as_array().unwrap().iter();
                    let fields = fields.filter(|field| field[0] == "x-client-cert-subject");
                    fields.map(|field| field[1].as_str().unwrap().to_owned()).collect()
                };
                let answer = asked(Some(&friend)).await.expect("a friend is let in");
                assert_eq!(subjects(&answer), ["CN=ada.example"], "{auth}");
                assert!(asked(Some(&stranger)).await.is_none(), "{auth}: nobody knows who signed that");
                match auth {
                    "optional" => {
                        let answer = asked(None).await.expect("nothing need be shown");
                        assert_eq!(
                            subjects(&answer),
                            Vec::<String>::new(),
                            "what a client says of itself is not believed"
                        );
                    }
                    _ => assert!(asked(None).await.is_none(), "no handshake without one"),
                }
            }
        });
    }
}
