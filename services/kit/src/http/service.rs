//! A service: its registry, its health, and the routes that every service has, put around its own.

use super::{
    Health, ServiceAuth,
    layer::{Around, around},
};
use crate::{
    clock::Clock,
    metrics::{self, HttpMetrics},
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::Registry;
use std::{sync::Arc, time::Duration};

/// What one request may take.
#[derive(Debug, Clone)]
pub struct Limits {
    pub timeout: Duration,
    pub body_bytes: usize,
    /// Routes (by template) that may take another time: streams, long queries, AI answers.
    pub route_timeouts: Vec<(&'static str, Duration)>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { timeout: Duration::from_secs(30), body_bytes: 1 << 20, route_timeouts: Vec::new() }
    }
}

impl Limits {
    pub(super) fn for_route(&self, route: &str) -> Duration {
        self.route_timeouts.iter().find(|(r, _)| *r == route).map_or(self.timeout, |(_, t)| *t)
    }
}

/// One service of the platform, or Vigie.
#[derive(Debug, Clone)]
pub struct Service {
    name: String,
    registry: Registry,
    health: Health,
    around: Arc<Around>,
}

impl Service {
    /// A service with its own metrics registry.
    ///
    /// # Errors
    /// When the metrics cannot be registered, which does not happen in a fresh registry.
    pub fn new(
        name: &str,
        version: &str,
        clock: Clock,
        auth: ServiceAuth,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let metrics = HttpMetrics::register(&registry, name)?;
        let health = Health::new(name, version, clock.clone());
        let around = Arc::new(Around { service: name.to_owned(), clock, metrics, auth, limits });
        Ok(Service { name: name.to_owned(), registry, health, around })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the service registers metrics of its own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn auth(&self) -> &ServiceAuth {
        &self.around.auth
    }

    /// The service's routes with health, metrics and the middleware around them.
    pub fn router(&self, own: Router) -> Router {
        let (asked, counted) = (self.clone(), self.clone());
        let health = get(move || {
            let service = asked.clone();
            async move { service.answer_health().await }
        });
        let metrics = get(move || {
            let service = counted.clone();
            async move { service.answer_metrics() }
        });
        let routes = own
            .route("/api/v1/health", health)
            .route("/metrics", metrics.clone())
            .route("/api/v1/metrics", metrics);
        self.wrap(routes)
    }

    /// The answer of `GET /api/v1/health`, for a router that has its own.
    pub async fn answer_health(&self) -> Response {
        let report = self.health.report().await;
        let status =
            if report.status == "unavailable" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(report)).into_response()
    }

    /// The answer of `GET /metrics`, for a router that guards it.
    pub fn answer_metrics(&self) -> Response {
        match metrics::render(&self.registry) {
            Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
            Err(e) => super::ApiError::internal(&e.into()).into_response(),
        }
    }

    /// Only the middleware: for a router that brings health and metrics itself.
    pub fn wrap(&self, routes: Router) -> Router {
        let ctx = Arc::clone(&self.around);
        routes
            .fallback(|| async { StatusCode::NOT_FOUND })
            .layer(DefaultBodyLimit::max(self.around.limits.body_bytes))
            .layer(middleware::from_fn(move |request, next| around(Arc::clone(&ctx), request, next)))
    }
}
