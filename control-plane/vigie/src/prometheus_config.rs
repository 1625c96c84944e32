//! A whole `prometheus.yml`: which rule files it names, and how often they are evaluated.
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
}

/// Reads `rule_files` and `global.evaluation_interval`. Paths are relative to the file's folder.
pub(crate) fn rules(path: &Path, name: &str, text: &str, problems: &mut Problems) -> RuleSources {
    let mut sources = RuleSources::default();
    // A syntax error is told by whoever reads the scrape jobs.
    let Ok(doc) = Document::parse(name, text) else { return sources };
    let dir = path.parent().unwrap_or(Path::new("."));
    if let Some(mut root) = doc.reader(problems) {
        for (node, pattern) in root.texts("rule_files") {
            let found = files::matching(&dir.join(pattern));
            if !pattern.contains('*') && found.iter().any(|p| !p.exists()) {
                root.problem(node, format!("there is no rule file {pattern}"));
                continue;
            }
            sources.files.extend(found);
        }
    }
    let interval = doc.root.get("global").and_then(|g| g.get("evaluation_interval"));
    sources.interval = interval.and_then(Node::text).and_then(|t| model::duration::parse(t).ok());
    sources
}
