//! Configuration of gateways and of nginx as their upstream: one thread, no access log, connections kept, room for every
//! request at once. Everything else is as the program has it by itself.

use super::Link;
use crate::certificate::Files;
use crate::config::{BODY, IDLE_SECONDS, PATH, SESSIONS};

/// Connections that nginx must be able to hold: one each way for 50 x 100 requests at once, and some.
const CONNECTIONS: u32 = 16_000;
/// Connections to an HTTP/1.1 upstream that nginx keeps for the next request.
const KEPT: u32 = 5_000;

/// Where a gateway listens and sends to, all on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For clients.
    pub public: u16,
    /// Of the upstream.
    pub upstream: u16,
    /// For the operator of stagedoor.
    pub admin: u16,
}

/// stagedoor: one listener, one upstream, one route.
pub fn stagedoor(ports: Ports, link: Link, tls: Option<&Files>) -> String {
    let Ports { public, upstream, admin } = ports;
    let protocol = match link {
        Link::H2c => "h2c",
        Link::Http1 => "http/1.1",
    };
    let tls = tls.map_or(String::new(), |files| {
        format!(
            "[[listener.tls.certificate]]\nnames = [\"localhost\"]\ncert = {:?}\nkey = {:?}\n",
            files.certificate.display().to_string(),
            files.key.display().to_string()
        )
    });
    format!(
        "[server]
workers = 1
[admin]
bind = \"127.0.0.1:{admin}\"
[log]
level = \"warn\"
access = {{ format = \"off\" }}
[[listener]]
name = \"plain\"
bind = [\"127.0.0.1:{public}\"]
{tls}
[[upstream]]
name = \"peer\"
endpoints = [\"http://127.0.0.1:{upstream}\"]
protocol = \"{protocol}\"
[[route]]
name = \"all\"
proxy = {{ upstream = \"peer\" }}
"
    )
}

/// haproxy, its connections to the upstream shared by all clients.
pub fn haproxy(ports: Ports, link: Link, tls: Option<&Files>) -> String {
    let Ports { public, upstream, .. } = ports;
    let bind = match tls {
        Some(files) => format!("ssl crt {} alpn h2 ssl-min-ver TLSv1.3", files.both.display()),
        None => "proto h2".to_owned(),
    };
    let how = match link {
        Link::H2c => " proto h2",
        Link::Http1 => "",
    };
    format!(
        "global
    nbthread 1
    maxconn {SESSIONS}
    tune.h2.max-concurrent-streams 128
defaults
    mode http
    timeout client {IDLE_SECONDS}s
    timeout server {IDLE_SECONDS}s
    timeout connect 5s
    timeout http-request {IDLE_SECONDS}s
    timeout http-keep-alive {IDLE_SECONDS}s
frontend public
    bind 127.0.0.1:{public} {bind}
    default_backend peer
backend peer
    http-reuse always
    server one 127.0.0.1:{upstream}{how}
"
    )
}

/// nginx as a gateway: it speaks HTTP/1.1 alone with upstreams. `dir` is for its temporary files.
pub fn nginx(ports: Ports, dir: &str, tls: Option<&Files>) -> String {
    let Ports { public, upstream, .. } = ports;
    let ssl = tls.map_or(String::new(), |files| {
        format!(
            "ssl_certificate {};\n    ssl_certificate_key {};\n    ssl_protocols TLSv1.3;\n    ",
            files.certificate.display(),
            files.key.display()
        )
    });
    let how = if tls.is_some() { "ssl http2" } else { "http2" };
    let head = nginx_head(dir, "gateway");
    format!(
        "{head}  http2_max_concurrent_streams 128;
  client_max_body_size 0;
  upstream peer {{
    server 127.0.0.1:{upstream};
    keepalive {KEPT};
    keepalive_requests 100000000;
    keepalive_timeout {IDLE_SECONDS}s;
  }}
  server {{
    listen 127.0.0.1:{public} {how};
    {ssl}location / {{
      proxy_pass http://peer;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"
    )
}

/// nginx as the upstream: a fixed small answer, and files below `root`.
pub fn nginx_upstream(port: u16, dir: &str, root: &str) -> String {
    let head = nginx_head(dir, "upstream");
    format!(
        "{head}  sendfile on;
  tcp_nopush on;
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    root {root};
    location = {PATH} {{
      default_type text/plain;
      return 200 \"{BODY}\";
    }}
  }}
}}
"
    )
}

/// The beginning, as far as both have it, `http` still open. `name` keeps their files apart.
fn nginx_head(dir: &str, name: &str) -> String {
    // Started by root, its worker becomes www-data, who cannot read our folder.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{name}-{kind};\n  "))
        .concat();
    format!(
        "{user}daemon off;
master_process off;
worker_processes 1;
pid {dir}/{name}.pid;
error_log stderr error;
events {{ worker_connections {CONNECTIONS}; }}
http {{
  {temporary}access_log off;
  keepalive_timeout {IDLE_SECONDS};
  keepalive_requests 100000000;
"
    )
}

/// Arguments of nghttpx, which takes no file of ours and none of the system's.
pub fn nghttpx(ports: Ports, link: Link, tls: Option<&Files>) -> Vec<String> {
    let Ports { public, upstream, .. } = ports;
    let how = match link {
        Link::H2c => ";;proto=h2",
        Link::Http1 => ";;proto=http/1.1",
    };
    let no_tls = if tls.is_some() { "" } else { ";no-tls" };
    let mut arguments = vec![
        "--conf=/dev/null".to_owned(),
        "--single-process".to_owned(),
        "--workers=1".to_owned(),
        "--log-level=ERROR".to_owned(),
        "--frontend-http2-max-concurrent-streams=128".to_owned(),
        format!("--frontend=127.0.0.1,{public}{no_tls}"),
        format!("--backend=127.0.0.1,{upstream}{how}"),
    ];
    if let Some(files) = tls {
        arguments.extend([&files.key, &files.certificate].map(|file| file.display().to_string()));
    }
    arguments
}
