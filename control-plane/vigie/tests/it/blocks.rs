//! `vigie tsdb`: the history of a Prometheus taken over and given back, by the real binary and promtool's blocks.

use crate::{
    platform::{PATIENCE, binary},
    process::{Ports, Process},
    until,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, SystemTime},
};

const SERIES: usize = 20;
const SAMPLES: u64 = 900;

fn promtool(arguments: &[&str]) -> String {
    let output = Command::new("promtool").args(arguments).output().expect("promtool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Samples of every series by promtool's own reading. It wants a data directory, with a write-ahead log.
fn dump(folder: &Path) -> BTreeMap<String, Vec<String>> {
    fs::create_dir_all(folder.join("wal")).expect("a folder");
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in promtool(&["tsdb", "dump", folder.to_str().expect("UTF-8")]).lines() {
        let (labels, sample) = line.rsplit_once("} ").expect("a series");
        out.entry(labels.to_owned()).or_default().push(sample.to_owned());
    }
    out
}

fn vigie(folder: &Path, arguments: &[&str]) -> Output {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut command = Command::new(binary("vigie"));
    command.arg("tsdb").args(arguments).args(["--data-dir", "data", "--output", "json"]);
    command.current_dir(folder).env_clear().env("PATH", path).output().expect("vigie")
}

fn good(folder: &Path, arguments: &[&str]) -> Value {
    let output = vigie(folder, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).expect("JSON")
}

fn refused(folder: &Path, arguments: &[&str], part: &str) {
    let output = vigie(folder, arguments);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let error = answer["error"].as_str().unwrap_or_default().to_owned();
    assert!(!output.status.success() && error.contains(part), "{part:?} is not in: {answer}");
}

/// Whether promtool is missing, after saying so.
fn skipped(what: &str) -> bool {
    let missing = Command::new("promtool").arg("--version").output().is_err();
    if missing {
        let required = std::env::var("PARTS_REQUIRED").is_ok_and(|v| v == "1");
        assert!(!required, "promtool is not on PATH, and PARTS_REQUIRED=1");
        println!("skipped: {what}: promtool is not on PATH; ops/test installs it");
    }
    missing
}

/// Lets promtool make blocks of `series` counters in `folder/prometheus`, from eight hours ago; returns when they
/// begin, in seconds.
fn history(folder: &Path, series: usize) -> u64 {
    let begin = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs() - 8 * 3600;
    let mut text = String::from("# TYPE requests counter\n");
    for i in 0..series {
        for n in 0..SAMPLES {
            text.push_str(&format!("requests_total{{path=\"/{i}\"}} {}.5 {}\n", n * 3, begin + n * 30));
        }
    }
    text.push_str("# EOF\n");
    fs::write(folder.join("input.txt"), text).expect("a file");
    let (from, to) = (folder.join("input.txt"), folder.join("prometheus"));
    let (from, to) = (from.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
    promtool(&["tsdb", "create-blocks-from", "openmetrics", from, to]);
    begin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_of_a_prometheus_is_taken_over_and_given_back() {
    if skipped("the history of a Prometheus") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let begin = history(folder, SERIES);
    let given = dump(&folder.join("prometheus"));
    assert_eq!(given.len(), SERIES);

    refused(folder, &["export", "--out", "out"], "has no store");
    let done = good(folder, &["import", "prometheus"]);
    assert_eq!(done["samples"], SERIES as u64 * SAMPLES);
    assert!(done["notes"][0].as_str().is_some_and(|n| n.contains("write-ahead log")), "{done}");
    let again = good(folder, &["import", "prometheus"]);
    assert_eq!((&again["samples"], &again["windows"]), (&Value::from(0), &again["windows_before"]));
    let analysis = good(folder, &["analyze", "--limit", "1"]);
    assert_eq!(analysis["by_metric"][0]["name"], "requests_total");
    assert_eq!(analysis["by_label_name"][0]["values"], SERIES as u64);

    // A Vigie that runs has it, and the store is its own meanwhile.
    let port = Ports::new().free();
    let mut command = Command::new(binary("vigie"));
    command.args([
        "serve",
        "--config-dir",
        ".",
        "--data-dir",
        "data",
        "--listen",
        &format!("127.0.0.1:{port}"),
    ]);
    let mut running = Process::start("vigie", folder, &mut command, &[]);
    let http = kit::client::build(PATIENCE).expect("a client");
    let url = format!("http://127.0.0.1:{port}/api/v1/query");
    let at = (begin + (SAMPLES - 1) * 30).to_string();
    until("the imported samples are there", PATIENCE, || async {
        let query = [("query", "sum(count_over_time(requests_total[8h]))"), ("time", &at)];
        let answer = http.get(&url).query(&query).send().await.map_err(|e| kit::client::sentence(&e))?;
        let body: Value = answer.json().await.map_err(|e| e.to_string())?;
        let found = &body["data"]["result"][0]["value"][1];
        if found.as_str() == Some(&(SERIES as u64 * SAMPLES).to_string()) {
            Ok(())
        } else {
            Err(body.to_string())
        }
    })
    .await;
    refused(folder, &["export", "--out", "out"], "stop the Vigie that uses it");
    refused(folder, &["import", "prometheus"], "in use");
    running.terminate();
    assert!(running.ended(Duration::from_secs(30)).await.success(), "{}", running.log());

    let out = good(folder, &["export", "--out", "out", "--match", "{path=~\".+\"}"]);
    assert_eq!(out["samples"], SERIES as u64 * SAMPLES);
    assert_eq!(dump(&folder.join("out")), given);
    let one = good(
        folder,
        &["export", "--out", "one", "--match", "requests_total{path=\"/3\"}", "--block-range", "18h"],
    );
    assert!(one["blocks"].as_array().is_some_and(|b| b.len() <= 2), "{one}");
    let kept: BTreeMap<_, _> = given.into_iter().filter(|(labels, _)| labels.contains("\"/3\"")).collect();
    assert_eq!(dump(&folder.join("one")), kept);
}

/// Runs `vigie tsdb` and kills it once its journal has `lines` lines, if it has not ended by then; says whether it
/// has to go on.
async fn killed(folder: &Path, arguments: &[&str], journal: &Path, lines: usize) -> bool {
    let mut command = Command::new(binary("vigie"));
    command.arg("tsdb").args(arguments).args(["--data-dir", "data"]);
    let mut process = Process::start("tsdb", folder, &mut command, &[]);
    let has = || fs::read_to_string(journal).map_or(0, |text| text.lines().count());
    let ended = until("a line of the journal", PATIENCE, || {
        let answer = match (process.check().is_err(), has() >= lines) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            (false, false) => Err(format!("{} lines", has())),
        };
        async move { answer }
    })
    .await;
    process.kill();
    !ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_and_an_export_that_are_killed_go_on() {
    if skipped("a killed import") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    history(folder, 300);
    let given = dump(&folder.join("prometheus"));
    // Whenever it is killed, before a window is done or after, the next one makes good what is missing.
    for lines in 0..4 {
        killed(folder, &["import", "prometheus"], &folder.join("data/import.journal"), lines).await;
    }
    good(folder, &["import", "prometheus"]);
    for lines in 0..10 {
        let journal = folder.join("out/vigie-export.journal");
        if !killed(folder, &["export", "--out", "out"], &journal, lines).await {
            break;
        }
    }
    good(folder, &["export", "--out", "out"]);
    assert_eq!(dump(&folder.join("out")), given);
}
