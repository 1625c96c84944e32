//! The configuration as others may see it: YAML in the sections of a `prometheus.yml`, without secrets.
//!
//! What is shown is what the files say, with `${NAME}` as it stands there: a value from the environment may be a
//! secret that no name tells.

use kit::yaml::{Document, Kind, Node};
use model::Labels;
use std::collections::BTreeMap;
use std::fmt::Write;
use url::Url;

/// What stands in place of a secret.
const SECRET: &str = "<secret>";

/// A configuration without its secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownConfig {
    pub yaml: String,
    /// Each job's part, by its name.
    pub jobs: BTreeMap<String, String>,
    /// Where a Prometheus with this file would send its alerts.
    pub alertmanagers: Vec<String>,
    pub external_labels: Labels,
}

impl ShownConfig {
    /// Puts together what the files say, each a name and a text. Of a section that is in several, the first counts.
    pub(crate) fn new<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        rule_files: &[String],
    ) -> ShownConfig {
        let mut shown = ShownConfig::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, text) in files {
            // A file that is no YAML was refused before this.
            let Ok(doc) = Document::parse(name, text) else { continue };
            let Kind::Map(sections) = &doc.root.kind else { continue };
            for (key, section) in sections {
                let name = key.text().unwrap_or("");
                if !seen.iter().any(|s| s == name) {
                    seen.push(name.to_owned());
                    entry(&mut shown.yaml, key, section, 0, false);
                    if name == "alerting" {
                        shown.alertmanagers = alertmanagers(section);
                    }
                }
            }
            let Some(Kind::Seq(jobs)) = doc.root.get("scrape_configs").map(|n| &n.kind) else { continue };
            for job in jobs {
                let mut yaml = String::new();
                block(&mut yaml, job, 0, false);
                if let Some(name) = job.get("job_name").and_then(Node::text) {
                    shown.jobs.insert(name.to_owned(), yaml);
                }
            }
        }
        if !seen.iter().any(|s| s == "rule_files") && !rule_files.is_empty() {
            shown.yaml.push_str("rule_files:\n");
            for file in rule_files {
                let _infallible = writeln!(shown.yaml, "- {}", scalar(file, true));
            }
        }
        shown
    }
}

/// The addresses in `alerting.alertmanagers`, as far as they stand there.
fn alertmanagers(alerting: &Node) -> Vec<String> {
    let list = |node: &Node, name: &str| match node.get(name).map(|n| &n.kind) {
        Some(Kind::Seq(items)) => items.clone(),
        _ => Vec::new(),
    };
    let text = |node: &Node, name: &str, or: &str| {
        node.get(name).and_then(Node::text).filter(|t| !t.is_empty()).unwrap_or(or).to_owned()
    };
    let mut out = Vec::new();
    for one in list(alerting, "alertmanagers") {
        let (scheme, version) = (text(&one, "scheme", "http"), text(&one, "api_version", "v2"));
        let prefix = text(&one, "path_prefix", "/");
        let prefix = prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        for group in list(&one, "static_configs") {
            for target in list(&group, "targets").iter().filter_map(Node::text) {
                out.push(format!("{scheme}://{target}{slash}{prefix}/api/{version}/alerts"));
            }
        }
    }
    out
}

/// Whether what has this name is for nobody's eyes. A path to a secret is no secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let part = |part: &str| name.contains(part);
    !name.ends_with("_file")
        && (name == "key"
            || ["password", "secret", "token", "credential", "api_key", "apikey"].into_iter().any(part))
}

/// Whether everything below it is: headers carry tokens under any name.
fn hides_all(name: &str) -> bool {
    matches!(name, "headers" | "http_headers" | "proxy_connect_header")
}

/// `key: value`, at a level; in a list the first one stands behind its dash.
fn entry(out: &mut String, key: &Node, value: &Node, level: usize, secret: bool) {
    let name = key.text().unwrap_or("");
    let secret = secret || is_secret(name) || hides_all(name);
    out.push_str(&scalar(name, true));
    out.push(':');
    match &value.kind {
        Kind::Null => out.push('\n'),
        Kind::Scalar { text, plain } => {
            let _infallible = writeln!(out, " {}", shown(text, *plain, secret));
        }
        Kind::Seq(items) if items.is_empty() => out.push_str(" []\n"),
        Kind::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Kind::Seq(_) => {
            out.push('\n');
            indent(out, level);
            block(out, value, level, secret);
        }
        Kind::Map(_) => {
            out.push('\n');
            indent(out, level + 1);
            block(out, value, level + 1, secret);
        }
    }
}

