//! A real server on a free port.

use db::Config;
use kit::{clock::Clock, program::Deps, program::Running, settings::Settings, tasks::Tasks};
use reqwest::Method;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

struct Scene {
    running: Running,
    http: reqwest::Client,
}

async fn start(folder: &Path, token: Option<&str>) -> anyhow::Result<Running> {
    let settings = Settings::from_pairs([("PORT", "0"), ("DATA_DIR", folder.to_str().expect("UTF-8"))]);
    let settings = token.into_iter().fold(settings, |s, t| s.with("SERVICE_AUTH_TOKEN", t));
    let config = Config::from_settings(&settings)?;
    let bind = db::PROGRAM.bind(&config.place).await?;
    db::start(config, Deps { tasks: Tasks::new(Clock::system()), bind }).await
}

async fn scene(folder: &Path, token: Option<&str>) -> Scene {
    let running = start(folder, token).await.expect("start");
    Scene { running, http: kit::client::build(Duration::from_secs(5)).expect("client") }
}

impl Scene {
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.running.base()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("text");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }
}

fn ada(email: &str) -> Option<Value> {
    Some(json!({"email": email, "firstName": "Ada", "lastName": "L", "learningLanguage": "fr"}))
}

#[tokio::test]
async fn languages_are_seeded_and_public() {
    let folder = tempfile::tempdir().expect("folder");
    let scene = scene(folder.path(), Some("t")).await;
    let (status, all) = scene.get("/api/v1/languages").await;
    let codes: Vec<&str> = all.as_array().expect("list").iter().filter_map(|l| l["code"].as_str()).collect();
    assert_eq!((status, codes), (200, vec!["de", "en", "es", "fr", "it", "ja", "pt", "ru", "zh"]));
    assert_eq!(scene.get("/api/v1/languages/fr").await.1["nativeName"], "Fran\u{e7}ais");
    assert_eq!(scene.get("/api/v1/languages/xx").await.0, 404);
    for path in ["/api/v1/users", "/api/v1/users/1", "/api/v1/users/metrics", "/api/v1/users/email/a@b.c"] {
        assert_eq!(scene.get(path).await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn users_are_added_found_changed_and_removed() {
    let folder = tempfile::tempdir().expect("folder");
    let scene = scene(folder.path(), None).await;
    let (status, user) = scene.call(Method::POST, "/api/v1/users", ada(" Ada@Example.org ")).await;
    assert_eq!((status, user["email"].as_str()), (201, Some("ada@example.org")), "{user}");
    let (status, body) = scene.call(Method::POST, "/api/v1/users", ada("ada@example.org")).await;
    assert_eq!((status, body["code"].as_str()), (409, Some("duplicate")));
    let path = format!("/api/v1/users/{}", user["id"].as_str().expect("id"));
    assert_eq!(scene.get("/api/v1/users/email/ADA@example.org").await.1["id"], user["id"]);
    let change = json!({"firstName": "Augusta", "active": true});
    let (status, changed) = scene.call(Method::PATCH, &path, Some(change)).await;
    assert_eq!(
        (status, changed["firstName"].as_str(), changed["revision"].as_i64()),
        (200, Some("Augusta"), Some(2))
    );
    for bad in [
        json!({"email": "nobody", "firstName": "A", "lastName": "B"}),
        json!({"email": "a@b.c", "firstName": "", "lastName": "B"}),
        json!({"email": "a@b.c", "firstName": "A", "lastName": "B", "learningLanguage": "xx"}),
        json!({"email": "a@b.c", "firstName": "A", "lastName": "B", "role": "admin"}),
    ] {
        assert_eq!(scene.call(Method::POST, "/api/v1/users", Some(bad)).await.0, 400);
    }
    for i in 0..3 {
        scene.call(Method::POST, "/api/v1/users", ada(&format!("u{i}@example.org"))).await;
    }
    let (_, first) = scene.get("/api/v1/users?limit=3").await;
    assert_eq!((first["data"].as_array().map(Vec::len), first["total"].as_i64()), (Some(3), Some(4)));
    let next = first["next"].as_str().expect("next");
    let (_, second) = scene.get(&format!("/api/v1/users?limit=3&after={next}")).await;
    assert_eq!((second["data"].as_array().map(Vec::len), &second["next"]), (Some(1), &Value::Null));
    assert_eq!(scene.get("/api/v1/users/metrics").await.1["usersByLanguage"]["fr"], 4);
    assert_eq!(scene.call(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(scene.get(&path).await.0, 404);
}

#[tokio::test]
async fn a_second_start_goes_on_where_the_first_was_and_counts_its_users() {
    let folder = tempfile::tempdir().expect("folder");
    let first = scene(folder.path(), None).await;
    first.call(Method::POST, "/api/v1/users", ada("ada@example.org")).await;
    let busy = start(folder.path(), None).await.expect_err("in use").to_string();
    assert!(busy.contains("in use by another process"), "{busy}");
    assert!(first.running.stop().await);
    drop(first);
    let second = scene(folder.path(), None).await;
    assert_eq!(second.get("/api/v1/users/email/ada@example.org").await.0, 200);
    let (status, health) = second.get("/api/v1/health").await;
    assert_eq!((status, health["dependencies"][0]["name"].as_str()), (200, Some("store")));
    let counted = async {
        loop {
            let metrics = second.get("/metrics").await.1;
            let text = metrics.as_str().expect("text").to_owned();
            if text.contains("penpal_total_users 1")
                && text.contains("penpal_users_by_language{language=\"fr\"} 1")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), counted).await.expect("the gauges are counted");
}

#[test]
fn a_database_that_is_not_built_yet_is_said_and_not_ignored() {
    let settings = Settings::from_pairs([("MONGODB_URI", "mongodb://x")]);
    assert!(Config::from_settings(&settings).expect_err("refused").to_string().contains("SQLite only"));
}
