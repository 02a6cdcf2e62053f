//! What the span of a stream says when it begins and when it ends, and which trace its handler is told.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use common::peer::*;
use common::*;
use stagedoor_actors::{Reply, Response, TraceContext, trace};
use stagedoor_metrics::SessionId;
use stagedoor_protocol::ErrorCode;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

/// The fields of a span.
#[derive(Clone, Debug, Default)]
struct Said(BTreeMap<&'static str, String>);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// Spans named `stream` that are over, with the events said in them.
#[derive(Clone, Default)]
struct Over(Arc<Mutex<Vec<Said>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Over {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut said = Said::default();
        attributes.record(&mut said);
        context.span(id).unwrap().extensions_mut().insert(said);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        values.record(context.span(id).unwrap().extensions_mut().get_mut::<Said>().unwrap());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else { return };
        event.record(span.extensions_mut().get_mut::<Said>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if span.name() == "stream" {
            self.0.lock().unwrap().push(span.extensions().get::<Said>().unwrap().clone());
        }
    }
}

impl Over {
    fn only(&self) -> Said {
        let mut over = self.0.lock().unwrap();
        assert_eq!(over.len(), 1, "{over:?}");
        over.pop().unwrap()
    }
}

fn listening() -> (Over, tracing::subscriber::DefaultGuard) {
    let over = Over::default();
    let subscriber = tracing_subscriber::registry().with(over.clone());
    (over, tracing::subscriber::set_default(subscriber))
}

#[test]
fn a_stream_that_is_answered_at_once_says_how_it_ended() {
    let (over, _guard) = listening();
    run(async {
        let stage = Stage::new(hello());
        let (_session, io) = stage.connect();
        let mut peer = Peer::new(io);
        let id = peer.get("/path?query=secret");
        peer.story(id).await;
        settle().await;
        let Said(said) = over.only();
        let field = |name: &str| said.get(name).map_or("", |text| &**text);
        assert_eq!((field("id"), field("method"), field("path")), ("1", "GET", "/path"));
        assert_eq!((field("status"), field("outcome"), field("bytes_out")), ("200", "complete", "13"));
        assert_eq!((field("route"), field("message")), ("_unmatched", "stream closed"));
        let session = SessionId { worker: 0, number: stage.metrics.live().snapshot()[0].id().number };
        assert_eq!(field("trace_id"), format!("{:032x}", trace::begun(session, 1)));
        assert_eq!((field("parent_id"), field("sampled")), ("", ""));
    });
}

#[test]
fn a_stream_that_is_reset_later_says_so_in_the_trace_it_brought() {
    let (over, _guard) = listening();
    run(async {
        let told: Rc<RefCell<Option<TraceContext>>> = Rc::default();
        let kept = Rc::clone(&told);
        let stage = Stage::new(service(move |request| {
            *kept.borrow_mut() = Some(request.trace());
            Reply::later(async move {
                let _kept = request;
                std::future::pending::<Response>().await
            })
        }));
        let (_session, io) = stage.connect();
        let mut peer = Peer::new(io);
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let mut head = get_head("/");
        head.fields_mut().push("traceparent", format!("00-{trace}-00f067aa0ba902b7-00"));
        let id = peer.request(&head, true);
        peer.flush().await;
        settle().await;
        assert!(over.0.lock().unwrap().is_empty(), "it lives");
        peer.reset(id, ErrorCode::CANCEL);
        peer.flush().await;
        settle().await;
        let Said(said) = over.only();
        assert_eq!((&*said["outcome"], &*said["trace_id"]), ("reset_by_peer", trace));
        assert_eq!((&*said["parent_id"], &*said["sampled"]), ("00f067aa0ba902b7", "false"));
        assert!(!said.contains_key("status"));
        let told = told.borrow_mut().take().unwrap();
        assert_eq!(said["span_id"], format!("{:016x}", told.span_id));
        assert_eq!(told.traceparent(), format!("00-{trace}-{:016x}-00", told.span_id));
    });
}

#[test]
fn a_handler_runs_inside_the_span_of_its_stream() {
    fn here() -> Option<&'static str> {
        tracing::Span::current().metadata().map(|span| span.name())
    }
    // Spans are made where somebody wants them; who does is kept for the whole process, so this stands with its like.
    let (_over, _wanted) = listening();
    run(async {
        let seen: Rc<RefCell<Vec<Option<&str>>>> = Rc::default();
        let kept = Rc::clone(&seen);
        let stage = Stage::new(service(move |_| {
            kept.borrow_mut().push(here());
            let kept = Rc::clone(&kept);
            Reply::later(async move {
                tokio::task::yield_now().await;
                kept.borrow_mut().push(here());
                Response::new(204)
            })
        }));
        let (_session, io) = stage.connect();
        let mut client = Raw::new(io);
        client.shake().await;
        client.send(&get(1)).await;
        client.until(|frame| frame.kind == 1).await;
        assert_eq!(*seen.borrow(), [Some("stream"), Some("stream")]);
        assert_eq!(here(), None, "and nothing else does");
    });
}
