//! The service as its callers meet it: a real server on a free port, with a budget authority beside it.

use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::post};
use kit::{clock::Clock, http, program::Running, settings::Settings, tasks::Tasks};
use serde_json::{Value, json};
use std::time::Duration;

/// An authority that grants everything, or nothing.
async fn authority(grants: bool) -> (String, Tasks) {
    let path = "/api/vigie/v1/ai/reservations";
    let reserve = move || async move {
        if grants {
            return (StatusCode::CREATED, Json(json!({"id": "r"}))).into_response();
        }
        let body = json!({"code": "budget_exceeded", "budget": "platform", "resets_at": "tomorrow"});
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "77")], Json(body)).into_response()
    };
    let router = Router::new()
        .route(path, post(reserve))
        .route(&format!("{path}/{{id}}/start"), post(|| async { Json(json!({})) }))
        .route(&format!("{path}/{{id}}/settle"), post(|| async { Json(json!({"cost_usd": "0.0005"})) }))
        .route("/api/v1/health", axum::routing::get(|| async { "ok" }));
    let tasks = Tasks::new(Clock::system());
    let bind = http::bind("authority", "127.0.0.1:0").await.expect("bind");
    let base = format!("http://{}", bind.address);
    http::Server::start(&tasks, "authority", bind, router, Duration::from_secs(1));
    (base, tasks)
}

struct Scene {
    running: Running,
    http: reqwest::Client,
    _authority: Tasks,
}

async fn scene(grants: bool, more: &[(&str, &str)]) -> Scene {
    let (base, authority) = authority(grants).await;
    let settings = Settings::from_pairs([("PORT", "0"), ("MONITORING_SERVICE_URL", base.as_str())]);
    let settings = more.iter().fold(settings, |s, (k, v)| s.with(*k, *v));
    let config = ai::Config::from_settings(&settings).expect("settings");
    let bind = ai::PROGRAM.bind(&config.place).await.expect("bind");
    let deps = kit::program::Deps { tasks: Tasks::new(Clock::system()), bind };
    let running = ai::start(config, deps).await.expect("start");
    Scene {
        running,
        http: kit::client::build(Duration::from_secs(5)).expect("client"),
        _authority: authority,
    }
}

impl Scene {
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.running.base());
        let answer = self.http.post(url).header("x-user-id", "ada").json(&body).send().await.expect("answer");
        (answer.status().as_u16(), answer.json().await.expect("json"))
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("{}{path}", self.running.base())).send().await.expect("answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }
}

#[tokio::test]
async fn a_chat_is_answered_with_corrections_usage_and_cost() {
    let scene = scene(true, &[]).await;
    let body = json!({"message": "He go to school", "language": "en", "conversationId": "c1"});
    let (status, answer) = scene.post("/api/v1/ai/chat", body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["corrections"][0]["corrected"], "He goes");
    assert_eq!(
        (&answer["provider"], &answer["model"], &answer["finishReason"], &answer["conversationId"]),
        (&json!("offline"), &json!("tutor-1"), &json!("stop"), &json!("c1"))
    );
    assert_eq!(answer["cost"], 0.0005);
    assert!(answer["usage"]["totalTokens"].as_u64() > Some(10));
    let body = json!({"messages": [{"role": "user", "content": "Je va bien"}], "language": "fr"});
    let (status, answer) = scene.post("/api/v1/ai/chat", body).await;
    assert_eq!((status, &answer["corrections"][0]["corrected"]), (200, &json!("Je vais")));
    let (_, metrics) = scene.get("/metrics").await;
    for part in [
        "ai_messages_processed_total{language=\"en\",level=\"intermediate\",type=\"chat\"} 1",
        "gen_ai_client_token_usage_count",
        "http_requests_total{method=\"POST\",route=\"/api/v1/ai/chat\",service=\"ai\",status=\"200\"} 2",
    ] {
        assert!(metrics.contains(part), "{part}\n{metrics}");
    }
    assert!(scene.running.stop().await);
}

