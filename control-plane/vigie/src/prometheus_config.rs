//! A whole `prometheus.yml`: which rule files it names, how often they are evaluated, how many exemplars are kept.
//!
//! Its `scrape_configs` are read by `collect`; sections that belong to other programs are left alone.

use kit::{
    files,
    problem::Problems,
    yaml::{Document, Node},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What the file says about rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleSources {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) interval: Option<Duration>,
    pub(crate) max_exemplars: Option<usize>,
    pub(crate) out_of_order_window: Option<std::time::Duration>,
}

/// Exemplars that can be kept: some hundred bytes each.
const MOST_EXEMPLARS: u64 = 10_000_000;

/// Reads `rule_files`, `global.evaluation_interval` and `storage.exemplars`. Paths are relative to the file's folder.
pub(crate) fn rules(path: &Path, name: &str, text: &str, problems: &mut Problems) -> RuleSources {
    let mut sources = RuleSources::default();
    // A syntax error is told by whoever reads the scrape jobs.
    let Ok(doc) = Document::parse(name, text) else { return sources };
    let dir = path.parent().unwrap_or(Path::new("."));
    if let Some(mut root) = doc.reader(problems) {
        for (node, pattern) in root.texts("rule_files") {
            if pattern.rsplit_once('/').is_some_and(|(folder, _)| folder.contains('*')) {
                root.problem(node, format!("{pattern:?} has a * elsewhere than in its last element"));
                continue;
            }
            let found = files::matching(&dir.join(pattern));
            if !pattern.contains('*') && found.iter().any(|p| !p.exists()) {
                root.problem(node, format!("there is no rule file {pattern}"));
                continue;
            }
            sources.files.extend(found);
        }
        if let Some(mut storage) = root.child("storage") {
            if let Some(mut tsdb) = storage.child("tsdb") {
                let parse = |text: &str| model::duration::parse(text).map_err(|e| e.to_string());
                sources.out_of_order_window = tsdb.duration("out_of_order_time_window", parse);
            }
            if let Some(mut exemplars) = storage.child("exemplars") {
                if let Some(most) = exemplars.u64("max_exemplars") {
                    match usize::try_from(most).ok().filter(|_| most <= MOST_EXEMPLARS) {
                        Some(most) => sources.max_exemplars = Some(most),
                        None => {
                            let node = exemplars.node;
                            exemplars
                                .problem(node, format!("at most {MOST_EXEMPLARS} exemplars can be kept"));
                        }
                    }
                }
                exemplars.finish();
            }
        }
    }
    let interval = doc.root.get("global").and_then(|g| g.get("evaluation_interval"));
    sources.interval = interval.and_then(Node::text).and_then(|t| model::duration::parse(t).ok());
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<Option<usize>, &str>) {
        let mut problems = Problems::default();
        let sources = rules(Path::new("p.yml"), "p.yml", text, &mut problems);
        match want {
            Ok(most) => assert_eq!((sources.max_exemplars, problems.to_string().as_str()), (most, "")),
            Err(why) => assert!(problems.to_string().contains(why), "{problems}"),
        }
    }

    #[test]
    fn the_number_of_exemplars_is_read_and_the_rest_of_storage_left_alone() {
        check("storage: {tsdb: {out_of_order_time_window: 5m}, exemplars: {max_exemplars: 7}}", Ok(Some(7)));
        check("storage: {tsdb: {out_of_order_time_window: soon}}", Err("p.yml:1:44"));
        let text = "storage: {tsdb: {out_of_order_time_window: 5m}}";
        let window = rules(Path::new("p.yml"), "p.yml", text, &mut Problems::default()).out_of_order_window;
        assert_eq!(window, Some(std::time::Duration::from_mins(5)));
        check("storage: {exemplars: {max_exemplars: 0}}", Ok(Some(0)));
        check("storage: {tsdb: {}}", Ok(None));
        check(
            "storage: {exemplars: {max_exemplars: 10000001}}",
            Err("p.yml:1:22: at most 10000000 exemplars"),
        );
        check("storage: {exemplars: {max: 1}}", Err("unknown field `max`"));
        check("rule_files: ['my/*/rules']", Err("has a * elsewhere than in its last element"));
    }
}
