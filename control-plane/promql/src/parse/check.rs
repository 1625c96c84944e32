//! What a well-formed expression may still get wrong: types, numbers of arguments, matching, empty matchers.

use super::{describe, meant};
use crate::{
    ast::{Binary, Call, Cardinality, Expr, ExprKind, Selector, ValueType},
    error::{ParseError, Span},
};
use model::labels::METRIC_NAME;

/// Appends every problem of `expr` to `problems`.
pub(super) fn check(input: &str, expr: &Expr, problems: &mut Vec<ParseError>) {
    Checker { input, problems }.expr(expr);
}

struct Checker<'a> {
    input: &'a str,
    problems: &'a mut Vec<ParseError>,
}

impl Checker<'_> {
    fn problem(&mut self, span: Span, message: impl Into<String>) {
        if self.problems.len() >= super::MAX_PROBLEMS {
            return;
        }
        let e = ParseError::at(self.input, span, message);
        if !self.problems.contains(&e) {
            self.problems.push(e);
        }
    }

    fn expect(&mut self, expr: &Expr, wanted: ValueType, context: &str) {
        let got = expr.value_type();
        if got != wanted {
            self.problem(expr.span, describe(wanted, context, got));
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Selector(s) => self.selector(expr.span, s),
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Unary { expr: inner, .. } => {
                self.expr(inner);
                let t = inner.value_type();
                if !matches!(t, ValueType::Scalar | ValueType::Vector) {
                    let message = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                        t.as_str()
                    );
                    self.problem(expr.span, message);
                }
            }
            ExprKind::Subquery(s) => {
                self.expr(&s.expr);
                let t = s.expr.value_type();
                if t != ValueType::Vector {
                    let message =
                        format!("subquery is only allowed on instant vector, got {} instead", t.api_name());
                    self.problem(expr.span, message);
                }
            }
            ExprKind::Aggregate(a) => {
                if let (Some(param), Some(wanted)) = (&a.param, a.op.param()) {
                    self.expr(param);
                    self.expect(param, wanted, "aggregation parameter");
                }
                self.expr(&a.expr);
                self.expect(&a.expr, ValueType::Vector, "aggregation expression");
            }
            ExprKind::Call(c) => self.call(expr.span, c),
            ExprKind::Binary(b) => self.binary(expr.span, b),
        }
    }

    fn selector(&mut self, span: Span, s: &Selector) {
        if let Some(name) = &s.name {
            let others = s.matchers.len().saturating_sub(1);
            for m in s.matchers[..others].iter().filter(|m| &*m.name == METRIC_NAME) {
                self.problem(span, format!("metric name must not be set twice: {name:?} or {:?}", &*m.value));
            }
        } else if s.matchers.iter().all(model::Matcher::matches_empty) {
            self.problem(
                span,
                "vector selector must contain at least one non-empty matcher: without one it would select every series",
            );
        }
    }

    fn call(&mut self, span: Span, c: &Call) {
        let f = c.function;
        let (given, known) = (c.args.len(), f.args.len());
        let least = if f.variadic == 0 { known } else { known - 1 };
        let most = match usize::try_from(f.variadic) {
            Ok(0) => known,
            Ok(n) => known - 1 + n,
            Err(_) => usize::MAX,
        };
        let bound = match (given < least, given > most) {
            (false, false) => None,
            _ if f.variadic == 0 => Some(format!("{known}")),
            (true, _) => Some(format!("at least {least}")),
            (_, true) => Some(format!("at most {most}")),
        };
        if let Some(bound) = bound {
            self.problem(span, format!("expected {bound} argument(s) in call to {:?}, got {given}", f.name));
        }
        for (i, arg) in c.args.iter().enumerate() {
            if f.name == "info" && i == 1 {
                self.info_matchers(arg);
                continue;
            }
            self.expr(arg);
            if f.variadic == 0 && i >= known {
                continue;
            }
            if let Some(wanted) = f.args.get(i).or(f.args.last()) {
                let got = arg.value_type();
                if got != *wanted {
                    let context = format!("call to function {:?}", f.name);
                    let meant = meant::argument(self.input, f.name, *wanted, arg);
                    self.problem(arg.span, format!("{}{meant}", describe(*wanted, &context, got)));
                }
            }
        }
    }

    /// The second argument of `info()` looks like a selector but only carries matchers.
    fn info_matchers(&mut self, arg: &Expr) {
        match &arg.kind {
            ExprKind::Selector(s) if s.name.is_some() => {
                self.problem(arg.span, "expected label selectors only, got vector selector instead");
            }
            ExprKind::Selector(s) if s.range.is_none() => {}
            _ => self.problem(arg.span, "expected label selectors only"),
        }
    }

    /// The operator and its modifiers, without the blanks around them.
    fn operator_span(&self, b: &Binary) -> Span {
        let between = self.input.get(b.lhs.span.end..b.rhs.span.start).unwrap_or("");
        let start = b.lhs.span.end + (between.len() - between.trim_start().len());
        Span::new(start, start + between.trim().len())
    }

    fn binary(&mut self, span: Span, b: &Binary) {
        self.expr(&b.lhs);
        self.expr(&b.rhs);
        let (lt, rt) = (b.lhs.value_type(), b.rhs.value_type());
        let (scalar, vector) = (ValueType::Scalar, ValueType::Vector);
        let m = &b.matching;
        let op = b.op.as_str();
        if b.return_bool && !b.op.is_comparison() {
            self.problem(self.operator_span(b), "bool modifier can only be used on comparison operators");
        }
        if b.op.is_comparison() && !b.return_bool && lt == scalar && rt == scalar {
            let message = format!("comparisons between scalars must use BOOL modifier: write {op} bool");
            self.problem(self.operator_span(b), message);
        }
        if m.on
            && let Some(label) = m.labels.iter().find(|l| m.include.contains(l))
        {
            let message = format!("label {label:?} must not occur in ON and GROUP clause at once");
            self.problem(self.operator_span(b), message);
        }
        for (side, t) in [(&b.lhs, lt), (&b.rhs, rt)] {
            if t != scalar && t != vector {
                let message = format!(
                    "binary expression must contain only scalar and instant vector types, got {}",
                    t.as_str()
                );
                self.problem(side.span, message);
            }
        }
        let filled = m.fill_left.is_some() || m.fill_right.is_some();
        if lt != vector || rt != vector {
            if !m.labels.is_empty() {
                self.problem(span, "vector matching only allowed between instant vectors");
            }
            if filled {
                self.problem(span, "filling in missing series only allowed between instant vectors");
            }
        } else if b.op.is_set() {
            if m.cardinality != Cardinality::OneToOne {
                self.problem(span, format!("no grouping allowed for {op:?} operation"));
            }
            if filled {
                self.problem(span, "filling in missing series not allowed for set operators");
            }
        }
        if (lt == scalar || rt == scalar) && b.op.is_set() {
            self.problem(span, format!("set operator {op:?} not allowed in binary scalar expression"));
        }
    }
}
