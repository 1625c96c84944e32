//! The head: recent samples, in memory, open for writing.
//!
//! Series that are written together make a group, one column each, and a batch of theirs is a row: the usual case
//! touches no series at all. A sample that does not come that way (a time of its own, a histogram, a series
//! alone) makes its series leave the group and have chunks for itself. Not thread-safe by itself: `store` keeps
//! it behind a lock, readers carry shared pieces away. Invariants: what a series has outside of late samples
//! ascends strictly; no row set and no chunk crosses a border of the block range; a number is never given twice;
//! the log's records, applied in their order, give the same samples again.

mod group;
mod held;
mod labels;
mod matrix;
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
    chunk::{Chunk, MAX_SAMPLES, OpenChunk, check_histogram},
    ids::Ids,
    postings::{Index, Visit},
    record::Full,
    row::{ABSENT, Written},
};
use group::{Group, MAX_COLUMNS, MIN_COLUMNS};
use hashbrown::{DefaultHashBuilder, HashTable};
use model::{Batch, Labels, Matcher, Reject, SelectError, SelectRequest, Timestamp, Value};
use std::{hash::BuildHasher, sync::Arc};
use table::Table;

/// Groups that damage may have taken between two others.
const MAX_GROUP_GAP: usize = 1 << 16;
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

    /// Takes what can be taken.
    pub(crate) fn append(&mut self, batch: &Batch, out: &mut Taking) {
        let rows = batch.at >= self.closed && batch.at <= self.max_valid;
        let mut rest = Vec::new();
        // Groups of which a sample came out of order: what follows may be its second.
        let mut broken: Vec<u32> = Vec::new();
        let mut i = 0;
        while i < batch.series.len() {
            match self.whole_group(batch, i).filter(|(number, _)| rows && !broken.contains(number)) {
                Some((number, len)) => {
                    self.push_row(number, batch.at, &batch.values[i..i + len], out);
                    if let Some(group) = self.group_mut(number) {
                        group.fits();
                    }
                    i += len;
                }
                None => {
                    let group = self.table.get(batch.series[i].0).map_or(ALONE, |s| s.group);
                    if group != ALONE && broken.last() != Some(&group) && !broken.contains(&group) {
                        broken.push(group);
                    }
                    rest.push(i);
                    i += 1;
                }
            }
        }
        if !rest.is_empty() {
            let singles = if rows { self.scatter(batch, &rest, out) } else { rest };
            for i in singles {
                let (series, value) = (batch.series[i].0, batch.values[i]);
                match self.push(series, batch.at, None, &Value::Float(value)) {
                    Ok(true) => {
                        out.series.push(series);
                        out.values.push(value);
                    }
                    Ok(false) => {}
                    Err(why) => out.rejected.push((i, why)),
                }
            }
        }
        for (i, e) in batch.entries.iter().enumerate() {
            let at = e.at.unwrap_or(batch.at);
            // Zero is how columns say that there is none.
            let start = e.start.filter(|s| *s != 0);
            match self.push(e.series.0, at, start, &e.value) {
                Ok(true) => {
                    out.entries.push(Full { series: e.series.0, at, start, value: e.value.clone() });
                }
                Ok(false) => {}
                Err(why) => out.rejected.push((batch.series.len() + i, why)),
            }
        }
    }

    /// The group whose columns are exactly what follows in the batch, and how many they are.
    fn whole_group(&self, batch: &Batch, from: usize) -> Option<(u32, usize)> {
        let first = self.table.get(batch.series[from].0)?;
        if first.group == ALONE || first.column != 0 {
            return None;
        }
        let group = self.group(first.group)?;
        let (len, to) = (group.ids.len(), from + group.ids.len());
        let fits = group.last < batch.at
            && group.is(batch.series.get(from..to)?)
            && !batch.values.get(from..to)?.iter().any(is_absent);
        fits.then_some((first.group, len))
    }

    fn push_row(&mut self, number: u32, at: Timestamp, values: &[f64], out: &mut Taking) {
        let window = self.block_range;
        let Some(group) = self.group_mut(number) else { return };
        out.rows.push(group.push(number, at, values, window));
        self.reach(at);
    }

    /// Notes the time of what was written.
    fn reach(&mut self, at: Timestamp) {
        self.behind += u64::from(at < self.max_time.min(self.now).saturating_sub(self.block_range / 2));
        self.min_time = self.min_time.min(at);
        self.max_time = self.max_time.max(at);
    }

    /// Puts samples into rows that do not come in the order of columns, series that are alone into groups, and
    /// returns what has to be taken one by one.
    fn scatter(&mut self, batch: &Batch, which: &[usize], out: &mut Taking) -> Vec<usize> {
        let mut rows: Vec<(u32, Vec<f64>, Vec<usize>)> = Vec::new();
        let (mut singles, mut loose) = (Vec::new(), Vec::new());
        for &i in which {
            let Some(series) = self.table.get(batch.series[i].0) else {
                out.rejected.push((i, Reject::UnknownSeries));
                continue;
            };
            if is_absent(&batch.values[i]) {
                singles.push(i);
                continue;
            }
            if series.group == ALONE {
                if series.last < batch.at {
                    loose.push(i)
                } else {
                    singles.push(i)
                }
                continue;
            }
            let known = rows.iter().rposition(|(number, ..)| *number == series.group);
            let row = match known {
                Some(row) => row,
                None => {
                    let Some(group) = self.group(series.group).filter(|g| g.last < batch.at) else {
                        singles.push(i);
                        continue;
                    };
                    rows.push((series.group, vec![ABSENT; group.ids.len()], Vec::new()));
                    rows.len() - 1
                }
            };
            let (_, values, of) = &mut rows[row];
            match values.get_mut(series.column as usize) {
                Some(place) if is_absent(place) => {
                    *place = batch.values[i];
                    of.push(i);
                }
                // The same series twice: the second is judged when the first is in.
                _ => singles.push(i),
            }
        }
        self.gather(batch, &loose, &mut rows, &mut singles);
        for (number, values, of) in rows {
            let live = self.group(number).map_or(0, |g| g.live);
            // A row that is mostly empty would cost more than what it holds.
            if of.len() * 8 < live || of.is_empty() {
                singles.extend(of);
                continue;
            }
            self.push_row(number, batch.at, &values, out);
            if self.group_mut(number).is_some_and(Group::misfit) {
                self.dissolve(number);
            }
        }
        singles.sort_unstable();
        singles
    }

    /// Makes series that are alone columns: of a group that this batch writes to, or of new ones.
    fn gather(
        &mut self,
        batch: &Batch,
        loose: &[usize],
        rows: &mut Vec<(u32, Vec<f64>, Vec<usize>)>,
        singles: &mut Vec<usize>,
    ) {
        if loose.len() < MIN_COLUMNS && rows.is_empty() {
            singles.extend(loose);
            return;
        }
        for &i in loose {
            let id = batch.series[i].0;
            if self.table.get(id).is_none_or(|s| s.group != ALONE) {
                singles.push(i);
                continue;
            }
            // A row that will not be written, because it is mostly empty, takes nobody in.
            let open = rows.iter().rposition(|(number, values, of)| {
                values.len() < MAX_COLUMNS && of.len() * 8 >= self.group(*number).map_or(0, |g| g.live)
            });
            let row = match open {
                Some(row) => row,
                None if loose.len() < MIN_COLUMNS => {
                    singles.push(i);
                    continue;
                }
                None => {
                    rows.push((self.free_number(), Vec::new(), Vec::new()));
                    rows.len() - 1
                }
            };
            let (number, values, of) = &mut rows[row];
            let column = u32::try_from(values.len()).unwrap_or(0);
            values.push(batch.values[i]);
            of.push(i);
            let number = *number;
            self.join(number, column, id);
        }
    }

    /// A number that no group has, with an empty group under it.
    fn free_number(&mut self) -> u32 {
        let free = self.groups.iter().position(Option::is_none).unwrap_or(self.groups.len());
        if free == self.groups.len() {
            self.groups.push(None);
        }
        self.groups[free] = Some(Group::new(Vec::new()));
        u32::try_from(free).unwrap_or(ALONE)
    }

    fn join(&mut self, number: u32, column: u32, id: u64) {
        let Some(group) = self.groups.get_mut(number as usize).and_then(Option::as_mut) else { return };
        let Some(series) = self.table.get_mut(id) else { return };
        if let Some(own) = &mut series.own {
            Arc::make_mut(own).seal();
        }
        group.ids.push(id);
        group.live += 1;
        (series.group, series.column) = (number, column);
    }

    /// Makes a series alone, with what its group has of it.
    fn leave(&mut self, id: u64) {
        let Some(series) = self.table.get_mut(id) else { return };
        let Some(group) = self.groups.get_mut(series.group as usize).and_then(Option::as_mut) else { return };
        let column = series.column;
        let shared = Arc::clone(&group.shared);
        if let Some(place) = group.ids.get_mut(column as usize) {
            *place = 0;
        }
        group.live -= 1;
        let empty = group.live == 0;
        let number = std::mem::replace(&mut series.group, ALONE);
        let (mut times, mut values) = (Vec::new(), Vec::new());
        // Rows were encoded here or checked when they were read.
        let _sound = shared.rows.column(column as usize, |at, v| {
            times.push(at);
            values.push(v);
            true
        });
        let past: Vec<_> = shared.sealed.iter().filter(|m| m.has(column as usize)).collect();
        let mut last = times.last().copied();
        if last.is_none()
            && let Some(matrix) = past.last()
        {
            let _sound = matrix.column(column as usize, |at, _| last = Some(at));
        }
        if !past.is_empty() || !times.is_empty() {
            let own = series.own_mut();
            own.past.extend(past.into_iter().map(|m| (Arc::clone(m), column)));
            let most = usize::from(MAX_SAMPLES);
            for (times, values) in times.chunks(most).zip(values.chunks(most)) {
                own.sealed.push(Arc::new(Chunk::pack(times, values)));
            }
        }
        series.last = series.last.max(last.unwrap_or(Timestamp::MIN));
        if empty {
            self.groups[number as usize] = None;
        }
    }

    fn dissolve(&mut self, number: u32) {
        let Some(group) = self.group_mut(number) else { return };
        group.seal();
        for id in group.ids.clone() {
            self.leave(id);
        }
        if let Some(group) = self.groups.get_mut(number as usize) {
            *group = None;
        }
    }

    /// Time of the newest sample of a series, and whether it has this value.
    fn newest(&self, series: &Series, value: &Value) -> (Timestamp, bool) {
        if series.group == ALONE
            && let Some(own) = &series.own
            && let Some(open) = &own.open
            && own.late.is_empty()
        {
            return (series.last, open.ends_with(value));
        }
        // What has no late samples ends with its newest one.
        let newest = self.held(series).newest().ok().flatten();
        match newest {
            Some((at, v)) if at >= series.last => (at, same(&v, value)),
            _ => (series.last, false),
        }
    }

    /// Takes one sample. `Ok(false)`: exactly this one is there already.
    pub(crate) fn push(
        &mut self,
        id: u64,
        at: Timestamp,
        start: Option<Timestamp>,
        value: &Value,
    ) -> Result<bool, Reject> {
        let series = self.table.get(id).ok_or(Reject::UnknownSeries)?;
        let grouped = self.group(series.group).is_some_and(|g| g.last >= at);
        if at > self.max_valid {
            return Err(Reject::TooFarAhead);
        }
        if at <= series.last || grouped {
            let (last, same) = self.newest(series, value);
            if at == last && !same {
                return Err(if at < self.closed { Reject::TooOld } else { Reject::Duplicate });
            }
            if at == last {
                return Ok(false);
            }
            if at < last {
                return self.push_late(id, at, start, value);
            }
        }
        if at < self.closed {
            return self.push_late(id, at, start, value);
        }
        check(value)?;
        if series.group != ALONE {
            self.leave(id);
        }
        let window = self.block_range;
        let border = |t: Timestamp| t.div_euclid(window);
        let series = self.table.get_mut(id).ok_or(Reject::UnknownSeries)?;
        series.last = at;
        let own = series.own_mut();
        match &mut own.open {
            Some(open) if border(open.min()) == border(at) && open.fits(start, value) => {
                open.push(at, start, value);
            }
            _ => {
                own.seal();
                own.open = Some(OpenChunk::new(at, start, value));
            }
        }
        self.reach(at);
        Ok(true)
    }

    /// Takes a sample that is older than its series' newest, if the window for such samples reaches it.
    fn push_late(
        &mut self,
        id: u64,
        at: Timestamp,
        start: Option<Timestamp>,
        value: &Value,
    ) -> Result<bool, Reject> {
        let oldest = self.max_time.saturating_sub(self.late_window);
        if self.late_window <= 0 || at < oldest {
            return Err(if at < self.closed { Reject::TooOld } else { Reject::OutOfOrder });
        }
        check(value)?;
        let series = self.table.get(id).ok_or(Reject::UnknownSeries)?;
        // What does not decode is said when it is read.
        if let Ok(Some(have)) = self.held(series).at(at) {
            return if same(&have, value) { Ok(false) } else { Err(Reject::Duplicate) };
        }
        let series = self.table.get_mut(id).ok_or(Reject::UnknownSeries)?;
        let late = &mut series.own_mut().late;
        let place = late.partition_point(|l| l.at < at);
        late.insert(place, Full { series: id, at, start, value: value.clone() });
        self.min_late = self.min_late.min(at);
        Ok(true)
    }

    /// Puts a chunk back that a checkpoint kept.
    pub(crate) fn restore(&mut self, id: u64, chunk: Chunk) -> bool {
        let Some(series) = self.table.get_mut(id) else { return false };
        if chunk.max < self.min_valid {
            return true;
        }
        series.last = series.last.max(chunk.max);
        self.min_time = self.min_time.min(chunk.min);
        self.max_time = self.max_time.max(chunk.max);
        series.own_mut().sealed.push(Arc::new(chunk));
        true
    }

    /// Takes back a row of the log. `false` when it does not follow what is there.
    pub(crate) fn restore_row(&mut self, number: u32, added: Vec<u64>, written: &Written) -> bool {
        let at = written.at;
        if written.place == 0 {
            self.restore_group(number, added);
        } else {
            for id in added {
                let Some(group) = self.group(number) else { return false };
                let column = u32::try_from(group.ids.len()).unwrap_or(0);
                self.restore_column(number, column, id);
            }
        }
        if !self.group_mut(number).is_some_and(|g| g.restore(written)) {
            return false;
        }
        self.min_time = self.min_time.min(at);
        self.max_time = self.max_time.max(at);
        true
    }

    /// Makes a group of exactly these columns, unless it is there.
    fn restore_group(&mut self, number: u32, ids: Vec<u64>) {
        if self.group(number).is_some_and(|g| g.ids == ids) {
            return;
        }
        self.dissolve(number);
        let place = number as usize;
        // A group takes the first free number, so none is far from the others.
        if place > self.groups.len() + MAX_GROUP_GAP {
            return;
        }
        if place >= self.groups.len() {
            self.groups.resize_with(place + 1, || None);
        }
        self.groups[place] = Some(Group::new(Vec::new()));
        for (column, id) in ids.into_iter().enumerate() {
            self.restore_column(number, u32::try_from(column).unwrap_or(0), id);
        }
    }

    fn restore_column(&mut self, number: u32, column: u32, id: u64) {
        if self.table.get(id).is_some_and(|s| s.group != ALONE && s.group != number) {
            self.leave(id);
        }
        match self.table.get(id) {
            Some(series) if series.group == ALONE => self.join(number, column, id),
            // Nobody has this column any more.
            _ => {
                if let Some(group) = self.group_mut(number) {
                    group.ids.push(0);
                }
            }
        }
    }

    /// Takes back sealed columns of a group from a checkpoint.
    pub(crate) fn restore_sealed(&mut self, number: u32, ids: Vec<u64>, matrices: Vec<Matrix>) {
        self.restore_group(number, ids);
        for matrix in matrices {
            let (min, max) = matrix.range();
            self.min_time = self.min_time.min(min);
            self.max_time = self.max_time.max(max);
            if let Some(group) = self.group_mut(number) {
                group.restore_sealed(matrix);
            }
        }
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
    fn remove(&mut self, gone: &[u64]) -> Vec<Series> {
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

fn is_absent(v: &f64) -> bool {
    v.to_bits() == ABSENT.to_bits()
}

fn check(value: &Value) -> Result<(), Reject> {
    match value {
        Value::Histogram(h) if !check_histogram(h) => Err(Reject::BadHistogram),
        _ => Ok(()),
    }
}

/// Whether two values are the same in every bit.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Histogram(_), Value::Histogram(_)) => OpenChunk::new(0, None, a).ends_with(b),
        _ => false,
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
