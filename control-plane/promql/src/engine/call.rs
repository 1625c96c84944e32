//! Functions of instant vectors and scalars.

use super::{
    EvalError,
    aggregate::by_value,
    classic,
    column::{ABSENT, Column, Grid},
    date,
    eval::{Evaluated, Evaluator, SAME_LABELS, execution},
    histograms::{self, for_metric},
    select::{Field, seconds},
};
use crate::{
    ast::{Call, Expr, ExprKind, ValueType},
    value::Correction,
};
use model::{Histogram, Labels};
use std::{collections::HashMap, f64::consts::PI};

/// Prometheus's remark on classic buckets that were not cumulative.
const FORCED_MONOTONICITY: &str = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";

/// Functions of one float.
fn math(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |v| v * 180.0 / PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |v| v * PI / 180.0,
        "sgn" => |v| {
            if v < 0.0 {
                -1.0
            } else if v > 0.0 {
                1.0
            } else {
                v
            }
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// Functions of one moment, given in seconds since the epoch.
fn calendar(name: &str) -> Option<fn(i64) -> i64> {
    const DAY: i64 = 86_400;
    Some(match name {
        "day_of_month" => |s| date::day(s.div_euclid(DAY)).day,
        "day_of_week" => |s| date::day_of_week(s.div_euclid(DAY)),
        "day_of_year" => |s| date::day_of_year(date::day(s.div_euclid(DAY))),
        "days_in_month" => |s| date::days_in_month(date::day(s.div_euclid(DAY))),
        "hour" => |s| s.rem_euclid(DAY) / 3_600,
        "minute" => |s| s.rem_euclid(3_600) / 60,
        "month" => |s| date::day(s.div_euclid(DAY)).month,
        "year" => |s| date::day(s.div_euclid(DAY)).year,
        _ => return None,
    })
}

/// Functions of one native histogram.
fn of_histogram(name: &str) -> Option<fn(&Histogram) -> f64> {
    Some(match name {
        "histogram_avg" => |h| h.sum / h.count,
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_stddev" => |h| histograms::variance(h).sqrt(),
        "histogram_stdvar" => histograms::variance,
        _ => return None,
    })
}

/// Functions that look at counts and sums but at no bucket.
const COUNTS_ONLY: [&str; 3] = ["histogram_avg", "histogram_count", "histogram_sum"];

impl Evaluator<'_> {
    pub(crate) fn call(&mut self, expr: &Expr, call: &Call, grid: &Grid) -> Result<Evaluated, EvalError> {
        let name = call.function.name;
        if call.args.iter().any(|a| a.value_type() == ValueType::Matrix) {
            return self.range_call(call, grid);
        }
        if let Some(f) = math(name) {
            return self.map(call, grid, |v, _| f(v));
        }
        if let Some(f) = of_histogram(name) {
            return self.map_histograms(call, grid, f);
        }
        if let Some(f) = calendar(name) {
            return self.calendar(call, grid, f);
        }
        match name {
            "time" => Ok(Evaluated::Scalar((0..grid.len).map(|i| seconds(grid.time(i))).collect())),
            "pi" => Ok(Evaluated::Scalar(vec![PI; grid.len])),
            "start" => Ok(Evaluated::Scalar(vec![seconds(self.query.start); grid.len])),
            "end" => {
                let end = self.query.start.saturating_add(self.query_range);
                Ok(Evaluated::Scalar(vec![seconds(end); grid.len]))
            }
            "range" => Ok(Evaluated::Scalar(vec![seconds(self.query_range); grid.len])),
            "step" => Ok(Evaluated::Scalar(vec![seconds(self.query.step); grid.len])),
            "min_of" | "max_of" => {
                let (mut a, b) =
                    (self.eval_scalar(&call.args[0], grid)?, self.eval_scalar(&call.args[1], grid)?);
                for (x, y) in a.iter_mut().zip(b) {
                    // Unlike f64::min, a NaN wins.
                    *x = match (x.is_nan() || y.is_nan(), name) {
                        (true, _) => f64::NAN,
                        (_, "min_of") => x.min(y),
                        _ => x.max(y),
                    };
                }
                Ok(Evaluated::Scalar(a))
            }
            "vector" => Ok(Evaluated::Vector(vec![Column::scalar(self.eval_scalar(&call.args[0], grid)?)])),
            "scalar" => {
                let columns = self.eval_vector(&call.args[0], grid)?;
                let at = |i| {
                    let mut found = columns.iter().filter_map(|c| c.float(i));
                    match (found.next(), found.next()) {
                        (Some(v), None) => v,
                        _ => f64::NAN,
                    }
                };
                Ok(Evaluated::Scalar((0..grid.len).map(at).collect()))
            }
            "absent" => {
                let columns = self.eval_vector(&call.args[0], grid)?;
                Ok(Evaluated::Vector(vec![self.absent_column(&columns, &call.args[0], grid)]))
            }
            "clamp" => self.clamp(call, grid, Some(1), Some(2)),
            "clamp_min" => self.clamp(call, grid, Some(1), None),
            "clamp_max" => self.clamp(call, grid, None, Some(1)),
            "round" => {
                let to = match call.args.get(1) {
                    Some(to) => self.eval_scalar(to, grid)?,
                    None => vec![1.0; grid.len],
                };
                self.map(call, grid, |v, i| {
                    // Multiplying with the inverse is more exact than dividing.
                    let inverse = 1.0 / to[i];
                    (v * inverse + 0.5).floor() / inverse
                })
            }
            "sort" | "sort_desc" => self.sort(expr, call, grid, name == "sort_desc"),
            "sort_by_label" | "sort_by_label_desc" => {
                self.warn_of_sort(expr, grid);
                self.sort_by_label(call, grid, name == "sort_by_label_desc").map(Evaluated::Vector)
            }
            "timestamp" => self.timestamp(call, grid),
            "start_timestamp" => self.start_timestamp(call, grid),
            "label_replace" => self.label_replace(call, grid).map(Evaluated::Vector),
            "label_join" => self.label_join(call, grid).map(Evaluated::Vector),
            "histogram_quantile" => self.histogram_quantile(call, grid),
            "histogram_quantiles" => self.histogram_quantiles(call, grid),
            "histogram_fraction" => self.histogram_fraction(call, grid),
            "info" => self.info(call, grid).map(Evaluated::Vector),
            _ => execution(format!("function {name:?} is not known to the evaluator")),
        }
    }

    /// Applies `f` to every float; histograms are left out.
    fn map(
        &mut self,
        call: &Call,
        grid: &Grid,
        f: impl Fn(f64, usize) -> f64,
    ) -> Result<Evaluated, EvalError> {
        let mut columns = self.eval_vector(&call.args[0], grid)?;
        for c in &mut columns {
            self.cancel.check()?;
            c.histograms = Vec::new();
            for i in 0..grid.len {
                if let Some(v) = c.float(i) {
                    c.values[i] = f(v, i);
                }
            }
        }
        columns.retain(|c| !c.is_empty());
        self.without_name(columns).map(Evaluated::Vector)
    }

    /// Applies `f` to every histogram; floats are left out.
    fn map_histograms(
        &mut self,
        call: &Call,
        grid: &Grid,
        f: fn(&Histogram) -> f64,
    ) -> Result<Evaluated, EvalError> {
        let outer = std::mem::replace(&mut self.counts_only, COUNTS_ONLY.contains(&call.function.name));
        let columns = self.eval_vector(&call.args[0], grid);
        self.counts_only = outer;
        let mut columns = columns?;
        for c in &mut columns {
            self.cancel.check()?;
            let histograms = std::mem::take(&mut c.histograms);
            c.values.fill(ABSENT);
            for (v, h) in c.values.iter_mut().zip(histograms) {
                if let Some(h) = h {
                    *v = f(&h);
                }
            }
        }
        columns.retain(|c| !c.is_empty());
        self.without_name(columns).map(Evaluated::Vector)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "casts of floats saturate"
    )]
    fn calendar(&mut self, call: &Call, grid: &Grid, f: fn(i64) -> i64) -> Result<Evaluated, EvalError> {
        if call.args.is_empty() {
            let values = (0..grid.len).map(|i| f(grid.time(i).div_euclid(1000)) as f64).collect();
            return Ok(Evaluated::Vector(vec![Column::scalar(values)]));
        }
        // Years of the calendar arithmetic must not overflow.
        let bounded = |v: f64| (v as i64).clamp(-1 << 52, 1 << 52);
        self.map(call, grid, |v, _| f(bounded(v)) as f64)
    }

    fn clamp(
        &mut self,
        call: &Call,
        grid: &Grid,
        low: Option<usize>,
        high: Option<usize>,
    ) -> Result<Evaluated, EvalError> {
        let mut bound = |arg: Option<usize>, or: f64| match arg {
            Some(i) => self.eval_scalar(&call.args[i], grid),
            None => Ok(vec![or; grid.len]),
        };
        let (low, high) = (bound(low, f64::NEG_INFINITY)?, bound(high, f64::INFINITY)?);
        self.map(call, grid, |v, i| {
            if high[i] < low[i] {
                return ABSENT;
            }
            larger(smaller(v, high[i]), low[i])
        })
    }

    fn warn_of_sort(&mut self, expr: &Expr, grid: &Grid) {
        if grid.len > 1 || self.query.len > 1 {
            let message = "sort is ineffective for range queries since results are always ordered by labels";
            self.annotations.warn(expr.span, message);
        }
    }

    fn sort(
        &mut self,
        expr: &Expr,
        call: &Call,
        grid: &Grid,
        descending: bool,
    ) -> Result<Evaluated, EvalError> {
        self.warn_of_sort(expr, grid);
        let mut columns = self.eval_vector(&call.args[0], grid)?;
        columns.iter_mut().for_each(|c| c.histograms = Vec::new());
        columns.retain(|c| !c.is_empty());
        if grid.len == 1 {
            columns.sort_by(|a, b| by_value(a.values[0], b.values[0], descending));
        }
        Ok(Evaluated::Vector(columns))
    }

    /// The time of the sample itself for a selector, else the time of evaluation.
    fn timestamp(&mut self, call: &Call, grid: &Grid) -> Result<Evaluated, EvalError> {
        let columns = match &call.args[0].unparen().kind {
            ExprKind::Selector(s) if s.range.is_none() && s.extent.is_none() => {
                self.instant_field(s, call.args[0].span, grid, Field::Time)?
            }
            _ => {
                let mut columns = self.eval_vector(&call.args[0], grid)?;
                for c in &mut columns {
                    for i in 0..grid.len {
                        if c.present(i) {
                            c.values[i] = seconds(grid.time(i));
                        }
                    }
                    c.histograms = Vec::new();
                }
                columns
            }
        };
        self.without_name(columns).map(Evaluated::Vector)
    }

    /// When the sample's counting began; only selectors know it, and only if start times are looked at.
    fn start_timestamp(&mut self, call: &Call, grid: &Grid) -> Result<Evaluated, EvalError> {
        let columns = match &call.args[0].unparen().kind {
            ExprKind::Selector(s) if s.range.is_none() && s.extent.is_none() && self.config.start_times => {
                self.instant_field(s, call.args[0].span, grid, Field::Start)?
            }
            _ => {
                self.eval_vector(&call.args[0], grid)?;
                Vec::new()
            }
        };
        self.without_name(columns).map(Evaluated::Vector)
    }

    fn histogram_quantile(&mut self, call: &Call, grid: &Grid) -> Result<Evaluated, EvalError> {
        let q = self.eval_scalar(&call.args[0], grid)?;
        let columns = self.eval_vector(&call.args[1], grid)?;
        let families = self.families(columns, call.args[1].span, grid);
        let out = self.quantiles_of(&families, &q, &call.args[0], &call.args[1], grid)?;
        self.without_name(out).map(Evaluated::Vector)
    }

    fn histogram_quantiles(&mut self, call: &Call, grid: &Grid) -> Result<Evaluated, EvalError> {
        let columns = self.eval_vector(&call.args[0], grid)?;
        let label = self.eval_text(&call.args[1], grid)?;
        let families = self.families(columns, call.args[0].span, grid);
        let mut out: Vec<Column> = Vec::new();
        for arg in &call.args[2..] {
            let q = self.eval_scalar(arg, grid)?;
            let found = self.quantiles_of(&families, &q, arg, &call.args[0], grid)?;
            for column in found {
                // The quantile may differ from step to step, and the label with it.
                for (i, q) in q.iter().enumerate() {
                    let Some(v) = column.float(i) else { continue };
                    let labels = column.labels.with(label.as_str(), open_metrics(*q));
                    let target = match out.iter().position(|c| c.labels == labels) {
                        Some(target) => target,
                        None => {
                            out.push(Column::empty(labels, column.drop_name, grid.len));
                            out.len() - 1
                        }
                    };
                    if out[target].present(i) {
                        return execution(SAME_LABELS);
                    }
                    out[target].values[i] = v;
                }
            }
        }
        self.without_name(out).map(Evaluated::Vector)
    }

    fn quantiles_of(
        &mut self,
        families: &[Family],
        q: &[f64],
        q_arg: &Expr,
        vector_arg: &Expr,
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        for q in q {
            histograms::check_quantile(*q, q_arg.span, &mut self.annotations);
        }
        let mut out = Vec::new();
        for family in families {
            self.cancel.check()?;
            let mut column = Column::empty(family.labels.clone(), family.drop_name, grid.len);
            let name = family.labels.metric_name();
            for (i, q) in q.iter().enumerate() {
                if let Some(h) = family.native(i) {
                    column.values[i] =
                        histograms::quantile(*q, h, name, vector_arg.span, &mut self.annotations);
                } else if let Some(buckets) = family.buckets(i) {
                    let found = classic::quantile(*q, buckets);
                    column.values[i] = found.value;
                    if let Some((lowest, highest, difference)) = found.corrected {
                        let at = grid.time(i);
                        let name = if self.config.delayed_name_removal { name } else { "" };
                        let message = for_metric(FORCED_MONOTONICITY, name);
                        let correction =
                            Correction { from: at, to: at, count: 1, lowest, highest, difference };
                        self.annotations.corrected(vector_arg.span, message, correction);
                    }
                }
            }
            if !column.is_empty() {
                out.push(column);
            }
        }
        Ok(out)
    }

    fn histogram_fraction(&mut self, call: &Call, grid: &Grid) -> Result<Evaluated, EvalError> {
        let (lower, upper) = (self.eval_scalar(&call.args[0], grid)?, self.eval_scalar(&call.args[1], grid)?);
        let columns = self.eval_vector(&call.args[2], grid)?;
        let span = call.args[2].span;
        let families = self.families(columns, span, grid);
        let mut out = Vec::new();
        for family in &families {
            let mut column = Column::empty(family.labels.clone(), family.drop_name, grid.len);
            let name = family.labels.metric_name();
            for i in 0..grid.len {
                if let Some(h) = family.native(i) {
                    column.values[i] =
                        histograms::fraction(lower[i], upper[i], h, name, span, &mut self.annotations);
                } else if let Some(buckets) = family.buckets(i) {
                    column.values[i] = classic::fraction(lower[i], upper[i], buckets);
                }
            }
            if !column.is_empty() {
                out.push(column);
            }
        }
        self.without_name(out).map(Evaluated::Vector)
    }

    /// Sorts a vector into histograms: the buckets of classic ones by their labels but `le`, native ones alone.
    fn families(&mut self, columns: Vec<Column>, span: crate::error::Span, grid: &Grid) -> Vec<Family> {
        let mut index: HashMap<Labels, usize> = HashMap::new();
        let mut out: Vec<Family> = Vec::new();
        let mut family = |labels: Labels, drop_name: bool, out: &mut Vec<Family>| {
            *index.entry(labels).or_insert_with_key(|labels| {
                out.push(Family { labels: labels.clone(), drop_name, ..Family::default() });
                out.len() - 1
            })
        };
        for c in columns {
            if c.histograms.iter().any(Option::is_some) {
                let at = family(c.labels.clone(), c.drop_name, &mut out);
                out[at].natives.push(c.clone());
            }
            if (0..grid.len).all(|i| c.float(i).is_none()) {
                continue;
            }
            let le = c.labels.value("le");
            let Some(upper) = bound(le) else {
                let message = format!("bucket label \"le\" is missing or has a malformed value of {le:?}");
                self.annotations.warn(span, for_metric(&message, c.labels.metric_name()));
                continue;
            };
            let at = family(c.labels.drop(&["le"]), c.drop_name, &mut out);
            out[at].classic.push((upper, c));
        }
        for family in out.iter_mut().filter(|f| !f.classic.is_empty() && !f.natives.is_empty()) {
            family.clash = (0..grid.len)
                .map(|i| {
                    family.classic.iter().any(|(_, c)| c.float(i).is_some())
                        && family.natives.iter().any(|c| c.histogram(i).is_some())
                })
                .collect();
            if family.clash.contains(&true) {
                let message = "vector contains a mix of classic and native histograms";
                self.annotations.warn(span, for_metric(message, family.labels.metric_name()));
            }
        }
        out
    }
}

