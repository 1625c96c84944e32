//! `probes/probes.yaml`.
//!
//! What all kinds have in common is read here; what a kind has of its own, in [`kinds`].

mod kinds;

use super::{
    condition::{Condition, Subjects},
    dns::DnsProbe,
    grpc::GrpcProbe,
    heartbeat::HeartbeatProbe,
    http::HttpProbe,
    icmp::IcmpProbe,
    tcp::{TcpProbe, TlsProbe},
    tls::Shelf,
    websocket::WebSocketProbe,
};
use kit::{
    problem::Problems,
    yaml::{Document, MapReader, Node},
};
use model::{Labels, duration};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

/// How a probe asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Http(Box<HttpProbe>),
    Tcp(TcpProbe),
    Tls(TlsProbe),
    Dns(DnsProbe),
    Icmp(IcmpProbe),
    Grpc(GrpcProbe),
    WebSocket(Box<WebSocketProbe>),
    /// It does not ask: it is called.
    Heartbeat(HeartbeatProbe),
    /// Answers after a while, asking nobody.
    #[cfg(test)]
    Pretend(Duration),
}

const KINDS: [&str; 8] = ["http", "tcp", "tls", "dns", "icmp", "grpc", "websocket", "heartbeat"];

impl Kind {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Kind::Http(_) => "http",
            Kind::Tcp(_) => "tcp",
            Kind::Tls(_) => "tls",
            Kind::Dns(_) => "dns",
            Kind::Icmp(_) => "icmp",
            Kind::Grpc(_) => "grpc",
            Kind::WebSocket(_) => "websocket",
            Kind::Heartbeat(_) => "heartbeat",
            #[cfg(test)]
            Kind::Pretend(_) => "pretend",
        }
    }
}

/// What conditions of a kind can be about, and the one that a probe without any has.
fn conditions_of(kind: &str) -> (Subjects, Option<&'static str>) {
    match kind {
        "http" => (
            &["status", "latency", "certificate_expiry", "header.NAME", "body", "url", "redirects"],
            Some("status == 2xx"),
        ),
        "dns" => (&["latency", "rcode", "answers", "answer"], Some("rcode == NOERROR")),
        "websocket" => (&["status", "latency", "certificate_expiry", "header.NAME"], None),
        "tls" | "grpc" => (&["latency", "certificate_expiry"], None),
        _ => (&["latency"], None),
    }
}

/// Fields that not every kind has, and the kinds that have them.
const FIELDS: [(&str, &[&str]); 23] = [
    ("url", &["http", "tcp", "tls", "dns", "icmp", "grpc", "websocket"]),
    ("timeout", &["http", "tcp", "tls", "dns", "icmp", "grpc", "websocket"]),
    ("conditions", &["http", "tcp", "tls", "dns", "icmp", "grpc", "websocket"]),
    ("method", &["http"]),
    ("headers", &["http", "websocket"]),
    ("body", &["http"]),
    ("follow_redirects", &["http"]),
    ("max_redirects", &["http"]),
    ("basic_auth", &["http", "websocket"]),
    ("authorization", &["http", "websocket"]),
    ("bearer_token", &["http", "websocket"]),
    ("bearer_token_file", &["http", "websocket"]),
    ("tls_config", &["http", "tls", "grpc", "websocket"]),
    ("query_response", &["tcp", "tls", "websocket"]),
    ("starttls", &["tls"]),
    ("query_name", &["dns"]),
    ("query_type", &["dns"]),
    ("transport_protocol", &["dns"]),
    ("recursion_desired", &["dns"]),
    ("grpc_service", &["grpc"]),
    ("token", &["heartbeat"]),
    ("token_file", &["heartbeat"]),
    ("grace", &["heartbeat"]),
];

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
    /// How often it runs: a heartbeat is looked at more often than it beats.
    pub(crate) every: Duration,
}

impl Probe {
    /// What all its series carry.
    pub(crate) fn labels(&self) -> Labels {
        Labels::from_pairs([("probe", &*self.name), ("service", &*self.service), ("target", &*self.url)])
    }
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

/// Where the paths of a file lead from, and what its probes share.
struct Context<'a> {
    dir: &'a Path,
    shelf: Shelf,
    defaults: ProbeDefaults,
}

