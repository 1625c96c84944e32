//! `metadata` and `targets/metadata`: what is said about families of metrics, by targets, by those who write
//! remotely, and by Vigie about its own.

use super::{ApiFailure, success};
use crate::{
    Plane, Routes,
    access::Need,
    params::{Params, invalid},
};
use axum::response::Response;
use collect::{Families, Metadata};
use http::Method;
use model::Matcher;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/metadata", need, move |params: Params| {
        let plane = own.clone();
        async move { by_metric(&plane, &params) }
    });
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/targets/metadata", need, move |params: Params| {
        let plane = own.clone();
        async move { by_target(&plane, &params) }
    });
}

/// Everything that is said about a family, each thing once. Targets mostly say the same.
pub(super) fn families(plane: &Plane) -> Vec<Arc<Families>> {
    let mut all: Vec<Arc<Families>> = plane.observed.targets().into_iter().map(|t| t.families).collect();
    all.push(plane.write.families());
    all.push(Arc::new(plane.observed.own_families()));
    all
}

/// A number where a negative one means no limit, as does absence.
fn limit(params: &Params, name: &str) -> Result<Option<usize>, ApiFailure> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| ApiFailure::bad_data(format!("{name} must be a number")))?;
    Ok(usize::try_from(number).ok())
}

/// The entries of all families, or of one.
fn entries<'a>(
    of: &'a Families,
    metric: Option<&str>,
) -> Box<dyn Iterator<Item = (&'a String, &'a Metadata)> + 'a> {
    match metric {
        Some(metric) => Box::new(of.get_key_value(metric).into_iter()),
        None => Box::new(of.iter()),
    }
}

fn by_metric(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let (most, most_each) = (limit(params, "limit")?, limit(params, "limit_per_metric")?.filter(|n| *n > 0));
    let all = families(plane);
    let mut found: BTreeMap<&str, Vec<&Metadata>> = BTreeMap::new();
    for (name, about) in all.iter().flat_map(|of| entries(of, params.get("metric"))) {
        let said = found.entry(name).or_default();
        if most_each.is_none_or(|most| said.len() < most) && !said.contains(&about) {
            said.push(about);
        }
    }
    let shown =
        |about: &&Metadata| json!({"type": about.kind.as_str(), "help": about.help, "unit": about.unit});
    let found: BTreeMap<&str, Vec<Value>> = found
        .into_iter()
        .take(most.unwrap_or(usize::MAX))
        .map(|(name, said)| (name, said.iter().map(shown).collect()))
        .collect();
    Ok(success(found))
}

fn by_target(plane: &Plane, params: &Params) -> Result<Response, ApiFailure> {
    let most = limit(params, "limit")?.unwrap_or(usize::MAX);
    let matchers: Vec<Matcher> = match params.get("match_target") {
        Some(text) => {
            promql::parse_metric_selector(text).map_err(|e| invalid("match_target", &e.to_string()))?
        }
        None => Vec::new(),
    };
    let metric = params.get("metric");
    let mut found = Vec::new();
    for target in plane.observed.targets() {
        // As elsewhere the limit is looked at before each target, not within one.
        if found.len() >= most {
            break;
        }
        if !matchers.iter().all(|m| m.matches_labels(&target.labels)) {
            continue;
        }
        for (name, about) in entries(&target.families, metric) {
            let mut entry = json!({
                "target": target.labels,
                "type": about.kind.as_str(),
                "help": about.help,
                "unit": about.unit,
            });
            // Who asked for it knows it.
            if metric.is_none() {
                entry["metric"] = name.as_str().into();
            }
            found.push(entry);
        }
    }
    Ok(success(found))
}
