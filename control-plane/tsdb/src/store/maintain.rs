//! What has to be done from time to time: blocks, checkpoints, retention.
//!
//! A block is cut when the head reaches half a block range beyond the block's end, so late samples still find
//! their place. Its samples leave the head in the same step in which readers see the block. Then a checkpoint
//! replaces the log. Each step leaves the store right if the next one fails or never comes.

use super::{Inner, Tsdb, add, config::millis, lock, read};
use crate::{
    block::{self, Block, BlockError},
    disk::{Appender, Disk},
    head::Taken,
    log::{LOG_MAGIC, LogTail, checkpoint_path, header, publish, segment_path},
    postings::Index,
    record,
    store::OpenError,
};
use model::{AppendError, Timestamp};
use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

/// What maintenance did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    pub blocks_written: usize,
    pub blocks_deleted: usize,
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
    #[error("writing a checkpoint failed")]
    Checkpoint(#[source] io::Error),
    #[error("deleting what is past its retention failed")]
    Retention(#[source] io::Error),
}

/// Blocks that one call writes, so that it comes to an end.
const MAX_BLOCKS: usize = 64;
/// Bytes of chunks in one record of a checkpoint.
const CHUNK_RECORD: usize = 256 << 10;

impl Tsdb {
    /// The log, for those who follow what is appended.
    pub fn tail(&self) -> impl model::Tail + use<> {
        let inner = Arc::downgrade(&self.0);
        let labels = move |id| {
            let inner = inner.upgrade()?;
            let head = inner.head();
            Index::labels(&*head, id).ok().filter(|labels| !labels.is_empty())
        };
        LogTail::new(Arc::clone(&self.0.log), labels)
    }

    /// Syncs the log, turns what is old enough into blocks, checkpoints the log, deletes what is past its
    /// retention. To be called every few seconds; most calls have nothing to do. Blocks for as long as it takes;
    /// readers and writers go on meanwhile.
    pub fn maintain(&self, now: Timestamp) -> Result<Maintained, MaintainError> {
        let inner = &*self.0;
        let _alone = lock(&inner.maintaining);
        inner.head_mut().max_valid = now.saturating_add(millis(inner.config.max_ahead));
        inner.log.sync().map_err(MaintainError::Log)?;
        let mut done = Maintained::default();
        while done.blocks_written < MAX_BLOCKS
            && let Some((start, end)) = inner.due_window(now)
        {
            done.series_removed += inner.write_block(start, end)?;
            done.blocks_written += 1;
        }
        let since = inner.log.since_checkpoint();
        let enough = inner.config.checkpoint_bytes.max(read(&inner.counters.last_checkpoint_bytes));
        if done.blocks_written > 0 || since > enough {
            inner.checkpoint(now)?;
            done.checkpointed = true;
        }
        done.blocks_deleted = inner.delete_before(now.saturating_sub(millis(inner.config.retention)))?;
        Ok(done)
    }
}

impl Inner {
    /// The oldest window of the head that can become a block. A sample from the future must not close the
    /// present: `now` bounds what the newest sample says.
    fn due_window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let head = self.head();
        let range = self.config.block_range_ms();
        let reached = head.max_time.min(now);
        let start = head.min_time.div_euclid(range).saturating_mul(range);
        let end = start.saturating_add(range);
        (head.min_time <= reached && reached >= end.saturating_add(range / 2)).then_some((start, end))
    }

    /// Writes one block; returns how many series left the head.
    fn write_block(&self, start: Timestamp, end: Timestamp) -> Result<usize, MaintainError> {
        let series = {
            let mut head = self.head_mut();
            head.min_valid = head.min_valid.max(end);
            head.take_all(start, end - 1)
        };
        let path =
            block::write(&*self.disk, &self.block_dir, (start, end), series).map_err(MaintainError::Block)?;
        let block = Block::open(&*self.disk, &path).map_err(|e| match e {
            BlockError::Open(OpenError::Io { source, .. }) => MaintainError::Block(source),
            BlockError::Open(other) => MaintainError::Unreadable(other.to_string()),
            BlockError::Damaged(what) => MaintainError::Unreadable(what.to_owned()),
        })?;
        let mut head = self.head_mut();
        let removed = head.drop_before(end);
        let mut blocks = lock(&self.blocks);
        blocks.retain(|b| b.path != path);
        blocks.push(Arc::new(block));
        blocks.sort_by_key(|b| b.footer.start);
        add(&self.counters.blocks_written, 1);
        add(&self.counters.removed, removed);
        Ok(removed)
    }

    /// Writes down what the head holds, so that the log before is not needed any more.
    fn checkpoint(&self, now: Timestamp) -> Result<(), MaintainError> {
        let snapshot = || {
            let head = self.head();
            (head.next_id(), head.min_valid, head.everything())
        };
        let (ended, (next_id, min_valid, series)) = self.log.cut(snapshot).map_err(MaintainError::Log)?;
        let path = checkpoint_path(&self.log_dir, ended);
        let bytes = write_checkpoint(&*self.disk, &path, next_id, min_valid, &series)
            .map_err(MaintainError::Checkpoint)?;
        self.counters.last_checkpoint_bytes.store(bytes, Ordering::Relaxed);
        add(&self.counters.checkpoints, 1);
        self.log.checkpointed();
        self.remove_replaced(ended, now).map_err(MaintainError::Checkpoint)
    }

    fn remove_replaced(&self, ended: u64, now: Timestamp) -> io::Result<()> {
        let needed = self.log.needed(ended, now)?;
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
            lock(&self.blocks).extract_if(.., |b| b.footer.end <= limit).collect()
        };
        for block in &gone {
            // A reader that has it open reads on: the file goes when the last one closes it.
            self.disk.remove(&block.path).map_err(MaintainError::Retention)?;
            lock(&self.indexes).retain(|(path, _)| *path != block.path);
        }
        if !gone.is_empty() {
            self.disk.sync_dir(&self.block_dir).map_err(MaintainError::Retention)?;
            add(&self.counters.blocks_deleted, gone.len());
        }
        Ok(gone.len())
    }
}

