//! The life of the binary: what a start refuses, in one clear line; reloads that take over all or nothing; an end in
//! order.

use crate::{
    platform::{PATIENCE, SERVICES, binary},
    process::{Ports, Process},
    until,
};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

fn serve(config: &Path, data: &Path, port: u16) -> Command {
    let mut command = Command::new(binary("vigie"));
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
    command.arg("--config-dir").arg(config).arg("--data-dir").arg(data);
    command
}

/// Runs what must end by itself.
fn run(command: &mut Command) -> Output {
    command.env_clear().output().expect("vigie")
}

/// The start failed with code 1 and said so in one line that has all of `parts`.
fn refused(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

async fn ready(http: &reqwest::Client, port: u16) {
    let url = format!("http://127.0.0.1:{port}/-/ready");
    until("vigie is ready", PATIENCE, || async {
        let answer = http.get(&url).send().await.map_err(|e| kit::client::sentence(&e))?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_and_a_data_directory_in_use_are_one_clear_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    fs::create_dir(&config).expect("a folder");
    let (mut ports, http) = (Ports::new(), kit::client::build(PATIENCE).expect("a client"));
    let port = ports.free();
    let mut first = Process::start("vigie", folder.path(), &mut serve(&config, &data, port), &[]);
    ready(&http, port).await;

    let other = folder.path().join("other");
    refused(&run(&mut serve(&config, &other, port)), &[&port.to_string()]);
    refused(&run(&mut serve(&config, &data, ports.free())), &["in use"]);
    let exposed = Command::new(binary("vigie"))
        .args(["serve", "--listen", "0.0.0.0:0", "--config-dir", "."])
        .arg("--data-dir")
        .arg(&other)
        .current_dir(&config)
        .env_clear()
        .output()
        .expect("vigie");
    refused(&exposed, &["VIGIE_TOKENS_FILE", "--insecure-listen-without-tokens"]);

    first.terminate();
    assert_eq!(first.ended(Duration::from_secs(30)).await.code(), Some(0), "{}", first.log());
    // What was in use is free again.
    let mut second = Process::start("vigie", folder.path(), &mut serve(&config, &data, port), &[]);
    ready(&http, port).await;
    second.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_over_good_files_and_leaves_bad_ones_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    let rules = config.join("alerts/rules/a.yaml");
    let write = |name: &str, expr: &str| {
        fs::create_dir_all(config.join("alerts/rules")).expect("folders");
        let text = format!("groups:\n  - name: g\n    rules:\n      - alert: {name}\n        expr: {expr}\n");
        fs::write(&rules, text).expect("a file");
    };
    write("First", "vector(1)");
    let (port, http) = (Ports::new().free(), kit::client::build(PATIENCE).expect("a client"));
    let mut vigie = Process::start("vigie", folder.path(), &mut serve(&config, &data, port), &[]);
    ready(&http, port).await;
    let base = format!("http://127.0.0.1:{port}");
    let in_force = |name: &'static str| {
        let (http, url) = (http.clone(), format!("{base}/api/v1/rules"));
        until(name, PATIENCE, move || {
            let request = http.get(&url).send();
            async move {
                let text =
                    request.await.map_err(|e| e.to_string())?.text().await.map_err(|e| e.to_string())?;
                if text.contains(&format!("\"name\":\"{name}\"")) { Ok(()) } else { Err(text) }
            }
        })
    };
    in_force("First").await;

    write("Broken", "vector(");
    let answer = http.post(format!("{base}/-/reload")).send().await.expect("an answer");
    let (status, text) = (answer.status().as_u16(), answer.text().await.expect("text"));
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("a.yaml:5:"), "no place in {text}");
    in_force("First").await;

    write("Second", "vector(2)");
    let hup = Command::new("kill").args(["-HUP", &vigie.id().to_string()]).status().expect("kill");
    assert!(hup.success());
    in_force("Second").await;

    vigie.terminate();
    assert_eq!(vigie.ended(Duration::from_secs(30)).await.code(), Some(0), "{}", vigie.log());
}

#[test]
fn every_program_says_its_version() {
    for name in SERVICES.into_iter().chain(["vigie"]) {
        let output = run(Command::new(binary(name)).arg("--version"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(vigie::VERSION), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_that_moves_over_keeps_its_discovery_and_its_exemplars() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "# TYPE c counter\nc_total 1 # {trace_id=\"abc\"} 0.5 1700000000\n# EOF\n";
    let kind = [(http::header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0")];
    let router =
        axum::Router::new().route("/metrics", axum::routing::get(move || async move { (kind, text) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });

    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    write(
        "prometheus.yml",
        "global: {scrape_interval: 200ms}\nstorage: {exemplars: {max_exemplars: 10}}\nscrape_config_files: [more.yml]\n",
    );
    write(
        "more.yml",
        "scrape_configs: [{job_name: found, file_sd_configs: [{files: ['targets/*.json'], refresh_interval: 200ms}]}]\n",
    );
    fs::create_dir(folder.path().join("targets")).expect("a folder");
    let (port, http) = (Ports::new().free(), kit::client::build(PATIENCE).expect("a client"));
    let mut command = Command::new(binary("vigie"));
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--prometheus-config"]);
    command.arg(folder.path().join("prometheus.yml")).arg("--data-dir").arg(folder.path().join("data"));
    let mut vigie = Process::start("vigie", folder.path(), &mut command, &[]);
    ready(&http, port).await;
    // Nothing is told of this file.
    write("targets/a.json", &format!("[{{\"targets\": [\"{target}\"], \"labels\": {{\"env\": \"test\"}}}}]"));
    let url = format!("http://127.0.0.1:{port}/api/v1/query_exemplars?query=rate(c_total%5B5m%5D)");
    let data = until("the exemplar of a discovered target", PATIENCE, || async {
        let answer = http.get(&url).send().await.map_err(|e| e.to_string())?;
        let answer: serde_json::Value = answer.json().await.map_err(|e| e.to_string())?;
        if answer["data"][0].is_object() { Ok(answer["data"].clone()) } else { Err(answer.to_string()) }
    })
    .await;
    let labels = serde_json::json!({
        "__name__": "c_total", "env": "test", "instance": target.to_string(), "job": "found",
    });
    let exemplar =
        serde_json::json!({"labels": {"trace_id": "abc"}, "value": "0.5", "timestamp": 1_700_000_000});
    assert_eq!(data, serde_json::json!([{"seriesLabels": labels, "exemplars": [exemplar]}]));
    vigie.kill();
}
