//! The commands about what runs behind the listeners: `upstreams`, `certs`, `reload`.

use serde::Deserialize;

use super::args::{CertsArgs, ReloadArgs, UpstreamsArgs};
use super::commands::{ask, table};
use super::connection::Query;
use super::tables::{Column, Table, left, right, shrinking};
use super::text::{counted, plain, seconds};
use super::{print, room};
use crate::failure::Failure;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// An upstream, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Upstream {
    name: String,
    protocol: String,
    balance: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    url: String,
    state: String,
    weight: u64,
    active: u64,
    pending: u64,
    connections: u64,
    consecutive_failures: u64,
    ejected_until_seconds: Option<f64>,
    last_check: Option<Check>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Check {
    detail: String,
    age_seconds: f64,
}

/// A certificate, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Certificate {
    name: String,
    names: Vec<String>,
    listeners: Vec<String>,
    not_after: f64,
    expires_in_seconds: f64,
    issuer: Option<String>,
    error: Option<String>,
}

/// What a load changed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Reloaded {
    changed: Vec<String>,
    needs_restart: Vec<String>,
}

/// An endpoint, or an upstream that has none.
type Row = (Upstream, Option<Endpoint>);

const UPSTREAMS: &[Column<Row>] = &[
    shrinking("UPSTREAM", 8, 0, None, |(upstream, _)| plain(&upstream.name).into_owned()),
    left("PROTOCOL", 5, None, |(upstream, _)| plain(&upstream.protocol).into_owned()),
    left("BALANCE", 7, None, |(upstream, _)| plain(&upstream.balance).into_owned()),
    shrinking("ENDPOINT", 16, 0, None, |(_, endpoint)| {
        cell(endpoint, |known| plain(&known.url).into_owned())
    }),
    left("STATE", 0, None, |(_, endpoint)| cell(endpoint, state)),
    right("WEIGHT", 8, None, |(_, endpoint)| cell(endpoint, |known| known.weight.to_string())),
    right("ACTIVE", 1, None, |(_, endpoint)| cell(endpoint, |known| known.active.to_string())),
    right("WAITING", 4, None, |(_, endpoint)| cell(endpoint, |known| known.pending.to_string())),
    right("CONNECTIONS", 3, None, |(_, endpoint)| cell(endpoint, |known| known.connections.to_string())),
    right("FAILURES", 6, None, |(_, endpoint)| {
        cell(endpoint, |known| known.consecutive_failures.to_string())
    }),
    shrinking("LAST CHECK", 12, 2, None, |(_, endpoint)| cell(endpoint, check)),
];

const CERTIFICATES: &[Column<Certificate>] = &[
    shrinking("CERTIFICATE", 12, 0, None, |cert| plain(&cert.name).into_owned()),
    shrinking("FOR", 16, 2, None, |cert| several(&cert.names)),
    shrinking("LISTENERS", 8, 4, None, |cert| several(&cert.listeners)),
    left("EXPIRES", 3, None, |cert| day(cert.not_after)),
    right("LEFT", 0, None, |cert| time_left(cert.expires_in_seconds)),
    shrinking("ISSUER", 10, 5, None, |cert| plain(cert.issuer.as_deref().unwrap_or("-")).into_owned()),
];

fn cell(endpoint: &Option<Endpoint>, text: impl Fn(&Endpoint) -> String) -> String {
    endpoint.as_ref().map_or_else(|| "-".to_owned(), text)
}

/// How it stands, and for how long where that is known.
fn state(endpoint: &Endpoint) -> String {
    let state = plain(&endpoint.state);
    match endpoint.ejected_until_seconds {
        Some(left) => format!("{state} {}", seconds(left)),
        None => state.into_owned(),
    }
}

fn check(endpoint: &Endpoint) -> String {
    match &endpoint.last_check {
        Some(check) => format!("{}, {} ago", plain(&check.detail), seconds(check.age_seconds)),
        None => "-".to_owned(),
    }
}

fn several(names: &[String]) -> String {
    match names {
        [] => "-".to_owned(),
        names => plain(&names.join(", ")).into_owned(),
    }
}

/// The day of a Unix time, in UTC.
fn day(at: f64) -> String {
    let since = std::time::Duration::try_from_secs_f64(at).ok();
    let at = since.and_then(|since| std::time::UNIX_EPOCH.checked_add(since));
    // Years that have no four digits are nobody's.
    match at.filter(|at| *at < std::time::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_800)) {
        Some(at) => humantime::format_rfc3339_seconds(at).to_string().chars().take(10).collect(),
        None => "-".to_owned(),
    }
}

/// Days are enough until the last two.
fn time_left(left: f64) -> String {
    match left {
        left if left <= 0.0 => "expired".to_owned(),
        left if left < 2.0 * DAY => seconds(left),
        left => format!("{}d", (left / DAY).floor()),
    }
}

/// `stagedoor upstreams`.
pub(super) async fn upstreams(args: &UpstreamsArgs) -> Result<(), Failure> {
    let answer = ask(&args.admin, "GET", &Query::new(&["api", "upstreams"]), None).await?;
    if args.json {
        return print(answer.document()?).await;
    }
    let upstreams: Vec<Upstream> = answer.json()?;
    print(match &*upstreams {
        [] => "no upstreams\n".to_owned(),
        _ => table(&Table::new(UPSTREAMS, &rows(upstreams), room(), None)),
    })
    .await
}

