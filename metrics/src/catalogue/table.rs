//! The table itself: which labels there are and every family. How a row is made of it is in `mod.rs`.

use super::{Family, Kind, LabelSpec, Section, Source, Values, Zeros};
use crate::histogram::{Bounds, Count, Handshake, Lag, Latency, Lifetime, Size, Wait};
use crate::labels::{
    AbuseKind, ActorKind, CloseReason, ConnectionResult, Direction, EjectionReason, FrameType, H2Code,
    HealthResult, MessageKind, Method, Origin, Outcome, Protocol, ReloadResult, RetryResult, Scope,
    TableScope, TimeoutAction, TimeoutKind, TlsResult, TlsVersion, Untracked, UpstreamFailure, WaitOn,
};

const fn closed(name: &'static str, labels: &'static [&'static str]) -> LabelSpec {
    LabelSpec { name, values: Values::Closed(labels) }
}

const fn configured(name: &'static str, source: Source) -> LabelSpec {
    LabelSpec { name, values: Values::Configured(source) }
}

const LISTENER: LabelSpec = configured("listener", Source::Listener);
const ADDRESS: LabelSpec = configured("address", Source::Address);
const ROUTE: LabelSpec = configured("route", Source::Route);
const VERSION: LabelSpec = configured("version", Source::Version);
const REVISION: LabelSpec = configured("revision", Source::Revision);
const CERT: LabelSpec = configured("cert", Source::Certificate);
const UPSTREAM: LabelSpec = configured("upstream", Source::Upstream);
const ENDPOINT: LabelSpec = configured("endpoint", Source::Endpoint);
const WORKER: LabelSpec = configured("worker", Source::Worker);
const SESSION: LabelSpec = configured("session", Source::SessionRow);
const STREAM_SESSION: LabelSpec = configured("session", Source::SessionOfStreamRow);
const STREAM: LabelSpec = configured("stream", Source::StreamRow);
const CONNECTION_RESULT: LabelSpec = closed("result", ConnectionResult::LABELS);
const TLS_RESULT: LabelSpec = closed("result", TlsResult::LABELS);
const TLS_VERSION: LabelSpec = closed("version", TlsVersion::LABELS);
const PROTOCOL: LabelSpec = closed("protocol", Protocol::LABELS);
const REASON: LabelSpec = closed("reason", CloseReason::LABELS);
const DIRECTION: LabelSpec = closed("direction", Direction::LABELS);
const FRAME_TYPE: LabelSpec = closed("type", FrameType::LABELS);
const SCOPE: LabelSpec = closed("scope", Scope::LABELS);
const ORIGIN: LabelSpec = closed("origin", Origin::LABELS);
const H2_CODE: LabelSpec = closed("code", H2Code::LABELS);
const TIMEOUT_KIND: LabelSpec = closed("kind", TimeoutKind::LABELS);
const TIMEOUT_ACTION: LabelSpec = closed("action", TimeoutAction::LABELS);
const ABUSE_KIND: LabelSpec = closed("kind", AbuseKind::LABELS);
const OUTCOME: LabelSpec = closed("outcome", Outcome::LABELS);
const METHOD: LabelSpec = closed("method", Method::LABELS);
const CODE: LabelSpec = LabelSpec { name: "code", values: Values::StatusCode };
const ACTOR: LabelSpec = closed("actor", ActorKind::LABELS);
const MESSAGE: LabelSpec = closed("message", MessageKind::LABELS);
const WAIT_ON: LabelSpec = closed("on", WaitOn::LABELS);
const RELOAD_RESULT: LabelSpec = closed("result", ReloadResult::LABELS);
const TABLE_SCOPE: LabelSpec = closed("scope", TableScope::LABELS);
const UNTRACKED: LabelSpec = closed("result", Untracked::LABELS);
const HEALTH_RESULT: LabelSpec = closed("result", HealthResult::LABELS);
const EJECTION_REASON: LabelSpec = closed("reason", EjectionReason::LABELS);
const RETRY_RESULT: LabelSpec = closed("result", RetryResult::LABELS);
const UPSTREAM_FAILURE: LabelSpec = closed("reason", UpstreamFailure::LABELS);
const UPSTREAM_CODE: LabelSpec = LabelSpec { name: "code", values: Values::StatusCodeOrZero };

macro_rules! families {
    ($($title:literal { $(
        $ident:ident = $kind:ident $zeros:ident $([$bounds:ty])? $name:literal ($($label:ident),*) $help:literal;
    )+ })+) => {
        $($(
            #[doc = concat!("`", $name, "`: ", $help)]
            pub static $ident: Family = Family {
                name: $name,
                kind: Kind::$kind,
                help: $help,
                labels: &[$($label),*],
                buckets: families!(@buckets $($bounds)?),
                zeros: Zeros::$zeros,
            };
        )+)+

        /// Every family, by section, in the order they are written.
        pub static SECTIONS: &[Section] = &[$(
            Section { title: $title, families: &[$(&$ident),+] },
        )+];
    };
    (@buckets) => { None };
    (@buckets $bounds:ty) => { Some(<$bounds as Bounds>::BUCKETS) };
}

families! {
    "Listener" {
        LISTENER_INFO = Gauge Shown "stagedoor_listener_info" (LISTENER, ADDRESS)
            "Constant 1; static facts about a listening socket.";
        LISTENER_ACCEPTING = Gauge Shown "stagedoor_listener_accepting" (LISTENER)
            "1 while the listener accepts connections, 0 while paused or draining.";
        LISTENER_CONNECTIONS = Counter Shown "stagedoor_listener_connections_total"
            (LISTENER, CONNECTION_RESULT)
            "Connections offered to the listener by result.";
        TLS_HANDSHAKES = Counter Hidden "stagedoor_tls_handshakes_total" (LISTENER, TLS_RESULT, TLS_VERSION)
            "TLS handshakes by result and negotiated version.";
        TLS_HANDSHAKE_DURATION = Histogram Hidden [Handshake] "stagedoor_tls_handshake_duration_seconds"
            (LISTENER)
            "Time from accept to finished TLS handshake.";
        TLS_CERTIFICATE_NOT_AFTER = Gauge Shown "stagedoor_tls_certificate_not_after_timestamp_seconds" (CERT)
            "Expiry of each loaded certificate as Unix time.";
        TLS_CERTIFICATE_RELOADS = Counter Shown "stagedoor_tls_certificate_reloads_total" (RELOAD_RESULT)
            "Certificate reload attempts by result.";
    }
    "Session (aggregate)" {
        SESSIONS_ACTIVE = Gauge Shown "stagedoor_sessions_active" (LISTENER, PROTOCOL)
            "Open sessions.";
        SESSIONS_OPENED = Counter Shown "stagedoor_sessions_opened_total" (LISTENER, PROTOCOL)
            "Sessions started.";
        SESSIONS_CLOSED = Counter Hidden "stagedoor_sessions_closed_total" (LISTENER, PROTOCOL, REASON)
            "Sessions ended, by the reason carried in closeSession.";
        SESSION_LIFETIME = Histogram Hidden [Lifetime] "stagedoor_session_lifetime_seconds"
            (LISTENER, PROTOCOL)
            "Age of a session when it closed.";
        SESSION_LIFETIME_STREAMS = Histogram Hidden [Count] "stagedoor_session_lifetime_streams" (LISTENER)
            "Streams carried by a session when it closed.";
        NETWORK_BYTES = Counter Shown "stagedoor_network_bytes_total" (LISTENER, DIRECTION)
            "Bytes read from and written to sockets after TLS.";
        WRITE_QUEUE_BYTES = Gauge Shown "stagedoor_write_queue_bytes" (LISTENER)
            "Bytes accepted for sending and not yet written, all sessions.";
        SESSION_MEMORY = Gauge Shown "stagedoor_session_memory_bytes" (LISTENER)
            "Memory charged to sessions.";
        H2_FRAMES = Counter Hidden "stagedoor_h2_frames_total" (LISTENER, DIRECTION, FRAME_TYPE)
            "HTTP/2 frames by direction and type.";
        H2_ERRORS = Counter Hidden "stagedoor_h2_errors_total" (LISTENER, SCOPE, ORIGIN, H2_CODE)
            "RST_STREAM and GOAWAY by scope, origin and HTTP/2 error code.";
        H2_FLOW_STALLS = Counter Shown "stagedoor_h2_flow_stalls_total" (LISTENER, SCOPE)
            "Times a sender ran out of flow-control window with data queued.";
        H2_FLOW_STALLED_SECONDS = Counter Shown "stagedoor_h2_flow_stalled_seconds_total" (LISTENER, SCOPE)
            "Time spent with data queued and no window.";
        H2_PING_RTT = Histogram Hidden [Latency] "stagedoor_h2_ping_rtt_seconds" (LISTENER)
            "Round trip of our own PING frames.";
        TIMEOUTS = Counter Shown "stagedoor_timeouts_total" (LISTENER, TIMEOUT_KIND, TIMEOUT_ACTION)
            "Timers that expired: closed the target, or were extended because bytes had moved.";
        ABUSE = Counter Shown "stagedoor_abuse_total" (LISTENER, ABUSE_KIND)
            "Protective limits that tripped (rapid_reset, continuation, ping, settings, empty_data, ...).";
    }
    "Stream and request (aggregate)" {
        STREAMS_ACTIVE = Gauge Shown "stagedoor_streams_active" (LISTENER, PROTOCOL)
            "Open streams (an HTTP/1.1 exchange counts as one).";
        STREAMS_OPENED = Counter Shown "stagedoor_streams_opened_total" (LISTENER, PROTOCOL)
            "Streams started.";
        STREAMS_CLOSED = Counter Shown "stagedoor_streams_closed_total" (LISTENER, OUTCOME)
            "Streams ended by outcome.";
        REQUESTS = Counter Hidden "stagedoor_requests_total" (LISTENER, ROUTE, METHOD, CODE)
            "Requests answered.";
        REQUEST_DURATION = Histogram Hidden [Latency] "stagedoor_request_duration_seconds" (LISTENER, ROUTE)
            "HEADERS received to last byte written.";
        RESPONSE_START = Histogram Hidden [Latency] "stagedoor_response_start_seconds" (LISTENER, ROUTE)
            "HEADERS received to first response HEADERS written.";
        REQUEST_BODY_BYTES = Histogram Hidden [Size] "stagedoor_request_body_bytes" (ROUTE)
            "Request body size.";
        RESPONSE_BODY_BYTES = Histogram Hidden [Size] "stagedoor_response_body_bytes" (ROUTE)
            "Response body size.";
        STREAM_WAIT_SECONDS = Counter Shown "stagedoor_stream_wait_seconds_total" (LISTENER, ROUTE, WAIT_ON)
            "Life of streams split by what they waited for; the parts add up to the duration.";
        RATE_LIMITED = Counter Shown "stagedoor_rate_limited_total" (ROUTE)
            "Requests answered 429 by a limiter.";
        FILE_READ_BYTES = Counter Shown "stagedoor_file_read_bytes_total" (ROUTE)
            "Bytes read from files for responses.";
    }
    "Live sessions (capped table)" {
        SESSION_START = Gauge Shown "stagedoor_session_start_timestamp_seconds" (SESSION)
            "Start of a tracked session as Unix time.";
        SESSION_STREAMS_ACTIVE = Gauge Shown "stagedoor_session_streams_active" (SESSION)
            "Open streams on a tracked session.";
        SESSION_STREAMS = Counter Shown "stagedoor_session_streams_total" (SESSION)
            "Streams carried so far by a tracked session.";
        SESSION_BYTES = Counter Shown "stagedoor_session_bytes_total" (SESSION, DIRECTION)
            "Bytes moved by a tracked session.";
        SESSION_WRITE_QUEUE_BYTES = Gauge Shown "stagedoor_session_write_queue_bytes" (SESSION)
            "Unsent bytes of a tracked session.";
        SESSION_SEND_WINDOW_BYTES = Gauge Shown "stagedoor_session_send_window_bytes" (SESSION)
            "Connection send window of a tracked session.";
        SESSION_IDLE_SECONDS = Gauge Shown "stagedoor_session_idle_seconds" (SESSION)
            "Seconds since a tracked session last moved a byte.";
    }
    "Live streams (capped table)" {
        STREAM_AGE_SECONDS = Gauge Shown "stagedoor_stream_age_seconds" (STREAM_SESSION, STREAM)
            "Age of a tracked stream.";
        STREAM_BYTES = Counter Shown "stagedoor_stream_bytes_total" (STREAM_SESSION, STREAM, DIRECTION)
            "Body bytes moved by a tracked stream.";
        STREAM_WRITE_QUEUE_BYTES = Gauge Shown "stagedoor_stream_write_queue_bytes" (STREAM_SESSION, STREAM)
            "Unsent bytes of a tracked stream.";
        STREAM_SEND_WINDOW_BYTES = Gauge Shown "stagedoor_stream_send_window_bytes" (STREAM_SESSION, STREAM)
            "Send window of a tracked stream.";
        STREAM_STALLED_SECONDS = Gauge Shown "stagedoor_stream_stalled_seconds" (STREAM_SESSION, STREAM)
            "How long a tracked stream has waited for window; 0 when not waiting.";
    }
    "Upstream and client" {
        UPSTREAM_ENDPOINT_UP = Gauge Shown "stagedoor_upstream_endpoint_up" (ENDPOINT)
            "1 when an endpoint takes traffic, 0 when failing checks or ejected.";
        UPSTREAM_HEALTH_CHECKS = Counter Shown "stagedoor_upstream_health_checks_total"
            (ENDPOINT, HEALTH_RESULT)
            "Active checks by result.";
        UPSTREAM_EJECTIONS = Counter Shown "stagedoor_upstream_ejections_total" (UPSTREAM, EJECTION_REASON)
            "Passive ejections by reason.";
        UPSTREAM_CONNECTIONS_ACTIVE = Gauge Shown "stagedoor_upstream_connections_active"
            (UPSTREAM, PROTOCOL)
            "Open connections to an upstream.";
        UPSTREAM_CONNECTIONS_CLOSED = Counter Hidden "stagedoor_upstream_connections_closed_total"
            (UPSTREAM, REASON)
            "Upstream connections ended by reason.";
        UPSTREAM_CONNECT_DURATION = Histogram Hidden [Handshake] "stagedoor_upstream_connect_duration_seconds"
            (UPSTREAM)
            "TCP plus TLS connect time.";
        UPSTREAM_REQUESTS_ACTIVE = Gauge Shown "stagedoor_upstream_requests_active" (UPSTREAM)
            "Requests in flight to an upstream.";
        UPSTREAM_REQUESTS_PENDING = Gauge Shown "stagedoor_upstream_requests_pending" (UPSTREAM)
            "Requests waiting for a stream slot.";
        UPSTREAM_REQUESTS = Counter Hidden "stagedoor_upstream_requests_total" (UPSTREAM, UPSTREAM_CODE)
            "Requests finished by code (0 when no response arrived).";
        UPSTREAM_REQUEST_DURATION = Histogram Hidden [Latency] "stagedoor_upstream_request_duration_seconds"
            (UPSTREAM)
            "Request sent to last upstream byte.";
        UPSTREAM_RETRIES = Counter Shown "stagedoor_upstream_retries_total" (UPSTREAM, RETRY_RESULT)
            "Retry decisions by outcome (sent, budget_exhausted, not_retryable).";
        UPSTREAM_FAILURES = Counter Shown "stagedoor_upstream_failures_total" (UPSTREAM, UPSTREAM_FAILURE)
            "Tries that came to nothing, retried or not, by the error types of RFC 9209.";
    }
    "Actors" {
        ACTORS = Gauge Shown "stagedoor_actors" (ACTOR)
            "Live actors.";
        ACTOR_STARTED = Counter Shown "stagedoor_actor_started_total" (ACTOR)
            "Actors started.";
        ACTOR_RESTARTS = Counter Shown "stagedoor_actor_restarts_total" (ACTOR)
            "Supervised restarts.";
        ACTOR_PANICS = Counter Shown "stagedoor_actor_panics_total" (ACTOR)
            "Panics caught at an actor boundary.";
        ACTOR_MAILBOX_MESSAGES = Gauge Shown "stagedoor_actor_mailbox_messages" (ACTOR)
            "Messages waiting, summed over actors of a kind.";
        ACTOR_MAILBOX_MESSAGES_MAX = Gauge Shown "stagedoor_actor_mailbox_messages_max" (ACTOR)
            "Deepest single mailbox of a kind.";
        ACTOR_MAILBOX_FULL = Counter Shown "stagedoor_actor_mailbox_full_total" (ACTOR)
            "Sends refused because a mailbox was full.";
        ACTOR_MAILBOX_WAIT = Histogram Hidden [Wait] "stagedoor_actor_mailbox_wait_seconds" (ACTOR)
            "Enqueue to handle.";
        ACTOR_MESSAGES = Counter Shown "stagedoor_actor_messages_total" (MESSAGE)
            "Messages handled.";
        ACTOR_MESSAGE_BUSY_SECONDS = Counter Shown "stagedoor_actor_message_busy_seconds_total" (MESSAGE)
            "Time spent handling messages.";
        WORKER_LOOP_LAG = Histogram Hidden [Lag] "stagedoor_worker_loop_lag_seconds" (WORKER)
            "Lateness of a 100 ms tick on each worker.";
    }
    "Process and gateway" {
        BUILD_INFO = Gauge Shown "stagedoor_build_info" (VERSION, REVISION)
            "Constant 1; what is running.";
        READY = Gauge Shown "stagedoor_ready" ()
            "1 when ready to take traffic.";
        DRAINING = Gauge Shown "stagedoor_draining" ()
            "1 from the start of a drain until exit.";
        OVERLOADED = Gauge Shown "stagedoor_overloaded" ()
            "1 while new sessions are refused or idle ones shed.";
        CONFIG_LAST_RELOAD_SUCCESSFUL = Gauge Shown "stagedoor_config_last_reload_successful" ()
            "1 when the last configuration load succeeded.";
        CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP = Gauge Shown
            "stagedoor_config_last_reload_success_timestamp_seconds" ()
            "Unix time of the last good configuration load.";
        CONFIG_RELOADS = Counter Shown "stagedoor_config_reloads_total" (RELOAD_RESULT)
            "Configuration loads by result.";
        ACCESS_LOG_DROPPED = Counter Shown "stagedoor_access_log_dropped_total" ()
            "Access log lines dropped because the writer was behind.";
        METRICS_TRACKED = Gauge Shown "stagedoor_metrics_tracked" (TABLE_SCOPE)
            "Rows currently exported by a capped table.";
        METRICS_UNTRACKED = Counter Shown "stagedoor_metrics_untracked_total" (TABLE_SCOPE, UNTRACKED)
            "Sessions or streams never given a row, by cause (cap, churn, too_short).";
        PROCESS_CPU_SECONDS = Counter Shown "process_cpu_seconds_total" ()
            "User and system CPU time.";
        PROCESS_RESIDENT_MEMORY_BYTES = Gauge Shown "process_resident_memory_bytes" ()
            "Resident memory.";
        PROCESS_OPEN_FDS = Gauge Shown "process_open_fds" ()
            "Open file descriptors.";
        PROCESS_MAX_FDS = Gauge Shown "process_max_fds" ()
            "File descriptor limit.";
        PROCESS_START_TIME_SECONDS = Gauge Shown "process_start_time_seconds" ()
            "Start of the process as Unix time.";
    }
}
