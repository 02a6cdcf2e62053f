//! The sample of the contract, every key of it, with paths that exist: it is read as it is meant; and whatever is
//! deleted from it or written otherwise gives a configuration or errors, never a panic.

use std::net::SocketAddr;
use std::time::Duration;

use stagedoor_actors::{Limits, MaxAge, Timeouts, Windows};
use stagedoor_metrics::TableOptions;

use super::*;

/// The sample as it is in the contract.
pub(super) const SAMPLE: &str = include_str!("sample.toml");

/// The sample with its paths in `dir`, where they are.
pub(super) fn made_real(dir: &Path) -> String {
    let copy = |from: &str, to: &str| {
        let to = dir.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(Path::new("tests/config/files").join(from), &to).unwrap();
    };
    copy("good.pem", "etc/stagedoor/example.pem");
    copy("good.key", "etc/stagedoor/example.key");
    copy("good.pem", "etc/ssl/certs/ca.pem");
    copy("www/index.html", "srv/www/index.html");
    let real = |text: String, path: &str| text.replace(&format!("\"/{path}"), &format!("\"{path}"));
    ["etc/stagedoor/example", "etc/ssl/certs", "srv/www"].into_iter().fold(with_plain(), real)
}

/// The sample speaks of a listener it does not have, and of two `/` that anybody could mean.
fn with_plain() -> String {
    SAMPLE.replacen(
        "[[upstream]]",
        "[[listener]]\nname = \"plain\"\nbind = \"127.0.0.1:8080\"\n\n[[upstream]]",
        1,
    )
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_sample_is_read_as_it_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load_in(dir.path(), &made_real(dir.path()), &[]).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.warnings, []);
    let config = &loaded.config;
    assert_eq!(config.server.workers, None);
    assert_eq!(config.server.drain, Drain { min_accept: secs(5), timeout: secs(30) });
    assert_eq!(config.server.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(config.server.dns_servers, []);
    let admin: SocketAddr = "127.0.0.1:9901".parse().unwrap();
    assert_eq!((&config.admin.bind, &config.admin.token_file), (&Some(Bind::Tcp(admin)), &None));
    assert_eq!(config.log.level, "info");
    let access = config.log.access.as_ref().unwrap();
    assert_eq!(access.redact, ["authorization", "cookie"]);
    assert_eq!((access.format, &access.path, access.show_query), (AccessFormat::Json, &None, false));
    assert_eq!(config.tables, TableOptions::default());
}

#[test]
fn the_listener_of_the_sample_has_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load_in(dir.path(), &made_real(dir.path()), &[]).unwrap();
    let [public, plain] = loaded.config.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!(public.name, "public");
    assert_eq!(public.bind, [Bind::Tcp("[::]:8443".parse().unwrap())]);
    assert!(public.http1 && public.http2 && !public.reuse_port);
    assert_eq!(public.proxy_protocol, ProxyProtocol::Off);
    let etc = dir.path().join("etc/stagedoor");
    let certificate = Certificate {
        names: vec!["example.org".to_owned(), "*.example.org".to_owned()],
        cert: etc.join("example.pem"),
        key: etc.join("example.key"),
    };
    let tls =
        Tls { min_version: TlsMin::Tls12, client_auth: ClientAuth::None, certificates: vec![certificate] };
    assert_eq!(public.tls, Some(tls));
    // What the engine has by default is what the contract says the defaults are.
    let age = MaxAge { after: secs(1800), jitter: 0.1, grace: secs(30) };
    assert_eq!(public.limits, Limits { session_max_age: Some(age), ..Limits::default() });
    for listener in [public, plain] {
        assert_eq!(listener.windows, Windows::default());
        assert_eq!(listener.timeouts, Timeouts::default());
    }
    assert_eq!(plain.limits, Limits::default());
    assert_eq!(plain.tls, None);
}

#[test]
fn the_upstream_of_the_sample_is_read_as_it_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load_in(dir.path(), &made_real(dir.path()), &[]).unwrap();
    let [api] = loaded.config.upstreams.as_slice() else { panic!("one upstream") };
    let at = |host: &str| EndpointAddress::Tcp { host: host.to_owned(), port: 8080 };
    let listed = vec![
        Endpoint { tls: false, address: at("10.0.0.7"), weight: 1 },
        Endpoint { tls: false, address: at("10.0.0.8"), weight: 2 },
    ];
    assert_eq!(api.endpoints, Endpoints::Listed(listed));
    assert_eq!((api.protocol, &api.balance), (UpstreamProtocol::Auto, &Balance::P2c));
    let health = Health {
        path: "/healthz".to_owned(),
        host: None,
        every: secs(5),
        timeout: secs(1),
        rise: 2,
        fall: 3,
    };
    assert_eq!(api.health, Some(health));
    assert_eq!(api.eject, Some(Eject { consecutive_failures: 5, time: secs(30), max_share: 0.5 }));
    let on = RetryOn { connect: true, refused: true, unprocessed: true, reset: false, statuses: vec![503] };
    assert_eq!(api.retry, Retry { attempts: 2, on, budget: 0.2, per_try: None });
    assert_eq!(api.timeouts, UpstreamTimeouts { connect: secs(2), response: secs(30), stall: secs(60) });
    assert_eq!(api.keepalive, Keepalive { ping: secs(20), timeout: secs(10), idle: secs(90) });
    assert_eq!(api.tls.ca, Some(dir.path().join("etc/ssl/certs/ca.pem")));
    assert_eq!(api.tls.server_name.as_deref(), Some("api.internal"));
}

