//! Selectors: from the store to columns (instant) or to samples to slide over (range).

use super::{
    EvalError,
    column::{Column, Grid, is_absent},
    eval::{Evaluator, execution},
    histograms,
    range::Notes,
    steps::Steps,
};
use crate::{
    ast::{Extent, Selector, Subquery},
    error::Span,
    value::RangeSeries,
};
use model::{
    CounterReset, Hints, Histogram, Labels, Limits, SampleColumns, SelectError, SelectRequest, SeriesStream,
    Timestamp, Value, is_stale_nan,
};
use std::sync::Arc;

/// Series that one selector of a light query may find, at most.
const LIGHT_SERIES: usize = 512;

/// Samples of one kind, in columns.
#[derive(Debug)]
pub(crate) struct Points<T> {
    pub(crate) times: Vec<Timestamp>,
    pub(crate) values: Vec<T>,
    /// Start times, 0 for none; empty if no sample has one.
    pub(crate) starts: Vec<Timestamp>,
}

impl<T> Default for Points<T> {
    fn default() -> Self {
        Points { times: Vec::new(), values: Vec::new(), starts: Vec::new() }
    }
}

impl<T> Points<T> {
    fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
    }
}

/// A series to slide over: floats and histograms apart, staleness markers gone.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) floats: Points<f64>,
    pub(crate) histograms: Points<Arc<Histogram>>,
}

impl Samples {
    fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }

    /// Takes over decoded columns; what says that the series ended is left out.
    fn fill(&mut self, from: &mut SampleColumns, start_times: bool) {
        self.clear();
        let start_times = start_times && !from.starts.is_empty();
        if from.histograms.is_empty() && !start_times && !from.values.iter().any(|v| is_stale_nan(*v)) {
            std::mem::swap(&mut self.floats.times, &mut from.times);
            std::mem::swap(&mut self.floats.values, &mut from.values);
            return;
        }
        let mut histograms = from.histograms.iter().peekable();
        for (i, t) in from.times.iter().enumerate() {
            let start = from.starts.get(i).copied().unwrap_or(0);
            if let Some((_, h)) = histograms.next_if(|(at, _)| *at == i) {
                if !is_stale_nan(h.sum) {
                    self.histograms.times.push(*t);
                    self.histograms.values.push(Arc::clone(h));
                    if start_times {
                        self.histograms.starts.push(start);
                    }
                }
            } else if !is_stale_nan(from.values[i]) {
                self.floats.times.push(*t);
                self.floats.values.push(from.values[i]);
                if start_times {
                    self.floats.starts.push(start);
                }
            }
        }
    }

    fn fill_from_column(&mut self, c: &Column, grid: &Grid) {
        self.clear();
        let floats = c.values.iter().filter(|v| !is_absent(**v)).count();
        self.floats.times.reserve_exact(floats);
        self.floats.values.reserve_exact(floats);
        for i in 0..grid.len {
            if let Some(v) = c.float(i) {
                self.floats.times.push(grid.time(i));
                self.floats.values.push(v);
            } else if let Some(h) = c.histogram(i) {
                let mut h = Arc::clone(h);
                // What the store knew of resets was between its samples; steps skip some.
                if matches!(h.reset, CounterReset::Reset | CounterReset::NotReset) {
                    Arc::make_mut(&mut h).reset = CounterReset::Unknown;
                }
                self.histograms.times.push(grid.time(i));
                self.histograms.values.push(h);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.floats.times.len() + self.histograms.times.len()
    }

    /// Whether there are floats only, without start times.
    pub(crate) fn is_plain(&self) -> bool {
        self.histograms.times.is_empty() && self.floats.starts.is_empty()
    }
}

/// What an instant selector gives of the sample that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Value,
    Time,
    Start,
}

/// Where the series of a range vector come from, one after the other.
pub(crate) enum Source<'a> {
    Store { stream: Box<dyn SeriesStream + 'a>, columns: SampleColumns },
    Columns { columns: std::vec::IntoIter<Column>, grid: Grid },
}

