//! Faults below a session: its transport gives and takes octets in pieces, late, or not at all, fails at any call, or
//! ends. Whatever it does, every stream ends exactly once and says how, octets are conserved, and the session ends
//! once and for a reason that fits.

#![allow(clippy::unwrap_used)] // A test that cannot go on says where.
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod http1;
mod ours;
mod scripts;
mod visitor;
mod visits;
