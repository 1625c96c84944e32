//! The plane starts from files, reloads whole or not at all, and goes on where it was.

use super::*;
use kit::settings::Settings;
use serde_json::Value;
use std::path::Path;

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        let home = Home { dir: tempfile::tempdir().expect("dir") };
        home.write(
            "alerts/rules/a.yaml",
            "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: vector(1)}]}]",
        );
        home.write("alerts/budgets.yaml", "budgets: [{name: b, limit_usd: 1}]");
        home.write(
            "probes/probes.yaml",
            "probes: [{name: self, service: vigie, url: '${MONITORING_SERVICE_URL}/api/v1/health'}]",
        );
        home
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.dir.path().join(file);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("write");
    }

    fn options(&self) -> Options {
        let mut options = Options::from_settings(&Settings::default()).expect("options");
        options.config_dir = Some(self.dir.path().to_owned());
        options.data_dir = self.dir.path().join("data");
        options.listen = "127.0.0.1:0".parse().expect("address");
        options
    }

    async fn start(&self) -> (Vigie, Tasks) {
        let tasks = Tasks::new(Clock::system());
        let options = self.options();
        let bind = Vigie::listen(&options).await.expect("listen");
        (Vigie::start(options, bind, &tasks).await.expect("start"), tasks)
    }
}

async fn get(vigie: &Vigie, path: &str) -> Value {
    let client = kit::client::build(Duration::from_secs(10)).expect("client");
    let answer = client.get(format!("{}{path}", vigie.base())).send().await.expect("answer");
    answer.json().await.expect("json")
}

async fn value(vigie: &Vigie, query: &str) -> Option<String> {
    let answer = get(vigie, &format!("/api/v1/query?query={query}")).await;
    answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
}

