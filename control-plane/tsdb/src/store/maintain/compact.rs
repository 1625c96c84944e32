//! Compaction: several blocks become one, so that a query opens few files and names are written once.
//!
//! Blocks that overlap are joined first; then four neighbours become one, and four of those again, up to a
//! tenth of the retention. Chunks are copied as they are where their times do not overlap. The new block is
//! shown in the same step in which the old ones are not shown any more; a crash between its rename and their
//! removal leaves both, with the same samples, which reading and the next compaction make one again.

use super::{Inner, MaintainError, lock};
use crate::{
    block::{Block, Cursor, Place, Window, Writer},
    chunk::Chunk,
    head::Collector,
};
use model::{Labels, SampleColumns, SelectError, Timestamp};
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

/// Blocks that become one.
const FAN: i64 = 4;
/// Blocks longer than this are not joined with others: 31 days.
const MAX_RANGE: i64 = 31 * 24 * 3600 * 1000;
/// Neighbouring chunks with fewer samples are written as one.
const SMALL: u16 = 120;

/// Samples that are not to stay: those of a range, of the series that it says.
pub(in crate::store) struct Without<'a> {
    pub(in crate::store) series: &'a dyn Fn(&Labels) -> bool,
    pub(in crate::store) start: Timestamp,
    pub(in crate::store) end: Timestamp,
}

impl Inner {
    /// Joins the blocks of at most one range; returns how many new blocks there are.
    pub(in crate::store) fn compact(&self) -> Result<usize, MaintainError> {
        let mut blocks = lock(&self.blocks).clone();
        // A block that does not read is left as it is: what can be read of it still answers.
        blocks.retain(|b| !lock(&self.unreadable).contains(&b.path));
        let most =
            (super::millis(self.config.retention) / 10).min(MAX_RANGE).max(self.config.block_range_ms());
        let Some(old) = plan(&blocks, self.config.block_range_ms(), most) else { return Ok(0) };
        let new = match self.join(&old, None) {
            Err(MaintainError::Read(e)) => {
                self.set_unreadable(&old);
                return Err(MaintainError::Read(e));
            }
            other => other?,
        };
        self.exchange(&old, new);
        self.remove_blocks(&old)?;
        Ok(1)
    }

    /// Finds out which of some blocks do not read, and remembers them.
    fn set_unreadable(&self, blocks: &[Arc<Block>]) {
        for block in blocks {
            let read = || {
                let mut merge = Merge::new(std::slice::from_ref(block))?;
                while merge.next()?.is_some() {}
                Ok::<_, SelectError>(())
            };
            if read().is_err() {
                lock(&self.unreadable).push(block.path.clone());
            }
        }
    }

    /// Writes the samples of some blocks into one, but for those `without`.
    pub(in crate::store) fn join(
        &self,
        old: &[Arc<Block>],
        without: Option<&Without<'_>>,
    ) -> Result<Option<Arc<Block>>, MaintainError> {
        let start = old.iter().map(|b| b.footer.start).min().unwrap_or(0);
        let end = old.iter().map(|b| b.footer.end).max().unwrap_or(1);
        let number = self.free_number((start, end));
        let mut writer = Writer::create(&self.disk, &self.block_dir, (start, end), number)
            .map_err(MaintainError::Block)?;
        let mut merge = Merge::new(old).map_err(MaintainError::Read)?;
        let mut samples = SampleColumns::default();
        while let Some((labels, chunks)) = merge.next().map_err(MaintainError::Read)? {
            let without =
                without.filter(|w| chunks.iter().any(|c| c.overlaps(w.start, w.end)) && (w.series)(&labels));
            let apart = chunks.windows(2).all(|w| w[0].max < w[1].min);
            let small = chunks.windows(2).any(|w| w[0].count() < SMALL && w[1].count() < SMALL);
            if apart && without.is_none() && !small {
                writer.chunks(&labels, &chunks).map_err(MaintainError::Block)?;
                continue;
            }
            samples.clear();
            let mut collector = Collector::new(Timestamp::MIN, Timestamp::MAX, &mut samples);
            for chunk in &chunks {
                collector.chunk(chunk).map_err(|e| MaintainError::Read(crate::head::corrupt(e)))?;
            }
            collector.finish();
            if let Some(w) = without {
                samples = retain(&samples, |at| at < w.start || at > w.end);
            }
            writer.series(&labels, &samples).map_err(MaintainError::Block)?;
        }
        self.finish(writer)
    }
}

