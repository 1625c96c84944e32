//! The HTTP API as others' programs call it: promtool, and a Prometheus that reads through to Vigie.

use crate::{
    part,
    platform::PATIENCE,
    process::Ports,
    remote_write::{World, now_ms, request},
    until,
};
use serde_json::{Value, json};
use std::{fs, process::Command};

/// What promtool answers, or `None` after saying that it is not here.
fn promtool(arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new("promtool").args(arguments).output() else {
        assert!(std::env::var("PARTS_REQUIRED").as_deref() != Ok("1"), "promtool is not on PATH");
        println!("skipped: promtool is not on PATH; ops/test installs it");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_queries_vigie_as_it_queries_prometheus() {
    let world = World::new();
    let port = Ports::new().free();
    fs::create_dir_all(world.path("config")).expect("a folder");
    let _vigie = world.vigie(port);
    world.answers(port, "/-/ready").await;
    let at = now_ms() / 1000;
    world.push(port, request(2, (at - 60) * 1000, 3.5)).await;
    world.push(port, request(2, at * 1000, 4.5)).await;
    let (url, now) = (format!("http://127.0.0.1:{port}"), at.to_string());
    let begin = (at - 60).to_string();

    let Some(instant) = promtool(&["query", "instant", "--time", &now, &url, "sum(pushed)"]) else { return };
    assert_eq!(instant.trim(), format!("{{}} => 9 @[{at}]"));
    let times = ["--start", &begin, "--end", &now, "--step", "60s"];
    let range = [&["query", "range"][..], &times, &[&url, "pushed{n=\"0\"}"]].concat();
    let range = promtool(&range).expect("it is here");
    assert_eq!(range.trim(), format!("pushed{{n=\"0\"}} =>\n3.5 @[{begin}]\n4.5 @[{at}]"));
    let between = ["--start", &begin, "--end", &now];
    let series = [&["query", "series", "--match", "pushed"][..], &between, &[&url]].concat();
    let series = promtool(&series).expect("it is here");
    for n in ["0", "1"] {
        assert!(series.contains(&format!("n=\"{n}\"")), "{series}");
    }
    let labels = promtool(&[&["query", "labels"][..], &between, &[&url, "n"]].concat()).expect("it is here");
    assert_eq!(labels.split_whitespace().collect::<Vec<_>>(), ["0", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_reads_through_to_vigie() {
    let Some(prometheus) = part("PROMETHEUS", "Prometheus reading from Vigie") else { return };
    let world = World::new();
    let mut ports = Ports::new();
    let (port, reader) = (ports.free(), ports.free());
    let external = "global: {external_labels: {region: eu}}\n";
    let _vigie = world.vigie_as_prometheus(port, external);
    world.answers(port, "/-/ready").await;
    world.push(port, request(3, now_ms() - 10_000, 7.0)).await;
    // It asks with its own external labels, and takes away what it finds of them.
    let config = format!(
        "{external}remote_read: [{{url: 'http://127.0.0.1:{port}/api/v1/read', read_recent: true}}]\n"
    );
    let _prometheus = world.prometheus(&prometheus, reader, &config);
    world.answers(reader, "/-/ready").await;
    let found = until("Prometheus has Vigie's samples", PATIENCE, || async {
        let found = world.query(reader, "sum by (n) (pushed)").await?;
        if found.len() == 3 { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert!(found.iter().all(|s| s["value"][1] == "7"), "{found:?}");
    // What it leaves to Vigie to choose, it gets chosen.
    assert_eq!(world.query(reader, "pushed{n=~\"1|2\"}").await.map(|v| v.len()), Ok(2));
    assert_eq!(world.query(reader, "absent(nothing)").await.map(|v| v.len()), Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_federates_from_vigie() {
    let Some(prometheus) = part("PROMETHEUS", "Prometheus scraping /federate") else { return };
    let world = World::new();
    let mut ports = Ports::new();
    let (port, reader) = (ports.free(), ports.free());
    let _vigie = world.vigie_as_prometheus(port, "global: {external_labels: {region: eu, n: none}}");
    world.answers(port, "/-/ready").await;
    let at = now_ms() - 10_000;
    world.push(port, request(3, at, 7.5)).await;
    let config = format!(
        "scrape_configs:\n- job_name: federate\n  scrape_interval: 1s\n  honor_labels: true\n  \
         metrics_path: /federate\n  params: {{'match[]': ['pushed{{n!=\"1\"}}', 'pushed{{n=\"2\"}}']}}\n  \
         static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
    );
    let _prometheus = world.prometheus(&prometheus, reader, &config);
    world.answers(reader, "/-/ready").await;
    let found = until("Prometheus has scraped Vigie's samples", PATIENCE, || async {
        let found = world.query(reader, "timestamp(pushed)").await?;
        if found.len() == 2 { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await;
    for series in &found {
        assert_eq!(
            (&series["metric"]["job"], &series["metric"]["region"]),
            (&"federate".into(), &"eu".into())
        );
        assert!(series["metric"]["instance"].is_null(), "an empty instance is honoured: {series}");
        let seconds: f64 = series["value"][1].as_str().expect("text").parse().expect("a number");
        assert!((seconds * 1000.0 - at as f64).abs() < 1.0, "the sample's own time: {series}");
    }
    assert_eq!(world.query(reader, "sum(pushed)").await.map(|v| v[0]["value"][1].clone()), Ok("15".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_series_of_its_own_has_metadata() {
    let world = World::new();
    let port = Ports::new().free();
    fs::create_dir_all(world.path("config")).expect("a folder");
    let _vigie = world.vigie(port);
    world.answers(port, "/-/ready").await;
    let own = "group by (__name__) ({__name__=~\"(vigie|ai|http|process)_.+\"})";
    let found = until("its series are there", PATIENCE, || async {
        let found = world.query(port, own).await?;
        if found.len() > 50 { Ok(found) } else { Err(format!("{} names", found.len())) }
    })
    .await;
    let told = world.ask(port, "/api/v1/metadata", &[]).await["data"].clone();
    for series in found {
        let name = series["metric"]["__name__"].as_str().expect("a name");
        let parts = ["_bucket", "_sum", "_count"];
        let family = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        let about = told.get(name).unwrap_or(&told[family]);
        let (kind, help) = (about[0]["type"].as_str().unwrap_or(""), about[0]["help"].as_str().unwrap_or(""));
        assert!(!help.is_empty(), "nothing is said about {name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_translated_as_a_file_says_from_its_reload_on() {
    let world = World::new();
    let port = Ports::new().free();
    let file = world.path("config/probes/otlp.yaml");
    fs::create_dir_all(world.path("config/probes")).expect("a folder");
    fs::write(&file, "otlp: {promote_resource_attributes: [host.name]}").expect("a file");
    let _vigie = world.vigie(port);
    world.answers(port, "/-/ready").await;
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let export = async || {
        let point = json!({"asDouble": 1.5, "timeUnixNano": (now_ms() * 1_000_000).to_string()});
        let metric = json!({"name": "room.heat", "unit": "Cel", "gauge": {"dataPoints": [point]}});
        let resource = json!({"attributes": [text("service.name", "s"), text("host.name", "h")]});
        let all = json!([{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]);
        world.post(port, "/api/v1/otlp/v1/metrics", &json!({"resourceMetrics": all})).await;
    };
    export().await;
    let found = world.query(port, "room_heat_celsius").await.expect("an answer");
    assert_eq!(found[0]["metric"]["host_name"], "h", "{found:?}");
    fs::write(&file, "otlp: {translation_strategy: NoTranslation}").expect("a file");
    world.post(port, "/-/reload", &Value::Null).await;
    export().await;
    let found = world.query(port, "{\"room.heat\"}").await.expect("an answer");
    assert_eq!(found[0]["metric"], json!({"__name__": "room.heat", "job": "s"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_step_of_a_query_looks_at_is_counted_as_prometheus_counts_it() {
    let Some(prometheus) = part("PROMETHEUS", "Prometheus counting samples") else { return };
    let world = World::new();
    let mut ports = Ports::new();
    let (port, peer) = (ports.free(), ports.free());
    fs::create_dir_all(world.path("config")).expect("a folder");
    let _vigie = world.vigie(port);
    let _prometheus = world.prometheus(&prometheus, peer, "{}");
    let begin = now_ms() / 10_000 * 10 - 600;
    for server in [port, peer] {
        world.answers(server, "/-/ready").await;
        for i in 0..30 {
            world.push(server, request(3, (begin + i * 10) * 1000, 7.0)).await;
        }
    }
    // Off the samples' times, so that it does not matter which ends of a range are closed.
    let time = |s: i64| format!("{}.003", begin + s);
    let (first, last) = (time(-7), time(640));
    let fixed = format!("sum_over_time(pushed[1m] @ {}) + pushed", time(123));
    let queries = [
        "pushed",
        "sum(pushed)",
        "-pushed + on(n) pushed",
        "rate(pushed[1m])",
        "sum by (n) (rate(pushed[95s] offset 20s))",
        "topk(2, sum_over_time(pushed[3m]))",
        "quantile_over_time(0.5, pushed[1m])",
        "timestamp(pushed)",
        "absent(pushed)",
        "max_over_time(sum(pushed)[2m:17s])",
        "max_over_time(rate(pushed[33s])[2m:17s])",
        "scalar(pushed{n=\"1\"}) * 2",
        "pushed @ 0",
        &fixed,
        "vector(1)",
    ];
    let counts = |answer: &Value| {
        let samples = &answer["data"]["stats"]["samples"];
        assert!(samples.is_object(), "{answer}");
        (samples["totalQueryableSamples"].clone(), samples["totalQueryableSamplesPerStep"].clone())
    };
    for query in queries {
        let at = time(205);
        let instant = [("query", query), ("time", &at), ("stats", "all")];
        let range = [("query", query), ("start", &first), ("end", &last), ("step", "13"), ("stats", "all")];
        for (path, params) in [("/api/v1/query", &instant[..]), ("/api/v1/query_range", &range)] {
            let (ours, theirs) = (world.ask(port, path, params).await, world.ask(peer, path, params).await);
            assert_eq!(counts(&ours), counts(&theirs), "{path} {query}");
            let samples = &ours["data"]["stats"]["samples"];
            let steps = samples["samplesReadPerStep"].as_array().expect("steps");
            let read: u64 = steps.iter().filter_map(|s| s[1].as_u64()).sum();
            assert_eq!(samples["samplesRead"], read, "{path} {query}: {samples}");
        }
    }
    let at = time(205);
    for query in ["pushed[1m]", "sum(pushed)[1m:10s]", "rate(pushed[33s])[1m:10s]"] {
        let params = [("query", query), ("time", at.as_str()), ("stats", "all")];
        let ours = world.ask(port, "/api/v1/query", &params).await;
        assert_eq!(counts(&ours), counts(&world.ask(peer, "/api/v1/query", &params).await), "{query}");
    }
    // Ten windows of 60 s that move by 10 s: 15 samples of a series are read, looked at 60 times.
    let (first, last) = (time(105), time(195));
    let params = [
        ("query", "sum_over_time(pushed{n=\"0\"}[60s])"),
        ("start", first.as_str()),
        ("end", last.as_str()),
        ("step", "10"),
        ("stats", "1"),
    ];
    let samples = world.ask(port, "/api/v1/query_range", &params).await["data"]["stats"]["samples"].clone();
    assert_eq!((&samples["samplesRead"], &samples["totalQueryableSamples"]), (&15.into(), &60.into()));
    assert!(samples["samplesReadPerStep"].is_null(), "only for stats=all: {samples}");
}
