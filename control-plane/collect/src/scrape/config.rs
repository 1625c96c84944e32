//! `scrape_configs` as Prometheus has them, read with every problem at its place.
//!
//! Fields of Prometheus that are known and not built yet are refused by name, so that nobody believes a setting
//! that does nothing.

pub(crate) mod auth;

use super::{
    client::{self, HttpConfig, Place},
    exposition::{Format, Forms},
    ingest::native::{self, NativeLimits},
    relabel::Relabel,
};
use crate::{
    config::{File, document},
    discovery::{self, Source},
};
use kit::{
    problem::Problems,
    yaml::{Document, Kind, MapReader, Node},
};
use model::{duration, labels::is_legacy_name};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Bounds on one scrape. `None`: no bound of the user's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) body_bytes: Option<u64>,
    pub(crate) samples: Option<u64>,
    pub(crate) labels: Option<u64>,
    pub(crate) label_name_bytes: Option<u64>,
    pub(crate) label_value_bytes: Option<u64>,
    pub(crate) targets: Option<u64>,
    /// Series of one target, beyond which new ones are left out. Set for all targets alike, not in the file.
    pub(crate) series: Option<u64>,
}

/// One group of `static_configs`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) targets: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// One job, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: bool,
    /// Whether series end too whose samples bring their own time.
    pub(crate) track_timestamps: bool,
    /// Whether names must be of the classic alphabet.
    pub(crate) legacy_names: bool,
    /// Whether a scrape's bounds are series too.
    pub(crate) extra_metrics: bool,
    /// Which forms of histograms are taken.
    pub(crate) forms: Forms,
    pub(crate) native: NativeLimits,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) scheme: String,
    pub(crate) path: String,
    pub(crate) params: Vec<(String, Vec<String>)>,
    pub(crate) http: HttpConfig,
    pub(crate) compression: bool,
    /// The value of the `Accept` header.
    pub(crate) accept: String,
    /// The format where the answer names none that is known.
    pub(crate) fallback: Option<Format>,
    pub(crate) limits: Limits,
    /// Dropped targets that are kept for show; `None`: all.
    pub(crate) keep_dropped: Option<u64>,
    pub(crate) groups: Vec<Group>,
    /// Where more are found.
    pub(crate) sources: Vec<Source>,
    pub(crate) relabel: Vec<Relabel>,
    pub(crate) metric_relabel: Vec<Relabel>,
}

/// `global`, as far as scraping goes.
#[derive(Debug, Clone, PartialEq)]
struct Global {
    interval: Duration,
    timeout: Duration,
    limits: Limits,
    protocols: Vec<String>,
    histograms: Histograms,
    extra_metrics: bool,
    keep_dropped: Option<u64>,
    names: Names,
}

/// What a job or `global` says about names.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Names {
    legacy: bool,
    escaping: Option<&'static str>,
}

/// What a job or `global` says about histograms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Histograms {
    forms: Forms,
    buckets: Option<u64>,
    factor: f64,
}

