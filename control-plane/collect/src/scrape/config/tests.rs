use super::*;
use crate::remote_write::SendConfig;
use std::path::PathBuf;

fn jobs(text: &str) -> Result<Vec<Job>, String> {
    let doc = Document::parse("scrape.yaml", text).map_err(|p| p.to_string())?;
    let mut problems = Problems::default();
    let jobs = read(&doc, true, &|_| None, &mut problems);
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
            "scrape.yaml:7:13: missing field `client_id`",
            "scrape.yaml:7:13: missing field `token_url`",
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

/// Files of Prometheus's suite whose verdict is about what is read elsewhere or not at all: sections for other
/// programs, rule files, kinds of discovery that there are not. One file names receivers without a scheme, to
/// whom nothing could be sent; we say so.
const ELSEWHERE: &[&str] = &[
    "rules.",
    "remote_read_",
    "remote_write_retry_on_rate_limit.",
    "empty_r",
    "empty_alert",
    "tracing_",
    "tsdb_",
];

/// Prometheus's verdicts on its own files are ours, or we refuse by name what is not built.
#[test]
fn prometheus_own_files_are_judged_alike() {
    let cases =
        crate::scrape::exposition::tests::suite("prometheus-config/config_expected.json").unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "a test's own settings")]
    let dir = std::env::var_os("SUITES_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/suites")),
        PathBuf::from,
    );
    let (mut alike, mut refused, mut elsewhere, mut wrong) = (0, 0, 0, Vec::new());
    let any = !cases.is_empty();
    for case in cases {
        let file = case["file"].as_str().unwrap();
        let path = dir.join("prometheus-config/testdata").join(file);
        let Ok(bytes) = std::fs::read(&path) else {
            elsewhere += 1;
            continue;
        };
        let name = path.display().to_string();
        let verdict = String::from_utf8(bytes).map_err(|e| e.to_string()).and_then(|text| {
            let doc = Document::parse(&name, &text).map_err(|p| p.to_string())?;
            let mut problems = Problems::default();
            let jobs = read(&doc, false, &|_| None, &mut problems);
            let file = File { name: &name, text: &text };
            if let Err(more) = SendConfig::parse(file, true, &|_| None) {
                problems.extend(more);
            }
            problems.into_result(jobs).map_err(|p| p.to_string())
        });
        let accepted = case["ok"].as_bool().unwrap();
        let unbuilt = |e: &String| e.contains("is not supported");
        if verdict.is_ok() == accepted {
            alike += 1;
        } else if verdict.as_ref().is_err_and(unbuilt) {
            refused += 1;
        } else if ELSEWHERE.iter().any(|e| file.starts_with(e)) {
            elsewhere += 1;
        } else {
            wrong.push(format!("{file}: {accepted} {:?}", verdict.map(|j| j.len())));
        }
    }
    println!("{alike} alike, {refused} refused by name, {elsewhere} about what is read elsewhere");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!any || alike >= 160, "only {alike} are alike");
}
