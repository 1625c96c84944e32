//! What people ask of a store: delete series, copy it, take whole windows in, say what fills it.

use super::{
    Inner, Tsdb, lock,
    maintain::{MaintainError, Without},
};
use crate::{
    block::{Block, Writer},
    bytes::{Reader, put_ivarint, put_str, put_uvarint},
    log::publish,
};
use model::{Labels, MatchOp, Matcher, SampleColumns, Timestamp, labels::METRIC_NAME};
use std::{io, path::PathBuf, sync::Arc};

/// What is to be deleted: the samples of a range, of series that satisfy all matchers of one of the sets.
#[derive(Debug, Clone)]
pub struct Deletion {
    pub sets: Vec<Vec<Matcher>>,
    /// Both ends belong to it.
    pub start: Timestamp,
    pub end: Timestamp,
}

/// A name or a pair, with how many there are of it.
pub type Count = (String, usize);

/// What fills the head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cardinality {
    pub series: usize,
    pub label_pairs: usize,
    /// Metric names by their series, the largest first.
    pub metrics: Vec<Count>,
    /// Label names by their values.
    pub names: Vec<Count>,
    /// Label names by the bytes of their values.
    pub bytes: Vec<Count>,
    /// `name=value` by series.
    pub pairs: Vec<Count>,
    /// Times of the oldest and the newest sample in the head, when there is one.
    pub range: Option<(Timestamp, Timestamp)>,
}

const INTENT: &str = "deletion";

