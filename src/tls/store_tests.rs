use std::fs;
use std::time::Duration;

use super::*;
use crate::tls::testing::*;

fn metrics() -> Metrics {
    Metrics::new("stagedoor")
}

/// The lines of the families of certificates that have something to say.
fn lines(metrics: &Metrics, of: &str) -> Vec<String> {
    let text = String::from_utf8(metrics.render_text()).unwrap();
    let lines = text.lines().filter(|line| line.contains(of) && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn reloads(metrics: &Metrics) -> [String; 2] {
    ["ok", "error"].map(|result| {
        let found = lines(metrics, &format!("tls_certificate_reloads_total{{result=\"{result}\"}}"));
        found[0].rsplit_once(' ').unwrap().1.to_owned()
    })
}

#[test]
fn a_reload_swaps_what_changed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let [a, b] = ["a.example", "b.example"].map(|name| ours.leaf(&[name]).write(dir.path(), name));
    let metrics = metrics();
    let store = Store::open(&tls(vec![a.clone(), b.clone()]), None, &metrics).unwrap();
    assert_eq!(store.files(), [a.key, a.cert, b.key, b.cert]);
    assert!(store.reload().certificates.is_empty());
    let before = store.certificates();
    let fresh = ours.leaf(&["b.example", "c.example"]);
    fresh.write(dir.path(), "b.example");
    assert_eq!(store.reload().certificates, ["b.example"]);
    let after = store.certificates();
    assert_eq!(after[0], before[0]);
    assert_eq!(after[1].names, ["b.example", "c.example"]);
    assert_ne!(after[1].fingerprint, before[1].fingerprint);
    assert_eq!(reloads(&metrics), ["1", "0"]);
}

#[tokio::test]
async fn a_volume_of_kubernetes_that_is_swapped_brings_a_new_certificate() {
    use std::os::unix::fs::symlink;

    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let publish = |version: &str, name: &str| {
        let next = dir.path().join(version);
        fs::create_dir(&next).unwrap();
        ours.leaf(&[name]).write(&next, "tls");
        symlink(version, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    publish("..1", "one.example");
    let [cert, key] = ["tls.pem", "tls.key"].map(|name| {
        symlink(format!("..data/{name}"), dir.path().join(name)).unwrap();
        dir.path().join(name)
    });
    let certificate = config::Certificate { names: Vec::new(), cert, key };
    let store = Store::open(&tls(vec![certificate]), None, &metrics()).unwrap();
    let mut watcher = crate::watch::Watcher::new(store.files()).settle(Duration::from_millis(5));
    publish("..2", "two.example");
    let wait = tokio::time::timeout(Duration::from_secs(20), watcher.changed());
    assert_eq!(wait.await.expect("no change was seen"), store.files());
    assert_eq!(store.reload().certificates, ["two.example"]);
    assert_eq!(store.certificates()[0].names, ["two.example"]);
}

#[test]
fn what_is_known_of_a_certificate_is_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let leaf =
        Authority::new("An Authority").leaf_of(&["A.example", "10.0.0.1"], until, &rcgen::PKCS_ED25519);
    let written = leaf.write(dir.path(), "a");
    let metrics = metrics();
    let seen = Store::open(&tls(vec![written.clone()]), None, &metrics).unwrap().certificates().remove(0);
    assert_eq!(seen.names, ["a.example", "10.0.0.1"]);
    assert_eq!((seen.not_after, &seen.path), (until, &written.cert));
    assert!(seen.issuer.contains("CN=An Authority"), "{}", seen.issuer);
    assert!(seen.serial.split(':').all(|octet| octet.len() == 2), "{}", seen.serial);
    assert_eq!(seen.fingerprint.len(), 64);
}

#[test]
fn a_broken_new_pair_keeps_the_old_one_and_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let written = ours.leaf(&["a.example"]).write(dir.path(), "a");
    let metrics = metrics();
    let store = Store::open(&tls(vec![written.clone()]), None, &metrics).unwrap();
    let before = store.certificates();
    // The key of another pair; a key that is cut; an expired certificate.
    let other = ours.leaf(&["a.example"]);
    fs::write(&written.key, &other.key).unwrap();
    let errors = store.reload().errors;
    assert!(matches!(errors[..], [TlsError::KeyMismatch { .. }]), "{errors:?}");
    assert!(store.reload().errors.is_empty());
    fs::write(&written.key, &other.key[..80]).unwrap();
    let errors = store.reload().errors;
    assert!(matches!(errors[..], [TlsError::NotPem { .. }]), "{errors:?}");
    let past = SystemTime::now() - DAY / 2;
    ours.leaf_of(&["a.example"], past, &rcgen::PKCS_ED25519).write(dir.path(), "a");
    let errors = store.reload().errors;
    assert!(matches!(errors[..], [TlsError::Expired { .. }]), "{errors:?}");
    fs::remove_file(&written.cert).unwrap();
    let errors = store.reload().errors;
    assert!(matches!(errors[..], [TlsError::Unreadable { .. }]), "{errors:?}");
    assert_eq!(store.certificates(), before);
    assert_eq!(reloads(&metrics), ["0", "4"]);
    // And what can be used is taken.
    other.write(dir.path(), "a");
    assert_eq!(store.reload().certificates, ["a.example"]);
    assert_eq!(reloads(&metrics), ["1", "4"]);
}

#[test]
fn broken_authorities_keep_the_old_ones_and_are_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let ca = ours.write(dir.path(), "ca.pem");
    let mut config = tls(vec![ours.leaf(&["a.example"]).write(dir.path(), "a")]);
    config.client_auth = ClientAuth::Required { ca: ca.clone() };
    let metrics = metrics();
    let store = Store::open(&config, None, &metrics).unwrap();
    fs::write(&ca, "").unwrap();
    let done = store.reload();
    assert!(matches!(done.errors[..], [TlsError::NoCertificate { .. }]) && !done.authorities, "{done:?}");
    assert!(store.reload().errors.is_empty());
    assert!(store.clients().asks());
    ours.write(dir.path(), "ca.pem");
    assert!(!store.reload().authorities);
    Authority::new("theirs").write(dir.path(), "ca.pem");
    assert!(store.reload().authorities);
    assert_eq!(reloads(&metrics), ["1", "1"]);
}

