//! The evaluator: which node goes where, what is held meanwhile, when to stop.

use super::{
    EngineConfig, EvalError,
    column::{Column, Grid, is_absent},
    quota::Quota,
    repeats::Shared,
    steps::Steps,
};
use crate::{
    ast::{At, Expr, ExprKind, Matching},
    value::{Annotations, QueryResult, QueryStats, QueryValue},
};
use model::{Cancel, Hints, Labels, Select, Timestamp, labels::METRIC_NAME};
use std::collections::HashMap;

/// The labels that say what a metric is, and that an operation on its values takes away.
pub(crate) const IDENTITY: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// The value of a node over all steps.
#[derive(Debug, Clone)]
pub(crate) enum Evaluated {
    /// One number per step.
    Scalar(Vec<f64>),
    Text(String),
    Vector(Vec<Column>),
}

impl Evaluated {
    fn weight(&self) -> usize {
        match self {
            Evaluated::Scalar(values) => values.len(),
            Evaluated::Text(_) => 0,
            Evaluated::Vector(columns) => columns.iter().map(Column::weight).sum(),
        }
    }
}

/// The same labels at the same time: Prometheus's message.
pub(crate) const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

pub(crate) fn execution<T>(message: impl Into<String>) -> Result<T, EvalError> {
    Err(EvalError::Execution(message.into()))
}

