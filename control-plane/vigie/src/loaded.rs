//! The whole configuration as one value: built from every file, or refused with every problem of every file.

use crate::{options::Options, prometheus_config, shown_config::ShownConfig};
use alerting::RoutingConfig;
use budget::BudgetConfig;
use collect::{CollectConfig, CollectFiles, File, ProbeDefaults, otlp::OtlpConfig, remote_write::SendConfig};
use kit::{
    files,
    problem::{Problem, Problems},
};
use rules::RuleFile;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use web::grafana::{Dashboard, read_dashboards};

/// How often the host is read.
const HOST_INTERVAL: Duration = Duration::from_secs(5);

/// How often rules are evaluated whose group and file do not say.
const RULE_INTERVAL: Duration = Duration::from_secs(15);

/// Everything that files say.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub collect: CollectConfig,
    /// To whom samples are passed on.
    pub remote_write: SendConfig,
    /// How OpenTelemetry's exports are translated.
    pub otlp: OtlpConfig,
    pub rules: Vec<RuleFile>,
    pub rule_globals: rules::Globals,
    /// Exemplars that are kept.
    pub max_exemplars: usize,
    /// How late samples may be, where a `prometheus.yml` says it.
    pub out_of_order_window: Option<Duration>,
    pub routing: RoutingConfig,
    pub budgets: BudgetConfig,
    pub dashboards: Vec<Dashboard>,
    /// What is shown of it.
    pub shown: ShownConfig,
    /// The files that were read.
    pub files: Vec<String>,
}

impl Loaded {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn read(options: &Options) -> Result<Loaded, Problems> {
        let mut problems = Problems::default();
        let mut names = Vec::new();
        // An absent file means none of its kind; an absent folder means a typing mistake, and would end every alert.
        if let Some(dir) = options.config_dir.as_ref().filter(|dir| !dir.is_dir()) {
            problems
                .push(Problem::unplaced(dir.display().to_string(), "there is no such configuration folder"));
        }
        let folder = |part: &str| options.config_dir.as_ref().map(|dir| dir.join(part));
        let mut text_of = |path: Option<PathBuf>, must_exist: bool, problems: &mut Problems| {
            let path = path.filter(|p| must_exist || p.exists())?;
            let (name, text) = Options::read(&path, problems)?;
            names.push(name.clone());
            Some((path, name, text))
        };

