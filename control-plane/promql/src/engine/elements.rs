//! One operator between two values: floats, histograms, or one of each.

use super::histograms;
use crate::{ast::BinaryOp, error::Span, histogram, value::Annotations};
use model::{CounterReset, Histogram, Value};
use std::sync::Arc;

/// What an operator makes of two values.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The result; `None` if the operator has none for these types.
    pub(crate) value: Option<Value>,
    /// For comparisons, whether it holds; else true.
    pub(crate) keep: bool,
}

/// Where an operator stands, for its remarks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) op: BinaryOp,
    pub(crate) span: Span,
}

/// Two floats. For comparisons the result is the left one.
#[inline]
pub(crate) fn floats(op: BinaryOp, a: f64, b: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (a + b, true),
        BinaryOp::Sub => (a - b, true),
        BinaryOp::Mul => (a * b, true),
        BinaryOp::Div => (a / b, true),
        BinaryOp::Mod => (a % b, true),
        BinaryOp::Pow => (power(a, b), true),
        BinaryOp::Atan2 => (a.atan2(b), true),
        BinaryOp::Eq => (a, a == b),
        BinaryOp::Ne => (a, a != b),
        BinaryOp::Lt => (a, a < b),
        BinaryOp::Le => (a, a <= b),
        BinaryOp::Gt => (a, a > b),
        BinaryOp::Ge => (a, a >= b),
        BinaryOp::TrimUpper | BinaryOp::TrimLower | BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => {
            (f64::NAN, false)
        }
    }
}

fn power(a: f64, b: f64) -> f64 {
    // As Go has it, for (-1)^±Inf; IEEE says the same.
    a.powf(b)
}

/// Two values of any kind.
pub(crate) fn values(place: Place, a: &Value, b: &Value, annotations: &mut Annotations) -> Outcome {
    let op = place.op;
    match (a, b) {
        (Value::Float(x), Value::Float(y)) => {
            if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
                return incompatible(place, "float", "float", annotations);
            }
            let (v, keep) = floats(op, *x, *y);
            Outcome { value: Some(Value::Float(v)), keep }
        }
        (Value::Float(x), Value::Histogram(h)) => match op {
            BinaryOp::Mul => made(histograms::scaled(h, *x)),
            _ => incompatible(place, "float", "histogram", annotations),
        },
        (Value::Histogram(h), Value::Float(y)) => match op {
            BinaryOp::Mul => made(histograms::scaled(h, *y)),
            BinaryOp::Div => made(histograms::divided(h, *y)),
            BinaryOp::TrimUpper => made(histograms::trim(h, *y, true)),
            BinaryOp::TrimLower => made(histograms::trim(h, *y, false)),
            _ => incompatible(place, "histogram", "float", annotations),
        },
        (Value::Histogram(x), Value::Histogram(y)) => match op {
            BinaryOp::Add => combined(place, histogram::add(x, y), "addition", annotations),
            BinaryOp::Sub => {
                let mut out = combined(place, histogram::sub(x, y), "subtraction", annotations);
                if let Some(Value::Histogram(h)) = &mut out.value {
                    Arc::make_mut(h).reset = CounterReset::Gauge;
                }
                out
            }
            BinaryOp::Eq | BinaryOp::Ne => {
                let keep = histograms::equal(x, y) == (op == BinaryOp::Eq);
                Outcome { value: Some(Value::Histogram(Arc::clone(x))), keep }
            }
            _ => incompatible(place, "histogram", "histogram", annotations),
        },
    }
}

fn made(h: Histogram) -> Outcome {
    Outcome { value: Some(Value::Histogram(Arc::new(h))), keep: true }
}

fn combined(
    place: Place,
    result: Result<(Histogram, histogram::Combined), histogram::Incompatible>,
    what: &str,
    annotations: &mut Annotations,
) -> Outcome {
    match result {
        Ok((h, how)) => {
            if how.reset_collision {
                annotations.warn(place.span, format!("conflicting counter resets during histogram {what}"));
            }
            if how.bounds_reconciled {
                let message = format!("mismatched custom buckets were reconciled during {what}");
                annotations.info(place.span, message);
            }
            made(h)
        }
        Err(histogram::Incompatible) => {
            let op = place.op.as_str();
            annotations
                .warn(place.span, format!("incompatible bucket layout encountered for binary operator {op}"));
            Outcome { value: None, keep: false }
        }
    }
}

fn incompatible(place: Place, left: &str, right: &str, annotations: &mut Annotations) -> Outcome {
    let op = place.op.as_str();
    let message =
        format!("incompatible sample types encountered for binary operator {op:?}: {left} {op} {right}");
    annotations.info(place.span, message);
    Outcome { value: None, keep: false }
}
