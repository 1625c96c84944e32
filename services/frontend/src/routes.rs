//! The service's addresses.

mod demo;

use crate::{
    App,
    domain::{Choice, Home, Locale, Outcome, Texts},
};
use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use kit::http::ApiError;
use std::sync::Arc;
use tower_http::csrf::CsrfLayer;

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/{locale}", get(home_in))
        .route("/{locale}/demo", post(demo::send).get(demo::back))
        .route("/style.css", get(style))
        .layer(CsrfLayer::new())
        .with_state(app)
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

fn nothing_here() -> ApiError {
    ApiError::not_found("there is nothing at this address")
}

/// The page as an answer.
fn page(locale: Locale, choice: Choice, outcome: Outcome, status: StatusCode) -> Result<Response, ApiError> {
    let home = Home { locale: locale.code(), t: Texts::of(locale), choice, outcome };
    let html = home.render().map_err(|e| ApiError::internal(&e.into()))?;
    let headers = [
        (header::CONTENT_LANGUAGE, locale.code()),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Cookie, Accept-Language"),
    ];
    Ok((status, headers, Html(html)).into_response())
}

async fn home(headers: HeaderMap) -> Result<Response, ApiError> {
    let cookies = header_text(&headers, header::COOKIE);
    let locale = Locale::choose(cookies, header_text(&headers, header::ACCEPT_LANGUAGE));
    page(locale, Choice::fresh(locale), Outcome::None, StatusCode::OK)
}

/// The page in a chosen language, which is kept for a year.
async fn home_in(Path(code): Path<String>) -> Result<Response, ApiError> {
    let locale = Locale::parse(&code).ok_or_else(nothing_here)?;
    let cookie = format!("lang={}; Path=/; Max-Age=31536000; SameSite=Lax", locale.code());
    let page = page(locale, Choice::fresh(locale), Outcome::None, StatusCode::OK)?;
    Ok(([(header::SET_COOKIE, cookie)], page).into_response())
}

async fn style() -> impl IntoResponse {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (headers, include_str!("../assets/style.css"))
}
