//! The gateway beside its peers: what `compare`, `hostile` and `soak` are made of. Commands and method: docs/performance.md.
//!
//! One server at a time is driven by `h2load` from the other core. Everything measured is read from `/proc`, so Linux only.
//! Only processes started here are ever ended, by their handles.

pub mod answer;
pub mod bulk;
pub mod certificate;
pub mod config;
pub mod core_load;
pub mod embed;
pub mod flood;
pub mod gateway;
pub mod hostile;
pub mod idle;
pub mod load;
pub mod octets;
pub mod process;
pub mod proxy;
pub mod server;
pub mod soak;
pub mod stats;
pub mod table;
pub mod wire;
