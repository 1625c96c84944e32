//! `query` and `query_range`.

use super::{ApiFailure, TRUNCATED, json::write_value};
use crate::{
    Plane, Routes,
    access::Need,
    params::{Params, invalid},
};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use model::{Cancel, CancelReason, Timestamp};
use promql::{Engine, EngineConfig, EvalError, Expr, QueryResult, value::QueryStats};
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

/// What is asked of the engine.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub(crate) text: &'a str,
    pub(crate) when: When,
    /// How long it may take, waiting for its place included.
    pub(crate) timeout: Duration,
    /// In milliseconds, where it is not the engine's own.
    pub(crate) lookback: Option<i64>,
}

/// How long a query waited for its place and ran.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    pub(crate) waited: Duration,
    pub(crate) ran: Duration,
}

/// Sets the flag when the future that owns it is dropped: the client went away.
#[derive(Debug)]
struct Watch(Cancel);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::ClientGone);
    }
}

/// Runs `work` on a thread that may block, among a bounded number, within a time that waiting for a place
/// counts towards. `work` stops by itself when its flag says so.
pub(super) async fn bounded<T: Send + 'static>(
    plane: &Plane,
    timeout: Duration,
    work: impl FnOnce(&Cancel, Duration) -> Result<T, EvalError> + Send + 'static,
) -> Result<T, ApiFailure> {
    // A timer rounds up: no time at all would sometimes be enough.
    if timeout.is_zero() {
        return Err(failure(&EvalError::Timeout));
    }
    let cancel = Cancel::default();
    let _watch = Watch(cancel.clone());
    let begun = plane.clock.elapsed();
    let deadline = plane.clock.sleep(timeout);
    tokio::pin!(deadline);
    let place = tokio::select! {
        biased;
        () = &mut deadline => return Err(failure(&EvalError::Timeout)),
        place = plane.queries.place(&plane.clock) => place,
    };
    let place = place
        .map_err(|busy| ApiFailure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", busy.to_string()))?;
    let waited = plane.clock.elapsed().saturating_sub(begun);
    let flag = cancel.clone();
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        work(&flag, waited)
    });
    tokio::pin!(work);
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        () = deadline => {
            cancel.cancel(CancelReason::Deadline);
            work.await
        }
    };
    match outcome {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(e)) => Err(failure(&e)),
        Err(e) => {
            tracing::error!(error = %e, "a query panicked");
            Err(ApiFailure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the query failed inside; the log has it",
            ))
        }
    }
}

/// Texts up to this many bytes are parsed at once; a longer one may take a while.
const SHORT: usize = 512;

pub(super) async fn parsed(text: &str) -> Result<Expr, ApiFailure> {
    let outcome = if text.len() <= SHORT {
        promql::parse(text)
    } else {
        let text = text.to_owned();
        let parsing = tokio::task::spawn_blocking(move || promql::parse(&text)).await;
        parsing.map_err(|e| {
            tracing::error!(error = %e, "the parser panicked");
            ApiFailure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the query could not be read; the log has it",
            )
        })?
    };
    outcome.map_err(|e| invalid("query", &e.to_string()))
}

/// Runs a query, and makes of its result what is wanted while still on the thread that may block.
pub(crate) async fn run<T: Send + 'static>(
    plane: &Plane,
    query: Query<'_>,
    finish: impl FnOnce(QueryResult, Took) -> T + Send + 'static,
) -> Result<T, ApiFailure> {
    let expr = parsed(query.text).await?;
    let engine = match query.lookback {
        Some(lookback) => Arc::new(Engine::new(EngineConfig { lookback, ..plane.engine.config().clone() })),
        None => Arc::clone(&plane.engine),
    };
    let (select, clock, when) = (Arc::clone(&plane.select), plane.clock.clone(), query.when);
    bounded(plane, query.timeout, move |cancel, waited| {
        let begun = clock.elapsed();
        let mut result = match when {
            When::At(at) => engine.instant(&*select, &expr, at, cancel),
            When::Range { start, end, step } => engine.range(&*select, &expr, start, end, step, cancel),
        }?;
        let times = match when {
            When::At(at) => (at, at),
            When::Range { start, end, .. } => (start, end),
        };
        // A remark that cannot be made is no reason to withhold a result.
        if let Err(e) = promql::hint::explain_empty(&*select, &expr, &mut result, times, cancel) {
            tracing::debug!(error = %e, "why a result is empty could not be looked up");
        }
        let took = Took { waited, ran: clock.elapsed().saturating_sub(begun) };
        Ok(finish(result, took))
    })
    .await
}

