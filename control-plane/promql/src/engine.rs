//! Evaluating expressions: the engine, its limits and its errors.
//!
//! An expression is evaluated for all steps of a query at once: every series is a column with one place per step
//! (`column::Column`), a selector decodes each series once and slides over the steps, and operators work on whole
//! columns. An instant query is a range of one step. Subqueries evaluate their inside on a grid of their own.

mod aggregate;
mod binary;
mod call;
mod classic;
mod column;
pub(crate) mod date;
mod elements;
mod eval;
mod fold;
mod groups;
mod histograms;
mod info;
mod labels;
mod over_time;
mod pool;
mod quota;
mod range;
mod rate;
mod repeats;
mod select;
mod slide;
mod steps;
mod sum;
#[cfg(test)]
mod tests;

use crate::{
    ast::{Expr, ExprKind, ValueType},
    value::{InstantSample, QueryResult, QueryValue, RangeSeries},
};
use column::{Column, Grid};
use eval::{Evaluated, Evaluator};
pub(crate) use histograms::is_reset;
use model::{Cancel, CancelReason, MatchOp, Select, SelectError, Timestamp, Value};
pub use pool::{Lease, MemoryPool};
pub use repeats::{Repeats, Shared};
use std::sync::Arc;
pub use steps::Steps;

/// What the engine may do, and how.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// How far an instant selector looks back, in milliseconds.
    pub lookback: i64,
    /// How many samples a query may hold at one time.
    pub max_samples: usize,
    /// How many series a query may read.
    pub max_series: usize,
    /// How many bytes a query may hold at one time, its answer included.
    pub max_bytes: usize,
    /// Memory that all its queries hold together, where that is bounded.
    pub pool: Option<Arc<MemoryPool>>,
    /// How many steps a range query may have.
    pub max_steps: usize,
    /// Whether what Prometheus 3.14 has behind feature flags is allowed: experimental functions and aggregations,
    /// fill modifiers, anchored and smoothed selectors.
    pub experimental: bool,
    /// Whether metric names are dropped at the end of the query only, so that `by (__name__)` still sees them.
    pub delayed_name_removal: bool,
    /// Whether `rate`, `increase`, `irate`, `resets` and `start_timestamp` take start times into account.
    pub start_times: bool,
    /// Whether the label `__type__` tells counters from other metrics, rather than the name's ending.
    pub type_labels: bool,
    /// The step of subqueries that name none, in milliseconds.
    pub subquery_step: i64,
    /// Whether to give up rather than read from disk, or more than `max_samples` in all: see [`Engine::light`].
    pub light: bool,
    /// Whether to count what each step looks at: [`QueryResult::steps`].
    pub count_steps: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            lookback: 300_000,
            max_samples: 50_000_000,
            max_series: 10_000_000,
            max_bytes: 1 << 30,
            pool: None,
            max_steps: 11_000,
            experimental: false,
            delayed_name_removal: false,
            start_times: false,
            type_labels: false,
            subquery_step: 60_000,
            light: false,
            count_steps: false,
        }
    }
}

/// What a light query may have at most.
const LIGHT_NODES: usize = 64;
/// What it may read or hold: samples are looked at once, or by many windows.
const LIGHT_SAMPLES: usize = 32_768;
const LIGHT_SAMPLES_OF_RANGE: usize = 4096;
/// What its windows may look at in all, however much they overlap.
const LIGHT_LOOKS: usize = 1 << 18;

/// Why a query has no result. The variants are what Prometheus's HTTP API tells apart.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The query itself is wrong (`bad_data`).
    #[error("{0}")]
    BadData(String),
    /// The data do not allow what the query asks (`execution`).
    #[error("{0}")]
    Execution(String),
    /// The caller or the server gave up (`canceled`).
    #[error("query was canceled in expression evaluation")]
    Cancelled,
    /// It took too long (`timeout`).
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// It needs more samples than allowed (`execution`).
    #[error(
        "query processing would load too many samples into memory in query execution: the limit is {0} (VIGIE_QUERY_MAX_SAMPLES); take a shorter range, a larger step or fewer series"
    )]
    TooManySamples(usize),
    /// It reads more series than allowed (`execution`).
    #[error(
        "the query would read too many series: the limit is {0} (VIGIE_QUERY_MAX_SERIES); select fewer with more label matchers"
    )]
    TooManySeries(usize),
    /// It needs more memory than allowed (`execution`).
    #[error(
        "the query would hold too much memory: the limit is {0} bytes (VIGIE_QUERY_MAX_MEMORY); take a shorter range, a larger step or fewer series"
    )]
    TooMuchMemory(usize),
    /// It needs more memory than the queries beside it leave (`unavailable`).
    #[error(
        "the queries that run hold too much memory together: the limit is {0} bytes (VIGIE_QUERY_MAX_TOTAL_MEMORY); try again"
    )]
    TooMuchMemoryTogether(usize),
    /// The store failed (`internal`).
    #[error("reading series failed")]
    Store(#[source] SelectError),
}

impl From<SelectError> for EvalError {
    fn from(e: SelectError) -> Self {
        match e {
            SelectError::Cancelled(CancelReason::Deadline) => EvalError::Timeout,
            SelectError::Cancelled(_) => EvalError::Cancelled,
            SelectError::Limit { what: "samples", limit } => EvalError::TooManySamples(limit),
            e @ SelectError::Limit { .. } => EvalError::Execution(e.to_string()),
            e => EvalError::Store(e),
        }
    }
}

/// Evaluates expressions. Cheap to make, without state of its own.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    config: EngineConfig,
}

