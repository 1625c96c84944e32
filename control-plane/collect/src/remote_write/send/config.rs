//! `remote_write` as Prometheus has it, read with every problem at its place.
//!
//! Fields of Prometheus that are known and not built yet are refused by name.

use crate::{
    config::{File, document_for_section},
    remote_write::{Protocol, V1_MESSAGE, V2_MESSAGE},
    scrape::{
        client::{self, HttpConfig, Place},
        config::{positive, read_rules},
        relabel::Relabel,
    },
};
use http::{HeaderName, HeaderValue};
use kit::{
    problem::Problems,
    yaml::{Document, MapReader},
};
use model::{Labels, duration};
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};
use url::Url;

/// How samples wait and are sent. The names are those of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Queue {
    pub(crate) capacity: usize,
    pub(crate) max_shards: usize,
    pub(crate) min_shards: usize,
    pub(crate) max_samples_per_send: usize,
    pub(crate) batch_send_deadline: Duration,
    pub(crate) min_backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) retry_on_429: bool,
    /// `None`: samples do not get too old.
    pub(crate) sample_age_limit: Option<Duration>,
}

/// What is told about families of metrics, in version 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetadataConfig {
    pub(crate) send: bool,
    pub(crate) interval: Duration,
    pub(crate) max_samples_per_send: usize,
}

/// One receiver.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Endpoint {
    /// For people and metrics.
    pub(crate) name: String,
    /// What the store remembers its position by.
    pub(crate) key: String,
    pub(crate) url: Url,
    pub(crate) protocol: Protocol,
    pub(crate) timeout: Duration,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) http: HttpConfig,
    pub(crate) relabel: Vec<Relabel>,
    pub(crate) external: Labels,
    pub(crate) native_histograms: bool,
    pub(crate) queue: Queue,
    pub(crate) metadata: MetadataConfig,
}

/// To whom samples are passed on. To nobody by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SendConfig {
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    external: Labels,
}

/// Known to Prometheus, not built here yet.
const NOT_YET: &[&str] = &["sigv4", "azuread", "google_iam"];

/// Headers that a sender sets itself.
const RESERVED: &[&str] = &[
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-remote-write-version",
];

impl SendConfig {
    /// Reads `remote_write` and `global.external_labels`, of a whole `prometheus.yml` or of a file of its own.
    ///
    /// # Errors
    /// Every problem of the two.
    pub fn parse(
        file: File<'_>,
        whole_prometheus: bool,
        values: &dyn Fn(&str) -> Option<String>,
    ) -> Result<SendConfig, Problems> {
        let mut problems = Problems::default();
        let mut config = SendConfig::default();
        let doc = document_for_section(file, whole_prometheus, values, &mut problems);
        if let Some(doc) = doc {
            config = read(&doc, whole_prometheus, values, &mut problems);
        }
        problems.into_result(config)
    }

    /// `global.external_labels`: what tells this server's series and alerts from others'.
    pub fn external_labels(&self) -> &Labels {
        &self.external
    }

    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }
}

fn read(
    doc: &Document,
    whole_prometheus: bool,
    values: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> SendConfig {
    let dir = Path::new(&doc.file).parent().unwrap_or(Path::new("")).to_owned();
    let place = Place { dir: &dir, values };
    let Some(mut root) = doc.reader(problems) else { return SendConfig::default() };
    let mut external = Labels::default();
    if let Some(mut global) = root.child("global") {
        external = external_labels(&mut global);
        if !whole_prometheus {
            global.finish();
        }
    }
    let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
    let mut taken = BTreeSet::new();
    for node in root.list("remote_write") {
        if node.is_null() {
            root.problem(node, "empty remote write config");
            continue;
        }
        let Some(r) = root.item(node) else { continue };
        let Some(endpoint) = read_endpoint(r, &external, place, &mut taken) else { continue };
        if endpoints.iter().any(|e| e.name == endpoint.name) {
            let place = node.get("name").unwrap_or(node);
            root.problem(place, format!("another remote write config has the name {:?}", endpoint.name));
        }
        endpoints.push(Arc::new(endpoint));
    }
    if !whole_prometheus {
        root.finish();
    }
    SendConfig { endpoints, external }
}

fn external_labels(global: &mut MapReader<'_>) -> Labels {
    let mut pairs = Vec::new();
    for (key, value) in global.text_map("external_labels") {
        let name = key.text().unwrap_or("");
        if name.is_empty() || name.starts_with("__") {
            global.problem(key, format!("{name:?} cannot be an external label"));
        }
        pairs.push((name, value.text().unwrap_or("")));
    }
    Labels::from_pairs(pairs)
}

fn read_endpoint(
    mut r: MapReader<'_>,
    external: &Labels,
    place: Place<'_>,
    taken: &mut BTreeSet<String>,
) -> Option<Endpoint> {
    let before = r.problems.len();
    r.required("url");
    let url = r.parsed("url", |text| match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(format!(
            "{text:?} is no address of a receiver: write it like https://example.com/api/v1/write"
        )),
        Err(e) => Err(format!("{text:?} is no address: {e}")),
    });
    let protocol = r.parsed("protobuf_message", |text| match text {
        V1_MESSAGE => Ok(Protocol::V1),
        V2_MESSAGE => Ok(Protocol::V2),
        other => Err(format!("{other:?} is no message of remote write: {V1_MESSAGE} or {V2_MESSAGE}")),
    });
    let name = r.text("name").filter(|n| !n.is_empty());
    let headers = read_headers(&mut r);
    let relabel = read_rules(&mut r, "write_relabel_configs");
    let http = client::read(&mut r, place);
    let queue = read_queue(r.child("queue_config"));
    let metadata = read_metadata(r.child("metadata_config"));
    let timeout = positive(&mut r, "remote_timeout").unwrap_or(Duration::from_secs(30));
    let native_histograms = r.bool("send_native_histograms").unwrap_or(false);
    refuse(&mut r);
    let sound = r.problems.len() == before;
    r.finish();
    let url = url.filter(|_| sound)?;
    let (name, key) = naming(name, &url, taken);
    Some(Endpoint {
        name,
        key,
        url,
        protocol: protocol.unwrap_or(Protocol::V1),
        timeout,
        headers,
        http,
        relabel,
        external: external.clone(),
        native_histograms,
        queue,
        metadata,
    })
}

