//! Blocks of a Prometheus TSDB, read and written, so that data is never locked in.
//!
//! The format is Prometheus's own, as its documentation of the format on disk has it. Read: index versions 1 and
//! 2, XOR, histogram, float histogram and XOR2 chunks, deletions. Written: index version 2, and the chunks that
//! every Prometheus since 2.40 reads. Not read: the write-ahead log and the chunks of the head.
//!
//! What this knows of our own store is [`model::Select`] and [`BulkSink`]. Invariants: a hostile or damaged file
//! is an error that names file and place, never a panic, and takes memory in proportion to its size at most;
//! a block that is written is there whole, under its name and synced, or not at all.

mod block;
mod chunk;
mod crc;
mod directory;
mod encode;
mod error;
mod export;
mod file;
mod fuzzing;
mod histogram_layout;
mod import;
mod index;
mod index_writer;
mod journal;
pub(crate) mod merge;
mod meta;
pub(crate) mod selection;
mod store_sink;
mod tombstones;
mod varbit;
mod writer;

pub use block::{Block, SeriesReader};
pub use crc::crc32c;
pub use directory::{Directory, Found, Kind};
pub use encode::{Encoded as EncodedChunk, encode as encode_chunks};
pub use error::BlockError;
pub use export::{Export, ExportError, ExportOptions, Exported};
#[doc(hidden)]
pub use fuzzing::fuzz;
pub use import::{BulkError, BulkSink, Import, ImportError, Imported, WindowDone};
pub use journal::JournalError;
pub use meta::{Compaction, Meta, Parent, Stats as BlockStats, Ulid};
pub use selection::range_of;
pub use store_sink::StoreSink;
pub use writer::{BlockOptions, BlockWriter, Written};

#[cfg(test)]
mod tests;