#[test]
fn expiry_is_in_the_metrics_while_a_certificate_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let [a, b] = ["a.example", "b.example"].map(|name| ours.leaf(&[name]).write(dir.path(), name));
    // Another kind of key for the same name, sooner to end.
    let soon = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let twin = ours.leaf_of(&["a.example"], soon, &rcgen::PKCS_ED25519).write(dir.path(), "twin");
    let metrics = metrics();
    let names = |metrics: &Metrics| {
        let mut names = Vec::new();
        for name in ["a.example", "b.example"] {
            let lines = lines(metrics, &format!("cert=\"{name}\""));
            names.extend(lines.first().map(|line| line.rsplit_once(' ').unwrap().1.to_owned()));
        }
        names
    };
    let until = (SystemTime::now() + DAY * 20_000).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(until > 2_000_000_000);
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(until);
    let late = ours.leaf_of(&["a.example"], far, &rcgen::PKCS_ED25519).write(dir.path(), "late");
    let store = Store::open(&tls(vec![late, twin]), None, &metrics).unwrap();
    assert_eq!(names(&metrics), ["2000000000"]);
    store.put(Prepared::read(&tls(vec![b]), None).unwrap());
    assert_eq!((names(&metrics).len(), lines(&metrics, "cert=\"a.example\"").len()), (1, 0));
    let other = Store::open(&tls(vec![a]), None, &metrics).unwrap();
    assert_eq!(names(&metrics).len(), 2);
    drop(store);
    other.announce();
    assert_eq!((names(&metrics).len(), lines(&metrics, "cert=\"b.example\"").len()), (1, 0));
}

#[test]
fn every_fault_of_a_configuration_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let [a, b] = ["a.example", "b.example"].map(|name| ours.leaf(&[name]).write(dir.path(), name));
    let missing = config::Certificate { cert: dir.path().join("none.pem"), ..a.clone() };
    let mixed = config::Certificate { key: b.key.clone(), ..a.clone() };
    let swapped = config::Certificate { cert: a.key.clone(), key: a.cert.clone(), ..a.clone() };
    let mut config = tls(vec![missing, a, mixed, swapped]);
    config.client_auth = ClientAuth::Optional { ca: b.key };
    let errors = Prepared::read(&config, None).unwrap_err();
    assert!(
        matches!(
            errors[..],
            [
                TlsError::Unreadable { .. },
                TlsError::KeyMismatch { .. },
                TlsError::NoCertificate { .. },
                TlsError::NoCertificate { .. }
            ]
        ),
        "{errors:?}"
    );
    let shown = dir.path().display().to_string();
    assert!(errors.iter().all(|error| error.to_string().contains(&shown) && !error.help().is_empty()));
}

#[test]
fn a_certificate_without_names_needs_some() {
    let dir = tempfile::tempdir().unwrap();
    let nameless = Authority::new("ours").leaf(&[]).write(dir.path(), "a");
    let errors = Prepared::read(&tls(vec![nameless.clone()]), None).unwrap_err();
    assert!(matches!(errors[..], [TlsError::NoName { .. }]), "{errors:?}");
    let named = config::Certificate { names: vec!["a.example".into()], ..nameless };
    let store = Store::open(&tls(vec![named]), None, &metrics()).unwrap();
    assert_eq!(store.certificates()[0].names, ["a.example"]);
}

#[test]
fn a_connection_serves_what_its_certificate_covers() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours");
    let first = ours.leaf(&["first.example", "192.0.2.1", "2001:db8::1"]).write(dir.path(), "first");
    let wide = ours.leaf(&["*.example.org", "example.org"]).write(dir.path(), "wide");
    let wide = config::Certificate { names: vec!["www.example.org".into()], ..wide };
    let store = Store::open(&tls(vec![first, wide]), None, &metrics()).unwrap();
    let cases = [
        ("first.example", "first.example", true),
        ("first.example", "FIRST.example.", true),
        ("first.example", "[2001:DB8::1]", true),
        ("first.example", "192.0.2.2", false),
        ("first.example", "www.example.org", false),
        // Coalesced: the certificate covers more than it is shown for.
        ("www.example.org", "api.example.org", true),
        ("www.example.org", "example.org", true),
        ("www.example.org", "a.b.example.org", false),
        ("www.example.org", "first.example", false),
        // The default is shown; another connection to this name would be shown the same.
        ("unknown.example", "unknown.example", true),
        ("unknown.example", "first.example", true),
        ("unknown.example", "www.example.org", false),
        ("", "first.example", true),
        ("", "10.0.0.1", true),
        ("", "[::1]", true),
        ("", "www.example.org", false),
        ("", "", false),
        ("www.example.org", "", false),
    ];
    for (sni, host, serves) in cases {
        assert_eq!(store.serves(sni, host), serves, "{sni:?} {host:?}");
    }
}
