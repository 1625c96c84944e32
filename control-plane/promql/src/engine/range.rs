//! Functions of range vectors: sliding a window over the samples of each series, once for all steps.

use super::{
    EvalError,
    column::{Column, Grid},
    eval::{Evaluated, Evaluator, execution},
    over_time, rate,
    select::{Samples, Source},
    slide::Sliding,
};
use crate::{
    ast::{Call, Expr, ExprKind, Extent, ValueType},
    error::Span,
    value::Annotations,
};
use model::{Hints, Histogram, Labels, Timestamp, Value};
use std::sync::Arc;

/// Samples of one kind within a window.
#[derive(Debug)]
pub(crate) struct Slice<'a, T> {
    pub(crate) times: &'a [Timestamp],
    pub(crate) values: &'a [T],
    /// Start times, 0 for none; empty if no sample has one.
    pub(crate) starts: &'a [Timestamp],
}

// By hand: slices can be copied whatever they hold.
impl<T> Clone for Slice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slice<'_, T> {}

impl<T> Slice<'_, T> {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(crate) fn start(&self, i: usize) -> Timestamp {
        self.starts.get(i).copied().unwrap_or(0)
    }
}

/// What a function sees at one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) floats: Slice<'a, f64>,
    pub(crate) histograms: Slice<'a, Arc<Histogram>>,
    /// When the window begins (exclusive) and ends (inclusive).
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// The step's own time.
    pub(crate) at: Timestamp,
    pub(crate) extent: Option<Extent>,
}

/// What a function may say besides its value.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    pub(crate) annotations: &'a mut Annotations,
    pub(crate) labels: &'a Labels,
    /// The first argument.
    pub(crate) first: Span,
    /// All arguments.
    pub(crate) all: Span,
}

impl Notes<'_> {
    pub(crate) fn name(&self) -> &str {
        self.labels.metric_name()
    }

    pub(crate) fn mixed(&mut self) {
        let message = format!("encountered a mix of histograms and floats for metric name {:?}", self.name());
        self.annotations.warn(self.first, message);
    }

    pub(crate) fn ignored_histograms(&mut self) {
        let message = format!(
            "ignored histograms in a range containing both floats and histograms for metric name {:?}",
            self.name()
        );
        self.annotations.info(self.first, message);
    }
}

type Function = fn(&Window<'_>, &[f64], &mut Notes<'_>) -> Result<Option<Value>, EvalError>;

fn function(name: &str) -> Option<Function> {
    Some(match name {
        "rate" => rate::rate,
        "increase" => rate::increase,
        "delta" => rate::delta,
        "irate" => rate::irate,
        "idelta" => rate::idelta,
        "changes" => rate::changes,
        "resets" => rate::resets,
        "deriv" => over_time::deriv,
        "predict_linear" => over_time::predict_linear,
        "double_exponential_smoothing" => over_time::double_exponential_smoothing,
        "avg_over_time" => over_time::avg,
        "count_over_time" => over_time::count,
        "first_over_time" => over_time::first,
        "last_over_time" => over_time::last,
        "mad_over_time" => over_time::mad,
        "max_over_time" => over_time::max,
        "min_over_time" => over_time::min,
        "sum_over_time" => over_time::sum,
        "stddev_over_time" => over_time::stddev,
        "stdvar_over_time" => over_time::stdvar,
        "quantile_over_time" => over_time::quantile,
        "present_over_time" | "absent_over_time" => over_time::present,
        "ts_of_first_over_time" => over_time::time_of_first,
        "ts_of_last_over_time" => over_time::time_of_last,
        "ts_of_max_over_time" => over_time::time_of_max,
        "ts_of_min_over_time" => over_time::time_of_min,
        _ => return None,
    })
}

const ANCHORED_SAFE: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const SMOOTHED_SAFE: [&str; 3] = ["delta", "increase", "rate"];

/// Windows over one kind of samples, from step to step; both ends only move forward.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    from: usize,
    to: usize,
}

impl Cursor {
    pub(super) fn slide(
        &mut self,
        times: &[Timestamp],
        after: Timestamp,
        until: Timestamp,
    ) -> std::ops::Range<usize> {
        while self.to < times.len() && times[self.to] <= until {
            self.to += 1;
        }
        while self.from < self.to && times[self.from] <= after {
            self.from += 1;
        }
        self.from..self.to
    }
}

/// A function of a range vector, ready to be evaluated for one series after the other.
pub(crate) struct RangeCall<'a, 'e> {
    pub(crate) name: &'static str,
    function: Function,
    /// The other arguments, a number per step.
    scalars: Vec<Vec<f64>>,
    matrix: &'e Expr,
    offset: i64,
    fixed: Option<Timestamp>,
    range: i64,
    extent: Option<Extent>,
    /// How far beyond the window's edges samples are looked at.
    reach: (i64, i64),
    pub(super) source: Source<'a>,
    pub(super) samples: Samples,
    args: Vec<f64>,
    sliding: Option<Sliding>,
    /// The first argument, and all of them.
    spans: (Span, Span),
}

