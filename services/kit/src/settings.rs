//! Settings from the environment: one snapshot taken at start, and one documented list of names.
//!
//! Order: a flag beats the environment, which beats the default; flags are merged in with
//! [`Settings::with`]. A secret `NAME` may be given as `NAME_FILE`, the path of a file that holds it. In a
//! process of several services each sees the settings through its own prefix: `AUTH_PORT` before `PORT`.

use crate::{
    problem::{Problem, Problems},
    secret::Secret,
};
use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, sync::Arc};

/// Every setting that some part of the platform reads: name, default, meaning. `""` means no default.
/// Names ending in `_SERVICE_URL` are accepted with and without `/api/v1` at the end.
pub const NAMES: &[(&str, &str, &str)] = &[
    ("PORT", "the service's own", "the port to listen on"),
    ("LISTEN_ADDRESS", "127.0.0.1", "the address to listen on"),
    ("LOG_LEVEL", "info", "error, warn, info, debug or trace; also directives such as info,collect=debug"),
    ("NODE_ENV", "development", "development, staging or production"),
    ("SERVICE_AUTH_TOKEN", "", "the token that services present to each other"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "", "where traces go by OTLP; unset: nowhere"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "grpc or http/protobuf"),
    ("DATA_DIR", "./data", "where embedded stores keep their files"),
    ("AUTH_SERVICE_URL", "", "base address of auth"),
    ("DB_SERVICE_URL", "", "base address of db"),
    ("AI_SERVICE_URL", "", "base address of ai"),
    ("PAYMENT_SERVICE_URL", "", "base address of payment"),
    ("NOTIFY_SERVICE_URL", "", "base address of notify"),
    ("FRONTEND_SERVICE_URL", "", "base address of frontend"),
    ("MONITORING_SERVICE_URL", "", "base address of Vigie"),
    ("NEXT_PUBLIC_AUTH_SERVICE_URL", "", "base address of auth, where AUTH_SERVICE_URL is not set"),
    ("NEXT_PUBLIC_AI_SERVICE_URL", "", "base address of ai, where AI_SERVICE_URL is not set"),
    ("FRONTEND_URL", "", "the public address of the frontend"),
    ("MONGODB_URI", "", "MongoDB; unset: embedded SQLite"),
    ("MONGODB_USER", "", "MongoDB's user, where the address names none"),
    ("MONGODB_PASSWORD", "", "MongoDB's password, where the address names none"),
    ("REDIS_HOST", "", "Redis; unset: the embedded twin"),
    ("REDIS_PORT", "6379", "Redis's port"),
    ("REDIS_PASSWORD", "", "Redis's password"),
    ("REDIS_TTL", "3600", "seconds that cached answers live"),
    ("DEFAULT_AI_PROVIDER", "openai with a key, else offline", "offline or openai"),
    ("OPENAI_API_KEY", "", "key for OpenAI; unset: the offline tutor"),
    ("OPENAI_ORG_ID", "", "organisation for OpenAI"),
    ("OPENAI_BASE_URL", "https://api.openai.com/v1", "another server that speaks OpenAI's API"),
    ("MAX_TOKENS", "2000", "most tokens of one AI answer"),
    ("TEMPERATURE", "0.7", "sampling temperature of AI answers"),
    ("AI_CACHE_TTL", "1800", "seconds that AI answers may be reused"),
    ("AI_RATE_LIMIT", "60", "AI calls per user and minute"),
    ("SMTP_SMARTHOST", "", "host:port of the mail relay, overrides routing.yaml's global"),
    (
        "SMTP_CAPTURE",
        "false; true in penpal without a relay",
        "keep alert mail for the console instead of sending it",
    ),
    ("SMTP_FROM", "", "sender address, overrides routing.yaml's global"),
    ("SLACK_API_URL_FILE", "", "file with Slack's webhook address, overrides routing.yaml's global"),
    ("GRAFANA_URL", "", "Grafana to push dashboards to; unset: none"),
    ("GRAFANA_API_KEY", "", "Grafana's service account token"),
    (
        "GRAFANA_VIGIE_TOKEN",
        "",
        "a viewer's token that Grafana presents to Vigie, where VIGIE_TOKENS_FILE is set",
    ),
    ("GRAFANA_ORG_ID", "", "Grafana's organisation"),
    ("PROMETHEUS_PORT", "", "a second port for the Prometheus API, usually 9090; unset: none"),
    ("HEALTH_CHECK_INTERVAL", "30000", "milliseconds between probes that name no interval"),
    ("HEALTH_CHECK_TIMEOUT", "5000", "milliseconds that a probe waits"),
    ("VIGIE_TOKENS_FILE", "", "YAML file of bearer tokens and roles; needed beyond loopback"),
    ("VIGIE_TARGET_SERIES_LIMIT", "1000000", "series that one scraped target may have; more are left out"),
    ("VIGIE_CONFIG_DIR", ".", "in penpal: where alerts/, probes/ and dashboards/ are"),
    (
        "VIGIE_RETENTION_SIZE",
        "",
        "bytes of finished blocks that are kept, such as 50GB; unset: only time counts",
    ),
    (
        "VIGIE_MEMORY_LIMIT",
        "",
        "resident memory beyond which new series are refused, such as 2GB; unset: none",
    ),
    ("VIGIE_SERIES_LIMIT", "3000000", "active series that are taken; new ones beyond are refused"),
    (
        "VIGIE_OUT_OF_ORDER_WINDOW",
        "",
        "how far behind the newest sample a late one may be, such as 30m; unset: late samples are refused",
    ),
    ("VIGIE_QUERY_TIMEOUT", "2m", "how long a query may take, waiting for its place included"),
    (
        "VIGIE_QUERY_CONCURRENCY",
        "20",
        "queries of users that run at the same time; rules have their own places",
    ),
    ("VIGIE_QUERY_QUEUE", "100", "queries that wait for a place; those beyond are answered 503"),
    ("VIGIE_QUERY_QUEUE_WAIT", "30s", "how long a query waits for a place before it is answered 503"),
    ("VIGIE_QUERY_MAX_SAMPLES", "50000000", "samples that a query, or a rule, may hold at one time"),
    ("VIGIE_QUERY_MAX_SERIES", "10000000", "series that a query, or a rule, may read"),
    (
        "VIGIE_QUERY_MAX_MEMORY",
        "1GiB",
        "memory that a query, or a rule, may hold at one time, as it is counted",
    ),
    (
        "VIGIE_QUERY_MAX_TOTAL_MEMORY",
        "2GiB, or VIGIE_QUERY_MAX_MEMORY where that is more",
        "memory that all queries of users may hold together; what needs more is answered 503",
    ),
    ("VIGIE_QUERY_MAX_STEPS", "11000", "points of each series that a range query may ask for"),
    (
        "VIGIE_QUERY_EXPERIMENTAL",
        "true",
        "whether queries and rules may use what Prometheus has behind its feature flags; false: what it takes without them; or the flags themselves: true,promql-delayed-name-removal,use-start-timestamps",
    ),
    ("VIGIE_EXTERNAL_URL", "the listening address", "how people reach Vigie, for links in messages"),
    ("HTTP_PROXY", "", "proxy of http addresses, for jobs that say proxy_from_environment; http_proxy too"),
    ("HTTPS_PROXY", "", "the same of https addresses; https_proxy too"),
    ("NO_PROXY", "", "who is asked without them: hosts, .domains, networks, :ports, *; no_proxy too"),
    ("FROM_EMAIL", "", "sender address of learners' mail"),
    ("FROM_NAME", "", "sender name of learners' mail"),
    ("SENDGRID_API_KEY", "", "key for SendGrid's relay"),
    ("TRIAL_PERIOD_DAYS", "30", "days a trial lasts"),
];

