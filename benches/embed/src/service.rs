//! What is served, whoever serves it.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use tokio_stream::StreamExt as _;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::echo_grpc::Said;
use crate::echo_grpc::echo_server::{Echo, EchoServer};

/// The body of `/bytes/13`.
const BODY: &str = "Hello, world!";

/// A few routes, as an application has them.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(async || "there is /bytes/13 here\n"))
        .route("/bytes/13", get(async || BODY))
        .route("/users/{id}", get(async |Path(id): Path<u64>| format!("user {id}\n")))
        .route("/echo", post(async |body: String| body))
}

/// The service of the tests.
pub(crate) fn routes() -> Routes {
    Routes::new(EchoServer::new(Echoing))
}

struct Echoing;

type Stream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Said, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Echoing {
    async fn once(&self, request: Request<Said>) -> Result<Response<Said>, Status> {
        Ok(Response::new(request.into_inner()))
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