impl Deletion {
    fn matches(&self, labels: &Labels) -> bool {
        self.sets.iter().any(|set| set.iter().all(|m| m.matches_labels(labels)))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_ivarint(&mut out, self.start);
        put_ivarint(&mut out, self.end);
        put_uvarint(&mut out, self.sets.len() as u64);
        for set in &self.sets {
            put_uvarint(&mut out, set.len() as u64);
            for m in set {
                put_str(&mut out, &m.name);
                put_str(&mut out, m.op.as_str());
                put_str(&mut out, &m.value);
            }
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` when the bytes are damaged: nothing is deleted that nobody asked for.
    fn decode(bytes: &[u8]) -> Option<Deletion> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body).to_le_bytes() != *crc {
            return None;
        }
        let mut r = Reader::new(body, "deletion");
        let (start, end) = (r.ivarint().ok()?, r.ivarint().ok()?);
        let mut sets = Vec::new();
        for _ in 0..r.count().ok()? {
            let mut set = Vec::new();
            for _ in 0..r.count().ok()? {
                let (name, op, value) = (r.str().ok()?, r.str().ok()?, r.str().ok()?);
                let all = [MatchOp::Eq, MatchOp::Ne, MatchOp::Re, MatchOp::Nre];
                let op = all.into_iter().find(|o| o.as_str() == op)?;
                set.push(Matcher::new(name, op, value).ok()?);
            }
            sets.push(set);
        }
        Some(Deletion { sets, start, end })
    }
}

/// A block on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    pub name: String,
    /// The first time of its range.
    pub start: Timestamp,
    /// The first time after it.
    pub end: Timestamp,
    pub series: u64,
    pub samples: u64,
}

impl Tsdb {
    /// Deletes samples that are there now, for good: what comes later is not touched. Blocks until it is done. A
    /// crash before that leaves the rest to the next opening's [`Tsdb::maintain`].
    pub fn delete(&self, what: &Deletion) -> Result<(), MaintainError> {
        let inner = &*self.0;
        let _alone = lock(&inner.maintaining);
        // One that was cut off is done first: its note would be lost.
        inner.resume_deletion()?;
        let path = inner.config.dir.join(INTENT);
        let tmp = path.with_extension("tmp");
        let write = || {
            // A crash may have left one.
            drop(inner.disk.remove(&tmp));
            let mut file = inner.disk.create(&tmp)?;
            file.append(&what.encode())?;
            file.sync()?;
            publish(&*inner.disk, &tmp, &path)
        };
        write().map_err(MaintainError::Retention)?;
        let outcome = inner.carry_out(what);
        inner.end_deletion(outcome)
    }

    /// Makes a directory under `dir/snapshots/NAME` that can be opened as a store and holds all samples up to
    /// now. Blocks are shared with it, not copied; it stays as it is whatever happens here.
    pub fn snapshot(&self, name: &str) -> Result<PathBuf, MaintainError> {
        let inner = &*self.0;
        let _alone = lock(&inner.maintaining);
        inner.flush()?;
        let to = inner.config.dir.join("snapshots").join(name);
        let copy = || {
            let blocks = to.join("blocks");
            inner.disk.create_dir(&blocks)?;
            for block in lock(&inner.blocks).iter() {
                if let Some(file) = block.path.file_name() {
                    inner.disk.link(&block.path, &blocks.join(file))?;
                }
            }
            inner.disk.sync_dir(&blocks)?;
            inner.disk.sync_dir(&to)
        };
        copy().map_err(MaintainError::Retention)?;
        Ok(to)
    }

    /// Begins to take the samples of a window in, whole: as a block of its own, beside what is there.
    pub fn import(&self, start: Timestamp, end: Timestamp) -> Result<Importer, MaintainError> {
        let inner = &*self.0;
        let number = inner.free_number((start, end));
        let writer = Writer::create(&inner.disk, &inner.block_dir, (start, end), number);
        Ok(Importer { store: self.clone(), writer: writer.map_err(MaintainError::Block)? })
    }

    /// Joins blocks that reach into each other, and neighbours that are old enough.
    pub fn compact(&self) -> Result<(), MaintainError> {
        let _alone = lock(&self.0.maintaining);
        while self.0.compact()? > 0 {}
        Ok(())
    }

    /// The blocks on disk, the oldest first.
    pub fn blocks(&self) -> Vec<BlockInfo> {
        let blocks = lock(&self.0.blocks);
        let info = |b: &Arc<Block>| BlockInfo {
            name: b.path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            start: b.footer.start,
            end: b.footer.end,
            series: b.footer.series,
            samples: b.footer.samples,
        };
        let mut all: Vec<BlockInfo> = blocks.iter().map(info).collect();
        all.sort_by_key(|b| (b.start, b.end));
        all
    }

    /// The `limit` largest of each kind.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        let head = self.0.head();
        let index = head.label_index();
        let (mut names, mut bytes, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        let mut metrics = Vec::new();
        let mut label_pairs = 0;
        for (name, count) in index.names() {
            label_pairs += count;
            names.push((name.to_string(), count));
            let mut size = 0;
            for (value, ids) in index.values(name) {
                size += value.len() * ids.len();
                if **name == *METRIC_NAME {
                    metrics.push((value.to_string(), ids.len()));
                }
                pairs.push((format!("{name}={value}"), ids.len()));
                // Millions of pairs are not gathered to show ten.
                if pairs.len() >= 8192 + 2 * limit {
                    largest(&mut pairs, limit);
                }
            }
            bytes.push((name.to_string(), size));
        }
        for list in [&mut metrics, &mut names, &mut bytes, &mut pairs] {
            largest(list, limit);
        }
        let range = (head.min_time <= head.max_time).then_some((head.min_time, head.max_time));
        Cardinality { series: head.len(), label_pairs, metrics, names, bytes, pairs, range }
    }

    /// Times of the oldest and the newest sample, as far as blocks and head know them.
    pub fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        let head = self.0.head();
        let head_range = (head.min_time <= head.max_time).then_some((head.min_time, head.max_time));
        let blocks = lock(&self.0.blocks);
        let starts = blocks.iter().map(|b| b.footer.start).chain(head_range.map(|r| r.0));
        let ends = blocks.iter().map(|b| b.footer.end - 1).chain(head_range.map(|r| r.1));
        starts.min().zip(ends.max())
    }
}

fn largest(list: &mut Vec<Count>, limit: usize) {
    list.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    list.truncate(limit);
}

impl Inner {
    /// Goes on with a deletion that a crash cut off.
    pub(super) fn resume_deletion(&self) -> Result<(), MaintainError> {
        let path = self.config.dir.join(INTENT);
        let Ok(bytes) = self.disk.read(&path) else { return Ok(()) };
        let outcome = Deletion::decode(&bytes).map_or(Ok(()), |what| self.carry_out(&what));
        self.end_deletion(outcome)
    }

    /// Forgets what was to be deleted, unless trying again may do more. A block that does not read never will.
    fn end_deletion(&self, outcome: Result<(), MaintainError>) -> Result<(), MaintainError> {
        if matches!(outcome, Ok(()) | Err(MaintainError::Read(_))) {
            let removed = self.disk.remove(&self.config.dir.join(INTENT));
            removed.and_then(|()| self.disk.sync_dir(&self.config.dir)).map_err(MaintainError::Retention)?;
        }
        outcome
    }

    fn carry_out(&self, what: &Deletion) -> Result<(), MaintainError> {
        self.remove_doomed()?;
        // In blocks there is one way to leave samples out.
        self.flush()?;
        let blocks: Vec<Arc<Block>> = lock(&self.blocks).clone();
        let without = Without { series: &|labels| what.matches(labels), start: what.start, end: what.end };
        let mut outcome = Ok(());
        for block in blocks.into_iter().filter(|b| b.overlaps(what.start, what.end)) {
            let old = [block];
            let new = match self.join(&old, Some(&without)) {
                Err(MaintainError::Read(e)) => {
                    outcome = Err(MaintainError::Read(e));
                    continue;
                }
                other => other?,
            };
            {
                let _head = self.head_mut();
                self.exchange(&old, new);
            }
            self.remove_blocks(&old)?;
        }
        outcome
    }
}

/// A window that is being taken in. Dropped before [`Importer::finish`] it leaves nothing.
#[derive(Debug)]
pub struct Importer {
    store: Tsdb,
    writer: Writer,
}

impl Importer {
    /// The next series, in the order of labels, with its samples by time; those outside of the window must not be
    /// among them.
    pub fn series(&mut self, labels: &Labels, samples: &SampleColumns) -> io::Result<()> {
        self.writer.series(labels, samples)
    }

    /// Shows the window, all of it in one step, once it is on disk.
    pub fn finish(self) -> Result<(), MaintainError> {
        let inner = &*self.store.0;
        let block = inner.finish(self.writer)?;
        let _head = inner.head_mut();
        inner.exchange(&[], block);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
