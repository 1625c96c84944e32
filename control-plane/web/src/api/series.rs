//! `series`, `labels`, `label/<name>/values`.

use super::{
    ApiFailure,
    pieces::in_pieces,
    query::{bounded, in_place},
    success, truncated,
};
use crate::{
    Plane, Routes,
    access::Need,
    params::{Params, invalid},
};
use axum::{
    extract::{Path, rejection::PathRejection},
    response::Response,
};
use http::Method;
use model::{Labels, Limits, MatchOp, Matcher, Select, SelectError, SelectRequest, Timestamp};
use promql::Lease;
use std::{sync::Arc, time::Duration};

/// How long looking for series may take: less than a request may, so that the answer has its shape.
const PATIENCE: Duration = Duration::from_secs(25);

/// Up to so many series or values are looked for where the request stands.
const FEW: usize = 256;

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
        move |name: Result<Path<String>, PathRejection>, params: Params| {
            let plane = own.clone();
            async move {
                let Path(name) =
                    name.map_err(|e| ApiFailure::bad_data(format!("invalid label name: {}", e.body_text())))?;
                values(&plane, &name, &params).await
            }
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
    let mut sets = params.selectors()?;
    if sets.iter().any(|matchers| matchers.iter().all(Matcher::matches_empty)) {
        return Err(invalid("match[]", "match[] must contain at least one non-empty matcher"));
    }
    if sets.is_empty() {
        if sets_required {
            return Err(ApiFailure::bad_data("no match[] parameter provided"));
        }
        sets.push(Vec::new());
    }
    let (start, end) = (params.time("start")?.unwrap_or(i64::MIN), params.time("end")?.unwrap_or(i64::MAX));
    if end < start {
        return Err(invalid("end", "end timestamp must not be before start timestamp"));
    }
    Ok(Asked { sets, start, end, limit: params.count("limit")? })
}

/// Asks the store for each alternative, and answers what was found: each thing once, in order.
async fn ask<T: serde::Serialize + Ord + Send + 'static>(
    plane: &Plane,
    asked: Asked,
    each: impl Fn(&dyn Select, &SelectRequest<'_>) -> Result<Vec<T>, SelectError> + Send + 'static,
) -> Result<Response, ApiFailure> {
    let select = Arc::clone(&plane.select);
    let timeout = plane.query_timeout.min(PATIENCE);
    let plain = |m: &Matcher| matches!(m.op, MatchOp::Eq | MatchOp::Ne);
    if asked.sets.iter().flatten().all(plain) && !timeout.is_zero() {
        let few = in_place(plane, || {
            let mut all = Vec::new();
            for set in &asked.sets {
                let mut request = SelectRequest::new(set, asked.start, asked.end);
                request.limits = Limits { series: Some(FEW), memory_only: true, ..Limits::default() };
                all.extend(each(&*select, &request).ok()?);
            }
            Some(all)
        });
        if let Some(all) = few {
            return Ok(answer(all, &asked));
        }
    }
    let response = bounded(plane, timeout, move |cancel, _| {
        let mut all = Vec::new();
        for set in &asked.sets {
            let mut request = SelectRequest::new(set, asked.start, asked.end);
            request.cancel = cancel.clone();
            all.extend(each(&*select, &request)?);
            cancel.check()?;
        }
        Ok(answer(all, &asked))
    })
    .await?;
    Ok(in_pieces(plane, response, Lease::default()).await)
}

fn answer<T: serde::Serialize + Ord>(mut all: Vec<T>, asked: &Asked) -> Response {
    // The store answers each alternative in order.
    if asked.sets.len() > 1 {
        all.sort_unstable();
        all.dedup();
    }
    if asked.limit == 0 || all.len() <= asked.limit {
        return success(all);
    }
    all.truncate(asked.limit);
    truncated(all)
}

async fn series(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    ask::<Labels>(plane, asked(params, true)?, |select, request| select.series(request)).await
}

async fn names(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    ask(plane, asked(params, false)?, |select, request| select.label_names(request)).await
}

async fn values(plane: &Plane, name: &str, params: &Params) -> Result<Response, ApiFailure> {
    let name = unescaped(name).unwrap_or_else(|| name.to_owned());
    if name.is_empty() {
        return Err(ApiFailure::bad_data("invalid label name: \"\""));
    }
    ask(plane, asked(params, false)?, move |select, request| select.label_values(&name, request)).await
}

/// A name in Prometheus's escaping of values: `U__`, then `__` for an underscore and `_2e_` for the character
/// with that code. `None` when it is not such a name, which then stands for itself.
fn unescaped(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut out = String::new();
    while let Some((plain, escaped)) = rest.split_once('_') {
        out.push_str(plain);
        let (code, after) = escaped.split_once('_')?;
        match code {
            "" => out.push('_'),
            code if code.len() <= 6 => out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?),
            _ => return None,
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}
