//! The service as its callers meet it, with a db beside it that says what it is told to.

use axum::{Json, Router, routing::get};
use kit::{
    clock::Clock,
    http,
    program::{Deps, Running},
    settings::Settings,
    tasks::Tasks,
};
use std::time::Duration;

async fn auth(pairs: &[(&str, &str)]) -> Running {
    let settings = pairs.iter().fold(Settings::from_pairs([("PORT", "0")]), |s, (k, v)| s.with(*k, *v));
    let config = auth::Config::from_settings(&settings).expect("settings");
    let bind = auth::PROGRAM.bind(&config.place).await.expect("bind");
    auth::start(config, Deps { tasks: Tasks::new(Clock::system()), bind }).await.expect("start")
}

async fn get_json(running: &Running, path: &str) -> (u16, serde_json::Value) {
    let http = kit::client::build(Duration::from_secs(5)).expect("client");
    let answer = http.get(format!("{}{path}", running.base())).send().await.expect("answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
}

#[tokio::test]
async fn with_db_it_works_and_hands_on_its_figures() {
    let router = Router::new()
        .route("/api/v1/health", get(|| async { "ok" }))
        .route("/api/v1/users/metrics", get(|| async { Json(serde_json::json!({"totalUsers": 7})) }));
    let tasks = Tasks::new(Clock::system());
    let bind = http::bind("db", "127.0.0.1:0").await.expect("bind");
    let base = format!("http://{}/api/v1", bind.address);
    http::Server::start(&tasks, "db", bind, router, Duration::from_secs(1));
    let running = auth(&[("DB_SERVICE_URL", &base)]).await;
    let (status, health) = get_json(&running, "/api/v1/health").await;
    assert_eq!((status, health["status"].as_str()), (200, Some("ok")), "{health}");
    assert_eq!(get_json(&running, "/api/v1/users/metrics").await.1["totalUsers"], 7);
    assert_eq!(get_json(&running, "/").await.1["service"], "auth");
    let metrics = get_json(&running, "/metrics").await.1;
    assert!(metrics.as_str().is_some_and(|m| m.contains("penpal_auth_failed_attempts_total 0")));
    assert!(running.stop().await);
}

#[tokio::test]
async fn without_db_it_says_that_it_cannot_work() {
    let running = auth(&[("DB_SERVICE_URL", "http://127.0.0.1:1")]).await;
    let (status, health) = get_json(&running, "/api/v1/health").await;
    assert_eq!((status, health["dependencies"][0]["status"].as_str()), (503, Some("down")));
    assert_eq!(get_json(&running, "/api/v1/users/metrics").await.0, 503);
}

#[tokio::test]
async fn the_figures_are_for_services() {
    let running = auth(&[("SERVICE_AUTH_TOKEN", "t")]).await;
    assert_eq!(get_json(&running, "/api/v1/users/metrics").await.0, 401);
}
