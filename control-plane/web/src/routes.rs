//! Routes and the roles they declare.

use crate::access::{Access, Identity, Need, Role};
use axum::{
    Router,
    extract::ConnectInfo,
    extract::Request,
    handler::Handler,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use kit::{
    clock::Clock,
    http::{ApiError, Routine},
};
use std::{net::SocketAddr, sync::Arc};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{Predicate, SizeAbove},
    },
};

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
    clock: Clock,
    router: Router,
    list: Vec<RouteInfo>,
}

impl Routes {
    /// `clock` tells when sessions end.
    pub fn new(access: Arc<Access>, clock: Clock) -> Self {
        Routes { access, clock, router: Router::new(), list: Vec::new() }
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
        let (access, clock) = (Arc::clone(&self.access), self.clock.clone());
        let guard = middleware::from_fn(move |request: Request, next: Next| {
            let (access, now) = (Arc::clone(&access), clock.now_ms());
            async move { guarded(&access, need, now, request, next).await }
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

    /// The router, with protection against requests that other sites make browsers send. Programs get what is long
    /// compressed if they take it.
    pub fn into_router(self) -> Router {
        let compression = CompressionLayer::new()
            .quality(CompressionLevel::Fastest)
            .compress_when(SizeAbove::new(LONG).and(is_data));
        self.router.layer(compression).layer(tower_http::csrf::CsrfLayer::new())
    }
}

/// Shorter answers are sent as they are, in bytes.
const LONG: u64 = 4096;

/// Whether an answer is for programs: pages are not compressed, they may show what nobody else is to guess.
fn is_data(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    ["application/json", "text/plain", "application/openmetrics-text"].iter().any(|k| kind.starts_with(k))
}

async fn guarded(access: &Access, need: Need, now: i64, mut request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // For the audit, which what only reads never sees.
    let asked = changes.then(|| {
        let ip = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_string());
        (request.method().clone(), request.uri().path().to_owned(), ip)
    });
    // What dashboards ask and what is pushed comes all the time.
    let routine = match need {
        Need::Role(role) => role == Role::Viewer && request.uri().path().starts_with("/api/v1/"),
        Need::Push => true,
        Need::Service | Need::OwnToken => false,
    };
    let (who, mut response) = match access.check(need, request.uri(), request.headers(), now) {
        Ok(identity) => {
            request.extensions_mut().insert::<Identity>(identity.clone());
            (identity, next.run(request).await)
        }
        Err(refusal) => {
            // Who comes with too little is known all the same.
            let who = access.identify(request.headers(), now).unwrap_or_else(Identity::nobody);
            (who, refused(refusal, &request))
        }
    };
    // Queries by POST change nothing. Services' money is in the ledger; a person's hand in it is not. Beats are
    // samples.
    let audited = match need {
        Need::Role(role) => role != Role::Viewer,
        // Samples are no change that a person makes, and come all the time.
        Need::Push => false,
        Need::Service => !access.is_open() && who.role == Role::Admin,
        Need::OwnToken => false,
    };
    if routine {
        response.extensions_mut().insert(Routine);
    }
    if let Some((method, path, ip)) = asked.filter(|_| audited) {
        // Logging in makes somebody of nobody.
        let who = response.extensions().get::<Identity>().unwrap_or(&who);
        let status = response.status().as_u16();
        tracing::info!(
            target: "audit", who = %who.name, role = who.role.as_str(), ip = ip.as_deref().unwrap_or("unknown"),
            method = %method, path = %path, status, "a change was asked for"
        );
    }
    response
}

/// A refusal; who looks for a page with a browser is led to the door instead.
fn refused(refusal: ApiError, request: &Request) -> Response {
    let path = request.uri().path();
    let page = matches!(*request.method(), Method::GET | Method::HEAD)
        && !path.starts_with("/api/")
        && !path.starts_with("/-/")
        && accepts_pages(request.headers());
    if refusal.status != StatusCode::UNAUTHORIZED || !page {
        return refusal.into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let next: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
    let headers = [
        (header::LOCATION, format!("/login?next={next}")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::VARY, "accept, authorization, cookie".to_owned()),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn accepts_pages(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT).iter().filter_map(|v| HeaderValue::to_str(v).ok());
    lists.flat_map(|list| list.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}
