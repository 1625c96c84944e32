//! How many samples each step of a query looks at, for those who ask (`stats=all`).

use super::{
    column::{Column, Grid},
    eval::Evaluator,
    range::{Cursor, RangeCall},
    select::Source,
};
use model::{Histogram, Value};

/// A place for each step. Both are in floats with their times, 16 bytes; a histogram counts as the number of them
/// that its size makes, as Prometheus counts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// What the step looks at, also where another one looked at the same.
    pub queryable: Vec<u64>,
    /// What had to be read for it: of a range only what the steps before did not see.
    pub read: Vec<u64>,
}

impl Steps {
    pub(crate) fn new(len: usize) -> Self {
        Steps { queryable: vec![0; len], read: vec![0; len] }
    }

    fn add(&mut self, step: usize, queryable: u64, read: u64) {
        for (places, count) in [(&mut self.queryable, queryable), (&mut self.read, read)] {
            if let Some(place) = places.get_mut(step) {
                *place += count;
            }
        }
    }

    /// Counts what an instant selector found.
    pub(crate) fn add_column(&mut self, column: &Column) {
        for step in 0..column.values.len() {
            let found = match column.histogram(step) {
                Some(h) => weight(h),
                None => u64::from(column.present(step)),
            };
            self.add(step, found, found);
        }
    }

    /// Counts what was found once and looked at by every step.
    pub(crate) fn add_to_all(&mut self, once: &Steps) {
        let (queryable, read) = once.total();
        for step in 0..self.queryable.len() {
            self.add(step, queryable, if step == 0 { read } else { 0 });
        }
    }

    /// Counts values that are looked at by the query's only step.
    pub(crate) fn add_values<'a>(&mut self, values: impl Iterator<Item = &'a Value>) {
        let found = values.map(|v| if let Value::Histogram(h) = v { weight(h) } else { 1 }).sum();
        self.add(0, found, found);
    }

    /// Counts what the steps of a subquery, which is all there is, look at.
    pub(crate) fn add_inside(&mut self, inside: &Steps) {
        self.add(0, inside.total().0, 0);
    }

    /// The sums over all steps.
    pub fn total(&self) -> (u64, u64) {
        (self.queryable.iter().sum(), self.read.iter().sum())
    }
}

/// How many floats with their times are as large as a histogram with its.
fn weight(h: &Histogram) -> u64 {
    // The fixed part, and what points at buckets, is as large as this in Prometheus.
    const FIXED: usize = 168;
    let spans = h.positive_spans.len() + h.negative_spans.len();
    let bounds = h.custom_bounds.as_ref().map_or(0, |b| b.len());
    let numbers = h.positive.len() + h.negative.len() + bounds;
    let bytes = FIXED + 8 * (spans + numbers) + 8;
    u64::try_from(bytes / 16).unwrap_or(u64::MAX)
}

impl Evaluator<'_> {
    /// Evaluates something on steps of its own, and counts apart what these look at.
    pub(crate) fn counted_apart<T>(
        &mut self,
        len: usize,
        work: impl FnOnce(&mut Self) -> T,
    ) -> (T, Option<Steps>) {
        let outer = self.steps.take();
        self.steps = outer.as_ref().map(|_| Steps::new(len));
        let value = work(self);
        (value, std::mem::replace(&mut self.steps, outer))
    }

    /// Counts what was read inside a subquery towards the first steps that see it.
    pub(crate) fn count_inside(&mut self, inside: &Steps, inner: &Grid, looks: impl Fn(usize) -> i64) {
        let Some(steps) = &mut self.steps else { return };
        let mut step = 0;
        for (i, read) in inside.read.iter().enumerate() {
            while step + 1 < steps.read.len() && looks(step) < inner.time(i) {
                step += 1;
            }
            steps.add(step, 0, *read);
        }
    }

    /// Counts the windows of a range call's series, which it has just read.
    pub(crate) fn count_windows(&mut self, call: &RangeCall<'_, '_>, grid: &Grid) {
        let Some(steps) = &mut self.steps else { return };
        let samples = &call.samples;
        let stored = matches!(call.source, Source::Store { .. });
        let (mut floats, mut histograms) = (Cursor::default(), Cursor::default());
        let (mut seen_floats, mut seen_histograms) = (0, 0);
        let many = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        // The weight of all histograms before each.
        let mut before = vec![0];
        for h in &samples.histograms.values {
            before.push(before[before.len() - 1] + weight(h));
        }
        for step in 0..grid.len {
            let (after, until) = call.looked_at(grid.time(step));
            let f = floats.slide(&samples.floats.times, after, until);
            let h = histograms.slide(&samples.histograms.times, after, until);
            let new = many(f.end.saturating_sub(f.start.max(seen_floats)))
                + before[h.end].saturating_sub(before[h.start.max(seen_histograms)]);
            (seen_floats, seen_histograms) = (f.end, h.end);
            let all = many(f.len()) + (before[h.end] - before[h.start]);
            steps.add(step, all, if stored { new } else { 0 });
        }
    }
}
