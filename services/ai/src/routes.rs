//! The service's addresses.

mod analyze;
mod chat;

use crate::{App, PROGRAM, VERSION};
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use kit::http::{Caller, Json};
use std::sync::Arc;

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", PROGRAM.info(VERSION))
        .route("/api/v1/ai/chat", post(chat::chat))
        .route("/api/v1/ai/analyze", post(analyze::analyze))
        .route("/api/v1/ai/models", get(models))
        .with_state(app)
}

async fn models(_: Caller, State(app): State<Arc<App>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "provider": app.llm.provider(),
        "default": app.llm.model(),
        "models": [app.llm.model()],
    }))
}
