//! What fills the store: the metrics, names and pairs with the most series.

use super::{Frame, page};
use crate::{
    Plane, Routes,
    access::{Identity, Need},
};
use askama::Template;
use axum::{Extension, response::Response};
use http::{Method, StatusCode};
use kit::http::ApiError;
use tsdb::Count;

/// Entries of a list.
const MOST: usize = 20;
/// Characters of a name that are shown.
const WIDTH: usize = 120;

struct List {
    id: &'static str,
    title: &'static str,
    name: &'static str,
    count: &'static str,
    rows: Vec<Count>,
}

#[derive(Template)]
#[template(path = "series.html")]
struct Series {
    frame: Frame,
    series: usize,
    pairs: usize,
    lists: Vec<List>,
}

pub(super) fn add(routes: &mut Routes, plane: &Plane, viewer: Need) {
    let own = plane.clone();
    routes.add(Method::GET, "/series", viewer, move |Extension(who): Extension<Identity>| {
        let plane = own.clone();
        async move { series(&plane, &who).await }
    });
}

fn short(counts: Vec<Count>) -> Vec<Count> {
    let cut = |name: String| {
        if name.chars().count() > WIDTH { name.chars().take(WIDTH).chain(['…']).collect() } else { name }
    };
    counts.into_iter().map(|(name, n)| (cut(name), n)).collect()
}

async fn series(plane: &Plane, who: &Identity) -> Result<Response, ApiError> {
    let Some(store) = plane.tsdb.clone() else {
        let message = "the series are in a store elsewhere, which is to be asked itself";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message));
    };
    let found = tokio::task::spawn_blocking(move || store.cardinality(MOST)).await;
    let found = found.map_err(|e| ApiError::internal(&e.into()))?;
    let list = |id, title, name, count, rows| List { id, title, name, count, rows: short(rows) };
    let lists = vec![
        list("metrics", "Metrics with the most series", "Metric", "Series", found.metrics),
        list("names", "Labels with the most values", "Label", "Values", found.names),
        list("pairs", "Label pairs with the most series", "Pair", "Series", found.pairs),
    ];
    Ok(page(&Series { frame: Frame::new(plane, who), series: found.series, pairs: found.label_pairs, lists }))
}