/// The smaller number; NaN wins, but not over what nothing is smaller than.
fn smaller(a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.min(b),
        _ if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY => f64::NEG_INFINITY,
        _ => f64::NAN,
    }
}

/// The larger number; NaN wins, but not over what nothing is larger than.
fn larger(a: f64, b: f64) -> f64 {
    -smaller(-a, -b)
}

/// The upper bound that a label `le` says.
fn bound(le: &str) -> Option<f64> {
    match le {
        "+Inf" | "Inf" | "inf" | "+inf" => Some(f64::INFINITY),
        "-Inf" | "-inf" => Some(f64::NEG_INFINITY),
        _ => model::number::parse(le),
    }
}

/// A quantile as a label value: whole numbers keep a decimal.
fn open_metrics(q: f64) -> String {
    if q.fract() == 0.0 && q.is_finite() { format!("{q:.1}") } else { model::number::format(q) }
}

/// What stands for one histogram in a vector.
#[derive(Debug, Default)]
struct Family {
    /// Without `le`.
    labels: Labels,
    drop_name: bool,
    classic: Vec<(f64, Column)>,
    natives: Vec<Column>,
    /// At which steps there are both, so that neither counts.
    clash: Vec<bool>,
}

impl Family {
    fn clashes(&self, i: usize) -> bool {
        self.clash.get(i).copied().unwrap_or(false)
    }

    fn native(&self, i: usize) -> Option<&Histogram> {
        if self.clashes(i) {
            return None;
        }
        self.natives.iter().find_map(|c| c.histogram(i)).map(|h| &**h)
    }

    fn buckets(&self, i: usize) -> Option<Vec<classic::Bucket>> {
        if self.clashes(i) {
            return None;
        }
        let found: Vec<classic::Bucket> = self
            .classic
            .iter()
            .filter_map(|(upper, c)| Some(classic::Bucket { upper: *upper, count: c.float(i)? }))
            .collect();
        (!found.is_empty()).then_some(found)
    }
}
