//! The configuration of the gateway.

mod model;

pub use model::*;
