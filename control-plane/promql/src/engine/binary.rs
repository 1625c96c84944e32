//! Binary operators: between scalars, a vector and a scalar, and two vectors with their matching.

use super::{
    EvalError,
    column::{Column, Grid, is_absent},
    elements::{self, Place},
    eval::{Evaluated, Evaluator, IDENTITY, SAME_LABELS, execution, nameless},
};
use crate::ast::{Binary, BinaryOp, Cardinality, Expr, Fill, Matching};
use model::{Labels, Value, labels::METRIC_NAME};
use std::collections::HashMap;

/// Whether the operator makes another metric of it, so that its name goes.
fn changes_metric(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow | Atan2)
}

/// The labels by which series of the two sides find each other.
fn signature(labels: &Labels, m: &Matching) -> Labels {
    if m.on {
        labels.keep(&m.labels)
    } else {
        let mut edit = labels.edit();
        edit.retain(|l| &*l.name != METRIC_NAME && !m.labels.iter().any(|n| **n == *l.name));
        edit.build()
    }
}

/// Signatures as small numbers.
#[derive(Debug, Default)]
struct Signatures(HashMap<Labels, usize>);

impl Signatures {
    fn number(&mut self, labels: Labels) -> usize {
        let next = self.0.len();
        *self.0.entry(labels).or_insert(next)
    }
}

/// The columns of each signature.
fn groups(signatures: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut out = vec![Vec::new(); count];
    for (i, s) in signatures.iter().enumerate() {
        out[*s].push(i);
    }
    out
}

