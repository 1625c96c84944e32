//! What `serve` is told: flags over environment over defaults.

use kit::{
    problem::{Problem, Problems},
    secret::Secret,
    settings::{Settings, setting_problem, truth},
};
use promql::EngineConfig;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Where the control plane reads, writes and listens.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where `alerts/`, `probes/` and `dashboards/` are; `None`: only the files named below.
    pub config_dir: Option<PathBuf>,
    pub prometheus_config: Option<PathBuf>,
    pub alertmanager_config: Option<PathBuf>,
    pub probes: Option<PathBuf>,
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// A second port for the Prometheus API, where Grafana looks for Prometheus.
    pub prometheus_port: Option<u16>,
    pub external_url: Option<String>,
    pub tokens_file: Option<PathBuf>,
    pub insecure: bool,
    pub service_token: Option<Secret>,
    pub retention: Duration,
    /// Bytes of blocks that are kept; `None`: only time counts.
    pub retention_bytes: Option<u64>,
    /// Resident bytes of the process beyond which new series are refused.
    pub memory_limit: Option<u64>,
    /// Active series that are taken, of all targets together.
    pub series_limit: usize,
    /// How far behind the newest sample a late one may be.
    pub out_of_order_window: Duration,
    /// What queries may take.
    pub queries: QueryLimits,
    /// Series that one target may have.
    pub target_series: u64,
    pub probe_interval: Duration,
    pub probe_timeout: Duration,
    pub grafana_url: Option<String>,
    pub grafana_token: Option<Secret>,
    pub grafana_org: Option<String>,
    /// What Grafana presents to Vigie, where Vigie wants a token.
    pub grafana_vigie_token: Option<Secret>,
    pub routing: alerting::Overrides,
    /// For `${NAME}` in `probes/`.
    pub settings: Settings,
}

/// What users' queries may hold together where nothing else is said: two of the largest.
const TOTAL_QUERY_BYTES: usize = 2 << 30;

/// What one query may take, and how many may run.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    pub engine: EngineConfig,
    /// Memory that queries of users may hold together.
    pub total_bytes: usize,
    pub timeout: Duration,
    /// How many run at the same time, how many more wait, and for how long.
    pub concurrency: usize,
    pub queue: usize,
    pub queue_wait: Duration,
}

impl QueryLimits {
    fn read(settings: &Settings, problems: &mut Problems) -> QueryLimits {
        let default = EngineConfig::default();
        let count = |name: &str, default: usize, problems: &mut Problems| {
            let value = settings.parsed(name, default, problems);
            if value == 0 {
                problems.push(setting_problem(name, "must be more than 0"));
            }
            value
        };
        let time = |name: &str, default: Duration, problems: &mut Problems| {
            if settings.get(name).is_none() {
                return default;
            }
            let before = problems.len();
            let value = window(settings, name, problems);
            if value.is_zero() && problems.len() == before {
                problems.push(setting_problem(name, "must be more than 0"));
            }
            value
        };
        let bytes = |name: &str, default: usize, problems: &mut Problems| {
            let before = problems.len();
            let bytes = size(settings, name, problems);
            if bytes.is_none() && settings.get(name).is_some() && problems.len() == before {
                problems.push(setting_problem(name, "must be more than 0"));
            }
            bytes.map_or(default, |b| usize::try_from(b).unwrap_or(usize::MAX))
        };
        let max_bytes = bytes("VIGIE_QUERY_MAX_MEMORY", default.max_bytes, problems);
        let total_bytes = bytes("VIGIE_QUERY_MAX_TOTAL_MEMORY", TOTAL_QUERY_BYTES.max(max_bytes), problems);
        if total_bytes < max_bytes {
            let why = "must not be less than VIGIE_QUERY_MAX_MEMORY";
            problems.push(setting_problem("VIGIE_QUERY_MAX_TOTAL_MEMORY", why));
        }
        let default = EngineConfig { experimental: true, ..default };
        let default = match settings.get("VIGIE_QUERY_EXPERIMENTAL") {
            Some(text) => experimental(text, default, problems),
            None => default,
        };
        QueryLimits {
            engine: EngineConfig {
                max_samples: count("VIGIE_QUERY_MAX_SAMPLES", default.max_samples, problems),
                max_series: count("VIGIE_QUERY_MAX_SERIES", default.max_series, problems),
                max_steps: count("VIGIE_QUERY_MAX_STEPS", default.max_steps, problems),
                max_bytes,
                ..default
            },
            total_bytes,
            timeout: time("VIGIE_QUERY_TIMEOUT", Duration::from_mins(2), problems),
            concurrency: count("VIGIE_QUERY_CONCURRENCY", 20, problems),
            queue: settings.parsed("VIGIE_QUERY_QUEUE", 100usize, problems),
            queue_wait: time("VIGIE_QUERY_QUEUE_WAIT", Duration::from_secs(30), problems),
        }
    }
}

