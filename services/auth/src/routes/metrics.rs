//! `GET /api/v1/users/metrics`: db's figures about users.

use crate::App;
use axum::extract::State;
use kit::{
    client::sentence,
    http::{ApiError, Caller, Json},
};
use reqwest::Method;
use serde_json::Value;
use std::sync::Arc;

pub(super) async fn users(_: Caller, State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    let away = |why: String| {
        tracing::warn!(%why, "db cannot be asked");
        ApiError::unavailable("db_away", "the users' figures cannot be asked now")
    };
    let db = app.db.as_ref().ok_or_else(|| away("DB_SERVICE_URL is not set".to_owned()))?;
    let answer = db.request(Method::GET, "/api/v1/users/metrics").send().await;
    let answer = answer.map_err(|e| away(sentence(&e)))?;
    if !answer.status().is_success() {
        return Err(away(format!("it answered {}", answer.status())));
    }
    answer.json().await.map(Json).map_err(|e| away(sentence(&e)))
}
