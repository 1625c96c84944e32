//! `POST /{locale}/demo`: the form's message goes to ai, and the page comes back with the answer.

use super::{nothing_here, page};
use crate::{
    App,
    domain::{Choice, Locale, Outcome, Reply, Texts},
};
use axum::{
    Form,
    extract::{ConnectInfo, Path, State},
    http::StatusCode,
    response::{Redirect, Response},
};
use kit::{client::sentence, http::ApiError};
use reqwest::Method;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};

/// The longest message of the demonstration.
const MOST_CHARACTERS: usize = 1000;

/// Somebody reloads the answer's address: back to the form.
pub(super) async fn back(Path(code): Path<String>) -> Result<Redirect, ApiError> {
    let locale = Locale::parse(&code).ok_or_else(nothing_here)?;
    Ok(Redirect::to(&format!("/{}#demo", locale.code())))
}

pub(super) async fn send(
    State(app): State<Arc<App>>,
    Path(code): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Form(choice): Form<Choice>,
) -> Result<Response, ApiError> {
    let locale = Locale::parse(&code).ok_or_else(nothing_here)?;
    let t = Texts::of(locale);
    let length = choice.message.trim().chars().count();
    let (status, outcome) = if length == 0 {
        (StatusCode::BAD_REQUEST, Outcome::Failed(t.empty))
    } else if length > MOST_CHARACTERS {
        (StatusCode::BAD_REQUEST, Outcome::Failed(t.too_long))
    } else {
        ask(&app, t, &choice, peer).await
    };
    // What was answered need not be written again.
    page(locale, choice, outcome, status)
}

async fn ask(app: &App, t: &'static Texts, choice: &Choice, peer: SocketAddr) -> (StatusCode, Outcome) {
    let away = |why: String| {
        tracing::warn!(%why, "the tutor cannot be asked");
        (StatusCode::SERVICE_UNAVAILABLE, Outcome::Failed(t.away))
    };
    let known = |list: &[(&'static str, &'static str)], given: &str| {
        list.iter().map(|(code, _)| *code).find(|code| *code == given)
    };
    let Some(ai) = &app.ai else { return away("AI_SERVICE_URL is not set".to_owned()) };
    let body = json!({
        "message": choice.message.trim(),
        "language": known(&t.languages, &choice.language).unwrap_or("en"),
        "level": known(&t.levels, &choice.level).unwrap_or("beginner"),
        "mode": known(&t.modes, &choice.mode).unwrap_or("tutor"),
    });
    let request = ai.request(Method::POST, "/api/v1/ai/chat");
    let answer = match request.header("x-user-id", format!("demo:{}", peer.ip())).json(&body).send().await {
        Ok(answer) => answer,
        Err(e) => return away(sentence(&e)),
    };
    let status = answer.status();
    if status.is_success() {
        return match answer.json::<Reply>().await {
            Ok(reply) => (StatusCode::OK, Outcome::Answered(reply)),
            Err(e) => away(sentence(&e)),
        };
    }
    let code = answer.json::<Value>().await.ok().and_then(|b| Some(b.get("code")?.as_str()?.to_owned()));
    match code.as_deref() {
        Some("budget_exceeded") => (StatusCode::TOO_MANY_REQUESTS, Outcome::Failed(t.budget)),
        Some("rate_limited") => (StatusCode::TOO_MANY_REQUESTS, Outcome::Failed(t.too_often)),
        code => away(format!("ai answered {status} {}", code.unwrap_or_default())),
    }
}
