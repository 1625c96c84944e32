//! A real Prometheus and a collector on the same target: what both stored is compared.
//!
//! Both scrape in their own time, so the target shows one state until each has seen it, then the next; the values
//! that follow each other have to be the same ones, and so have samples with times of their own.

use super::*;
use crate::scrape::exposition::protobuf::tests::{Message, body as message, native};
use model::{SampleColumns, Select, SelectRequest, is_stale_nan};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener as StdListener},
    process::{Child, Command, Stdio},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

struct Prometheus {
    child: Child,
    base: String,
    _dir: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill().is_err();
        let _waited = self.child.wait().is_err();
    }
}

impl Prometheus {
    /// `None`, after saying so, where it is not installed.
    fn start(config: &str, more: &[&str]) -> Option<Prometheus> {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("writes");
        let port = StdListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("an address").port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => {
                Some(Prometheus { child, base: format!("http://127.0.0.1:{port}/api/v1"), _dir: dir })
            }
            Err(e) => {
                #[expect(clippy::disallowed_methods, reason = "a test's own settings")]
                let required = std::env::var_os("PARTS_REQUIRED");
                assert!(required.is_none_or(|v| v != "1"), "prometheus is required: {e}");
                println!("skipped: prometheus is not installed");
                None
            }
        }
    }

    async fn query(&self, query: &str) -> Vec<Value> {
        let client = kit::client::build(Duration::from_secs(5)).expect("a client");
        let url = format!("{}/query", self.base);
        let Ok(answer) = client.get(url).query(&[("query", query)]).send().await else { return Vec::new() };
        let answer: Value = answer.json().await.unwrap_or_default();
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// What it stored of every series.
    async fn stored(&self) -> Stored {
        let mut out = Stored::new();
        for series in self.query("{__name__=~\".+\"}[1h]").await {
            let labels = series["metric"].as_object().expect("labels");
            let labels = Labels::from_pairs(labels.iter().map(|(k, v)| (&**k, v.as_str().expect("a text"))));
            let floats = series["values"].as_array().cloned().unwrap_or_default();
            let histograms = series["histograms"].as_array().cloned().unwrap_or_default();
            let samples = floats.iter().chain(&histograms).map(|v| {
                #[expect(clippy::cast_possible_truncation, reason = "a time of this century")]
                let at = (v[0].as_f64().expect("a time") * 1000.0).round() as i64;
                let shown = match v[1].as_str() {
                    Some(text) => text.parse::<f64>().expect("a number").to_string(),
                    None => {
                        let number = |name: &str| -> f64 {
                            v[1][name].as_str().expect("a number").parse().expect("a number")
                        };
                        let buckets = v[1]["buckets"].as_array().map_or(0, Vec::len);
                        format!("{}/{}/{buckets}", number("count"), number("sum"))
                    }
                };
                (at, shown)
            });
            out.insert(labels.to_string(), samples.collect());
        }
        out
    }
}

/// Series with their samples, as texts.
type Stored = BTreeMap<String, Vec<(i64, String)>>;

/// What we stored, without the markers of an end; and which series end.
fn ours(store: &Store) -> (Stored, Vec<String>) {
    let mut stream = store.db.select(&SelectRequest::new(&[], i64::MIN, i64::MAX)).expect("selects");
    let (mut out, mut ended) = (Stored::new(), Vec::new());
    let mut columns = SampleColumns::default();
    while let Some((_, labels)) = stream.next(&mut columns).expect("reads") {
        if labels.value("job") == "vigie" {
            continue;
        }
        let mut samples = Vec::new();
        for (i, at) in columns.times.iter().enumerate() {
            let histogram = columns.histograms.iter().find(|(n, _)| *n == i).map(|(_, h)| h);
            match histogram {
                Some(h) => {
                    let zero = usize::from(h.zero_count > 0.0);
                    let full = h.positive.iter().chain(&h.negative).filter(|c| **c != 0.0).count() + zero;
                    samples.push((*at, format!("{}/{}/{full}", h.count, h.sum)));
                }
                None if is_stale_nan(columns.values[i]) => {}
                None => samples.push((*at, columns.values[i].to_string())),
            }
        }
        if columns.values.last().is_some_and(|v| is_stale_nan(*v)) {
            ended.push(labels.to_string());
        }
        out.insert(labels.to_string(), samples);
    }
    (out, ended)
}

/// Values without their repetitions; times too, where the target gives them.
fn sequence(series: &str, samples: &[(i64, String)]) -> Vec<String> {
    let own_time = series.contains("\"own\"");
    let mut out: Vec<String> =
        samples.iter().map(|(at, v)| if own_time { format!("{v}@{at}") } else { v.clone() }).collect();
    out.dedup();
    out
}

/// What the target shows, and who has seen it how often.
#[derive(Debug, Default)]
struct Shown {
    text: String,
    messages: Vec<u8>,
    seen: [usize; 2],
}

async fn target(shown: Arc<Mutex<Shown>>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    #[expect(clippy::disallowed_methods, reason = "a test's server")]
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 8192];
            let Ok(n) = stream.read(&mut head).await else { continue };
            let head = String::from_utf8_lossy(&head[..n]).to_lowercase();
            let (kind, body) = {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.seen[usize::from(head.contains("vigie/"))] += 1;
                if head.contains("client.metricfamily") && !shown.messages.is_empty() {
                    let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
                    (kind, shown.messages.clone())
                } else {
                    ("text/plain; version=0.0.4", shown.text.clone().into_bytes())
                }
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let all = [head.into_bytes(), body].concat();
            // Whoever does not wait for the end has seen nothing.
            let _gone = stream.write_all(&all).await.is_err();
            let _closed = stream.shutdown().await.is_err();
        }
    });
    (address, task)
}

