//! tonic's `Routes` on stagedoor, called by tonic's own client: every kind of call, how they fail, and who gives up first.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, Stream, StreamExt as _};
use stagedoor::{Endpoint, Event, Events, Outcome, Server, tower};
use tokio::sync::mpsc;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint as Target};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::echo_grpc::Said;
use crate::echo_grpc::echo_client::EchoClient;
use crate::echo_grpc::echo_server::{Echo, EchoServer};
use crate::site::{Site, until, within};
use crate::support::run;

/// What a handler that never ends tells as it goes.
type Parted = mpsc::UnboundedSender<&'static str>;

/// Says back what it hears; some words have a meaning.
#[derive(Clone)]
struct Echoing {
    parted: Parted,
}

struct Parting(Parted, &'static str);

impl Drop for Parting {
    fn drop(&mut self) {
        self.0.send(self.1).ok();
    }
}

type Back = Pin<Box<dyn Stream<Item = Result<Said, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Echoing {
    async fn once(&self, request: Request<Said>) -> Result<Response<Said>, Status> {
        let heard = request.metadata().get("x-heard").cloned();
        let octets = request.metadata().get_bin("x-octets-bin").cloned();
        let said = request.into_inner();
        match &*said.words {
            "for ever" => {
                let _parting = Parting(self.parted.clone(), "once");
                std::future::pending().await
            }
            "fail" => {
                let mut metadata = MetadataMap::new();
                metadata.insert("x-why", MetadataValue::from_static("on purpose"));
                let details = bytes::Bytes::from_static(b"\0details");
                Err(Status::with_details_and_metadata(
                    Code::FailedPrecondition,
                    "not so: 100 %\n",
                    details,
                    metadata,
                ))
            }
            "panic" => panic!("on purpose"),
            _ => {
                let mut response = Response::new(said);
                if let Some(heard) = heard {
                    response.metadata_mut().insert("x-heard", heard);
                }
                if let Some(octets) = octets {
                    response.metadata_mut().insert_bin("x-octets-bin", octets);
                }
                Ok(response)
            }
        }
    }

    type DownStream = Back;

    async fn down(&self, request: Request<Said>) -> Result<Response<Back>, Status> {
        let said = request.into_inner();
        let fails = said.words == "fail";
        let (times, for_ever) = (said.times as usize, said.words == "for ever");
        let all =
            stream::iter((1..=said.times).map(move |times| Ok(Said { times, words: said.words.clone() })));
        if fails {
            let error = Err(Status::out_of_range(format!("after {times}")));
            return Ok(Response::new(Box::pin(all.chain(stream::iter([error])))));
        }
        if for_ever {
            let parting = Parting(self.parted.clone(), "down");
            let all = all.chain(stream::pending()).map(move |said| {
                let _ = &parting;
                said
            });
            return Ok(Response::new(Box::pin(all)));
        }
        Ok(Response::new(Box::pin(all)))
    }

    async fn up(&self, request: Request<Streaming<Said>>) -> Result<Response<Said>, Status> {
        let mut stream = request.into_inner();
        let mut all = Said::default();
        while let Some(said) = stream.message().await? {
            all.words.push_str(&said.words);
            all.times += 1;
        }
        Ok(Response::new(all))
    }

    type BothStream = Back;

    async fn both(&self, request: Request<Streaming<Said>>) -> Result<Response<Back>, Status> {
        Ok(Response::new(Box::pin(request.into_inner())))
    }
}

fn said(words: impl Into<String>, times: u32) -> Said {
    Said { words: words.into(), times }
}

/// A server with the service on it, its client, its events, and what handlers say that were dropped.
struct Stage {
    site: Site,
    client: EchoClient<Channel>,
    events: Events,
    parted: mpsc::UnboundedReceiver<&'static str>,
}

impl Stage {
    async fn set() -> Self {
        let (parted, heard) = mpsc::unbounded_channel();
        let service = EchoServer::new(Echoing { parted }).max_decoding_message_size(16 << 20);
        let endpoint: Endpoint = tower(Routes::new(service));
        let server = Server::new().workers(2).mount("/stagedoor.echo.Echo", endpoint);
        let events = server.events();
        let site = Site::start(server).await;
        let channel =
            Target::from_shared(format!("http://{}", site.plain())).unwrap().connect().await.unwrap();
        let client = EchoClient::new(channel).max_decoding_message_size(16 << 20);
        Self { site, client, events, parted: heard }
    }

    /// How the next stream ended.
    async fn outcome(&mut self) -> Outcome {
        until(&mut self.events, |event| match event {
            Event::StreamClosed { outcome, .. } => Some(outcome),
            _ => None,
        })
        .await
    }

    /// The client's words for a handler that is gone, and what was counted of its stream.
    async fn given_up(mut self, handler: &str, outcome: Outcome) {
        assert_eq!(within(self.parted.recv()).await, Some(handler), "its future was dropped");
        assert_eq!(self.outcome().await, outcome);
        let scrape = self.site.scrape().await;
        let labels = [("listener", "http"), ("outcome", outcome.label())];
        assert_eq!(scrape.sum("stagedoor_streams_closed_total", &labels), 1.0);
        let answer = self.client.once(said("still here", 1)).await.unwrap();
        assert_eq!(answer.into_inner().words, "still here");
        self.site.stop().await;
    }
}

#[test]
fn every_kind_of_call() {
    run(async {
        let Stage { site, mut client, .. } = Stage::set().await;
        assert_eq!(client.once(said("hello", 7)).await.unwrap().into_inner(), said("hello", 7));

        let down = client.down(said("tick", 1000)).await.unwrap().into_inner();
        let times: Vec<u32> = down.map(|said| said.unwrap().times).collect().await;
        assert!(times.into_iter().eq(1..=1000));

        let all = stream::iter((0..1000).map(|_| said("ab", 1)));
        assert_eq!(client.up(all).await.unwrap().into_inner(), said("ab".repeat(1000), 1000));

        let (tell, told) = mpsc::unbounded_channel();
        let told = stream::unfold(told, |mut told| async move { Some((told.recv().await?, told)) });
        let mut both = client.both(told).await.unwrap().into_inner();
        for turn in 0..10 {
            tell.send(said("ping", turn)).unwrap();
            assert_eq!(
                within(both.message()).await.unwrap(),
                Some(said("ping", turn)),
                "one answers the other"
            );
        }
        drop(tell);
        assert_eq!(within(both.message()).await.unwrap(), None);
        assert!(both.trailers().await.unwrap().is_some());
        site.stop().await;
    });
}

#[test]
fn a_status_comes_with_its_details_before_and_after_messages() {
    run(async {
        let Stage { site, mut client, .. } = Stage::set().await;
        let status = client.once(said("fail", 0)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "not so: 100 %\n"));
        assert_eq!(status.details(), b"\0details");
        assert_eq!(status.metadata().get("x-why").unwrap(), "on purpose");

        let mut down = client.down(said("fail", 3)).await.unwrap().into_inner();
        for times in 1..=3 {
            assert_eq!(down.message().await.unwrap(), Some(said("fail", times)));
        }
        let status = down.message().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::OutOfRange, "after 3"));

        // What is not there is tonic's to say below its service, and a 404 of ours beside it.
        let unknown = async |path: &'static str| {
            let channel =
                Target::from_shared(format!("http://{}", site.plain())).unwrap().connect().await.unwrap();
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<Said, Said>::default();
            let path = http::uri::PathAndQuery::from_static(path);
            grpc.unary(Request::new(said("?", 0)), path, codec).await.unwrap_err().code()
        };
        assert_eq!(unknown("/stagedoor.echo.Echo/Twice").await, Code::Unimplemented);
        // tonic's client reads our words as a message, and says so.
        assert_ne!(unknown("/stagedoor.other.Echo/Once").await, Code::Ok);

        let status = client.once(said("panic", 0)).await.unwrap_err();
        // 500 is no status of gRPC; again it is the words that tonic stumbles over.
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert_eq!(client.once(said("after", 0)).await.unwrap().into_inner().words, "after");
        site.stop().await;
    });
}

