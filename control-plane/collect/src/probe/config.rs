//! `probes/probes.yaml`.

use super::condition::Condition;
use kit::{
    problem::Problems,
    yaml::{Document, MapReader, Node},
};
use model::duration;
use std::time::Duration;

/// How a probe asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Http,
    /// Only that a connection can be made.
    Tcp {
        address: String,
    },
}

impl Kind {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Kind::Http => "http",
            Kind::Tcp { .. } => "tcp",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Probe {
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) url: String,
    pub(crate) kind: Kind,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) conditions: Vec<Condition>,
    /// Names of other probes without which this one cannot be good.
    pub(crate) depends_on: Vec<String>,
}

/// What a probe does that names no interval or timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeDefaults {
    pub interval: Duration,
    pub timeout: Duration,
}

impl Default for ProbeDefaults {
    /// Every 30 s, waiting 5 s.
    fn default() -> Self {
        ProbeDefaults { interval: Duration::from_secs(30), timeout: Duration::from_secs(5) }
    }
}

const KINDS: [&str; 3] = ["http", "tcp", "heartbeat"];

/// Reads the file.
pub(crate) fn read(doc: &Document, defaults: ProbeDefaults, problems: &mut Problems) -> Vec<Probe> {
    let Some(mut root) = doc.reader(problems) else { return Vec::new() };
    let mut probes: Vec<Probe> = Vec::new();
    let nodes = root.list("probes");
    for node in nodes {
        let Some(r) = root.item(node) else { continue };
        let Some(probe) = read_probe(r, defaults) else { continue };
        if probes.iter().any(|p| p.name == probe.name) {
            let place = node.get("name").unwrap_or(node);
            root.problem(place, format!("another probe has the name {:?}", probe.name));
        }
        probes.push(probe);
    }
    let names: Vec<String> = nodes.iter().filter_map(|n| Some(n.get("name")?.text()?.to_owned())).collect();
    for node in nodes {
        let mut check = |wanted: &Node| {
            let text = wanted.text().unwrap_or("");
            if names.iter().any(|n| n == text) {
                return;
            }
            let problem = doc.problem(wanted, format!("there is no probe {text:?} to depend on"));
            let near = kit::problem::nearest(text, names.iter().map(String::as_str));
            root.problems.push(match near {
                Some(near) => problem.with_help(format!("did you mean `{near}`?")),
                None => problem,
            });
        };
        if let Some(kit::yaml::Kind::Seq(items)) = node.get("depends_on").map(|n| &n.kind) {
            items.iter().for_each(&mut check);
        }
    }
    for name in cycles(&probes) {
        let node = nodes.iter().find(|n| n.get("name").and_then(Node::text) == Some(&name));
        let node = node.unwrap_or(&doc.root);
        root.problem(node.get("depends_on").unwrap_or(node), format!("probe {name:?} depends on itself"));
    }
    root.finish();
    probes
}

/// Probes that can be reached from themselves.
fn cycles(probes: &[Probe]) -> Vec<String> {
    let depends = |name: &str| probes.iter().find(|p| p.name == name).map_or(&[][..], |p| &p.depends_on);
    let reaches_itself = |start: &Probe| {
        let (mut todo, mut seen): (Vec<&String>, Vec<&String>) =
            (start.depends_on.iter().collect(), Vec::new());
        while let Some(name) = todo.pop() {
            if *name == start.name {
                return true;
            }
            if !seen.contains(&name) {
                seen.push(name);
                todo.extend(depends(name));
            }
        }
        false
    };
    probes.iter().filter(|p| reaches_itself(p)).map(|p| p.name.clone()).collect()
}

fn read_probe(mut r: MapReader<'_>, defaults: ProbeDefaults) -> Option<Probe> {
    let before = r.problems.len();
    let name = r.required_text("name").unwrap_or_default().to_owned();
    let service = r.text("service").filter(|s| !s.is_empty()).unwrap_or(&name).to_owned();
    let url = r.required_text("url").unwrap_or_default().to_owned();
    let kind_text = r.text("kind").unwrap_or("http");
    let kind = match kind_text {
        "http" => check_http(&mut r, &url).then_some(Kind::Http),
        "tcp" => tcp_address(&mut r, &url).map(|address| Kind::Tcp { address }),
        other => {
            let text = if KINDS.contains(&other) {
                format!("kind `{other}` is not supported yet")
            } else {
                format!("unknown kind {other:?}: there are http and tcp")
            };
            if let Some(node) = r.node("kind") {
                r.problem(node, text);
            }
            None
        }
    };
    let time = |r: &mut MapReader<'_>, name: &'static str| {
        r.duration(name, |text| match duration::parse(text) {
            Ok(d) if d.is_zero() => Err("it must be longer than 0".to_owned()),
            other => other.map_err(|e| e.to_string()),
        })
    };
    let interval = time(&mut r, "interval").unwrap_or(defaults.interval);
    let timeout = time(&mut r, "timeout").unwrap_or(defaults.timeout.min(interval));
    if timeout > interval {
        let node = r.node("timeout").unwrap_or(r.node);
        r.problem(node, "the timeout is longer than the interval");
    }
    let mut conditions = Vec::new();
    for (node, text) in r.texts("conditions") {
        match Condition::parse(text) {
            Ok(c) if kind_text == "tcp" && c.needs_http() => {
                r.problem(node, format!("`{c}` cannot be asked of kind tcp: only `latency` can"));
            }
            Ok(c) => conditions.push(c),
            Err(fault) => {
                let problem = r.doc.problem_within(node, fault.offset, fault.what);
                r.problems.push(problem);
            }
        }
    }
    if r.node("conditions").is_none() && kind_text == "http" {
        conditions.extend(Condition::parse("status == 2xx"));
    }
    let depends_on = r.texts("depends_on").into_iter().map(|(_, t)| t.to_owned()).collect();
    let sound = r.problems.len() == before;
    r.finish();
    sound.then_some(Probe { name, service, url, kind: kind?, interval, timeout, conditions, depends_on })
}

fn check_http(r: &mut MapReader<'_>, url: &str) -> bool {
    let sound = url::Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    if !sound
        && !url.is_empty()
        && let Some(node) = r.node("url")
    {
        let problem = r.doc.problem(node, format!("{url:?} is not an address to ask by HTTP"));
        r.problems.push(problem.with_help("write it like http://example.com:8080/health"));
    }
    sound
}

/// `tcp://host:port` or `host:port`.
fn tcp_address(r: &mut MapReader<'_>, url: &str) -> Option<String> {
    let address = url.strip_prefix("tcp://").unwrap_or(url);
    let sound =
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !sound
        && !url.is_empty()
        && let Some(node) = r.node("url")
    {
        r.problem(node, format!("{url:?} is not host:port"));
    }
    sound.then(|| address.to_owned())
}

#[cfg(test)]
mod tests;