impl Evaluator<'_> {
    pub(crate) fn binary(&mut self, expr: &Expr, b: &Binary, grid: &Grid) -> Result<Evaluated, EvalError> {
        let lhs = self.eval(&b.lhs, grid)?;
        let rhs = self.eval(&b.rhs, grid)?;
        let place = Place { op: b.op, span: expr.span };
        match (lhs, rhs) {
            (Evaluated::Scalar(mut l), Evaluated::Scalar(r)) => {
                for (x, y) in l.iter_mut().zip(r) {
                    let (value, holds) = elements::floats(b.op, *x, y);
                    *x = if b.op.is_comparison() { f64::from(u8::from(holds)) } else { value };
                }
                Ok(Evaluated::Scalar(l))
            }
            (Evaluated::Vector(l), Evaluated::Scalar(r)) => self.with_scalar(b, place, l, &r, false),
            (Evaluated::Scalar(l), Evaluated::Vector(r)) => self.with_scalar(b, place, r, &l, true),
            (Evaluated::Vector(l), Evaluated::Vector(r)) => match b.op {
                BinaryOp::And => Ok(Evaluated::Vector(and_unless(&b.matching, l, &r, grid, true))),
                BinaryOp::Unless => Ok(Evaluated::Vector(and_unless(&b.matching, l, &r, grid, false))),
                BinaryOp::Or => Ok(Evaluated::Vector(or(&b.matching, l, r, grid)?)),
                _ => self.vectors(b, place, l, r, grid).map(Evaluated::Vector),
            },
            _ => execution(format!(
                "operator {} is not defined between {} and {}",
                b.op.as_str(),
                b.lhs.value_type().as_str(),
                b.rhs.value_type().as_str()
            )),
        }
    }

    fn with_scalar(
        &mut self,
        b: &Binary,
        place: Place,
        mut columns: Vec<Column>,
        scalar: &[f64],
        scalar_left: bool,
    ) -> Result<Evaluated, EvalError> {
        let comparison = b.op.is_comparison();
        for c in &mut columns {
            self.cancel.check()?;
            for (i, s) in scalar.iter().enumerate() {
                if let (Some(v), false) =
                    (c.float(i), matches!(b.op, BinaryOp::TrimUpper | BinaryOp::TrimLower))
                {
                    let (result, keep) = if scalar_left {
                        elements::floats(b.op, *s, v)
                    } else {
                        elements::floats(b.op, v, *s)
                    };
                    c.values[i] = match (comparison, b.return_bool, keep) {
                        (true, true, keep) => f64::from(u8::from(keep)),
                        // A comparison filters the vector's values, whichever side it stands on.
                        (true, false, true) => v,
                        (true, false, false) => super::column::ABSENT,
                        (false, ..) => result,
                    };
                    continue;
                }
                let Some(value) = c.get(i) else { continue };
                let number = Value::Float(*s);
                let (left, right) = if scalar_left { (&number, &value) } else { (&value, &number) };
                let out = elements::values(place, left, right, &mut self.annotations);
                match out.value {
                    None => c.clear(i),
                    Some(_) if b.return_bool => c.set(i, Value::Float(f64::from(u8::from(out.keep)))),
                    Some(_) if !out.keep => c.clear(i),
                    Some(_) if comparison => {}
                    Some(result) => c.set(i, result),
                }
            }
        }
        if changes_metric(b.op) || b.return_bool {
            columns = self.without_name(columns)?;
        }
        Ok(Evaluated::Vector(columns))
    }

    /// Arithmetic and comparisons between vectors.
    fn vectors(
        &mut self,
        b: &Binary,
        place: Place,
        lhs: Vec<Column>,
        rhs: Vec<Column>,
        grid: &Grid,
    ) -> Result<Vec<Column>, EvalError> {
        let m = &b.matching;
        // From here on the right side is the "one" side.
        let swapped = m.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        // With group_right, fill_left fills the right side, which Prometheus takes for the left one here; its own
        // tests demand it.
        let (fill_many, fill_one) = (m.fill_left, m.fill_right);
        if (many.is_empty() && fill_many.is_none()) || (one.is_empty() && fill_one.is_none()) {
            return Ok(Vec::new());
        }
        let mut names = Signatures::default();
        let many_signatures: Vec<usize> =
            many.iter().map(|c| names.number(signature(&c.labels, m))).collect();
        let one_signatures: Vec<usize> = one.iter().map(|c| names.number(signature(&c.labels, m))).collect();
        let many_groups = groups(&many_signatures, names.0.len());
        let one_groups = groups(&one_signatures, names.0.len());
        let matcher = Matcher { b, place, swapped, grid, many: &many, one: &one };
        matcher.unique_ones(&one_groups, fill_many.is_some())?;

        if m.cardinality == Cardinality::OneToOne {
            matcher.explicit(&many_groups, &one_groups, fill_one.is_some())?;
        }

        let mut out = Output::default();
        // In the order of the left side's series, then of those that only the fill value meets.
        for (i, signature) in many_signatures.iter().enumerate() {
            self.cancel.check()?;
            let alone = many_groups[*signature].len() == 1;
            let before = out.columns.len();
            matcher.match_one(self, i, &one_groups[*signature], fill_one, alone, &mut out)?;
            // One series may meet another one at each step, and each pair is a series of the result.
            let made = out.columns.len() - before;
            self.hold(grid.len.saturating_mul(made))?;
            self.quota.hold_series(made)?;
        }
        if let Some(fill) = fill_many {
            for (j, signature) in one_signatures.iter().enumerate() {
                matcher.fill(self, j, &many_groups[*signature], fill, &mut out)?;
            }
        }
        Ok(out.columns)
    }
}

/// The result under construction.
#[derive(Debug, Default)]
struct Output {
    columns: Vec<Column>,
    by_labels: HashMap<Labels, usize>,
    /// For grouped matching: at which steps a column was written to or would have been.
    touched: Vec<Vec<bool>>,
}

impl Output {
    fn column(&mut self, labels: Labels, drop_name: bool, len: usize) -> usize {
        if let Some(i) = self.by_labels.get(&labels) {
            return *i;
        }
        let i = self.columns.len();
        self.by_labels.insert(labels.clone(), i);
        self.columns.push(Column::empty(labels, drop_name, len));
        self.touched.push(Vec::new());
        i
    }
}

struct Matcher<'a> {
    b: &'a Binary,
    place: Place,
    swapped: bool,
    grid: &'a Grid,
    many: &'a [Column],
    one: &'a [Column],
}