#[tokio::test]
async fn a_full_budget_is_429_with_its_name_and_when_to_come_back() {
    let scene = scene(false, &[]).await;
    let url = format!("{}/api/v1/ai/chat", scene.running.base());
    let answer = scene.http.post(url).json(&json!({"message": "hi"})).send().await.expect("answer");
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().ok()), (429, Some("77")));
    let body: Value = answer.json().await.expect("json");
    assert_eq!((&body["code"], &body["budget"]), (&json!("budget_exceeded"), &json!("platform")));
}

#[tokio::test]
async fn without_vigie_a_chat_is_503_and_the_service_says_that_it_cannot_work() {
    let scene = scene(true, &[("MONITORING_SERVICE_URL", "http://127.0.0.1:1")]).await;
    let (status, body) = scene.post("/api/v1/ai/chat", json!({"message": "hi"})).await;
    assert_eq!((status, &body["code"]), (503, &json!("budget_authority_away")));
    assert_eq!(scene.get("/api/v1/health").await.0, 503);
}

#[tokio::test]
async fn a_user_who_calls_too_often_is_told_when_to_come_back() {
    let scene = scene(true, &[("AI_RATE_LIMIT", "2")]).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(scene.post("/api/v1/ai/chat", json!({"message": "hi"})).await.0);
    }
    assert_eq!(statuses, [200, 200, 429]);
    let url = format!("{}/api/v1/ai/chat", scene.running.base());
    let other = scene.http.post(url).header("x-user-id", "bob").json(&json!({"message": "hi"}));
    assert_eq!(other.send().await.expect("answer").status(), 200, "another user has a limit of his own");
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_said() {
    let scene = scene(true, &[]).await;
    let check = async |body: Value, part: &str| {
        let (status, answer) = scene.post("/api/v1/ai/chat", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("bad_request")), "{answer}");
        assert!(answer["message"].as_str().is_some_and(|m| m.contains(part)), "{answer}");
    };
    check(json!({}), "message").await;
    check(json!({"message": "x".repeat(4001)}), "4000").await;
    check(json!({"message": "x", "surprise": 1}), "surprise").await;
}

#[tokio::test]
async fn with_a_token_only_services_that_present_it_are_let_in() {
    let scene = scene(true, &[("SERVICE_AUTH_TOKEN", "s3cret")]).await;
    assert_eq!(scene.post("/api/v1/ai/chat", json!({"message": "hi"})).await.0, 401);
    assert_eq!(scene.get("/api/v1/ai/models").await.0, 401);
    let url = format!("{}/api/v1/ai/chat", scene.running.base());
    let answer = scene.http.post(url).bearer_auth("s3cret").json(&json!({"message": "hi"})).send().await;
    assert_eq!(answer.expect("answer").status(), 200);
    assert_eq!((scene.get("/").await.0, scene.get("/api/v1/health").await.0), (200, 200));
}

#[tokio::test]
async fn an_analysis_corrects_grammar_and_does_not_pretend_more() {
    let scene = scene(true, &[]).await;
    let (status, answer) =
        scene.post("/api/v1/ai/analyze", json!({"text": "i has english book", "language": "en"})).await;
    assert_eq!((status, answer["corrections"].as_array().map(Vec::len)), (200, Some(2)), "{answer}");
    let (status, answer) =
        scene.post("/api/v1/ai/analyze", json!({"text": "x", "analysisType": "style"})).await;
    assert_eq!((status, &answer["code"]), (503, &json!("needs_a_provider")));
}

#[tokio::test]
async fn bad_settings_are_reported_all_at_once() {
    let settings = Settings::from_pairs([
        ("PORT", "many"),
        ("MAX_TOKENS", "0"),
        ("TEMPERATURE", "9"),
        ("DEFAULT_AI_PROVIDER", "oracle"),
        ("MONITORING_SERVICE_URL", "nowhere"),
    ]);
    assert_eq!(ai::Config::from_settings(&settings).expect_err("problems").len(), 5);
}
