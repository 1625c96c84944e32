//! Aggregations: many series to one per group, or to a few of each group.

use super::{
    EvalError,
    column::{ABSENT, Column, Grid},
    eval::{Evaluator, execution},
    fold::Fold,
    groups::Groups,
    histograms, sum,
};
use crate::{
    ast::{Aggregate, AggregateOp, Expr, ExprKind},
    error::Span,
    value::general,
};
use model::{Hints, Labels, Value, labels::METRIC_NAME};
use std::{cmp::Ordering, collections::HashMap};

fn group_labels(a: &Aggregate, labels: &Labels) -> Labels {
    if a.without {
        let mut edit = labels.edit();
        edit.retain(|l| &*l.name != METRIC_NAME && !a.grouping.iter().any(|n| **n == *l.name));
        edit.build()
    } else {
        labels.keep(&a.grouping)
    }
}

impl Evaluator<'_> {
    pub(crate) fn aggregate(
        &mut self,
        expr: &Expr,
        a: &Aggregate,
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        let (numbers, text) = match (&a.param, a.op) {
            (Some(param), AggregateOp::CountValues) => (Vec::new(), self.eval_text(param, grid)?),
            (Some(param), _) => (self.eval_scalar(param, grid)?, String::new()),
            (None, _) => (Vec::new(), String::new()),
        };
        if matches!(a.expr.unparen().kind, ExprKind::Selector(_)) {
            let func = a.op.as_str().to_owned();
            self.around =
                Some(Hints { func, grouping: a.grouping.clone(), by: !a.without, ..Hints::default() });
        }
        if let Some(columns) = self.fold_streamed(a, grid)? {
            return Ok(columns);
        }
        let columns = self.eval_vector(&a.expr, grid)?;
        let param_span = a.param.as_ref().map_or(expr.span, |p| p.span);
        match a.op {
            AggregateOp::Topk | AggregateOp::Bottomk => self.extremes(expr, a, columns, &numbers, grid),
            AggregateOp::Limitk => self.limit(a, columns, &numbers, grid),
            AggregateOp::LimitRatio => self.ratio(columns, &numbers, param_span, grid),
            AggregateOp::CountValues => self.count_values(a, &text, &columns, grid),
            AggregateOp::Quantile => self.quantiles(a, &columns, &numbers, param_span, grid),
            _ => {
                let mut fold = Fold::new(a, false, grid);
                for c in &columns {
                    fold.add(self, c)?;
                }
                Ok(fold.finish(self))
            }
        }
    }

    fn quantiles(
        &mut self,
        a: &Aggregate,
        columns: &[Column],
        q: &[f64],
        param: Span,
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        let (of, labels) = Groups::sort(a, columns);
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); labels.len()];
        for (i, g) in of.iter().enumerate() {
            members[*g].push(i);
        }
        for q in q {
            histograms::check_quantile(*q, param, &mut self.annotations);
        }
        let mut out = Vec::new();
        let mut values = Vec::new();
        for (labels, members) in labels.into_iter().zip(members) {
            self.cancel.check()?;
            let drop_name = members.iter().any(|m| columns[*m].drop_name);
            let mut column = Column::empty(labels, drop_name, grid.len);
            for (i, q) in q.iter().enumerate() {
                values.clear();
                values.extend(members.iter().filter_map(|m| columns[*m].float(i)));
                if members.iter().any(|m| columns[*m].histogram(i).is_some()) {
                    self.annotations.info(a.expr.span, "ignored histogram in quantile aggregation");
                }
                if !values.is_empty() {
                    column.values[i] = sum::quantile(*q, &mut values);
                }
            }
            if !column.is_empty() {
                out.push(column);
            }
        }
        Ok(out)
    }

    /// `topk` and `bottomk`.
    fn extremes(
        &mut self,
        expr: &Expr,
        a: &Aggregate,
        mut columns: Vec<Column>,
        k: &[f64],
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        check_k(k)?;
        let (of, labels) = Groups::sort(a, &columns);
        let top = a.op == AggregateOp::Topk;
        let mut order = Vec::new();
        let mut candidates: Vec<Vec<(f64, usize)>> = vec![Vec::new(); labels.len()];
        for (i, k) in k.iter().enumerate() {
            self.cancel.check()?;
            candidates.iter_mut().for_each(Vec::clear);
            for (c, column) in columns.iter().enumerate() {
                if let Some(v) = column.float(i) {
                    candidates[of[c]].push((v, c));
                } else if column.histogram(i).is_some() {
                    let message = format!("ignored histogram in {} aggregation", a.op.as_str());
                    self.annotations.info(expr.span, message);
                }
            }
            let k = whole(*k);
            for list in &mut candidates {
                // Stable, so that of equal values the first come first; NaN comes last either way.
                list.sort_by(|(x, _), (y, _)| {
                    let ascending = x.partial_cmp(y).unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()));
                    let nan = x.is_nan() || y.is_nan();
                    if top && !nan { ascending.reverse() } else { ascending }
                });
                for (_, c) in list.iter().skip(k) {
                    columns[*c].values[i] = ABSENT;
                }
                if grid.len == 1 {
                    order.extend(list.iter().take(k).map(|(_, c)| *c));
                }
            }
        }
        columns.iter_mut().for_each(|c| c.histograms = Vec::new());
        if grid.len > 1 {
            columns.retain(|c| !c.is_empty());
            return Ok(columns);
        }
        // An instant query shows them in their order.
        let mut slots: Vec<Option<Column>> = columns.into_iter().map(Some).collect();
        Ok(order.into_iter().filter_map(|c| slots[c].take()).collect())
    }

    /// `limitk`: the first k series of each group that have a value.
    fn limit(
        &mut self,
        a: &Aggregate,
        mut columns: Vec<Column>,
        k: &[f64],
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        check_k(k)?;
        let (of, labels) = Groups::sort(a, &columns);
        self.quota.hold_each(labels.len().saturating_mul(grid.len), size_of::<usize>())?;
        let mut taken = vec![0; labels.len() * grid.len];
        for (c, g) in columns.iter_mut().zip(&of) {
            for (i, k) in k.iter().enumerate() {
                if !c.present(i) {
                    continue;
                }
                let taken = &mut taken[g * grid.len + i];
                if *taken >= whole(*k) {
                    c.clear(i);
                } else {
                    *taken += 1;
                }
            }
        }
        columns.retain(|c| !c.is_empty());
        Ok(columns)
    }

    /// `limit_ratio`: the part of all series whose labels hash below the ratio, or above it if it is negative.
    fn ratio(
        &mut self,
        mut columns: Vec<Column>,
        ratios: &[f64],
        param: Span,
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        let mut capped = Vec::with_capacity(grid.len);
        for r in ratios {
            if r.is_nan() {
                return execution("Ratio value is NaN");
            }
            let to = r.clamp(-1.0, 1.0);
            if to != *r {
                let message = format!(
                    "ratio value should be between -1 and 1, got {}, capping to {}",
                    general(*r),
                    general(to)
                );
                self.annotations.warn(param, message);
            }
            capped.push(to);
        }
        for c in &mut columns {
            let place = unit_hash(&c.labels);
            for (i, r) in capped.iter().enumerate() {
                let inside = if *r >= 0.0 { place < *r } else { place >= 1.0 + r };
                if !inside {
                    c.clear(i);
                }
            }
        }
        columns.retain(|c| !c.is_empty());
        Ok(columns)
    }

    fn count_values(
        &mut self,
        a: &Aggregate,
        label: &str,
        columns: &[Column],
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        if label.is_empty() {
            return execution(format!("invalid label name {label:?}"));
        }
        // The value's label groups as if it had been named.
        let mut with_label = a.clone();
        if !a.without {
            with_label.grouping.push(label.to_owned());
        }
        let mut index: HashMap<Labels, usize> = HashMap::new();
        let mut out: Vec<Column> = Vec::new();
        for c in columns {
            self.cancel.check()?;
            for i in 0..grid.len {
                let text = match c.get(i) {
                    None => continue,
                    Some(Value::Float(v)) => plain(v),
                    Some(Value::Histogram(h)) => histograms::text(&h),
                };
                let length = text.len();
                let labels = group_labels(&with_label, &c.labels.with(label, text));
                let target = match index.get(&labels) {
                    Some(target) => *target,
                    None => {
                        self.hold(grid.len)?;
                        self.quota.hold_series(1)?;
                        self.quota.hold_each(1, length)?;
                        index.insert(labels.clone(), out.len());
                        out.push(Column::empty(labels, false, grid.len));
                        out.len() - 1
                    }
                };
                let count = out[target].float(i).unwrap_or(0.0);
                out[target].values[i] = count + 1.0;
            }
        }
        Ok(out)
    }
}

fn check_k(k: &[f64]) -> Result<(), EvalError> {
    for k in k {
        if k.is_nan() {
            return execution("Parameter value is NaN");
        }
        if *k <= -9.223_372_036_854_776e18 {
            return execution(format!("Scalar value {k} underflows int64"));
        }
        if *k >= 9.223_372_036_854_775e18 {
            return execution(format!("Scalar value {k} overflows int64"));
        }
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
fn whole(k: f64) -> usize {
    k.max(0.0) as usize
}

/// A number's digits without exponent, as it stands in a label.
fn plain(v: f64) -> String {
    match v {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        v => format!("{v}"),
    }
}

/// The labels' place between 0 and 1, the same in every process. The hash is mixed once more, because its high
/// bits vary little between similar labels.
#[expect(clippy::cast_precision_loss, reason = "only the order of magnitude counts")]
fn unit_hash(labels: &Labels) -> f64 {
    let mut h = labels.stable_hash();
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (h ^ (h >> 33)) as f64 / u64::MAX as f64
}

/// Orders by value for `sort`, with NaN at the end whichever way.
pub(crate) fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ => {
            let ascending = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descending { ascending.reverse() } else { ascending }
        }
    }
}