/// An instant selector, ready to give one series after the other.
pub(crate) struct Instant<'a> {
    stream: Box<dyn SeriesStream + 'a>,
    samples: SampleColumns,
    span: Span,
    offset: i64,
    fixed: Option<Timestamp>,
    smoothed: bool,
    field: Field,
}

impl<'a> Evaluator<'a> {
    /// The first and the last time at which a selector with these modifiers looks, over all steps.
    fn look_times(&self, offset: i64, fixed: Option<Timestamp>, grid: &Grid) -> (Timestamp, Timestamp) {
        let (first, last) = fixed.map_or((grid.start, grid.last()), |t| (t, t));
        (first.saturating_sub(offset), last.saturating_sub(offset))
    }

    pub(crate) fn offset(&self, offset: Option<&crate::ast::Duration>) -> Result<i64, EvalError> {
        offset.map_or(Ok(0), |d| self.millis(d, false))
    }

    fn limits(&self) -> Limits {
        let left = self.quota.series_left();
        if !self.config.light {
            return Limits { series: Some(left), ..Limits::default() };
        }
        let most = self.config.max_samples;
        let series = (most / self.query.len).min(LIGHT_SERIES).min(left);
        Limits { series: Some(series), samples: Some(most), memory_only: true }
    }

    fn stream(
        &mut self,
        s: &Selector,
        start: Timestamp,
        end: Timestamp,
        hints: Hints,
    ) -> Result<Box<dyn SeriesStream + 'a>, EvalError> {
        let request = SelectRequest {
            matchers: &s.matchers,
            start,
            end,
            hints,
            limits: self.limits(),
            cancel: self.cancel.clone(),
        };
        self.select.select(&request).map_err(|e| match e {
            SelectError::Limit { what: "series", .. } => self.quota.too_many_series(),
            e => e.into(),
        })
    }

    pub(crate) fn instant_selector(
        &mut self,
        s: &Selector,
        span: Span,
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        self.instant_field(s, span, grid, Field::Value)
    }

    /// For every series and step the newest sample that is not older than the lookback.
    pub(crate) fn instant_field(
        &mut self,
        s: &Selector,
        span: Span,
        grid: &Grid,
        field: Field,
    ) -> Result<Vec<Column>, EvalError> {
        if s.extent == Some(Extent::Anchored) {
            return execution("anchored modifier can only be used with a range selector");
        }
        let mut open = self.open_instant(s, span, grid, field, None)?;
        let mut out = Vec::new();
        loop {
            let mut column = Column::empty(Labels::default(), false, grid.len);
            if !self.next_of_instant(&mut open, grid, &mut column)? {
                break;
            }
            self.hold(column.weight())?;
            if !column.is_empty() {
                out.push(column);
            }
        }
        Ok(out)
    }

    /// Opens what an instant selector reads; `labels` are those that are looked at, if not all are.
    pub(crate) fn open_instant(
        &mut self,
        s: &Selector,
        span: Span,
        grid: &Grid,
        field: Field,
        labels: Option<Vec<String>>,
    ) -> Result<Instant<'a>, EvalError> {
        let offset = self.offset(s.offset.as_ref())?;
        let fixed = self.fixed_time(s.at);
        let (first, last) = self.look_times(offset, fixed, grid);
        let lookback = self.config.lookback;
        let smoothed = s.extent == Some(Extent::Smoothed);
        let end = if smoothed { last.saturating_add(lookback) } else { last };
        // Resets are noted from sample to sample.
        let newest = grid.len == 1 && !smoothed && !self.counts_only;
        let hints = Hints { step: grid.step, newest, labels, ..self.around.take().unwrap_or_default() };
        // Both ends of a request are inclusive, lookback is left-open.
        let stream = self.stream(s, first.saturating_sub(lookback).saturating_add(1), end, hints)?;
        Ok(Instant { stream, samples: SampleColumns::default(), span, offset, fixed, smoothed, field })
    }

    /// Fills a column with an instant selector's next series; `false` when there is none.
    pub(crate) fn next_of_instant(
        &mut self,
        open: &mut Instant<'_>,
        grid: &Grid,
        column: &mut Column,
    ) -> Result<bool, EvalError> {
        column.reset(grid.len);
        self.cancel.check()?;
        let Instant { stream, samples, span, offset, fixed, smoothed, field } = open;
        let Some((_, labels)) = stream.next(samples)? else { return Ok(false) };
        self.stats.series_read += 1;
        self.quota.read_series()?;
        self.stats.samples_read += samples.len();
        self.hold(samples.len())?;
        let look = |i: usize| fixed.unwrap_or_else(|| grid.time(i)).saturating_sub(*offset);
        if self.counts_only {
            note_resets(samples);
        }
        let lookback = self.config.lookback;
        if *smoothed {
            let mut apart = Samples::default();
            apart.fill(&mut samples.clone(), false);
            let mut notes =
                Notes { annotations: &mut self.annotations, labels: &labels, first: *span, all: *span };
            *column = smooth(&apart, &mut notes, grid, lookback, look);
        } else {
            newest(samples, grid, lookback, *field, look, column);
            column.labels = labels;
        }
        if let Some(steps) = &mut self.steps {
            steps.add_column(column);
        }
        self.release(samples.len());
        Ok(true)
    }

    /// The inner expression of a subquery evaluated on its steps over all of `grid`, these steps, and what each of
    /// them looked at if that is asked for.
    pub(crate) fn subquery(
        &mut self,
        s: &Subquery,
        grid: &Grid,
    ) -> Result<(Vec<Column>, Grid, Option<Steps>), EvalError> {
        let offset = self.offset(s.offset.as_ref())?;
        let range = self.millis(&s.range, true)?;
        let step = match &s.step {
            Some(step) => self.millis(step, true)?,
            None => self.config.subquery_step,
        };
        let fixed = self.fixed_time(s.at);
        let (first, last) = self.look_times(offset, fixed, grid);
        // Steps are multiples of the step since the epoch, after the left end, which is open.
        let left = first.saturating_sub(range);
        let start = (left.div_euclid(step) + 1).saturating_mul(step);
        if start > last {
            return Ok((Vec::new(), Grid { start, step, len: 0 }, None));
        }
        let len = usize::try_from((last - start) / step).unwrap_or(usize::MAX).saturating_add(1);
        // Every node inside has at least as many values: better to know before the first is made.
        let mark = self.quota.mark();
        self.hold(len)?;
        self.quota.back_to(mark);
        let inner = Grid { start, step, len };
        let outer = std::mem::replace(&mut self.counts_only, false);
        let (columns, inside) = self.counted_apart(len, |evaluator| evaluator.eval_vector(&s.expr, &inner));
        self.counts_only = outer;
        if let Some(inside) = &inside {
            self.count_inside(inside, &inner, |i| {
                fixed.unwrap_or_else(|| grid.time(i)).saturating_sub(offset)
            });
        }
        Ok((columns?, inner, inside))
    }

    /// The series of a range selector as they are stored.
    pub(crate) fn raw_matrix(&mut self, s: &Selector, grid: &Grid) -> Result<Vec<RangeSeries>, EvalError> {
        let offset = self.offset(s.offset.as_ref())?;
        let range = match &s.range {
            Some(range) => self.millis(range, true)?,
            None => 0,
        };
        let (_, end) = self.look_times(offset, self.fixed_time(s.at), grid);
        let hints = Hints { range, ..Hints::default() };
        let start = end.saturating_sub(range);
        let lookback = self.config.lookback;
        let (before, after) = match s.extent {
            None => (0, 0),
            Some(Extent::Anchored) => (lookback, 0),
            Some(Extent::Smoothed) => (lookback, lookback),
        };
        let from = start.saturating_sub(before).saturating_add(1);
        let mut stream = self.stream(s, from, end.saturating_add(after), hints)?;
        let mut columns = SampleColumns::default();
        let mut out = Vec::new();
        while let Some((_, labels)) = stream.next(&mut columns)? {
            self.cancel.check()?;
            self.stats.series_read += 1;
            self.quota.read_series()?;
            self.stats.samples_read += columns.len();
            self.hold(columns.len())?;
            let mut histograms = columns.histograms.iter().peekable();
            let mut points = Vec::with_capacity(columns.len());
            for (i, t) in columns.times.iter().enumerate() {
                let value = match histograms.next_if(|(at, _)| *at == i) {
                    Some((_, h)) => Value::Histogram(Arc::clone(h)),
                    None => Value::Float(columns.values[i]),
                };
                if !value.is_stale() {
                    points.push((*t, value));
                }
            }
            if s.extent.is_some() {
                points = with_edges(&points, start, end, s.extent == Some(Extent::Smoothed))?;
            }
            if let Some(steps) = &mut self.steps {
                steps.add_values(points.iter().map(|(_, v)| v));
            }
            self.quota.hold_answer(points.len())?;
            if !points.is_empty() {
                out.push(RangeSeries { labels, points });
            }
        }
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(out)
    }

    /// Opens the store for a range selector that looks at `(first - range - before, last + after]`, the range as
    /// the hints have it.
    pub(crate) fn open(
        &mut self,
        s: &Selector,
        grid: &Grid,
        (before, after): (i64, i64),
        hints: Hints,
    ) -> Result<Source<'a>, EvalError> {
        let offset = self.offset(s.offset.as_ref())?;
        let (first, last) = self.look_times(offset, self.fixed_time(s.at), grid);
        let start = first.saturating_sub(hints.range).saturating_sub(before).saturating_add(1);
        let stream = self.stream(s, start, last.saturating_add(after), hints)?;
        Ok(Source::Store { stream, columns: SampleColumns::default() })
    }

    /// The next series of a range vector: its labels and whether its name goes away at the end.
    pub(crate) fn next_series(
        &mut self,
        source: &mut Source<'_>,
        samples: &mut Samples,
    ) -> Result<Option<(Labels, bool)>, EvalError> {
        self.cancel.check()?;
        self.release(samples.len());
        samples.clear();
        let found = match source {
            Source::Store { stream, columns } => {
                let Some((_, labels)) = stream.next(columns)? else { return Ok(None) };
                self.stats.series_read += 1;
                self.quota.read_series()?;
                self.stats.samples_read += columns.len();
                if self.counts_only {
                    note_resets(columns);
                }
                samples.fill(columns, self.config.start_times);
                self.hold(samples.len())?;
                (labels, false)
            }
            Source::Columns { columns, grid } => {
                let Some(c) = columns.next() else { return Ok(None) };
                // A subquery has steps without end: they are held before there is room made for them.
                self.hold((0..grid.len).filter(|i| c.present(*i)).count())?;
                samples.fill_from_column(&c, grid);
                (c.labels, c.drop_name)
            }
        };
        Ok(Some(found))
    }
}

