//! `format_query` and `parse_query`: an expression as text and as a tree.

use super::{ApiFailure, success};
use crate::{
    Plane, Routes,
    access::Need,
    params::{Params, invalid},
};
use axum::response::Response;
use model::Matcher;
use promql::{
    Expr,
    ast::{At, Binary, Cardinality, Duration, DurationKind, ExprKind, Extent, Selector, ValueType},
};
use serde_json::{Map, Value, json};

pub(super) fn add(routes: &mut Routes, _: &Plane, need: Need) {
    routes.add_get_post("/api/v1/format_query", need, |params: Params| async move {
        Ok::<_, ApiFailure>(success(expression(&params)?.pretty()))
    });
    routes.add_get_post("/api/v1/parse_query", need, |params: Params| async move {
        Ok::<Response, ApiFailure>(success(tree(&expression(&params)?)))
    });
}

fn expression(params: &Params) -> Result<Expr, ApiFailure> {
    promql::parse(params.get("query").unwrap_or("")).map_err(|e| invalid("query", &e.to_string()))
}

/// A tree in the names that Prometheus has for its parts.
fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(n) => json!({"type": "numberLiteral", "val": decimal(n.value)}),
        ExprKind::String(s) => json!({"type": "stringLiteral", "val": s}),
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": tree(inner)}),
        ExprKind::Unary { negative, expr } => {
            json!({"type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": tree(expr)})
        }
        ExprKind::Selector(s) => selector(s),
        ExprKind::Subquery(s) => {
            let mut out = json!({
                "type": "subquery",
                "expr": tree(&s.expr),
                "range": milliseconds(Some(&s.range)),
                "step": milliseconds(s.step.as_ref()),
            });
            placed(&mut out, s.offset.as_ref(), s.at);
            out
        }
        ExprKind::Call(c) => {
            let types: Vec<&str> = c.function.args.iter().map(|t| t.api_name()).collect();
            json!({
                "type": "call",
                "func": {
                    "name": c.function.name,
                    "argTypes": types,
                    "variadic": c.function.variadic,
                    "returnType": c.function.returns.api_name(),
                },
                "args": c.args.iter().map(tree).collect::<Vec<Value>>(),
            })
        }
        ExprKind::Aggregate(a) => json!({
            "type": "aggregation",
            "op": a.op.as_str(),
            "expr": tree(&a.expr),
            "param": a.param.as_deref().map(tree),
            "grouping": a.grouping,
            "without": a.without,
        }),
        ExprKind::Binary(b) => json!({
            "type": "binaryExpr",
            "op": b.op.as_str(),
            "lhs": tree(&b.lhs),
            "rhs": tree(&b.rhs),
            "matching": matching(b),
            "bool": b.return_bool,
        }),
    }
}

/// `null` unless both sides have series.
fn matching(b: &Binary) -> Value {
    if b.lhs.value_type() != ValueType::Vector || b.rhs.value_type() != ValueType::Vector {
        return Value::Null;
    }
    let m = &b.matching;
    let card = match m.cardinality {
        _ if b.op.is_set() => "many-to-many",
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
    };
    // Numbers that JSON does not have are none.
    let fill = |f: Option<promql::ast::Fill>| f.map(|f| f.0);
    json!({
        "card": card,
        "labels": m.labels,
        "on": m.on,
        "include": m.include,
        "fillValues": {"lhs": fill(m.fill_left), "rhs": fill(m.fill_right)},
    })
}

fn selector(s: &Selector) -> Value {
    let matcher = |m: &Matcher| json!({"name": &*m.name, "value": &*m.value, "type": m.op.as_str()});
    let mut out = json!({
        "type": if s.range.is_some() { "matrixSelector" } else { "vectorSelector" },
        "name": s.name.as_deref().unwrap_or(""),
        "matchers": s.matchers.iter().map(matcher).collect::<Vec<Value>>(),
        "anchored": s.extent == Some(Extent::Anchored),
        "smoothed": s.extent == Some(Extent::Smoothed),
    });
    if s.range.is_some() {
        out["range"] = milliseconds(s.range.as_ref()).into();
    }
    placed(&mut out, s.offset.as_ref(), s.at);
    out
}

/// Where on the time axis it is looked.
fn placed(out: &mut Value, offset: Option<&Duration>, at: Option<At>) {
    let (timestamp, edge) = match at {
        None => (Value::Null, Value::Null),
        Some(At::Time(at)) => (at.into(), Value::Null),
        Some(At::Start) => (Value::Null, "start".into()),
        Some(At::End) => (Value::Null, "end".into()),
    };
    let out: &mut Map<String, Value> = match out {
        Value::Object(out) => out,
        _ => return,
    };
    out.insert("offset".to_owned(), milliseconds(offset).into());
    out.insert("timestamp".to_owned(), timestamp);
    out.insert("startOrEnd".to_owned(), edge);
}

/// A duration; 0 where it is absent, or known only when the query runs.
fn milliseconds(duration: Option<&Duration>) -> i64 {
    fn seconds(of: &Duration) -> f64 {
        match &of.kind {
            DurationKind::Number(n) => n.value,
            DurationKind::Sign { negative, of } => {
                if *negative {
                    -seconds(of)
                } else {
                    seconds(of)
                }
            }
            DurationKind::Paren(of) => seconds(of),
            _ => 0.0,
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float keeps to its bounds")]
    duration.map_or(0, |d| (seconds(d) * 1000.0).round() as i64)
}

/// A number without an exponent.
fn decimal(v: f64) -> String {
    match v {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() => (if v > 0.0 { "+Inf" } else { "-Inf" }).to_owned(),
        v => v.to_string(),
    }
}