/// Reads the file.
pub(crate) fn read(doc: &Document, defaults: ProbeDefaults, problems: &mut Problems) -> Vec<Probe> {
    let before = problems.len();
    let dir = Path::new(&doc.file).parent().unwrap_or(Path::new(""));
    let mut context = Context { dir, shelf: Shelf::default(), defaults };
    let Some(mut root) = doc.reader(problems) else { return Vec::new() };
    let mut probes: Vec<Probe> = Vec::new();
    let mut taken = HashSet::new();
    let nodes = root.list("probes");
    for node in nodes {
        let Some(r) = root.item(node) else { continue };
        let Some(probe) = read_probe(r, &mut context) else { continue };
        if !taken.insert(probe.name.clone()) {
            let place = node.get("name").unwrap_or(node);
            root.problem(place, format!("another probe has the name {:?}", probe.name));
        }
        probes.push(probe);
    }
    let names: HashSet<&str> = nodes.iter().filter_map(|n| n.get("name")?.text()).collect();
    for node in nodes {
        let mut check = |wanted: &Node| {
            let text = wanted.text().unwrap_or("");
            if names.contains(text) {
                return;
            }
            let problem = doc.problem(wanted, format!("there is no probe {text:?} to depend on"));
            let near = kit::problem::nearest(text, names.iter().copied());
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
    // Problems show the line they are on, which may hold a secret.
    let Some(kit::yaml::Kind::Seq(nodes)) = doc.root.get("probes").map(|n| &n.kind) else { return probes };
    let secrets: Vec<&str> = nodes.iter().flat_map(secrets).collect();
    for problem in problems.0.iter_mut().skip(before) {
        if secrets.iter().any(|secret| problem.source.contains(secret)) {
            problem.source.clear();
        }
    }
    probes
}

/// What must not be shown of a probe: values of fields that hold secrets.
fn secrets(probe: &Node) -> Vec<&str> {
    let within = |outer: &str, inner: &str| probe.get(outer).and_then(|n| n.get(inner));
    [
        probe.get("token"),
        probe.get("bearer_token"),
        within("basic_auth", "password"),
        within("authorization", "credentials"),
    ]
    .into_iter()
    .flatten()
    .filter_map(Node::text)
    .filter(|text| !text.is_empty())
    .collect()
}

/// Probes that can be reached from themselves.
fn cycles(probes: &[Probe]) -> Vec<String> {
    let mut place = HashMap::new();
    for (i, probe) in probes.iter().enumerate() {
        place.entry(probe.name.as_str()).or_insert(i);
    }
    let needs: Vec<Vec<usize>> = probes
        .iter()
        .map(|p| p.depends_on.iter().filter_map(|name| place.get(name.as_str()).copied()).collect())
        .collect();
    // A probe whose dependencies all lead to an end is in no circle: those are taken away, one after the other.
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by = vec![Vec::new(); probes.len()];
    for (i, of) in needs.iter().enumerate() {
        of.iter().for_each(|&needed| needed_by[needed].push(i));
    }
    let mut free: Vec<usize> = (0..probes.len()).filter(|&i| waiting[i] == 0).collect();
    while let Some(done) = free.pop() {
        for &i in &needed_by[done] {
            waiting[i] -= 1;
            if waiting[i] == 0 {
                free.push(i);
            }
        }
    }
    let reaches_itself = |start: usize| {
        let (mut todo, mut seen) = (needs[start].clone(), HashSet::new());
        while let Some(i) = todo.pop() {
            if i == start {
                return true;
            }
            if seen.insert(i) {
                todo.extend(&needs[i]);
            }
        }
        false
    };
    let circling = (0..probes.len()).filter(|&i| waiting[i] > 0 && reaches_itself(i));
    circling.map(|i| probes[i].name.clone()).collect()
}

/// A duration above zero.
fn time(r: &mut MapReader<'_>, name: &'static str) -> Option<Duration> {
    r.duration(name, |text| match duration::parse(text) {
        Ok(d) if d.is_zero() => Err("it must be longer than 0".to_owned()),
        other => other.map_err(|e| e.to_string()),
    })
}

/// Refuses fields of other kinds, with a word on whose they are.
fn refuse_others(r: &mut MapReader<'_>, kind: &str) {
    for (field, kinds) in FIELDS {
        if !kinds.contains(&kind)
            && let Some(node) = r.node(field)
        {
            let problem = r.doc.problem(node, format!("`{field}` cannot be set for kind {kind}"));
            r.problems.push(problem.with_help(format!("it is a field of {}", kinds.join(", "))));
        }
    }
}

fn read_probe(mut r: MapReader<'_>, context: &mut Context<'_>) -> Option<Probe> {
    let before = r.problems.len();
    let name = r.required_text("name").unwrap_or_default().to_owned();
    let service = r.text("service").filter(|s| !s.is_empty()).unwrap_or(&name).to_owned();
    let kind_text = r.text("kind").unwrap_or("http");
    if !KINDS.contains(&kind_text) {
        unknown_kind(&mut r, kind_text);
        return None;
    }
    refuse_others(&mut r, kind_text);
    let is_heartbeat = kind_text == "heartbeat";
    let url = if is_heartbeat {
        format!("/api/vigie/v1/heartbeats/{name}")
    } else {
        r.required_text("url").unwrap_or_default().to_owned()
    };
    if is_heartbeat {
        // Thirty seconds would be a guess at how often somebody else calls.
        r.required("interval");
    }
    let interval = time(&mut r, "interval").unwrap_or(context.defaults.interval);
    let timeout = if is_heartbeat { None } else { time(&mut r, "timeout") }
        .unwrap_or(context.defaults.timeout.min(interval));
    if timeout > interval {
        let node = r.node("timeout").unwrap_or(r.node);
        r.problem(node, "the timeout is longer than the interval");
    }
    let conditions = if is_heartbeat { Vec::new() } else { read_conditions(&mut r, kind_text) };
    let reading = kinds::Reading { name: &name, url: &url, interval, conditions: &conditions };
    let kind = match kind_text {
        "http" => reading.http(&mut r, context).map(Box::new).map(Kind::Http),
        "tcp" => reading.tcp(&mut r).map(Kind::Tcp),
        "tls" => reading.tls(&mut r, context).map(Kind::Tls),
        "dns" => reading.dns(&mut r).map(Kind::Dns),
        "icmp" => reading.icmp(&mut r).map(Kind::Icmp),
        "grpc" => reading.grpc(&mut r, context).map(Kind::Grpc),
        "websocket" => reading.websocket(&mut r, context).map(Box::new).map(Kind::WebSocket),
        _ => reading.heartbeat(&mut r, context).map(Kind::Heartbeat),
    };
    let depends_on = r.texts("depends_on").into_iter().map(|(_, t)| t.to_owned()).collect();
    let sound = r.problems.len() == before;
    r.finish();
    let every = if is_heartbeat { interval.min(context.defaults.interval) } else { interval };
    sound.then_some(Probe {
        name,
        service,
        url,
        kind: kind?,
        interval,
        timeout,
        conditions,
        depends_on,
        every,
    })
}

/// What else is wrong with such a probe cannot be said, only which fields are nobody's.
fn unknown_kind(r: &mut MapReader<'_>, kind: &str) {
    if let Some(node) = r.node("kind") {
        let problem = r.doc.problem(node, format!("unknown kind {kind:?}: there are {}", KINDS.join(", ")));
        r.problems.push(match kit::problem::nearest(kind, KINDS) {
            Some(near) => problem.with_help(format!("did you mean `{near}`?")),
            None => problem,
        });
    }
}

fn read_conditions(r: &mut MapReader<'_>, kind: &str) -> Vec<Condition> {
    let (subjects, usual) = conditions_of(kind);
    let mut conditions = Vec::new();
    for (node, text) in r.texts("conditions") {
        match Condition::parse(text) {
            Ok(c) if !c.is_among(subjects) => {
                let only = match subjects {
                    [one] => format!("only `{one}` can"),
                    several => format!("only `{}` can", several.join("`, `")),
                };
                r.problem(node, format!("`{c}` cannot be asked of kind {kind}: {only}"));
            }
            Ok(c) => conditions.push(c),
            Err(fault) => {
                let problem = r.doc.problem_within(node, fault.offset, fault.what);
                r.problems.push(problem);
            }
        }
    }
    if r.node("conditions").is_none() {
        conditions.extend(usual.and_then(|usual| Condition::parse(usual).ok()));
    }
    conditions
}

#[cfg(test)]
mod tests;