/// What of PromQL is on besides what is stable: `true`, `false`, or names of Prometheus's feature flags, with commas
/// between them. What changes the meaning of queries that need no flag is on only where it is named.
fn experimental(text: &str, default: EngineConfig, problems: &mut Problems) -> EngineConfig {
    let mut config = EngineConfig { experimental: false, ..default };
    for word in text.split(',').map(str::trim) {
        let lower = word.to_lowercase();
        if let Some(on) = truth(&lower) {
            config.experimental |= on;
            continue;
        }
        match lower.as_str() {
            "promql-experimental-functions"
            | "promql-extended-range-selectors"
            | "promql-binop-fill-modifiers" => config.experimental = true,
            "promql-delayed-name-removal" => config.delayed_name_removal = true,
            "use-start-timestamps" => config.start_times = true,
            // Always on here.
            "promql-per-step-stats" | "promql-duration-expr" => {}
            _ => problems.push(setting_problem(
                "VIGIE_QUERY_EXPERIMENTAL",
                format!(
                    "{word:?} is neither true nor false nor a feature flag of PromQL: promql-experimental-functions, \
                     promql-extended-range-selectors, promql-binop-fill-modifiers (true is these three), \
                     promql-delayed-name-removal, use-start-timestamps"
                ),
            )),
        }
    }
    config
}

/// A size such as 10GB; unset or 0: none.
fn size(settings: &Settings, name: &str, problems: &mut Problems) -> Option<u64> {
    let text = settings.get(name)?;
    match collect::parse_bytes(text) {
        Ok(0) => None,
        Ok(bytes) => Some(bytes),
        Err(why) => {
            problems.push(setting_problem(name, why));
            None
        }
    }
}

/// A duration such as 30m; unset: zero.
fn window(settings: &Settings, name: &str, problems: &mut Problems) -> Duration {
    let parse = |text: &str| model::duration::parse(text).map_err(|e| e.to_string());
    settings
        .get(name)
        .map(parse)
        .transpose()
        .unwrap_or_else(|why| {
            problems.push(setting_problem(name, why));
            None
        })
        .unwrap_or_default()
}

