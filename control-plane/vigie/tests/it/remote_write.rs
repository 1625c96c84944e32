//! Remote write between Vigie and the others: a real Prometheus and a real VictoriaMetrics take what Vigie passes
//! on, and a real Prometheus writes into Vigie.

use crate::{
    part,
    platform::{PATIENCE, binary},
    process::{Ports, Process},
    until,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("small")
}

/// Protobuf, as far as a request of floats needs it.
fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v.to_le_bytes()[0] | 0x80);
        v >>= 7;
    }
    out.push(v.to_le_bytes()[0]);
}

/// One sample of each of several series, in version 1.
pub(crate) fn request(series: usize, at: i64, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    for i in 0..series {
        let mut one = Vec::new();
        for (name, text) in [("__name__", "pushed".to_owned()), ("n", i.to_string())] {
            let mut label = Vec::new();
            field(&mut label, 0x0a, name.as_bytes());
            field(&mut label, 0x12, text.as_bytes());
            field(&mut one, 0x0a, &label);
        }
        let mut sample = vec![0x09];
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(0x10);
        varint(&mut sample, at.cast_unsigned());
        field(&mut one, 0x12, &sample);
        field(&mut out, 0x0a, &one);
    }
    snap::raw::Encoder::new().compress_vec(&out).expect("compresses")
}

pub(crate) struct World {
    folder: tempfile::TempDir,
    http: reqwest::Client,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            folder: tempfile::tempdir().expect("a folder"),
            http: kit::client::build(Duration::from_secs(10)).expect("a client"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, name: &str, command: &mut Command) -> Process {
        Process::start(name, self.folder.path(), command, &[])
    }

