//! What stands at the other end of Slack's webhook, a webhook and Grafana: one HTTP server on loopback that
//! records every request and answers as those do.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A request that was answered with success, or refused.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) taken: bool,
}

#[derive(Debug, Default)]
struct Inner {
    seen: Vec<Seen>,
    /// Beginnings of paths that are answered 503.
    refusing: Vec<String>,
    /// Grafana's objects by the path that shows them.
    grafana: BTreeMap<String, Value>,
}

#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) base: String,
    inner: Arc<Mutex<Inner>>,
}

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let receiver = Receiver { base, inner: Arc::default() };
        let router = Router::new().fallback(answer).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests to paths that begin so, in their order.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.inner().seen.iter().filter(|s| s.path.starts_with(path)).cloned().collect()
    }

    /// From now on such paths are answered 503; with none, all are taken again.
    pub(crate) fn refuse(&self, paths: &[&str]) {
        self.inner().refusing = paths.iter().map(|p| (*p).to_owned()).collect();
    }

    /// What Grafana shows at a path.
    pub(crate) fn grafana(&self, path: &str) -> Option<Value> {
        self.inner().grafana.get(path).cloned()
    }
}

async fn answer(
    State(receiver): State<Receiver>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = uri.path().to_owned();
    let mut inner = receiver.inner();
    let taken = !inner.refusing.iter().any(|r| path.starts_with(r.as_str()));
    inner.seen.push(Seen { path: path.clone(), headers, body: body.clone(), taken });
    if !taken {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match path.strip_prefix("/grafana") {
        Some(path) => grafana(&mut inner.grafana, &method, path, body),
        // Slack's webhooks answer so.
        None => "ok".into_response(),
    }
}

/// The part of Grafana's HTTP API that a push uses: objects appear under the paths that show them.
fn grafana(objects: &mut BTreeMap<String, Value>, method: &Method, path: &str, body: Value) -> Response {
    if *method == Method::GET {
        return match objects.get(path) {
            Some(object) => axum::Json(object.clone()).into_response(),
            None => (StatusCode::NOT_FOUND, axum::Json(json!({"message": "not found"}))).into_response(),
        };
    }
    let uid = |value: &Value| value["uid"].as_str().unwrap_or_default().to_owned();
    let place = match (method.as_str(), path) {
        ("POST", "/api/folders") => format!("/api/folders/{}", uid(&body)),
        ("POST", "/api/datasources") => format!("/api/datasources/uid/{}", uid(&body)),
        ("POST", "/api/dashboards/db") => format!("/api/dashboards/uid/{}", uid(&body["dashboard"])),
        ("PUT", path) if objects.contains_key(path) => path.to_owned(),
        _ => {
            return (StatusCode::NOT_FOUND, axum::Json(json!({"message": "no such address"})))
                .into_response();
        }
    };
    objects.insert(place, body);
    axum::Json(json!({"status": "success"})).into_response()
}
