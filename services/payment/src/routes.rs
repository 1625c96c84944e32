//! The service's addresses.

use crate::{PROGRAM, VERSION, domain::Plans};
use axum::{Router, extract::State, routing::get};
use kit::http::Json;

pub(crate) fn router(plans: Plans) -> Router {
    Router::new().route("/", PROGRAM.info(VERSION)).route("/api/v1/info", get(info)).with_state(plans)
}

/// Public: prices are on the page that everybody sees.
async fn info(State(plans): State<Plans>) -> Json<serde_json::Value> {
    Json(plans.shown())
}
