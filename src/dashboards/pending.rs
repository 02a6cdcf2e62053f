//! Families that boards and rules ask for and the catalogue of `stagedoor_metrics` does not have yet, with the
//! names, kinds and labels they will have there.
//!
//! This file goes when the catalogue is complete: `nothing_is_pending` in `check.rs` is red until each of these is
//! there, and then `catalogue::X` takes the place of `pending::X`.

use stagedoor_metrics::catalogue::{Family, Kind, LabelSpec, Values, Zeros};

macro_rules! pending {
    ($($ident:ident = $kind:ident $zeros:ident $name:literal [$($label:literal),*];)+) => {
        $(
            pub(super) static $ident: Family = Family {
                name: $name,
                kind: Kind::$kind,
                help: "",
                labels: &[$(LabelSpec { name: $label, values: Values::Configured("") }),*],
                buckets: None,
                zeros: Zeros::$zeros,
            };
        )+

        /// All of them.
        #[cfg(test)]
        pub(super) static PENDING: &[&Family] = &[$(&$ident),+];
    };
}

pending! {
    TLS_CERTIFICATE_NOT_AFTER = Gauge Shown "stagedoor_tls_certificate_not_after_timestamp_seconds" ["cert"];
    TLS_CERTIFICATE_RELOADS = Counter Shown "stagedoor_tls_certificate_reloads_total" ["result"];
    STREAM_WAIT_SECONDS = Counter Shown "stagedoor_stream_wait_seconds_total" ["listener", "route", "on"];
    RATE_LIMITED = Counter Shown "stagedoor_rate_limited_total" ["route"];
    FILE_READ_BYTES = Counter Shown "stagedoor_file_read_bytes_total" ["route"];
    SESSION_STREAMS_ACTIVE = Gauge Shown "stagedoor_session_streams_active" ["session"];
    SESSION_BYTES = Counter Shown "stagedoor_session_bytes_total" ["session", "direction"];
    SESSION_WRITE_QUEUE_BYTES = Gauge Shown "stagedoor_session_write_queue_bytes" ["session"];
    SESSION_IDLE_SECONDS = Gauge Shown "stagedoor_session_idle_seconds" ["session"];
    STREAM_AGE_SECONDS = Gauge Shown "stagedoor_stream_age_seconds" ["session", "stream"];
    STREAM_STALLED_SECONDS = Gauge Shown "stagedoor_stream_stalled_seconds" ["session", "stream"];
    UPSTREAM_ENDPOINT_UP = Gauge Shown "stagedoor_upstream_endpoint_up" ["endpoint"];
    UPSTREAM_HEALTH_CHECKS = Counter Shown "stagedoor_upstream_health_checks_total" ["endpoint", "result"];
    UPSTREAM_EJECTIONS = Counter Shown "stagedoor_upstream_ejections_total" ["upstream", "reason"];
    UPSTREAM_CONNECTIONS_ACTIVE = Gauge Shown "stagedoor_upstream_connections_active" ["upstream", "protocol"];
    UPSTREAM_CONNECTIONS_CLOSED = Counter Shown "stagedoor_upstream_connections_closed_total" ["upstream", "reason"];
    UPSTREAM_CONNECT_DURATION = Histogram Hidden "stagedoor_upstream_connect_duration_seconds" ["upstream"];
    UPSTREAM_REQUESTS_ACTIVE = Gauge Shown "stagedoor_upstream_requests_active" ["upstream"];
    UPSTREAM_REQUESTS_PENDING = Gauge Shown "stagedoor_upstream_requests_pending" ["upstream"];
    UPSTREAM_REQUESTS = Counter Hidden "stagedoor_upstream_requests_total" ["upstream", "code"];
    UPSTREAM_REQUEST_DURATION = Histogram Hidden "stagedoor_upstream_request_duration_seconds" ["upstream"];
    UPSTREAM_RETRIES = Counter Shown "stagedoor_upstream_retries_total" ["upstream", "result"];
    ACTOR_MAILBOX_MESSAGES = Gauge Shown "stagedoor_actor_mailbox_messages" ["actor"];
    ACTOR_MAILBOX_MESSAGES_MAX = Gauge Shown "stagedoor_actor_mailbox_messages_max" ["actor"];
    ACTOR_MAILBOX_WAIT = Histogram Hidden "stagedoor_actor_mailbox_wait_seconds" ["actor"];
    ACTOR_MESSAGES = Counter Shown "stagedoor_actor_messages_total" ["message"];
    ACTOR_MESSAGE_BUSY_SECONDS = Counter Shown "stagedoor_actor_message_busy_seconds_total" ["message"];
    WORKER_LOOP_LAG = Histogram Shown "stagedoor_worker_loop_lag_seconds" ["worker"];
    CONFIG_LAST_RELOAD_SUCCESSFUL = Gauge Shown "stagedoor_config_last_reload_successful" [];
    CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP = Gauge Shown "stagedoor_config_last_reload_success_timestamp_seconds" [];
    CONFIG_RELOADS = Counter Shown "stagedoor_config_reloads_total" ["result"];
    ACCESS_LOG_DROPPED = Counter Shown "stagedoor_access_log_dropped_total" [];
    METRICS_TRACKED = Gauge Shown "stagedoor_metrics_tracked" ["scope"];
    METRICS_UNTRACKED = Counter Shown "stagedoor_metrics_untracked_total" ["scope", "result"];
}
