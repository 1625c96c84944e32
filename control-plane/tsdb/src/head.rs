//! The head: recent samples, in memory, open for writing.
//!
//! Series that are written together make a group, one column each, and a batch of theirs is a row: the usual case
//! touches no series at all. A sample that does not come that way (a time of its own, a histogram, a series
//! alone) makes its series leave the group and have chunks for itself. Not thread-safe by itself: `store` keeps
//! it behind a lock, readers carry shared pieces away. Invariants: what a series has outside of late samples
//! ascends strictly; no row set and no chunk crosses a border of the block range; a number is never given twice;
//! the log's records, applied in their order, give the same samples again.

mod append;
mod forget;
mod group;
mod held;
mod labels;
mod matrix;
mod restore;
mod snapshot;
mod table;
mod taken;

pub(crate) use group::{LoggedRow, Shared};
pub(crate) use held::{Collector, Held, InGroup, Own, corrupt, read};
pub(crate) use labels::{LabelIndex, Pairs};
pub(crate) use matrix::Matrix;
pub(crate) use snapshot::Snapshot;
pub(crate) use taken::Taken;

use crate::{
    bytes::Malformed,
    ids::Ids,
    postings::{Index, Visit},
    record::Full,
};
use group::Group;
use hashbrown::{DefaultHashBuilder, HashTable};
use model::{Labels, Matcher, Reject, SelectError, SelectRequest, Timestamp};
use std::{hash::BuildHasher, sync::Arc};
use table::Table;

/// Not in any group.
const ALONE: u32 = u32::MAX;

#[derive(Debug)]
struct Series {
    pairs: Pairs,
    group: u32,
    column: u32,
    /// Time of its newest sample while it is alone, also after that moved to a block.
    last: Timestamp,
    own: Option<Arc<Own>>,
}

impl Series {
    fn own_mut(&mut self) -> &mut Own {
        Arc::make_mut(self.own.get_or_insert_default())
    }
}

/// What the head took of a batch, for the log.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    pub(crate) rows: Vec<LoggedRow>,
    pub(crate) series: Vec<u64>,
    pub(crate) values: Vec<f64>,
    pub(crate) entries: Vec<Full>,
    pub(crate) rejected: Vec<(usize, Reject)>,
}

#[derive(Debug)]
pub(crate) struct Head {
    table: Table<Series>,
    index: LabelIndex,
    /// From label sets to numbers.
    ids: HashTable<u64>,
    hasher: DefaultHashBuilder,
    groups: Vec<Option<Group>>,
    next_id: u64,
    block_range: i64,
    /// Everything before is in blocks.
    pub(crate) min_valid: Timestamp,
    /// Samples before are refused: they are in blocks, or a block of them is being written.
    pub(crate) closed: Timestamp,
    /// Samples later than this are refused.
    pub(crate) max_valid: Timestamp,
    /// How far behind the newest sample of all a late one may be.
    pub(crate) late_window: i64,
    /// The newest sample of all.
    pub(crate) max_time: Timestamp,
    /// The oldest one that is still here; the maximum when there is none.
    pub(crate) min_time: Timestamp,
    /// The oldest late one; the maximum when there is none.
    pub(crate) min_late: Timestamp,
    /// How often something came that is older than the present by half a block.
    pub(crate) behind: u64,
    /// The time that maintenance was told last.
    pub(crate) now: Timestamp,
}

