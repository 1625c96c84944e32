//! `info()`: adds the labels of info metrics such as `target_info` to series.

use super::{
    EvalError,
    column::{Column, Grid},
    eval::{Evaluator, execution, merge_same_labels},
    select::{Field, seconds},
};
use crate::{
    ast::{At, Call, Duration, DurationKind, Expr, ExprKind, Number, Selector},
    error::Span,
};
use model::{Labels, LabelsBuilder, MatchOp, Matcher, labels::METRIC_NAME};
use std::collections::{BTreeMap, HashMap};

/// The labels by which series and info metrics find each other.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
const DEFAULT_INFO: &str = "target_info";

impl Evaluator<'_> {
    pub(crate) fn info(&mut self, call: &Call, grid: &Grid) -> Result<Vec<Column>, EvalError> {
        let base = self.eval_vector(&call.args[0], grid)?;
        let mut names: Vec<Matcher> = Vec::new();
        let mut wanted: BTreeMap<String, Vec<Matcher>> = BTreeMap::new();
        if let Some(arg) = call.args.get(1) {
            let ExprKind::Selector(s) = &arg.unparen().kind else {
                return execution("the second argument of info() must be label selectors");
            };
            for m in &s.matchers {
                if &*m.name == METRIC_NAME {
                    names.push(m.clone());
                } else {
                    wanted.entry(m.name.to_string()).or_default().push(m.clone());
                }
            }
        }
        if names.is_empty() {
            names.push(Matcher::eq(METRIC_NAME, DEFAULT_INFO));
        }
        // Series that are info metrics themselves stay as they are; which metrics are, a negative matcher alone
        // does not say.
        let positive = names.iter().any(|m| !m.op.is_negative());
        if !positive {
            names.push(any_info()?);
        }
        let is_info = |c: &Column| positive && names.iter().all(|m| m.matches(c.labels.metric_name()));
        let mut matchers = names.clone();
        for name in IDENTIFYING {
            let values: Vec<&str> = base
                .iter()
                .filter(|c| !is_info(c))
                .map(|c| c.labels.value(name))
                .filter(|v| !v.is_empty())
                .collect();
            if let Some(m) = one_of(name, &values) {
                matchers.push(m);
            }
        }
        // Matchers that also accept absence must not keep info series out.
        matchers.extend(wanted.values().flatten().filter(|m| !m.matches_empty()).cloned());
        // Info metrics are looked up when the series' samples were.
        let (at, offset) = self.reference(&call.args[0])?;
        let offset = (offset != 0).then(|| Duration {
            span: call.args[0].span,
            kind: DurationKind::Number(Number { value: seconds(offset), duration: true }),
        });
        let selector = Selector { name: None, matchers, range: None, offset, at, extent: None };
        let infos = if base.iter().all(is_info) {
            Vec::new()
        } else {
            self.instant_selector(&selector, call.args[0].span, grid)?
        };
        if infos.iter().any(|c| c.histograms.iter().any(Option::is_some)) {
            return execution("this should be an info metric, with float samples: it has histograms");
        }
        let times = self.instant_times(&selector, &infos, grid)?;
        let mut by_identity: HashMap<Labels, Vec<usize>> = HashMap::new();
        for (i, c) in infos.iter().enumerate() {
            by_identity.entry(c.labels.keep(&IDENTIFYING)).or_default().push(i);
        }
        let required = wanted.values().any(|m| m.iter().any(|m| !m.matches_empty()));
        let mut out = Vec::new();
        for c in base {
            self.cancel.check()?;
            if is_info(&c) {
                out.push(c);
                continue;
            }
            let partners = by_identity.get(&c.labels.keep(&IDENTIFYING)).map_or(&[][..], Vec::as_slice);
            self.enrich(&c, partners, (&infos, &times), &wanted, required, grid, &mut out)?;
        }
        merge_same_labels(out)
    }

    /// When the samples behind the info columns were taken, to prefer the newest of several.
    fn instant_times(
        &mut self,
        s: &Selector,
        infos: &[Column],
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        if infos.is_empty() {
            return Ok(Vec::new());
        }
        self.instant_field(s, Span::default(), grid, Field::Time)
    }

    /// When the samples of an expression are taken, by the first selector in it: at a fixed time, or some
    /// milliseconds before the step.
    fn reference(&self, expr: &Expr) -> Result<(Option<At>, i64), EvalError> {
        match &expr.kind {
            ExprKind::Selector(s) => Ok((s.at, self.offset(s.offset.as_ref())?)),
            ExprKind::Subquery(s) => {
                let (at, offset) = self.reference(&s.expr)?;
                if at.is_some() {
                    return Ok((at, offset));
                }
                Ok((s.at, offset + self.offset(s.offset.as_ref())?))
            }
            _ => {
                for child in expr.children() {
                    if !child.selectors().is_empty() {
                        return self.reference(child);
                    }
                }
                Ok((None, 0))
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one join, all of whose parts differ")]
    fn enrich(
        &mut self,
        base: &Column,
        partners: &[usize],
        (infos, times): (&[Column], &[Column]),
        wanted: &BTreeMap<String, Vec<Matcher>>,
        required: bool,
        grid: &Grid,
        out: &mut Vec<Column>,
    ) -> Result<(), EvalError> {
        let mut made: HashMap<Labels, usize> = HashMap::new();
        for i in 0..grid.len {
            let Some(value) = base.get(i) else { continue };
            // Of each info metric the newest sample counts.
            let mut newest: BTreeMap<&str, usize> = BTreeMap::new();
            for p in partners.iter().copied().filter(|p| infos[*p].present(i)) {
                let name = infos[p].labels.metric_name();
                match newest.get(name).copied() {
                    Some(old) => match times[p].values[i].partial_cmp(&times[old].values[i]) {
                        Some(std::cmp::Ordering::Greater) => {
                            newest.insert(name, p);
                        }
                        Some(std::cmp::Ordering::Equal) => {
                            return execution(format!(
                                "found duplicate series for info metric: existing {} @ {}, new {} @ {}",
                                infos[old].labels, times[old].values[i], infos[p].labels, times[p].values[i]
                            ));
                        }
                        _ => {}
                    },
                    None => {
                        newest.insert(name, p);
                    }
                }
            }
            if newest.is_empty() && required {
                continue;
            }
            let mut labels = LabelsBuilder::default();
            for p in newest.values() {
                for l in &infos[*p].labels {
                    let identifying = &*l.name == METRIC_NAME || IDENTIFYING.contains(&&*l.name);
                    if identifying || !wanted.is_empty() && !wanted.contains_key(&*l.name) {
                        continue;
                    }
                    // The series' own labels win.
                    if base.labels.get(&l.name).is_some() {
                        continue;
                    }
                    let known = labels.value(&l.name);
                    if !known.is_empty() && known != &*l.value {
                        return execution(format!("conflicting label: {}", l.name));
                    }
                    labels.set(std::sync::Arc::clone(&l.name), std::sync::Arc::clone(&l.value));
                }
            }
            let mut full = base.labels.edit();
            for l in labels.build().iter() {
                full.set(std::sync::Arc::clone(&l.name), std::sync::Arc::clone(&l.value));
            }
            let full = full.build();
            let target = match made.get(&full) {
                Some(target) => *target,
                None => {
                    made.insert(full.clone(), out.len());
                    out.push(Column::empty(full, base.drop_name, grid.len));
                    out.len() - 1
                }
            };
            out[target].set(i, value);
        }
        Ok(())
    }
}

/// A matcher for the usual names of info metrics.
fn any_info() -> Result<Matcher, EvalError> {
    Matcher::new(METRIC_NAME, MatchOp::Re, ".+_info").map_err(|e| EvalError::Execution(e.to_string()))
}

/// A matcher for any of these values, `None` when there are none.
fn one_of(name: &str, values: &[&str]) -> Option<Matcher> {
    let mut values: Vec<String> = values.iter().map(|v| regex::escape(v)).collect();
    values.sort();
    values.dedup();
    if values.is_empty() {
        return None;
    }
    Matcher::new(name, MatchOp::Re, values.join("|")).ok()
}