impl Matcher<'_> {
    /// At no step may two series of the "one" side have the same signature.
    fn unique_ones(&self, groups: &[Vec<usize>], filled: bool) -> Result<(), EvalError> {
        for group in groups.iter().filter(|g| g.len() > 1) {
            for step in 0..self.grid.len {
                let mut present = group.iter().filter(|j| self.one[**j].present(step));
                let (Some(first), Some(second)) = (present.next(), present.next()) else { continue };
                if !filled && !self.many.iter().any(|c| c.present(step)) {
                    continue;
                }
                let side = if self.swapped { "left" } else { "right" };
                let (a, b) = (&self.one[*first].labels, &self.one[*second].labels);
                return execution(format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the operation: [{b}, {a}];many-to-many matching not allowed: matching labels must be unique on one side",
                    signature(b, &self.b.matching)
                ));
            }
        }
        Ok(())
    }

    /// At no step may two series of the left side meet the same one on the right without `group_left`.
    fn explicit(&self, many: &[Vec<usize>], one: &[Vec<usize>], filled: bool) -> Result<(), EvalError> {
        for (group, ones) in many.iter().zip(one).filter(|(g, _)| g.len() > 1) {
            for step in 0..self.grid.len {
                let present = group.iter().filter(|i| self.many[**i].present(step)).count();
                if present > 1 && (filled || ones.iter().any(|j| self.one[*j].present(step))) {
                    return execution(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                    );
                }
            }
        }
        Ok(())
    }

    /// The labels of a result of these two.
    fn labels(&self, many: &Labels, one: &Labels) -> Labels {
        let m = &self.b.matching;
        let mut labels = many.edit();
        if changes_metric(self.b.op) {
            labels.retain(|l| !IDENTITY.contains(&&*l.name));
        }
        if m.cardinality == Cardinality::OneToOne {
            labels.retain(|l| m.labels.iter().any(|n| **n == *l.name) == m.on);
        }
        for name in &m.include {
            labels.set(name.as_str(), one.value(name));
        }
        labels.build()
    }

    fn output(
        &self,
        e: &Evaluator<'_>,
        many: &Labels,
        one: &Labels,
        dropped: bool,
        out: &mut Output,
    ) -> usize {
        let mut labels = self.labels(many, one);
        if self.b.return_bool && !e.config.delayed_name_removal {
            labels = nameless(&labels);
        }
        out.column(labels, self.b.return_bool || dropped, self.grid.len)
    }

    /// Combines one series of the left side with whatever it meets at each step.
    fn match_one(
        &self,
        e: &mut Evaluator<'_>,
        i: usize,
        ones: &[usize],
        fill: Option<Fill>,
        alone: bool,
        out: &mut Output,
    ) -> Result<(), EvalError> {
        let many = &self.many[i];
        // The usual case: one series on either side, floats only, nothing to fill, nothing to check.
        if let ([j], None, true) = (ones, fill, alone)
            && self.one[*j].histograms.is_empty()
            && many.histograms.is_empty()
            && self.b.matching.cardinality == Cardinality::OneToOne
            && !matches!(self.b.op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
        {
            let one = &self.one[*j];
            let target = self.output(e, &many.labels, &one.labels, many.drop_name, out);
            let column = &mut out.columns[target];
            for (step, (x, y)) in many.values.iter().zip(&one.values).enumerate() {
                if is_absent(*x) || is_absent(*y) {
                    continue;
                }
                let (mut value, keep) = elements::floats(self.b.op, *x, *y);
                if self.b.return_bool {
                    value = f64::from(u8::from(keep));
                } else if !keep {
                    continue;
                }
                if !is_absent(column.values[step]) {
                    return execution(SAME_LABELS);
                }
                column.values[step] = value;
            }
            return Ok(());
        }
        let filled = signature(&many.labels, &self.b.matching);
        let mut targets: Vec<Option<usize>> = vec![None; ones.len() + 1];
        for step in 0..self.grid.len {
            let Some(value) = many.get(step) else { continue };
            let met = ones.iter().position(|j| self.one[*j].present(step));
            let (slot, other, labels) = match (met, fill) {
                (Some(slot), _) => {
                    let one = &self.one[ones[slot]];
                    let Some(other) = one.get(step) else { continue };
                    (slot, other, &one.labels)
                }
                (None, Some(fill)) => (ones.len(), Value::Float(fill.0), &filled),
                (None, None) => continue,
            };
            let target = match targets[slot] {
                Some(target) => target,
                None => {
                    let target = self.output(e, &many.labels, labels, many.drop_name, out);
                    targets[slot] = Some(target);
                    target
                }
            };
            self.write(e, step, target, &value, &other, out)?;
        }
        Ok(())
    }

    /// Combines a series of the "one" side with the fill value at steps where nothing meets it.
    fn fill(
        &self,
        e: &mut Evaluator<'_>,
        j: usize,
        many: &[usize],
        fill: Fill,
        out: &mut Output,
    ) -> Result<(), EvalError> {
        let one = &self.one[j];
        let mut target = None;
        for step in 0..self.grid.len {
            let Some(other) = one.get(step) else { continue };
            if many.iter().any(|i| self.many[*i].present(step)) {
                continue;
            }
            let target = *target.get_or_insert_with(|| {
                let labels = signature(&one.labels, &self.b.matching);
                self.output(e, &labels, &one.labels, false, out)
            });
            self.write(e, step, target, &Value::Float(fill.0), &other, out)?;
        }
        Ok(())
    }

    fn write(
        &self,
        e: &mut Evaluator<'_>,
        step: usize,
        target: usize,
        many: &Value,
        one: &Value,
        out: &mut Output,
    ) -> Result<(), EvalError> {
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        let outcome = elements::values(self.place, left, right, &mut e.annotations);
        let Some(value) = outcome.value else { return Ok(()) };
        if self.b.matching.cardinality != Cardinality::OneToOne {
            let touched = &mut out.touched[target];
            touched.resize(self.grid.len, false);
            if std::mem::replace(&mut touched[step], true) {
                return execution("multiple matches for labels: grouping labels must ensure unique matches");
            }
        }
        let value = match (self.b.return_bool, outcome.keep) {
            (true, keep) => Value::Float(f64::from(u8::from(keep))),
            (false, true) => value,
            (false, false) => return Ok(()),
        };
        if out.columns[target].present(step) {
            return execution(SAME_LABELS);
        }
        out.columns[target].set(step, value);
        Ok(())
    }
}

