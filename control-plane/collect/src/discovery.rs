//! Targets that are found while Vigie runs: in files and by HTTP.
//!
//! One reconciler for each entry of `file_sd_configs` and `http_sd_configs`. What was found last stays in force
//! until something else is found: a file that cannot be read as one, or a server that does not answer, takes no
//! target away; it is an error of its loop, and counted.

mod files;
mod http;
#[cfg(test)]
mod tests;

use crate::scrape::{
    client::Place,
    config::{Group, group},
};
use kit::{
    problem::Problems,
    yaml::{Document, Kind, MapReader},
};
use model::duration;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub(crate) use files::look;
pub(crate) use http::{HttpSource, ask};

/// Where targets are found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    Files { patterns: Vec<PathBuf>, refresh: Duration },
    Http(Box<HttpSource>),
}

/// Groups by where they were found: a file's path, an address.
pub(crate) type FoundGroups = BTreeMap<String, Found>;

/// What was last good.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// Of the text that the groups were read from.
    hash: u64,
    pub(crate) groups: Vec<Group>,
}

/// Files are looked at this often, however long their refresh interval is: what changed is seen soon.
const LOOK: Duration = Duration::from_secs(5);

impl Source {
    /// Whether what the one has found may stay until the other is looked at for the first time: then it goes, if
    /// it is not found again.
    pub(crate) fn looks_where(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Files { .. }, Source::Files { .. }) => true,
            (Source::Http(a), Source::Http(b)) => a.url == b.url,
            _ => false,
        }
    }

    /// How often it is looked at.
    pub(crate) fn interval(&self) -> Duration {
        match self {
            Source::Files { refresh, .. } => LOOK.min(*refresh),
            Source::Http(source) => source.refresh,
        }
    }
}

/// Reads `file_sd_configs` and `http_sd_configs` of a job.
pub(crate) fn read(r: &mut MapReader<'_>, place: Place<'_>) -> Vec<Source> {
    let mut sources = Vec::new();
    for node in r.list("file_sd_configs") {
        if node.is_null() {
            r.problem(node, "empty or null section in file_sd_configs");
            continue;
        }
        let Some(mut r) = r.item(node) else { continue };
        let mut patterns = Vec::new();
        let named = r.texts("files");
        if named.is_empty() {
            r.problem(node, "a file_sd_config names no files");
        }
        for (node, pattern) in named {
            if is_pattern(pattern) {
                patterns.push(place.dir.join(pattern));
            } else {
                let message = format!("{pattern:?} is no path of files to discover targets in");
                let problem = r.doc.problem(node, message);
                r.problems
                    .push(problem.with_help(
                        "it ends in .json, .yml or .yaml, and may have one * in its last element",
                    ));
            }
        }
        let refresh = refresh(&mut r).unwrap_or(Duration::from_mins(5));
        r.finish();
        sources.push(Source::Files { patterns, refresh });
    }
    for node in r.list("http_sd_configs") {
        if node.is_null() {
            r.problem(node, "empty or null section in http_sd_configs");
            continue;
        }
        sources.extend(r.item(node).and_then(|r| http::read(r, place)).map(|s| Source::Http(Box::new(s))));
    }
    sources
}

fn refresh(r: &mut MapReader<'_>) -> Option<Duration> {
    r.duration("refresh_interval", |text| match duration::parse(text) {
        Ok(d) if d < Duration::from_millis(100) => Err("it must be at least 100ms".to_owned()),
        other => other.map_err(|e| e.to_string()),
    })
}

/// As Prometheus has it: an ending that it knows, and at most one star, in the last element.
fn is_pattern(pattern: &str) -> bool {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let known = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];
    !folder.contains('*') && name.matches('*').count() <= 1 && known.iter().any(|end| name.ends_with(end))
}

/// Reads groups of targets, as JSON or YAML; `meta` is a label that all of them get.
fn groups(name: &str, text: &str, meta: (&str, &str)) -> Result<Vec<Group>, Problems> {
    // JSON is YAML, as far as groups go.
    let doc = Document::parse(name, text)?;
    let mut problems = Problems::default();
    let mut all = Vec::new();
    match &doc.root.kind {
        Kind::Null => {}
        Kind::Seq(items) => {
            for item in items {
                if item.is_null() {
                    problems.push(doc.problem(item, "an empty group of targets"));
                    continue;
                }
                all.extend(MapReader::new(&doc, item, &mut problems).map(group));
            }
        }
        _ => problems.push(doc.problem(&doc.root, "there must be a list of groups of targets")),
    }
    for group in &mut all {
        group.labels.insert(meta.0.to_owned(), meta.1.to_owned());
    }
    problems.into_result(all)
}
