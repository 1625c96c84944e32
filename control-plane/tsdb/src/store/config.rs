//! What the store is opened with, and what opening it tells.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How the store works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsdbConfig {
    /// The directory, which is the store's alone. Created when absent.
    pub dir: PathBuf,
    /// How long samples are kept.
    pub retention: Duration,
    /// The length of a block. Its borders are multiples of it since 1970.
    pub block_range: Duration,
    /// Bytes after which the log begins another file.
    pub segment_bytes: u64,
    /// Bytes of log after which a checkpoint is made, at least.
    pub checkpoint_bytes: u64,
    /// Bytes that may wait for the disk before appending is refused.
    pub max_unsynced_bytes: usize,
    /// Active series that are taken, at most. `None`: no limit.
    pub max_series: Option<usize>,
    /// How far behind the newest sample of all one may be that is older than its series' newest. Zero: such
    /// samples are refused.
    pub late_window: Duration,
    /// Bytes of blocks that are kept; the oldest go first. `None`: only time counts.
    pub max_block_bytes: Option<u64>,
    /// How far ahead of the time given to `maintain` a sample may be.
    pub max_ahead: Duration,
    /// How often the store syncs the log by itself. `None`: only when asked.
    pub sync_every: Option<Duration>,
    /// Memory for the indexes of blocks that were used last.
    pub index_cache_bytes: usize,
}

impl TsdbConfig {
    /// The usual settings: 90 days, blocks of two hours, a sync every second.
    pub fn new(dir: impl Into<PathBuf>) -> TsdbConfig {
        TsdbConfig {
            dir: dir.into(),
            retention: Duration::from_hours(90 * 24),
            block_range: Duration::from_hours(2),
            segment_bytes: 32 << 20,
            checkpoint_bytes: 64 << 20,
            max_unsynced_bytes: 64 << 20,
            max_series: None,
            late_window: Duration::ZERO,
            max_block_bytes: None,
            max_ahead: Duration::from_mins(10),
            sync_every: Some(Duration::from_secs(1)),
            index_cache_bytes: 64 << 20,
        }
    }

    pub(super) fn check(&self) -> Result<(), OpenError> {
        if self.block_range < Duration::from_millis(2) || self.block_range > Duration::from_hours(24 * 366) {
            return Err(OpenError::Config("the block range must be between 2 ms and a year"));
        }
        if self.retention < self.block_range {
            return Err(OpenError::Config("the retention must not be shorter than a block"));
        }
        Ok(())
    }

    pub(super) fn block_range_ms(&self) -> i64 {
        millis(self.block_range)
    }
}

pub(super) fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// Bytes of a file that could not be read, and were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub from: u64,
    /// The first byte after it.
    pub to: u64,
    pub what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: bytes {} to {} are damaged: {}", self.path.display(), self.from, self.to, self.what)
    }
}

/// What was found when the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    pub series: u64,
    /// Samples that came back from the log.
    pub samples: u64,
    /// Samples of the log that could not be placed, because damage took what they belong to.
    pub dropped_samples: u64,
    pub log_records: u64,
    pub log_bytes: u64,
    /// Bytes cut off at the end of the log, which a crash had left half written. They were never acknowledged.
    pub torn_bytes: u64,
    pub blocks: u64,
    pub damage: Vec<Damage>,
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data directory {} is in use by another process", dir.display())]
    InUse { dir: PathBuf },
    #[error(
        "{} was written by {} Vigie (format {found}; this one reads {supported}): \
         start that version, or move the data directory away",
        path.display(),
        if found > supported { "a newer" } else { "an older" }
    )]
    Newer { path: PathBuf, found: u32, supported: u32 },
    #[error("reading or writing {} failed", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Config(&'static str),
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> OpenError {
        OpenError::Io { path: path.to_owned(), source }
    }
}
