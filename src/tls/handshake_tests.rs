//! What clients meet: handshakes in memory.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::client::{Resumption, Tls12Resumption};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, SignatureScheme};

use super::testing::*;
use super::*;
use crate::config::ClientAuth;

const BOTH_VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&TLS13, &TLS12];

fn any_client() -> Arc<ClientConfig> {
    Arc::new(client(BOTH_VERSIONS, None, None))
}

#[test]
fn sni_picks_the_exact_name_then_the_wildcard_then_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca");
    let leaves = [&["first.example"][..], &["*.example.org"], &["www.example.org", "example.org"]]
        .map(|names| authority.leaf(names));
    let certificates =
        leaves.iter().enumerate().map(|(at, leaf)| leaf.write(dir.path(), &at.to_string())).collect();
    let (_store, server) = listener(&tls(certificates));
    let expected = [
        ("first.example", 0),
        ("www.example.org", 2),
        ("WWW.example.org", 2),
        ("example.org", 2),
        ("api.example.org", 1),
        ("a.b.example.org", 0),
        ("unknown.example", 0),
        // No SNI: addresses have none.
        ("127.0.0.1", 0),
    ];
    for (name, at) in expected {
        let both = handshake(&any_client(), &server, name).unwrap();
        assert_eq!(shown(&both), leaves[at].der, "{name}");
    }
}

#[test]
fn of_two_pairs_of_one_name_the_one_a_client_can_verify_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca");
    let until = std::time::SystemTime::now() + DAY;
    let leaves = [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256]
        .map(|algorithm| authority.leaf_of(&["a.example"], until, algorithm));
    let certificates = vec![leaves[0].write(dir.path(), "ed"), leaves[1].write(dir.path(), "ec")];
    let (_store, server) = listener(&tls(certificates));
    assert_eq!(shown(&handshake(&any_client(), &server, "a.example").unwrap()), leaves[0].der);
    let schemes = vec![SignatureScheme::ECDSA_NISTP256_SHA256];
    let old = Arc::new(client(BOTH_VERSIONS, Some(schemes), None));
    assert_eq!(shown(&handshake(&old, &server, "a.example").unwrap()), leaves[1].der);
}

