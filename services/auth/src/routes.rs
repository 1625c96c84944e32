//! The service's addresses.

mod metrics;

use crate::{App, PROGRAM, VERSION};
use axum::{Router, routing::get};
use std::sync::Arc;

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", PROGRAM.info(VERSION))
        .route("/api/v1/users/metrics", get(metrics::users))
        .with_state(app)
}