fn failure(e: &EvalError) -> ApiFailure {
    let (status, kind) = match e {
        EvalError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
        EvalError::Execution(_)
        | EvalError::TooManySamples(_)
        | EvalError::TooManySeries(_)
        | EvalError::TooMuchMemory(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
        EvalError::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
        EvalError::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        EvalError::Store(source) => {
            tracing::error!(error = %source, "a query could not read the store");
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    };
    ApiFailure::new(status, kind, e.to_string())
}

/// What both kinds of query take beside their times.
struct Common {
    query: String,
    timeout: Duration,
    lookback: Option<i64>,
    limit: usize,
    stats: bool,
}

fn common(plane: &Plane, params: &Params) -> Result<Common, ApiFailure> {
    let lookback = match params.get("lookback_delta") {
        Some(_) => Some(params.positive("lookback_delta", "the lookback must be positive")?),
        None => None,
    };
    let timeout = params.duration("timeout")?.map_or(plane.query_timeout, |t| t.min(plane.query_timeout));
    let query = params.get("query").ok_or_else(|| invalid("query", "no expression found in input"))?;
    Ok(Common {
        query: query.to_owned(),
        timeout,
        lookback,
        limit: params.count("limit")?,
        stats: params.get("stats").is_some(),
    })
}

async fn instant(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let at = params.time("time")?.unwrap_or_else(|| plane.clock.now_ms());
    answer(plane, common(plane, params)?, When::At(at)).await
}

async fn range(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let (start, end) = (params.required_time("start")?, params.required_time("end")?);
    if end < start {
        return Err(invalid("end", "end timestamp must not be before start time"));
    }
    let wrong = "zero or negative query resolution step widths are not accepted. Try a positive integer";
    let step = params.positive("step", wrong)?;
    answer(plane, common(plane, params)?, When::Range { start, end, step }).await
}

async fn answer(plane: &Plane, common: Common, when: When) -> Result<Response, ApiFailure> {
    let Common { query: text, timeout, lookback, limit, stats } = common;
    let query = Query { text: &text.clone(), when, timeout, lookback };
    // A large result takes its time to write: that, too, is no work for a thread that others wait for.
    let body =
        run(plane, query, move |result, took| body(&text, &result, limit, stats.then_some(took))).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn body(query: &str, result: &QueryResult, limit: usize, took: Option<Took>) -> String {
    let mut body = String::from("{\"status\":\"success\",\"data\":");
    write_value(&mut body, &result.value, limit);
    if let Some(took) = took {
        // Into the object that was just closed.
        body.pop();
        body.push_str(&format!(",\"stats\":{}}}", stats(&result.stats, took)));
    }
    let (mut warnings, infos) = result.annotations.texts(query, MOST_ANNOTATIONS);
    let found = match &result.value {
        promql::QueryValue::Vector(v) => v.len(),
        promql::QueryValue::Matrix(m) => m.len(),
        _ => 0,
    };
    if limit > 0 && found > limit {
        warnings.push(TRUNCATED.to_owned());
    }
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty()
            && let Ok(list) = serde_json::to_string(&texts)
        {
            body.push_str(&format!(",\"{name}\":{list}"));
        }
    }
    body.push('}');
    body
}

/// What a query cost, in the names of Prometheus's statistics.
fn stats(stats: &QueryStats, took: Took) -> serde_json::Value {
    let (ran, waited) = (took.ran.as_secs_f64(), took.waited.as_secs_f64());
    serde_json::json!({
        "timings": {"evalTotalTime": ran, "execQueueTime": waited, "execTotalTime": ran + waited},
        "samples": {"samplesRead": stats.samples_read, "peakSamples": stats.peak_samples},
    })
}
