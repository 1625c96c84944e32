//! A real server on a free port: what every service answers.

use super::*;
use crate::{client, clock::Clock, secret::Secret, tasks::Tasks};
use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing_subscriber::layer::SubscriberExt;

struct Running {
    base: String,
    tasks: Tasks,
    http: reqwest::Client,
}

async fn start(auth: ServiceAuth, prepare: impl FnOnce(&Service)) -> Running {
    let clock = Clock::system();
    let limits = Limits { timeout: Duration::from_millis(300), body_bytes: 1024, ..Limits::default() };
    let service = Service::new("demo", "1.2.3", clock.clone(), auth, limits).expect("service");
    prepare(&service);
    let own = Router::new()
        .route("/api/v1/things/{id}", get(|| async { "thing" }))
        .route(
            "/panics",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
        .route("/routine", get(|| async { Routine.into_marked(StatusCode::OK) }))
        .route("/refused", get(|| async { Routine.into_marked(StatusCode::CONFLICT) }))
        .route("/hangs", get(|| async { std::future::pending::<()>().await }))
        .route("/guarded", get(|caller: Caller| async move { caller.service }))
        .route(
            "/echo",
            post(|Json(v): Json<std::collections::BTreeMap<String, u64>>| async move { Json(v) }),
        );
    let tasks = Tasks::new(clock);
    let bound = bind("demo", "127.0.0.1:0").await.expect("bind");
    let base = format!("http://{}", bound.address);
    Server::start(&tasks, "demo", bound, service.router(own), Duration::from_secs(1));
    Running { base, tasks, http: client::build(Duration::from_secs(5)).expect("client") }
}

impl Running {
    async fn get(&self, path: &str) -> (u16, serde_json::Value, reqwest::header::HeaderMap) {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.expect("answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("text");
        (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)), headers)
    }
}

impl Routine {
    fn into_marked(self, status: StatusCode) -> Response {
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Keeps which routes had a line that is not for debugging.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Route<'a>(&'a Lines);
        impl tracing::field::Visit for Route<'_> {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "route" {
                    self.0.0.lock().expect("lock").push(format!("{value:?}"));
                }
            }
        }
        if *event.metadata().level() <= tracing::Level::INFO {
            event.record(&mut Route(self));
        }
    }
}

#[tokio::test]
async fn what_comes_all_the_time_has_a_line_only_when_it_fails() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    // The server's tasks run on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let demo = start(ServiceAuth::default(), |_| {}).await;
    for path in ["/routine", "/refused", "/api/v1/health", "/api/v1/things/1"] {
        demo.get(path).await;
    }
    assert_eq!(*lines.0.lock().expect("lock"), ["/refused", "/api/v1/things/{id}"]);
}

