//! `/api/v1/users`: for services only.

use super::{failed, shown};
use crate::{
    App,
    domain::{
        collections::USERS,
        figures,
        user::{NewUser, UserChange, email},
    },
    store::{Filter, MAX_PAGE, Query as StoreQuery, Scalar, StoreError},
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use kit::http::{ApiError, Caller, Json, Query};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn add(
    _: Caller,
    State(app): State<Arc<App>>,
    Json(user): Json<NewUser>,
) -> Result<impl IntoResponse, ApiError> {
    let body = user.into_body(app.clock.now_ms()).map_err(ApiError::bad_request)?;
    let id = uuid::Uuid::now_v7().to_string();
    let document = app.store.insert(USERS, id, body).await.map_err(failed)?;
    Ok((StatusCode::CREATED, Json(shown(document))))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default = "fifty")]
    limit: usize,
    /// `next` of the page before.
    after: Option<String>,
}

fn fifty() -> usize {
    50
}

/// Newest first. `next` goes back as `after`; it is null on the last page.
pub(super) async fn list(
    _: Caller,
    State(app): State<Arc<App>>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, ApiError> {
    if !(1..=MAX_PAGE).contains(&page.limit) {
        return Err(ApiError::bad_request(format!("limit must be 1 to {MAX_PAGE}")));
    }
    let after = match &page.after {
        None => None,
        Some(text) => {
            let parts = text.split_once('~').and_then(|(at, id)| Some((at.parse::<i64>().ok()?, id)));
            let (at, id) = parts.ok_or_else(|| ApiError::bad_request("after must be the next of a page"))?;
            Some((Some(Scalar::Int(at)), id.to_owned()))
        }
    };
    let query = StoreQuery {
        sort: Some("createdAt"),
        descending: true,
        after,
        limit: page.limit,
        ..StoreQuery::default()
    };
    let found = app.store.find(USERS, query).await.map_err(failed)?;
    let total = app.store.count(USERS, Vec::new()).await.map_err(failed)?;
    let last = found.last().filter(|_| found.len() == page.limit);
    let next = last.map(|d| format!("{}~{}", d.body["createdAt"], d.id));
    let data: Vec<Value> = found.into_iter().map(shown).collect();
    Ok(Json(json!({"data": data, "total": total, "next": next})))
}

fn nobody() -> ApiError {
    ApiError::not_found("there is no such user")
}

pub(super) async fn one(
    _: Caller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = app.store.get(USERS, id).await.map_err(failed)?;
    found.map(|d| Json(shown(d))).ok_or_else(nobody)
}

pub(super) async fn by_email(
    _: Caller,
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let email = email(&text).map_err(ApiError::bad_request)?;
    let filters = vec![Filter::is("email", email.as_str())];
    let query = StoreQuery { filters, limit: 1, ..StoreQuery::default() };
    let found = app.store.find(USERS, query).await.map_err(failed)?;
    found.into_iter().next().map(|d| Json(shown(d))).ok_or_else(nobody)
}

/// How often a change is tried again when another one came between.
const TRIES: usize = 5;

pub(super) async fn change(
    _: Caller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Json(change): Json<UserChange>,
) -> Result<Json<Value>, ApiError> {
    let mut tries = 1;
    loop {
        let found = app.store.get(USERS, id.clone()).await.map_err(failed)?.ok_or_else(nobody)?;
        let mut body = found.body;
        change.apply(&mut body, app.clock.now_ms()).map_err(ApiError::bad_request)?;
        match app.store.replace(USERS, id.clone(), found.revision, body).await {
            Ok(document) => return Ok(Json(shown(document))),
            Err(StoreError::Conflict { .. }) if tries < TRIES => tries += 1,
            Err(e) => return Err(failed(e)),
        }
    }
}

pub(super) async fn remove(
    _: Caller,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let gone = app.store.delete(USERS, id).await.map_err(failed)?;
    if gone { Ok(StatusCode::NO_CONTENT) } else { Err(nobody()) }
}

pub(super) async fn metrics(_: Caller, State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let figures = figures(app.store.as_ref(), app.clock.now_ms()).await.map_err(failed)?;
    Ok(Json(json!(figures)))
}
