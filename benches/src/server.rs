//! Starting the servers that are compared, each pinned to the core of servers, and ending them.
//!
//! A server lives as long as its [`Server`], and no longer than this process: the kernel kills it when we die.

use std::cmp::Ordering;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use tempfile::TempDir;

use crate::certificate::{self, Files};
use crate::process::Observed;
use crate::{config, octets};

/// Core of the servers.
pub const SERVER_CORE: &str = "0";

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Ours.
    Stagedoor,
    /// hyper 1.x, `hyper_peer` of this package.
    Hyper,
    /// h2o, Debian package.
    H2o,
    /// nghttpd of nghttp2, Debian package `nghttp2-server`.
    Nghttpd,
    /// haproxy, Debian package; answers itself.
    Haproxy,
    /// nginx, Debian package.
    Nginx,
    /// Node's `http2`, `peers/node_peer.mjs` of this package.
    Node,
    /// nghttpx of nghttp2, Debian package `nghttp2-proxy`; a gateway alone.
    Nghttpx,
    /// `axum::serve`, `embed_peer` of `stagedoor-embed`; in `compare embed` alone.
    Axum,
    /// tonic's transport, likewise.
    Tonic,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stagedoor => "stagedoor",
            Self::Hyper => "hyper",
            Self::H2o => "h2o",
            Self::Nghttpd => "nghttpd",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Node => "node",
            Self::Nghttpx => "nghttpx",
            Self::Axum => "axum",
            Self::Tonic => "tonic",
        })
    }
}

/// What carries HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Cleartext with prior knowledge.
    H2c,
    /// TLS 1.3, chosen by ALPN.
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::H2c => "h2c",
            Self::Tls => "TLS 1.3",
        })
    }
}

/// What a server is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Answers made by itself: `/bytes/{n}`, `/count`. Servers of files alone have `/bytes/13` and [`STREAM_OCTETS`].
    Paths,
    /// The files of a folder.
    Files,
}

/// Octets of the file that stands in where `/bytes` is no path but a file.
pub const STREAM_OCTETS: u64 = 16 << 20;

/// Programs, configuration and files of all servers.
#[derive(Debug)]
pub struct Stage {
    dir: TempDir,
    files: Files,
    stagedoor: PathBuf,
    hyper: PathBuf,
}