const PROTOCOLS: [(&str, &str); 5] = [
    ("OpenMetricsText1.0.0", "application/openmetrics-text;version=1.0.0"),
    ("OpenMetricsText0.0.1", "application/openmetrics-text;version=0.0.1"),
    ("PrometheusText1.0.0", "text/plain;version=1.0.0"),
    ("PrometheusText0.0.4", "text/plain;version=0.0.4"),
    (PROTO, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"),
];

const PROTO: &str = "PrometheusProto";

/// Known to Prometheus, not built here yet.
const NOT_YET: &[&str] = &[
    "scrape_failure_log_file",
    "dns_sd_configs",
    "consul_sd_configs",
    "kubernetes_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "azure_sd_configs",
    "gce_sd_configs",
    "digitalocean_sd_configs",
    "eureka_sd_configs",
    "hetzner_sd_configs",
    "ionos_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
];

/// Reads a whole file: `global` and `scrape_configs`. `own_only` refuses the other sections of a
/// `prometheus.yml`; else they are left alone.
///
/// `values` are those of `${NAME}` in the files that `scrape_config_files` names, and of `HTTP_PROXY` and its like.
pub(crate) fn read(
    doc: &Document,
    own_only: bool,
    values: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Vec<Job> {
    let dir = folder(doc);
    let Some(mut root) = doc.reader(problems) else { return Vec::new() };
    let global = read_global(root.child("global"));
    let mut jobs: Vec<Job> = Vec::new();
    read_jobs(&mut root, &global, Place { dir: &dir, values }, &mut jobs);
    for (node, pattern) in root.texts("scrape_config_files") {
        if pattern.rsplit_once('/').is_some_and(|(folder, _)| folder.contains('*')) {
            root.problem(node, format!("{pattern:?} has a * elsewhere than in its last element"));
            continue;
        }
        for path in kit::files::matching(&dir.join(pattern)) {
            match std::fs::read_to_string(&path) {
                Ok(text) => read_more(&path, &text, &global, values, root.problems, &mut jobs),
                Err(e) => root.problem(node, format!("cannot read {}: {e}", path.display())),
            }
        }
    }
    if !own_only {
        for other in
            ["rule_files", "alerting", "remote_write", "remote_read", "storage", "tracing", "runtime", "otlp"]
        {
            root.node(other);
        }
    }
    root.finish();
    jobs
}

fn folder(doc: &Document) -> PathBuf {
    Path::new(&doc.file).parent().unwrap_or(Path::new("")).to_owned()
}

fn read_jobs(root: &mut MapReader<'_>, global: &Global, place: Place<'_>, jobs: &mut Vec<Job>) {
    for node in root.list("scrape_configs") {
        if node.is_null() {
            root.problem(node, "empty scrape config");
            continue;
        }
        let Some(r) = root.item(node) else { continue };
        if let Some(job) = read_job(r, global, place) {
            if jobs.iter().any(|j| j.name == job.name) {
                let name_node = node.get("job_name").unwrap_or(node);
                root.problem(name_node, format!("another scrape config has the job name {:?}", job.name));
            }
            jobs.push(job);
        }
    }
}

/// Reads a file that `scrape_config_files` names: it has jobs and nothing else.
fn read_more(
    path: &Path,
    text: &str,
    global: &Global,
    values: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
    jobs: &mut Vec<Job>,
) {
    let name = path.display().to_string();
    let Some(doc) = document(File { name: &name, text }, values, problems) else { return };
    let dir = folder(&doc);
    let Some(mut root) = doc.reader(problems) else { return };
    read_jobs(&mut root, global, Place { dir: &dir, values }, jobs);
    root.finish();
}

fn read_global(r: Option<MapReader<'_>>) -> Global {
    let mut global = Global {
        interval: Duration::from_mins(1),
        timeout: Duration::from_secs(10),
        limits: Limits::default(),
        protocols: Vec::new(),
        histograms: Histograms::default(),
        extra_metrics: false,
        keep_dropped: None,
        names: Names::default(),
    };
    let Some(mut r) = r else { return global };
    let timeout = positive(&mut r, "scrape_timeout");
    global.interval = positive(&mut r, "scrape_interval").unwrap_or(global.interval);
    // A default that is longer than the interval follows it; one that was written is a mistake.
    global.timeout = timeout.unwrap_or(global.timeout.min(global.interval));
    if global.timeout > global.interval {
        let node = r.node("scrape_timeout").unwrap_or(r.node);
        r.problem(node, "the scrape timeout is longer than the scrape interval");
    }
    global.limits = read_limits(&mut r, Limits::default());
    global.protocols = read_protocols(&mut r);
    global.histograms = read_histograms(&mut r, Histograms::default());
    global.keep_dropped = r.u64("keep_dropped_targets").filter(|n| *n > 0);
    global.names = read_names(&mut r, Names::default());
    global.extra_metrics = r.bool("extra_scrape_metrics").unwrap_or(false);
    // What belongs to rules and to other readers of the same file.
    for other in ["evaluation_interval", "rule_query_offset", "external_labels", "query_log_file"] {
        r.node(other);
    }
    refuse_unbuilt(&mut r);
    r.finish();
    global
}

/// A duration above zero.
pub(crate) fn positive(r: &mut MapReader<'_>, name: &'static str) -> Option<Duration> {
    r.duration(name, |text| match duration::parse(text) {
        Ok(d) if d.is_zero() => Err("it must be longer than 0".to_owned()),
        other => other.map_err(|e| e.to_string()),
    })
}

fn refuse_unbuilt(r: &mut MapReader<'_>) {
    for name in NOT_YET {
        if let Some(node) = r.node(name) {
            let instead = match name.strip_suffix("_sd_configs") {
                Some(_) => {
                    "targets are found by static_configs, file_sd_configs and http_sd_configs: let a script write a file of targets"
                }
                None => "leave it out",
            };
            let problem = r.doc.problem(node, format!("`{name}` is not supported"));
            r.problems.push(problem.with_help(instead));
        }
    }
}

/// How names are written for us that are not of the classic alphabet.
const ESCAPINGS: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

/// What a job or `global` says about names; `from` is what it does not say.
fn read_names(r: &mut MapReader<'_>, from: Names) -> Names {
    let legacy = r.parsed("metric_name_validation_scheme", |text| match text {
        "" => Ok(from.legacy),
        "utf8" => Ok(false),
        "legacy" => Ok(true),
        other => Err(format!("{other:?} is not a scheme of names: utf8 or legacy")),
    });
    let escaping = r.parsed("metric_name_escaping_scheme", |text| {
        let known = ESCAPINGS.iter().find(|e| **e == text).copied();
        if text.is_empty() { Ok(from.escaping) } else { known.map(Some).ok_or(()) }
            .map_err(|()| format!("{text:?} is not an escaping of names: {}", ESCAPINGS.join(", ")))
    });
    let names = Names { legacy: legacy.unwrap_or(from.legacy), escaping: escaping.unwrap_or(from.escaping) };
    if names.legacy && names.escaping == Some(ESCAPINGS[0]) {
        let node = r.node("metric_name_escaping_scheme").or(r.node("metric_name_validation_scheme"));
        let node = node.unwrap_or(r.node);
        r.problem(
            node,
            "names in UTF-8 are asked for by their escaping, and not allowed by their validation",
        );
    }
    names
}

/// What a job or `global` says about histograms; `from` is what it does not say.
fn read_histograms(r: &mut MapReader<'_>, from: Histograms) -> Histograms {
    let classic = r.bool("always_scrape_classic_histograms");
    // Its name before it had a better one.
    let classic = classic.or(r.bool("scrape_classic_histograms"));
    let factor = r.parsed("native_histogram_min_bucket_factor", |text| match text.parse::<f64>() {
        Ok(v) if v.is_finite() && v >= 0.0 => Ok(v),
        _ => Err(format!("{text:?} is not a factor: write it like 1.1")),
    });
    Histograms {
        forms: Forms {
            native: r.bool("scrape_native_histograms").unwrap_or(from.forms.native),
            classic: classic.unwrap_or(from.forms.classic),
            custom: r.bool("convert_classic_histograms_to_nhcb").unwrap_or(from.forms.custom),
        },
        buckets: r.u64("native_histogram_bucket_limit").map_or(from.buckets, |n| Some(n).filter(|n| *n > 0)),
        factor: factor.unwrap_or(from.factor),
    }
}

fn read_limits(r: &mut MapReader<'_>, from: Limits) -> Limits {
    let mut number = |name: &'static str, default: Option<u64>| match r.u64(name) {
        Some(0) => None,
        Some(n) => Some(n),
        None => default,
    };
    let mut limits = Limits {
        body_bytes: from.body_bytes,
        samples: number("sample_limit", from.samples),
        labels: number("label_limit", from.labels),
        label_name_bytes: number("label_name_length_limit", from.label_name_bytes),
        label_value_bytes: number("label_value_length_limit", from.label_value_bytes),
        targets: number("target_limit", from.targets),
        series: from.series,
    };
    match r.parsed("body_size_limit", parse_bytes) {
        Some(0) => limits.body_bytes = None,
        Some(n) => limits.body_bytes = Some(n),
        None => {}
    }
    limits
}

/// A size with its unit, all of them powers of 1024: `10MB` and `10MiB` are the same.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = ["B", "K", "M", "G", "T", "P"].iter().position(|u| {
        let unit = unit.strip_suffix('B').filter(|_| unit != "B").unwrap_or(unit);
        unit.strip_suffix('i').unwrap_or(unit) == *u
    });
    let bad = || format!("{text:?} is not a size: write it like 10MB");
    let (number, power) = (number.parse::<f64>().map_err(|_| bad())?, power.ok_or_else(bad)?);
    let bytes = number * 1024f64.powi(i32::try_from(power).unwrap_or(0));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be within the range"
    )]
    if bytes.is_finite() && (0.0..=9e15).contains(&bytes) { Ok(bytes as u64) } else { Err(bad()) }
}