/// The samples of an extended range with a point at each edge: the nearest sample before it, or for smoothing the
/// line to the next one.
fn with_edges(
    points: &[(Timestamp, Value)],
    start: Timestamp,
    end: Timestamp,
    smoothed: bool,
) -> Result<Vec<(Timestamp, Value)>, EvalError> {
    let mut floats = Vec::with_capacity(points.len());
    for (t, value) in points {
        match value {
            Value::Float(v) => floats.push((*t, *v)),
            Value::Histogram(_) => {
                return execution(
                    "an anchored or smoothed range of native histograms can only be used in a function",
                );
            }
        }
    }
    let at = |edge: Timestamp| {
        let split = floats.partition_point(|(t, _)| *t <= edge);
        let (before, after) = (split.checked_sub(1).map(|k| floats[k]), floats.get(split).copied());
        match (before, after) {
            (Some((t0, v0)), Some((t1, v1))) if smoothed => {
                v0 + (v1 - v0) * seconds(edge - t0) / seconds(t1 - t0)
            }
            (Some((_, v)), _) | (None, Some((_, v))) => v,
            (None, None) => f64::NAN,
        }
    };
    if floats.last().is_none_or(|(t, _)| *t <= start) || floats[0].0 > end {
        return Ok(Vec::new());
    }
    let inside = floats.iter().filter(|(t, _)| *t > start && *t < end);
    let edges = [(start, at(start))].into_iter().chain(inside.copied()).chain([(end, at(end))]);
    Ok(edges.map(|(t, v)| (t, Value::Float(v))).collect())
}