    pub(crate) fn prometheus(&self, binary: &str, port: u16, config: &str) -> Process {
        fs::write(self.path("prometheus.yml"), config).expect("a file");
        let mut command = Command::new(binary);
        command
            .arg(format!("--config.file={}", self.path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", self.path("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .arg("--enable-feature=promql-per-step-stats");
        self.start("prometheus", &mut command)
    }

    fn victoria_metrics(&self, binary: &str, port: u16) -> Process {
        let mut command = Command::new(binary);
        command
            .arg(format!("-storageDataPath={}", self.path("victoria-metrics").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            // What comes twice counts once, as with Prometheus.
            .arg("-dedup.minScrapeInterval=1ms")
            .arg("-search.latencyOffset=0");
        self.start("victoria-metrics", &mut command)
    }

    pub(crate) fn vigie(&self, port: u16) -> Process {
        let mut command = Command::new(binary("vigie"));
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--config-dir").arg(self.path("config")).arg("--data-dir").arg(self.path("data"));
        self.start("vigie", &mut command)
    }

    /// Vigie in place of a Prometheus with this file.
    pub(crate) fn vigie_as_prometheus(&self, port: u16, config: &str) -> Process {
        fs::write(self.path("taken-over.yml"), config).expect("a file");
        let mut command = Command::new(binary("vigie"));
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--prometheus-config"]);
        command.arg(self.path("taken-over.yml")).arg("--data-dir").arg(self.path("data"));
        self.start("vigie", &mut command)
    }

    pub(crate) async fn answers(&self, port: u16, path: &str) {
        let url = format!("http://127.0.0.1:{port}{path}");
        until(&url, PATIENCE, || async {
            let answer = self.http.get(&url).send().await.map_err(|e| kit::client::sentence(&e))?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
    }

    pub(crate) async fn push(&self, port: u16, body: Vec<u8>) {
        let url = format!("http://127.0.0.1:{port}/api/v1/write");
        let request = self.http.post(url).header("content-type", "application/x-protobuf");
        let answer = request.header("content-encoding", "snappy").body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), 204, "{}", answer.text().await.unwrap_or_default());
    }

    pub(crate) async fn query(&self, port: u16, query: &str) -> Result<Vec<Value>, String> {
        let answer = self
            .http
            .get(format!("http://127.0.0.1:{port}/api/v1/query"))
            .query(&[("query", query), ("nocache", "1")])
            .send()
            .await
            .map_err(|e| kit::client::sentence(&e))?;
        let body: Value = answer.json().await.map_err(|e| kit::client::sentence(&e))?;
        body["data"]["result"].as_array().cloned().ok_or_else(|| body.to_string())
    }

    /// Posts JSON, and expects it to be taken.
    pub(crate) async fn post(&self, port: u16, path: &str, body: &Value) {
        let request = self.http.post(format!("http://127.0.0.1:{port}{path}")).json(body);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap_or_default());
    }

    /// What a server answers at `path`.
    pub(crate) async fn ask(&self, port: u16, path: &str, params: &[(&str, &str)]) -> Value {
        let request = self.http.get(format!("http://127.0.0.1:{port}{path}")).query(params);
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// The samples of each series that a server has: by `n`, times in milliseconds and values as text.
    async fn samples(&self, port: u16, query: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut out = BTreeMap::new();
        for series in self.query(port, query).await? {
            let values = series["values"].as_array().cloned().unwrap_or_default();
            let shown = values.iter().map(|pair| format!("{}@{}", pair[1], pair[0])).collect();
            out.insert(series["metric"]["n"].to_string(), shown);
        }
        Ok(out)
    }

    /// Waits until a server has the very samples that Vigie has.
    async fn same(&self, name: &str, port: u16, vigie: u16, query: &str, samples: usize) {
        until(&format!("{name} has all samples"), PATIENCE, || async {
            let (theirs, ours) = (self.samples(port, query).await?, self.samples(vigie, query).await?);
            let count = |all: &BTreeMap<String, Vec<String>>| all.values().map(Vec::len).sum::<usize>();
            if count(&ours) != samples {
                return Err(format!("Vigie has {} of {samples} samples", count(&ours)));
            }
            if theirs == ours { Ok(()) } else { Err(format!("{} of {samples} samples", count(&theirs))) }
        })
        .await;
    }
}

fn remote_write(folder: &Path, prometheus: u16, victoria: u16) {
    let queue = "queue_config: {batch_send_deadline: 200ms, min_backoff: 50ms, max_backoff: 500ms, max_samples_per_send: 40, min_shards: 2}";
    let keep = "write_relabel_configs: [{source_labels: [__name__], regex: pushed, action: keep}]";
    let text = format!(
        "global:\n  external_labels: {{cluster: test}}\n\
         remote_write:\n\
         \x20 - {{name: prometheus, url: 'http://127.0.0.1:{prometheus}/api/v1/write', {queue}, {keep}}}\n\
         \x20 - {{name: victoria, url: 'http://127.0.0.1:{victoria}/api/v1/write', {queue}, {keep}}}\n"
    );
    fs::create_dir_all(folder.join("probes")).expect("folders");
    fs::write(folder.join("probes/remote_write.yaml"), text).expect("a file");
}

const SERIES: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_vigie_takes_arrives_elsewhere_whoever_is_killed_or_away_meanwhile() {
    let what = "passing samples on to Prometheus and VictoriaMetrics";
    let (Some(prometheus), Some(victoria)) = (part("PROMETHEUS", what), part("VICTORIA_METRICS", what))
    else {
        return;
    };
    let (world, mut ports) = (World::new(), Ports::new());
    let (prom_port, vm_port, port) = (ports.free(), ports.free(), ports.free());
    remote_write(&world.path("config"), prom_port, vm_port);
    // One receiver is there from the beginning, the other is not.
    let _victoria = world.victoria_metrics(&victoria, vm_port);
    world.answers(vm_port, "/health").await;
    let mut vigie = world.vigie(port);
    world.answers(port, "/-/ready").await;
    let reach = |vigie: &World| {
        let http = vigie.http.clone();
        async move {
            // The loops have begun once their figures are there: what comes from then on is passed on.
            let url = format!("http://127.0.0.1:{port}/api/vigie/v1/loops");
            let body: Value = http.get(url).send().await.expect("an answer").json().await.expect("JSON");
            let runs = |name: &str| {
                let loops = body["loops"].as_array().cloned().unwrap_or_default();
                loops.iter().any(|l| l["name"] == name && l["runs"].as_u64() > Some(0))
            };
            if runs("remote write prometheus") && runs("remote write victoria") {
                Ok(())
            } else {
                Err(body.to_string())
            }
        }
    };
    until("the loops run", PATIENCE, || reach(&world)).await;

    let begin = now_ms() - 600_000;
    let mut pushed = 0;
    for i in 0..60i32 {
        world.push(port, request(SERIES, begin + i64::from(i) * 1000, f64::from(i))).await;
        pushed += SERIES;
        if i % 20 == 19 {
            vigie.kill();
            vigie = world.vigie(port);
            world.answers(port, "/-/ready").await;
        }
    }
    let query = "pushed[1h]";
    world.same("VictoriaMetrics", vm_port, port, query, pushed).await;

    let mut away = world.prometheus(&prometheus, prom_port, "global: {}\n");
    world.same("Prometheus", prom_port, port, query, pushed).await;
    // And once more while it is killed and comes back.
    for i in 60..120i32 {
        world.push(port, request(SERIES, begin + i64::from(i) * 1000, f64::from(i))).await;
        pushed += SERIES;
        if i == 80 {
            away.kill();
        }
    }
    let _back = world.prometheus(&prometheus, prom_port, "global: {}\n");
    world.same("Prometheus", prom_port, port, query, pushed).await;
    world.same("VictoriaMetrics", vm_port, port, query, pushed).await;
    let labels = world.query(prom_port, "count(pushed{cluster=\"test\"} offset 8m)").await;
    assert_eq!(labels.expect("an answer")[0]["value"][1], SERIES.to_string(), "with external labels");
    // Vigie tells about it.
    until("vigie counts", PATIENCE, || async {
        let query = "sum by (remote) (vigie_remote_write_sent_samples_total)";
        let told = world.query(port, query).await?;
        if told.len() == 2 { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_writes_into_vigie() {
    let Some(prometheus) = part("PROMETHEUS", "Prometheus writing into Vigie") else { return };
    let (world, mut ports) = (World::new(), Ports::new());
    let (prom_port, port) = (ports.free(), ports.free());
    fs::create_dir(world.path("config")).expect("a folder");
    let _vigie = world.vigie(port);
    world.answers(port, "/-/ready").await;
    let config = format!(
        "global: {{scrape_interval: 1s, external_labels: {{origin: prometheus}}}}\n\
         scrape_configs: [{{job_name: itself, static_configs: [{{targets: ['127.0.0.1:{prom_port}']}}]}}]\n\
         remote_write: [{{url: 'http://127.0.0.1:{port}/api/v1/write', queue_config: {{batch_send_deadline: 1s}}, metadata_config: {{send_interval: 1s}}}}]\n"
    );
    let _prometheus = world.prometheus(&prometheus, prom_port, &config);
    until("Vigie has what Prometheus scraped", PATIENCE, || async {
        let up =
            world.query(port, "count_over_time(up{job=\"itself\",origin=\"prometheus\"}[1m]) >= 3").await?;
        let many = world.query(port, "count({origin=\"prometheus\"}) > 300").await?;
        if up.len() == 1 && many.len() == 1 { Ok(()) } else { Err(format!("{up:?} {many:?}")) }
    })
    .await;
    // Nothing was refused.
    let failed = world.query(prom_port, "prometheus_remote_storage_samples_failed_total > 0").await;
    assert_eq!(failed.expect("an answer"), Vec::<Value>::new());
}
