//! Families about the gateway as a whole, and about the process it runs in.

use std::sync::atomic::Ordering;

use super::view::View;
use crate::catalogue;
use crate::labels::{ReloadResult, TableScope, Untracked};
use crate::metrics::unix;
use crate::process::ProcessFigures;
use crate::series::Families;
use crate::shard::unpoisoned;

pub(super) fn families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::BUILD_INFO, |out| {
        if let Some(build) = &*unpoisoned(&view.inner.build) {
            out.value([&build.version, &build.revision], 1.0);
        }
    });
    for (family, flag) in [
        (&catalogue::READY, &view.inner.ready),
        (&catalogue::DRAINING, &view.inner.draining),
        (&catalogue::OVERLOADED, &view.inner.overloaded),
    ] {
        out.family(family, |out| out.value([], f64::from(u8::from(flag.load(Ordering::Relaxed)))));
    }
    let config = *unpoisoned(&view.inner.config);
    out.family(&catalogue::CONFIG_LAST_RELOAD_SUCCESSFUL, |out| {
        out.value([], f64::from(u8::from(config.last == ReloadResult::Ok)));
    });
    out.family(&catalogue::CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP, |out| {
        out.value([], unix(config.last_good));
    });
    out.family(&catalogue::CONFIG_RELOADS, |out| {
        for result in ReloadResult::ALL {
            out.value([result.label()], view.inner.config_reloads[*result].get() as f64);
        }
    });
    out.family(&catalogue::ACCESS_LOG_DROPPED, |out| {
        out.value([], view.inner.access_log_dropped.get() as f64);
    });
    out.family(&catalogue::METRICS_TRACKED, |out| {
        for scope in TableScope::ALL {
            let rows = match scope {
                TableScope::Session => view.tables.sessions.len(),
                TableScope::Stream => view.tables.streams.len(),
            };
            out.value([scope.label()], rows as f64);
        }
    });
    out.family(&catalogue::METRICS_UNTRACKED, |out| {
        for scope in TableScope::ALL {
            for cause in Untracked::ALL {
                out.value([scope.label(), cause.label()], view.tables.untracked[*scope][*cause] as f64);
            }
        }
    });
}

pub(super) fn process_families(out: &mut Families<'_>) {
    let figures = ProcessFigures::read();
    for (family, figure) in [
        (&catalogue::PROCESS_CPU_SECONDS, figures.cpu_seconds),
        (&catalogue::PROCESS_RESIDENT_MEMORY_BYTES, figures.resident_bytes),
        (&catalogue::PROCESS_OPEN_FDS, figures.open_fds),
        (&catalogue::PROCESS_MAX_FDS, figures.max_fds),
        (&catalogue::PROCESS_START_TIME_SECONDS, figures.start_time),
    ] {
        out.family(family, |out| {
            if let Some(figure) = figure {
                out.value([], figure);
            }
        });
    }
}
