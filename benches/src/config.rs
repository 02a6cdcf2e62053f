//! Configuration of the peers: one thread, no access log, at least 100 streams a session, room for the idle sessions.

use crate::certificate::Files;

/// Path that every server is asked for.
pub const PATH: &str = "/bytes/13";
/// What the peers answer.
pub const BODY: &str = "hello, worlds";
/// Sessions that a peer must be able to hold; haproxy wants two open files for each.
pub(crate) const SESSIONS: u32 = 8_000;
/// Idle for less than this, seconds, no session is ended.
pub(crate) const IDLE_SECONDS: u32 = 600;

/// h2o: serves the file from `root`, over TLS when `tls` is there.
pub fn h2o(port: u16, root: &str, tls: Option<&Files>) -> String {
    let ssl = tls.map_or(String::new(), |files| {
        format!(
            "\n  ssl:\n    certificate-file: {}\n    key-file: {}\n    minimum-version: TLSv1.2\n    ocsp-update-interval: 0",
            files.certificate.display(),
            files.key.display()
        )
    });
    // Started by root, h2o becomes nobody, who cannot read our folder.
    let user = if rustix::process::geteuid().is_root() { "user: root\n" } else { "" };
    format!(
        "{user}num-threads: 1
max-connections: {SESSIONS}
http2-idle-timeout: {IDLE_SECONDS}
http2-max-concurrent-requests-per-connection: 128
file.mime.setdefaulttype: text/plain
listen:
  host: 127.0.0.1
  port: {port}{ssl}
hosts:
  default:
    paths:
      \"/\":
        file.dir: {root}
"
    )
}

/// nginx as Debian sets it up, but for one process that stays in front and no access log; `dir` is for its temporary
/// files.
pub fn nginx(port: u16, dir: &str, root: &str, tls: Option<&Files>) -> String {
    let ssl = tls.map_or(String::new(), |files| {
        format!(
            "ssl_certificate {};\n    ssl_certificate_key {};\n    ssl_protocols TLSv1.3;\n    ",
            files.certificate.display(),
            files.key.display()
        )
    });
    let how = if tls.is_some() { "ssl http2" } else { "http2" };
    // Started by root, its worker becomes www-data, who cannot read our folder.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n  "))
        .concat();
    format!(
        "{user}daemon off;
master_process off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {SESSIONS}; }}
http {{
  {temporary}sendfile on;
  tcp_nopush on;
  access_log off;
  keepalive_timeout {IDLE_SECONDS};
  keepalive_requests 100000000;
  http2_max_concurrent_streams 128;
  server {{
    listen 127.0.0.1:{port} {how};
    {ssl}root {root};
  }}
}}
"
    )
}

/// haproxy: answers itself, without a server behind it.
pub fn haproxy(port: u16, tls: Option<&Files>) -> String {
    let bind = match tls {
        Some(files) => format!("ssl crt {} alpn h2 ssl-min-ver TLSv1.3", files.both.display()),
        None => "proto h2".to_owned(),
    };
    format!(
        "global
    nbthread 1
    maxconn {SESSIONS}
    tune.h2.max-concurrent-streams 128
defaults
    mode http
    timeout client {IDLE_SECONDS}s
    timeout http-request {IDLE_SECONDS}s
    timeout http-keep-alive {IDLE_SECONDS}s
frontend peer
    bind 127.0.0.1:{port} {bind}
    http-request return status 200 content-type text/plain string \"{BODY}\"
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_thirteen_octets_of_the_path() {
        assert_eq!(PATH, format!("/bytes/{}", BODY.len()));
    }
}
