//! `query_exemplars`: exemplars of the series that a query is about.

use super::{ApiFailure, success};
use crate::{
    Plane, Routes,
    access::Need,
    params::{Params, invalid},
};
use axum::response::Response;
use model::{Exemplar, Matcher, number};
use serde_json::{Value, json};

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add_get_post("/api/v1/query_exemplars", need, move |params: Params| {
        let plane = own.clone();
        async move { query(&plane, &params) }
    });
}

fn query(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let (start, end) = (params.time("start")?.unwrap_or(i64::MIN), params.time("end")?.unwrap_or(i64::MAX));
    if end < start {
        return Err(ApiFailure::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr =
        promql::parse(params.get("query").unwrap_or("")).map_err(|e| invalid("query", &e.to_string()))?;
    let sets: Vec<Vec<Matcher>> = expr.selectors().into_iter().map(|s| s.matchers.clone()).collect();
    let found: Vec<Value> = plane
        .exemplars
        .exemplars(&sets, start, end)
        .into_iter()
        .map(|(series, exemplars)| {
            let exemplars: Vec<Value> = exemplars.iter().map(shown).collect();
            json!({"seriesLabels": series, "exemplars": exemplars})
        })
        .collect();
    Ok(success(found))
}

fn shown(e: &Exemplar) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds until the year 287396 are exact")]
    let seconds = e.at as f64 / 1000.0;
    // A whole number of seconds is written as one.
    let seconds = if e.at % 1000 == 0 { json!(e.at / 1000) } else { json!(seconds) };
    json!({"labels": e.labels, "value": number::format(e.value), "timestamp": seconds})
}
