//! One run of h2load against a server, and what it cost the server.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::server::{Server, Transport};

/// Core of the client.
pub const CLIENT_CORE: &str = "1";

/// Sessions, streams at once on each, and requests in all.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Sessions.
    pub sessions: u32,
    /// Streams at once on each session.
    pub streams: u32,
    /// Requests in all.
    pub requests: u32,
}

/// What every request of a run asks for.
#[derive(Clone, Debug)]
pub struct Task {
    /// Path of the resource.
    pub path: String,
    /// Octets of body that each answer must have.
    pub octets: u64,
    /// Sent as the body of each request, which is then a POST.
    pub upload: Option<PathBuf>,
    /// Fields of each request beside those that h2load writes, as `name: value`.
    pub fields: Vec<String>,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Run {
    /// Requests per second, as the client saw them.
    pub rate: f64,
    /// Microseconds of CPU, user and system, that the server spent on a request.
    pub cpu_micros: f64,
    /// Peak of resident memory during the run, KiB.
    pub peak_kib: u64,
    /// Octets of header blocks per answer, as they crossed the wire.
    pub header_octets: f64,
}

/// Drives `server` with `shape`. A twentieth of the requests goes before, unmeasured.
///
/// # Errors
/// When any request fails, is not answered by 2xx or with another number of octets, or TLS is not 1.3.
pub fn run(server: &Server, transport: Transport, shape: Shape, task: &Task) -> Result<Run> {
    let about =
        || format!("{} {}x{} {} over {transport}", server.peer, shape.sessions, shape.streams, task.path);
    let warm_up = Shape { requests: (shape.requests / 20).max(shape.sessions), ..shape };
    h2load(server, transport, warm_up, task).with_context(about)?;

    let process = server.observed();
    process.forget_peak()?;
    let before = process.cpu_nanos()?;
    let report = h2load(server, transport, shape, task).with_context(about)?;
    let spent = process.cpu_nanos()?.saturating_sub(before);
    let requests = f64::from(shape.requests);
    Ok(Run {
        rate: report.rate,
        cpu_micros: spent as f64 / 1000.0 / requests,
        peak_kib: process.peak_kib()?,
        header_octets: report.header_octets as f64 / requests,
    })
}

fn h2load(server: &Server, transport: Transport, shape: Shape, task: &Task) -> Result<Report> {
    let scheme = match transport {
        Transport::H2c => "http",
        Transport::Tls => "https",
    };
    let mut command = Command::new("taskset");
    command
        .args(["-c", CLIENT_CORE, "h2load"])
        .args(["-c", &shape.sessions.to_string()])
        .args(["-m", &shape.streams.to_string()])
        .args(["-n", &shape.requests.to_string()])
        // One suite for everybody, else each server picks the one it prefers. nghttpd knows P-256 only.
        .args(["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519:P-256"])
        .arg(format!("--connect-to=127.0.0.1:{}", server.port))
        .arg(format!("{scheme}://localhost:{}{}", server.port, task.path));
    for field in &task.fields {
        command.args(["-H", field]);
    }
    if let Some(file) = &task.upload {
        command.arg("--data").arg(file);
    }
    let output = command.output().context("h2load (Debian package nghttp2-client)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    let report = Report::parse(&text).with_context(|| format!("unknown words of h2load:\n{text}"))?;
    let requests = u64::from(shape.requests);
    if report.succeeded != requests || report.ok != requests {
        bail!("{requests} asked, {} answered, {} of them 2xx:\n{text}", report.succeeded, report.ok);
    }
    let octets = requests * task.octets;
    ensure!(report.data_octets == octets, "{} octets of bodies, not {octets}:\n{text}", report.data_octets);
    ensure!(transport == Transport::H2c || text.contains("TLS Protocol: TLSv1.3"), "not TLS 1.3:\n{text}");
    Ok(report)
}

#[derive(Debug, PartialEq)]
struct Report {
    rate: f64,
    succeeded: u64,
    ok: u64,
    header_octets: u64,
    data_octets: u64,
}

impl Report {
    fn parse(text: &str) -> Option<Self> {
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        Some(Self {
            rate: before(line("finished in ")?, " req/s")?.parse().ok()?,
            succeeded: before(line("requests: ")?, " succeeded")?.parse().ok()?,
            ok: before(line("status codes: ")?, " 2xx")?.parse().ok()?,
            header_octets: in_brackets(line("traffic: ")?, " headers")?,
            data_octets: in_brackets(line("traffic: ")?, " data")?,
        })
    }
}

/// The word that stands before `mark`.
fn before<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark)?.0.split([' ', ',']).next_back()
}

/// The number in the last brackets before `mark`: `12.21KB (12500) headers`.
fn in_brackets(line: &str, mark: &str) -> Option<u64> {
    let (_, number) = line.split_once(mark)?.0.rsplit_once('(')?;
    number.trim_end_matches(')').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_h2load_are_understood() {
        let text = "starting benchmark...
finished in 14.05ms, 71178.03 req/s, 1.83MB/s
requests: 1000 total, 1000 started, 1000 done, 999 succeeded, 1 failed, 0 errored, 0 timeout
status codes: 998 2xx, 1 3xx, 0 4xx, 0 5xx
traffic: 25.73KB (26350) total, 3.21KB (3289) headers (space savings 96.60%), 12.70KB (13000) data
";
        let seen = Report::parse(text).unwrap();
        let wanted =
            Report { rate: 71178.03, succeeded: 999, ok: 998, header_octets: 3289, data_octets: 13000 };
        assert_eq!(seen, wanted);
    }
}
