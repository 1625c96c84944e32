//! Sub-expressions that several expressions have in common: evaluated together at one time, each is evaluated once.

use super::eval::Evaluated;
use crate::{
    ast::{Expr, ExprKind, ValueType},
    error::Span,
    value::Annotations,
};
use model::{MatchOp, labels::METRIC_NAME};
use std::{collections::HashMap, sync::Arc};

/// Which parts of some expressions occur more than once.
#[derive(Debug, Default)]
pub struct Repeats {
    /// For each expression, the parts that do, and their numbers.
    parts: Vec<HashMap<Span, usize>>,
    /// For each number, the metrics that it reads; `None` if that cannot be told.
    reads: Vec<Option<Vec<String>>>,
}

impl Repeats {
    /// Of expressions with the texts that they were parsed from.
    pub fn of(expressions: &[(&str, &Expr)]) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (text, expr) in expressions {
            each_part(text, expr, &mut |part, _| {
                *counts.entry(part).or_default() += 1;
                true
            });
        }
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut repeats = Repeats::default();
        for (text, expr) in expressions {
            let mut parts = HashMap::new();
            collect(text, expr, 1, &counts, &mut |part, expr| {
                let number = *numbers.entry(part).or_insert_with(|| {
                    repeats.reads.push(reads(expr));
                    repeats.reads.len() - 1
                });
                parts.insert(expr.span, number);
            });
            repeats.parts.push(parts);
        }
        repeats
    }

    /// What is kept while the expressions are evaluated at one time.
    pub fn begin(self: &Arc<Self>) -> Shared {
        Shared { repeats: Arc::clone(self), kept: self.reads.iter().map(|_| None).collect() }
    }
}

fn part<'t>(text: &'t str, expr: &Expr) -> Option<&'t str> {
    let whole = !matches!(expr.kind, ExprKind::Number(_) | ExprKind::String(_));
    let part = text.get(expr.span.start..expr.span.end)?;
    (whole && expr.value_type() != ValueType::Matrix && !part.is_empty()).then_some(part)
}

/// Parts that are evaluated at the query's own time, with their texts; below a part if `visit` says so.
fn each_part<'t, 'e>(text: &'t str, expr: &'e Expr, visit: &mut dyn FnMut(&'t str, &'e Expr) -> bool) {
    if let Some(part) = part(text, expr)
        && !visit(part, expr)
    {
        return;
    }
    if !matches!(expr.kind, ExprKind::Subquery(_)) {
        for child in expr.children() {
            // What a part shares its place with is not told from it.
            if child.span != expr.span {
                each_part(text, child, visit);
            }
        }
    }
}

/// Finds the parts that occur more often than the part around them does.
fn collect<'t, 'e>(
    text: &'t str,
    expr: &'e Expr,
    around: usize,
    counts: &HashMap<&str, usize>,
    found: &mut dyn FnMut(&'t str, &'e Expr),
) {
    let mut inner = Vec::new();
    each_part(text, expr, &mut |part, expr| {
        let count = counts.get(part).copied().unwrap_or(0);
        if count > around {
            found(part, expr);
            inner.push((expr, count));
            return false;
        }
        true
    });
    for (expr, count) in inner {
        if !matches!(expr.kind, ExprKind::Subquery(_)) {
            expr.children().into_iter().for_each(|child| collect(text, child, count, counts, found));
        }
    }
}

fn reads(expr: &Expr) -> Option<Vec<String>> {
    let mut names = Some(Vec::new());
    expr.walk(&mut |e| {
        if let ExprKind::Selector(s) = &e.kind {
            let name = s.matchers.iter().find(|m| &*m.name == METRIC_NAME && m.op == MatchOp::Eq);
            match (name, &mut names) {
                (Some(name), Some(names)) => names.push(name.value.to_string()),
                _ => names = None,
            }
        }
        // It looks for metrics that it does not name.
        if let ExprKind::Call(call) = &e.kind
            && call.function.name == "info"
        {
            names = None;
        }
    });
    names
}

/// Values of repeated parts, while all expressions are evaluated at one time.
#[derive(Debug)]
pub struct Shared {
    repeats: Arc<Repeats>,
    kept: Vec<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    value: Evaluated,
    /// Where the part that it was evaluated for begins, and what was remarked there.
    start: usize,
    annotations: Annotations,
}

impl Shared {
    /// A metric was written at the time of evaluation: what reads it is evaluated anew.
    pub fn written(&mut self, metric: &str) {
        for (kept, reads) in self.kept.iter_mut().zip(&self.repeats.reads) {
            if kept.is_some() && reads.as_ref().is_none_or(|names| names.iter().any(|n| n == metric)) {
                *kept = None;
            }
        }
    }

    /// The number of a part of an expression, if it is repeated.
    pub(super) fn number(&self, expression: usize, expr: &Expr) -> Option<usize> {
        self.repeats.parts.get(expression)?.get(&expr.span).copied()
    }

    pub(super) fn get(&self, number: usize, expr: &Expr, annotations: &mut Annotations) -> Option<Evaluated> {
        let kept = self.kept.get(number)?.as_ref()?;
        annotations.extend_moved(&kept.annotations, kept.start, expr.span.start);
        Some(kept.value.clone())
    }

    pub(super) fn keep(&mut self, number: usize, expr: &Expr, value: &Evaluated, annotations: &Annotations) {
        if let Some(place) = self.kept.get_mut(number) {
            let (value, annotations) = (value.clone(), annotations.clone());
            *place = Some(Kept { value, start: expr.span.start, annotations });
        }
    }
}
