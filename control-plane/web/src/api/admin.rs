//! `admin/tsdb/*`, `status/tsdb` and `POST /api/vigie/v1/tsdb/flush`: what is done to the store, and what fills it.
//!
//! They need the role of an admin, as elsewhere a flag; every call that changes something is in the audit log.

use super::{ApiFailure, success};
use crate::{
    Plane, Routes,
    access::{Need, Role},
    params::{Params, invalid},
};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use jiff::{Timestamp as Instant, tz::TimeZone};
use kit::http::ApiError;
use model::{Matcher, Timestamp};
use serde_json::{Value, json};
use tsdb::{Count, Deletion, MaintainError, Tsdb};

/// Entries of a list where `limit` says nothing, and at most.
const LIMIT: usize = 10;
const MOST: usize = 10_000;

pub(super) fn add(routes: &mut Routes, plane: &Plane, viewer: Need) {
    let admin = Need::Role(Role::Admin);
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/status/tsdb", viewer, move |params: Params| {
        let plane = own.clone();
        async move { status(&plane, &params).await }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/status/tsdb/blocks", viewer, move || {
        let plane = own.clone();
        async move { blocks(&plane) }
    });
    for method in [Method::POST, Method::PUT] {
        let own = plane.clone();
        routes.add(method.clone(), "/api/v1/admin/tsdb/delete_series", admin, move |params: Params| {
            let plane = own.clone();
            async move { delete(&plane, &params).await }
        });
        let own = plane.clone();
        routes.add(method.clone(), "/api/v1/admin/tsdb/clean_tombstones", admin, move || {
            let plane = own.clone();
            // A deletion is carried out when it answers: there is nothing to clean.
            async move { store(&plane).map(|_| StatusCode::NO_CONTENT) }
        });
        let own = plane.clone();
        routes.add(method, "/api/v1/admin/tsdb/snapshot", admin, move |params: Params| {
            let plane = own.clone();
            async move { snapshot(&plane, &params).await }
        });
    }
    let own = plane.clone();
    routes.add(Method::POST, "/api/vigie/v1/tsdb/flush", admin, move || {
        let plane = own.clone();
        async move { flush(&plane).await }
    });
}

fn store(plane: &Plane) -> Result<&Tsdb, ApiFailure> {
    plane.tsdb.as_ref().ok_or_else(|| {
        let message = "the series are in a store elsewhere, which is to be asked itself";
        ApiFailure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    })
}

fn failed(e: &MaintainError) -> ApiFailure {
    let mut text = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(e) = source {
        text = format!("{text}: {e}");
        source = e.source();
    }
    tracing::error!(error = %text, "the store could not do what was asked");
    ApiFailure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
}

/// Runs something long of the store on a thread that may block.
async fn work<T: Send + 'static>(
    plane: &Plane,
    what: impl FnOnce(&Tsdb) -> Result<T, MaintainError> + Send + 'static,
) -> Result<T, ApiFailure> {
    let store = store(plane)?.clone();
    let outcome = tokio::task::spawn_blocking(move || what(&store)).await;
    let stopped = |_| ApiFailure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it was stopped");
    outcome.map_err(stopped)?.map_err(|e| failed(&e))
}

async fn delete(plane: &Plane, params: &Params) -> Result<StatusCode, ApiFailure> {
    let sets = params.selectors()?;
    if sets.is_empty() {
        return Err(ApiFailure::bad_data("no match[] parameter provided"));
    }
    if sets.iter().any(|matchers| matchers.iter().all(Matcher::matches_empty)) {
        return Err(invalid("match[]", "match[] must contain at least one non-empty matcher"));
    }
    let start = params.time("start")?.unwrap_or(Timestamp::MIN);
    let end = params.time("end")?.unwrap_or(Timestamp::MAX);
    if end < start {
        return Err(invalid("end", "it is before the start"));
    }
    work(plane, move |store| store.delete(&Deletion { sets, start, end })).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn snapshot(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    // What would be left out is in blocks by the time a snapshot is made.
    let _all_the_same = params.flag("skip_head")?;
    // As elsewhere: the time, and something that no other has.
    let now = Instant::from_millisecond(plane.clock.now_ms()).unwrap_or_default();
    let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let name = format!("{time}-{:016x}", plane.clock.elapsed().as_nanos() & u128::from(u64::MAX));
    let given = name.clone();
    work(plane, move |store| store.snapshot(&name)).await?;
    Ok(success(json!({"name": given})))
}

async fn flush(plane: &Plane) -> Result<Response, ApiError> {
    let done = work(plane, Tsdb::flush).await;
    let done = done.map_err(|e| ApiError::new(e.status, e.kind, e.message))?;
    let body = json!({
        "blocks_written": done.blocks_written,
        "blocks_compacted": done.blocks_compacted,
        "series_removed": done.series_removed,
    });
    Ok(kit::http::Json(body).into_response())
}

fn blocks(plane: &Plane) -> Result<Response, ApiFailure> {
    let shown = |b: &tsdb::BlockInfo| {
        json!({
            // Blocks here have their range for a name.
            "ulid": b.name,
            "minTime": b.start,
            "maxTime": b.end,
            "stats": {"numSamples": b.samples, "numSeries": b.series},
            "compaction": {"level": 1, "sources": [b.name]},
            "version": 1,
        })
    };
    let all: Vec<Value> = store(plane)?.blocks().iter().map(shown).collect();
    Ok(success(json!({"blocks": all})))
}

fn list(counts: Vec<Count>) -> Vec<Value> {
    counts.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

async fn status(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let limit = match params.get("limit") {
        None => LIMIT,
        Some(_) => params.count("limit")?.clamp(1, MOST),
    };
    let store = store(plane)?.clone();
    let stopped = |_| ApiFailure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it was stopped");
    let found = tokio::task::spawn_blocking(move || store.cardinality(limit)).await.map_err(stopped)?;
    let (min, max) = found.range.unwrap_or((0, 0));
    Ok(success(json!({
        "headStats": {
            "numSeries": found.series,
            "numLabelPairs": found.label_pairs,
            // Series here have no chunks of their own: what a scrape brings is held together.
            "chunkCount": 0,
            "minTime": min,
            "maxTime": max,
        },
        "seriesCountByMetricName": list(found.metrics),
        "labelValueCountByLabelName": list(found.names),
        "memoryInBytesByLabelName": list(found.bytes),
        "seriesCountByLabelValuePair": list(found.pairs),
    })))
}