#[derive(Debug)]
pub(crate) struct Evaluator<'a> {
    pub(crate) config: &'a EngineConfig,
    pub(crate) select: &'a dyn Select,
    pub(crate) cancel: &'a Cancel,
    /// The whole query's steps, 0 apart for an instant query; subqueries evaluate on others.
    pub(crate) query: Grid,
    /// The whole query's last time as asked for, minus its first.
    pub(crate) query_range: i64,
    pub(crate) annotations: Annotations,
    pub(crate) stats: QueryStats,
    /// What each step of what is evaluated now looks at, if that is asked for.
    pub(crate) steps: Option<Steps>,
    pub(crate) quota: Quota<'a>,
    /// Whether what is evaluated now only serves counts and sums of histograms; then resets are noted on each.
    pub(crate) counts_only: bool,
    /// What the aggregation right around the next selector does, for the store to know.
    pub(crate) around: Option<Hints>,
    /// What is evaluated together with others at the same time, and which one this is.
    pub(crate) shared: Option<(&'a mut Shared, usize)>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        config: &'a EngineConfig,
        select: &'a dyn Select,
        cancel: &'a Cancel,
        query: Grid,
        query_range: i64,
    ) -> Result<Self, EvalError> {
        cancel.check()?;
        Ok(Evaluator {
            config,
            select,
            cancel,
            query,
            query_range,
            annotations: Annotations::default(),
            stats: QueryStats::default(),
            steps: config.count_steps.then(|| Steps::new(query.len)),
            quota: Quota::new(config),
            counts_only: false,
            around: None,
            shared: None,
        })
    }

    /// Refuses what the configuration does not allow.
    pub(crate) fn admit(&self, expr: &Expr) -> Result<(), EvalError> {
        if self.config.experimental {
            return Ok(());
        }
        let mut refused = None;
        let fills = |m: &Matching| m.fill_left.is_some() || m.fill_right.is_some();
        expr.walk(&mut |e| {
            let what = match &e.kind {
                ExprKind::Call(c) if c.function.experimental => format!("function {:?}", c.function.name),
                ExprKind::Aggregate(a) if a.op.is_experimental() => {
                    format!("aggregation {:?}", a.op.as_str())
                }
                ExprKind::Selector(s) if s.extent.is_some() => "an anchored or smoothed selector".to_owned(),
                ExprKind::Binary(b) if fills(&b.matching) => "a fill modifier".to_owned(),
                _ => return,
            };
            refused.get_or_insert(what);
        });
        match refused {
            None => Ok(()),
            Some(what) => Err(EvalError::BadData(format!(
                "{what} is experimental and not enabled: VIGIE_QUERY_EXPERIMENTAL=true allows it"
            ))),
        }
    }

    /// Counts samples as held, until the node that is being evaluated is done.
    pub(crate) fn hold(&mut self, samples: usize) -> Result<(), EvalError> {
        self.quota.hold(samples)
    }

    /// Makes sure that there is room for an answer of these columns.
    pub(crate) fn answer(&mut self, columns: &[Column]) -> Result<(), EvalError> {
        self.quota.hold_answer(columns.iter().map(Column::weight).sum())
    }

    /// The end of the evaluation.
    pub(crate) fn result(self, value: QueryValue) -> QueryResult {
        let (peak_samples, peak_bytes) = (self.quota.peak_samples, self.quota.peak_bytes);
        let stats = QueryStats { peak_samples, peak_bytes, ..self.stats };
        QueryResult {
            value,
            stats,
            annotations: self.annotations,
            steps: self.steps,
            lease: self.quota.lease,
        }
    }

    pub(crate) fn release(&mut self, samples: usize) {
        self.quota.release(samples);
    }

    /// The value of an expression that is no range vector.
    pub(crate) fn eval(&mut self, expr: &Expr, grid: &Grid) -> Result<Evaluated, EvalError> {
        self.cancel.check()?;
        let before = self.quota.mark();
        let number = match &self.shared {
            // What only serves counts is not the same for what serves all.
            Some((shared, expression)) if *grid == self.query && !self.counts_only => {
                shared.number(*expression, expr)
            }
            _ => None,
        };
        if let (Some(number), Some((shared, _))) = (number, &self.shared)
            && let Some(value) = shared.get(number, expr, &mut self.annotations)
        {
            // No selector takes it, and the next one is of something else.
            self.around = None;
            if let Evaluated::Vector(columns) = &value {
                self.quota.hold_series(columns.len())?;
            }
            self.hold(value.weight())?;
            return Ok(value);
        }
        let outer = number.map(|_| std::mem::take(&mut self.annotations));
        let value = self.eval_anew(expr, grid)?;
        if let (Some(number), Some(outer)) = (number, outer) {
            let own = std::mem::replace(&mut self.annotations, outer);
            self.annotations.extend_moved(&own, 0, 0);
            if let Some((shared, _)) = &mut self.shared {
                shared.keep(number, expr, &value, &own);
            }
        }
        self.quota.back_to(before);
        if let Evaluated::Vector(columns) = &value {
            self.quota.hold_series(columns.len())?;
        }
        self.hold(value.weight())?;
        Ok(value)
    }

    fn eval_anew(&mut self, expr: &Expr, grid: &Grid) -> Result<Evaluated, EvalError> {
        if grid.len > 1
            && !matches!(expr.kind, ExprKind::Number(_) | ExprKind::String(_))
            && is_invariant(expr)
        {
            self.once(expr, grid)
        } else {
            self.node(expr, grid)
        }
    }

    /// Evaluates what is the same at every step at the first one only.
    fn once(&mut self, expr: &Expr, grid: &Grid) -> Result<Evaluated, EvalError> {
        let first = Grid { len: 1, ..*grid };
        let (value, once) = self.counted_apart(1, |evaluator| evaluator.node(expr, &first));
        let value = value?;
        if let (Some(steps), Some(once)) = (&mut self.steps, once) {
            steps.add_to_all(&once);
        }
        // A few samples become many: better to know before.
        let mark = self.quota.mark();
        self.hold(value.weight().saturating_mul(grid.len))?;
        self.quota.back_to(mark);
        Ok(match value {
            Evaluated::Scalar(values) => {
                Evaluated::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); grid.len])
            }
            Evaluated::Text(text) => Evaluated::Text(text),
            Evaluated::Vector(columns) => {
                Evaluated::Vector(columns.into_iter().map(|c| c.broadcast(grid.len)).collect())
            }
        })
    }

    fn node(&mut self, expr: &Expr, grid: &Grid) -> Result<Evaluated, EvalError> {
        match &expr.kind {
            ExprKind::Number(n) => Ok(Evaluated::Scalar(vec![n.value; grid.len])),
            ExprKind::String(s) => Ok(Evaluated::Text(s.clone())),
            ExprKind::Paren(inner) => self.eval(inner, grid),
            ExprKind::Unary { negative, expr: inner } => self.unary(*negative, inner, grid),
            ExprKind::Selector(s) if s.range.is_none() => {
                self.instant_selector(s, expr.span, grid).map(Evaluated::Vector)
            }
            ExprKind::Selector(_) | ExprKind::Subquery(_) => execution("a range vector cannot stand here"),
            ExprKind::Call(call) => self.call(expr, call, grid),
            ExprKind::Aggregate(a) => self.aggregate(expr, a, grid).map(Evaluated::Vector),
            ExprKind::Binary(b) => self.binary(expr, b, grid),
        }
    }

    pub(crate) fn eval_vector(&mut self, expr: &Expr, grid: &Grid) -> Result<Vec<Column>, EvalError> {
        match self.eval(expr, grid)? {
            Evaluated::Vector(columns) => Ok(columns),
            _ => execution("expected an instant vector"),
        }
    }

    pub(crate) fn eval_scalar(&mut self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>, EvalError> {
        match self.eval(expr, grid)? {
            Evaluated::Scalar(values) => Ok(values),
            _ => execution("expected a scalar"),
        }
    }

    pub(crate) fn eval_text(&mut self, expr: &Expr, grid: &Grid) -> Result<String, EvalError> {
        match self.eval(expr, grid)? {
            Evaluated::Text(text) => Ok(text),
            _ => execution("expected a string"),
        }
    }

    fn unary(&mut self, negative: bool, inner: &Expr, grid: &Grid) -> Result<Evaluated, EvalError> {
        let value = self.eval(inner, grid)?;
        if !negative {
            return Ok(value);
        }
        Ok(match value {
            Evaluated::Scalar(values) => Evaluated::Scalar(values.into_iter().map(|v| -v).collect()),
            Evaluated::Text(text) => Evaluated::Text(text),
            Evaluated::Vector(mut columns) => {
                for c in &mut columns {
                    for v in c.values.iter_mut().filter(|v| !is_absent(**v)) {
                        *v = -*v;
                    }
                    for h in c.histograms.iter_mut().flatten() {
                        *h = std::sync::Arc::new(super::histograms::scaled(h, -1.0));
                    }
                }
                Evaluated::Vector(self.without_name(columns)?)
            }
        })
    }

    /// Takes the metric's name away: now, or, where names are kept longer, at the end.
    pub(crate) fn without_name(&self, mut columns: Vec<Column>) -> Result<Vec<Column>, EvalError> {
        let distinct = self.config.delayed_name_removal || of_one_metric(&columns);
        for c in &mut columns {
            self.drop_name(c);
        }
        if distinct { Ok(columns) } else { merge_same_labels(columns) }
    }

    /// The same for one column, whose labels may then equal those of others.
    pub(crate) fn drop_name(&self, c: &mut Column) {
        if self.config.delayed_name_removal {
            c.drop_name = true;
        } else {
            c.labels = nameless(&c.labels);
        }
    }

    /// The columns as the query's result: names dropped that were only marked.
    pub(crate) fn finish(&self, mut columns: Vec<Column>) -> Result<Vec<Column>, EvalError> {
        if !columns.iter().any(|c| c.drop_name) {
            return Ok(columns);
        }
        for c in columns.iter_mut().filter(|c| c.drop_name) {
            c.labels = nameless(&c.labels);
        }
        merge_same_labels(columns)
    }

    /// The time that a `@` modifier fixes, if there is one.
    pub(crate) fn fixed_time(&self, at: Option<At>) -> Option<Timestamp> {
        at.map(|at| match at {
            At::Time(t) => t,
            At::Start => self.query.start,
            At::End => self.query.start.saturating_add(self.query_range),
        })
    }

    /// A duration in milliseconds; one that must be positive is checked to be.
    pub(crate) fn millis(&self, d: &crate::ast::Duration, positive: bool) -> Result<i64, EvalError> {
        match d.millis(self.query.step, self.query_range) {
            Ok(ms) if positive && ms <= 0 => execution("duration must be greater than 0"),
            Ok(ms) => Ok(ms),
            Err(e) => execution(e.message()),
        }
    }
}

