//! An application served by stagedoor and by the server it would have otherwise: an axum router, a tonic service.
//!
//! Both are `embed_peer` of the package `stagedoor-embed`, which is told who serves; nothing else differs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::load::Task;
use crate::server::{Peer, SERVER_CORE, Server, Stage, Transport, on_core, port_of};

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// An axum router, one route of which answers 13 octets.
    Router,
    /// A tonic service, one call of which gives back what it was given.
    Grpc,
}

impl App {
    /// The server it has otherwise.
    #[must_use]
    pub fn own(self) -> Peer {
        match self {
            Self::Router => Peer::Axum,
            Self::Grpc => Peer::Tonic,
        }
    }

    /// How much of its own server's CPU a request may cost.
    #[must_use]
    pub fn asked(self) -> f64 {
        match self {
            Self::Router => 0.5,
            Self::Grpc => 0.7,
        }
    }

    /// What each request asks for.
    ///
    /// # Errors
    /// When the message cannot be written.
    pub fn task(self, stage: &Stage) -> Result<Task> {
        match self {
            Self::Router => Ok(Task {
                path: crate::config::PATH.to_owned(),
                octets: crate::config::BODY.len() as u64,
                upload: None,
                fields: Vec::new(),
            }),
            Self::Grpc => {
                let file = stage.dir().join("said");
                fs::write(&file, MESSAGE)?;
                Ok(Task {
                    path: "/stagedoor.echo.Echo/Once".to_owned(),
                    octets: MESSAGE.len() as u64,
                    upload: Some(file),
                    fields: vec!["content-type: application/grpc".to_owned(), "te: trailers".to_owned()],
                })
            }
        }
    }
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Router => "An axum router",
            Self::Grpc => "A tonic service, unary",
        })
    }
}

/// A message of gRPC: not compressed, 15 octets, field 1 "Hello, world!".
const MESSAGE: &[u8] = b"\0\0\0\0\x0f\x0a\x0dHello, world!";

/// Starts `embed_peer`.
///
/// # Errors
/// When it is not built, or does not start within ten seconds.
pub fn start(stage: &Stage, app: App, ours: bool, transport: Transport, program: &Path) -> Result<Server> {
    ensure!(
        program.is_file(),
        "{} is not built: cargo build --release -p stagedoor-embed",
        program.display()
    );
    let mut command = on_core(SERVER_CORE, program);
    command.args(["--engine", if ours { "stagedoor" } else { "own" }]);
    command.args(["--app", if app == App::Router { "router" } else { "grpc" }]);
    if transport == Transport::Tls {
        let files = stage.certificate();
        command.arg("--certificate").arg(&files.certificate).arg("--key").arg(&files.key);
    }
    let peer = if ours { Peer::Stagedoor } else { app.own() };
    Server::announced(peer, command, |lines| port_of(lines.first()?))
}

/// Where `embed_peer` is, beside the program that runs.
///
/// # Errors
/// When the program that runs has no place.
pub fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("embed_peer"))
}