/// For each signature, at which steps one of these columns has a value.
fn presence(columns: &[Column], signatures: &[usize], count: usize, grid: &Grid) -> Vec<Vec<bool>> {
    let mut out = vec![Vec::new(); count];
    for (c, s) in columns.iter().zip(signatures) {
        let steps: &mut Vec<bool> = &mut out[*s];
        steps.resize(grid.len, false);
        for (i, step) in steps.iter_mut().enumerate() {
            *step = *step || c.present(i);
        }
    }
    out
}

fn and_unless(m: &Matching, mut lhs: Vec<Column>, rhs: &[Column], grid: &Grid, and: bool) -> Vec<Column> {
    let mut names = Signatures::default();
    let left: Vec<usize> = lhs.iter().map(|c| names.number(signature(&c.labels, m))).collect();
    let right: Vec<usize> = rhs.iter().map(|c| names.number(signature(&c.labels, m))).collect();
    let present = presence(rhs, &right, names.0.len(), grid);
    for (c, s) in lhs.iter_mut().zip(left) {
        for i in 0..grid.len {
            if present[s].get(i).copied().unwrap_or(false) != and {
                c.clear(i);
            }
        }
    }
    lhs.retain(|c| !c.is_empty());
    lhs
}

fn or(m: &Matching, lhs: Vec<Column>, rhs: Vec<Column>, grid: &Grid) -> Result<Vec<Column>, EvalError> {
    let mut names = Signatures::default();
    let left: Vec<usize> = lhs.iter().map(|c| names.number(signature(&c.labels, m))).collect();
    let right: Vec<usize> = rhs.iter().map(|c| names.number(signature(&c.labels, m))).collect();
    let present = presence(&lhs, &left, names.0.len(), grid);
    // The same series may come from the left at some steps and from the right at others.
    let mut by_labels: HashMap<(Labels, bool), usize> = HashMap::new();
    let mut out = lhs;
    for (i, c) in out.iter().enumerate() {
        by_labels.insert((c.labels.clone(), c.drop_name), i);
    }
    for (mut c, s) in rhs.into_iter().zip(right) {
        for i in 0..grid.len {
            if present[s].get(i).copied().unwrap_or(false) {
                c.clear(i);
            }
        }
        if c.is_empty() {
            continue;
        }
        match by_labels.get(&(c.labels.clone(), c.drop_name)) {
            None => {
                by_labels.insert((c.labels.clone(), c.drop_name), out.len());
                out.push(c);
            }
            Some(target) => {
                for i in 0..grid.len {
                    let Some(value) = c.get(i) else { continue };
                    if out[*target].present(i) {
                        return execution(SAME_LABELS);
                    }
                    out[*target].set(i, value);
                }
            }
        }
    }
    Ok(out)
}
