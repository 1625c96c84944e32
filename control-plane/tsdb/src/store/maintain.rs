//! What has to be done from time to time: blocks, checkpoints, retention.
//!
//! A block is cut when the head reaches half a block range beyond the block's end, so late samples still find
//! their place. Its samples leave the head in the same step in which readers see the block. Then a checkpoint
//! replaces the log. Each step leaves the store right if the next one fails or never comes.

mod checkpoint;
mod compact;

pub(super) use compact::Without;

use super::{Inner, Tsdb, add, config::millis, lock, read};
use crate::{
    block::{Block, BlockError, Writer},
    head,
    log::{LogTail, checkpoint_path, segment_path},
    store::OpenError,
};
use model::{AppendError, Cancel, SampleColumns, SelectError, Timestamp};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

/// What maintenance did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    pub blocks_written: usize,
    pub blocks_deleted: usize,
    pub blocks_compacted: usize,
    pub series_removed: usize,
    pub checkpointed: bool,
}

/// Maintenance stopped; the next call goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    #[error("syncing the log failed")]
    Log(#[source] AppendError),
    #[error("writing a block failed")]
    Block(#[source] io::Error),
    #[error("a block that was just written does not read back: {0}")]
    Unreadable(String),
    #[error("reading what a block is made of failed")]
    Read(#[source] SelectError),
    #[error("writing a checkpoint failed")]
    Checkpoint(#[source] io::Error),
    #[error("deleting what is past its retention failed")]
    Retention(#[source] io::Error),
}

/// Blocks that one call writes, so that it comes to an end.
const MAX_BLOCKS: usize = 64;

impl Tsdb {
    /// The log, for those who follow what is appended.
    pub fn tail(&self) -> impl model::Tail + use<> {
        let inner = Arc::downgrade(&self.0);
        let labels = move |id| {
            let inner = inner.upgrade()?;
            let head = inner.head();
            head.labels(id)
        };
        LogTail::new(Arc::clone(&self.0.log), labels)
    }

    /// Syncs the log, turns what is old enough into blocks, checkpoints the log, deletes what is past its
    /// retention. To be called every few seconds; most calls have nothing to do. Blocks for as long as it takes;
    /// readers and writers go on meanwhile.
    pub fn maintain(&self, now: Timestamp) -> Result<Maintained, MaintainError> {
        let inner = &*self.0;
        let _alone = lock(&inner.maintaining);
        inner.now.store(now, Ordering::Relaxed);
        {
            let mut head = inner.head_mut();
            (head.now, head.max_valid) = (now, now.saturating_add(millis(inner.config.max_ahead)));
        }
        inner.log.sync().map_err(MaintainError::Log)?;
        inner.remove_doomed()?;
        inner.resume_deletion()?;
        let mut done = Maintained::default();
        while done.blocks_written < MAX_BLOCKS
            && let Some((start, end)) = inner.due_window(now)
        {
            done.series_removed += inner.write_block(start, end)?;
            done.blocks_written += 1;
        }
        if done.blocks_written > 0 {
            done.blocks_written += inner.write_late()?;
        }
        let since = inner.log.since_checkpoint();
        let enough = inner.config.checkpoint_bytes.max(read(&inner.counters.last_checkpoint_bytes));
        if done.blocks_written > 0 || since > enough {
            inner.checkpoint()?;
            done.checkpointed = true;
        }
        done.blocks_deleted = inner.delete_before(now.saturating_sub(millis(inner.config.retention)))?;
        done.blocks_compacted = inner.compact()?;
        Ok(done)
    }

    /// Turns all samples up to now into blocks, however short, and checkpoints the log: for a copy of the
    /// directory that needs no replay, and before a long stop.
    pub fn flush(&self) -> Result<Maintained, MaintainError> {
        let _alone = lock(&self.0.maintaining);
        let mut done = self.0.flush()?;
        while self.0.compact()? > 0 {
            done.blocks_compacted += 1;
        }
        Ok(done)
    }
}

/// How long nobody must have brought samples of the past before their window is closed, in milliseconds.
const PAUSE: i64 = 60_000;

impl Inner {
    /// Turns the whole head into blocks. Maintenance is the caller's alone.
    pub(super) fn flush(&self) -> Result<Maintained, MaintainError> {
        self.log.sync().map_err(MaintainError::Log)?;
        let mut done = Maintained::default();
        while done.blocks_written < MAX_BLOCKS {
            let (start, end) = {
                let head = self.head();
                if head.min_time > head.max_time {
                    break;
                }
                let range = self.config.block_range_ms();
                let start = head.min_time.div_euclid(range).saturating_mul(range);
                (start, start.saturating_add(range).min(head.max_time.saturating_add(1)))
            };
            done.series_removed += self.write_block(start, end)?;
            done.blocks_written += 1;
        }
        done.blocks_written += self.write_late()?;
        self.checkpoint()?;
        done.checkpointed = true;
        Ok(done)
    }

    /// The oldest window of the head that can become a block. A sample from the future must not close the
    /// present: `now` bounds what the newest sample says. Nor is a window closed on somebody who brings the past in,
    /// until there is a pause, or the window is older by another block.
    fn due_window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let head = self.head();
        let range = self.config.block_range_ms();
        let quiet = {
            let mut behind = lock(&self.behind);
            if behind.0 != head.behind {
                *behind = (head.behind, now);
            }
            now.saturating_sub(behind.1) >= PAUSE
        };
        let reached = head.max_time.min(now);
        let start = head.min_time.div_euclid(range).saturating_mul(range);
        let end = start.saturating_add(range);
        let patience = if quiet { range / 2 } else { range / 2 + range };
        (head.min_time <= reached && reached >= end.saturating_add(patience)).then_some((start, end))
    }

    /// Writes one block; returns how many series left the head.
    fn write_block(&self, start: Timestamp, end: Timestamp) -> Result<usize, MaintainError> {
        let mut snapshot = {
            let mut head = self.head_mut();
            head.close(end);
            head.snapshot(Some((start, end - 1)))
        };
        let written = self.put_block((start, end), &mut snapshot, |held, into| {
            head::read(held, (start, end - 1), &Cancel::default(), into)
        });
        let mut head = self.head_mut();
        let block = match written {
            Ok(block) => block,
            Err(e) => {
                head.reopen();
                return Err(e);
            }
        };
        head.drop_late(start, end, &snapshot);
        let removed = head.drop_before(end);
        // Only a whole window is done with: what comes into the rest of one is for another block.
        let whole = end.rem_euclid(self.config.block_range_ms()) == 0;
        head.set_min_valid(if whole { end } else { start });
        head.reopen();
        self.exchange(&[], block);
        add(&self.counters.removed, removed);
        Ok(removed)
    }

    /// Writes the late samples whose place is in blocks already into blocks beside those.
    fn write_late(&self) -> Result<usize, MaintainError> {
        let mut written = 0;
        // One that comes while they are written is for the next time.
        for _ in 0..MAX_BLOCKS {
            let (start, end, mut snapshot) = {
                let head = self.head();
                if head.min_late >= head.min_valid {
                    break;
                }
                let range = self.config.block_range_ms();
                let start = head.min_late.div_euclid(range).saturating_mul(range);
                let end = start.saturating_add(range).min(head.min_valid);
                (start, end, head.snapshot(Some((start, end - 1))))
            };
            let block = self.put_block((start, end), &mut snapshot, |held, into| {
                into.clear();
                let late = held.own.iter().flat_map(|o| &o.late);
                for l in late.filter(|l| l.at >= start && l.at < end) {
                    into.push(l.at, l.value.clone(), l.start);
                }
                Ok(())
            })?;
            let mut head = self.head_mut();
            head.drop_late(start, end, &snapshot);
            self.exchange(&[], block);
            written += 1;
        }
        Ok(written)
    }

    /// A number that no block of this range has or had.
    pub(super) fn free_number(&self, (start, end): (Timestamp, Timestamp)) -> u64 {
        // A name is given once, so that nobody's block is renamed over another's.
        let mut names = lock(&self.names);
        let free = (0..).find(|n| names.insert(crate::block::file_name(start, end, *n)));
        free.unwrap_or(0)
    }

    fn put_block(
        &self,
        range: (Timestamp, Timestamp),
        snapshot: &mut head::Snapshot,
        mut read: impl FnMut(&head::Held, &mut SampleColumns) -> Result<(), SelectError>,
    ) -> Result<Option<Arc<Block>>, MaintainError> {
        snapshot.sort();
        let number = self.free_number(range);
        let mut writer =
            Writer::create(&self.disk, &self.block_dir, range, number).map_err(MaintainError::Block)?;
        let mut samples = SampleColumns::default();
        for (_, labels, held) in snapshot.iter() {
            match read(held, &mut samples) {
                Ok(()) => {}
                // It never will: what it holds is lost alone, and the rest goes on.
                Err(SelectError::Corrupt(_)) => {
                    add(&self.counters.unreadable, 1);
                    continue;
                }
                Err(e) => return Err(MaintainError::Read(e)),
            }
            writer.series(&labels, &samples).map_err(MaintainError::Block)?;
        }
        self.finish(writer)
    }

    /// Ends a block and reads it back; `None` when it would be empty.
    pub(super) fn finish(&self, writer: Writer) -> Result<Option<Arc<Block>>, MaintainError> {
        if writer.len() == 0 {
            return Ok(None);
        }
        let path = writer.finish().map_err(MaintainError::Block)?;
        let block = self.open_block(path)?;
        add(&self.counters.blocks_written, 1);
        Ok(Some(Arc::new(block)))
    }

    fn open_block(&self, path: PathBuf) -> Result<Block, MaintainError> {
        Block::open(&*self.disk, &path).map_err(|e| match e {
            BlockError::Open(OpenError::Io { source, .. }) => MaintainError::Block(source),
            BlockError::Open(other) => MaintainError::Unreadable(other.to_string()),
            BlockError::Damaged(what) => MaintainError::Unreadable(what.to_owned()),
        })
    }

    /// Puts a block in the place of others, in one step. The head is locked for writing, or does not change by
    /// it.
    pub(super) fn exchange(&self, old: &[Arc<Block>], new: Option<Arc<Block>>) {
        let mut blocks = lock(&self.blocks);
        blocks.retain(|b| !old.iter().any(|o| o.path == b.path));
        blocks.extend(new);
        blocks.sort_by_key(|b| b.footer.start);
    }

    /// Writes down what the head holds, so that the log before is not needed any more.
    fn checkpoint(&self) -> Result<(), MaintainError> {
        let snapshot = || checkpoint::State::of(&self.head());
        let (ended, state) = self.log.cut(snapshot).map_err(MaintainError::Log)?;
        let path = checkpoint_path(&self.log_dir, ended);
        let bytes = checkpoint::write(&*self.disk, &path, &state).map_err(MaintainError::Checkpoint)?;
        self.counters.last_checkpoint_bytes.store(bytes, Ordering::Relaxed);
        add(&self.counters.checkpoints, 1);
        self.log.checkpointed();
        self.remove_replaced(ended).map_err(MaintainError::Checkpoint)
    }

    fn remove_replaced(&self, ended: u64) -> io::Result<()> {
        let needed = self.log.needed(ended, self.now.load(Ordering::Relaxed))?;
        for name in self.disk.list(&self.log_dir)? {
            let number = |suffix: &str| name.strip_suffix(suffix).and_then(|n| n.parse::<u64>().ok());
            if let Some(n) = number(".log").filter(|n| *n <= ended && *n <= needed) {
                self.disk.remove(&segment_path(&self.log_dir, n))?;
            }
            if let Some(n) = number(".checkpoint").filter(|n| *n < ended && *n < needed) {
                self.disk.remove(&checkpoint_path(&self.log_dir, n))?;
            }
        }
        self.disk.sync_dir(&self.log_dir)
    }

    fn delete_before(&self, limit: Timestamp) -> Result<usize, MaintainError> {
        let gone: Vec<Arc<Block>> = {
            let _head = self.head_mut();
            let mut blocks = lock(&self.blocks);
            let mut gone: Vec<_> = blocks.extract_if(.., |b| b.footer.end <= limit).collect();
            if let Some(most) = self.config.max_block_bytes {
                let mut total: u64 = blocks.iter().map(|b| b.bytes).sum();
                while total > most && !blocks.is_empty() {
                    let oldest = blocks.remove(0);
                    total -= oldest.bytes;
                    gone.push(oldest);
                }
            }
            gone
        };
        self.remove_blocks(&gone)?;
        add(&self.counters.blocks_deleted, gone.len());
        Ok(gone.len())
    }

    /// Deletes the files of blocks that nobody is shown any more. Whoever has one open reads on: the file goes
    /// when the last one closes it.
    pub(super) fn remove_blocks(&self, gone: &[Arc<Block>]) -> Result<(), MaintainError> {
        let paths: Vec<PathBuf> = gone.iter().map(|b| b.path.clone()).collect();
        lock(&self.indexes).retain(|(path, _)| !paths.contains(path));
        lock(&self.doomed).extend(paths);
        self.remove_doomed()
    }

    /// Deletes the files that are to go; what cannot be deleted now is tried again by the next maintenance.
    pub(super) fn remove_doomed(&self) -> Result<(), MaintainError> {
        let mut doomed = lock(&self.doomed);
        if doomed.is_empty() {
            return Ok(());
        }
        while let Some(path) = doomed.last() {
            match self.disk.remove(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(MaintainError::Retention(e)),
                _ => drop(doomed.pop()),
            }
        }
        self.disk.sync_dir(&self.block_dir).map_err(MaintainError::Retention)
    }
}
