//! Families of the live tables: a few series for each session and stream that has a row.

use std::time::Duration;

use super::view::View;
use crate::catalogue::{self, Family};
use crate::labels::Direction;
use crate::metrics::unix;
use crate::series::Families;
use crate::tables::{SessionRow, StreamRow};

pub(super) fn families(view: &View<'_>, out: &mut Families<'_>) {
    session_families(&view.tables.sessions, out);
    stream_families(&view.tables.streams, out);
}

fn session_families(rows: &[SessionRow], out: &mut Families<'_>) {
    let each = |out: &mut Families<'_>, family: &'static Family, value: fn(&SessionRow) -> f64| {
        out.family(family, |out| rows.iter().for_each(|row| out.value([&row.label], value(row))));
    };
    each(out, &catalogue::SESSION_START, |row| unix(row.stats.opened_at()));
    each(out, &catalogue::SESSION_STREAMS_ACTIVE, |row| row.stats.streams_open.get() as f64);
    each(out, &catalogue::SESSION_STREAMS, |row| row.stats.streams_total.get() as f64);
    out.family(&catalogue::SESSION_BYTES, |out| {
        for row in rows {
            out.value([&row.label, Direction::Rx.label()], row.stats.bytes_in.get() as f64);
            out.value([&row.label, Direction::Tx.label()], row.stats.bytes_out.get() as f64);
        }
    });
    each(out, &catalogue::SESSION_WRITE_QUEUE_BYTES, |row| row.stats.write_queue_bytes.get() as f64);
    each(out, &catalogue::SESSION_SEND_WINDOW_BYTES, |row| row.stats.send_window.get() as f64);
    each(out, &catalogue::SESSION_IDLE_SECONDS, |row| seconds(row.idle()));
}

fn stream_families(rows: &[StreamRow], out: &mut Families<'_>) {
    let each = |out: &mut Families<'_>, family: &'static Family, value: fn(&StreamRow) -> f64| {
        out.family(family, |out| {
            rows.iter().for_each(|row| out.value([&row.session, &row.label], value(row)))
        });
    };
    each(out, &catalogue::STREAM_AGE_SECONDS, |row| seconds(row.age()));
    out.family(&catalogue::STREAM_BYTES, |out| {
        for row in rows {
            let labels = |direction: Direction| [&*row.session, &*row.label, direction.label()];
            out.value(labels(Direction::Rx), row.stats.bytes_in.get() as f64);
            out.value(labels(Direction::Tx), row.stats.bytes_out.get() as f64);
        }
    });
    each(out, &catalogue::STREAM_WRITE_QUEUE_BYTES, |row| row.stats.write_queue_bytes.get() as f64);
    each(out, &catalogue::STREAM_SEND_WINDOW_BYTES, |row| row.stats.send_window.get() as f64);
    each(out, &catalogue::STREAM_STALLED_SECONDS, |row| seconds(row.stalled()));
}

/// In milliseconds' precision: what is below says nothing at the pace of scrapes.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1e3
}