fn write_checkpoint(
    disk: &dyn Disk,
    path: &Path,
    next_id: u64,
    min_valid: Timestamp,
    series: &[Taken],
) -> io::Result<u64> {
    let tmp = path.with_extension("tmp");
    let outcome = put_checkpoint(disk.create(&tmp)?, next_id, min_valid, series);
    if outcome.is_err() {
        // It may be what fills the device; the error that counts is the first.
        drop(disk.remove(&tmp));
    }
    let bytes = outcome?;
    publish(disk, &tmp, path)?;
    Ok(bytes)
}

fn put_checkpoint(
    mut file: Box<dyn Appender>,
    next_id: u64,
    min_valid: Timestamp,
    series: &[Taken],
) -> io::Result<u64> {
    let mut out = header(LOG_MAGIC);
    let mut bytes = 0;
    record::put_mark(&mut out, next_id, min_valid);
    let mut flush = |out: &mut Vec<u8>| {
        bytes += out.len() as u64;
        file.append(out)?;
        out.clear();
        Ok::<_, io::Error>(())
    };
    for group in series.chunks(4096) {
        let pairs: Vec<_> = group.iter().map(|s| (s.id, s.labels.clone())).collect();
        record::put_series(&mut out, &pairs);
        flush(&mut out)?;
    }
    let (mut encoded, mut count) = (Vec::new(), 0);
    for s in series {
        for piece in &s.pieces {
            crate::bytes::put_uvarint(&mut encoded, s.id);
            piece.put(&mut encoded);
            count += 1;
            if encoded.len() >= CHUNK_RECORD {
                record::put_chunks(&mut out, count, &encoded);
                encoded.clear();
                count = 0;
                flush(&mut out)?;
            }
        }
    }
    if count > 0 {
        record::put_chunks(&mut out, count, &encoded);
    }
    flush(&mut out)?;
    file.sync()?;
    Ok(bytes)
}
