use super::*;

fn parse(scrape: &str, probes: &str) -> Result<CollectConfig, Problems> {
    let values = |name: &str| (name == "AUTH").then(|| "auth:3002".to_owned());
    CollectConfig::parse(&CollectFiles {
        scrape: Some(File { name: "scrape.yaml", text: scrape }),
        target_series: None,
        whole_prometheus: false,
        probes: Some(File { name: "probes.yaml", text: probes }),
        values: &values,
        probe_defaults: ProbeDefaults::default(),
        host_interval: None,
    })
}

#[test]
fn names_of_the_environment_are_put_in() {
    let config = parse(
        "scrape_configs: [{job_name: a, static_configs: [{targets: ['${AUTH}']}]}]",
        "probes: [{name: auth, url: 'http://${AUTH}/api/v1/health'}]",
    )
    .unwrap();
    assert_eq!(
        build(&config.jobs[0], std::iter::empty()).targets[0].url.as_str(),
        "http://auth:3002/metrics"
    );
    assert_eq!(config.probes[0].url, "http://auth:3002/api/v1/health");
}

#[test]
fn problems_of_all_files_come_together() {
    let problems =
        parse("scrape_configs: [{job: a}]", "probes: [{name: a, url: 'http://${GONE}/'}]").unwrap_err();
    let text = problems.to_string();
    for expect in [
        "scrape.yaml:1:18: missing field `job_name`",
        "probes.yaml:1:33: GONE is not set",
        "unknown field `job`",
    ] {
        assert!(text.contains(expect), "{text}");
    }
}

#[test]
fn empty_files_are_empty_configurations() {
    let config = parse("", "").unwrap();
    assert_eq!((config.target_count(), config.probe_count()), (0, 0));
}

#[test]
fn the_files_of_this_repository_are_good() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../probes"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (scrape, probes) = (read("scrape.yaml"), read("probes.yaml"));
    let config = parse(&scrape, &probes).unwrap_or_else(|p| panic!("{p}"));
    assert!(config.target_count() >= 6 && config.probe_count() >= 7);
    assert!(config.probes.iter().all(|p| p.interval == ProbeDefaults::default().interval));
}