impl Engine {
    pub fn new(config: EngineConfig) -> Self {
        Engine { config }
    }

    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// This engine for an expression that looks as if it took microseconds; `None` for others. It gives up, with
    /// whatever error, where that turns out to be wrong: then this engine itself must be asked, elsewhere.
    pub fn light(&self, expr: &Expr, steps: usize) -> Option<Engine> {
        let max_samples = if steps == 1 { LIGHT_SAMPLES } else { LIGHT_SAMPLES_OF_RANGE };
        let (mut nodes, mut cheap) = (0, steps <= max_samples);
        expr.walk(&mut |e| {
            nodes += 1;
            cheap &= match &e.kind {
                ExprKind::Subquery(_) => false,
                ExprKind::Selector(s) => s.matchers.iter().all(|m| matches!(m.op, MatchOp::Eq | MatchOp::Ne)),
                // They may compile an expression of any size.
                ExprKind::Call(c) => !matches!(c.function.name, "label_replace" | "info"),
                _ => true,
            };
        });
        let config = EngineConfig { max_samples, light: true, ..self.config.clone() };
        (cheap && nodes <= LIGHT_NODES).then(|| Engine::new(config))
    }

    /// The value of `expr` at one time. Blocking, and stops when `cancel` says so.
    pub fn instant(
        &self,
        select: &dyn Select,
        expr: &Expr,
        at: Timestamp,
        cancel: &Cancel,
    ) -> Result<QueryResult, EvalError> {
        self.instant_beside(select, expr, at, cancel, None)
    }

    /// The same for one of several expressions that are evaluated at this time: which one it is, and what those
    /// before it left.
    pub fn instant_beside(
        &self,
        select: &dyn Select,
        expr: &Expr,
        at: Timestamp,
        cancel: &Cancel,
        beside: Option<(&mut Shared, usize)>,
    ) -> Result<QueryResult, EvalError> {
        let grid = Grid { start: at, step: 0, len: 1 };
        let mut evaluator = Evaluator::new(&self.config, select, cancel, grid, 0)?;
        evaluator.shared = beside;
        evaluator.admit(expr)?;
        let value = match &expr.unparen().kind {
            ExprKind::Selector(s) if s.range.is_some() => QueryValue::Matrix(evaluator.raw_matrix(s, &grid)?),
            ExprKind::Subquery(s) => {
                let (columns, grid, inside) = evaluator.subquery(s, &grid)?;
                if let (Some(steps), Some(inside)) = (&mut evaluator.steps, inside) {
                    steps.add_inside(&inside);
                }
                let columns = evaluator.finish(columns)?;
                evaluator.answer(&columns)?;
                QueryValue::Matrix(matrix(columns, &grid))
            }
            _ => match evaluator.eval(expr, &grid)? {
                Evaluated::Scalar(values) => {
                    QueryValue::Scalar { at, value: values.first().copied().unwrap_or(f64::NAN) }
                }
                Evaluated::Text(value) => QueryValue::String { at, value },
                Evaluated::Vector(columns) => {
                    let columns = evaluator.finish(columns)?;
                    evaluator.answer(&columns)?;
                    let sample =
                        |c: Column| c.get(0).map(|value| InstantSample { labels: c.labels, at, value });
                    QueryValue::Vector(columns.into_iter().filter_map(sample).collect())
                }
            },
        };
        Ok(evaluator.result(value))
    }

    /// The values of `expr` at `start`, `start + step`, ... up to `end`, all in milliseconds. The expression
    /// must be a scalar or an instant vector. Blocking, and stops when `cancel` says so.
    pub fn range(
        &self,
        select: &dyn Select,
        expr: &Expr,
        start: Timestamp,
        end: Timestamp,
        step: i64,
        cancel: &Cancel,
    ) -> Result<QueryResult, EvalError> {
        let bad = |message: String| Err(EvalError::BadData(message));
        if step <= 0 {
            return bad(
                "zero or negative query resolution step widths are not accepted: try a positive duration"
                    .to_owned(),
            );
        }
        if end < start {
            return bad("end timestamp must not be before start time".to_owned());
        }
        let t = expr.value_type();
        if !matches!(t, ValueType::Scalar | ValueType::Vector) {
            return bad(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                t.as_str()
            ));
        }
        let span = end.checked_sub(start).unwrap_or(i64::MAX);
        let len = usize::try_from(span / step).unwrap_or(usize::MAX).saturating_add(1);
        // As Prometheus counts: the steps between the points.
        if len > self.config.max_steps.saturating_add(1) {
            return bad(format!(
                "exceeded maximum resolution of {} points per timeseries (VIGIE_QUERY_MAX_STEPS): try a larger step",
                self.config.max_steps
            ));
        }
        let grid = Grid { start, step, len };
        let mut evaluator = Evaluator::new(&self.config, select, cancel, grid, span)?;
        evaluator.admit(expr)?;
        let columns = match evaluator.eval(expr, &grid)? {
            Evaluated::Scalar(values) => vec![Column::scalar(values)],
            Evaluated::Vector(columns) => evaluator.finish(columns)?,
            Evaluated::Text(_) => Vec::new(),
        };
        evaluator.answer(&columns)?;
        let value = QueryValue::Matrix(matrix(columns, &grid));
        Ok(evaluator.result(value))
    }
}

/// Columns as series of points, without the empty ones, sorted by labels.
fn matrix(columns: Vec<Column>, grid: &Grid) -> Vec<RangeSeries> {
    let mut out: Vec<RangeSeries> = columns
        .into_iter()
        .map(|c| {
            let points: Vec<(Timestamp, Value)> =
                (0..grid.len).filter_map(|i| Some((grid.time(i), c.get(i)?))).collect();
            RangeSeries { labels: c.labels, points }
        })
        .filter(|s| !s.points.is_empty())
        .collect();
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    out
}
