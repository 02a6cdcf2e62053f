//! Families about listeners, and certificates.

use super::view::View;
use crate::catalogue;
use crate::histogram::Merged;
use crate::labels::{ConnectionResult, ReloadResult, TlsResult, TlsVersion};
use crate::metrics::unix;
use crate::series::Families;
use crate::shard::unpoisoned;

pub(super) fn families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::LISTENER_INFO, |out| {
        for listener in view.listening() {
            out.value([&listener.name, &listener.address], 1.0);
        }
    });
    out.family(&catalogue::LISTENER_ACCEPTING, |out| {
        for listener in view.listening() {
            out.value([&listener.name], f64::from(u8::from(listener.accepting)));
        }
    });
    out.family(&catalogue::LISTENER_CONNECTIONS, |out| {
        for listener in view.listening() {
            for result in ConnectionResult::ALL {
                let labels = [&listener.name, result.label()];
                out.value(labels, listener.sum(|cells| &cells.connections[*result]));
            }
        }
    });
    out.family(&catalogue::TLS_HANDSHAKES, |out| {
        for listener in view.listening() {
            for result in TlsResult::ALL {
                for version in TlsVersion::ALL {
                    let labels = [&listener.name, result.label(), version.label()];
                    out.value(labels, listener.sum(|cells| &cells.tls_handshakes[*result][*version]));
                }
            }
        }
    });
    out.family(&catalogue::TLS_HANDSHAKE_DURATION, |out| {
        for listener in view.listening() {
            let parts = listener.cells.iter().map(|cells| &cells.tls_handshake_duration);
            out.histogram([&*listener.name], &Merged::of(parts));
        }
    });
    out.family(&catalogue::TLS_CERTIFICATE_NOT_AFTER, |out| {
        for (name, not_after) in &*unpoisoned(&view.inner.certificates) {
            out.value([name], unix(*not_after));
        }
    });
    out.family(&catalogue::TLS_CERTIFICATE_RELOADS, |out| {
        for result in ReloadResult::ALL {
            out.value([result.label()], view.inner.certificate_reloads[*result].get() as f64);
        }
    });
}
