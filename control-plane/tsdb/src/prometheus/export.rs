//! A store into blocks: one block for each window that has samples, read through [`Select`].
//!
//! A journal in the target folder says which windows are done, and before a block is begun how it will be called:
//! so an export that was interrupted goes on, and no window is written twice.

use super::{
    error::BlockError,
    journal::{Journal, JournalError},
    meta::Ulid,
    selection::{merged, range_of},
    writer::{BlockOptions, BlockWriter, UNFINISHED},
};
use model::{Matcher, SampleColumns, Select, SelectError, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fs, path::PathBuf};

/// The journal's name in the target folder.
const JOURNAL: &str = "vigie-export.journal";
/// Prometheus's first block range, of which the others are multiples.
const BASE_RANGE_MS: i64 = 2 * 3_600_000;
/// The longest block: 31 days.
const MOST_RANGE_MS: i64 = 31 * 86_400_000;
/// To what the range of the samples is rounded outwards.
const ROUNDED_MS: i64 = 60_000;
/// Series between two reports of progress.
const REPORT_EVERY: u64 = 1000;

/// What is to be exported, and how.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    pub out: PathBuf,
    /// Both ends inclusive; `None`: as far as there are samples.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// A series that matches one of these is taken; none: all series.
    pub selectors: Vec<Vec<Matcher>>,
    /// The selectors as they were written, by which an export that goes on is known again.
    pub written: Vec<String>,
    /// The length of a block: a multiple of two hours, at most 31 days.
    pub block_ms: i64,
    pub skip_custom_buckets: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the length of a block must be a multiple of 2h, at most 31d")]
    BlockRange,
    #[error("the store cannot be read")]
    Select(#[from] SelectError),
    #[error("a block cannot be written")]
    Block(#[from] BlockError),
    #[error("the journal cannot be kept")]
    Journal(#[from] JournalError),
    #[error(
        "{} has an export with other options: give the same ones to go on with it, or another folder",
        out.display()
    )]
    OtherOptions { out: PathBuf },
    #[error("{} cannot be made", out.display())]
    Out {
        out: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// An export begins.
    Export(Plan),
    /// A block is being written for a window.
    Begin { window: (Timestamp, Timestamp), block: Ulid },
    /// A window is done; without a block when it has no samples.
    Done { window: (Timestamp, Timestamp), block: Option<Ulid> },
}

/// What must be the same when an export goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    selectors: Vec<String>,
    block_ms: i64,
    skip_custom_buckets: bool,
    asked: (Option<Timestamp>, Option<Timestamp>),
    /// Where the samples of the store began and ended then, both inclusive; `None`: there was none.
    range: Option<(Timestamp, Timestamp)>,
}

/// How far an export is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Windows that there are, that an earlier run did, and that are done.
    pub windows: u64,
    pub windows_before: u64,
    pub windows_done: u64,
    /// What is exported, both ends inclusive; `None`: nothing is there.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Written in this run. A series counts in each block.
    pub blocks: Vec<Ulid>,
    pub series: u64,
    pub samples: u64,
    pub start_times_left_out: u64,
    pub custom_buckets_left_out: u64,
    pub custom_buckets: u64,
}

/// An export that has been planned.
#[derive(Debug)]
pub struct Export {
    options: ExportOptions,
    journal: Journal<Line>,
    /// Windows that are left, by number; empty when nothing is.
    left: std::ops::Range<i64>,
    progress: Exported,
}

