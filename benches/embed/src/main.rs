//! One application, two servers: an axum router or a tonic service, served by stagedoor or by its own server.
//!
//! `embed_peer --engine stagedoor|own --app router|grpc [--certificate FILE --key FILE]`: cleartext with prior knowledge,
//! or TLS 1.3. One thread serves, the allocator of the shipped binary (mimalloc) for both, the limits each has by itself.
//! Prints the address it listens on.

#[path = "../../../src/allocator.rs"]
mod allocator;
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[path = "../../../tests/support/echo_grpc.rs"]
mod echo_grpc;
mod own;
mod service;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use stagedoor::{Endpoint, Listen, Server, Tls, tower};

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

#[derive(Parser)]
struct Arguments {
    /// Who serves
    #[arg(long, value_enum)]
    engine: Engine,
    /// What is served
    #[arg(long, value_enum)]
    app: App,
    /// Certificate chain, PEM: speak TLS instead of cleartext
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    /// stagedoor
    Stagedoor,
    /// axum::serve, tonic's transport
    Own,
}

#[derive(Clone, Copy, ValueEnum)]
enum App {
    /// An axum router
    Router,
    /// A tonic service
    Grpc,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let pair = arguments.certificate.zip(arguments.key);
    match (arguments.engine, arguments.app) {
        (Engine::Stagedoor, App::Router) => serve(tower(service::router()), pair).await,
        (Engine::Stagedoor, App::Grpc) => serve(tower(service::routes()), pair).await,
        (Engine::Own, App::Router) => own::axum(service::router(), pair).await,
        (Engine::Own, App::Grpc) => own::tonic(service::routes(), pair).await,
    }
}

async fn serve(app: Endpoint, pair: Option<(PathBuf, PathBuf)>) -> Result<()> {
    let listen = Listen::plain("127.0.0.1:0");
    let listen = match pair {
        Some((certificate, key)) => listen.with_tls(Tls::pem(certificate, key)),
        None => listen,
    };
    let server = Server::new().listen(listen).workers(1).fallback(app).start().await?;
    for (_, address) in server.addresses() {
        println!("{address}");
    }
    server.stopped().await;
    Ok(())
}