#[test]
fn metadata_passes_both_ways_in_text_and_octets() {
    run(async {
        let Stage { site, mut client, .. } = Stage::set().await;
        let mut request = Request::new(said("hello", 0));
        request.metadata_mut().insert("x-heard", MetadataValue::from_static("words"));
        let octets = MetadataValue::from_bytes(&[0, 255, 10, 13]);
        request.metadata_mut().insert_bin("x-octets-bin", octets.clone());
        let response = client.once(request).await.unwrap();
        assert_eq!(response.metadata().get("x-heard").unwrap(), "words");
        assert_eq!(response.metadata().get_bin("x-octets-bin").unwrap(), &octets);
        // tonic puts trailers of a unary call among its metadata.
        assert_eq!(response.metadata().get("grpc-status").unwrap(), "0");
        site.stop().await;
    });
}

#[test]
fn a_deadline_that_passes_drops_the_handler() {
    run(async {
        let mut stage = Stage::set().await;
        let mut request = Request::new(said("for ever", 0));
        request.set_timeout(Duration::from_millis(50));
        let status = within(stage.client.once(request)).await.unwrap_err();
        // So tonic's client calls a deadline of its own.
        assert_eq!((status.code(), status.message()), (Code::Cancelled, "Timeout expired"));
        stage.given_up("once", Outcome::ResetByPeer).await;
    });
}