impl Export {
    /// Plans the export, or finds in the target folder how far an earlier one came. Of one that is finished
    /// nothing is left: what came since goes into another folder.
    pub fn open(select: &dyn Select, options: ExportOptions) -> Result<Export, ExportError> {
        let range = options.block_ms;
        if range <= 0 || range % BASE_RANGE_MS != 0 || range > MOST_RANGE_MS {
            return Err(ExportError::BlockRange);
        }
        fs::create_dir_all(&options.out)
            .map_err(|source| ExportError::Out { out: options.out.clone(), source })?;
        let (mut journal, lines) = Journal::open(&options.out.join(JOURNAL))?;
        let begun =
            lines.iter().rev().find_map(|l| if let Line::Export(plan) = l { Some(plan) } else { None });
        let plan = match begun {
            Some(plan) if !same(plan, &options) => {
                return Err(ExportError::OtherOptions { out: options.out });
            }
            Some(plan) if plan.range.is_some() => plan.clone(),
            _ => {
                let plan = Plan {
                    selectors: options.written.clone(),
                    block_ms: range,
                    skip_custom_buckets: options.skip_custom_buckets,
                    asked: (options.from, options.to),
                    range: range_of(select, &options.selectors, (options.from, options.to), ROUNDED_MS)?,
                };
                journal.add(&Line::Export(plan.clone()))?;
                plan
            }
        };
        let mut progress = Exported { range: plan.range, ..Exported::default() };
        let mut left = plan.range.map_or(0..0, |(from, to)| from.div_euclid(range)..to.div_euclid(range) + 1);
        progress.windows = u64::try_from(left.end - left.start).unwrap_or(0);
        // Windows are done in order. One that was begun is done if its block has its name.
        let mut pending = None;
        let mut done = left.start;
        for line in &lines {
            match line {
                Line::Begin { window, block } => pending = Some((*window, *block)),
                Line::Done { window, .. } => {
                    pending = None;
                    done = done.max(window.1.div_euclid(range));
                }
                Line::Export(_) => {}
            }
        }
        if let Some((window, block)) = pending {
            let unfinished = options.out.join(format!("{block}{UNFINISHED}"));
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).map_err(|e| BlockError::io(&unfinished, e))?;
            }
            if options.out.join(block.to_string()).exists() {
                journal.add(&Line::Done { window, block: Some(block) })?;
                done = done.max(window.1.div_euclid(range));
            }
        }
        left.start = done.min(left.end);
        progress.windows_before = progress.windows - u64::try_from(left.end - left.start).unwrap_or(0);
        progress.windows_done = progress.windows_before;
        Ok(Export { options, journal, left, progress })
    }

    pub fn progress(&self) -> &Exported {
        &self.progress
    }

    /// Whether an earlier run did all of it.
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Does what is left, and tells `report` now and then. `now` and `chance` make the names of the blocks.
    pub fn run(
        mut self,
        select: &dyn Select,
        now: Timestamp,
        chance: &mut dyn FnMut() -> u128,
        report: &mut dyn FnMut(&Exported),
    ) -> Result<Exported, ExportError> {
        for n in self.left.clone() {
            let range = self.options.block_ms;
            let window = (n.saturating_mul(range), n.saturating_add(1).saturating_mul(range));
            let block = self.window(select, window, Ulid::new(now, chance()), report)?;
            self.journal.add(&Line::Done { window, block })?;
            self.progress.windows_done += 1;
            self.progress.blocks.extend(block);
            report(&self.progress);
        }
        Ok(self.progress)
    }

    fn window(
        &mut self,
        select: &dyn Select,
        window: (Timestamp, Timestamp),
        ulid: Ulid,
        report: &mut dyn FnMut(&Exported),
    ) -> Result<Option<Ulid>, ExportError> {
        let (from, to) = self.progress.range.unwrap_or(window);
        let mut series = merged(select, &self.options.selectors, from.max(window.0), to.min(window.1 - 1))?;
        let mut samples = SampleColumns::default();
        let mut writer: Option<BlockWriter> = None;
        let mut count = 0u64;
        while let Some(labels) = series.next(&mut samples)? {
            let writer = match &mut writer {
                Some(writer) => writer,
                // Only now, because most windows of a young store are empty.
                None => {
                    self.journal.add(&Line::Begin { window, block: ulid })?;
                    let options = BlockOptions {
                        level: level(self.options.block_ms),
                        end_with_samples: window.1.saturating_sub(1) >= to,
                        skip_custom_buckets: self.options.skip_custom_buckets,
                        ..BlockOptions::new(ulid, window.0, window.1)
                    };
                    writer.insert(BlockWriter::create(&self.options.out, options)?)
                }
            };
            writer.series(&labels, &samples)?;
            count += 1;
            self.progress.series += 1;
            self.progress.samples += samples.len() as u64;
            if count.is_multiple_of(REPORT_EVERY) {
                report(&self.progress);
            }
        }
        let Some(written) = writer.map_or(Ok(None), BlockWriter::finish)? else { return Ok(None) };
        self.progress.start_times_left_out += written.start_times_left_out;
        self.progress.custom_buckets_left_out += written.custom_buckets_left_out;
        self.progress.custom_buckets += written.custom_buckets;
        Ok(Some(ulid))
    }
}

fn same(plan: &Plan, options: &ExportOptions) -> bool {
    plan.selectors == options.written
        && plan.block_ms == options.block_ms
        && plan.skip_custom_buckets == options.skip_custom_buckets
        && plan.asked == (options.from, options.to)
}

/// How often Prometheus would have compacted to reach this length: each time by three.
fn level(range: i64) -> u32 {
    let (mut level, mut reached) = (1, BASE_RANGE_MS);
    while reached < range {
        reached = reached.saturating_mul(3);
        level += 1;
    }
    level
}

#[cfg(test)]
mod tests;
