//! The plane's own durable state, on SQLite: alert state, notification log, money, marks.
//!
//! One writer thread owns the only writing connection and commits what arrives together in one transaction
//! (`synchronous=FULL`): a [`Pending`] resolves when its change is on disk, never before. Readers use
//! connections of their own and see committed state only. No SQL leaves this crate; other rooms see typed
//! calls. Time enters as an argument.
//!
//! Each module owns its tables and their version; see [`engine`].

pub mod alerts;
pub mod deliveries;
pub mod engine;
pub mod ledger;
pub mod marks;

pub use engine::{Pending, State, StateError};
