//! What a server answers, asked once by curl: shown beside the figures, so that nobody compares unlike things unseen.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use crate::config::{BODY, PATH};
use crate::server::{Server, Transport};

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Names of the fields, in order.
    pub fields: Vec<String>,
    /// Octets of names and values, as HPACK counts them before compression but without the 32 an entry (RFC 7541 §4.1).
    pub octets: usize,
}

/// Asks once.
///
/// # Errors
/// When the answer is not 200, not HTTP/2, or has another number of octets.
pub fn ask(server: &Server, transport: Transport) -> Result<Answer> {
    let output = curl(server, transport, PATH, &["--output", "/dev/null", "--dump-header", "-"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    let wanted = format!("2 200 {}", BODY.len());
    ensure!(
        output.status.success() && text.ends_with(&wanted),
        "{}: {text} {}",
        server.peer,
        String::from_utf8_lossy(&output.stderr)
    );
    let fields = text.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut answer = Answer { fields: Vec::new(), octets: ":status200".len() };
    for (name, value) in fields {
        answer.fields.push(name.to_owned());
        answer.octets += name.len() + value.trim_end().len();
    }
    Ok(answer)
}

/// Asks for `path`, with the octets of `upload` as the body of a POST where there is one; the answer's body.
///
/// # Errors
/// When the answer is not 200 over HTTP/2.
pub fn body(server: &Server, transport: Transport, path: &str, upload: Option<&Path>) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("body");
    let (output, data) = (file.display().to_string(), upload.map(|upload| format!("@{}", upload.display())));
    let mut extra = vec!["--output", &output];
    if let Some(data) = &data {
        extra.extend(["--header", "expect:", "--data-binary", data]);
    }
    let answer = curl(server, transport, path, &extra)?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let why = String::from_utf8_lossy(&answer.stderr);
    ensure!(answer.status.success() && text.starts_with("2 200 "), "{} {path}: {text} {why}", server.peer);
    fs::read(&file).context("what curl wrote")
}

fn curl(server: &Server, transport: Transport, path: &str, extra: &[&str]) -> Result<Output> {
    let (scheme, how) = match transport {
        Transport::H2c => ("http", "--http2-prior-knowledge"),
        Transport::Tls => ("https", "--http2"),
    };
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--insecure", how])
        .args(["--write-out", "%{http_version} %{http_code} %{size_download}"])
        .args(extra)
        .arg("--connect-to")
        .arg(format!("::127.0.0.1:{}", server.port))
        .arg(format!("{scheme}://localhost:{}{path}", server.port))
        .output()
        .context("curl")
}