/// Whether a word in small letters says yes or no, if it says either.
pub fn truth(word: &str) -> Option<bool> {
    match word {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// One snapshot of the environment. `Debug` shows names, never values.
#[derive(Clone, Default)]
pub struct Settings {
    values: Arc<BTreeMap<String, String>>,
    prefix: Option<String>,
    /// Names that exist only with the prefix: a port cannot be common to several services.
    own: &'static [&'static str],
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("names", &self.values.keys()).field("prefix", &self.prefix).finish()
    }
}

impl Settings {
    /// The process's environment. Variables that are not UTF-8 are left out.
    pub fn from_env() -> Self {
        Self::from_pairs(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        )
    }

    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let values = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Settings { values: Arc::new(values), prefix: None, own: &[] }
    }

    /// These settings with one more on top, which beats what was there: a flag.
    pub fn with(&self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut values = (*self.values).clone();
        values.insert(name.into(), value.into());
        Settings { values: Arc::new(values), ..self.clone() }
    }

    /// These settings with a default underneath, which everything else beats.
    pub fn with_default(&self, name: &str, value: impl Into<String>) -> Self {
        if self.get(name).is_some() { self.clone() } else { self.with(name, value) }
    }

    /// What the service `prefix` sees: `PREFIX_NAME` before `NAME`; names in `own` with the prefix only.
    pub fn scoped(&self, prefix: &str, own: &'static [&'static str]) -> Self {
        Settings { prefix: Some(format!("{}_", prefix.to_uppercase())), own, ..self.clone() }
    }

    /// The value of `name`; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        let own = self.prefix.as_ref().and_then(|p| self.values.get(&format!("{p}{name}")));
        let common =
            if self.prefix.is_some() && self.own.contains(&name) { None } else { self.values.get(name) };
        own.or(common).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// All values under their full names, for `${NAME}` in files.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// The value of `name` read as a `T`, or `default`. What does not read is a problem.
    pub fn parsed<T: FromStr>(&self, name: &str, default: T, problems: &mut Problems) -> T {
        let Some(text) = self.get(name) else { return default };
        text.trim().parse().unwrap_or_else(|_| {
            problems.push(setting_problem(name, format!("{text:?} is not valid here")));
            default
        })
    }

    /// `true`/`1`/`yes` or `false`/`0`/`no`.
    pub fn flag(&self, name: &str, default: bool, problems: &mut Problems) -> bool {
        match self.get(name).map(str::to_lowercase).as_deref() {
            None => default,
            Some(word) => truth(word).unwrap_or_else(|| {
                problems.push(setting_problem(name, format!("{word:?} is neither true nor false")));
                default
            }),
        }
    }

    /// A secret: `NAME`, or the content of the file that `NAME_FILE` names, without the line end.
    pub fn secret(&self, name: &str, problems: &mut Problems) -> Option<Secret> {
        if let Some(value) = self.get(name) {
            return Some(Secret::new(value));
        }
        let file_name = format!("{name}_FILE");
        let path = self.get(&file_name)?;
        match std::fs::read_to_string(path) {
            Ok(text) => Some(Secret::new(text.trim_end_matches(['\r', '\n']))),
            Err(e) => {
                problems.push(setting_problem(&file_name, format!("cannot read {path}: {e}")));
                None
            }
        }
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// A service's base address without `/api/v1` and without a slash at its end.
    pub fn service_url(&self, name: &str, problems: &mut Problems) -> Option<String> {
        let text = self.get(name)?;
        match base_url(text) {
            Ok(url) => Some(url),
            Err(e) => {
                problems.push(setting_problem(name, e));
                None
            }
        }
    }
}

/// `text` as a base address: http or https, `/api/v1` and the final slash cut off.
pub fn base_url(text: &str) -> Result<String, String> {
    let parsed = url::Url::parse(text).map_err(|e| format!("{text:?} is not an address: {e}"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
        return Err(format!("{text:?} must begin with http:// or https:// and name a host"));
    }
    let base = text.trim_end_matches('/');
    Ok(base.strip_suffix("/api/v1").unwrap_or(base).trim_end_matches('/').to_owned())
}

/// `host:port` of a base address, the scheme's port filled in; for `*_SERVICE_ADDRESS`.
pub fn host_port(base: &str) -> Option<String> {
    let url = url::Url::parse(base).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// A problem with a setting.
pub fn setting_problem(name: &str, message: impl fmt::Display) -> Problem {
    let meaning = NAMES.iter().find(|(n, _, _)| *n == name).map(|(_, _, meaning)| *meaning);
    let problem = Problem::unplaced("environment", format!("{name}: {message}"));
    match meaning {
        Some(meaning) => problem.with_help(format!("{name} is {meaning}")),
        None => problem,
    }
}

#[cfg(test)]
mod tests;
