//! The tonic service, asked by a client of tonic.

use std::time::Duration;

use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::echo_grpc::Said;
use crate::echo_grpc::echo_client::EchoClient;
use crate::program::{Curl, Example};
use crate::support::run;

fn said(words: &str, times: u32) -> Said {
    Said { words: words.to_owned(), times }
}

#[test]
fn a_client_of_tonic_makes_every_kind_of_call() {
    let example = Example::start("grpc");
    run(async {
        let channel = Endpoint::from_shared(example.url("")).unwrap().timeout(Duration::from_secs(30));
        let mut client = EchoClient::new(channel.connect().await.unwrap());
        assert_eq!(client.once(said("hello", 1)).await.unwrap().into_inner(), said("hello", 1));
        let refused = client.once(said("", 1)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "nothing was said"));
        let down: Vec<_> = client.down(said("again", 3)).await.unwrap().into_inner().collect().await;
        assert_eq!(down.into_iter().map(Result::unwrap).collect::<Vec<_>>(), vec![said("again", 3); 3]);
        let up = client.up(tokio_stream::iter([said("a", 1), said("b", 1)])).await.unwrap().into_inner();
        assert_eq!(up, said("ab", 2));
        let both = client.both(tokio_stream::iter([said("x", 1), said("y", 2)])).await.unwrap();
        let both: Vec<_> = both.into_inner().map(Result::unwrap).collect().await;
        assert_eq!(both, [said("x", 1), said("y", 2)]);
    });
    if let Some(curls) = Curl::both() {
        for curl in &curls {
            assert_eq!(curl.answer(&[&example.url("/")]), "200 there is gRPC here", "on the same port");
        }
    }
    example.interrupted();
}