impl Options {
    /// Reads what the environment says. Flags are put into the fields afterwards.
    ///
    /// # Errors
    /// Every problem with the settings.
    pub fn from_settings(settings: &Settings) -> Result<Options, Problems> {
        let mut problems = Problems::default();
        let ip = settings.parsed("LISTEN_ADDRESS", std::net::IpAddr::from([127, 0, 0, 1]), &mut problems);
        let port = settings.parsed("PORT", 3005u16, &mut problems);
        let ms = |name: &str, default: u64, problems: &mut Problems| {
            let value = settings.parsed(name, default, problems);
            if value == 0 {
                problems.push(setting_problem(name, "must be more than 0"));
            }
            Duration::from_millis(value.max(1))
        };
        let probe_interval = ms("HEALTH_CHECK_INTERVAL", 30_000, &mut problems);
        let probe_timeout = ms("HEALTH_CHECK_TIMEOUT", 5_000, &mut problems);
        let retention_bytes = size(settings, "VIGIE_RETENTION_SIZE", &mut problems);
        let memory_limit = size(settings, "VIGIE_MEMORY_LIMIT", &mut problems);
        let series_limit = settings.parsed("VIGIE_SERIES_LIMIT", 3_000_000usize, &mut problems);
        let out_of_order_window = window(settings, "VIGIE_OUT_OF_ORDER_WINDOW", &mut problems);
        let target_series = settings.parsed("VIGIE_TARGET_SERIES_LIMIT", 1_000_000u64, &mut problems);
        if target_series == 0 {
            problems.push(setting_problem("VIGIE_TARGET_SERIES_LIMIT", "must be more than 0"));
        }
        let second = settings.parsed("PROMETHEUS_PORT", 0u16, &mut problems);
        let slack_api_url =
            settings.get("SLACK_API_URL_FILE").and_then(|path| match std::fs::read_to_string(path) {
                Ok(text) => Some(Secret::new(text.trim())),
                Err(e) => {
                    problems.push(setting_problem("SLACK_API_URL_FILE", format!("cannot read {path}: {e}")));
                    None
                }
            });
        let options = Options {
            config_dir: Some(PathBuf::from(".")),
            prometheus_config: None,
            alertmanager_config: None,
            probes: None,
            data_dir: settings.path("DATA_DIR").unwrap_or_else(|| PathBuf::from("./data")),
            listen: SocketAddr::new(ip, port),
            prometheus_port: (second != 0).then_some(second),
            external_url: settings.get("VIGIE_EXTERNAL_URL").map(|u| u.trim_end_matches('/').to_owned()),
            tokens_file: settings.path("VIGIE_TOKENS_FILE"),
            insecure: false,
            service_token: settings.secret("SERVICE_AUTH_TOKEN", &mut problems),
            retention: Duration::from_hours(90 * 24),
            retention_bytes,
            memory_limit,
            series_limit,
            out_of_order_window,
            queries: QueryLimits::read(settings, &mut problems),
            target_series: target_series.max(1),
            probe_interval,
            probe_timeout,
            grafana_url: settings.get("GRAFANA_URL").map(str::to_owned),
            grafana_token: settings.secret("GRAFANA_API_KEY", &mut problems),
            grafana_org: settings.get("GRAFANA_ORG_ID").map(str::to_owned),
            grafana_vigie_token: settings.secret("GRAFANA_VIGIE_TOKEN", &mut problems),
            routing: alerting::Overrides {
                smtp_smarthost: settings.get("SMTP_SMARTHOST").map(str::to_owned),
                smtp_from: settings.get("SMTP_FROM").map(str::to_owned),
                slack_api_url,
                capture_mail: settings.flag("SMTP_CAPTURE", false, &mut problems),
            },
            settings: settings.clone(),
        };
        problems.into_result(options)
    }

    /// The file's text, or a problem that names it.
    pub(crate) fn read(path: &std::path::Path, problems: &mut Problems) -> Option<(String, String)> {
        let name = path.strip_prefix("./").unwrap_or(path).display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Some((name, text)),
            Err(e) => {
                problems.push(Problem::unplaced(name, format!("cannot be read: {e}")));
                None
            }
        }
    }

    /// The value of `${NAME}` in a file: a setting; a service's address in the form that the name asks for.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let url = |service: &str| {
            let given = self.settings.get(&format!("{service}_SERVICE_URL"))?;
            kit::settings::base_url(given).ok()
        };
        if let Some(service) = name.strip_suffix("_SERVICE_URL") {
            return url(service);
        }
        if let Some(service) = name.strip_suffix("_SERVICE_ADDRESS")
            && self.settings.get(name).is_none()
        {
            return url(service).and_then(|base| kit::settings::host_port(&base));
        }
        self.settings.get(name).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experimental_parts_are_turned_on_together_and_what_changes_meaning_by_name() {
        let read = |text: &str| {
            let mut problems = Problems::default();
            let config = experimental(text, EngineConfig::default(), &mut problems);
            ((config.experimental, config.delayed_name_removal, config.start_times), problems.to_string())
        };
        for (text, expect) in [
            ("true", (true, false, false)),
            ("false", (false, false, false)),
            ("promql-binop-fill-modifiers", (true, false, false)),
            ("promql-delayed-name-removal", (false, true, false)),
            ("true, promql-delayed-name-removal,use-start-timestamps", (true, true, true)),
            ("promql-per-step-stats", (false, false, false)),
        ] {
            assert_eq!(read(text), (expect, String::new()), "{text}");
        }
        for text in ["maybe", "true,", "type-and-unit-labels"] {
            let (_, problems) = read(text);
            assert!(problems.contains("VIGIE_QUERY_EXPERIMENTAL"), "{text}: {problems}");
        }
    }
}
