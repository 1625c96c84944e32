//! Series: write-ahead log, head, blocks, retention.
//!
//! Samples go into a log that survives crashes and into the head, which answers for the last hours; every two
//! hours of them become a block, an immutable file, and leave head and log. A query merges blocks and head.
//! `FORMAT.md` describes every byte on disk.
//!
//! Layer 1: no runtime, no HTTP, no clock. The owner calls [`Tsdb::maintain`] with the time now and then; the
//! one thread of its own syncs the log every second, which needs no time of day. It returns numbers
//! ([`Stats`]); `collect` makes series of them.
//!
//! Invariants: what [`model::Append::sync`] returned for survives any crash, once; damaged bytes are an error or
//! a reported hole, never another value; the memory of the process depends on the active series and two to
//! three hours of samples, never on the retention.

pub mod analyze;
mod bits;
mod block;
mod bytes;
mod chunk;
mod decimal;
pub mod disk;
pub mod exemplars;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod ids;
mod log;
mod pack;
mod postings;
pub mod prometheus;
mod record;
mod rice;
mod row;
mod select;
mod store;

use chunk::check_histogram;
pub use disk::{Disk, StdDisk};
pub use store::{
    BlockInfo, Cardinality, Count, Damage, Deletion, Importer, MaintainError, Maintained, OpenError,
    OpenReport, Stats, Tsdb, TsdbConfig,
};