impl Stage {
    /// Lays out a temporary folder. Our two programs are looked for beside this one unless `stagedoor` says where.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn new(stagedoor: Option<PathBuf>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stagedoor-compare-").tempdir()?;
        let files = certificate::write(dir.path())?;
        let file = dir.path().join("root").join(config::PATH.trim_start_matches('/'));
        fs::create_dir_all(file.parent().context("a file without a folder")?)?;
        fs::write(file, config::BODY)?;
        fs::write(dir.path().join("block"), octets::block())?;
        fs::write(dir.path().join("node_peer.mjs"), NODE_PEER)?;
        let beside = env::current_exe()?;
        Ok(Self {
            dir,
            files,
            stagedoor: stagedoor.unwrap_or_else(|| beside.with_file_name("stagedoor")),
            hyper: beside.with_file_name("hyper_peer"),
        })
    }

    /// Whether the peer can be started here. `false`: a foreign program that is not installed.
    ///
    /// # Errors
    /// When one of our own programs has not been built.
    pub fn has(&self, peer: Peer) -> Result<bool> {
        let ours = match peer {
            Peer::Stagedoor => &self.stagedoor,
            Peer::Hyper => &self.hyper,
            Peer::H2o | Peer::Nghttpd | Peer::Haproxy | Peer::Nginx | Peer::Node | Peer::Nghttpx => {
                return Ok(find(&peer.to_string()).is_some());
            }
            Peer::Axum | Peer::Tonic => return Ok(false),
        };
        if !ours.is_file() {
            bail!("{} is not built: cargo build --release -p stagedoor -p stagedoor-bench", ours.display());
        }
        Ok(true)
    }

    /// Those of `wanted` that can be started here; says who is left out.
    ///
    /// # Errors
    /// When one of our own programs has not been built.
    pub fn present(&self, wanted: &[Peer]) -> Result<Vec<Peer>> {
        let mut peers = Vec::new();
        for &peer in wanted {
            match self.has(peer)? {
                true => peers.push(peer),
                false => eprintln!("LEFT OUT: {peer} is not installed"),
            }
        }
        Ok(peers)
    }

    /// A file below the folder that file servers serve, written when it is not there yet: so many octets of
    /// [`octets::octet_at`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, path: &str, octets: u64) -> Result<PathBuf> {
        let file = self.dir.path().join("root").join(path.trim_start_matches('/'));
        if !file.is_file() {
            fs::create_dir_all(file.parent().context("a file without a folder")?)?;
            octets::write(&file, octets)?;
        }
        Ok(file)
    }

    /// A file of zeros that takes no place on the disk, to be sent.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn upload(&self, octets: u64) -> Result<PathBuf> {
        let path = self.dir.path().join(format!("upload-{octets}"));
        fs::File::create(&path)?.set_len(octets)?;
        Ok(path)
    }

    /// The folder of everything.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder that file servers serve.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The certificate that all have.
    pub(crate) fn certificate(&self) -> &Files {
        &self.files
    }

    /// Our gateway.
    pub(crate) fn stagedoor(&self) -> &Path {
        &self.stagedoor
    }

    /// `hyper_peer`.
    pub(crate) fn hyper(&self) -> &Path {
        &self.hyper
    }

    /// Whether our binary knows `stagedoor files`.
    pub fn serves_files(&self) -> bool {
        let help = Command::new(&self.stagedoor).args(["files", "--help"]).output();
        help.is_ok_and(|output| output.status.success())
    }

    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    /// When it does not start within ten seconds.
    pub fn start(&self, peer: Peer, transport: Transport, site: Site) -> Result<Server> {
        self.try_start(peer, transport, site).with_context(|| format!("starting {peer} for {transport}"))
    }

    fn try_start(&self, peer: Peer, transport: Transport, site: Site) -> Result<Server> {
        let tls = (transport == Transport::Tls).then_some(&self.files);
        let root = self.root();
        match peer {
            Peer::Stagedoor => {
                let mut command = pinned(&self.stagedoor);
                command.env("STAGEDOOR_STATE_DIR", self.dir.path().join("state"));
                let wanted = match site {
                    Site::Paths => {
                        command.args("serve --plain 127.0.0.1:0 --public 127.0.0.1:0".split(' '));
                        command.args("--admin 127.0.0.1:0".split(' '));
                        if tls.is_some() { "public" } else { "plain" }
                    }
                    Site::Files => {
                        command.arg("files").arg(&root);
                        command.args("--plain 127.0.0.1:0 --listen 127.0.0.1:0".split(' '));
                        if tls.is_some() { "public" } else { "plain" }
                    }
                };
                command.args("--workers 1 --log warn".split(' '));
                Server::announced(peer, command, |lines| banner_port(lines, wanted))
            }
            Peer::Hyper => {
                let mut command = pinned(&self.hyper);
                command.arg("--root").arg(&root);
                if let Some(files) = tls {
                    command.arg("--certificate").arg(&files.certificate).arg("--key").arg(&files.key);
                }
                Server::announced(peer, command, |lines| port_of(lines.first()?))
            }
            Peer::H2o => {
                let port = free_port()?;
                let file = self.dir.path().join("h2o.conf");
                fs::write(&file, config::h2o(port, &root.display().to_string(), tls))?;
                let mut command = pinned(&found(peer)?);
                command.arg("--conf").arg(file);
                Server::polled(peer, command, port)
            }
            Peer::Nghttpd => {
                let port = free_port()?;
                let mut command = pinned(&found(peer)?);
                command.args([
                    "--workers=1",
                    "--address=127.0.0.1",
                    "--max-concurrent-streams=128",
                    "--htdocs",
                ]);
                command.arg(&root);
                match tls {
                    Some(files) => command.arg(port.to_string()).arg(&files.key).arg(&files.certificate),
                    None => command.arg("--no-tls").arg(port.to_string()),
                };
                Server::polled(peer, command, port)
            }
            Peer::Haproxy => {
                let port = free_port()?;
                let file = self.dir.path().join("haproxy.cfg");
                fs::write(&file, config::haproxy(port, tls))?;
                let mut command = pinned(&found(peer)?);
                command.arg("-db").arg("-f").arg(file);
                Server::polled(peer, command, port)
            }
            Peer::Nginx => {
                let port = free_port()?;
                let dir = self.dir.path().display().to_string();
                let file = self.dir.path().join("nginx.conf");
                fs::write(&file, config::nginx(port, &dir, &root.display().to_string(), tls))?;
                let mut command = pinned(&found(peer)?);
                command.args(["-e", "stderr", "-p", &dir, "-c"]).arg(file);
                Server::polled(peer, command, port)
            }
            Peer::Node => {
                let mut command = pinned(&found(peer)?);
                command
                    .arg(self.dir.path().join("node_peer.mjs"))
                    .arg(&root)
                    .arg(self.dir.path().join("block"));
                if let Some(files) = tls {
                    command.arg(&files.certificate).arg(&files.key);
                }
                Server::announced(peer, command, |lines| port_of(lines.first()?))
            }
            Peer::Nghttpx => bail!("it has no answers of its own"),
            Peer::Axum | Peer::Tonic => bail!("compare embed starts it"),
        }
    }
}

