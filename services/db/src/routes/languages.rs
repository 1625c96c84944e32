//! `/api/v1/languages`: public, since everybody may know what is taught.

use super::{failed, shown};
use crate::{
    App,
    domain::collections::LANGUAGES,
    store::{Filter, MAX_PAGE, Query},
};
use axum::extract::{Path, State};
use kit::http::{ApiError, Json};
use serde_json::Value;
use std::sync::Arc;

pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<Value>>, ApiError> {
    let query = Query {
        filters: vec![Filter::is("isActive", true)],
        sort: Some("code"),
        limit: MAX_PAGE,
        ..Query::default()
    };
    let found = app.store.find(LANGUAGES, query).await.map_err(failed)?;
    Ok(Json(found.into_iter().map(shown).collect()))
}

pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = app.store.get(LANGUAGES, code).await.map_err(failed)?;
    found.map(|d| Json(shown(d))).ok_or_else(|| ApiError::not_found("there is no such language"))
}
