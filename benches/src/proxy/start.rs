//! Starts gateways on the core of servers and their upstream on the core of the client.

use std::fs;
use std::net::TcpListener;

use anyhow::{Context, Result, bail};

use super::config::{self, Ports};
use super::{Job, Link};
use crate::load::CLIENT_CORE;
use crate::server::{
    Peer, SERVER_CORE, Server, Stage, Transport, found, free_listener, free_port, on_core, port_of,
};

/// The process that all gateways of a job send to.
pub(super) fn upstream(stage: &Stage, job: Job, link: Link) -> Result<Server> {
    let root = stage.root();
    let started = match (job, link) {
        // It waits for the end of a request and says how much came; servers of files do not.
        (Job::Upload, _) => {
            let mut command = on_core(CLIENT_CORE, stage.hyper());
            if link == Link::Http1 {
                command.arg("--http1");
            }
            Server::announced(Peer::Hyper, command, |lines| port_of(lines.first()?))
        }
        (_, Link::H2c) => {
            let port = free_port()?;
            let mut command = on_core(CLIENT_CORE, found(Peer::Nghttpd)?);
            command.args(["--workers=1", "--address=127.0.0.1", "--max-concurrent-streams=128"]);
            command.args(["--no-tls", "--htdocs"]).arg(root).arg(port.to_string());
            Server::polled(Peer::Nghttpd, command, port)
        }
        (_, Link::Http1) => {
            let port = free_port()?;
            let dir = stage.dir().display().to_string();
            let file = stage.dir().join("upstream.conf");
            fs::write(&file, config::nginx_upstream(port, &dir, &root.display().to_string()))?;
            let mut command = on_core(CLIENT_CORE, found(Peer::Nginx)?);
            command.args(["-e", "stderr", "-p", &dir, "-c"]).arg(file);
            Server::polled(Peer::Nginx, command, port)
        }
    };
    started.with_context(|| format!("starting the upstream that speaks {link}"))
}

/// A gateway that sends everything to port `upstream`.
pub(super) fn gateway(
    stage: &Stage,
    peer: Peer,
    transport: Transport,
    link: Link,
    upstream: u16,
) -> Result<Server> {
    let about = || format!("starting {peer} as a gateway from {transport} to {link}");
    try_gateway(stage, peer, transport, link, upstream).with_context(about)
}

fn try_gateway(stage: &Stage, peer: Peer, transport: Transport, link: Link, upstream: u16) -> Result<Server> {
    let tls = (transport == Transport::Tls).then_some(stage.certificate());
    let [public, admin] = two_ports()?;
    let ports = Ports { public, upstream, admin };
    let dir = stage.dir();
    let mut command;
    match peer {
        Peer::Stagedoor => {
            let file = dir.join("gateway.toml");
            fs::write(&file, config::stagedoor(ports, link, tls))?;
            command = on_core(SERVER_CORE, stage.stagedoor());
            command.env("STAGEDOOR_STATE_DIR", dir.join("state")).args(["serve", "-c"]).arg(file);
        }
        Peer::Haproxy => {
            let file = dir.join("gateway.cfg");
            fs::write(&file, config::haproxy(ports, link, tls))?;
            command = on_core(SERVER_CORE, found(peer)?);
            command.arg("-db").arg("-f").arg(file);
        }
        Peer::Nginx if link == Link::Http1 => {
            let file = dir.join("gateway.conf");
            let folder = dir.display().to_string();
            fs::write(&file, config::nginx(ports, &folder, tls))?;
            command = on_core(SERVER_CORE, found(peer)?);
            command.args(["-e", "stderr", "-p", &folder, "-c"]).arg(file);
        }
        Peer::Nghttpx => {
            command = on_core(SERVER_CORE, found(peer)?);
            command.args(config::nghttpx(ports, link, tls));
        }
        Peer::Nginx | Peer::Hyper | Peer::H2o | Peer::Nghttpd | Peer::Node | Peer::Axum | Peer::Tonic => {
            bail!("{peer} is no gateway to {link} here");
        }
    }
    Server::polled(peer, command, public)
}

/// Two different ports that were free a moment ago.
fn two_ports() -> Result<[u16; 2]> {
    let both: [TcpListener; 2] = [free_listener()?, free_listener()?];
    Ok([both[0].local_addr()?.port(), both[1].local_addr()?.port()])
}
