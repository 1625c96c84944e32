//! What helps to write a query, under `/api/vigie/v1`: `explain` and `functions`.

use super::{
    ApiFailure,
    query::{How, Query, When, bounded, parsed},
};
use crate::{Plane, Routes, access::Need, params::Params};
use http::{Method, StatusCode, header};
use kit::http::{ApiError, Json};
use promql::{
    ParseErrors,
    ast::AggregateOp,
    explain::{Outcome, Step},
    function::FUNCTIONS,
    help,
};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add_get_post("/api/vigie/v1/explain", need, move |params: Params| {
        let plane = own.clone();
        async move { answer(&plane, &params).await }
    });
    routes.add(Method::GET, "/api/vigie/v1/functions", need, || async { Json(functions()) });
}

/// Explains a query, among the others that run.
pub(crate) async fn explain(plane: &Plane, query: Query<'_>) -> Result<Step, ApiFailure> {
    let expr = parsed(query.text).await?;
    let (engine, select, clock) = (Arc::clone(&plane.engine), Arc::clone(&plane.select), plane.clock.clone());
    let when = query.when;
    bounded(plane, query.timeout, move |cancel, _| {
        let evaluate = |e: &promql::Expr| {
            use promql::ast::ValueType::{Scalar, Vector};
            match when {
                When::At(at) => engine.instant(&*select, e, at, cancel),
                When::Range { start, end, step } if matches!(e.value_type(), Scalar | Vector) => {
                    engine.range(&*select, e, start, end, step, cancel)
                }
                When::Range { end, .. } => engine.instant(&*select, e, end, cancel),
            }
        };
        promql::explain::explain(&engine, &expr, &evaluate, &|| clock.elapsed())
    })
    .await
}

/// `query`, and `time`, or `start`, `end` and `step`.
async fn answer(plane: &Plane, params: &Params) -> Result<Json<Value>, ApiError> {
    let text =
        params.get("query").ok_or_else(|| ApiError::bad_request("query: no expression found in input"))?;
    let when = when(plane, params).map_err(own)?;
    if let Err(e) = promql::parse(text) {
        let message = e.to_string();
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_query", message)
            .with_detail("problems", problems(&e)));
    }
    let timeout =
        params.duration("timeout").map_err(own)?.map_or(plane.query_timeout, |t| t.min(plane.query_timeout));
    let step = explain(plane, Query { text, when, timeout, how: How::default() }).await.map_err(own)?;
    Ok(Json(shown(&step)))
}

fn when(plane: &Plane, params: &Params) -> Result<When, ApiFailure> {
    if params.get("start").is_none() && params.get("end").is_none() {
        return Ok(When::At(params.time("time")?.unwrap_or_else(|| plane.clock.now_ms())));
    }
    let (start, end) = (params.required_time("start")?, params.required_time("end")?);
    Ok(When::Range { start, end, step: params.positive("step", "the step must be a positive duration")? })
}

/// A failure of the Prometheus API in the words of our own.
fn own(e: ApiFailure) -> ApiError {
    let error = ApiError::new(e.status, e.kind, e.message);
    if e.kind == "unavailable" { error.with_header(header::RETRY_AFTER, super::RETRY_SECONDS) } else { error }
}

/// Each problem of a text with its place: bytes from 0, lines and columns from 1.
fn problems(e: &ParseErrors) -> Value {
    let one = |e: &promql::ParseError| {
        json!({
            "message": e.message, "line": e.line, "column": e.column,
            "start": e.span.start, "end": e.span.end,
        })
    };
    e.iter().map(one).collect()
}

fn shown(step: &Step) -> Value {
    let mut out = json!({
        "expr": step.text,
        "type": step.value_type.api_name(),
        "does": step.does,
        "start": step.span.start,
        "end": step.span.end,
        "inside": step.inside.iter().map(shown).collect::<Vec<_>>(),
    });
    match &step.outcome {
        Outcome::Evaluated(f) => {
            out["series"] = f.series.into();
            out["samples"] = f.samples.into();
            out["samples_read"] = f.samples_read.into();
            out["peak_samples"] = f.peak_samples.into();
            out["peak_bytes"] = f.peak_bytes.into();
            out["seconds"] = f.took.as_secs_f64().into();
        }
        Outcome::Failed(e) => out["error"] = e.as_str().into(),
        Outcome::Skipped(why) => out["skipped"] = (*why).into(),
    }
    out
}

/// Functions and aggregations, for whoever completes them.
fn functions() -> Value {
    let functions = FUNCTIONS.iter().map(|f| {
        json!({
            "name": f.name, "kind": "function", "signature": help::signature(f), "help": help::function(f.name),
            "returns": f.returns.api_name(), "experimental": f.experimental,
        })
    });
    let aggregations = AggregateOp::ALL.iter().map(|(name, op)| {
        let param = op.param().map_or(String::new(), |t| format!("{}, ", t.as_str()));
        json!({
            "name": name, "kind": "aggregation", "signature": format!("{name} by (...) ({param}instant vector)"),
            "help": help::aggregation(*op), "returns": "vector", "experimental": op.is_experimental(),
        })
    });
    json!({"functions": functions.chain(aggregations).collect::<Vec<_>>()})
}
