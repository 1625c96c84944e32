//! Aggregations that need one accumulator for each group and step: series are folded into them one by one.

use super::{
    EvalError,
    column::{Column, Grid, is_absent},
    eval::{Evaluator, IDENTITY, is_invariant},
    groups::Groups,
    histograms,
    range::RangeCall,
    select::{Field, Instant},
    sum::{Mean, Sum},
};
use crate::{
    ast::{Aggregate, AggregateOp, ExprKind},
    error::Span,
    histogram,
    value::Annotations,
};
use model::{CounterReset, Histogram, Labels, MatchOp, Value, labels::METRIC_NAME};
use std::sync::Arc;

/// What an aggregation reads series by series, without holding them all.
enum Streamed<'s, 'e> {
    Call(Box<RangeCall<'s, 'e>>),
    Instant(Instant<'s>),
}

/// Why streaming stopped.
enum Stopped {
    /// A series names its type or unit: without them, and its name, it may equal another.
    Typed,
    Failed(EvalError),
}

impl<E: Into<EvalError>> From<E> for Stopped {
    fn from(e: E) -> Self {
        Stopped::Failed(e.into())
    }
}

impl Evaluator<'_> {
    /// Folds series as they come, where that gives what folding all of them would give; else `None`.
    pub(super) fn fold_streamed(
        &mut self,
        a: &Aggregate,
        grid: &Grid,
    ) -> Result<Option<Vec<Column>>, EvalError> {
        let folds = !matches!(
            a.op,
            AggregateOp::Topk
                | AggregateOp::Bottomk
                | AggregateOp::Limitk
                | AggregateOp::LimitRatio
                | AggregateOp::CountValues
                | AggregateOp::Quantile
        );
        let inner = a.expr.unparen();
        if !folds || grid.len > 1 && is_invariant(inner) {
            return Ok(None);
        }
        let labels = (!a.without).then(|| {
            let mut names: Vec<String> = a.grouping.clone();
            names.extend(IDENTITY.map(str::to_owned));
            names.sort_unstable();
            names.dedup();
            names
        });
        let before = (self.annotations.clone(), self.steps.clone(), self.stats);
        let streamed = match &inner.kind {
            ExprKind::Selector(s) if s.range.is_none() && s.extent.is_none() => {
                Streamed::Instant(self.open_instant(s, inner.span, grid, Field::Value, labels)?)
            }
            ExprKind::Call(call) if call.function.name != "absent_over_time" => {
                let selector = call.args.iter().find_map(|arg| match &arg.unparen().kind {
                    ExprKind::Selector(s) if s.range.is_some() => Some(s),
                    _ => None,
                });
                // Series of one metric still differ when its name is gone.
                let one_metric = selector.is_some_and(|s| {
                    s.matchers.iter().any(|m| &*m.name == METRIC_NAME && m.op == MatchOp::Eq)
                });
                if !one_metric {
                    return Ok(None);
                }
                Streamed::Call(Box::new(self.open_call(call, grid, labels)?))
            }
            _ => return Ok(None),
        };
        match self.fold_series(a, streamed, grid) {
            Ok(columns) => Ok(Some(columns)),
            Err(Stopped::Failed(e)) => Err(e),
            Err(Stopped::Typed) => {
                (self.annotations, self.steps, self.stats) = before;
                Ok(None)
            }
        }
    }

    fn fold_series(
        &mut self,
        a: &Aggregate,
        mut streamed: Streamed<'_, '_>,
        grid: &Grid,
    ) -> Result<Vec<Column>, Stopped> {
        let loses_name = matches!(&streamed, Streamed::Call(c) if !c.keeps_name());
        let nameless = loses_name && !self.config.delayed_name_removal;
        let mut fold = Fold::new(a, nameless, grid);
        let mut column = Column::empty(Labels::default(), false, grid.len);
        self.hold(grid.len)?;
        loop {
            let more = match &mut streamed {
                Streamed::Call(call) => self.next_of_call(call, grid, &mut column)?,
                Streamed::Instant(open) => self.next_of_instant(open, grid, &mut column)?,
            };
            if !more {
                break;
            }
            if nameless && column.labels.iter().any(|l| IDENTITY[1..].contains(&&*l.name)) {
                return Err(Stopped::Typed);
            }
            column.drop_name |= loses_name && !nameless;
            if column.is_empty() {
                continue;
            }
            fold.add(self, &column)?;
        }
        Ok(fold.finish(self))
    }
}

