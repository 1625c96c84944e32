//! Routes and the roles they declare.

use crate::access::{Access, Identity, Need};
use axum::{
    Router,
    extract::Request,
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::Method;
use std::sync::Arc;

/// A route as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    pub method: Method,
    pub path: &'static str,
    pub need: Need,
}

/// Collects routes. There is no way to add one without saying who may call it.
#[derive(Debug)]
pub struct Routes {
    access: Arc<Access>,
    router: Router,
    list: Vec<RouteInfo>,
}

impl Routes {
    pub fn new(access: Arc<Access>) -> Self {
        Routes { access, router: Router::new(), list: Vec::new() }
    }

    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Adds a route. Its handler may take the caller's [`Identity`] as an extension.
    pub fn add<H, T>(&mut self, method: Method, path: &'static str, need: Need, handler: H) -> &mut Self
    where
        H: Handler<T, ()>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        let access = Arc::clone(&self.access);
        let guard = middleware::from_fn(move |request: Request, next: Next| {
            let access = Arc::clone(&access);
            async move { guarded(&access, need, request, next).await }
        });
        let router = std::mem::take(&mut self.router);
        self.router = router.route(path, on(filter, handler).layer(guard));
        self.list.push(RouteInfo { method, path, need });
        self
    }

    /// The same route by GET and POST, as Prometheus has its queries.
    pub fn add_get_post<H, T>(&mut self, path: &'static str, need: Need, handler: H) -> &mut Self
    where
        H: Handler<T, ()>,
        T: 'static,
    {
        self.add(Method::GET, path, need, handler.clone()).add(Method::POST, path, need, handler)
    }

    /// Every route with its role.
    pub fn list(&self) -> &[RouteInfo] {
        &self.list
    }

    /// The router, with protection against requests that other sites make browsers send.
    pub fn into_router(self) -> Router {
        self.router.layer(tower_http::csrf::CsrfLayer::new())
    }
}

#[expect(clippy::disallowed_methods, reason = "a session ends by the wall clock; nothing is measured")]
fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

async fn guarded(access: &Access, need: Need, mut request: Request, next: Next) -> Response {
    let identity = match access.check(need, request.headers(), wall_ms()) {
        Ok(identity) => identity,
        Err(refusal) => return refusal.into_response(),
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let service = need == Need::Service;
    request.extensions_mut().insert::<Identity>(identity.clone());
    let response = next.run(request).await;
    // Queries by POST change nothing, and services' money is in the ledger: the audit log is for people.
    if changes && !service && need != Need::Role(crate::Role::Viewer) {
        tracing::info!(target: "audit", who = %identity.name, method = %method, path = %path, status = response.status().as_u16(), "a change was asked for");
    }
    response
}
