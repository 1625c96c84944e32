//! `query` and `query_range`.

use super::{ApiFailure, TRUNCATED, json::write_value, pieces::in_pieces};
use crate::{
    Plane, Routes,
    access::Need,
    params::{Params, invalid},
};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use model::{Cancel, CancelReason, Select, Timestamp};
use promql::{Engine, EngineConfig, EvalError, Expr, QueryResult, QueryValue};
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
    pub(crate) how: How,
}

/// In what a query departs from how the engine evaluates others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    /// In milliseconds, where it is not the engine's own.
    pub(crate) lookback: Option<i64>,
    /// Whether what each step looks at is counted.
    pub(crate) count_steps: bool,
}

impl How {
    fn engine(self, plane: &Plane) -> Arc<Engine> {
        if self.lookback.is_none() && !self.count_steps {
            return Arc::clone(&plane.engine);
        }
        let config = plane.engine.config().clone();
        let lookback = self.lookback.unwrap_or(config.lookback);
        Arc::new(Engine::new(EngineConfig { lookback, count_steps: self.count_steps, ..config }))
    }
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
pub(crate) async fn bounded<T: Send + 'static>(
    plane: &Plane,
    timeout: Duration,
    work: impl FnOnce(&Cancel, Duration) -> Result<T, EvalError> + Send + 'static,
) -> Result<T, ApiFailure> {
    let late = |place: &str| {
        let limit = model::duration::format(timeout);
        let message = format!(
            "query timed out in {place}: the limit is {limit} (VIGIE_QUERY_TIMEOUT, if not the request's)"
        );
        ApiFailure::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", message)
    };
    const EVALUATION: &str = "expression evaluation";
    // A timer rounds up: no time at all would sometimes be enough.
    if timeout.is_zero() {
        return Err(late(EVALUATION));
    }
    let cancel = Cancel::default();
    let _watch = Watch(cancel.clone());
    let begun = plane.clock.elapsed();
    let deadline = plane.clock.sleep(timeout);
    tokio::pin!(deadline);
    let place = tokio::select! {
        biased;
        () = &mut deadline => return Err(late("query queue")),
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
        Ok(Err(EvalError::Timeout)) => Err(late(EVALUATION)),
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
    let engine = query.how.engine(plane);
    if !query.timeout.is_zero()
        && let Some((result, took)) = light(plane, &engine, &expr, query.when)
    {
        return Ok(finish(result, took));
    }
    let (select, clock, when) = (Arc::clone(&plane.select), plane.clock.clone(), query.when);
    bounded(plane, query.timeout, move |cancel, waited| {
        let begun = clock.elapsed();
        let mut result = evaluate(&engine, &*select, &expr, when, cancel)?;
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

fn evaluate(
    engine: &Engine,
    select: &dyn Select,
    expr: &Expr,
    when: When,
    cancel: &Cancel,
) -> Result<QueryResult, EvalError> {
    match when {
        When::At(at) => engine.instant(select, expr, at, cancel),
        When::Range { start, end, step } => engine.range(select, expr, start, end, step, cancel),
    }
}

/// Answers a query that takes microseconds where it stands: handing it to another thread would cost more than the
/// query. `None` when it is not known to be one, has no place free, or has no answer this way.
fn light(plane: &Plane, engine: &Engine, expr: &Expr, when: When) -> Option<(QueryResult, Took)> {
    let steps = match when {
        When::At(_) => 1,
        When::Range { start, end, step } => usize::try_from(end.checked_sub(start)? / step.max(1)).ok()? + 1,
    };
    let engine = engine.light(expr, steps)?;
    in_place(plane, || {
        let begun = plane.clock.elapsed();
        let result = evaluate(&engine, &*plane.select, expr, when, &Cancel::default()).ok()?;
        // Why there is nothing is looked up elsewhere.
        if matches!(&result.value, QueryValue::Vector(v) if v.is_empty())
            || matches!(&result.value, QueryValue::Matrix(m) if m.is_empty())
        {
            return None;
        }
        Some((result, Took { waited: Duration::ZERO, ran: plane.clock.elapsed().saturating_sub(begun) }))
    })
}

/// Does on this thread what takes microseconds, if a place is free.
pub(super) fn in_place<T>(plane: &Plane, work: impl FnOnce() -> Option<T>) -> Option<T> {
    let _place = plane.queries.place_now()?;
    // What panics does so again where it is counted.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok().flatten()
}

fn failure(e: &EvalError) -> ApiFailure {
    let (status, kind) = match e {
        EvalError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
        EvalError::Execution(_)
        | EvalError::TooManySamples(_)
        | EvalError::TooManySeries(_)
        | EvalError::TooMuchMemory(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
        EvalError::TooMuchMemoryTogether(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
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
    /// `stats=all`.
    per_step: bool,
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
        stats: params.get("stats").is_some_and(|s| !s.is_empty()),
        per_step: params.get("stats") == Some("all"),
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
    let Common { query: text, timeout, lookback, limit, stats, per_step } = common;
    let how = How { lookback, count_steps: stats };
    let query = Query { text: &text.clone(), when, timeout, how };
    // A large result takes its time to write: that, too, is no work for a thread that others wait for.
    let (body, lease) = run(plane, query, move |result, took| {
        let body = body(&text, &result, limit, stats.then(|| stats_of(&result, took, when, per_step)));
        (body, result.lease)
    })
    .await?;
    let response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    Ok(in_pieces(plane, response, lease).await)
}

fn body(query: &str, result: &QueryResult, limit: usize, stats: Option<serde_json::Value>) -> String {
    let mut body = String::from("{\"status\":\"success\",\"data\":");
    write_value(&mut body, &result.value, limit);
    if let Some(stats) = stats {
        // Into the object that was just closed.
        body.pop();
        body.push_str(&format!(",\"stats\":{stats}}}"));
    }
    let (mut warnings, infos) = result.annotations.texts(query, MOST_ANNOTATIONS);
    let found = match &result.value {
        QueryValue::Vector(v) => v.len(),
        QueryValue::Matrix(m) => m.len(),
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
fn stats_of(result: &QueryResult, took: Took, when: When, per_step: bool) -> serde_json::Value {
    let (ran, waited) = (took.ran.as_secs_f64(), took.waited.as_secs_f64());
    let mut samples = serde_json::json!({"peakSamples": result.stats.peak_samples});
    if let Some(steps) = &result.steps {
        (samples["totalQueryableSamples"], samples["samplesRead"]) = {
            let (queryable, read) = steps.total();
            (queryable.into(), read.into())
        };
        if per_step {
            samples["totalQueryableSamplesPerStep"] = by_time(&steps.queryable, when);
            samples["samplesReadPerStep"] = by_time(&steps.read, when);
        }
    }
    serde_json::json!({
        "timings": {
            "evalTotalTime": ran,
            "innerEvalTime": ran,
            // Neither is a phase of its own here.
            "queryPreparationTime": 0.0,
            "resultSortTime": 0.0,
            "execQueueTime": waited,
            "execTotalTime": ran + waited,
        },
        "samples": samples,
    })
}

/// Counts with the times, in seconds, of their steps.
#[expect(clippy::cast_precision_loss, reason = "milliseconds until the year 287396 are exact")]
fn by_time(counts: &[u64], when: When) -> serde_json::Value {
    let (start, step) = match when {
        When::At(at) => (at, 0),
        When::Range { start, step, .. } => (start, step),
    };
    let seconds = |i: usize| (start + step * i64::try_from(i).unwrap_or(0)) as f64 / 1000.0;
    counts.iter().enumerate().map(|(i, count)| serde_json::json!([seconds(i), count])).collect()
}
