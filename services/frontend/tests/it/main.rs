//! The pages as a browser without JavaScript meets them, with an ai beside them that says what it is told to.

use axum::{Json, Router, http::HeaderMap, http::StatusCode, response::IntoResponse, routing::post};
use kit::{
    clock::Clock,
    http,
    program::{Deps, Running},
    settings::Settings,
    tasks::Tasks,
};
use serde_json::json;
use std::time::Duration;

async fn ai(tasks: &Tasks) -> String {
    let chat = async |headers: HeaderMap, Json(body): Json<serde_json::Value>| {
        let message = body["message"].as_str().unwrap_or_default().to_owned();
        if message == "too dear" {
            return (StatusCode::TOO_MANY_REQUESTS, Json(json!({"code": "budget_exceeded"}))).into_response();
        }
        let user = headers["x-user-id"].to_str().unwrap_or_default().to_owned();
        Json(json!({
            "content": format!("<b>{user}</b> wrote {message} in {}", body["language"]),
            "corrections": [{"original": "He go", "corrected": "He goes", "explanation": "an -s"}],
        }))
        .into_response()
    };
    let bind = http::bind("ai", "127.0.0.1:0").await.expect("bind");
    let base = format!("http://{}", bind.address);
    let router = Router::new().route("/api/v1/ai/chat", post(chat));
    http::Server::start(tasks, "ai", bind, router, Duration::from_secs(1));
    base
}

async fn frontend(ai: Option<&str>) -> Running {
    let settings = Settings::from_pairs([("PORT", "0")]);
    let settings = ai.into_iter().fold(settings, |s, base| s.with("NEXT_PUBLIC_AI_SERVICE_URL", base));
    let config = frontend::Config::from_settings(&settings).expect("settings");
    let bind = frontend::PROGRAM.bind(&config.place).await.expect("bind");
    frontend::start(config, Deps { tasks: Tasks::new(Clock::system()), bind }).await.expect("start")
}

fn client() -> reqwest::Client {
    kit::client::build(Duration::from_secs(5)).expect("client")
}

async fn say(running: &Running, path: &str, message: &str) -> (u16, String) {
    let form = [("message", message), ("language", "en"), ("level", "beginner"), ("mode", "tutor")];
    let answer = client().post(format!("{}{path}", running.base())).form(&form).send().await.expect("answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

#[tokio::test]
async fn the_page_speaks_the_visitors_language() {
    let running = frontend(None).await;
    let get = async |path: &str, accept: &str| {
        let request = client().get(format!("{}{path}", running.base())).header("accept-language", accept);
        let answer = request.send().await.expect("answer");
        let cookie = answer.headers().get("set-cookie").and_then(|v| v.to_str().ok()).map(str::to_owned);
        (answer.status().as_u16(), cookie, answer.text().await.expect("text"))
    };
    let (status, cookie, page) = get("/", "en-GB").await;
    assert_eq!((status, cookie), (200, None));
    for part in [
        "<html lang=\"en\">",
        "name=\"viewport\"",
        "<main id=\"main\">",
        "label for=\"message\"",
        "/style.css",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script"), "there is none");
    assert!(get("/", "").await.2.contains("<html lang=\"fr\">"));
    let (_, cookie, page) = get("/fr", "en").await;
    assert!(page.contains("<html lang=\"fr\">") && cookie.is_some_and(|c| c.starts_with("lang=fr;")));
    assert_eq!(get("/de", "").await.0, 404);
    assert_eq!(get("/style.css", "").await.0, 200);
    let (status, _, health) = get("/api/v1/health", "").await;
    assert_eq!(status, 200);
    assert!(health.contains("degraded"), "{health}");
    assert!(running.stop().await);
}

#[tokio::test]
async fn the_form_brings_the_tutors_answer_back_escaped() {
    let tasks = Tasks::new(Clock::system());
    let base = ai(&tasks).await;
    let running = frontend(Some(&base)).await;
    let (status, page) = say(&running, "/en/demo", "He go").await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("<ins>He goes</ins>") && page.contains("role=\"status\""), "{page}");
    assert!(!page.contains("<b>demo:"), "what comes back is text");
    assert!(page.contains("demo:127.0.0.1"), "ai learns for whom");
}

#[tokio::test]
async fn every_refusal_is_a_sentence_on_the_page() {
    let tasks = Tasks::new(Clock::system());
    let base = ai(&tasks).await;
    let running = frontend(Some(&base)).await;
    let check = async |running: &Running, message: &str, status: u16, part: &str| {
        let (got, page) = say(running, "/en/demo", message).await;
        assert_eq!(got, status, "{message}");
        assert!(page.contains(part) && page.contains("role=\"alert\""), "{page}");
    };
    check(&running, "too dear", 429, "budget is used up").await;
    check(&running, " ", 400, "Write a message first").await;
    check(&running, &"x".repeat(1001), 400, "too long").await;
    check(&frontend(None).await, "hello", 503, "cannot answer now").await;
    check(&frontend(Some("http://127.0.0.1:1")).await, "hello", 503, "cannot answer now").await;
}

#[tokio::test]
async fn a_form_that_another_site_sends_is_refused() {
    let running = frontend(None).await;
    let request = client()
        .post(format!("{}/en/demo", running.base()))
        .header("sec-fetch-site", "cross-site")
        .form(&[("message", "spend")]);
    assert_eq!(request.send().await.expect("answer").status(), 403);
}
