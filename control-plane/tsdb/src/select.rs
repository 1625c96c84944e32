//! Answering queries: blocks and head, merged series by series.
//!
//! A select looks at one moment: it takes the shared chunks of the head and the list of blocks under one lock,
//! and decodes later without it. Flushing, checkpoints and retention go on meanwhile.

use crate::{
    block::{Block, BlockIndex, Cursor, Place, Window},
    head::{Collector, Held, Taken, corrupt},
    postings::find,
};
use model::{
    Cancel, Labels, Limits, SampleColumns, SelectError, SelectRequest, SeriesRef, SeriesStream, Timestamp,
};
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

/// The series of one source, in the order of their labels.
#[derive(Debug)]
enum Source {
    Block { block: Arc<Block>, cursor: Cursor, next: Option<Place>, window: Window },
    Head { series: std::vec::IntoIter<Taken>, next: Option<(u64, Held)> },
}

impl Source {
    /// Goes on to the next series and returns its labels.
    fn advance(&mut self) -> Result<Option<Labels>, SelectError> {
        match self {
            Source::Block { cursor, next, .. } => {
                let Some((labels, place)) = cursor.next()? else { return Ok(None) };
                *next = Some(place);
                Ok(Some(labels))
            }
            Source::Head { series, next } => {
                let Some(taken) = series.next() else { return Ok(None) };
                *next = Some((taken.id, taken.held));
                Ok(Some(taken.labels))
            }
        }
    }

    /// Collects the samples of the series it stands at; returns the head's number for it.
    fn collect(&mut self, into: &mut Collector<'_>, newest: bool) -> Result<Option<u64>, SelectError> {
        match self {
            Source::Block { block, next, window, .. } => {
                let Some(place) = next.take() else { return Ok(None) };
                for chunk in block.chunks(place, window)? {
                    into.chunk(&chunk).map_err(corrupt)?;
                }
                Ok(None)
            }
            Source::Head { next, .. } => {
                let Some((id, held)) = next.take() else { return Ok(None) };
                if newest { held.collect_newest(into) } else { held.collect(into) }.map_err(corrupt)?;
                Ok(Some(id))
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Stream {
    start: Timestamp,
    end: Timestamp,
    limits: Limits,
    cancel: Cancel,
    newest: bool,
    /// Oldest block first, the head last.
    sources: Vec<Source>,
    /// The series at which each source stands.
    heap: BinaryHeap<Reverse<(Labels, usize)>>,
    series: usize,
    samples: usize,
}

impl Stream {
    /// `head` are the series that match, in the order of their labels where there are blocks.
    pub(crate) fn new(
        request: &SelectRequest<'_>,
        blocks: Vec<(Arc<Block>, Arc<BlockIndex>)>,
        head: Vec<Taken>,
    ) -> Result<Stream, SelectError> {
        let mut sources = Vec::new();
        for (block, index) in blocks {
            request.cancel.check()?;
            let ids = find(&*index, request.matchers)?;
            let cursor = Cursor::new(index, ids);
            sources.push(Source::Block { block, cursor, next: None, window: Window::default() });
        }
        sources.push(Source::Head { series: head.into_iter(), next: None });
        let mut heap = BinaryHeap::new();
        for (i, s) in sources.iter_mut().enumerate() {
            heap.extend(s.advance()?.map(|labels| Reverse((labels, i))));
        }
        Ok(Stream {
            start: request.start,
            end: request.end,
            limits: request.limits,
            cancel: request.cancel.clone(),
            // What is merged comes in the order of time, so that the newest is known last.
            newest: request.hints.newest && sources.len() == 1,
            sources,
            heap,
            series: 0,
            samples: 0,
        })
    }

    /// The next series' labels and the sources that have it, oldest first.
    fn next_sources(&mut self) -> Option<(Labels, Vec<usize>)> {
        let Reverse((labels, first)) = self.heap.pop()?;
        let mut have = vec![first];
        while let Some(Reverse((other, i))) = self.heap.peek()
            && *other == labels
        {
            have.push(*i);
            self.heap.pop();
        }
        Some((labels, have))
    }

    fn advance(&mut self, sources: &[usize]) -> Result<(), SelectError> {
        for i in sources {
            let next = self.sources[*i].advance()?;
            self.heap.extend(next.map(|labels| Reverse((labels, *i))));
        }
        Ok(())
    }

    /// Labels only; whether a series has samples within the range is not looked at in blocks.
    pub(crate) fn all_labels(mut self) -> Result<Vec<Labels>, SelectError> {
        let mut out = Vec::new();
        while let Some((labels, have)) = self.next_sources() {
            self.cancel.check()?;
            self.count_series()?;
            self.advance(&have)?;
            out.push(labels);
        }
        Ok(out)
    }

    fn count_series(&mut self) -> Result<(), SelectError> {
        self.series += 1;
        match self.limits.series {
            Some(limit) if self.series > limit => Err(SelectError::Limit { what: "series", limit }),
            _ => Ok(()),
        }
    }
}

impl SeriesStream for Stream {
    fn next(&mut self, into: &mut SampleColumns) -> Result<Option<(SeriesRef, Labels)>, SelectError> {
        loop {
            into.clear();
            self.cancel.check()?;
            let Some((labels, have)) = self.next_sources() else { return Ok(None) };
            let mut id = None;
            let mut collector = Collector::new(self.start, self.end, into);
            for i in &have {
                id = self.sources[*i].collect(&mut collector, self.newest)?.or(id);
            }
            collector.finish();
            self.advance(&have)?;
            if into.is_empty() {
                continue;
            }
            self.count_series()?;
            self.samples += into.len();
            if let Some(limit) = self.limits.samples
                && self.samples > limit
            {
                return Err(SelectError::Limit { what: "samples", limit });
            }
            // The head's numbers stay below 2^63; a series that lives in blocks only is known by its hash.
            let number = id.unwrap_or_else(|| labels.stable_hash() | 1 << 63);
            return Ok(Some((SeriesRef(number), labels)));
        }
    }
}