fn read_protocols(r: &mut MapReader<'_>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (node, text) in r.texts("scrape_protocols") {
        if !PROTOCOLS.iter().any(|(name, _)| *name == text) {
            let known = PROTOCOLS.map(|(name, _)| name).join(", ");
            r.problem(node, format!("unknown scrape protocol {text:?}; there are {known}"));
        } else if out.iter().any(|p| p == text) {
            r.problem(node, format!("scrape protocol {text} is named twice"));
        } else {
            out.push(text.to_owned());
        }
    }
    out
}

/// The `Accept` header for protocols in the order of preference. Where none are named, the one that can carry
/// native histograms comes first if they are wanted.
fn accept_header(protocols: &[String], native: bool, names: Names) -> String {
    let texts =
        ["OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];
    let default = native.then_some(PROTO).into_iter().chain(texts);
    let chosen: Vec<&str> =
        if protocols.is_empty() { default.collect() } else { protocols.iter().map(String::as_str).collect() };
    let types: Vec<&str> = chosen
        .iter()
        .filter_map(|c| PROTOCOLS.iter().find(|(name, _)| name == c).map(|(_, media)| *media))
        .collect();
    let mut parts: Vec<String> = Vec::new();
    for (i, media) in types.iter().enumerate() {
        // Names beyond the classic alphabet need not be escaped for us, where they are allowed.
        let escaping = names.escaping.unwrap_or(if names.legacy { "underscores" } else { ESCAPINGS[0] });
        let escaping = if media.contains("1.0.0") { format!(";escaping={escaping}") } else { String::new() };
        parts.push(format!("{media}{escaping};q=0.{}", 9usize.saturating_sub(i).max(2)));
    }
    parts.push("*/*;q=0.1".to_owned());
    parts.join(",")
}

fn read_job(mut r: MapReader<'_>, global: &Global, place: Place<'_>) -> Option<Job> {
    let before = r.problems.len();
    let name_node = r.node("job_name").unwrap_or(r.node);
    let name = r.required_text("job_name").unwrap_or_default().to_owned();
    let interval = positive(&mut r, "scrape_interval").unwrap_or(global.interval);
    let timeout = positive(&mut r, "scrape_timeout").unwrap_or(global.timeout.min(interval));
    if timeout > interval {
        let node = r.node("scrape_timeout").unwrap_or(name_node);
        r.problem(node, format!("the scrape timeout of job {name:?} is longer than its scrape interval"));
    }
    let scheme = r.text("scheme").unwrap_or("http").to_owned();
    if !matches!(&*scheme, "http" | "https")
        && let Some(node) = r.node("scheme")
    {
        r.problem(node, format!("{scheme:?} is no scheme to scrape by: http or https"));
    }
    let mut params = Vec::new();
    if let Some(node) = r.node("params") {
        match &node.kind {
            Kind::Map(entries) => {
                for (key, values) in entries {
                    let texts: Option<Vec<String>> = match &values.kind {
                        Kind::Seq(items) => items.iter().map(|v| v.text().map(str::to_owned)).collect(),
                        _ => None,
                    };
                    match (key.text(), texts) {
                        (Some(key), Some(texts)) => params.push((key.to_owned(), texts)),
                        _ => r.problem(values, "a parameter must be a list of values"),
                    }
                }
            }
            _ => r.problem(node, "`params` must map names to lists of values"),
        }
    }
    let protocols = read_protocols(&mut r);
    let protocols = if protocols.is_empty() { &global.protocols } else { &protocols };
    let fallback = r.parsed("fallback_scrape_protocol", |text| match text {
        t if t.starts_with("OpenMetricsText") => Ok(Format::OpenMetrics),
        t if t.starts_with("PrometheusText") => Ok(Format::Text),
        PROTO => Ok(Format::Protobuf),
        other => Err(format!("unknown scrape protocol {other:?}")),
    });
    let groups = r.list("static_configs").iter().filter_map(|n| read_group(&mut r, n)).collect();
    let relabel = read_rules(&mut r, "relabel_configs");
    let metric_relabel = read_rules(&mut r, "metric_relabel_configs");
    let http = client::read(&mut r, place);
    let sources = discovery::read(&mut r, place);
    let histograms = read_histograms(&mut r, global.histograms);
    let names = read_names(&mut r, global.names);
    let job = Job {
        name,
        honor_labels: r.bool("honor_labels").unwrap_or(false),
        honor_timestamps: r.bool("honor_timestamps").unwrap_or(true),
        track_timestamps: r.bool("track_timestamps_staleness").unwrap_or(false),
        legacy_names: names.legacy,
        extra_metrics: r.bool("extra_scrape_metrics").unwrap_or(global.extra_metrics),
        forms: histograms.forms,
        native: NativeLimits {
            buckets: histograms.buckets,
            max_schema: native::max_schema(histograms.factor),
        },
        interval,
        timeout,
        scheme,
        path: r.text("metrics_path").unwrap_or("/metrics").to_owned(),
        params,
        http,
        compression: r.bool("enable_compression").unwrap_or(true),
        accept: accept_header(protocols, histograms.forms.native, names),
        fallback,
        limits: read_limits(&mut r, global.limits),
        keep_dropped: r
            .u64("keep_dropped_targets")
            .map_or(global.keep_dropped, |n| Some(n).filter(|n| *n > 0)),
        groups,
        sources,
        relabel,
        metric_relabel,
    };
    refuse_unbuilt(&mut r);
    let sound = r.problems.len() == before;
    r.finish();
    sound.then_some(job)
}

pub(crate) fn read_rules(r: &mut MapReader<'_>, name: &'static str) -> Vec<Relabel> {
    let mut rules = Vec::new();
    for node in r.list(name) {
        if node.is_null() {
            r.problem(node, "empty relabelling rule");
            continue;
        }
        rules.extend(r.item(node).and_then(Relabel::read));
    }
    rules
}

fn read_group(r: &mut MapReader<'_>, node: &Node) -> Option<Group> {
    if node.is_null() {
        r.problem(node, "empty entry in `static_configs`");
        return None;
    }
    r.item(node).map(group)
}

/// Reads a group of targets.
pub(crate) fn group(mut r: MapReader<'_>) -> Group {
    let mut targets = Vec::new();
    for (node, text) in r.texts("targets") {
        if text.is_empty() || text.contains(['/', ' ']) {
            let problem = r.doc.problem(node, format!("{text:?} is not a host and port"));
            r.problems.push(problem.with_help("write it like example.com:9100, without scheme and path"));
        } else {
            targets.push(text.to_owned());
        }
    }
    let mut labels = BTreeMap::new();
    for (key, value) in r.text_map("labels") {
        let name = key.text().unwrap_or("");
        if name.is_empty() {
            r.problem(key, "a label needs a name");
        } else if name.starts_with("__") && !is_legacy_name(name) {
            r.problem(key, format!("{name:?} is not a label name"));
        }
        labels.insert(name.to_owned(), value.text().unwrap_or("").to_owned());
    }
    r.finish();
    Group { targets, labels }
}

#[cfg(test)]
mod tests;
