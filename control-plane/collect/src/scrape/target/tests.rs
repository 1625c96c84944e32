use super::*;
use crate::scrape::config::read;
use kit::{problem::Problems, yaml::Document};

fn built(job: &str) -> Built {
    let doc = Document::parse("s.yaml", &format!("scrape_configs:\n- job_name: j\n{job}")).unwrap();
    let mut problems = Problems::default();
    let jobs = read(&doc, true, &|_| None, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    build(&Arc::new(jobs[0].clone()), std::iter::empty())
}

fn check(job: &str, expect: &[(&str, &str)]) {
    let built = built(job);
    let got: Vec<_> = built.targets.iter().map(|t| (t.url.to_string(), t.labels.to_string())).collect();
    let want: Vec<_> = expect.iter().map(|(u, l)| ((*u).to_owned(), (*l).to_owned())).collect();
    assert_eq!(got, want, "{:?}", built.faults);
}

#[test]
fn a_target_gets_job_and_instance() {
    check(
        "  static_configs: [{targets: ['h:1', 'h:1', 'h:2'], labels: {service: s}}]\n",
        &[
            ("http://h:1/metrics", "{instance=\"h:1\", job=\"j\", service=\"s\"}"),
            ("http://h:2/metrics", "{instance=\"h:2\", job=\"j\", service=\"s\"}"),
        ],
    );
}

#[test]
fn the_blackbox_pattern_works() {
    check(
        "  metrics_path: /probe\n  params: {module: [http_2xx]}\n  static_configs: [{targets: ['http://x']}]\n"
            .replace("http://x", "x.example")
            .as_str()
            .trim_end()
            .to_owned()
            .as_str(),
        &[("http://x.example/probe?module=http_2xx", "{instance=\"x.example\", job=\"j\"}")],
    );
    check(
        "  metrics_path: /probe
  params: {module: [http_2xx], x: [a, b]}
  static_configs: [{targets: [site]}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: 'exporter:9115'}
",
        &[(
            "http://exporter:9115/probe?module=http_2xx&x=a&x=b&target=site",
            "{instance=\"site\", job=\"j\"}",
        )],
    );
}

#[test]
fn dropped_and_impossible_targets_are_told() {
    let b = built(
        "  static_configs: [{targets: [a, b]}]\n  relabel_configs: [{source_labels: [__address__], regex: a, action: drop}]\n",
    );
    assert_eq!((b.targets.len(), b.dropped[0].value("__address__")), (1, "a"));
    let b = built(
        "  static_configs: [{targets: [a]}]\n  relabel_configs: [{regex: __address__, action: labeldrop}]\n",
    );
    assert_eq!(b.faults, ["job \"j\", target \"a\": relabelling left it without an address"]);
    let b = built("  target_limit: 1\n  static_configs: [{targets: [a, b]}]\n");
    assert_eq!(b.faults, [""; 0]);
    let why: Vec<_> = b.targets.iter().map(|t| t.forced.as_deref()).collect();
    assert_eq!(why, [Some("target_limit exceeded (number of targets: 2, limit: 1)"); 2]);
}

#[test]
fn interval_and_timeout_can_be_relabelled() {
    let b = built(
        "  static_configs: [{targets: [a], labels: {__scrape_interval__: 3s, __scrape_timeout__: 2s}}]\n",
    );
    assert_eq!((b.targets[0].interval.as_secs(), b.targets[0].timeout.as_secs()), (3, 2));
}
