//! HTTP/2 as a machine.
#![forbid(unsafe_code)]
pub mod hpack;
