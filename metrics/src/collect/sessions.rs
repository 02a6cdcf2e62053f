//! Families about sessions, all of a listener together, and about HTTP/2.

use super::view::View;
use crate::catalogue;
use crate::histogram::Merged;
use crate::labels::{
    AbuseKind, CloseReason, Direction, FrameType, H2Code, Origin, Protocol, Scope, TimeoutAction, TimeoutKind,
};
use crate::series::Families;

pub(super) fn families(view: &View<'_>, out: &mut Families<'_>) {
    session_families(view, out);
    protocol_families(view, out);
}

fn session_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::SESSIONS_ACTIVE, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                out.value([&listener.name, protocol.label()], listener.sessions_active(*protocol));
            }
        }
    });
    out.family(&catalogue::SESSIONS_OPENED, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                let labels = [&listener.name, protocol.label()];
                out.value(labels, listener.sum(|cells| &cells.sessions_opened[*protocol]));
            }
        }
    });
    out.family(&catalogue::SESSIONS_CLOSED, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                for reason in CloseReason::ALL {
                    let labels = [&listener.name, protocol.label(), reason.label()];
                    out.value(labels, listener.sum(|cells| &cells.sessions_closed[*protocol][*reason]));
                }
            }
        }
    });
    out.family(&catalogue::SESSION_LIFETIME, |out| {
        for listener in &view.listeners {
            for protocol in Protocol::ALL {
                let parts = listener.cells.iter().map(|cells| &cells.session_lifetime[*protocol]);
                out.histogram([&listener.name, protocol.label()], &Merged::of(parts));
            }
        }
    });
    out.family(&catalogue::SESSION_LIFETIME_STREAMS, |out| {
        for listener in &view.listeners {
            let parts = listener.cells.iter().map(|cells| &cells.session_lifetime_streams);
            out.histogram([&*listener.name], &Merged::of(parts));
        }
    });
    out.family(&catalogue::NETWORK_BYTES, |out| {
        for listener in &view.listeners {
            for direction in Direction::ALL {
                let labels = [&listener.name, direction.label()];
                out.value(labels, listener.sum(|cells| &cells.network_bytes[*direction]));
            }
        }
    });
    out.family(&catalogue::WRITE_QUEUE_BYTES, |out| {
        for listener in &view.listeners {
            let bytes: i64 = listener.cells.iter().map(|cells| cells.write_queue_bytes.get()).sum();
            out.value([&*listener.name], bytes as f64);
        }
    });
    out.family(&catalogue::SESSION_MEMORY, |out| {
        for listener in &view.listeners {
            let bytes: i64 = listener.cells.iter().map(|cells| cells.session_memory_bytes.get()).sum();
            out.value([&*listener.name], bytes as f64);
        }
    });
}

fn protocol_families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::H2_FRAMES, |out| {
        for listener in &view.listeners {
            for direction in Direction::ALL {
                for frame in FrameType::ALL {
                    let labels = [&listener.name, direction.label(), frame.label()];
                    out.value(labels, listener.sum(|cells| &cells.h2_frames[*direction][*frame]));
                }
            }
        }
    });
    out.family(&catalogue::H2_ERRORS, |out| {
        for listener in &view.listeners {
            for scope in Scope::ALL {
                for origin in Origin::ALL {
                    for code in H2Code::ALL {
                        let labels = [&listener.name, scope.label(), origin.label(), code.label()];
                        out.value(labels, listener.sum(|cells| &cells.h2_errors[*scope][*origin][*code]));
                    }
                }
            }
        }
    });
    out.family(&catalogue::H2_FLOW_STALLS, |out| {
        for listener in &view.listeners {
            for scope in Scope::ALL {
                let labels = [&listener.name, scope.label()];
                out.value(labels, listener.sum(|cells| &cells.h2_flow_stalls[*scope]));
            }
        }
    });
    out.family(&catalogue::H2_FLOW_STALLED_SECONDS, |out| {
        for listener in &view.listeners {
            for scope in Scope::ALL {
                let labels = [&listener.name, scope.label()];
                out.value(labels, listener.sum(|cells| &cells.h2_flow_stalled_nanos[*scope]) / 1e9);
            }
        }
    });
    out.family(&catalogue::H2_PING_RTT, |out| {
        for listener in &view.listeners {
            let parts = listener.cells.iter().map(|cells| &cells.h2_ping_rtt);
            out.histogram([&*listener.name], &Merged::of(parts));
        }
    });
    out.family(&catalogue::TIMEOUTS, |out| {
        for listener in &view.listeners {
            for kind in TimeoutKind::ALL {
                for action in TimeoutAction::ALL {
                    let labels = [&listener.name, kind.label(), action.label()];
                    out.value(labels, listener.sum(|cells| &cells.timeouts[*kind][*action]));
                }
            }
        }
    });
    out.family(&catalogue::ABUSE, |out| {
        for listener in &view.listeners {
            for kind in AbuseKind::ALL {
                out.value([&listener.name, kind.label()], listener.sum(|cells| &cells.abuse[*kind]));
            }
        }
    });
}
