//! `query` and `query_range`.

use super::{ApiFailure, json::write_value};
use crate::{Plane, Routes, access::Need, params::Params};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use model::{Cancel, CancelReason, Timestamp};
use promql::{EvalError, QueryResult};
use std::{sync::Arc, time::Duration};

/// Annotations of each kind in an answer, as Prometheus limits them.
const MOST_ANNOTATIONS: usize = 10;

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add_get_post("/api/v1/query", need, move |params: Params| {
        let plane = own.clone();
        async move { instant(&plane, &params).await }
    });
    let own = plane.clone();
    routes.add_get_post("/api/v1/query_range", need, move |params: Params| {
        let plane = own.clone();
        async move { range(&plane, &params).await }
    });
}

/// When a query is evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    At(Timestamp),
    Range { start: Timestamp, end: Timestamp, step: i64 },
}

/// What a query gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: QueryResult,
}

/// Sets the flag when the future that owns it is dropped: the client went away.
#[derive(Debug)]
struct Watch(Cancel);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::ClientGone);
    }
}

/// Runs a query on a thread that may block, among a bounded number, within its time.
pub(crate) async fn run(
    plane: &Plane,
    query: &str,
    when: When,
    timeout: Duration,
) -> Result<Outcome, ApiFailure> {
    let expr = promql::parse(query)
        .map_err(|e| ApiFailure::bad_data(format!("invalid parameter \"query\": {e}")))?;
    let cancel = Cancel::default();
    let _watch = Watch(cancel.clone());
    let deadline = plane.clock.sleep(timeout);
    let work = async {
        let place = Arc::clone(&plane.queries).acquire_owned().await;
        let (engine, select, flag) = (Arc::clone(&plane.engine), Arc::clone(&plane.select), cancel.clone());
        tokio::task::spawn_blocking(move || {
            let _place = place;
            match when {
                When::At(at) => engine.instant(&*select, &expr, at, &flag),
                When::Range { start, end, step } => engine.range(&*select, &expr, start, end, step, &flag),
            }
        })
        .await
    };
    tokio::pin!(work);
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        () = deadline => {
            cancel.cancel(CancelReason::Deadline);
            work.await
        }
    };
    match outcome {
        Ok(Ok(result)) => Ok(Outcome { result }),
        Ok(Err(e)) => Err(failure(&e)),
        Err(e) => {
            tracing::error!(error = %e, query, "a query panicked");
            Err(ApiFailure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the query failed inside; the log has it",
            ))
        }
    }
}

fn failure(e: &EvalError) -> ApiFailure {
    let (status, kind) = match e {
        EvalError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
        EvalError::Execution(_) | EvalError::TooManySamples(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "execution")
        }
        EvalError::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
        EvalError::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        EvalError::Store(source) => {
            tracing::error!(error = %source, "a query could not read the store");
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    };
    ApiFailure::new(status, kind, e.to_string())
}

fn timeout(plane: &Plane, params: &Params) -> Result<Duration, ApiFailure> {
    Ok(params.duration("timeout")?.map_or(plane.query_timeout, |t| t.min(plane.query_timeout)))
}

fn query_text(params: &Params) -> Result<&str, ApiFailure> {
    params
        .get("query")
        .ok_or_else(|| ApiFailure::bad_data("invalid parameter \"query\": no expression found in input"))
}

async fn instant(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let limit = params.limit()?;
    let at = params.time("time")?.unwrap_or_else(|| plane.clock.now_ms());
    let timeout = timeout(plane, params)?;
    let query = query_text(params)?;
    let outcome = run(plane, query, When::At(at), timeout).await?;
    Ok(answer(query, &outcome.result, limit))
}

async fn range(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let limit = params.limit()?;
    let (start, end) = (params.required_time("start")?, params.required_time("end")?);
    if end < start {
        return Err(ApiFailure::bad_data(
            "invalid parameter \"end\": end timestamp must not be before start time",
        ));
    }
    let step = params.duration("step")?.ok_or_else(|| {
        ApiFailure::bad_data("invalid parameter \"step\": cannot parse \"\" to a valid duration")
    })?;
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    if step == 0 {
        return Err(ApiFailure::bad_data(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    let timeout = timeout(plane, params)?;
    let query = query_text(params)?;
    let outcome = run(plane, query, When::Range { start, end, step }, timeout).await?;
    Ok(answer(query, &outcome.result, limit))
}

fn answer(query: &str, result: &QueryResult, limit: usize) -> Response {
    let mut body = String::from("{\"status\":\"success\",\"data\":");
    write_value(&mut body, &result.value, limit);
    let (mut warnings, infos) = result.annotations.texts(query, MOST_ANNOTATIONS);
    let found = match &result.value {
        promql::QueryValue::Vector(v) => v.len(),
        promql::QueryValue::Matrix(m) => m.len(),
        _ => 0,
    };
    if limit > 0 && found > limit {
        warnings.push("results truncated due to limit".to_owned());
    }
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty()
            && let Ok(list) = serde_json::to_string(&texts)
        {
            body.push_str(&format!(",\"{name}\":{list}"));
        }
    }
    body.push('}');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