impl RangeCall<'_, '_> {
    pub(crate) fn keeps_name(&self) -> bool {
        matches!(self.name, "last_over_time" | "first_over_time")
    }

    /// How many windows see the same sample, at most.
    fn overlaps(&self, grid: &Grid) -> usize {
        let span = self.range.saturating_add(self.reach.0).saturating_add(self.reach.1);
        match span.checked_div(grid.step) {
            Some(steps) if self.fixed.is_none() => {
                usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1).min(grid.len)
            }
            _ => grid.len,
        }
    }

    fn window_end(&self, at: Timestamp) -> Timestamp {
        self.fixed.unwrap_or(at).saturating_sub(self.offset)
    }

    /// After what and until when samples are looked at by the step at this time.
    pub(super) fn looked_at(&self, at: Timestamp) -> (Timestamp, Timestamp) {
        let end = self.window_end(at);
        let start = end.saturating_sub(self.range);
        (start.saturating_sub(self.reach.0), end.saturating_add(self.reach.1))
    }
}

impl<'a> Evaluator<'a> {
    /// Evaluates a function that takes a range vector.
    pub(crate) fn range_call(&mut self, call: &Call, grid: &Grid) -> Result<Evaluated, EvalError> {
        let mut open = self.open_call(call, grid, None)?;
        let mut out: Vec<Column> = Vec::new();
        loop {
            let mut column = Column::empty(Labels::default(), false, grid.len);
            if !self.next_of_call(&mut open, grid, &mut column)? {
                break;
            }
            if column.is_empty() {
                continue;
            }
            self.hold(column.weight())?;
            out.push(column);
        }
        if open.name == "absent_over_time" {
            return Ok(Evaluated::Vector(vec![self.absent_column(&out, open.matrix, grid)]));
        }
        if !open.keeps_name() {
            out = self.without_name(out)?;
        }
        Ok(Evaluated::Vector(out))
    }