        let named = options.prometheus_config.clone();
        let whole_prometheus = named.is_some();
        let scrape = match named {
            Some(path) => text_of(Some(path), true, &mut problems),
            None => text_of(folder("probes/scrape.yaml"), false, &mut problems),
        };
        let probes = match options.probes.clone() {
            Some(path) => text_of(Some(path), true, &mut problems),
            None => text_of(folder("probes/probes.yaml"), false, &mut problems),
        };
        let sent = match whole_prometheus {
            true => scrape.clone(),
            false => text_of(folder("probes/remote_write.yaml"), false, &mut problems),
        };
        let remote_write = match &sent {
            Some((_, name, text)) => {
                let file = File { name, text };
                keep(SendConfig::parse(file, whole_prometheus, &|name| options.value(name)), &mut problems)
            }
            None => Some(SendConfig::default()),
        };
        let translated = match whole_prometheus {
            true => scrape.clone(),
            false => text_of(folder("probes/otlp.yaml"), false, &mut problems),
        };
        let otlp = match &translated {
            Some((_, name, text)) => {
                let file = File { name, text };
                keep(OtlpConfig::parse(file, whole_prometheus, &|name| options.value(name)), &mut problems)
            }
            None => Some(OtlpConfig::default()),
        };
        let mut rule_interval = RULE_INTERVAL;
        let mut out_of_order_window = None;
        let mut max_exemplars = tsdb::exemplars::DEFAULT_EXEMPLARS;
        let rule_files = match (&scrape, whole_prometheus) {
            (Some((path, name, text)), true) => {
                let sources = prometheus_config::rules(path, name, text, &mut problems);
                rule_interval = sources.interval.unwrap_or(Duration::from_secs(60));
                max_exemplars = sources.max_exemplars.unwrap_or(max_exemplars);
                out_of_order_window = sources.out_of_order_window;
                sources.files
            }
            _ => folder("alerts/rules").map(|dir| yaml_files(&dir)).unwrap_or_default(),
        };
        let rule_names: Vec<String> = rule_files.iter().map(|p| p.display().to_string()).collect();
        let mut shown = ShownConfig::new(
            scrape
                .iter()
                .chain(&sent)
                .chain(&translated)
                .map(|(_, name, text)| (name.as_str(), text.as_str())),
            &rule_names,
        );
        let collect =
            keep(collect(options, scrape.as_ref(), whole_prometheus, probes.as_ref()), &mut problems);
        let mut rule_configs = Vec::new();
        for path in rule_files {
            if let Some((_, name, text)) = text_of(Some(path), true, &mut problems) {
                rule_configs.extend(keep(RuleFile::parse(&name, &text), &mut problems));
            }
        }
        let routing_file = match options.alertmanager_config.clone() {
            Some(path) => text_of(Some(path), true, &mut problems),
            None => text_of(folder("alerts/routing.yaml"), false, &mut problems),
        };
        let routing = match &routing_file {
            Some((path, name, text)) => {
                let dir = path.parent().unwrap_or(Path::new("."));
                keep(RoutingConfig::parse(name, text, dir, &options.routing), &mut problems)
            }
            None => Some(RoutingConfig::nobody()),
        };
        let budgets = match text_of(folder("alerts/budgets.yaml"), false, &mut problems) {
            Some((_, name, text)) => keep(BudgetConfig::parse(&name, &text), &mut problems),
            None => Some(BudgetConfig::default()),
        };
        let dashboards = match folder("dashboards") {
            Some(dir) => keep(read_dashboards(&dir), &mut problems),
            None => Some(Vec::new()),
        };
        names.extend(dashboards.iter().flatten().map(|d| d.file.clone()));
        // A file of remote writes of its own says what is on samples that are passed on, not on alerts.
        let sent = remote_write.as_ref().filter(|_| whole_prometheus);
        let external_labels = sent.map(|r| r.external_labels().clone()).unwrap_or_default();
        shown.external_labels.clone_from(&external_labels);
        let rule_globals = rules::Globals { interval: rule_interval, external_labels };
        match (collect, remote_write, otlp, routing, budgets, dashboards) {
            (
                Some(collect),
                Some(remote_write),
                Some(otlp),
                Some(routing),
                Some(budgets),
                Some(dashboards),
            ) => problems.into_result(Loaded {
                collect,
                remote_write,
                otlp,
                rules: rule_configs,
                rule_globals,
                max_exemplars,
                out_of_order_window,
                routing,
                budgets,
                dashboards,
                shown,
                files: names,
            }),
            _ => Err(problems),
        }
    }

    pub fn rule_count(&self) -> usize {
        self.rules.iter().flat_map(|f| &f.groups).map(|g| g.rules.len()).sum()
    }
}

type Source = (PathBuf, String, String);

fn collect(
    options: &Options,
    scrape: Option<&Source>,
    whole_prometheus: bool,
    probes: Option<&Source>,
) -> Result<CollectConfig, Problems> {
    CollectConfig::parse(&CollectFiles {
        scrape: scrape.map(|(_, name, text)| File { name, text }),
        whole_prometheus,
        target_series: Some(options.target_series),
        probes: probes.map(|(_, name, text)| File { name, text }),
        values: &|name| options.value(name),
        probe_defaults: ProbeDefaults { interval: options.probe_interval, timeout: options.probe_timeout },
        // A Prometheus that moves over scrapes its own node exporter.
        host_interval: options.config_dir.is_some().then_some(HOST_INTERVAL),
    })
}

/// `*.yaml` and `*.yml` of a folder, by name.
pub(crate) fn yaml_files(dir: &Path) -> Vec<PathBuf> {
    let mut all = files::matching(&dir.join("*.yaml"));
    all.extend(files::matching(&dir.join("*.yml")));
    all.sort();
    all
}

fn keep<T>(outcome: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    outcome.map_err(|more| problems.extend(more)).ok()
}
