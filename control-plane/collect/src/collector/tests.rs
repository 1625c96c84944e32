mod prometheus;

use super::*;
use crate::{
    config::{CollectFiles, File},
    testing::Store,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

struct Bench {
    store: Store,
    server: MockServer,
    clock: Clock,
}

impl Bench {
    async fn new() -> Bench {
        let server = MockServer::start().await;
        let text =
            |t: &str| ResponseTemplate::new(200).set_body_raw(t.to_owned(), "text/plain; version=0.0.4");
        for (p, answer) in [
            ("/metrics", text("a 1\n")),
            ("/other", text("b 1\n")),
            ("/slow", text("c 1\n").set_delay(Duration::from_secs(30))),
            ("/health", ResponseTemplate::new(200)),
        ] {
            Mock::given(path(p)).respond_with(answer).mount(&server).await;
        }
        Bench { store: Store::new(), server, clock: Clock::system() }
    }

    fn config(&self, jobs: &str, probes: &str) -> CollectConfig {
        let address = self.server.address().to_string();
        let values = move |name: &str| (name == "AT").then(|| address.clone());
        CollectConfig::parse(&CollectFiles {
            scrape: Some(File { name: "s.yaml", text: &format!("scrape_configs: [{jobs}]") }),
            target_series: None,
            whole_prometheus: false,
            probes: Some(File { name: "p.yaml", text: &format!("probes: [{probes}]") }),
            values: &values,
            probe_defaults: Default::default(),
            host_interval: None,
        })
        .unwrap_or_else(|p| panic!("{p}"))
    }

    fn start(&self, config: CollectConfig) -> Collector {
        let source = |_: i64| vec![reading("vigie_test", &Labels::default(), 7.0)];
        let deps = CollectDeps {
            append: self.store.append(),
            exemplars: Arc::new(model::NoExemplars),
            clock: self.clock.clone(),
            tasks: Tasks::new(self.clock.clone()),
            sources: vec![Arc::new(source)],
            self_labels: Labels::from_pairs([("job", "vigie")]),
            concurrency: 8,
            state: None,
        };
        Collector::start(deps, config).expect("starts")
    }
}

/// Looks until `wanted` is so; fails after ten seconds.
async fn until(what: &str, wanted: impl Fn() -> bool) {
    for _ in 0..1000 {
        if wanted() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within ten seconds");
}

fn job(name: &str, path: &str) -> String {
    format!(
        "{{job_name: {name}, scrape_interval: 100ms, metrics_path: {path}, static_configs: [{{targets: ['${{AT}}']}}]}},"
    )
}

const PROBE: &str = "{name: web, url: 'http://${AT}/health', interval: 100ms}";

#[tokio::test]
async fn targets_probes_and_vigie_itself_are_written() {
    let b = Bench::new().await;
    let collector = b.start(b.config(&job("one", "/metrics"), PROBE));
    until("all series", || {
        ["a{", "up{", "probe_success{", "vigie_test{", "vigie_collect_targets{"]
            .iter()
            .all(|p| !b.store.of(p).is_empty())
    })
    .await;
    let snapshot = collector.snapshot();
    assert_eq!((snapshot.targets[0].health, &*snapshot.targets[0].last_error), (Health::Up, ""));
    assert_eq!(snapshot.targets[0].scrape_url, format!("http://{}/metrics", b.server.address()));
    until("the probe's state", || collector.snapshot().probes[0].uptime() == Some(1.0)).await;
    assert!(b.store.of("up{")[0].starts_with(&format!("up{{instance={},job=one}}: 1@", b.server.address())));
    assert!(collector.stop(Duration::from_secs(5)).await);
    assert!(!b.store.shown().iter().any(|l| l.contains("stale")), "a stop is no end: {:?}", b.store.shown());
}

#[tokio::test]
async fn a_slow_target_delays_no_other() {
    let b = Bench::new().await;
    let collector = b.start(b.config(&(job("slow", "/slow") + &job("fast", "/metrics")), ""));
    until("ten fast scrapes", || b.store.of("a{").first().is_some_and(|l| l.matches('@').count() >= 10))
        .await;
    let slow = &collector.snapshot().targets[0];
    assert_eq!((slow.health, &*slow.last_error), (Health::Down, "no answer within 100ms"));
    assert!(collector.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_reload_keeps_what_is_the_same_and_ends_what_is_gone() {
    let b = Bench::new().await;
    let collector = b.start(b.config(&(job("stays", "/metrics") + &job("goes", "/other")), PROBE));
    until("both", || !b.store.of("a{").is_empty() && !b.store.of("b{").is_empty()).await;
    until("the probe", || !b.store.of("probe_success{").is_empty()).await;
    let since = collector.snapshot().targets[0].since_ms;
    collector.reload(b.config(&(job("new", "/other") + &job("stays", "/metrics")), ""));
    until("the end of what is gone", || {
        let ended =
            |p: &str| b.store.of(p).iter().any(|l| l.ends_with(char::is_numeric) && l.contains("stale@"));
        ended("b{") && ended("probe_success{")
    })
    .await;
    until("the new one", || b.store.of("b{").iter().any(|l| l.contains("job=new"))).await;
    let snapshot = collector.snapshot();
    assert_eq!((snapshot.targets.len(), snapshot.probes.len()), (2, 0));
    assert_eq!(
        (snapshot.targets[1].since_ms, &snapshot.scrape_pools[..]),
        (since, &["new".to_owned(), "stays".to_owned()][..])
    );
    assert!(!b.store.of("a{")[0].contains("stale"));
    assert!(collector.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_slow_answers() {
    let b = Bench::new().await;
    let slow = job("slow", "/slow").replace("100ms", "20s");
    let collector = b.start(b.config(
        &slow.replace("scrape_interval", "scrape_timeout: 20s, scrape_interval"),
        "{name: slow, url: 'http://${AT}/slow', interval: 100ms}",
    ));
    until("a request on its way", || collector.snapshot().probes[0].last_run_ms.is_some()).await;
    let begun = b.clock.elapsed();
    assert!(collector.stop(Duration::from_secs(10)).await);
    assert!(b.clock.elapsed() - begun < Duration::from_secs(3));
    assert!(b.store.of("up{").is_empty(), "an answer that was not waited for is no failure");
}

#[tokio::test]
async fn the_host_is_read_when_it_is_wanted() {
    let b = Bench::new().await;
    let config = CollectConfig { host_interval: Some(Duration::from_millis(50)), ..CollectConfig::default() };
    let collector = b.start(config);
    until("the host", || b.store.of("node_load1{").first().is_some_and(|l| l.matches('@').count() > 1)).await;
    collector.reload(CollectConfig::default());
    assert!(collector.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn targets_follow_what_files_and_servers_say() {
    let b = Bench::new().await;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("t.yml");
    let write = |text: &str| std::fs::write(&file, text).expect("writes");
    let at = b.server.address().to_string();
    let listed = format!("[{{\"targets\": [\"{at}\"], \"labels\": {{\"from\": \"http\"}}}}]");
    let json = ResponseTemplate::new(200).set_body_raw(listed, "application/json");
    Mock::given(path("/list")).respond_with(json).mount(&b.server).await;
    write(&format!("- targets: ['{at}']\n  labels: {{env: one}}\n"));
    let jobs = format!(
        "{{job_name: files, scrape_interval: 100ms, target_limit: 2, file_sd_configs: [{{files: ['{}'], refresh_interval: 100ms}}],
           relabel_configs: [{{source_labels: [__meta_filepath], regex: '.*/', replacement: '', target_label: file}}]}},
          {{job_name: http, scrape_interval: 100ms, http_sd_configs: [{{url: 'http://{at}/list', refresh_interval: 100ms}}]}}",
        file.display()
    );
    let collector = b.start(b.config(&jobs, ""));
    let of = |env: &str| b.store.of("a{").into_iter().find(|l| l.contains(env));
    until("what is found", || of("env=one").is_some() && of("from=http").is_some()).await;

    // What is broken changes nothing, and is counted.
    write("- targets: [");
    until("the failure", || collector.stats().discovery_failures_total > 0).await;
    assert_eq!(collector.snapshot().targets.len(), 2);
    let since = collector.snapshot().targets[1].since_ms;

    write(&format!("- targets: ['{at}']\n  labels: {{env: two}}\n"));
    until("the other target", || of("env=two").is_some()).await;
    until("the end of the first", || of("env=one").is_some_and(|l| l.contains("stale@"))).await;
    assert_eq!(collector.snapshot().targets[1].since_ms, since, "another job's goes on");

    // A reload takes nothing away that was found.
    collector.reload(b.config(&jobs.replace("refresh_interval: 100ms", "refresh_interval: 200ms"), ""));
    assert_eq!(collector.snapshot().targets.len(), 2);

    write("- targets: ['x:1', 'x:2', 'x:3']\n");
    let errors = || {
        collector.snapshot().targets.iter().filter(|t| t.last_error.contains("target_limit exceeded")).count()
    };
    until("too many", || errors() == 3).await;
    assert!(!of("from=http").expect("is there").contains("stale"));
    assert!(collector.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_target_that_is_cut_off_is_shown() {
    let b = Bench::new().await;
    let many =
        ResponseTemplate::new(200).set_body_raw("m{i=\"1\"} 1\nm{i=\"2\"} 1\nm{i=\"3\"} 1\n", "text/plain");
    Mock::given(path("/many")).respond_with(many).mount(&b.server).await;
    let mut config = b.config(&(job("one", "/metrics") + &job("many", "/many")), "");
    for job in &mut config.jobs {
        Arc::make_mut(job).limits.series = Some(2);
    }
    let collector = b.start(config);
    until("more scrapes than until all are tried again", || {
        b.store.of("m{").first().is_some_and(|l| l.matches('@').count() > 13)
    })
    .await;
    let snapshot = collector.snapshot();
    let shown: Vec<_> = snapshot.targets.iter().map(|t| (t.health, t.samples, t.refused)).collect();
    assert_eq!(shown, [(Health::Up, 1, 0), (Health::Up, 2, 1)]);
    let readings = collector.cut_off();
    assert_eq!(readings.len(), 1);
    let (labels, refused) = &readings[0];
    assert_eq!(
        (labels.value("job"), labels.metric_name(), *refused),
        ("many", "vigie_collect_target_series_refused", 1.0)
    );
    assert!(collector.stop(Duration::from_secs(5)).await);
}
