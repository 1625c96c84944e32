//! `alerts/routing.yaml`: Alertmanager's configuration, read with places.
//!
//! What Alertmanager knows and this version does not do yet is refused by name rather than ignored: a route
//! that somebody relies on must not be silently different.

mod matchers;
mod receiver;
mod route;

pub use matchers::{parse_matcher, parse_matchers};
pub use receiver::{EmailConfig, Integration, IntegrationKind, Receiver, SlackConfig, Text, WebhookConfig};
pub use route::{Route, RouteOptions};

use kit::{
    problem::{Problem, Problems},
    secret::Secret,
    yaml::{Document, MapReader, Node},
};
use model::Matcher;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use template::{FuncSet, Library};

/// Settings that beat the file's globals.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub smtp_smarthost: Option<String>,
    pub smtp_from: Option<String>,
    pub slack_api_url: Option<Secret>,
    /// Keep e-mail for the console instead of sending it.
    pub capture_mail: bool,
}

/// What receivers fall back on.
#[derive(Debug, Clone, Default)]
pub struct Global {
    pub smarthost: Option<String>,
    pub from: Option<String>,
    pub hello: Option<String>,
    pub auth_username: Option<String>,
    pub auth_password: Option<Secret>,
    pub require_tls: Option<bool>,
    pub slack_api_url: Option<Secret>,
    pub capture_mail: bool,
}

/// While a source alert fires, targets with the same values of `equal` are not told.
#[derive(Debug, Clone)]
pub struct InhibitRule {
    pub source: Vec<Matcher>,
    pub target: Vec<Matcher>,
    pub equal: Vec<String>,
}

/// The file, checked.
#[derive(Debug, Clone)]
pub struct RoutingConfig {
    pub route: Route,
    pub receivers: BTreeMap<String, Receiver>,
    pub inhibit: Vec<InhibitRule>,
}

impl RoutingConfig {
    /// Without a file: alerts are kept and shown, and told to nobody.
    pub fn nobody() -> Self {
        let receiver = Receiver { name: "nobody".to_owned(), integrations: Vec::new() };
        RoutingConfig {
            route: Route::root("nobody"),
            receivers: [("nobody".to_owned(), receiver)].into(),
            inhibit: Vec::new(),
        }
    }

    /// Reads the file's text. `file` is its name in messages; paths in it are relative to `dir`.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn parse(file: &str, text: &str, dir: &Path, overrides: &Overrides) -> Result<Self, Problems> {
        let doc = Document::parse(file, text)?;
        let mut problems = Problems::default();
        let mut config = None;
        if let Some(mut root) = doc.reader(&mut problems) {
            config = read(&mut root, dir, overrides);
            for later in ["time_intervals", "mute_time_intervals", "tracing"] {
                if let Some(node) = root.node(later) {
                    root.problem(node, format!("`{later}` is not supported yet"));
                }
            }
            root.finish();
        }
        match config {
            Some(config) => problems.into_result(config),
            None if problems.is_empty() => {
                Err(Problems(vec![Problem::unplaced(file, "there is no `route`")]))
            }
            None => problems.into_result(RoutingConfig::nobody()),
        }
    }
}

fn read(root: &mut MapReader<'_>, dir: &Path, overrides: &Overrides) -> Option<RoutingConfig> {
    let mut global = Global::default();
    if let Some(reader) = root.child("global") {
        global = read_global(reader, dir);
    }
    global.capture_mail = overrides.capture_mail;
    if let Some(host) = &overrides.smtp_smarthost {
        global.smarthost = Some(host.clone());
    }
    if let Some(from) = &overrides.smtp_from {
        global.from = Some(from.clone());
    }
    if let Some(url) = &overrides.slack_api_url {
        global.slack_api_url = Some(url.clone());
    }
    let library = Arc::new(read_templates(root, dir));
    let mut receivers = BTreeMap::new();
    for item in root.list("receivers") {
        let Some(receiver) = root.item(item).and_then(|r| receiver::read(r, &global, &library, dir)) else {
            continue;
        };
        if receivers.contains_key(&receiver.name) {
            root.problem(item, format!("there is already a receiver named `{}`", receiver.name));
        }
        receivers.insert(receiver.name.clone(), receiver);
    }
    let mut inhibit = Vec::new();
    for item in root.list("inhibit_rules") {
        if let Some(rule) = root.item(item).map(read_inhibit) {
            inhibit.push(rule);
        }
    }
    root.required("route");
    let route = root.child("route").and_then(|r| route::read_root(r, &receivers))?;
    Some(RoutingConfig { route, receivers, inhibit })
}

