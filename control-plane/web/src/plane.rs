//! Vigie's own API, `/api/vigie/v1/*`: the budget's protocol, loops, alerts held for delivery.

use crate::{Plane, Routes, access::Need, access::Role};
use axum::{Extension, extract::Path};
use budget::{BudgetError, ReservationRequest, Usage};
use http::{Method, StatusCode, header};
use kit::{
    http::{ApiError, Json},
    telemetry::rfc3339,
};
use model::NanoUsd;
use serde::Deserialize;
use serde_json::{Value, json};
use state::StateError;

pub(crate) fn add(routes: &mut Routes, plane: &Plane) {
    reservations(routes, plane);
    let viewer = Need::Role(Role::Viewer);
    let own = plane.clone();
    routes.add(Method::GET, "/api/vigie/v1/budgets", viewer, move || {
        let plane = own.clone();
        async move { budgets(plane).await }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/vigie/v1/ai/reservations/unconfirmed", viewer, move || {
        let plane = own.clone();
        async move {
            let holds = ledger(move || plane.budget.unconfirmed()).await?;
            Ok::<_, ApiError>(Json(json!({"reservations": holds})))
        }
    });
    let own = plane.clone();
    routes.add(
        Method::POST,
        "/api/vigie/v1/ai/reservations/{id}/resolve",
        Need::Role(Role::Admin),
        move |Path(id): Path<String>,
              Extension(who): Extension<crate::Identity>,
              Json(body): Json<Resolve>| {
            let plane = own.clone();
            async move {
                let cost: NanoUsd = body
                    .cost_usd
                    .parse()
                    .map_err(|e: model::money::MoneyError| ApiError::bad_request(e.to_string()))?;
                plane.budget.resolve(&id, cost, &who.name).await.map_err(|e| refusal(&plane, &e))?;
                Ok::<_, ApiError>(StatusCode::NO_CONTENT)
            }
        },
    );
    let own = plane.clone();
    routes.add(Method::GET, "/api/vigie/v1/loops", viewer, move || {
        let plane = own.clone();
        async move { Json(json!({"loops": plane.tasks.status()})) }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/vigie/v1/notifications", viewer, move || {
        let plane = own.clone();
        async move {
            let counts: Vec<_> = plane
                .alerting
                .counts()
                .into_iter()
                .map(|((name, kind), c)| json!({"integration": name, "kind": kind, "delivered": c.delivered, "failed": c.failed}))
                .collect();
            Json(json!({"groups": plane.alerting.groups(), "integrations": counts}))
        }
    });
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolve {
    cost_usd: String,
}

fn reservations(routes: &mut Routes, plane: &Plane) {
    let service = Need::Service;
    let own = plane.clone();
    routes.add(
        Method::POST,
        "/api/vigie/v1/ai/reservations",
        service,
        move |Json(request): Json<ReservationRequest>| {
            let plane = own.clone();
            async move {
                let held = plane.budget.reserve(request).await.map_err(|e| refusal(&plane, &e))?;
                let body = json!({
                    "id": held.id,
                    "reserved_usd": held.reserved.to_string(),
                    "expires_at": rfc3339(held.expires_at),
                });
                Ok::<_, ApiError>((StatusCode::CREATED, Json(body)))
            }
        },
    );
    let own = plane.clone();
    routes.add(
        Method::POST,
        "/api/vigie/v1/ai/reservations/{id}/start",
        service,
        move |Path(id): Path<String>| {
            let plane = own.clone();
            async move {
                plane.budget.start_call(&id).await.map_err(|e| refusal(&plane, &e))?;
                Ok::<_, ApiError>(Json(json!({"id": id, "state": "started"})))
            }
        },
    );
    let own = plane.clone();
    routes.add(
        Method::PATCH,
        "/api/vigie/v1/ai/reservations/{id}",
        service,
        move |Path(id): Path<String>, Json(usage): Json<Usage>| {
            let plane = own.clone();
            async move {
                let spent = plane.budget.progress(&id, &usage).await.map_err(|e| refusal(&plane, &e))?;
                Ok::<_, ApiError>(Json(json!({"id": id, "spent_usd": spent.to_string()})))
            }
        },
    );
    let own = plane.clone();
    routes.add(
        Method::DELETE,
        "/api/vigie/v1/ai/reservations/{id}",
        service,
        move |Path(id): Path<String>| {
            let plane = own.clone();
            async move {
                plane.budget.cancel(&id).await.map_err(|e| refusal(&plane, &e))?;
                Ok::<_, ApiError>(StatusCode::NO_CONTENT)
            }
        },
    );
    let own = plane.clone();
    routes.add(
        Method::POST,
        "/api/vigie/v1/ai/reservations/{id}/settle",
        service,
        move |Path(id): Path<String>, Json(usage): Json<Usage>| {
            let plane = own.clone();
            async move {
                let cost = plane.budget.settle(&id, &usage).await.map_err(|e| refusal(&plane, &e))?;
                Ok::<_, ApiError>(Json(json!({"id": id, "cost_usd": cost.to_string()})))
            }
        },
    );
}

/// Reads the ledger, on a thread that may wait for the disk.
async fn ledger<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, ApiError> {
    let outcome = tokio::task::spawn_blocking(read).await.map_err(|e| ApiError::internal(&e.into()))?;
    outcome.map_err(|e| ApiError::internal(&e.into()))
}

/// The budget's errors as answers.
fn refusal(plane: &Plane, e: &BudgetError) -> ApiError {
    match e {
        BudgetError::Exceeded { budget, scope, limit, committed, resets_at } => {
            let wait = (resets_at - plane.clock.now_ms()).max(0) / 1000 + 1;
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "budget_exceeded", e.to_string())
                .with_header(header::RETRY_AFTER, &wait.to_string())
                .with_detail("budget", budget.as_str())
                .with_detail("scope", scope.as_str())
                .with_detail("limit_usd", limit.to_string())
                .with_detail("committed_usd", committed.to_string())
                .with_detail("resets_at", rfc3339(*resets_at))
        }
        BudgetError::Unpriced { .. } => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "unpriced_model", e.to_string())
        }
        BudgetError::BadRequest(message) => ApiError::bad_request(message.clone()),
        BudgetError::Unknown(_) => ApiError::not_found(e.to_string()),
        BudgetError::Conflict(message) => ApiError::conflict("conflict", message.clone()),
        BudgetError::Ledger(source) => {
            tracing::error!(error = %source, "the ledger could not record a step");
            ApiError::unavailable(
                "ledger_unavailable",
                "the ledger could not record it: nothing was granted; try again",
            )
        }
    }
}

async fn budgets(plane: Plane) -> Result<Json<Value>, ApiError> {
    let all = ledger(move || plane.budget.status()).await?;
    let shown: Vec<Value> = all
        .iter()
        .map(|s| {
            let mut value = serde_json::to_value(s).unwrap_or_default();
            value["period_start"] = rfc3339(s.period_start).into();
            value["resets_at"] = rfc3339(s.resets_at).into();
            value
        })
        .collect();
    Ok(Json(json!({ "budgets": shown })))
}
