//! Following what a store takes: [`Tail`].
//!
//! Whoever passes samples on reads them from where they were made durable, in the order in which they were
//! taken, and remembers there how far he came; so he holds nobody up, and loses nothing when he is killed.

use crate::{
    append::{Batch, SeriesRef},
    labels::Labels,
};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// A place between two records of a store's log. Ordered as the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    pub segment: u64,
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// Not `SEGMENT:OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is two whole numbers with a colon between them")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;
    fn from_str(s: &str) -> Result<Self, NoPosition> {
        let (segment, offset) = s.split_once(':').ok_or(NoPosition)?;
        let number = |t: &str| t.parse().map_err(|_| NoPosition);
        Ok(Position { segment: number(segment)?, offset: number(offset)? })
    }
}

/// How far a follower came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// He has everything before.
    pub done: Position,
    /// Up to where he was at work: what he does again he can do in the same portions as before.
    pub under_way: Option<Position>,
}

/// A piece of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stretch {
    /// Series that are named here for the first time; no batch before speaks of them.
    pub series: Vec<(SeriesRef, Labels)>,
    pub batches: Vec<Batch>,
    /// Where the next piece begins.
    pub next: Position,
    /// Bytes that could not be read.
    pub damaged_bytes: u64,
    /// The log does not go back to where this piece should have begun: it begins later.
    pub gap: bool,
}

/// The log could not be read, or a position not be kept.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TailError {
    pub what: String,
    #[source]
    pub source: Option<std::io::Error>,
}

/// How much of the log is held back for those who follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailBounds {
    pub bytes: u64,
    pub age: std::time::Duration,
}

/// A store's log, to be followed. Everything here may wait for the disk; none of it makes writers wait.
pub trait Tail: Send + Sync + fmt::Debug {
    /// The end of what is on disk now.
    fn end(&self) -> Position;

    /// How many bytes of log there are from `from` to the end.
    fn behind(&self, from: Position) -> Result<u64, TailError>;

    /// The piece that begins at `from`: whole records, more than `max_bytes` only where one record is, none at
    /// or behind `until`. Without anything new it is empty and its next position is `from`.
    fn read(&self, from: Position, until: Option<Position>, max_bytes: u64) -> Result<Stretch, TailError>;

    /// The labels of a series that the store still has.
    fn labels(&self, series: SeriesRef) -> Option<Labels>;

    /// Every series that was named before `position`, as far as the log goes back: for those that the store does
    /// not have any more.
    fn named_before(
        &self,
        position: Position,
        visit: &mut dyn FnMut(SeriesRef, Labels),
    ) -> Result<(), TailError>;

    /// Remembers on disk how far `name` came. What comes behind is held back until he has it, or until the bounds
    /// are reached.
    fn keep(&self, name: &str, kept: Kept) -> Result<(), TailError>;

    /// What is remembered.
    fn kept(&self) -> BTreeMap<String, Kept>;

    /// Forgets `name`.
    fn release(&self, name: &str) -> Result<(), TailError>;

    /// Bounds what is held back.
    fn bound(&self, bounds: TailBounds);
}