/// A server that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    /// Who it is.
    pub peer: Peer,
    /// Its port on 127.0.0.1.
    pub port: u16,
    child: Child,
}

impl Server {
    /// Its CPU time and memory.
    pub fn observed(&self) -> Observed {
        Observed::new(self.child.id())
    }

    /// A server that prints its port.
    pub(crate) fn announced(
        peer: Peer,
        command: Command,
        port: impl Fn(&[String]) -> Option<u16>,
    ) -> Result<Self> {
        let (mut server, lines) = Self::spawn(peer, command)?;
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while server.port == 0 {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout) => bail!("no address within {PATIENCE:?}: {seen:#?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("it ended: {seen:#?}"),
            }
            server.port = port(&seen).unwrap_or(0);
        }
        server.wait_until_it_accepts(deadline)
    }

    /// A server that was told its port.
    pub(crate) fn polled(peer: Peer, command: Command, port: u16) -> Result<Self> {
        let (mut server, _) = Self::spawn(peer, command)?;
        server.port = port;
        server.wait_until_it_accepts(Instant::now() + PATIENCE)
    }

    fn spawn(peer: Peer, mut command: Command) -> Result<(Self, Receiver<String>)> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let (sender, lines) = mpsc::channel();
        let streams = [child.stdout.take().map(boxed), child.stderr.take().map(boxed)];
        for stream in streams.into_iter().flatten() {
            let sender = sender.clone();
            // What nobody waits for any more is shown: a warning under load must not be lost. A flood may make many.
            thread::spawn(move || {
                let mut shown = 0;
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Err(mpsc::SendError(line)) = sender.send(line) {
                        shown += 1;
                        match shown.cmp(&MOST_LINES) {
                            Ordering::Less => eprintln!("[{peer}] {line}"),
                            Ordering::Equal => {
                                eprintln!("[{peer}] {line}\n[{peer}] ... and what it says after that")
                            }
                            Ordering::Greater => {}
                        }
                    }
                }
            });
        }
        Ok((Self { peer, port: 0, child }, lines))
    }

    fn wait_until_it_accepts(mut self, deadline: Instant) -> Result<Self> {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("port {} does not accept within {PATIENCE:?}", self.port);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pinned(program: &Path) -> Command {
    on_core(SERVER_CORE, program)
}

/// `program` on a core of its own, killed by the kernel when we die.
pub(crate) fn on_core(core: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c", core]).arg(program);
    command
}

/// The port in a line of the banner, as `  plain         http://localhost:8080/   ...`, once the banner is complete.
pub(crate) fn banner_port(lines: &[String], name: &str) -> Option<u16> {
    lines.iter().find(|line| line.starts_with("ready in"))?;
    let rest = lines.iter().find_map(|line| line.trim_start().strip_prefix(name))?;
    port_of(rest.split_whitespace().next()?)
}

/// The port at the end of an address or URL.
pub(crate) fn port_of(address: &str) -> Option<u16> {
    address.trim().trim_end_matches('/').rsplit_once(':')?.1.parse().ok()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(free_listener()?.local_addr()?.port())
}

/// Holds a free port; two of them at once are two ports.
pub(crate) fn free_listener() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}

pub(crate) fn found(peer: Peer) -> Result<PathBuf> {
    find(&peer.to_string()).ok_or_else(|| anyhow!("{peer} is not installed"))
}

/// A program by name; Debian puts servers into /usr/sbin, which is not on everyone's PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

/// The program Node runs.
const NODE_PEER: &str = include_str!("../peers/node_peer.mjs");

/// Lines of a server that are shown once it runs.
const MOST_LINES: usize = 5;

/// Within this a server accepts connections.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_gives_the_ports_when_it_is_complete() {
        let text = "stagedoor 0.1.0   1 worker   config: built-in demo
  certificate   self-signed for localhost, made now   /tmp/public/ca.pem
  public        https://localhost:40001/      h2, http/1.1
  plain         http://127.0.0.1:40002/      h2c, http/1.1
  admin         http://127.0.0.1:40003/       live sessions
  metrics       http://127.0.0.1:40003/metrics
ready in 41 ms   Ctrl-C drains, twice stops";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(banner_port(&lines, "public"), Some(40001));
        assert_eq!(banner_port(&lines, "plain"), Some(40002));
        assert_eq!(banner_port(&lines[..4], "plain"), None);
    }
}