/// Fills an empty column with the newest sample at each step.
fn newest(
    samples: &SampleColumns,
    grid: &Grid,
    lookback: i64,
    field: Field,
    look: impl Fn(usize) -> Timestamp,
    column: &mut Column,
) {
    let mut after = 0;
    for i in 0..grid.len {
        let at = look(i);
        while after < samples.times.len() && samples.times[after] <= at {
            after += 1;
        }
        let Some(found) = after.checked_sub(1) else { continue };
        let time = samples.times[found];
        if time <= at.saturating_sub(lookback) {
            continue;
        }
        if samples.histograms.is_empty() && field == Field::Value {
            // A staleness marker is absence: the bits are the same.
            column.values[i] = samples.values[found];
            continue;
        }
        let value = samples.value(found);
        if value.is_stale() {
            continue;
        }
        match field {
            Field::Value => column.set(i, value),
            Field::Time => column.values[i] = seconds(time),
            Field::Start => column.values[i] = seconds(samples.starts.get(found).copied().unwrap_or(0)),
        }
    }
}

/// The value on the line between the samples before and after each step, or that of the one before alone.
fn smooth(
    samples: &Samples,
    notes: &mut Notes<'_>,
    grid: &Grid,
    lookback: i64,
    look: impl Fn(usize) -> Timestamp,
) -> Column {
    let mut column = Column::empty(notes.labels.clone(), false, grid.len);
    for i in 0..grid.len {
        let at = look(i);
        let (left, right) = (at.saturating_sub(lookback), at.saturating_add(lookback));
        let near = |times: &[Timestamp]| {
            let split = times.partition_point(|t| *t <= at);
            let before = split.checked_sub(1).filter(|k| times[*k] > left);
            (before, Some(split).filter(|k| *k < times.len() && times[*k] <= right))
        };
        let (f, h) = (near(&samples.floats.times), near(&samples.histograms.times));
        if f != (None, None) && h != (None, None) {
            notes.mixed();
            continue;
        }
        if let (Some(b), after) = f {
            let (times, values) = (&samples.floats.times, &samples.floats.values);
            column.values[i] = match after {
                Some(a) if times[b] < at => {
                    values[b]
                        + (values[a] - values[b]) * seconds(at - times[b]) / seconds(times[a] - times[b])
                }
                _ => values[b],
            };
        } else if let (Some(b), after) = h {
            let (times, values) = (&samples.histograms.times, &samples.histograms.values);
            let value = match after {
                Some(a) if times[b] < at => {
                    let fraction = seconds(at - times[b]) / seconds(times[a] - times[b]);
                    let counter = values[a].reset != CounterReset::Gauge;
                    histograms::between(&values[b], &values[a], fraction, counter, notes).map(Arc::new)
                }
                _ => Some(Arc::clone(&values[b])),
            };
            if let Some(h) = value {
                column.set(i, Value::Histogram(h));
            }
        }
    }
    column
}

/// Marks histograms of unknown origin by whether they began anew after the one before.
fn note_resets(samples: &mut SampleColumns) {
    let mut before: Option<Arc<Histogram>> = None;
    for (_, h) in &mut samples.histograms {
        if let (CounterReset::Unknown, Some(before)) = (h.reset, &before) {
            let reset =
                if histograms::is_reset(h, before) { CounterReset::Reset } else { CounterReset::NotReset };
            Arc::make_mut(h).reset = reset;
        }
        before = Some(Arc::clone(h));
    }
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "times in milliseconds are far below 2^53")]
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
