//! Runbooks, captured mail, logging in and out.

use super::{Frame, clock, page};
use crate::{
    Plane, Routes,
    access::{Access, Identity, Need, Role, SESSION_COOKIE, SESSION_SECONDS},
    params::Params,
};
use askama::Template;
use axum::{
    Extension,
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, header};
use kit::http::ApiError;
use pulldown_cmark::{Alignment, CowStr, Event, Options, Parser, Tag};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "runbook.html")]
struct Runbook {
    frame: Frame,
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
    frame: Frame,
    mails: Vec<Mail>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    wrong: bool,
    /// Where whoever logs in wanted to go.
    next: String,
}

pub(super) fn add(routes: &mut Routes, plane: &Plane, viewer: Need) {
    let own = plane.clone();
    routes.add(
        Method::GET,
        "/runbooks/{name}",
        viewer,
        move |Extension(who): Extension<Identity>, Path(name): Path<String>| {
            let plane = own.clone();
            async move { runbook(&plane, &who, &name).await }
        },
    );
    let own = plane.clone();
    routes.add(Method::GET, "/mail", viewer, move |Extension(who): Extension<Identity>| {
        let plane = own.clone();
        async move { mail(&plane, &who) }
    });
    let open = Need::Role(Role::Open);
    routes.add(Method::GET, "/login", open, |params: Params| async move {
        page(&Login { wrong: false, next: next(&params) })
    });
    let (own, access) = (plane.clone(), Arc::clone(routes.access()));
    routes.add(Method::POST, "/login", open, move |params: Params| {
        let (plane, access) = (own.clone(), Arc::clone(&access));
        async move { log_in(&plane, &access, &params) }
    });
    let (own, access) = (plane.clone(), Arc::clone(routes.access()));
    routes.add(Method::POST, "/logout", open, move |headers: HeaderMap| {
        let (plane, access) = (own.clone(), Arc::clone(&access));
        async move {
            let who = access.log_out(&headers).unwrap_or_else(Identity::nobody);
            let cookie = cookie(&plane, "", 0);
            let headers = [(header::SET_COOKIE, cookie), (header::LOCATION, "/login".to_owned())];
            (StatusCode::SEE_OTHER, Extension(who), headers)
        }
    });
}

fn log_in(plane: &Plane, access: &Access, params: &Params) -> Response {
    let next = next(params);
    match params.get("token").and_then(|token| access.log_in(token.trim(), plane.clock.now_ms())) {
        Some((id, who)) => {
            let cookie = cookie(plane, &id, SESSION_SECONDS);
            let headers = [(header::SET_COOKIE, cookie), (header::LOCATION, next)];
            (StatusCode::SEE_OTHER, Extension(who), headers).into_response()
        }
        None => {
            let mut answer = page(&Login { wrong: true, next });
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            answer
        }
    }
}

/// The page to go on to: one of ours, whoever wrote the link.
fn next(params: &Params) -> String {
    let ours = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    };
    params.get("next").filter(ours).unwrap_or("/").to_owned()
}

/// The session's cookie. Messages link here from other sites, so it comes along when somebody follows a link
/// (`Lax`), but with no request that another site makes by itself.
fn cookie(plane: &Plane, id: &str, seconds: i64) -> String {
    let secure = if plane.external_url.starts_with("https://") { "; Secure" } else { "" };
    format!("{SESSION_COOKIE}={id}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}")
}

async fn runbook(plane: &Plane, who: &Identity, name: &str) -> Response {
    // Names are words: no path can be made of them.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return ApiError::not_found("there is no such runbook").into_response();
    }
    let path = plane.config_dir.join("ops/runbooks").join(format!("{name}.md"));
    let Ok(text) = tokio::fs::read_to_string(&path).await else {
        return ApiError::not_found(format!("there is no ops/runbooks/{name}.md")).into_response();
    };
    let html = rendered(&text);
    let title = text.lines().next().unwrap_or(name).trim_start_matches('#').trim().to_owned();
    page(&Runbook { frame: Frame::new(plane, who), title, html })
}

/// Markdown as HTML that needs no trust: the file may come from anybody who may write rules. Raw HTML is shown as
/// text, links lead only where links may lead, and tables come without style attributes, which our policy forbids.
fn rendered(text: &str) -> String {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = if may_lead(&dest_url) { dest_url } else { CowStr::Borrowed("") };
            Event::Start(Tag::Link { link_type, dest_url, title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let dest_url = if may_lead(&dest_url) { dest_url } else { CowStr::Borrowed("") };
            Event::Start(Tag::Image { link_type, dest_url, title, id })
        }
        Event::Start(Tag::Table(columns)) => Event::Start(Tag::Table(vec![Alignment::None; columns.len()])),
        event => event,
    });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    html
}

/// Whether an address is one of ours, or of the web, or of mail.
fn may_lead(address: &str) -> bool {
    // Browsers drop such characters before they look for a scheme.
    let plain: String = address.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
    match plain.split(['/', '?', '#']).next().and_then(|start| start.split_once(':')) {
        Some((scheme, _)) => ["http", "https", "mailto"].iter().any(|s| scheme.eq_ignore_ascii_case(s)),
        None => true,
    }
}

fn mail(plane: &Plane, who: &Identity) -> Response {
    let mails = plane
        .alerting
        .captured()
        .into_iter()
        .rev()
        .map(|m| Mail { at: clock(m.at), to: m.to.join(", "), subject: m.subject, text: m.text })
        .collect();
    page(&Captured { frame: Frame::new(plane, who), mails })
}