#[test]
fn the_routes_of_the_sample_are_read_as_they_are_meant() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load_in(dir.path(), &made_real(dir.path()), &[]).unwrap();
    let [api, assets, to_https, ok] = loaded.config.routes.as_slice() else { panic!("four routes") };
    assert_eq!(api.matches.hosts, ["example.org"]);
    assert_eq!(api.matches.path.as_deref(), Some("/api/{*rest}"));
    assert_eq!(api.matches.methods, ["GET", "POST"]);
    assert_eq!(api.strip_prefix.as_deref(), Some("/api"));
    assert_eq!(api.request_headers.set.get_str("x-gateway"), Some("stagedoor"));
    assert_eq!(api.request_headers.remove, ["x-debug"]);
    assert_eq!(api.rate_limit, Some(RateLimit { per: RatePer::Client, rate: 50.0, burst: 100 }));
    assert_eq!((api.max_body, api.timeout), (Some(10 << 20), Some(secs(60))));
    assert_eq!(api.access, Access::Allow(vec!["10.0.0.0/8".parse().unwrap()]));
    assert!(matches!(&api.action, Action::Proxy(to) if *to == ProxyTo { upstream: 0, host: None }));
    assert!(api.compress.is_none() && api.errors.is_empty() && !api.connect);

    let Action::Files(files) = &assets.action else { panic!("files") };
    assert_eq!(files.root, dir.path().join("srv/www"));
    assert_eq!(files.precompressed, [Coding::Brotli, Coding::Zstd, Coding::Gzip]);
    assert_eq!((files.listing, files.cache_control.as_deref()), (false, Some("public, max-age=3600")));

    assert_eq!(to_https.matches.listeners, ["plain"]);
    let Action::Redirect(redirect) = &to_https.action else { panic!("redirect") };
    let expected = Redirect { scheme: Some("https".to_owned()), host: None, path: None, status: 308 };
    assert_eq!(*redirect, expected);

    let Action::Respond(respond) = &ok.action else { panic!("respond") };
    assert_eq!((respond.status, respond.body.as_ref()), (200, b"ok\n".as_slice()));
    assert_eq!(respond.headers.get_str("content-type"), Some("text/plain"));
}

/// Every path to a value in a table, those within lists too.
fn paths(value: &toml::Value, path: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    let mut below = |step: String, value: &toml::Value| {
        path.push(step);
        all.push(path.clone());
        paths(value, path, all);
        path.pop();
    };
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| below(key.clone(), value)),
        toml::Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| below(at.to_string(), value))
        }
        _ => {}
    }
}

/// Puts another value in place of that at a path, or takes it out.
fn changed(root: &toml::Value, path: &[String], to: Option<&toml::Value>) -> toml::Value {
    let mut changed = root.clone();
    let (last, above) = path.split_last().unwrap();
    let mut place = &mut changed;
    for step in above {
        place = match place {
            toml::Value::Table(table) => table.get_mut(step).unwrap(),
            toml::Value::Array(list) => &mut list[step.parse::<usize>().unwrap()],
            _ => panic!("{path:?}"),
        };
    }
    match (place, to) {
        (toml::Value::Table(table), Some(to)) => drop(table.insert(last.clone(), to.clone())),
        (toml::Value::Table(table), None) => drop(table.remove(last)),
        (toml::Value::Array(list), Some(to)) => list[last.parse::<usize>().unwrap()] = to.clone(),
        (toml::Value::Array(list), None) => drop(list.remove(last.parse().unwrap())),
        _ => panic!("{path:?}"),
    }
    changed
}

#[test]
fn whatever_is_deleted_or_of_another_type_is_an_error_with_a_place_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let root: toml::Value = toml::from_str(&made_real(dir.path())).unwrap();
    let mut all = Vec::new();
    paths(&root, &mut Vec::new(), &mut all);
    assert!(all.len() > 120, "{} paths", all.len());
    let others = [
        toml::Value::Integer(-5),
        toml::Value::Float(0.5),
        toml::Value::Boolean(true),
        toml::Value::String("\u{1f}what".to_owned()),
        toml::Value::Array(vec![toml::Value::Boolean(false)]),
        toml::Value::Table(toml::Table::from_iter([("zzz".to_owned(), toml::Value::Integer(1))])),
    ];
    for path in &all {
        for to in std::iter::once(None).chain(others.iter().map(Some)) {
            let text = toml::to_string(&changed(&root, path, to)).unwrap();
            let Err(faults) = load_in(dir.path(), &text, &[]) else { continue };
            assert!(faults.errors() > 0, "{path:?} {to:?}");
            for fault in &faults.0 {
                let nowhere =
                    fault.place.is_none() && !matches!(fault.code, Code::NoListener | Code::NoRoute);
                // What is taken out may leave a default that does not fit; all else has a line.
                assert!(!nowhere || to.is_none(), "{path:?} {to:?}\n{faults}");
                assert!(
                    !fault.message.contains('\u{1f}') && !fault.label.is_empty(),
                    "{path:?} {to:?}\n{faults}"
                );
            }
            // A single change is not answered by a flood.
            assert!(faults.errors() <= 12, "{path:?} {to:?}\n{faults}");
        }
    }
}
