//! Syntax tree to text, in Prometheus's own layout. Parsing the text gives the same tree again.

use crate::ast::{
    Aggregate, At, Binary, Call, Cardinality, Duration, DurationKind, DurationOp, Expr, ExprKind, Extent,
    Number, Selector, Subquery,
};
use model::{labels, labels::METRIC_NAME};
use std::fmt;

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.value;
        if self.duration && v.is_finite() {
            let sign = if v.is_sign_negative() { "-" } else { "" };
            let text = model::duration::format(std::time::Duration::from_secs_f64(v.abs()));
            return write!(f, "{sign}{text}");
        }
        match v {
            v if v.is_nan() => f.write_str("NaN"),
            v if v.is_infinite() => f.write_str(if v > 0.0 { "+Inf" } else { "-Inf" }),
            v => write!(f, "{v}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(n) => n.fmt(f),
            ExprKind::String(s) => f.write_str(&labels::quote(s)),
            ExprKind::Selector(s) => s.fmt(f),
            ExprKind::Subquery(s) => s.fmt(f),
            ExprKind::Call(c) => c.fmt(f),
            ExprKind::Aggregate(a) => a.fmt(f),
            ExprKind::Binary(b) => b.fmt(f),
            ExprKind::Unary { negative, expr } => write!(f, "{}{expr}", if *negative { "-" } else { "+" }),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

/// Items with commas between them.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{item}")?;
        }
        Ok(())
    }
}

/// Label names in parentheses, quoted where they must be.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |n: &String| if labels::is_legacy_name(n) { n.clone() } else { labels::quote(n) };
        write!(f, "({})", List(&self.0.iter().map(quoted).collect::<Vec<_>>()))
    }
}

fn modifiers(f: &mut fmt::Formatter<'_>, offset: Option<&Duration>, at: Option<At>) -> fmt::Result {
    match at {
        None => {}
        Some(At::Start) => f.write_str(" @ start()")?,
        Some(At::End) => f.write_str(" @ end()")?,
        Some(At::Time(ms)) => {
            let sign = if ms < 0 { "-" } else { "" };
            let ms = ms.unsigned_abs();
            write!(f, " @ {sign}{}.{:03}", ms / 1000, ms % 1000)?;
        }
    }
    match offset {
        Some(offset) => write!(f, " offset {offset}"),
        None => Ok(()),
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match &self.name {
            Some(name) => {
                f.write_str(name)?;
                let is_name = |m: &model::Matcher| &*m.name == METRIC_NAME && &*m.value == name.as_str();
                match self.matchers.iter().rposition(is_name) {
                    Some(i) => self.matchers[..i].iter().chain(&self.matchers[i + 1..]).collect(),
                    None => self.matchers.iter().collect::<Vec<_>>(),
                }
            }
            None => self.matchers.iter().collect(),
        };
        if self.name.is_none() || !shown.is_empty() {
            let mut shown: Vec<String> = shown.into_iter().map(ToString::to_string).collect();
            shown.sort();
            write!(f, "{{{}}}", shown.join(","))?;
        }
        if let Some(range) = &self.range {
            write!(f, "[{range}]")?;
        }
        match self.extent {
            Some(Extent::Anchored) => f.write_str(" anchored")?,
            Some(Extent::Smoothed) => f.write_str(" smoothed")?,
            None => {}
        }
        modifiers(f, self.offset.as_ref(), self.at)
    }
}

impl fmt::Display for Subquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, Window(self))
    }
}

/// What stands behind the expression of a subquery.
pub(crate) struct Window<'a>(pub(crate) &'a Subquery);

impl fmt::Display for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window(of) = self;
        write!(f, "[{}:", of.range)?;
        if let Some(step) = &of.step {
            step.fmt(f)?;
        }
        f.write_str("]")?;
        modifiers(f, of.offset.as_ref(), of.at)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let infix = |op| match op {
            DurationOp::Add => "+",
            DurationOp::Sub => "-",
            DurationOp::Mul => "*",
            DurationOp::Div => "/",
            DurationOp::Mod => "%",
            _ => "^",
        };
        match &self.kind {
            DurationKind::Number(n) => n.fmt(f),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Sign { negative, of } => write!(f, "{}{of}", if *negative { "-" } else { "+" }),
            DurationKind::Paren(of) => write!(f, "({of})"),
            DurationKind::Binary(DurationOp::Min, l, r) => write!(f, "min_of({l}, {r})"),
            DurationKind::Binary(DurationOp::Max, l, r) => write!(f, "max_of({l}, {r})"),
            DurationKind::Binary(op, l, r) => write!(f, "{l} {} {r}", infix(*op)),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.function.name, List(&self.args))
    }
}

/// What stands before the parentheses of an aggregation.
pub(crate) struct Grouped<'a>(pub(crate) &'a Aggregate);

impl fmt::Display for Grouped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grouped(of) = self;
        f.write_str(of.op.as_str())?;
        if of.without {
            write!(f, " without {} ", Names(&of.grouping))
        } else if !of.grouping.is_empty() {
            write!(f, " by {} ", Names(&of.grouping))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Grouped(self).fmt(f)?;
        match &self.param {
            Some(param) => write!(f, "({param}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.lhs, Operator(self), self.rhs)
    }
}

/// An operator with its modifiers.
pub(crate) struct Operator<'a>(pub(crate) &'a Binary);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operator(of) = self;
        f.write_str(of.op.as_str())?;
        if of.return_bool {
            f.write_str(" bool")?;
        }
        let m = &of.matching;
        if m.on || !m.labels.is_empty() || m.cardinality != Cardinality::OneToOne {
            write!(f, " {} {}", if m.on { "on" } else { "ignoring" }, Names(&m.labels))?;
        }
        match m.cardinality {
            Cardinality::OneToOne => {}
            Cardinality::ManyToOne => write!(f, " group_left {}", Names(&m.include))?,
            Cardinality::OneToMany => write!(f, " group_right {}", Names(&m.include))?,
        }
        let number = |value| Number { value, duration: false };
        match (m.fill_left, m.fill_right) {
            (Some(l), Some(r)) if l == r => write!(f, " fill ({})", number(l.0))?,
            (l, r) => {
                if let Some(l) = l {
                    write!(f, " fill_left ({})", number(l.0))?;
                }
                if let Some(r) = r {
                    write!(f, " fill_right ({})", number(r.0))?;
                }
            }
        }
        Ok(())
    }
}