/// Lets both scrape all states of a target, then none at all; compares what they stored.
async fn compare(
    states: Vec<(String, Vec<u8>)>,
    config: &str,
    theirs: &str,
    more: &[&str],
) -> Option<Stored> {
    let shown = Arc::new(Mutex::new(Shown::default()));
    let (address, task) = target(Arc::clone(&shown)).await;
    let text = |config: &str| config.replace("AT", &address.to_string());
    let show = |(text, messages): (String, Vec<u8>)| {
        let mut shown = shown.lock().expect("not poisoned");
        *shown = Shown { text, messages, seen: [0; 2] };
    };
    let mut states = states.into_iter();
    show(states.next().expect("a first state"));
    let prometheus = Prometheus::start(&text(theirs), more)?;
    let b = Bench::new().await;
    let config = CollectConfig::parse(&CollectFiles {
        scrape: Some(File { name: "prometheus.yml", text: &text(config) }),
        target_series: None,
        whole_prometheus: true,
        probes: None,
        values: &|_| None,
        probe_defaults: Default::default(),
        host_interval: None,
    });
    let collector = b.start(config.unwrap_or_else(|p| panic!("{p}")));
    let both = || shown.lock().expect("not poisoned").seen.iter().all(|n| *n >= 3);
    until("both see the first state", both).await;
    for state in states {
        show(state);
        until("both see the next state", both).await;
    }
    task.abort();
    let down = || b.store.of("up{").iter().any(|l| l.contains("job=one") && l.contains(" 0@"));
    until("we see that the target is gone", down).await;
    let mut tries = 0;
    while prometheus.query("up{job=\"one\"} == 0").await.is_empty() {
        tries += 1;
        assert!(tries < 100, "Prometheus sees that the target is gone");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(collector.stop(Duration::from_secs(5)).await);
    let (mine, ended) = ours(&b.store);
    let stored = prometheus.stored().await;
    let about = |series: &str| !series.contains("\"scrape_duration_seconds\"");
    let sequences = |stored: &Stored| -> BTreeMap<String, Vec<String>> {
        let all = stored.iter().filter(|(k, _)| about(k));
        all.map(|(k, v)| (k.clone(), sequence(k, v))).collect()
    };
    let (left, right) = (sequences(&mine), sequences(&stored));
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (series, samples) in &left {
        assert_eq!(Some(samples), right.get(series), "{series}");
    }
    // A series that has ended is not there any more at once.
    let here = prometheus.query("{__name__=~\".+\"}").await;
    let here: Vec<&str> = here.iter().filter_map(|s| s["metric"]["__name__"].as_str()).collect();
    for series in left.keys() {
        let name = series.split('"').nth(1).unwrap_or("");
        let said = ended.contains(series);
        assert_eq!(said, !here.contains(&name), "{series} has ended for one of both");
    }
    Some(mine)
}

const CONFIG: &str = "
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: one
    static_configs: [{targets: [AT], labels: {env: test}}]
    relabel_configs: [{source_labels: [env], regex: (.)(.*), replacement: '$2-$1', target_label: parts}]
    metric_relabel_configs:
      - {source_labels: [__name__], regex: dropped, action: drop}
      - {regex: secret, action: labeldrop}
";

fn state(n: i64, now: i64) -> (String, Vec<u8>) {
    let at = now - 10_000 + n * 1000;
    let mut text = format!(
        "# HELP g A gauge.\n# TYPE g gauge\ng{{x=\"a\\\\b\\\"c\\nd\",job=\"theirs\",secret=\"s\"}} {n}\ng{{x=\"é\"}} -{n}.5\n\
         # TYPE c counter\nc_total {}\n# TYPE h histogram\nh_bucket{{le=\"0.5\"}} {n}\nh_bucket{{le=\"+Inf\"}} {}\n\
         h_sum {n}.25\nh_count {}\n# TYPE s summary\ns{{quantile=\"0.9\"}} 1e-{n}\ns_sum 3\ns_count {n}\n\
         nan NaN\ninfinite -Inf\nown {n} {at}\ndropped 1\n",
        10 * n,
        2 * n,
        2 * n
    );
    text.push_str(if n == 1 { "leaves 1\n" } else { "comes 1\n" });
    (text, Vec::new())
}

#[tokio::test]
async fn a_real_prometheus_stores_the_same_of_a_text() {
    let now = Clock::system().now_ms();
    let states = (1..=3).map(|n| state(n, now)).collect();
    let Some(mine) = compare(states, CONFIG, CONFIG, &[]).await else { return };
    let of = |name: &str| mine.iter().filter(|(k, _)| k.contains(&format!("__name__=\"{name}\""))).count();
    assert_eq!((of("g"), of("h_bucket"), of("leaves"), of("dropped"), of("up")), (2, 2, 1, 0, 1));
}

#[tokio::test]
async fn a_real_prometheus_stores_the_same_of_native_histograms() {
    let state = |n: u64| {
        let histogram = message("h", 4, 7, native().int(7, 4).double(2, n as f64));
        let gauge = message("g", 1, 2, Message::default().double(1, n as f64));
        (String::new(), [histogram, gauge].concat())
    };
    let ours = CONFIG.replace("global: {", "global: {scrape_native_histograms: true, ");
    let more = ["--enable-feature=native-histograms"];
    let Some(mine) = compare((1..=2).map(state).collect(), &ours, CONFIG, &more).await else { return };
    let h = mine.iter().find(|(k, _)| k.contains("__name__=\"h\"")).expect("the histogram").1;
    assert_eq!(h[0].1, "10/1/4");
}
