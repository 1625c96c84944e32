//! The HTTP API as others' programs call it: promtool, and a Prometheus that reads through to Vigie.

use crate::{
    part,
    platform::PATIENCE,
    process::Ports,
    remote_write::{World, now_ms, request},
    until,
};
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
    fs::create_dir_all(world.path("config")).expect("a folder");
    let _vigie = world.vigie(port);
    world.answers(port, "/-/ready").await;
    world.push(port, request(3, now_ms() - 10_000, 7.0)).await;
    let config =
        format!("remote_read: [{{url: 'http://127.0.0.1:{port}/api/v1/read', read_recent: true}}]\n");
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