#[test]
fn the_oldest_version_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let leaf = Authority::new("ca").leaf(&["a.example"]);
    let mut config = tls(vec![leaf.write(dir.path(), "a")]);
    let old = Arc::new(client(&[&TLS12], None, None));
    let both = handshake(&old, &listener(&config).1, "a.example").unwrap();
    assert_eq!(both.1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    config.min_version = config::TlsMin::Tls13;
    let (_store, server) = listener(&config);
    let error = handshake(&old, &server, "a.example").unwrap_err();
    assert!(matches!(error, rustls::Error::PeerIncompatible(_)), "{error}");
    let both = handshake(&any_client(), &server, "a.example").unwrap();
    assert_eq!(both.1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn clients_show_certificates_where_they_must_or_may() {
    let dir = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(Authority::new);
    let mut config = tls(vec![ours.leaf(&["a.example"]).write(dir.path(), "a")]);
    let ca = ours.write(dir.path(), "ca.pem");
    let [friend, stranger] = [&ours, &theirs].map(|authority| authority.leaf(&["client.example"]));
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let [anonymous, friendly, strange] =
            [None, Some(&friend), Some(&stranger)].map(|shows| Arc::new(client(versions, None, shows)));
        config.client_auth = ClientAuth::Optional { ca: ca.clone() };
        let (_store, server) = listener(&config);
        assert!(handshake(&anonymous, &server, "a.example").unwrap().1.peer_certificates().is_none());
        handshake(&strange, &server, "a.example").unwrap_err();

        config.client_auth = ClientAuth::Required { ca: ca.clone() };
        let (_store, server) = listener(&config);
        handshake(&anonymous, &server, "a.example").unwrap_err();
        handshake(&strange, &server, "a.example").unwrap_err();
        let both = handshake(&friendly, &server, "a.example").unwrap();
        let shown = &both.1.peer_certificates().unwrap()[0];
        assert_eq!(ClientIdentity::parse(shown).unwrap().san, "DNS:client.example");
    }
}

#[test]
fn sessions_are_resumed_by_ticket_and_by_id() {
    let dir = tempfile::tempdir().unwrap();
    let leaf = Authority::new("ca").leaf(&["a.example"]);
    let (_store, server) = listener(&tls(vec![leaf.write(dir.path(), "a")]));
    let ways = [
        (&TLS13, Tls12Resumption::Disabled),
        (&TLS12, Tls12Resumption::SessionIdOrTickets),
        (&TLS12, Tls12Resumption::SessionIdOnly),
    ];
    for (version, old) in ways {
        let mut config = client(&[version], None, None);
        config.resumption = Resumption::in_memory_sessions(8).tls12_resumption(old);
        let config = Arc::new(config);
        let kinds = [(); 2].map(|()| handshake(&config, &server, "a.example").unwrap().1.handshake_kind());
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{version:?} {old:?}");
    }
}

#[test]
fn nobody_resumes_what_another_listener_began() {
    let dir = tempfile::tempdir().unwrap();
    let leaf = Authority::new("ca").leaf(&["a.example"]);
    let config = tls(vec![leaf.write(dir.path(), "a")]);
    let [(_one, first), (_two, second)] = [(); 2].map(|()| listener(&config));
    let client = any_client();
    handshake(&client, &first, "a.example").unwrap();
    let both = handshake(&client, &second, "a.example").unwrap();
    assert_eq!(both.1.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn a_client_that_shows_a_certificate_shows_it_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(Authority::new);
    let mut config = tls(vec![ours.leaf(&["a.example"]).write(dir.path(), "a")]);
    let ca = ours.write(dir.path(), "ca.pem");
    let friend = ours.leaf(&["client.example"]);
    for version in [&TLS13, &TLS12] {
        ours.write(dir.path(), "ca.pem");
        config.client_auth = ClientAuth::Required { ca: ca.clone() };
        let (store, server) = listener(&config);
        let friendly = Arc::new(client(&[version], None, Some(&friend)));
        for _ in 0..2 {
            let both = handshake(&friendly, &server, "a.example").unwrap();
            assert_eq!(both.1.handshake_kind(), Some(HandshakeKind::Full));
        }
        // Another authority, same listener: the client is believed no more, at once.
        theirs.write(dir.path(), "ca.pem");
        assert!(store.reload().authorities);
        handshake(&friendly, &server, "a.example").unwrap_err();
        let both = handshake(
            &Arc::new(client(&[version], None, Some(&theirs.leaf(&["c.example"])))),
            &server,
            "a.example",
        );
        assert!(both.unwrap().1.peer_certificates().is_some());
    }
}

#[test]
fn what_began_before_clients_were_asked_is_not_resumed_after() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let open = tls(vec![ours.leaf(&["a.example"]).write(dir.path(), "a")]);
    let asks = config::Tls {
        client_auth: ClientAuth::Required { ca: ours.write(dir.path(), "ca.pem") },
        ..open.clone()
    };
    for version in [&TLS13, &TLS12] {
        let (store, server) = listener(&open);
        let anonymous = Arc::new(client(&[version], None, None));
        handshake(&anonymous, &server, "a.example").unwrap();
        store.put(Prepared::read(&asks, None).unwrap());
        handshake(&anonymous, &server, "a.example").unwrap_err();
        store.put(Prepared::read(&open, None).unwrap());
        handshake(&anonymous, &server, "a.example").unwrap();
    }
}

#[test]
fn sessions_outlive_a_swap_and_new_ones_see_the_new_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("ca");
    let [old, new] = [(); 2].map(|()| authority.leaf(&["a.example"]));
    let (store, server) = listener(&tls(vec![old.write(dir.path(), "a")]));
    let mut before = handshake(&any_client(), &server, "a.example").unwrap();
    // A handshake in the middle: its certificate is chosen already, its client has said nothing yet.
    let name = "a.example".try_into().unwrap();
    let mut halfway = (
        rustls::ClientConnection::new(any_client(), name).unwrap(),
        rustls::ServerConnection::new(Arc::clone(&server)).unwrap(),
    );
    let mut wire = Vec::new();
    halfway.0.write_tls(&mut wire).unwrap();
    halfway.1.read_tls(&mut &wire[..]).unwrap();
    halfway.1.process_new_packets().unwrap();

    new.write(dir.path(), "a");
    assert_eq!(store.reload().certificates, ["a.example"]);
    drive(&mut halfway).unwrap();
    assert_eq!(shown(&halfway), old.der);
    let after = handshake(&any_client(), &server, "a.example").unwrap();
    assert_eq!(shown(&after), new.der);
    before.0.writer().write_all(b"still here").unwrap();
    drive(&mut before).unwrap();
    let mut heard = [0; 10];
    before.1.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
}

