//! Blocks into a store: one window of the store's own at a time, from all blocks that reach into it, with series
//! in the order of their labels.
//!
//! A journal says which windows of which blocks are in the store. A window that was interrupted is done again; a
//! block that comes later adds what it has to windows that others have filled.

use super::{
    block::{Block, SeriesReader},
    directory::Found,
    error::BlockError,
    journal::{Journal, JournalError},
    merge::{Ascending, Merged},
    meta::Ulid,
};
use model::{Labels, SampleColumns, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    error::Error,
    path::Path,
    sync::Arc,
};

/// The longest block that is believed: ten years.
const MOST_BLOCK_MS: i64 = 10 * 366 * 86_400_000;
/// Series between two reports of progress.
const REPORT_EVERY: u64 = 1000;

/// A store that takes samples in bulk, window after window in the order of time.
pub trait BulkSink {
    /// Begins a window: samples from `min` to before `max`. What an earlier `begin` left unfinished is dropped.
    fn begin(&mut self, min: Timestamp, max: Timestamp) -> Result<(), BulkError>;

    /// Takes a series of the window. Labels ascend within a window, times within a series.
    fn series(&mut self, labels: &Labels, samples: &SampleColumns) -> Result<(), BulkError>;

    /// Makes the window visible and durable, all or nothing. After a crash it may be done again with the same
    /// samples, which must change nothing.
    fn finish(&mut self) -> Result<(), BulkError>;
}

/// The store does not take a window.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BulkError {
    what: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BulkError {
    pub fn new(what: impl Into<String>) -> BulkError {
        BulkError { what: what.into(), source: None }
    }

    pub fn with_source(what: impl Into<String>, source: impl Error + Send + Sync + 'static) -> BulkError {
        BulkError { what: what.into(), source: Some(Box::new(source)) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("a block cannot be read")]
    Block(#[from] BlockError),
    #[error("the store does not take the samples from {min} to {max} (milliseconds)")]
    Store {
        min: Timestamp,
        max: Timestamp,
        #[source]
        source: BulkError,
    },
    #[error("the journal cannot be kept")]
    Journal(#[from] JournalError),
}

/// A window that is in the store: a line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowDone {
    /// From, and to before, in milliseconds.
    pub window: (Timestamp, Timestamp),
    pub blocks: Vec<Ulid>,
    pub series: u64,
    pub samples: u64,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    pub blocks: u64,
    /// Windows that there are, that an earlier run did, and that are done.
    pub windows: u64,
    pub windows_before: u64,
    pub windows_done: u64,
    /// Counted in this run; a series counts in each window.
    pub series: u64,
    pub samples: u64,
}

#[derive(Debug)]
struct Task {
    window: (Timestamp, Timestamp),
    /// Indexes of blocks.
    blocks: Vec<usize>,
}

/// An import that has been planned.
#[derive(Debug)]
pub struct Import {
    blocks: Vec<Found>,
    journal: Journal<WindowDone>,
    tasks: Vec<Task>,
    progress: Imported,
}

impl Import {
    /// Plans what `journal` does not have yet. A block that is named twice is read once.
    pub fn open(mut blocks: Vec<Found>, journal: &Path, window_ms: i64) -> Result<Import, ImportError> {
        let mut met = HashSet::new();
        blocks.retain(|b| met.insert(b.meta.ulid));
        let (journal, lines) = Journal::<WindowDone>::open(journal)?;
        let mut done: HashMap<(i64, i64), HashSet<Ulid>> = HashMap::new();
        for line in lines {
            done.entry(line.window).or_default().extend(line.blocks);
        }
        let mut windows: BTreeMap<i64, Task> = BTreeMap::new();
        let mut all = HashSet::new();
        for (i, found) in blocks.iter().enumerate() {
            let (min, max) = (found.meta.min_time, found.meta.max_time);
            if max.checked_sub(min).is_none_or(|len| len > MOST_BLOCK_MS) {
                let what = format!("its times reach from {min} to {max}, which is more than ten years");
                return Err(BlockError::unsupported(&found.dir, what).into());
            }
            for n in min.div_euclid(window_ms)..=(max - 1).div_euclid(window_ms) {
                let window = (n.saturating_mul(window_ms), n.saturating_add(1).saturating_mul(window_ms));
                all.insert(n);
                if done.get(&window).is_none_or(|blocks| !blocks.contains(&found.meta.ulid)) {
                    windows.entry(n).or_insert_with(|| Task { window, blocks: Vec::new() }).blocks.push(i);
                }
            }
        }
        let before = (all.len() - windows.len()) as u64;
        let progress = Imported {
            blocks: blocks.len() as u64,
            windows: all.len() as u64,
            windows_before: before,
            windows_done: before,
            ..Imported::default()
        };
        Ok(Import { blocks, journal, tasks: windows.into_values().collect(), progress })
    }

    pub fn progress(&self) -> Imported {
        self.progress
    }

    /// Does what is left, and tells `report` now and then.
    pub fn run(
        mut self,
        sink: &mut dyn BulkSink,
        report: &mut dyn FnMut(&Imported),
    ) -> Result<Imported, ImportError> {
        let mut open: HashMap<usize, Arc<Block>> = HashMap::new();
        for task in std::mem::take(&mut self.tasks) {
            // A block stays open from its first window to its last, because its symbols are in memory then.
            open.retain(|i, _| task.blocks.contains(i));
            for i in &task.blocks {
                if !open.contains_key(i) {
                    open.insert(*i, Arc::new(Block::open(&self.blocks[*i].dir)?));
                }
            }
            let blocks: Vec<Arc<Block>> = task.blocks.iter().filter_map(|i| open.get(i).cloned()).collect();
            self.window(task.window, &blocks, sink, report)?;
        }
        Ok(self.progress)
    }

    fn window(
        &mut self,
        (min, max): (Timestamp, Timestamp),
        blocks: &[Arc<Block>],
        sink: &mut dyn BulkSink,
        report: &mut dyn FnMut(&Imported),
    ) -> Result<(), ImportError> {
        let store = |source| ImportError::Store { min, max, source };
        let readers = blocks.iter().map(|b| {
            let (from, to) = (b.meta().min_time.max(min), b.meta().max_time.min(max) - 1);
            b.series(from, to)
        });
        let mut merged = Merged::new(readers);
        let mut samples = SampleColumns::default();
        let mut line = WindowDone {
            window: (min, max),
            blocks: blocks.iter().map(|b| b.meta().ulid).collect(),
            series: 0,
            samples: 0,
        };
        sink.begin(min, max).map_err(store)?;
        while let Some(labels) = merged.next(&mut samples)? {
            sink.series(&labels, &samples).map_err(store)?;
            line.series += 1;
            line.samples += samples.len() as u64;
            self.progress.series += 1;
            self.progress.samples += samples.len() as u64;
            if line.series.is_multiple_of(REPORT_EVERY) {
                report(&self.progress);
            }
        }
        sink.finish().map_err(store)?;
        self.journal.add(&line)?;
        self.progress.windows_done += 1;
        report(&self.progress);
        Ok(())
    }
}

impl Ascending for SeriesReader<'_> {
    type Error = BlockError;

    fn next(&mut self, into: &mut SampleColumns) -> Result<Option<Labels>, BlockError> {
        SeriesReader::next(self, into)
    }
}

#[cfg(test)]
mod tests;