#[test]
fn a_call_that_is_dropped_drops_the_handler() {
    run(async {
        let mut stage = Stage::set().await;
        let mut client = stage.client.clone();
        let call = tokio::spawn(async move { client.once(said("for ever", 0)).await });
        until(&mut stage.events, |event| matches!(event, Event::StreamOpened { .. }).then_some(())).await;
        call.abort();
        stage.given_up("once", Outcome::ResetByPeer).await;
    });
}

#[test]
fn a_stream_that_is_dropped_drops_what_feeds_it() {
    run(async {
        let mut stage = Stage::set().await;
        let mut down = stage.client.down(said("for ever", 2)).await.unwrap().into_inner();
        for times in 1..=2 {
            assert_eq!(within(down.message()).await.unwrap(), Some(said("for ever", times)));
        }
        drop(down);
        stage.given_up("down", Outcome::ResetByPeer).await;
    });
}

#[test]
fn a_thousand_calls_at_once() {
    run(async {
        let Stage { site, client, .. } = Stage::set().await;
        let calls = (0..1000).map(|number| {
            let mut client = client.clone();
            async move { client.once(said(format!("call {number}"), number)).await.unwrap().into_inner() }
        });
        let answers = within(join_all(calls)).await;
        for (number, answer) in (0..).zip(answers) {
            assert_eq!(answer, said(format!("call {number}"), number));
        }
        let scrape = site.scrape().await;
        let labels = [("outcome", Outcome::Complete.label()), ("listener", "http")];
        assert_eq!(scrape.sum("stagedoor_streams_closed_total", &labels), 1000.0);
        site.stop().await;
    });
}

#[test]
fn messages_of_a_mebibyte_and_more() {
    run(async {
        let Stage { site, mut client, .. } = Stage::set().await;
        for octets in [1 << 20, 8 << 20] {
            let large: Arc<str> = "0123456789abcdef".repeat(octets / 16).into();
            let answer = within(client.once(said(&*large, 1))).await.unwrap().into_inner();
            assert!(*answer.words == *large);
            let all = stream::iter((0..4).map({
                let large = Arc::clone(&large);
                move |times| said(&*large, times)
            }));
            let mut both = client.both(all).await.unwrap().into_inner();
            for times in 0..4 {
                let answer = within(both.message()).await.unwrap().unwrap();
                assert!(answer.times == times && *answer.words == *large);
            }
            assert_eq!(within(both.message()).await.unwrap(), None);
        }
        site.stop().await;
    });
}
