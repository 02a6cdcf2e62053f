//! A gateway in miniature: sessions and streams that begin and end when told, scraped when told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagedoor_metrics::{
    CloseReason, Format, ListenerId, Method, Metrics, Outcome, Peer, Protocol, Role, SessionId, SessionStats,
    StreamStats, TableOptions,
};

use crate::text;

/// The gateway; its clock is seconds from its start.
pub(crate) struct Scene {
    pub(crate) metrics: Metrics,
    begun: Instant,
    public: ListenerId,
    admin: ListenerId,
}

/// What a scrape showed.
pub(crate) struct Scrape(pub(crate) Vec<text::Family>);

impl Scene {
    pub(crate) fn new(change: impl FnOnce(&mut TableOptions)) -> Self {
        let metrics = Metrics::new("stagedoor");
        let mut options = TableOptions::default();
        change(&mut options);
        metrics.set_tables(options);
        let public = metrics.add_listener("public", "[::]:8443");
        let admin = metrics.add_listener("admin", "[::1]:9901");
        Self { metrics, begun: Instant::now(), public, admin }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.begun + Duration::from_secs(seconds)
    }

    /// Opens session `0-number` at `seconds`.
    pub(crate) fn open(&self, number: u64, seconds: u64) -> Arc<SessionStats> {
        self.open_on("public", number, seconds)
    }

    /// The same, on a listener.
    pub(crate) fn open_on(&self, listener: &str, number: u64, seconds: u64) -> Arc<SessionStats> {
        let (id, peer) = (SessionId { worker: 0, number }, Peer::Named("test".into()));
        let opened = self.at(seconds);
        let stats = SessionStats::new(id, Role::Server, Protocol::H2, listener.into(), peer, opened);
        let stats = Arc::new(stats);
        self.metrics.live().insert(Arc::clone(&stats));
        let listener = if listener == "admin" { self.admin } else { self.public };
        self.metrics.shard(0).listener(listener).session_opened(Protocol::H2);
        stats
    }

    /// Closes session `0-number`.
    pub(crate) fn close(&self, number: u64) {
        self.metrics.live().remove(SessionId { worker: 0, number }).expect("it is open");
        let cells = self.metrics.shard(0).listener(self.public);
        cells.session_closed(Protocol::H2, CloseReason::ClientClosed, 0, 0);
    }

    /// Opens a stream at `seconds` that is listed at once.
    pub(crate) fn stream(&self, session: &SessionStats, id: u32, seconds: u64) -> Arc<StreamStats> {
        let stream = Arc::new(StreamStats::new(session.id(), id, Method::Get, self.at(seconds)));
        session.list_stream(Arc::clone(&stream));
        self.metrics.shard(0).listener(self.public).stream_opened(Protocol::H2);
        stream
    }

    /// Ends a stream.
    pub(crate) fn end_stream(&self, session: &SessionStats, id: u32) {
        session.strike_stream(id);
        self.metrics.shard(0).listener(self.public).stream_closed(Protocol::H2, Outcome::Complete);
    }

    /// A moment of this clock, for what a stream waits for.
    pub(crate) fn moment(&self, seconds: u64) -> Instant {
        self.at(seconds)
    }

    pub(crate) fn scrape(&self, seconds: u64) -> Scrape {
        let text = self.metrics.render_at(Format::Text, self.at(seconds));
        Scrape(text::parse(&String::from_utf8(text).expect("UTF-8")))
    }
}

impl Scrape {
    fn family(&self, name: &str) -> impl Iterator<Item = &text::Sample> {
        let family = self.0.iter().find(move |family| family.name == name);
        family.into_iter().flat_map(|family| &family.samples)
    }

    /// What names the rows of the table of sessions.
    pub(crate) fn sessions(&self) -> BTreeSet<&str> {
        let samples = self.family("stagedoor_session_start_timestamp_seconds");
        samples.filter_map(|sample| sample.label("session")).collect()
    }

    /// What names the rows of the table of streams.
    pub(crate) fn streams(&self) -> BTreeSet<(&str, &str)> {
        let samples = self.family("stagedoor_stream_age_seconds");
        samples.filter_map(|sample| Some((sample.label("session")?, sample.label("stream")?))).collect()
    }

    /// The value of the only series of `name` with these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matches =
            |sample: &&text::Sample| labels.iter().all(|(key, value)| sample.label(key) == Some(value));
        self.family(name).find(matches).map(|sample| sample.value)
    }

    /// Who never had a row, by cause; causes at zero are left out.
    pub(crate) fn untracked(&self, scope: &str) -> BTreeMap<&str, u64> {
        let samples = self.family("stagedoor_metrics_untracked_total");
        let ours = samples.filter(|sample| sample.label("scope") == Some(scope) && sample.value > 0.0);
        ours.filter_map(|sample| Some((sample.label("result")?, sample.value as u64))).collect()
    }

    /// Series in all.
    pub(crate) fn series(&self) -> usize {
        self.0.iter().map(|family| family.samples.len()).sum()
    }
}
