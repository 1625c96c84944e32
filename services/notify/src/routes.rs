//! The service's addresses.

use crate::{
    App, PROGRAM, VERSION,
    domain::{Delivery, Mail, MailError, Welcome},
};
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use kit::http::{ApiError, Caller, Json};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", PROGRAM.info(VERSION))
        .route("/api/v1/notifications/health", get(health))
        .route("/api/v1/notifications/captured", get(captured))
        .route("/api/v1/notifications/welcome-email", post(welcome))
        .with_state(app)
}

async fn health(_: Caller, State(app): State<Arc<App>>) -> Json<Value> {
    let connected = app.mailer.healthy().await;
    Json(json!({
        "status": if connected.is_ok() { "healthy" } else { "degraded" },
        "email_service": if connected.is_ok() { "connected" } else { "disconnected" },
        "error": connected.err(),
    }))
}

async fn captured(_: Caller, State(app): State<Arc<App>>) -> Json<Vec<Mail>> {
    Json(app.mailer.captured())
}

async fn welcome(
    _: Caller,
    State(app): State<Arc<App>>,
    Json(welcome): Json<Welcome>,
) -> Result<Json<Value>, ApiError> {
    let mail = welcome.into_mail(&app.frontend).map_err(ApiError::bad_request)?;
    match app.mailer.send(mail).await {
        Ok(Delivery::Sent) => {
            app.metrics.mail("welcome", "sent");
            Ok(Json(json!({"success": true, "delivered": true, "message": "the mail relay took the mail"})))
        }
        Ok(Delivery::Captured) => {
            app.metrics.mail("welcome", "captured");
            Ok(Json(json!({
                "success": true, "delivered": false,
                "message": "no mail relay is configured: the mail was kept, not sent",
            })))
        }
        Err(e) => {
            app.metrics.mail("welcome", "failed");
            let unwritable = matches!(e, MailError::Unwritable(_));
            let error = anyhow::Error::from(e);
            if unwritable {
                return Err(ApiError::internal(&error));
            }
            tracing::warn!(error = %format!("{error:#}"), "the mail relay failed");
            Err(ApiError::new(
                StatusCode::BAD_GATEWAY,
                "relay_failed",
                "the mail relay did not take the mail",
            ))
        }
    }
}
