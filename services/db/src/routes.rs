//! The service's addresses.

mod languages;
mod users;

use crate::{
    App, PROGRAM, VERSION,
    store::{Document, StoreError},
};
use axum::{
    Router,
    routing::{get, post},
};
use kit::http::ApiError;
use serde_json::Value;
use std::sync::Arc;

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", PROGRAM.info(VERSION))
        .route("/api/v1/languages", get(languages::list))
        .route("/api/v1/languages/{code}", get(languages::one))
        .route("/api/v1/users", post(users::add).get(users::list))
        .route("/api/v1/users/metrics", get(users::metrics))
        .route("/api/v1/users/email/{email}", get(users::by_email))
        .route("/api/v1/users/{id}", get(users::one).patch(users::change).delete(users::remove))
        .with_state(app)
}

/// A document as callers see it: its body with `id` and `revision`.
fn shown(document: Document) -> Value {
    let mut body = document.body;
    body.insert("id".to_owned(), document.id.into());
    body.insert("revision".to_owned(), document.revision.into());
    Value::Object(body)
}

fn failed(error: StoreError) -> ApiError {
    match &error {
        StoreError::Duplicate { .. } => ApiError::conflict("duplicate", error.to_string()),
        StoreError::Conflict { .. } => ApiError::conflict("conflict", error.to_string()),
        StoreError::Missing { .. } => ApiError::not_found(error.to_string()),
        StoreError::Invalid(message) => ApiError::bad_request(message.clone()),
        StoreError::Broken(_) => ApiError::internal(&error.into()),
    }
}
