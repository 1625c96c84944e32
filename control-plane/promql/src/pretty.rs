//! Syntax tree to text over several lines, in the layout of Prometheus's formatter: an expression of more than a
//! hundred bytes is taken apart, two spaces further in at each level.

use crate::{
    ast::{Expr, ExprKind},
    print::{Grouped, Operator, Window},
};
use std::fmt::Write;

/// What is no longer stays on one line.
const WIDTH: usize = 100;

impl Expr {
    /// This expression as people like to read it. Parsing the text gives the same tree again.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        pretty(&mut out, self, 0);
        out
    }
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

/// Each on lines of its own, with commas between them.
fn list<'a>(out: &mut String, items: impl IntoIterator<Item = &'a Expr>, level: usize) {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push_str(",\n");
        }
        pretty(out, item, level);
    }
}

fn pretty(out: &mut String, expr: &Expr, level: usize) {
    let line = expr.to_string();
    // A sign and a subquery take up what they stand at; what has no parts has nothing to take apart.
    let whole = line.len() <= WIDTH
        || matches!(expr.kind, ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_));
    if whole {
        indent(out, level);
        out.push_str(&line);
        return;
    }
    drop(line);
    // Writing into a String cannot fail.
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) => {}
        ExprKind::Subquery(s) => {
            pretty(out, &s.expr, level);
            let _infallible = write!(out, "{}", Window(s));
        }
        ExprKind::Call(c) => {
            indent(out, level);
            let _infallible = writeln!(out, "{}(", c.function.name);
            list(out, &c.args, level + 1);
            close(out, level);
        }
        ExprKind::Aggregate(a) => {
            indent(out, level);
            let _infallible = writeln!(out, "{}(", Grouped(a));
            list(out, a.param.as_deref().into_iter().chain([&*a.expr]), level + 1);
            close(out, level);
        }
        ExprKind::Binary(b) => {
            pretty(out, &b.lhs, level + 1);
            out.push('\n');
            indent(out, level);
            let _infallible = writeln!(out, "{}", Operator(b));
            pretty(out, &b.rhs, level + 1);
        }
        ExprKind::Unary { negative, expr } => {
            indent(out, level);
            out.push(if *negative { '-' } else { '+' });
            let mut of = String::new();
            pretty(&mut of, expr, level);
            out.push_str(of.trim_start());
        }
        ExprKind::Paren(inner) => {
            indent(out, level);
            out.push_str("(\n");
            pretty(out, inner, level + 1);
            close(out, level);
        }
    }
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}

#[cfg(test)]
mod tests {
    fn check(query: &str, want: &str) {
        let expr = crate::parse(query).expect("parses");
        let pretty = expr.pretty();
        assert_eq!(pretty, want, "{query}");
        assert_eq!(crate::parse(&pretty).expect("parses again"), expr);
    }

    #[test]
    fn what_is_short_stays_on_a_line() {
        check("foo/bar", "foo / bar");
        check("sum(rate(x[5m]))by(job)", "sum by (job) (rate(x[5m]))");
    }

    #[test]
    fn what_is_long_is_taken_apart() {
        check(
            "sum by (job) (rate(a_very_long_metric_name_of_requests_total{job=\"api\",code=\"500\"}[5m])) > bool on (job) group_left (x) (topk(3, b))",
            "  sum by (job) (rate(a_very_long_metric_name_of_requests_total{code=\"500\",job=\"api\"}[5m]))\n> bool on (job) group_left (x)\n  (topk(3, b))",
        );
        let name = "a".repeat(100);
        check(&format!("sum(-rate({name}[5m]))"), &format!("sum(\n  -rate(\n    {name}[5m]\n  )\n)"));
        check(
            &format!("quantile_over_time(0.9, ({name}[5m:1m]))"),
            &format!("quantile_over_time(\n  0.9,\n  (\n    {name}[5m:1m]\n  )\n)"),
        );
    }
}