#[test]
fn where_no_certificate_is_listed_the_development_certificate_is_shown() {
    let state = tempfile::tempdir().unwrap();
    let config = tls(Vec::new());
    let store =
        Store::open(&config, Some(state.path().to_owned()), &stagedoor_metrics::Metrics::new("stagedoor"));
    let store = store.unwrap();
    assert_eq!(store.certificates()[0].names[0], "localhost");
    assert_eq!((store.files().len(), store.reload().certificates.len()), (0, 0));
    let server = Arc::new(server_config(&config, &store).unwrap());
    let trust = config::UpstreamTls {
        ca: crate::devca::authority_in(state.path()),
        ..config::UpstreamTls::default()
    };
    let client = upstream_client(&trust, &["h2"]).unwrap();
    for name in ["localhost", "127.0.0.1", "::1"] {
        handshake(&client, &server, name).unwrap();
        assert!(store.serves("", name), "{name}");
    }
}

#[test]
fn an_upstream_is_believed_by_its_own_authority_alone() {
    let dir = tempfile::tempdir().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(Authority::new);
    let mut config = tls(vec![ours.leaf(&["api.internal"]).write(dir.path(), "api")]);
    config.client_auth = ClientAuth::Required { ca: theirs.write(dir.path(), "theirs.pem") };
    let (_store, mut server) = listener(&config);
    Arc::get_mut(&mut server).unwrap().alpn_protocols = vec![b"h2".to_vec()];
    let client = theirs.leaf(&["gateway.internal"]).write(dir.path(), "client");
    let mut upstream = config::UpstreamTls {
        ca: Some(ours.write(dir.path(), "ours.pem")),
        server_name: None,
        client: Some((client.cert, client.key)),
    };
    let both = handshake(&upstream_client(&upstream, &["h2", "http/1.1"]).unwrap(), &server, "api.internal");
    let both = both.unwrap();
    assert_eq!(both.0.alpn_protocol(), Some(&b"h2"[..]));
    assert!(both.1.peer_certificates().is_some());
    handshake(&upstream_client(&upstream, &["h2"]).unwrap(), &server, "other.internal").unwrap_err();
    upstream.ca = Some(dir.path().join("theirs.pem"));
    handshake(&upstream_client(&upstream, &["h2"]).unwrap(), &server, "api.internal").unwrap_err();
    upstream.ca = Some(dir.path().join("none.pem"));
    let error = upstream_client(&upstream, &["h2"]).unwrap_err();
    assert!(matches!(error, TlsError::Unreadable { .. }), "{error}");
}

#[test]
fn sessions_to_an_upstream_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let (_store, server) = listener(&tls(vec![ours.leaf(&["api.internal"]).write(dir.path(), "api")]));
    let upstream = config::UpstreamTls {
        ca: Some(ours.write(dir.path(), "ours.pem")),
        ..config::UpstreamTls::default()
    };
    let client = upstream_client(&upstream, &["h2"]).unwrap();
    handshake(&client, &server, "api.internal").unwrap();
    // As client sessions do it: each has a clone of its own.
    let clone = Arc::new(ClientConfig::clone(&client));
    let both = handshake(&clone, &server, "api.internal").unwrap();
    assert_eq!(both.1.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn no_debug_shows_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let leaf = ours.leaf(&["a.example"]);
    let written = leaf.write(dir.path(), "a");
    let config = tls(vec![written.clone()]);
    let (store, server) = listener(&config);
    let upstream = config::UpstreamTls {
        ca: Some(ours.write(dir.path(), "ca.pem")),
        server_name: None,
        client: Some((written.cert, written.key)),
    };
    let client = upstream_client(&upstream, &["h2"]).unwrap();
    let prepared = Prepared::read(&config, None).unwrap();
    let text = format!("{store:?} {server:?} {client:?} {prepared:?} {store:#?}");
    assert!(text.contains("a.example"));
    // The secret number of a P-256 key in PKCS #8: 32 octets after 36 (RFC 5915, RFC 5958).
    let secret = &leaf.key_der[36..68];
    let list = format!("{secret:?}");
    let base64 = leaf.key.lines().nth(1).unwrap();
    for shape in [crate::hex::hex(secret).as_str(), list.trim_matches(['[', ']']), base64] {
        assert!(!text.contains(shape), "{shape}");
    }
}
