//! Sessions that ended as they should not have: the newest are kept with their flight recorders, and each is a line
//! in the log.
//!
//! Invariants: no more than [`PostMortems::KEPT`] are kept; no more than [`LINES`] lines a second, however many
//! sessions a flood ends: the next line says how many were left out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stagedoor_metrics::CloseReason;

use crate::view::PostMortem;

/// Lines a second.
const LINES: u32 = 10;
/// Entries of the flight recorder in a line.
const SHOWN: usize = 8;

/// See the module.
///
/// ```
/// use stagedoor_actors::PostMortems;
///
/// assert!(PostMortems::default().newest().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct PostMortems {
    kept: Mutex<VecDeque<Arc<PostMortem>>>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// The second that is counted began here.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl PostMortems {
    /// So many are kept.
    pub const KEPT: usize = 100;

    /// The newest, newest first.
    pub fn newest(&self) -> Vec<Arc<PostMortem>> {
        unpoisoned(&self.kept).iter().cloned().collect()
    }

    /// Takes one in.
    pub(crate) fn keep(&self, post_mortem: PostMortem, span: &tracing::Span, now: Instant) {
        self.tell(&post_mortem, span, now);
        let mut kept = unpoisoned(&self.kept);
        kept.truncate(Self::KEPT - 1);
        kept.push_front(Arc::new(post_mortem));
    }

    fn tell(&self, post_mortem: &PostMortem, span: &tracing::Span, now: Instant) {
        let Some(left_out) = self.may_tell(now) else { return };
        let entries = &post_mortem.view.recorder;
        let last: Vec<String> =
            entries.iter().skip(entries.len().saturating_sub(SHOWN)).map(ToString::to_string).collect();
        let PostMortem { reason, code, detail, .. } = post_mortem;
        tracing::warn!(parent: span, %reason, code = code.name(), detail, left_out, last = last.join(", "),
            "session ended abnormally");
    }

    /// Whether there is room for a line; if so, how many had none since the last.
    fn may_tell(&self, now: Instant) -> Option<u64> {
        let mut told = unpoisoned(&self.told);
        if told.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            told.since = Some(now);
            told.lines = 0;
        }
        if told.lines >= LINES {
            told.left_out += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.left_out))
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a session that ended so is worth a post-mortem.
pub(crate) fn is_abnormal(reason: CloseReason) -> bool {
    use CloseReason as R;
    match reason {
        R::ClientClosed | R::ClientGoaway | R::IdleTimeout | R::MaxAge | R::Drain | R::Admin => false,
        // The process had no room, or the session had its share: not for what it did.
        R::Overload | R::Limit | R::Upgraded | R::Shutdown => false,
        R::WriteStall | R::HeaderTimeout | R::ProtocolError | R::Abuse | R::TlsError | R::IoError => true,
        R::HandshakeTimeout | R::PrefaceTimeout | R::SettingsTimeout | R::KeepaliveTimeout => true,
        R::PeerError | R::Panic | R::PanicBudget | R::Memory | R::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_ends_is_few_lines_and_the_rest_is_counted() {
        let all = PostMortems::default();
        let start = Instant::now();
        assert_eq!((0..50).filter(|_| all.may_tell(start).is_some()).count(), LINES as usize);
        assert_eq!(all.may_tell(start + Duration::from_secs(1)), Some(50 - u64::from(LINES)));
        assert_eq!(all.may_tell(start + Duration::from_secs(1)), Some(0));
    }
}
