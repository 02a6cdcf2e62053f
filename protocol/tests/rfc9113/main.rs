//! RFC 9113, a module per section. Names are sentences of the RFC; boundaries come in pairs.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod prelude {
    pub(crate) use std::time::Duration;

    pub(crate) use bytes::Bytes;
    pub(crate) use stagedoor_protocol::settings::id as setting;
    pub(crate) use stagedoor_protocol::{
        Budgets, Cause, Config, ConnectionError, ErrorCode, Event, Fields, Limit, Origin, RequestHead, Role,
        Settings, StreamId, UserError,
    };

    pub(crate) use crate::support::{
        Pair, Raw, block, fields, fixed, frames, get, plain_windows, post, status, with,
    };
}

mod s10_security;
mod s3_4_preface;
mod s4_1_frame_format;
mod s4_2_frame_size;
mod s4_3_field_compression;
mod s5_1_1_stream_identifiers;
mod s5_1_2_concurrency;
mod s5_1_stream_states;
mod s5_2_flow_control;
mod s5_3_priority;
mod s5_4_errors;
mod s5_5_extensions;
mod s6_10_continuation;
mod s6_1_data;
mod s6_2_headers;
mod s6_3_priority;
mod s6_4_rst_stream;
mod s6_5_settings;
mod s6_6_push_promise;
mod s6_7_ping;
mod s6_8_goaway;
mod s6_9_window_update;
mod s7_error_codes;
mod s8_1_framing;
mod s8_2_fields;
mod s8_3_pseudo;
mod s8_4_push;
mod s8_5_connect;
mod s8_6_upgrade;
mod s8_7_reliability;
