//! A tonic service on stagedoor, beside routes of ours: `cargo run --example grpc`, then
//! `grpcurl -plaintext -proto tests/support/echo.proto -d '{"words":"hello"}' 127.0.0.1:7777 stagedoor.echo.Echo/Once`.

/// What `tonic-build` makes of `tests/support/echo.proto`.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
#[path = "../tests/support/echo_grpc.rs"]
mod echo_grpc;

use std::time::Duration;

use echo_grpc::Said;
use echo_grpc::echo_server::{Echo, EchoServer};
use stagedoor::{Server, get, tower};
use tokio_stream::StreamExt as _;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

struct Echoing;

type Stream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Said, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Echoing {
    async fn once(&self, request: Request<Said>) -> Result<Response<Said>, Status> {
        match request.into_inner() {
            said if said.words.is_empty() => Err(Status::invalid_argument("nothing was said")),
            said => Ok(Response::new(said)),
        }
    }

    type DownStream = Stream;

    async fn down(&self, request: Request<Said>) -> Result<Response<Stream>, Status> {
        let said = request.into_inner();
        let times = said.times as usize;
        Ok(Response::new(Box::pin(tokio_stream::iter(std::iter::repeat_n(Ok(said), times)))))
    }

    async fn up(&self, request: Request<Streaming<Said>>) -> Result<Response<Said>, Status> {
        let mut stream = request.into_inner();
        let mut all = Said::default();
        while let Some(said) = stream.next().await {
            all.words.push_str(&said?.words);
            all.times += 1;
        }
        Ok(Response::new(all))
    }

    type BothStream = Stream;

    async fn both(&self, request: Request<Streaming<Said>>) -> Result<Response<Stream>, Status> {
        Ok(Response::new(Box::pin(request.into_inner())))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> stagedoor::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let server = Server::new()
        .listen(address)
        .route("/", get(async || "there is gRPC here\n"))
        .fallback(tower(Routes::new(EchoServer::new(Echoing))))
        .start()
        .await?;
    println!("http://{}/", server.addresses()[0].1);
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    server.run_until(ctrl_c, Duration::from_secs(10)).await;
    Ok(())
}