impl Head {
    pub(crate) fn new(block_range: i64) -> Head {
        Head {
            table: Table::default(),
            index: LabelIndex::default(),
            ids: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            groups: Vec::new(),
            next_id: 1,
            block_range,
            min_valid: Timestamp::MIN,
            closed: Timestamp::MIN,
            max_valid: Timestamp::MAX,
            late_window: 0,
            max_time: Timestamp::MIN,
            min_time: Timestamp::MAX,
            min_late: Timestamp::MAX,
            behind: 0,
            now: Timestamp::MIN,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Never to give a number below `next`.
    pub(crate) fn reserve_ids(&mut self, next: u64) {
        self.next_id = self.next_id.max(next);
    }

    pub(crate) fn id(&self, labels: &Labels) -> Option<u64> {
        let pairs = self.index.find(labels)?;
        let same = |id: &u64| self.table.get(*id).is_some_and(|s| s.pairs == pairs);
        self.ids.find(self.hasher.hash_one(&pairs), same).copied()
    }

    pub(crate) fn create(&mut self, labels: &Labels) -> u64 {
        let id = self.next_id;
        self.insert(id, labels);
        id
    }

    /// Puts a series in under a number that it had before. A number that is there stays. A label set that is
    /// there had been forgotten, and was named anew: it goes on under the new number.
    pub(crate) fn insert(&mut self, id: u64, labels: &Labels) {
        self.reserve_ids(id.saturating_add(1));
        if self.table.get(id).is_some() {
            return;
        }
        let before = self.id(labels).and_then(|old| {
            self.leave(old);
            self.remove(&[old]).pop()
        });
        let pairs = self.index.add(id, labels);
        let hash = self.hasher.hash_one(&pairs);
        let (last, own) = before.map_or((Timestamp::MIN, None), |s| (s.last, s.own));
        self.table.insert(id, Series { pairs, group: ALONE, column: 0, last, own });
        let (table, hasher) = (&self.table, &self.hasher);
        self.ids.insert_unique(hash, id, |id| table.get(*id).map_or(0, |s| hasher.hash_one(&s.pairs)));
    }

    fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(number as usize)?.as_ref()
    }

    fn group_mut(&mut self, number: u32) -> Option<&mut Group> {
        self.groups.get_mut(number as usize)?.as_mut()
    }

    fn held(&self, series: &Series) -> Held {
        let group = self.group(series.group).map(|g| InGroup {
            shared: Arc::clone(&g.shared),
            column: series.column,
            now: g.now(series.column),
        });
        Held { own: series.own.clone(), group }
    }

    /// Every series with samples in the range, or every one at all, by number.
    pub(crate) fn snapshot(&self, range: Option<(Timestamp, Timestamp)>) -> Snapshot {
        let all = self.table.iter().map(|(id, s)| (id, s.pairs.clone(), self.held(s)));
        let series = all.filter(|(_, _, h)| range.is_none_or(|(start, end)| h.overlaps(start, end)));
        Snapshot { series: series.collect(), labels: self.index.all() }
    }

    /// Every group: its number, its columns, what it holds.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (u32, Vec<u64>, Arc<Shared>)> + '_ {
        let all = self.groups.iter().enumerate();
        all.filter_map(|(i, g)| {
            let g = g.as_ref()?;
            Some((u32::try_from(i).ok()?, g.ids.clone(), Arc::clone(&g.shared)))
        })
    }

    /// The labels of a series that has samples in the range.
    pub(crate) fn labels(&self, id: u64) -> Option<Labels> {
        Some(self.index.labels(&self.table.get(id)?.pairs))
    }

    /// Whether there may be samples in a request's range.
    pub(crate) fn reaches_into(&self, request: &SelectRequest<'_>) -> bool {
        self.min_time <= request.end && self.max_time >= request.start
    }

    pub(crate) fn label_index(&self) -> &LabelIndex {
        &self.index
    }
}

impl Index for Head {
    fn all(&self) -> Result<Vec<u64>, SelectError> {
        Ok(self.table.iter().map(|(id, _)| id).collect())
    }

    fn postings(&self, name: &str, value: &str) -> Result<Ids<'_>, SelectError> {
        Ok(self.index.postings(name, value))
    }

    fn each_value(&self, name: &str, visit: &mut Visit<'_>) -> Result<(), SelectError> {
        for (value, ids) in self.index.values(name) {
            visit(value, ids)?;
        }
        Ok(())
    }

    fn satisfies(&self, id: u64, matcher: &Matcher) -> Result<bool, SelectError> {
        let series = self.table.get(id);
        Ok(series.is_some_and(|s| matcher.matches(self.index.value(&s.pairs, &matcher.name))))
    }

    fn corrupt(&self, what: Malformed) -> SelectError {
        corrupt(what)
    }
}

#[cfg(test)]
mod tests;
