//! `series`, `labels`, `label/<name>/values`.

use super::{ApiFailure, success};
use crate::{Plane, Routes, access::Need, params::Params};
use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode};
use model::{Labels, Matcher, Select, SelectError, SelectRequest, Timestamp};
use std::{collections::BTreeSet, sync::Arc};

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add_get_post("/api/v1/series", need, move |params: Params| {
        let plane = own.clone();
        async move { series(&plane, &params).await }
    });
    let own = plane.clone();
    routes.add_get_post("/api/v1/labels", need, move |params: Params| {
        let plane = own.clone();
        async move { names(&plane, &params).await }
    });
    let own = plane.clone();
    routes.add(
        Method::GET,
        "/api/v1/label/{name}/values",
        need,
        move |Path(name): Path<String>, params: Params| {
            let plane = own.clone();
            async move { values(&plane, name, &params).await }
        },
    );
}

/// What is asked: alternatives of matchers, and a time range.
struct Asked {
    sets: Vec<Vec<Matcher>>,
    start: Timestamp,
    end: Timestamp,
    limit: usize,
}

fn asked(params: &Params, sets_required: bool) -> Result<Asked, ApiFailure> {
    let mut sets = Vec::new();
    for text in params.all("match[]") {
        let matchers = promql::parse_metric_selector(text)
            .map_err(|e| ApiFailure::bad_data(format!("invalid parameter \"match[]\": {e}")))?;
        if matchers.iter().all(Matcher::matches_empty) {
            return Err(ApiFailure::bad_data(
                "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
            ));
        }
        sets.push(matchers);
    }
    if sets.is_empty() {
        if sets_required {
            return Err(ApiFailure::bad_data("no match[] parameter provided"));
        }
        sets.push(Vec::new());
    }
    let (start, end) = (params.time("start")?.unwrap_or(i64::MIN), params.time("end")?.unwrap_or(i64::MAX));
    if end < start {
        return Err(ApiFailure::bad_data(
            "invalid parameter \"end\": end timestamp must not be before start timestamp",
        ));
    }
    Ok(Asked { sets, start, end, limit: params.limit()? })
}

/// Asks the store for each alternative, on a thread that may block.
async fn ask<T: Send + 'static>(
    plane: &Plane,
    asked: Asked,
    each: impl Fn(&dyn Select, &SelectRequest<'_>) -> Result<Vec<T>, SelectError> + Send + 'static,
) -> Result<Vec<T>, ApiFailure> {
    let select = Arc::clone(&plane.select);
    let place = Arc::clone(&plane.queries).acquire_owned().await;
    let outcome = tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut all = Vec::new();
        for set in &asked.sets {
            all.extend(each(&*select, &SelectRequest::new(set, asked.start, asked.end))?);
        }
        Ok::<_, SelectError>(all)
    })
    .await;
    match outcome {
        Ok(Ok(all)) => Ok(all),
        Ok(Err(e)) => Err(ApiFailure::new(StatusCode::UNPROCESSABLE_ENTITY, "execution", e.to_string())),
        Err(e) => Err(ApiFailure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string())),
    }
}

fn answer<T: serde::Serialize + Ord>(found: Vec<T>, limit: usize) -> Response {
    let all: BTreeSet<T> = found.into_iter().collect();
    let cut = limit > 0 && all.len() > limit;
    let shown: Vec<T> = if cut { all.into_iter().take(limit).collect() } else { all.into_iter().collect() };
    if cut {
        let body = serde_json::json!({"status": "success", "data": shown, "warnings": ["results truncated due to limit"]});
        return axum::Json(body).into_response();
    }
    success(shown)
}

async fn series(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let asked = asked(params, true)?;
    let limit = asked.limit;
    let found: Vec<Labels> = ask(plane, asked, |select, request| select.series(request)).await?;
    Ok(answer(found, limit))
}

async fn names(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let asked = asked(params, false)?;
    let limit = asked.limit;
    let found = ask(plane, asked, |select, request| select.label_names(request)).await?;
    Ok(answer(found, limit))
}

async fn values(plane: &Plane, name: String, params: &Params) -> Result<Response, ApiFailure> {
    if name.is_empty() {
        return Err(ApiFailure::bad_data("invalid label name: \"\""));
    }
    let asked = asked(params, false)?;
    let limit = asked.limit;
    let found = ask(plane, asked, move |select, request| select.label_values(&name, request)).await?;
    Ok(answer(found, limit))
}
