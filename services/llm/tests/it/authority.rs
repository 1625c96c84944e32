//! A budget authority for tests: speaks the protocol, remembers what it was asked, fails when told to.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use kit::{clock::Clock, http, tasks::Tasks};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Reserve(Value),
    Start(String),
    Settle(String, Value),
    Cancel(String),
}

#[derive(Debug, Default)]
struct Book {
    steps: Vec<Step>,
    settled: usize,
    refuse: bool,
    fail_next: usize,
    fail_settlements: usize,
}

pub(crate) struct Authority {
    book: Arc<Mutex<Book>>,
    base: String,
    _tasks: Tasks,
}

type Shared = State<Arc<Mutex<Book>>>;

impl Authority {
    pub(crate) async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let path = "/api/vigie/v1/ai/reservations";
        let router = Router::new()
            .route(path, post(reserve))
            .route(&format!("{path}/{{id}}"), axum::routing::delete(cancel))
            .route(&format!("{path}/{{id}}/start"), post(start))
            .route(&format!("{path}/{{id}}/settle"), post(settle))
            .with_state(Arc::clone(&book));
        let tasks = Tasks::new(Clock::system());
        let bind = http::bind("authority", "127.0.0.1:0").await.expect("bind");
        let base = format!("http://{}", bind.address);
        http::Server::start(&tasks, "authority", bind, router, Duration::from_secs(1));
        Authority { book, base, _tasks: tasks }
    }

    pub(crate) fn base(&self) -> String {
        self.base.clone()
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.book.lock().expect("the book").steps.clone()
    }

    pub(crate) fn settled(&self) -> usize {
        self.book.lock().expect("the book").settled
    }

    pub(crate) fn refuse_budget(&self) {
        self.book.lock().expect("the book").refuse = true;
    }

    pub(crate) fn fail_next(&self, times: usize) {
        self.book.lock().expect("the book").fail_next = times;
    }

    pub(crate) fn fail_settlements(&self, times: usize) {
        self.book.lock().expect("the book").fail_settlements = times;
    }
}

async fn reserve(State(book): Shared, Json(asked): Json<Value>) -> Response {
    let mut book = book.lock().expect("the book");
    book.steps.push(Step::Reserve(asked));
    if book.fail_next > 0 {
        book.fail_next -= 1;
        return StatusCode::BAD_GATEWAY.into_response();
    }
    if book.refuse {
        let body =
            json!({"code": "budget_exceeded", "budget": "platform", "resets_at": "2026-11-23T00:00:00Z"});
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")], Json(body)).into_response();
    }
    let body = json!({"id": "r-1", "reserved_usd": "0.001", "expires_at": "2026-11-22T00:10:00Z"});
    (StatusCode::CREATED, Json(body)).into_response()
}

async fn start(State(book): Shared, Path(id): Path<String>) -> Json<Value> {
    book.lock().expect("the book").steps.push(Step::Start(id));
    Json(json!({}))
}

async fn settle(State(book): Shared, Path(id): Path<String>, Json(usage): Json<Value>) -> Response {
    let mut book = book.lock().expect("the book");
    book.steps.push(Step::Settle(id, usage));
    if book.fail_settlements > 0 {
        book.fail_settlements -= 1;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    book.settled += 1;
    Json(json!({"cost_usd": "0.000123"})).into_response()
}

async fn cancel(State(book): Shared, Path(id): Path<String>) -> StatusCode {
    book.lock().expect("the book").steps.push(Step::Cancel(id));
    StatusCode::NO_CONTENT
}
