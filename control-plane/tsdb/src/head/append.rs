//! Taking samples in: rows of groups, columns of single series, late samples.

use super::{
    ALONE, Head, Series, Taking,
    group::{Group, MAX_COLUMNS, MIN_COLUMNS},
};
use crate::{
    chunk::{Chunk, MAX_SAMPLES, OpenChunk, check_histogram},
    record::Full,
    row::ABSENT,
};
use model::{Batch, Reject, Timestamp, Value};
use std::sync::Arc;

impl Head {
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

    pub(super) fn join(&mut self, number: u32, column: u32, id: u64) {
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
    pub(super) fn leave(&mut self, id: u64) {
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

    pub(super) fn dissolve(&mut self, number: u32) {
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
