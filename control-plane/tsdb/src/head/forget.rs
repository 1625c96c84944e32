//! Letting go: of time that is closed, of what has moved to blocks, of series that hold nothing.

use super::{Head, Series, Snapshot};
use crate::record::Full;
use model::Timestamp;
use std::{hash::BuildHasher, sync::Arc};

impl Head {
    /// Takes no samples before `time` any more, and none into what holds samples from before it: all of that can
    /// be written down, and dropped as it is.
    pub(crate) fn close(&mut self, time: Timestamp) {
        self.closed = self.closed.max(time);
        for group in self.groups.iter_mut().flatten() {
            if group.shared.rows.range().is_some_and(|(min, _)| min < time) {
                group.seal();
            }
        }
        for (_, series) in self.table.iter_mut() {
            let open = series.own.as_ref().and_then(|own| own.open.as_ref());
            if open.is_some_and(|open| open.min() < time) {
                series.own_mut().seal();
            }
        }
    }

    /// Takes samples again that are not said to be in blocks.
    pub(crate) fn reopen(&mut self) {
        self.closed = self.min_valid;
    }

    /// Says that everything before `time` is in blocks.
    pub(crate) fn set_min_valid(&mut self, time: Timestamp) {
        self.min_valid = self.min_valid.max(time);
        self.closed = self.closed.max(self.min_valid);
    }

    /// Forgets samples before `time`, which are in a block, and series that have none left. Returns how many
    /// series went.
    pub(crate) fn drop_before(&mut self, min_valid: Timestamp) -> usize {
        self.min_time = Timestamp::MAX;
        self.min_late = Timestamp::MAX;
        for group in self.groups.iter_mut().flatten() {
            group.drop_before(min_valid);
            if let Some((min, _)) = group.shared.range() {
                self.min_time = self.min_time.min(min);
            }
        }
        let mut gone: Vec<u64> = Vec::new();
        for (id, series) in self.table.iter_mut() {
            if let Some(own) = &mut series.own {
                let own = Arc::make_mut(own);
                own.drop_before(min_valid);
                let late = own.late.first().map_or(Timestamp::MAX, |l| l.at);
                self.min_late = self.min_late.min(late);
                if let Some(min) = own.min() {
                    self.min_time = self.min_time.min(min.max(min_valid));
                }
                if own.is_empty() {
                    series.own = None;
                }
            }
            let group = self.groups.get(series.group as usize).and_then(Option::as_ref);
            if series.own.is_none() && !group.is_some_and(|g| g.shared.has(series.column as usize)) {
                gone.push(id);
            }
        }
        gone.iter().for_each(|id| self.leave(*id));
        self.remove(&gone).len()
    }

    /// Takes series out, which are alone; ascending by number.
    pub(super) fn remove(&mut self, gone: &[u64]) -> Vec<Series> {
        let mut out = Vec::new();
        let mut pairs = Vec::new();
        for id in gone {
            let Some(series) = self.table.remove(*id) else { continue };
            if let Ok(entry) = self.ids.find_entry(self.hasher.hash_one(&series.pairs), |have| have == id) {
                entry.remove();
            }
            pairs.push((*id, series.pairs.clone()));
            out.push(series);
        }
        self.index.remove(&pairs);
        out
    }

    /// Forgets the late samples of a range that a snapshot had, which are in a block now. What came since stays.
    pub(crate) fn drop_late(&mut self, start: Timestamp, end: Timestamp, written: &Snapshot) {
        for (id, _, held) in written.series() {
            let had = held.own.as_ref().map_or(&[][..], |own| &own.late);
            if had.is_empty() {
                continue;
            }
            let Some(series) = self.table.get_mut(id) else { continue };
            let gone =
                |l: &Full| l.at >= start && l.at < end && had.binary_search_by_key(&l.at, |h| h.at).is_ok();
            series.own_mut().late.retain(|l| !gone(l));
        }
        let late = |series: &Series| series.own.as_ref().and_then(|own| own.late.first()).map(|l| l.at);
        self.min_late = self.table.iter().filter_map(|(_, s)| late(s)).min().unwrap_or(Timestamp::MAX);
    }
}