fn rows(upstreams: Vec<Upstream>) -> Vec<Row> {
    let rows = upstreams.into_iter().flat_map(|mut upstream| {
        let endpoints: Vec<_> = std::mem::take(&mut upstream.endpoints).into_iter().map(Some).collect();
        let endpoints = if endpoints.is_empty() { vec![None] } else { endpoints };
        endpoints.into_iter().map(move |endpoint| (upstream.clone(), endpoint))
    });
    rows.collect()
}

/// `stagedoor certs`.
pub(super) async fn certs(args: &CertsArgs) -> Result<(), Failure> {
    let answer = ask(&args.admin, "GET", &Query::new(&["api", "certs"]), None).await?;
    if args.json {
        return print(answer.document()?).await;
    }
    print(certificates(&answer.json::<Vec<Certificate>>()?, room())).await
}

fn certificates(certificates: &[Certificate], room: usize) -> String {
    if certificates.is_empty() {
        return "no certificates\n".to_owned();
    }
    let mut text = table(&Table::new(CERTIFICATES, certificates, room, None));
    for cert in certificates {
        if let Some(error) = &cert.error {
            text.push_str(&format!(
                "{}: the files hold another pair, which is not in use: ",
                plain(&cert.name)
            ));
            text.push_str(&plain(error));
            text.push('\n');
        }
    }
    text
}

/// `stagedoor reload`.
pub(super) async fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    let answer = ask(&args.admin, "POST", &Query::new(&["api", "reload"]), None).await?;
    print(told(&answer.json()?)).await
}

fn told(reloaded: &Reloaded) -> String {
    let mut text = match reloaded.changed.len() as u64 {
        0 => "reloaded, nothing changed\n".to_owned(),
        count => format!("reloaded, {}\n", counted(count, "change")),
    };
    let indented =
        |lines: &[String]| -> String { lines.iter().map(|line| format!("  {}\n", plain(line))).collect() };
    text.push_str(&indented(&reloaded.changed));
    if !reloaded.needs_restart.is_empty() {
        text.push_str("after a restart only:\n");
        text.push_str(&indented(&reloaded.needs_restart));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::text::width;

    #[test]
    fn endpoints_are_rows_and_an_upstream_without_one_has_a_row_too() {
        let document = r#"[
            {"name":"api","protocol":"h2c","balance":"p2c","endpoints":[
                {"url":"http://10.0.0.7:80","state":"healthy","weight":1,"active":3,"connections":2,
                 "last_check":{"ok":true,"detail":"200","age_seconds":1.5}},
                {"url":"http://10.0.0.8:80","state":"ejected","weight":2,"consecutive_failures":5,
                 "ejected_until_seconds":12.0,"new":[]}]},
            {"name":"\u001b[2J","protocol":"auto","endpoints":[]}]"#;
        let upstreams: Vec<Upstream> = serde_json::from_str(document).unwrap();
        let text = Table::new(UPSTREAMS, &rows(upstreams), usize::MAX, None).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("healthy") && lines[1].contains("200, 1.50s ago"), "{text}");
        assert!(lines[2].contains("ejected 12.0s") && lines[2].ends_with('-'), "{text}");
        assert!(lines[3].starts_with("\\u{1b}[2J"), "{text}");
        for room in 0..100 {
            let upstreams: Vec<Upstream> = serde_json::from_str(document).unwrap();
            let table = Table::new(UPSTREAMS, &rows(upstreams), room, None).text();
            assert!(table.lines().all(|line| width(line) <= room), "{room}");
        }
    }

    #[test]
    fn certificates_are_told_by_the_days_they_have() {
        assert_eq!(
            [-1.0, 0.0, 3_600.0, 172_800.0, 8_640_000.5].map(time_left),
            ["expired", "expired", "1h00m", "2d", "100d"]
        );
        assert_eq!(
            [0.0, 1_798_675_199.0, f64::NAN, -1.0, 1e300].map(day),
            ["1970-01-01", "2026-12-30", "-", "-", "-"]
        );
        let cert = Certificate {
            name: "example.org".into(),
            names: vec!["example.org".into(), "*.example.org".into()],
            expires_in_seconds: 864_000.0,
            error: Some("no key in example.key".into()),
            ..Certificate::default()
        };
        let text = certificates(&[cert], usize::MAX);
        assert!(text.contains("example.org, *.example.org") && text.contains("10d"), "{text}");
        assert!(text.ends_with("which is not in use: no key in example.key\n"), "{text}");
        assert_eq!(certificates(&[], 80), "no certificates\n");
    }

    #[test]
    fn a_load_is_told_by_what_it_changed() {
        assert_eq!(told(&Reloaded::default()), "reloaded, nothing changed\n");
        let reloaded = Reloaded {
            changed: vec!["route \"api\" is new".into()],
            needs_restart: vec!["server.workers is 4".into()],
        };
        let wanted =
            "reloaded, 1 change\n  route \"api\" is new\nafter a restart only:\n  server.workers is 4\n";
        assert_eq!(told(&reloaded), wanted);
    }
}