fn retain(samples: &SampleColumns, keep: impl Fn(Timestamp) -> bool) -> SampleColumns {
    let mut out = SampleColumns::default();
    for (i, at) in samples.times.iter().enumerate().filter(|(_, at)| keep(**at)) {
        out.push(*at, samples.value(i), samples.starts.get(i).copied().filter(|s| *s != 0));
    }
    out
}

/// Which blocks to join next; `blocks` ascend by their start.
fn plan(blocks: &[Arc<Block>], range: i64, most: i64) -> Option<Vec<Arc<Block>>> {
    // Those that reach into each other.
    let mut chain: Vec<Arc<Block>> = Vec::new();
    let mut end = i64::MIN;
    for block in blocks {
        if block.footer.start < end {
            chain.push(Arc::clone(block));
        } else if chain.len() > 1 {
            return Some(chain);
        } else {
            chain = vec![Arc::clone(block)];
        }
        end = end.max(block.footer.end);
    }
    if chain.len() > 1 {
        return Some(chain);
    }
    let newest = blocks.last()?.footer.end;
    let mut length = range.saturating_mul(FAN);
    while length <= most {
        let mut window: Vec<Arc<Block>> = Vec::new();
        let mut at = i64::MIN;
        for block in blocks {
            let place = block.footer.start.div_euclid(length);
            if place != at {
                if window.len() > 1 {
                    return Some(window);
                }
                window.clear();
                at = place;
            }
            // A window is joined when nothing more will come into it.
            let done = place.saturating_add(1).saturating_mul(length) <= newest;
            let inside = block.footer.end <= place.saturating_add(1).saturating_mul(length);
            if done && inside && block.footer.end.saturating_sub(block.footer.start) < length {
                window.push(Arc::clone(block));
            }
        }
        if window.len() > 1 {
            return Some(window);
        }
        length = length.saturating_mul(FAN);
    }
    None
}

/// The series of several blocks in the order of their labels, each with its chunks by time.
struct Merge {
    sources: Vec<(Arc<Block>, Cursor, Window, Option<Place>)>,
    heap: BinaryHeap<Reverse<(Labels, usize)>>,
}

impl Merge {
    fn new(blocks: &[Arc<Block>]) -> Result<Merge, SelectError> {
        let mut sources = Vec::new();
        for block in blocks {
            let index = Arc::new(block.load_index()?);
            let all = (0..u64::from(index.series_count())).collect();
            sources.push((Arc::clone(block), Cursor::new(index, all), Window::default(), None));
        }
        let mut merge = Merge { sources, heap: BinaryHeap::new() };
        for i in 0..merge.sources.len() {
            merge.advance(i)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, i: usize) -> Result<(), SelectError> {
        let (_, cursor, _, place) = &mut self.sources[i];
        if let Some((labels, next)) = cursor.next()? {
            *place = Some(next);
            self.heap.push(Reverse((labels, i)));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(Labels, Vec<Chunk>)>, SelectError> {
        let Some(Reverse((labels, first))) = self.heap.pop() else { return Ok(None) };
        let mut have = vec![first];
        while let Some(Reverse((other, i))) = self.heap.peek()
            && *other == labels
        {
            have.push(*i);
            self.heap.pop();
        }
        let mut chunks = Vec::new();
        for i in have {
            let (block, _, window, place) = &mut self.sources[i];
            if let Some(place) = place.take() {
                chunks.extend(block.chunks(place, window)?);
            }
            self.advance(i)?;
        }
        chunks.sort_by_key(|c| c.min);
        Ok(Some((labels, chunks)))
    }
}