fn read_global(mut r: MapReader<'_>, dir: &Path) -> Global {
    let global = Global {
        smarthost: r.text("smtp_smarthost").map(str::to_owned),
        from: r.text("smtp_from").map(str::to_owned),
        hello: r.text("smtp_hello").map(str::to_owned),
        auth_username: r.text("smtp_auth_username").map(str::to_owned),
        auth_password: secret(&mut r, "smtp_auth_password", "smtp_auth_password_file", dir),
        require_tls: r.bool("smtp_require_tls"),
        slack_api_url: secret(&mut r, "slack_api_url", "slack_api_url_file", dir),
        capture_mail: false,
    };
    // Alerts from Vigie's own rules always say when they end; the field is Alertmanager's and harmless.
    let _unused = r.duration("resolve_timeout", model::duration::parse);
    r.finish();
    global
}

/// A secret given in the file, or in a file that it names (relative to `dir`).
fn secret(r: &mut MapReader<'_>, name: &'static str, file: &'static str, dir: &Path) -> Option<Secret> {
    let inline = r.text(name).map(Secret::new);
    let Some(node) = r.node(file) else { return inline };
    if inline.is_some() {
        r.problem(node, format!("give `{name}` or `{file}`, not both"));
        return None;
    }
    let path = r.text(file)?;
    match std::fs::read_to_string(dir.join(path)) {
        Ok(text) => Some(Secret::new(text.trim())),
        Err(e) => {
            r.problem(node, format!("cannot read {path}: {e}"));
            None
        }
    }
}

/// Templates named by `templates:`; `*` stands for any text in a file's name.
fn read_templates(root: &mut MapReader<'_>, dir: &Path) -> Library {
    let mut library = Library::new(FuncSet::alertmanager());
    for (node, pattern) in root.texts("templates") {
        for path in kit::files::matching(&dir.join(pattern)) {
            let name = path.display().to_string();
            let added = std::fs::read_to_string(&path)
                .map_err(|e| format!("cannot read {name}: {e}"))
                .and_then(|text| {
                    library
                        .add(&name, &text)
                        .map_err(|e| format!("{name}:{}:{}: {}", e.line, e.column, e.message))
                });
            if let Err(e) = added {
                root.problem(node, e);
            }
        }
    }
    library
}

fn read_inhibit(mut r: MapReader<'_>) -> InhibitRule {
    let source = matchers::read(&mut r, "source_matchers", "source_match", "source_match_re");
    let target = matchers::read(&mut r, "target_matchers", "target_match", "target_match_re");
    let equal = r.texts("equal").into_iter().map(|(_, name)| name.to_owned()).collect();
    r.finish();
    InhibitRule { source, target, equal }
}

/// Reads a duration that must not be zero.
fn positive_duration(r: &mut MapReader<'_>, name: &'static str) -> Option<std::time::Duration> {
    let node: Option<&Node> = r.node(name);
    let value = r.duration(name, model::duration::parse)?;
    if value.is_zero() {
        if let Some(node) = node {
            r.problem(node, format!("`{name}` must be longer than zero"));
        }
        return None;
    }
    Some(value)
}

#[cfg(test)]
mod tests;
