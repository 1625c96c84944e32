use super::*;
use std::path::PathBuf;

fn jobs(text: &str) -> Result<Vec<Job>, String> {
    let doc = Document::parse("scrape.yaml", text).map_err(|p| p.to_string())?;
    let mut problems = Problems::default();
    let jobs = read(&doc, true, &mut problems);
    problems.into_result(jobs).map_err(|p| p.to_string())
}

#[test]
fn defaults_are_prometheus_own() {
    let job = &jobs("scrape_configs: [{job_name: a, static_configs: [{targets: ['h:1']}]}]").unwrap()[0];
    assert_eq!((job.interval.as_secs(), job.timeout.as_secs()), (60, 10));
    assert_eq!((&*job.scheme, &*job.path), ("http", "/metrics"));
    assert!(!job.honor_labels && job.honor_timestamps && job.http.follow_redirects && job.compression);
    assert!(job.accept.starts_with("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.9,"));
    assert!(job.accept.ends_with("text/plain;version=0.0.4;q=0.6,*/*;q=0.1"), "{}", job.accept);
}

#[test]
fn a_short_interval_shortens_the_default_timeout() {
    let job = &jobs("scrape_configs: [{job_name: a, scrape_interval: 5s}]").unwrap()[0];
    assert_eq!(job.timeout.as_secs(), 5);
}

fn check(text: &str, expect: &[&str]) {
    let problems = jobs(text).expect_err("it is wrong");
    let first: Vec<&str> = problems.lines().filter(|l| l.starts_with("scrape.yaml:")).collect();
    assert_eq!(first, expect, "{problems}");
}

#[test]
fn every_problem_is_told_with_its_place() {
    check(
        "global: {scrape_interval: 1x}\nscrape_configs:\n  - job_name: a\n    scrape_timeout: 90s\n    schema: https\n  - job_name: a\n    oauth2: {}\n    static_configs: [{targets: ['http://h/']}]\n  - {metrics_path: /x}\n",
        &[
            "scrape.yaml:1:27: `scrape_interval`: \"1x\" is not a duration: write it like 30s, 5m or 1h30m",
            "scrape.yaml:4:21: the scrape timeout of job \"a\" is longer than its scrape interval",
            "scrape.yaml:5:5: unknown field `schema`",
            "scrape.yaml:7:13: `oauth2` is not supported",
            "scrape.yaml:8:33: \"http://h/\" is not a host and port",
            "scrape.yaml:9:5: missing field `job_name`",
        ],
    );
}

#[test]
fn two_jobs_of_one_name_and_two_credentials_are_refused() {
    check(
        "scrape_configs:\n- job_name: a\n- job_name: a\n",
        &["scrape.yaml:3:13: another scrape config has the job name \"a\""],
    );
    check(
        "scrape_configs:\n- job_name: a\n  bearer_token: x\n  basic_auth: {username: u, password: p, password_file: f}\n",
        &[
            "scrape.yaml:2:3: only one of basic_auth, bearer_token can be set",
            "scrape.yaml:4:57: only one of `password` and `password_file` can be set",
        ],
    );
}

#[test]
fn secrets_are_never_shown() {
    let job = jobs("scrape_configs: [{job_name: a, basic_auth: {username: u, password: hunter2}}]").unwrap();
    assert!(!format!("{job:?}").contains("hunter2"));
}

#[test]
fn sizes_have_units() {
    for (text, want) in [
        ("0", Some(0)),
        ("10MB", Some(10 << 20)),
        ("1KiB", Some(1024)),
        ("5B", Some(5)),
        ("100", None),
        ("1XB", None),
    ] {
        assert_eq!(parse_bytes(text).ok(), want, "{text}");
    }
}

/// Whether Prometheus's verdicts on its own files are ours, where they are about what is built here.
#[test]
fn prometheus_own_files_are_judged_alike() {
    let cases =
        crate::scrape::exposition::tests::suite("prometheus-config/config_expected.json").unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "a test's own settings")]
    let dir = std::env::var_os("SUITES_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/suites")),
        PathBuf::from,
    );
    let about = [
        "jobname",
        "scrape_interval",
        "regex.",
        "modulus",
        "labelkeep",
        "labeldrop",
        "dropequal",
        "keepequal",
        "lowercase",
        "uppercase",
        "bearertoken",
        "url_in_targetgroup",
        "target_label",
        "section_key_dup",
        "empty_scrape_config",
        "empty_target_relabel",
        "empty_metric_relabel",
        "empty_static",
        "scrape_body_size",
        "unknown_attr",
        "unknown_global_attr",
        "global_timeout",
        "scrape_config_files_fallback",
        "external_labels",
        "scrape_config_disable_compression",
        "scrape_config_files_scrape_protocols",
    ];
    let mut seen = 0;
    let any = !cases.is_empty();
    for case in cases {
        let file = case["file"].as_str().unwrap();
        if !about.iter().any(|a| file.starts_with(a)) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(dir.join("prometheus-config/testdata").join(file)) else {
            continue;
        };
        let verdict = Document::parse(file, &text).map_err(|p| p.to_string()).and_then(|doc| {
            let mut problems = Problems::default();
            let jobs = read(&doc, false, &mut problems);
            problems.into_result(jobs).map_err(|p| p.to_string())
        });
        let unbuilt = |e: &String| {
            let mut problems = e.lines().filter(|l| l.starts_with(file));
            problems.all(|l| l.contains("is not supported"))
        };
        if verdict.as_ref().is_err_and(unbuilt) {
            continue;
        }
        assert_eq!(verdict.is_ok(), case["ok"].as_bool().unwrap(), "{file}: {verdict:?}\n{text}");
        seen += 1;
    }
    assert!(!any || seen > 35, "only {seen} of the files are there");
}
