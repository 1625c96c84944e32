//! What a select takes of the head: series with what they hold, in order and with their labels.

use super::{Head, Held, LabelIndex, Pairs, Series};
use crate::postings::find;
use model::{Label, Labels, SelectError, SelectRequest, Timestamp};
use std::collections::HashMap;

/// A series as a reader takes it away.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) id: u64,
    pub(crate) labels: Labels,
    pub(crate) held: Held,
}

/// How many series are looked at between two looks at the cancel flag.
const STRIDE: usize = 4096;

/// Up to so many series are put into order by their texts, more by the ranks of their pairs.
const FEW: usize = 64;

impl Head {
    /// The series with samples in the range, if it has any.
    #[cfg(test)]
    pub(crate) fn take(&self, id: u64, start: Timestamp, end: Timestamp) -> Option<Taken> {
        let (series, held) = self.holding(id, start, end)?;
        Some(Taken { id, labels: self.index.labels(&series.pairs), held })
    }

    fn holding(&self, id: u64, start: Timestamp, end: Timestamp) -> Option<(&Series, Held)> {
        let series = self.table.get(id)?;
        let held = self.held(series);
        held.overlaps(start, end).then_some((series, held))
    }

    /// The series that a request asks for: in the order of their labels, unless the request looks at a few labels
    /// only and is `alone`, so that nothing has to be merged with what is taken here.
    pub(crate) fn take_matching(
        &self,
        request: &SelectRequest<'_>,
        alone: bool,
    ) -> Result<Vec<Taken>, SelectError> {
        let mut found = self.matching(request)?;
        if let Some(names) = request.hints.labels.as_ref().filter(|_| alone) {
            let mut few = Few { index: &self.index, names, kept: HashMap::new(), sets: HashMap::new() };
            return Ok(found
                .into_iter()
                .map(|(id, pairs, held)| Taken { id, labels: few.labels(pairs), held })
                .collect());
        }
        self.index.sort(&mut found, |(_, pairs, _)| pairs);
        let taken = |(id, pairs, held)| Taken { id, labels: self.index.labels(pairs), held };
        Ok(found.into_iter().map(taken).collect())
    }

    /// The labels of the series that a request asks for, in order.
    pub(crate) fn labels_matching(&self, request: &SelectRequest<'_>) -> Result<Vec<Labels>, SelectError> {
        let mut found = self.matching(request)?;
        self.index.sort(&mut found, |(_, pairs, _)| pairs);
        Ok(found.into_iter().map(|(_, pairs, _)| self.index.labels(pairs)).collect())
    }

    fn matching(&self, request: &SelectRequest<'_>) -> Result<Vec<(u64, &Pairs, Held)>, SelectError> {
        let ids = find(self, request.matchers)?;
        let mut found = Vec::with_capacity(ids.len());
        for (i, id) in ids.into_iter().enumerate() {
            if i.is_multiple_of(STRIDE) {
                request.cancel.check()?;
            }
            if let Some((series, held)) = self.holding(id, request.start, request.end) {
                found.push((id, &series.pairs, held));
            }
            if let Some(limit) = request.limits.series
                && found.len() > limit
            {
                return Err(SelectError::Limit { what: "series", limit });
            }
        }
        Ok(found)
    }
}

impl LabelIndex {
    /// Brings things into the order of the label sets that `pairs` tells of each.
    fn sort<T>(&self, things: &mut [T], pairs: impl Fn(&T) -> &Pairs) {
        let label = |p: &u32| self.label(*p);
        if things.len() <= FEW {
            things.sort_by(|a, b| {
                let (a, b) = (pairs(a), pairs(b));
                let same = a.iter().zip(b.iter()).take_while(|(x, y)| x == y).count();
                let left = a[same..].iter().map(label);
                left.cmp(b[same..].iter().map(label))
            });
            return;
        }
        let mut ranks: HashMap<u32, u32> = HashMap::new();
        for pair in things.iter().flat_map(|t| pairs(t).iter()) {
            ranks.entry(*pair).or_default();
        }
        let mut order: Vec<(Option<&Label>, u32)> = ranks.keys().map(|p| (self.label(*p), *p)).collect();
        order.sort_unstable();
        for (rank, (_, pair)) in (0..).zip(order) {
            ranks.insert(pair, rank);
        }
        // Pairs ranked by name, then value, compare as label sets do.
        things.sort_by_cached_key(|t| {
            pairs(t).iter().map(|p| ranks.get(p).copied().unwrap_or(0)).collect::<Vec<_>>()
        });
    }
}

/// Label sets of which only some labels are wanted: each is built once.
struct Few<'a> {
    index: &'a LabelIndex,
    /// Ascending.
    names: &'a [String],
    /// Whether the name of a pair is wanted.
    kept: HashMap<u32, bool>,
    sets: HashMap<Vec<u32>, Labels>,
}

impl Few<'_> {
    fn labels(&mut self, pairs: &Pairs) -> Labels {
        let wanted: Vec<u32> = pairs.iter().copied().filter(|p| self.keeps(*p)).collect();
        if let Some(labels) = self.sets.get(&wanted) {
            return labels.clone();
        }
        let labels = self.index.labels(&wanted.clone().into());
        self.sets.insert(wanted, labels.clone());
        labels
    }

    fn keeps(&mut self, pair: u32) -> bool {
        let (index, names) = (self.index, self.names);
        *self.kept.entry(pair).or_insert_with(|| {
            let name = index.label(pair).map(|l| &*l.name).unwrap_or_default();
            names.binary_search_by(|n| n.as_str().cmp(name)).is_ok()
        })
    }
}
