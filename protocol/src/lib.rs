//! HTTP/2 as a machine: bytes and time go in, events and bytes come out.
//!
//! [`Connection`] is the whole of RFC 9113 for one connection in either role, with header compression
//! (RFC 7541), extended CONNECT (RFC 8441), extensible priorities (RFC 9218), ALTSVC (RFC 7838) and ORIGIN (RFC 8336). It does no I/O, knows no clock
//! and no runtime: the owner reads sockets, passes the time in, and moves the output to the wire.
//!
//! ```text
//! bytes --handle_input--> Connection --poll_event--> what happened
//! calls --send_*--------> Connection --poll_output--> bytes
//! time  --handle_deadline (when next_deadline says so)
//! ```
#![forbid(unsafe_code)]

mod budget;
pub mod check;
pub mod config;
pub mod connection;
pub mod error;
pub mod event;
pub mod fields;
mod flow;
pub mod frame;
pub mod hpack;
pub mod ids;
mod limit;
pub mod memory;
pub mod message;
mod output;
pub mod priority;
pub mod recorder;
mod schedule;
pub mod settings;
mod shared;
mod stream;
mod syntax;
mod table;
pub mod tap;
pub mod web_origin;

pub use budget::Budgets;
pub use config::{Config, Padding, Rate, Window};
pub use connection::{AltSvcTarget, Connection, ConnectionState, Holdup, Role, StreamView};
pub use error::{ConnectionError, ErrorCode, StreamError, UserError};
pub use event::{Cause, Counters, ErrorRecord, Event, Origin};
pub use fields::{Field, Fields};
pub use ids::StreamId;
pub use limit::{Limit, Reaction};
pub use memory::{Account, Credit};
pub use message::{RequestHead, ResponseHead};
pub use priority::Priority;
pub use recorder::Recorder;
pub use settings::Settings;
pub use shared::SharedHead;
pub use tap::{Detail, Tapped};