/// Whether all columns are of one metric, so that they still differ without its name.
fn of_one_metric(columns: &[Column]) -> bool {
    let Some(first) = columns.first() else { return true };
    let name = first.labels.metric_name();
    let typed = |labels: &Labels| labels.iter().any(|l| IDENTITY[1..].contains(&&*l.name));
    columns.iter().all(|c| c.labels.metric_name() == name && !typed(&c.labels))
}

/// Labels without those that name a metric.
pub(crate) fn nameless(labels: &Labels) -> Labels {
    if labels.iter().any(|l| IDENTITY.contains(&&*l.name)) { labels.drop(&IDENTITY) } else { labels.clone() }
}

/// Makes one column of those with the same labels; two values at one step are an error.
pub(crate) fn merge_same_labels(columns: Vec<Column>) -> Result<Vec<Column>, EvalError> {
    let mut index: HashMap<Labels, usize> = HashMap::with_capacity(columns.len());
    let mut out: Vec<Column> = Vec::with_capacity(columns.len());
    for c in columns {
        match index.get(&c.labels) {
            None => {
                index.insert(c.labels.clone(), out.len());
                out.push(c);
            }
            Some(i) => {
                let target = &mut out[*i];
                for step in 0..c.values.len() {
                    let Some(value) = c.get(step) else { continue };
                    if target.present(step) {
                        return execution(SAME_LABELS);
                    }
                    target.set(step, value);
                }
            }
        }
    }
    Ok(out)
}

/// Functions whose result depends on the evaluation time even where their argument does not.
const TIME_DEPENDENT: [&str; 12] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
    "start_timestamp",
];

/// Whether an expression has the same value at every step.
pub(crate) fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Selector(s) => s.at.is_some(),
        ExprKind::Subquery(s) => s.at.is_some(),
        ExprKind::Call(c) if TIME_DEPENDENT.contains(&c.function.name) => false,
        _ => expr.children().into_iter().all(is_invariant),
    }
}