#[tokio::test]
async fn errors_have_one_body_whatever_made_them() {
    let demo = start(ServiceAuth::default(), |_| {}).await;
    for (path, status, code) in [
        ("/nowhere", 404, "not_found"),
        ("/panics", 500, "internal"),
        ("/hangs", 504, "timeout"),
        ("/echo", 405, "method_not_allowed"),
    ] {
        let (got, body, headers) = demo.get(path).await;
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{path}");
        assert_eq!(body["request_id"].as_str(), headers["x-request-id"].to_str().ok(), "{path}");
    }
    let post = |body: String| {
        demo.http
            .post(format!("{}/echo", demo.base))
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    assert_eq!(post("{\"a\": \"x\"}".into()).await.expect("answer").status(), 400);
    assert_eq!(post(format!("{{\"{}\": 1}}", "a".repeat(2000))).await.expect("answer").status(), 413);
    assert!(demo.tasks.stop(Duration::from_secs(2)).await);
}

#[tokio::test]
async fn every_answer_carries_security_headers_and_the_callers_request_id() {
    let demo = start(ServiceAuth::default(), |_| {}).await;
    let answer = demo
        .http
        .get(format!("{}/api/v1/health", demo.base))
        .header("x-request-id", "abc-1")
        .send()
        .await
        .expect("answer");
    let headers = answer.headers();
    assert_eq!(headers["x-request-id"], "abc-1");
    assert_eq!(headers["x-frame-options"], "DENY");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(
        headers.contains_key("strict-transport-security") && headers.contains_key("content-security-policy")
    );
}

#[tokio::test]
async fn health_tells_each_dependency_and_503_when_a_required_one_is_down() {
    let demo = start(ServiceAuth::default(), |s| {
        s.health().depends_on("cache", false, || async { Err("gone".to_owned()) });
    })
    .await;
    let (status, body, _) = demo.get("/api/v1/health").await;
    assert_eq!(
        (status, body["status"].as_str(), body["version"].as_str()),
        (200, Some("degraded"), Some("1.2.3"))
    );
    assert_eq!(body["dependencies"][0]["error"], "gone");
    let demo = start(ServiceAuth::default(), |s| {
        s.health().depends_on("db", true, || async { Err("gone".to_owned()) });
    })
    .await;
    assert_eq!(demo.get("/api/v1/health").await.0, 503);
}

#[tokio::test]
async fn requests_are_counted_by_route_template() {
    let demo = start(ServiceAuth::default(), |_| {}).await;
    demo.get("/api/v1/things/1").await;
    demo.get("/api/v1/things/2").await;
    demo.get("/no/such/thing").await;
    let (_, text, _) = demo.get("/metrics").await;
    let text = text.as_str().expect("text");
    for line in [
        r#"http_requests_total{method="GET",route="/api/v1/things/{id}",service="demo",status="200"} 2"#,
        r#"http_requests_total{method="GET",route="unmatched",service="demo",status="404"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains("process_cpu_seconds_total"));
}

#[tokio::test]
async fn a_guarded_route_wants_the_token() {
    let demo = start(ServiceAuth::new(Some(Secret::new("s3cret"))), |_| {}).await;
    let ask = |token: &'static str| {
        demo.http
            .get(format!("{}/guarded", demo.base))
            .bearer_auth(token)
            .header("x-service-name", "ai")
            .send()
    };
    assert_eq!(ask("wrong").await.expect("answer").status(), 401);
    let answer = ask("s3cret").await.expect("answer");
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("text").as_str()), (200, "ai"));
}

#[tokio::test]
async fn a_taken_port_is_one_clear_line() {
    let first = bind("auth", "127.0.0.1:0").await.expect("bind");
    let error = bind("auth", &first.address.to_string()).await.expect_err("taken");
    assert_eq!(
        error.to_string(),
        format!(
            "auth cannot listen on {}: the port is taken; stop what uses it, or choose another port",
            first.address
        )
    );
}

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_let_go() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (running, clock) = (start(ServiceAuth::default(), |_| {}).await, Clock::system());
    let address = running.base.trim_start_matches("http://");
    // What begins as HTTP/2 does, and goes no further, says no more than silence.
    for begun in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        stream.write_all(begun).await.expect("sent");
        let before = clock.elapsed();
        // Time goes on by itself where nothing else does.
        let _end_or_reset = stream.read(&mut [0; 100]).await.unwrap_or(0);
        let waited = (clock.elapsed() - before).as_secs();
        assert!((9..=11).contains(&waited), "{begun:?}: {waited} s");
    }
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
    for part in [&b"P"[..], b"OST /panics HTTP/1.1\r\nhost: x\r\n\r\n"] {
        stream.write_all(part).await.expect("sent");
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 405");
}

#[tokio::test]
async fn stopping_lets_an_answer_in_flight_finish() {
    let clock = Clock::system();
    let service =
        Service::new("slow", "1", clock.clone(), ServiceAuth::default(), Limits::default()).expect("service");
    let (entered, enter) = tokio::sync::oneshot::channel();
    let entered = std::sync::Arc::new(std::sync::Mutex::new(Some(entered)));
    let release = std::sync::Arc::new(tokio::sync::Notify::new());
    let gate = std::sync::Arc::clone(&release);
    let own = Router::new().route(
        "/slow",
        get(move || {
            let (entered, gate) = (std::sync::Arc::clone(&entered), std::sync::Arc::clone(&gate));
            async move {
                if let Some(tx) = entered.lock().unwrap().take() {
                    tx.send(()).unwrap();
                }
                gate.notified().await;
                "done"
            }
        }),
    );
    let tasks = Tasks::new(clock);
    let bound = bind("slow", "127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}/slow", bound.address);
    Server::start(&tasks, "slow", bound, service.router(own), Duration::from_secs(5));
    let http = client::build(Duration::from_secs(5)).expect("client");
    let (answer, stopped) = tokio::join!(http.get(url).send(), async {
        enter.await.expect("entered");
        let stopping = tasks.stop(Duration::from_secs(5));
        release.notify_one();
        stopping.await
    });
    assert_eq!(answer.expect("answer").text().await.expect("text"), "done");
    assert!(stopped);
}