/// Asks until the answer is as wanted, for a bounded time.
async fn until(vigie: &Vigie, query: &str, wanted: &str) {
    let mut last = None;
    for _ in 0..200 {
        last = value(vigie, query).await;
        if last.as_deref() == Some(wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{query} should become {wanted}, it is {last:?}");
}

async fn rule_names(vigie: &Vigie) -> Vec<String> {
    let rules = get(vigie, "/api/v1/rules").await;
    let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
    let rules = groups.iter().flat_map(|g| g["rules"].as_array().cloned().unwrap_or_default());
    rules.map(|r| r["name"].as_str().unwrap_or("").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_all_or_nothing_and_says_how_it_went() {
    let home = Home::new();
    let (vigie, _tasks) = home.start().await;
    assert_eq!(rule_names(&vigie).await, ["A"]);
    until(&vigie, "vigie_config_last_reload_successful", "1").await;

    home.write(
        "alerts/rules/a.yaml",
        "groups: [{name: g, interval: 1s, rules: [{alert: B, expr: vector(1)}]}]",
    );
    home.write("alerts/budgets.yaml", "budgets: [{name: b, limit_usd: lots}, {limit_usd: 1}]");
    let problems = vigie.reload().await.expect_err("bad");
    assert!(
        problems.contains("budgets.yaml:1:32: `limit_usd`") && problems.contains("missing field `name`"),
        "{problems}"
    );
    assert_eq!(rule_names(&vigie).await, ["A"], "a bad file changes nothing");
    until(&vigie, "vigie_config_last_reload_successful", "0").await;

    home.write("alerts/budgets.yaml", "budgets: [{name: c, limit_usd: 2}]");
    vigie.reload().await.expect("good");
    assert_eq!(rule_names(&vigie).await, ["B"]);
    assert_eq!(get(&vigie, "/api/vigie/v1/budgets").await["budgets"][0]["budget"], "c");
    until(&vigie, "vigie_config_last_reload_successful", "1").await;
    vigie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_whose_caller_goes_away_is_finished() {
    let home = Home::new();
    let (vigie, tasks) = home.start().await;
    home.write(
        "alerts/rules/a.yaml",
        "groups: [{name: g, interval: 1s, rules: [{record: fresh, expr: vector(2)}]}]",
    );
    let asked = (reload_handle(&tasks.group(), &vigie.rooms, &vigie.options).0)();
    drop(asked);
    until(&vigie, "fresh", "2").await;
    assert_eq!(rule_names(&vigie).await, ["fresh"]);
    vigie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_goes_on_where_the_first_one_was() {
    let home = Home::new();
    let (vigie, tasks) = home.start().await;
    until(&vigie, "ALERTS{alertname=\"A\",alertstate=\"firing\"}", "1").await;
    until(&vigie, "probe_success", "1").await;
    let since = get(&vigie, "/api/v1/alerts").await["data"]["alerts"][0]["activeAt"].clone();
    let samples = value(&vigie, "count_over_time(vigie_build_info[10m])").await;
    vigie.stop().await;
    tasks.stop(Duration::from_secs(5)).await;

    let (vigie, _tasks) = home.start().await;
    assert_eq!(get(&vigie, "/api/v1/alerts").await["data"]["alerts"][0]["activeAt"], since);
    let again: f64 = value(&vigie, "count_over_time(vigie_build_info[10m])")
        .await
        .expect("still there")
        .parse()
        .expect("number");
    assert!(again >= samples.expect("samples").parse::<f64>().expect("number"));
    vigie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_called_is_good_and_still_is_after_a_restart() {
    let home = Home::new();
    home.write(
        "probes/probes.yaml",
        "probes: [{name: backup, kind: heartbeat, interval: 1d, token: 0123456789abcdef}]",
    );
    let mut options = home.options();
    options.probe_interval = Duration::from_millis(100);
    let start = || async {
        let tasks = Tasks::new(Clock::system());
        let bind = Vigie::listen(&options).await.expect("listen");
        (Vigie::start(options.clone(), bind, &tasks).await.expect("start"), tasks)
    };
    let client = kit::client::build(Duration::from_secs(10)).expect("client");
    let call = |vigie: &Vigie, query: &str, token: &str| {
        let url = format!("{}/api/vigie/v1/heartbeats/backup{query}", vigie.base());
        let request = client.get(url).bearer_auth(token);
        async move { request.send().await.expect("answer").status() }
    };
    let (vigie, tasks) = start().await;
    let shown = get(&vigie, "/api/vigie/v1/probes").await["probes"][0].clone();
    assert_eq!((&shown["kind"], &shown["up"]), (&"heartbeat".into(), &Value::Null), "it is waited for");
    assert_eq!(call(&vigie, "", "fedcba9876543210").await, http::StatusCode::UNAUTHORIZED);
    assert_eq!(
        call(&vigie, "?status=fail&message=full", "0123456789abcdef").await,
        http::StatusCode::NO_CONTENT
    );
    until(&vigie, "probe_success", "0").await;
    let shown = get(&vigie, "/api/vigie/v1/probes").await["probes"][0].clone();
    assert_eq!(shown["error"], "the service says that it fails: full");
    assert_eq!(call(&vigie, "", "0123456789abcdef").await, http::StatusCode::NO_CONTENT);
    until(&vigie, "probe_success", "1").await;
    let last = value(&vigie, "probe_heartbeat_last_timestamp_seconds").await.expect("a time");
    vigie.stop().await;
    tasks.stop(Duration::from_secs(5)).await;

    let (vigie, _tasks) = start().await;
    until(&vigie, "probe_success", "1").await;
    until(&vigie, "probe_heartbeat_last_timestamp_seconds", &last).await;
    vigie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured_and_scraped_is_shown_without_secrets() {
    let home = Home::new();
    home.write(
        "probes/scrape.yaml",
        "scrape_configs: [{job_name: own, scrape_interval: 1s, basic_auth: {username: me, password: hunter2},
          static_configs: [{targets: ['${MONITORING_SERVICE_ADDRESS}']}],
          relabel_configs: [{target_label: tier, replacement: one}, {source_labels: [tier], regex: two\\d, action: keep}]},
          {job_name: kept, scrape_interval: 1s, static_configs: [{targets: ['${MONITORING_SERVICE_ADDRESS}']}]}]",
    );
    let (vigie, _tasks) = home.start().await;
    let data = |path: &'static str| {
        let vigie = &vigie;
        async move { get(vigie, &format!("/api/v1/{path}")).await["data"].clone() }
    };
    let yaml = data("status/config").await["yaml"].clone();
    let yaml = yaml.as_str().expect("a text");
    assert!(yaml.contains("password: <secret>") && !yaml.contains("hunter2"), "{yaml}");
    assert!(yaml.contains("rule_files:\n- ") && yaml.contains("alerts/rules/a.yaml"), "{yaml}");
    let job = data("scrape_pools/config?scrapePool=kept").await["yaml"].clone();
    assert!(job.as_str().is_some_and(|y| y.starts_with("job_name: kept\n")), "{job}");
    assert_eq!(data("scrape_pools").await["scrapePools"], serde_json::json!(["kept", "own"]));
    let steps =
        data("targets/relabel_steps?scrapePool=own&labels=%7B%22a%22:%22b%22%7D").await["steps"].clone();
    assert_eq!(steps[0]["output"], serde_json::json!({"a": "b", "tier": "one"}));
    assert_eq!((&steps[1]["keep"], &steps[1]["output"]), (&false.into(), &serde_json::json!({})));
    assert_eq!(steps[1]["rule"]["regex"], "two\\d", "as it is written");
    let runtime = data("status/runtimeinfo").await;
    assert_eq!(
        (&runtime["reloadConfigSuccess"], &runtime["storageRetention"]),
        (&true.into(), &"90d".into())
    );
    assert_eq!(data("status/flags").await["query.timeout"], "2m");

    until(&vigie, "up{job=\"kept\"}", "1").await;
    let said =
        data("metadata?metric=process_start_time_seconds").await["process_start_time_seconds"][0].clone();
    assert_eq!(said["type"], "gauge", "{said}");
    let said =
        data("targets/metadata?metric=process_start_time_seconds&match_target=%7Bjob=%22kept%22%7D").await;
    assert_eq!(said[0]["target"]["job"], "kept", "{said}");
    home.write("probes/scrape.yaml", "scrape_configs: [{job_name: other}]");
    vigie.reload().await.expect("good");
    assert_eq!(data("scrape_pools").await["scrapePools"], serde_json::json!(["other"]));
    assert!(data("status/config").await["yaml"].as_str().is_some_and(|y| y.contains("job_name: other")));
    home.write("probes/scrape.yaml", "scrape_configs: [{job_nam: other}]");
    vigie.reload().await.expect_err("bad");
    let told = data("notifications").await;
    assert_eq!(told[0]["text"], "Configuration reload has failed.", "{told}");
    vigie.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why_in_a_line() {
    let home = Home::new();
    let (vigie, _tasks) = home.start().await;
    let tasks = Tasks::new(Clock::system());
    let mut options = home.options();
    let bind = Vigie::listen(&options).await.expect("listen");
    let error = Vigie::start(options.clone(), bind, &tasks).await.expect_err("in use").to_string();
    assert!(error.contains("is in use by another process"), "{error}");
    options.listen = vigie.address;
    let error = Vigie::listen(&options).await.expect_err("taken").to_string();
    assert!(error.contains("the port is taken"), "{error}");
    options.listen = "0.0.0.0:0".parse().expect("address");
    let bind = Vigie::listen(&options).await.expect("listen");
    let error = Vigie::start(options, bind, &tasks).await.expect_err("exposed").to_string();
    assert!(error.contains("VIGIE_TOKENS_FILE is not set"), "{error}");
    vigie.stop().await;
}

#[test]
fn the_repositorys_own_files_are_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut options = Options::from_settings(&Settings::default()).expect("options");
    options.config_dir = Some(root);
    let loaded = Loaded::read(&options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((loaded.collect.probe_count(), loaded.rule_count(), loaded.dashboards.len()), (7, 7, 1));
}

#[test]
fn a_configuration_folder_that_is_not_there_is_a_mistake() {
    let mut options = Home::new().options();
    options.config_dir = Some("no/such/folder".into());
    let problems = Loaded::read(&options).expect_err("refused").to_string();
    assert!(problems.contains("no/such/folder: there is no such configuration folder"), "{problems}");
}

#[test]
fn a_prometheus_configuration_is_taken_over_whole() {
    let home = Home::new();
    home.write(
        "p/prometheus.yml",
        "global: {scrape_interval: 5s, evaluation_interval: 7s, external_labels: {region: eu}}\nrule_files: ['rules/*.yml']\nscrape_configs: [{job_name: x, static_configs: [{targets: ['127.0.0.1:9']}]}]\n",
    );
    home.write("p/rules/r.yml", "groups: [{name: g, rules: [{record: r, expr: up}]}]");
    let mut options = home.options();
    (options.config_dir, options.prometheus_config) = (None, Some(home.dir.path().join("p/prometheus.yml")));
    let loaded = Loaded::read(&options).unwrap_or_else(|e| panic!("{e}"));
    let counts = (loaded.collect.target_count(), loaded.collect.probe_count(), loaded.rule_count());
    assert_eq!((counts, loaded.rule_globals.interval), ((1, 0, 1), Duration::from_secs(7)));
    assert_eq!(loaded.rule_globals.external_labels.value("region"), "eu");
    home.write("p/prometheus.yml", "rule_files: [missing.yml]\nscrape_configs: [{job_nam: x}]\n");
    let problems = Loaded::read(&options).expect_err("bad").to_string();
    assert!(problems.contains("prometheus.yml:1:14: there is no rule file missing.yml"), "{problems}");
    assert!(problems.contains("unknown field `job_nam`"), "{problems}");
}