/// The name of an endpoint, and what its position is kept under: both stay what they are when other settings
/// change. Addresses may hold secrets, so a name is made of a hash.
fn naming(name: Option<&str>, url: &Url, taken: &mut BTreeSet<String>) -> (String, String) {
    let hash = |text: &str| Labels::from_pairs([("of", text)]).stable_hash();
    if let Some(name) = name {
        return (name.to_owned(), format!("write-{:016x}", hash(&format!("name {name}"))));
    }
    let mut n = 1;
    loop {
        let hash = hash(&format!("url {n} {url}"));
        let name = format!("{:06x}", hash & 0xff_ffff);
        if taken.insert(name.clone()) {
            return (name, format!("write-{hash:016x}"));
        }
        n += 1;
    }
}

fn refuse(r: &mut MapReader<'_>) {
    for name in NOT_YET {
        if let Some(node) = r.node(name) {
            r.problem(node, format!("`{name}` is not supported yet"));
        }
    }
    for (name, why) in [("send_exemplars", ": exemplars are not kept"), ("round_robin_dns", "")] {
        if r.bool(name) == Some(true)
            && let Some(node) = r.node(name)
        {
            r.problem(node, format!("`{name}: true` is not supported yet{why}"));
        }
    }
}

fn read_headers(r: &mut MapReader<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut out = Vec::new();
    for (key, value) in r.text_map("headers") {
        let text = key.text().unwrap_or("");
        let Ok(name) = HeaderName::try_from(text) else {
            r.problem(key, format!("{text:?} is no name of a header"));
            continue;
        };
        if RESERVED.contains(&name.as_str()) {
            r.problem(key, format!("the header {text} is set by the sender; it cannot be set here"));
            continue;
        }
        match HeaderValue::from_str(value.text().unwrap_or("")) {
            Ok(mut value) => {
                // Tenants and tokens are passed in headers.
                value.set_sensitive(true);
                out.push((name, value));
            }
            Err(_) => {
                r.problem(value, format!("the value of the header {text} has characters that no header may"))
            }
        }
    }
    out
}

/// A whole number above zero.
fn count(r: &mut MapReader<'_>, name: &'static str, default: usize) -> usize {
    let parse = |text: &str| match text.parse::<usize>() {
        Ok(0) => Err("it must be more than 0".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err(format!("{text:?} is not a whole number")),
    };
    r.parsed(name, parse).unwrap_or(default)
}

fn read_queue(r: Option<MapReader<'_>>) -> Queue {
    let mut queue = Queue {
        capacity: 10_000,
        max_shards: 50,
        min_shards: 1,
        max_samples_per_send: 2_000,
        batch_send_deadline: Duration::from_secs(5),
        min_backoff: Duration::from_millis(30),
        max_backoff: Duration::from_secs(5),
        retry_on_429: false,
        sample_age_limit: None,
    };
    let Some(mut r) = r else { return queue };
    queue.capacity = count(&mut r, "capacity", queue.capacity);
    queue.max_shards = count(&mut r, "max_shards", queue.max_shards);
    queue.min_shards = count(&mut r, "min_shards", queue.min_shards);
    queue.max_samples_per_send = count(&mut r, "max_samples_per_send", queue.max_samples_per_send);
    if queue.min_shards > queue.max_shards {
        let node = r.node("min_shards").unwrap_or(r.node);
        r.problem(node, format!("`min_shards` is more than `max_shards`, which is {}", queue.max_shards));
    }
    let deadline = positive(&mut r, "batch_send_deadline");
    queue.batch_send_deadline = deadline.unwrap_or(queue.batch_send_deadline);
    queue.min_backoff = positive(&mut r, "min_backoff").unwrap_or(queue.min_backoff);
    queue.max_backoff = positive(&mut r, "max_backoff").unwrap_or(queue.max_backoff);
    if queue.min_backoff > queue.max_backoff {
        let node = r.node("min_backoff").or(r.node("max_backoff")).unwrap_or(r.node);
        r.problem(node, "`min_backoff` is longer than `max_backoff`");
    }
    queue.retry_on_429 = r.bool("retry_on_http_429").unwrap_or(false);
    queue.sample_age_limit = r.duration("sample_age_limit", duration::parse).filter(|d| !d.is_zero());
    r.finish();
    queue
}

fn read_metadata(r: Option<MapReader<'_>>) -> MetadataConfig {
    let mut metadata =
        MetadataConfig { send: true, interval: Duration::from_mins(1), max_samples_per_send: 2_000 };
    let Some(mut r) = r else { return metadata };
    metadata.send = r.bool("send").unwrap_or(true);
    metadata.interval = positive(&mut r, "send_interval").unwrap_or(metadata.interval);
    metadata.max_samples_per_send = count(&mut r, "max_samples_per_send", metadata.max_samples_per_send);
    r.finish();
    metadata
}

#[cfg(test)]
mod tests;