/// A value whose first line is indented already.
fn block(out: &mut String, node: &Node, level: usize, secret: bool) {
    match &node.kind {
        Kind::Null => out.push_str("null\n"),
        Kind::Scalar { text, plain } => {
            let _infallible = writeln!(out, "{}", shown(text, *plain, secret));
        }
        Kind::Seq(items) if items.is_empty() => out.push_str("[]\n"),
        Kind::Map(entries) if entries.is_empty() => out.push_str("{}\n"),
        Kind::Seq(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    indent(out, level);
                }
                out.push_str("- ");
                block(out, item, level + 1, secret);
            }
        }
        Kind::Map(entries) => {
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    indent(out, level);
                }
                entry(out, key, value, level, secret);
            }
        }
    }
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn shown(text: &str, plain: bool, secret: bool) -> String {
    if secret { SECRET.to_owned() } else { scalar(&without_secrets(text), plain) }
}

/// An address without the password and without the values of its parameters.
fn without_secrets(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return text.to_owned() };
    if url.password().is_none() && url.query().is_none() || !url.has_host() {
        return text.to_owned();
    }
    if url.password().is_some() {
        // An address with a host takes one.
        let _taken = url.set_password(Some("secret"));
    }
    if url.query().is_some() {
        let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        url.query_pairs_mut().clear().extend_pairs(names.iter().map(|name| (name, "secret")));
    }
    url.into()
}

/// Words that YAML takes for something else than texts.
const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];

/// A scalar that reads back as the same text. JSON's texts are YAML's too. `plain`: it was none.
fn scalar(text: &str, plain: bool) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./+".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !WORDS.iter().any(|w| text.eq_ignore_ascii_case(w));
    if (plain || word) && !text.is_empty() && text.chars().all(bare) {
        return text.to_owned();
    }
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "global: {scrape_interval: 5s, external_labels: {a: 'yes', b: \"x: y\"}}
scrape_configs:
  - job_name: api
    basic_auth: {username: me, password: hunter2}
    authorization: {credentials: hunter2, credentials_file: /run/token}
    http_headers: {X-Tenant: {values: [hunter2]}}
    params: {}
    static_configs:
      - targets: ['a:1', 'b:2']
  - job_name: 'other one'
    tls_config: {key: hunter2, key_file: k.pem}
    http_sd_configs: [{url: 'https://me:hunter2@sd.example/x?token=hunter2&b=hunter2'}]
";

    #[test]
    fn the_alertmanagers_of_a_file_are_known_by_their_addresses() {
        let text = "alerting:
  alertmanagers:
    - static_configs: [{targets: ['a:9093', 'b:9093']}]
    - {scheme: https, path_prefix: /am/, static_configs: [{targets: [c]}]}
    - dns_sd_configs: [{names: [d]}]
";
        let shown = ShownConfig::new([("p.yml", text), ("p.yml", text)], &[]);
        assert_eq!(
            shown.alertmanagers,
            ["http://a:9093/api/v2/alerts", "http://b:9093/api/v2/alerts", "https://c/am/api/v2/alerts"]
        );
        assert!(ShownConfig::new([("p.yml", FILE)], &[]).alertmanagers.is_empty());
    }

    #[test]
    fn nothing_that_is_secret_is_shown_and_the_rest_reads_back() {
        let write =
            "remote_write: [{url: 'https://w.example/', bearer_token: hunter2, headers: {X: hunter2}}]";
        let shown =
            ShownConfig::new([("a.yaml", FILE), ("b.yaml", write)], &["alerts/rules/a.yaml".to_owned()]);
        assert!(!shown.yaml.contains("hunter2"), "{}", shown.yaml);
        let doc =
            Document::parse("again.yaml", &shown.yaml).unwrap_or_else(|e| panic!("{e}\n{}", shown.yaml));
        let text = |path: &[&str]| {
            path.iter().try_fold(&doc.root, |n, p| n.get(p)).and_then(Node::text).map(str::to_owned)
        };
        assert_eq!(text(&["global", "external_labels", "a"]).as_deref(), Some("yes"));
        assert_eq!(text(&["global", "external_labels", "b"]).as_deref(), Some("x: y"));
        for kept in [
            "username: me",
            "/run/token",
            "key_file: k.pem",
            "\"a:1\"",
            "me:secret@sd.example/x?token=secret&b=secret",
            "rule_files:\n- alerts/rules/a.yaml",
        ] {
            assert!(shown.yaml.contains(kept), "{kept} is not in\n{}", shown.yaml);
        }
        assert_eq!(shown.jobs.keys().collect::<Vec<_>>(), ["api", "other one"]);
        assert!(
            shown.jobs["api"].starts_with("job_name: api\nbasic_auth:\n  username: me\n"),
            "{:?}",
            shown.jobs
        );
        Document::parse("job.yaml", &shown.jobs["other one"]).expect("reads back");
    }
}
