//! What a server answers, asked once by curl: shown beside the figures, so that nobody compares unlike things unseen.

use std::process::Command;

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
    let (scheme, how) = match transport {
        Transport::H2c => ("http", "--http2-prior-knowledge"),
        Transport::Tls => ("https", "--http2"),
    };
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "10", "--insecure", "--output", "/dev/null"])
        .args(["--dump-header", "-", how, "--write-out", "%{http_version} %{http_code} %{size_download}"])
        .arg("--connect-to")
        .arg(format!("::127.0.0.1:{}", server.port))
        .arg(format!("{scheme}://localhost:{}{PATH}", server.port))
        .output()
        .context("curl")?;
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
