//! Routes: which requests go where, and what is done to them on the way.
//!
//! A [`Site`] is made of a checked configuration and shared by all workers; a [`Gateway`] is the service of one worker
//! and listener that answers by it. Sends nothing over the network itself: that is [`crate::proxy`]'s business.
//!
//! # Which route takes a request
//!
//! Of all routes whose conditions a request fulfils, all of them, the first in this order:
//!
//! 1. by host: one written out, then the longest wildcard (`*.b.example.org` before `*.example.org`), then none;
//! 2. by path, segment by segment from the left: written out, then `{parameter}`, then `{*rest}`; a route without a path
//!    last;
//! 3. by the number of other conditions: methods, each header, listeners; more go first;
//! 4. by the order of the file.
//!
//! Hosts are compared without port and case, paths as they came (`path.rs` says what of an encoding does not matter, and
//! which paths are not sent on at all). Where no route takes it: 421 on a listener whose routes all name other hosts, 405
//! with `allow` where only the method is in the way, 404.
//!
//! # What happens to it then
//!
//! `allow`/`deny` (403), `rate_limit` (429), `max_body` (413); for `proxy` the fields that tell where it comes from
//! (`forward.rs`), path and host changed, request headers edited; the exchange within `timeout` (504); response headers
//! edited; compression. An error of ours is answered as its client can read it (`answer.rs`).
//!
//! Invariants: a request is answered by one site from its beginning to its end; nothing that a client sends makes us
//! keep more than a bounded number of octets.

mod answer;
mod client;
mod compress;
mod edits;
mod exchange;
mod forward;
mod host;
mod limit;
mod path;
mod pattern;
mod redirect;
mod router;
mod service;
mod site;
mod template;

pub use pattern::BadPattern;
pub use service::Gateway;
pub use site::{Covers, Hooks, Limited, Needs, Site, SiteError, TellCertificate};
pub use template::BadTemplate;
