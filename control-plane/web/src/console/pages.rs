//! Runbooks, captured mail, logging in and out.

use super::{clock, page};
use crate::{
    Plane, Routes,
    access::{Need, Role, SESSION_COOKIE},
    params::Params,
};
use askama::Template;
use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header};
use kit::http::ApiError;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "runbook.html")]
struct Runbook {
    version: &'static str,
    title: String,
    html: String,
}

struct Mail {
    at: String,
    to: String,
    subject: String,
    text: String,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Captured {
    version: &'static str,
    mails: Vec<Mail>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    wrong: bool,
}

pub(super) fn add(routes: &mut Routes, plane: &Plane, viewer: Need) {
    let own = plane.clone();
    routes.add(Method::GET, "/runbooks/{name}", viewer, move |Path(name): Path<String>| {
        let plane = own.clone();
        async move { runbook(&plane, &name).await }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/mail", viewer, move || {
        let plane = own.clone();
        async move { mail(&plane) }
    });
    let open = Need::Role(Role::Open);
    routes.add(Method::GET, "/login", open, || async { page(&Login { wrong: false }) });
    let (own, access) = (plane.clone(), Arc::clone(routes.access()));
    routes.add(Method::POST, "/login", open, move |params: Params| {
        let (plane, access) = (own.clone(), Arc::clone(&access));
        async move {
            let now = plane.clock.now_ms();
            match params.get("token").and_then(|token| access.log_in(token.trim(), now)) {
                Some(id) => {
                    let secure = if plane.external_url.starts_with("https://") { "; Secure" } else { "" };
                    let cookie = format!(
                        "{SESSION_COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200{secure}"
                    );
                    (
                        StatusCode::SEE_OTHER,
                        [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())],
                    )
                        .into_response()
                }
                None => {
                    let mut answer = page(&Login { wrong: true });
                    *answer.status_mut() = StatusCode::UNAUTHORIZED;
                    answer
                }
            }
        }
    });
    let access = Arc::clone(routes.access());
    routes.add(Method::POST, "/logout", open, move |headers: HeaderMap| {
        let access = Arc::clone(&access);
        async move {
            access.log_out(&headers);
            let cookie = format!("{SESSION_COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
            (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/login".to_owned())])
        }
    });
}

async fn runbook(plane: &Plane, name: &str) -> Response {
    // Names are words: no path can be made of them.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return ApiError::not_found("there is no such runbook").into_response();
    }
    let path = plane.config_dir.join("ops/runbooks").join(format!("{name}.md"));
    let Ok(text) = tokio::fs::read_to_string(&path).await else {
        return ApiError::not_found(format!("there is no runbook {}", path.display())).into_response();
    };
    // Raw HTML in a runbook is shown as text: the file may come from anybody who may write rules.
    let events = pulldown_cmark::Parser::new(&text).map(|event| match event {
        pulldown_cmark::Event::Html(html) | pulldown_cmark::Event::InlineHtml(html) => {
            pulldown_cmark::Event::Text(html)
        }
        event => event,
    });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    let title = text.lines().next().unwrap_or(name).trim_start_matches('#').trim().to_owned();
    page(&Runbook { version: plane.version, title, html })
}

fn mail(plane: &Plane) -> Response {
    let mails = plane
        .alerting
        .captured()
        .into_iter()
        .rev()
        .map(|m| Mail { at: clock(m.at), to: m.to.join(", "), subject: m.subject, text: m.text })
        .collect();
    page(&Captured { version: plane.version, mails })
}
