//! How exports are translated: the section `otlp` of a `prometheus.yml`, or of a file of its own.

use super::{
    convert::Promotion,
    name::{LabelNamer, MetricNamer},
};
use crate::config::{File, document_for_section};
use kit::{
    problem::Problems,
    yaml::{Document, MapReader, Node},
};
use std::collections::BTreeSet;

/// How metrics, attributes and histograms become series. The default is Prometheus's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    pub(crate) promotion: Promotion,
    pub(crate) metrics: MetricNamer,
    /// Whether `target_info` has what became `job` and `instance`, too.
    pub(crate) keep_identifying: bool,
    /// Whether histograms with bounds of their own become native ones.
    pub(crate) custom_buckets: bool,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        let labels = LabelNamer { utf8: false, mark_underscore: true, keep_underscores: true };
        OtlpConfig {
            promotion: Promotion { labels, ..Promotion::default() },
            metrics: MetricNamer::default(),
            keep_identifying: false,
            custom_buckets: false,
        }
    }
}

/// The strategies by their names: whether names keep their characters, and whether they get unit and type.
const STRATEGIES: [(&str, bool, bool); 4] = [
    ("UnderscoreEscapingWithSuffixes", false, true),
    ("UnderscoreEscapingWithoutSuffixes", false, false),
    ("NoUTF8EscapingWithSuffixes", true, true),
    ("NoTranslation", true, false),
];

impl OtlpConfig {
    /// Reads the section `otlp` of a whole `prometheus.yml`, or of a file that has nothing else.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn parse(
        file: File<'_>,
        whole_prometheus: bool,
        values: &dyn Fn(&str) -> Option<String>,
    ) -> Result<OtlpConfig, Problems> {
        let mut problems = Problems::default();
        let doc = document_for_section(file, whole_prometheus, values, &mut problems);
        let config = doc.map(|doc| read(&doc, whole_prometheus, &mut problems)).unwrap_or_default();
        problems.into_result(config)
    }
}

fn read(doc: &Document, whole_prometheus: bool, problems: &mut Problems) -> OtlpConfig {
    let mut config = OtlpConfig::default();
    let Some(mut root) = doc.reader(problems) else { return config };
    if let Some(mut otlp) = root.child("otlp") {
        read_section(&mut otlp, &mut config);
        otlp.finish();
    }
    if !whole_prometheus {
        root.finish();
    }
    config
}

fn read_section(r: &mut MapReader<'_>, config: &mut OtlpConfig) {
    let promotion = &mut config.promotion;
    promotion.all_resource = r.bool("promote_all_resource_attributes").unwrap_or(false);
    promotion.resource = attributes(r, "promote_resource_attributes");
    promotion.ignore_resource = attributes(r, "ignore_resource_attributes");
    promotion.scope = r.bool("promote_scope_metadata").unwrap_or(false);
    if promotion.all_resource && !promotion.resource.is_empty() {
        let node = r.node("promote_resource_attributes").unwrap_or(r.node);
        r.problem(node, "it cannot be there beside `promote_all_resource_attributes`, which takes all");
    }
    if !promotion.all_resource && !promotion.ignore_resource.is_empty() {
        let node = r.node("ignore_resource_attributes").unwrap_or(r.node);
        r.problem(node, "it needs `promote_all_resource_attributes: true`");
    }
    if let Some(name) = r.text("translation_strategy") {
        match STRATEGIES.iter().find(|(known, ..)| *known == name) {
            Some((_, utf8, suffixes)) => {
                config.metrics = MetricNamer { utf8: *utf8, suffixes: *suffixes, ..config.metrics };
                promotion.labels.utf8 = *utf8;
            }
            None => {
                let known: Vec<&str> = STRATEGIES.iter().map(|(name, ..)| *name).collect();
                let node = r.node("translation_strategy").unwrap_or(r.node);
                r.problem(node, format!("{name:?} is none of {}", known.join(", ")));
            }
        }
    }
    config.keep_identifying = r.bool("keep_identifying_resource_attributes").unwrap_or(false);
    config.custom_buckets = r.bool("convert_histograms_to_nhcb").unwrap_or(false);
    let labels = &mut promotion.labels;
    labels.mark_underscore = r.bool("label_name_underscore_sanitization").unwrap_or(true);
    labels.keep_underscores = r.bool("label_name_preserve_multiple_underscores").unwrap_or(true);
}

/// Names of attributes, each once.
fn attributes(r: &mut MapReader<'_>, field: &'static str) -> Vec<String> {
    let found: Vec<(&Node, &str)> = r.texts(field);
    let mut known = BTreeSet::new();
    for (node, name) in &found {
        if name.trim().is_empty() {
            r.problem(node, "an attribute has a name");
        } else if !known.insert(name.trim()) {
            r.problem(node, format!("{name:?} is there twice"));
        }
    }
    known.into_iter().map(str::to_owned).collect()
}
