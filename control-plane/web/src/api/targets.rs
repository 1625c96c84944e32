//! `targets`, `targets/relabel_steps`, `scrape_pools` and their configuration.

use super::{ApiFailure, success, time};
use crate::{
    Plane, Routes, TargetView,
    access::Need,
    params::{Params, invalid},
};
use axum::response::Response;
use collect::{RelabelRule, RelabelStep};
use http::{Method, StatusCode};
use model::Labels;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use url::Url;

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/targets", need, move |params: Params| {
        let plane = own.clone();
        async move { targets(&plane, &params) }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/targets/relabel_steps", need, move |params: Params| {
        let plane = own.clone();
        async move { relabel_steps(&plane, &params) }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/scrape_pools", need, move || {
        let plane = own.clone();
        async move {
            let mut names = plane.observed.scrape_pools();
            names.sort();
            success(json!({"scrapePools": names}))
        }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/scrape_pools/config", need, move |params: Params| {
        let plane = own.clone();
        async move {
            let pool = scrape_pool(&params)?;
            match plane.about.job_config(pool) {
                Some(yaml) => Ok(success(json!({"yaml": yaml}))),
                None => Err(ApiFailure::new(StatusCode::NOT_FOUND, "not_found", no_pool(pool))),
            }
        }
    });
}

fn scrape_pool(params: &Params) -> Result<&str, ApiFailure> {
    params.get("scrapePool").ok_or_else(|| ApiFailure::bad_data("no scrapePool parameter provided"))
}

fn no_pool(pool: &str) -> String {
    format!("there is no scrape pool {pool:?}")
}

/// Where a target is for those who are elsewhere: this machine is known to them by another name.
fn global_url(url: &str, external: &str) -> String {
    let own = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let (Ok(mut url), Ok(external)) = (Url::parse(url), Url::parse(external)) else { return url.to_owned() };
    if own(&url) {
        // What cannot be said stays as it is.
        let _unchanged = url.set_host(external.host_str());
    }
    url.into()
}

fn target(view: &TargetView, external: &str) -> Value {
    json!({
        "discoveredLabels": view.discovered,
        "labels": view.labels,
        "scrapePool": view.pool,
        "scrapeUrl": view.url,
        "globalUrl": global_url(&view.url, external),
        "lastError": view.error.clone().unwrap_or_default(),
        "lastScrape": time(view.last),
        "lastScrapeDuration": view.duration.as_secs_f64(),
        "health": match view.up { None => "unknown", Some(true) => "up", Some(false) => "down" },
        "scrapeInterval": model::duration::format(view.interval),
        "scrapeTimeout": model::duration::format(view.timeout),
    })
}

fn targets(plane: &Plane, params: &Params) -> Response {
    let pool = params.get("scrapePool");
    let wanted = |p: &str| pool.is_none_or(|asked| asked == p);
    let mut active: Vec<Value> = plane
        .observed
        .targets()
        .iter()
        .filter(|t| wanted(&t.pool))
        .map(|t| target(t, &plane.external_url))
        .collect();
    let mut dropped = Vec::new();
    let pools = plane.observed.scrape_pools().into_iter();
    let mut counts: BTreeMap<String, usize> = pools.map(|pool| (pool, 0)).collect();
    for labels in plane.observed.dropped() {
        // A target begins with its pool as its job.
        let pool = labels.value("job").to_owned();
        *counts.entry(pool.clone()).or_default() += 1;
        if wanted(&pool) {
            dropped.push(json!({"discoveredLabels": labels, "scrapePool": pool}));
        }
    }
    let state = params.get("state").unwrap_or("any").to_lowercase();
    // No target is in a state that there is not.
    if !matches!(&*state, "any" | "active") {
        active.clear();
    }
    if !matches!(&*state, "any" | "dropped") {
        dropped.clear();
    }
    success(json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": counts,
    }))
}

fn relabel_steps(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let pool = scrape_pool(params)?;
    let text = params.get("labels").ok_or_else(|| ApiFailure::bad_data("no labels parameter provided"))?;
    let labels: BTreeMap<String, String> = serde_json::from_str(text)
        .map_err(|e| invalid("labels", &format!("it is no object of texts: {e}")))?;
    let labels = Labels::from_pairs(labels);
    let steps = plane.observed.relabel_steps(pool, &labels);
    let steps = steps.ok_or_else(|| ApiFailure::bad_data(no_pool(pool)))?;
    Ok(success(json!({"steps": steps.iter().map(step).collect::<Vec<Value>>()})))
}

fn step(step: &RelabelStep) -> Value {
    json!({"rule": rule(&step.rule), "output": step.output, "keep": step.keep})
}

/// A rule in the names of the configuration, without what it does not say.
fn rule(rule: &RelabelRule) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value, says: bool| {
        if says {
            out.insert(name.to_owned(), value);
        }
    };
    put("source_labels", json!(rule.source_labels), !rule.source_labels.is_empty());
    put("separator", json!(rule.separator), !rule.separator.is_empty());
    put("regex", json!(rule.regex), !rule.regex.is_empty());
    put("modulus", json!(rule.modulus), rule.modulus != 0);
    put("target_label", json!(rule.target_label), !rule.target_label.is_empty());
    put("replacement", json!(rule.replacement), !rule.replacement.is_empty());
    put("action", json!(rule.action), true);
    out.into()
}
