//! Spans of `tracing` as spans of OpenTelemetry.
//!
//! The fields `trace_id`, `span_id`, `parent_id` and `sampled` of a span of ours say where it stands in a trace and
//! become no attributes; a span without them goes on with its parent's trace. Sends nothing: a span that ends is
//! given to the SDK's queue, which never waits.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks,
    SpanProcessor as _,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The layer, see the module.
pub struct Spans {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
    ids: RandomIdGenerator,
}

/// What is known of a span that has not ended.
struct Open {
    start: SystemTime,
    trace: TraceId,
    span: SpanId,
    parent: SpanId,
    remote: bool,
    sampled: bool,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
    links: Vec<Link>,
}

impl Open {
    fn context(&self) -> SpanContext {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        SpanContext::new(self.trace, self.span, flags, false, TraceState::default())
    }

    /// Takes fields: what they say of the trace, and the others as attributes.
    fn take(&mut self, fields: Fields) {
        if let Some(trace) = fields.trace {
            if trace != self.trace {
                // It stands in a trace of its own; how it came to be is worth a link.
                self.links.extend(self.parent_context().map(Link::with_context));
                (self.trace, self.parent) = (trace, SpanId::INVALID);
            }
            self.kind = SpanKind::Server;
        }
        self.span = fields.span.unwrap_or(self.span);
        if let Some(parent) = fields.parent {
            (self.parent, self.remote) = (parent, true);
        }
        self.sampled &= fields.sampled.unwrap_or(true);
        self.attributes.extend(fields.attributes);
    }

    fn parent_context(&self) -> Option<SpanContext> {
        let known = self.parent != SpanId::INVALID;
        known.then(|| {
            SpanContext::new(self.trace, self.parent, TraceFlags::SAMPLED, false, TraceState::default())
        })
    }
}

impl Spans {
    pub(super) fn new(processor: Arc<BatchSpanProcessor>) -> Self {
        let scope =
            InstrumentationScope::builder("stagedoor").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { processor, scope, ids: RandomIdGenerator::default() }
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let above = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Open>().map(|open| (open.trace, open.span, open.sampled))
        });
        let mut fields = Fields::of(attributes.metadata());
        attributes.record(&mut fields);
        let (trace, parent, sampled) =
            above.unwrap_or_else(|| (self.ids.new_trace_id(), SpanId::INVALID, true));
        let mut open = Open {
            start: SystemTime::now(),
            trace,
            span: self.ids.new_span_id(),
            parent,
            remote: false,
            sampled,
            kind: SpanKind::Internal,
            attributes: Vec::new(),
            links: Vec::new(),
        };
        open.take(fields);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::of(span.metadata());
        values.record(&mut fields);
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.take(fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        if !open.sampled {
            return;
        }
        let mut links = SpanLinks::default();
        let (span_context, status) = (open.context(), status(&open.attributes));
        links.links = open.links;
        self.processor.on_end(SpanData {
            span_context,
            parent_span_id: open.parent,
            parent_span_is_remote: open.remote,
            span_kind: open.kind,
            name: span.metadata().name().into(),
            start_time: open.start,
            end_time: SystemTime::now(),
            attributes: open.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}

/// An error, where the stream was not whole or its answer a failure of ours.
fn status(attributes: &[KeyValue]) -> Status {
    let found =
        |key: &str| attributes.iter().find(|found| found.key.as_str() == key).map(|found| &found.value);
    match (found("stagedoor.outcome"), found("http.response.status_code")) {
        (Some(Value::String(outcome)), _) if outcome.as_str() != "complete" => {
            Status::error(outcome.to_string())
        }
        (_, Some(Value::I64(status))) if *status >= 500 => Status::error(""),
        _ => Status::Unset,
    }
}

/// Fields, read.
struct Fields {
    /// They are of a span of ours.
    ours: bool,
    trace: Option<TraceId>,
    span: Option<SpanId>,
    parent: Option<SpanId>,
    sampled: Option<bool>,
    attributes: Vec<KeyValue>,
}

impl Fields {
    fn of(metadata: &Metadata<'_>) -> Self {
        let ours = metadata.target().starts_with("stagedoor_actors");
        Self { ours, trace: None, span: None, parent: None, sampled: None, attributes: Vec::new() }
    }

    fn add(&mut self, field: &Field, value: Value) {
        let attribute = match name(field.name()) {
            Some(name) if self.ours => KeyValue::new(name, value),
            None if self.ours => KeyValue::new(format!("stagedoor.{}", field.name()), value),
            _ => KeyValue::new(field.name(), value),
        };
        self.attributes.push(attribute);
    }

    fn add_text(&mut self, field: &Field, text: String) {
        match field.name() {
            _ if !self.ours => self.add(field, text.into()),
            "trace_id" => self.trace = TraceId::from_hex(&text).ok(),
            "span_id" => self.span = SpanId::from_hex(&text).ok(),
            "parent_id" => self.parent = SpanId::from_hex(&text).ok(),
            _ => self.add(field, text.into()),
        }
    }
}

/// What the semantic conventions of OpenTelemetry call a field of ours.
fn name(field: &str) -> Option<&'static str> {
    Some(match field {
        "method" => "http.request.method",
        "path" => "url.path",
        "status" => "http.response.status_code",
        _ => return None,
    })
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, i64::try_from(value).unwrap_or(i64::MAX).into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "sampled" if self.ours => self.sampled = Some(value),
            _ => self.add(field, value.into()),
        }
    }
}