    /// Opens what a call reads; `labels` are those that are looked at, if not all are.
    pub(crate) fn open_call<'e>(
        &mut self,
        call: &'e Call,
        grid: &Grid,
        labels: Option<Vec<String>>,
    ) -> Result<RangeCall<'a, 'e>, EvalError> {
        let name = call.function.name;
        let Some(function) = function(name) else {
            return execution(format!("function {name:?} is not known to the evaluator"));
        };
        let mut scalars: Vec<Vec<f64>> = Vec::new();
        let mut matrix = None;
        for arg in &call.args {
            if arg.value_type() == ValueType::Matrix {
                matrix = Some(arg.unparen());
            } else {
                scalars.push(self.eval_scalar(arg, grid)?);
            }
        }
        let Some(matrix) = matrix else { return execution(format!("{name} needs a range vector")) };
        let (offset, fixed, range, extent, reach, source) = match &matrix.kind {
            ExprKind::Selector(s) => {
                let range = match &s.range {
                    Some(range) => self.millis(range, true)?,
                    None => 0,
                };
                let lookback = self.config.lookback;
                let reach = match s.extent {
                    None => (0, 0),
                    Some(Extent::Anchored) => (lookback, 0),
                    Some(Extent::Smoothed) => (lookback, lookback),
                };
                let (word, safe): (_, &[&str]) = match s.extent {
                    Some(Extent::Smoothed) => ("smoothed", &SMOOTHED_SAFE),
                    _ => ("anchored", &ANCHORED_SAFE),
                };
                if s.extent.is_some() && !safe.contains(&name) {
                    return execution(format!(
                        "{word} modifier can only be used with: {} - not with {name}",
                        safe.join(", ")
                    ));
                }
                let offset = self.offset(s.offset.as_ref())?;
                let hints =
                    Hints { step: grid.step, range, func: name.to_owned(), labels, ..Hints::default() };
                let source = self.open(s, grid, reach, hints)?;
                (offset, self.fixed_time(s.at), range, s.extent, reach, source)
            }
            ExprKind::Subquery(s) => {
                let offset = self.offset(s.offset.as_ref())?;
                let range = self.millis(&s.range, true)?;
                let (columns, inner, _) = self.subquery(s, grid)?;
                let source = Source::Columns { columns: columns.into_iter(), grid: inner };
                (offset, self.fixed_time(s.at), range, None, (0, 0), source)
            }
            _ => return execution(format!("{name} needs a range vector")),
        };
        let first = call.args.first().map_or(matrix.span, |a| a.span);
        let all = call.args.last().map_or(first, |a| first.to(a.span));
        let args = vec![0.0; scalars.len()];
        let sliding = Sliding::of(name, range).filter(|_| extent.is_none());
        let samples = Samples::default();
        let spans = (first, all);
        Ok(RangeCall {
            name,
            function,
            scalars,
            matrix,
            offset,
            fixed,
            range,
            extent,
            reach,
            source,
            samples,
            args,
            sliding,
            spans,
        })
    }

    /// Evaluates a call for its next series, whose labels still have its name; `false` when there is none.
    pub(crate) fn next_of_call(
        &mut self,
        call: &mut RangeCall<'_, '_>,
        grid: &Grid,
        column: &mut Column,
    ) -> Result<bool, EvalError> {
        column.reset(grid.len);
        let Some((labels, dropped)) = self.next_series(&mut call.source, &mut call.samples)? else {
            return Ok(false);
        };
        (column.labels, column.drop_name) = (labels, dropped);
        // What grew is told from where windows begin and end.
        let overlaps = if matches!(call.sliding, Some(Sliding::Growth(_))) { 1 } else { call.overlaps(grid) };
        self.quota.look(call.samples.len().saturating_mul(overlaps))?;
        self.count_windows(call, grid);
        let (fixed, offset) = (call.fixed, call.offset);
        let ends = |i: usize| fixed.unwrap_or_else(|| grid.time(i)).saturating_sub(offset);
        let slid = match &mut call.sliding {
            Some(sliding) if call.samples.is_plain() => {
                sliding.slide(&call.samples.floats, ends, &mut column.values)
            }
            _ => None,
        };
        let any_float = match slid {
            Some(any) => any,
            None => self.windows_of_call(call, grid, column)?,
        };
        if any_float && matches!(call.name, "rate" | "increase") {
            self.doubt_counter(&column.labels, call.spans.0);
        }
        Ok(true)
    }

    /// Evaluates a call's function window by window; whether any result is a float.
    fn windows_of_call(
        &mut self,
        call: &mut RangeCall<'_, '_>,
        grid: &Grid,
        column: &mut Column,
    ) -> Result<bool, EvalError> {
        let labels = column.labels.clone();
        let (mut floats, mut histograms) = (Cursor::default(), Cursor::default());
        let mut annotations = std::mem::take(&mut self.annotations);
        let mut notes =
            Notes { annotations: &mut annotations, labels: &labels, first: call.spans.0, all: call.spans.1 };
        let (mut any_float, mut failed) = (false, None);
        let samples = &call.samples;
        for i in 0..grid.len {
            // One window can be long; a query must stop between them.
            if let Err(e) = self.cancel.check() {
                failed = Some(e.into());
                break;
            }
            let at = grid.time(i);
            let end = call.window_end(at);
            let start = end.saturating_sub(call.range);
            let (after_time, until) = call.looked_at(at);
            let f = floats.slide(&samples.floats.times, after_time, until);
            let h = histograms.slide(&samples.histograms.times, after_time, until);
            if f.is_empty() && h.is_empty() {
                continue;
            }
            let window = Window {
                floats: Slice {
                    times: &samples.floats.times[f.clone()],
                    values: &samples.floats.values[f.clone()],
                    starts: samples.floats.starts.get(f).unwrap_or(&[]),
                },
                histograms: Slice {
                    times: &samples.histograms.times[h.clone()],
                    values: &samples.histograms.values[h.clone()],
                    starts: samples.histograms.starts.get(h).unwrap_or(&[]),
                },
                start,
                end,
                at,
                extent: call.extent,
            };
            for (arg, values) in call.args.iter_mut().zip(&call.scalars) {
                *arg = values[i];
            }
            match (call.function)(&window, &call.args, &mut notes) {
                Ok(Some(Value::Float(v))) => {
                    any_float = true;
                    column.values[i] = v;
                }
                Ok(Some(value)) => column.set(i, value),
                Ok(None) => {}
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        self.annotations = annotations;
        failed.map_or(Ok(any_float), Err)
    }

    /// Remarks that a rate was taken of what does not look like a counter.
    fn doubt_counter(&mut self, labels: &Labels, span: Span) {
        let name = labels.metric_name();
        if name.is_empty() {
            return;
        }
        if self.config.type_labels {
            let kind = labels.value("__type__");
            if kind != "counter" && kind != "histogram" {
                self.annotations.info(
                    span,
                    format!(
                        "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {kind:?}: {name:?}"
                    ),
                );
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end)) {
            let message = format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
            );
            self.annotations.info(span, message);
        }
    }

    /// 1 at every step where no column has a value, with the labels that the selector's `=` matchers demand.
    pub(crate) fn absent_column(&self, columns: &[Column], of: &Expr, grid: &Grid) -> Column {
        let mut out = Column::empty(absent_labels(of), false, grid.len);
        for i in 0..grid.len {
            if !columns.iter().any(|c| c.present(i)) {
                out.values[i] = 1.0;
            }
        }
        out
    }
}

/// The labels that an absent series would have, as far as a selector says them.
fn absent_labels(of: &Expr) -> Labels {
    let ExprKind::Selector(s) = &of.unparen().kind else { return Labels::default() };
    let mut labels = model::LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for m in s.matchers.iter().filter(|m| &*m.name != model::labels::METRIC_NAME) {
        if m.op == model::MatchOp::Eq && !seen.contains(&&*m.name) {
            labels.set(Arc::clone(&m.name), Arc::clone(&m.value));
            seen.push(&m.name);
        } else {
            labels.remove(&m.name);
        }
    }
    labels.build()
}