/// An aggregation with one accumulator for each group and step.
pub(super) struct Fold<'a> {
    a: &'a Aggregate,
    groups: Groups<'a>,
    steps: usize,
    accumulators: Vec<Accumulators>,
    drop_name: Vec<bool>,
}

/// The accumulators of one group.
enum Accumulators {
    /// Sums of floats; whether there is any at a step.
    Sums(Vec<Sum>, Vec<bool>),
    Any(Vec<Accumulator>),
}

impl<'a> Fold<'a> {
    pub(super) fn new(a: &'a Aggregate, nameless: bool, grid: &Grid) -> Self {
        let groups = Groups::new(a, nameless);
        Fold { a, groups, steps: grid.len, accumulators: Vec::new(), drop_name: Vec::new() }
    }

    pub(super) fn add(&mut self, e: &mut Evaluator<'_>, c: &Column) -> Result<(), EvalError> {
        e.cancel.check()?;
        let g = self.groups.of(&c.labels);
        if g == self.accumulators.len() {
            e.hold(self.steps)?;
            e.quota.hold_each(self.steps, size_of::<Accumulator>())?;
            self.drop_name.push(false);
            self.accumulators.push(if self.a.op == AggregateOp::Sum {
                Accumulators::Sums(vec![Sum::default(); self.steps], vec![false; self.steps])
            } else {
                Accumulators::Any(vec![Accumulator::default(); self.steps])
            });
        }
        self.drop_name[g] |= c.drop_name;
        let accumulators = &mut self.accumulators[g];
        if let (Accumulators::Sums(sums, any), true) = (&mut *accumulators, c.histograms.is_empty()) {
            for ((sum, any), v) in sums.iter_mut().zip(any).zip(&c.values) {
                if !is_absent(*v) {
                    // The first is taken as it is: minus zero stays.
                    if *any {
                        sum.add(*v);
                    } else {
                        *sum = Sum::of(*v);
                    }
                    *any = true;
                }
            }
            return Ok(());
        }
        let span = self.a.expr.span;
        for (i, acc) in accumulators.any().iter_mut().enumerate() {
            if let Some(v) = c.float(i) {
                acc.float(self.a.op, v);
            } else if let Some(h) = c.histogram(i) {
                acc.histogram(self.a.op, h, c.labels.metric_name(), span, &mut e.annotations);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, e: &mut Evaluator<'_>) -> Vec<Column> {
        let (a, steps) = (self.a, self.steps);
        let mut out = Vec::with_capacity(self.accumulators.len());
        for ((labels, accumulators), drop_name) in
            self.groups.labels.into_iter().zip(self.accumulators).zip(self.drop_name)
        {
            let mut column = Column::empty(labels, drop_name, steps);
            match accumulators {
                Accumulators::Sums(sums, any) => {
                    for ((v, sum), any) in column.values.iter_mut().zip(sums).zip(any) {
                        if any {
                            *v = sum.sum + sum.compensation;
                        }
                    }
                }
                Accumulators::Any(all) => {
                    for (i, acc) in all.into_iter().enumerate() {
                        if let Some(value) = acc.result(a.op, a.expr.span, &mut e.annotations) {
                            column.set(i, value);
                        }
                    }
                }
            }
            if !column.is_empty() {
                out.push(column);
            }
        }
        out
    }
}

impl Accumulators {
    /// Room for values of any kind, with what was added so far.
    fn any(&mut self) -> &mut [Accumulator] {
        if let Accumulators::Sums(sums, any) = self {
            let floats = |(sum, any): (&Sum, &bool)| Accumulator {
                floats: u32::from(*any),
                count: f64::from(u8::from(*any)),
                sum: *sum,
                ..Accumulator::default()
            };
            *self = Accumulators::Any(sums.iter().zip(&*any).map(floats).collect());
        }
        match self {
            Accumulators::Any(all) => all,
            Accumulators::Sums(..) => &mut [],
        }
    }
}

/// One group at one step.
#[derive(Debug, Clone, Default)]
struct Accumulator {
    floats: u32,
    count: f64,
    sum: Sum,
    mean: Option<Mean>,
    /// Welford's mean and squares, or the extreme value so far.
    value: f64,
    squares: f64,
    histogram: Option<Box<Totals>>,
}

/// Histograms aggregated so far.
#[derive(Debug, Clone, Default)]
struct Totals {
    total: histogram::Total,
    /// Whether they turned out not to combine.
    incompatible: bool,
    reset: bool,
    not_reset: bool,
}

impl Accumulator {
    fn float(&mut self, op: AggregateOp, v: f64) {
        let first = self.floats == 0;
        self.floats += 1;
        self.count += 1.0;
        match op {
            AggregateOp::Sum => {
                if first {
                    self.sum = Sum::of(v);
                } else {
                    self.sum.add(v);
                }
            }
            AggregateOp::Avg => match &mut self.mean {
                None => self.mean = Some(Mean::of(v)),
                Some(mean) => mean.add(v),
            },
            AggregateOp::Max if first || v > self.value || self.value.is_nan() => self.value = v,
            AggregateOp::Min if first || v < self.value || self.value.is_nan() => self.value = v,
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                if first {
                    self.value = v;
                    self.squares = if v.is_finite() { 0.0 } else { f64::NAN };
                } else {
                    let delta = v - self.value;
                    self.value += delta / f64::from(self.floats);
                    self.squares += delta * (v - self.value);
                }
            }
            _ => {}
        }
    }

    fn histogram(
        &mut self,
        op: AggregateOp,
        h: &Arc<Histogram>,
        name: &str,
        span: Span,
        annotations: &mut Annotations,
    ) {
        match op {
            AggregateOp::Count | AggregateOp::Group => self.count += 1.0,
            AggregateOp::Sum | AggregateOp::Avg => {
                let totals = self.histogram.get_or_insert_default();
                totals.add(h, name, span, annotations);
            }
            op => {
                annotations.info(span, format!("ignored histogram in {} aggregation", op.as_str()));
            }
        }
    }

    fn result(self, op: AggregateOp, span: Span, annotations: &mut Annotations) -> Option<Value> {
        if let Some(totals) = self.histogram {
            if self.floats > 0 {
                annotations.warn(span, "encountered a mix of histograms and floats for aggregation");
                return None;
            }
            if totals.reset && totals.not_reset {
                annotations.warn(span, "conflicting counter resets during histogram aggregation");
            }
            return totals.result(op, span, annotations).map(|h| Value::Histogram(Arc::new(h)));
        }
        let float = match op {
            AggregateOp::Count if self.count > 0.0 => self.count,
            AggregateOp::Group if self.count > 0.0 => 1.0,
            _ if self.floats == 0 => return None,
            AggregateOp::Sum => self.sum.sum + self.sum.compensation,
            AggregateOp::Avg => self.mean?.total(),
            AggregateOp::Max | AggregateOp::Min => self.value,
            AggregateOp::Stdvar => self.squares / f64::from(self.floats),
            AggregateOp::Stddev => (self.squares / f64::from(self.floats)).sqrt(),
            _ => return None,
        };
        Some(Value::Float(float))
    }
}

impl Totals {
    fn add(&mut self, h: &Histogram, name: &str, span: Span, annotations: &mut Annotations) {
        if self.incompatible {
            return;
        }
        self.reset |= h.reset == CounterReset::Reset;
        self.not_reset |= h.reset == CounterReset::NotReset;
        if self.total.add(h).is_err() {
            histograms::warn_mixed_schemas(name, span, annotations);
            self.incompatible = true;
        }
    }

    fn result(&self, op: AggregateOp, span: Span, annotations: &mut Annotations) -> Option<Histogram> {
        if self.total.reconciled() {
            annotations.info(span, "mismatched custom buckets were reconciled during aggregation");
        }
        match op {
            _ if self.incompatible => None,
            AggregateOp::Avg => self.total.mean(),
            _ => self.total.sum(),
        }
    }
}
