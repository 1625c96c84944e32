//! The console: is anything wrong, since when, what should I do. Rendered here, readable without JavaScript.

mod chart;
mod graph;
mod home;
mod pages;
mod series;

use crate::{
    Plane, Routes,
    access::{Identity, Need, Role},
};
use axum::response::{Html, IntoResponse, Response};
use http::{Method, header};
use kit::http::ApiError;
use model::Timestamp;

pub(crate) fn add(routes: &mut Routes, plane: &Plane) {
    let viewer = Need::Role(Role::Viewer);
    home::add(routes, plane, viewer);
    graph::add(routes, plane, viewer);
    pages::add(routes, plane, viewer);
    series::add(routes, plane, viewer);
    let open = Need::Role(Role::Open);
    routes.add(Method::GET, "/assets/console.css", open, || async {
        asset("text/css; charset=utf-8", include_str!("../assets/console.css"))
    });
    routes.add(Method::GET, "/assets/console.js", open, || async {
        asset("text/javascript; charset=utf-8", include_str!("../assets/console.js"))
    });
    routes.add(Method::GET, "/assets/explore.js", open, || async {
        asset("text/javascript; charset=utf-8", include_str!("../assets/explore.js"))
    });
    routes.add(Method::GET, "/assets/icon.svg", open, || async {
        asset("image/svg+xml", include_str!("../assets/icon.svg"))
    });
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

/// What stands around the pages of people who may read.
struct Frame {
    version: &'static str,
    /// Who can log out; empty where nobody logged in.
    user: String,
}

impl Frame {
    fn new(plane: &Plane, who: &Identity) -> Frame {
        let user = if *who.name == *Identity::nobody().name { String::new() } else { who.name.clone() };
        Frame { version: plane.version, user }
    }
}

/// A page, never kept by caches: it shows now.
fn page<T: askama::Template>(template: &T) -> Response {
    match template.render() {
        Ok(html) => ([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response(),
        Err(e) => ApiError::internal(&e.into()).into_response(),
    }
}

/// A time for people, in UTC.
fn clock(at: Timestamp) -> String {
    alerting::message::clock(at)
}

/// How long ago something was, or how long it lasts.
fn lasted(ms: i64) -> String {
    alerting::message::lasted(ms)
}
