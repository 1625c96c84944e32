use super::*;
use crate::scrape::exposition::{Entry, Format, Parser};
use model::LabelsBuilder;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

#[test]
fn the_parts_that_every_machine_has_are_read() {
    let base = Labels::from_pairs([("job", "node"), ("instance", "me")]);
    let all = read(&base, 5000);
    let value = |name: &str| all.iter().find(|(l, _)| l.metric_name() == name).map(|(_, v)| *v);
    assert_eq!(value("node_time_seconds"), Some(5.0));
    assert!(value("node_memory_MemTotal_bytes").is_some_and(|v| v > 1e6));
    assert!(value("node_cpu_seconds_total").is_some() && value("node_load1").is_some());
    assert!(value("node_filesystem_size_bytes").is_some_and(|v| v > 0.0));
    assert!(all.iter().all(|(l, _)| l.value("instance") == "me"));
    let mut labels: Vec<&Labels> = all.iter().map(|(l, _)| l).collect();
    labels.sort();
    assert!(labels.windows(2).all(|w| w[0] != w[1]), "no series twice");
}

/// Debian's node_exporter on a free port.
struct Exporter(Child, u16);

impl Drop for Exporter {
    fn drop(&mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it ends");
    }
}

fn exporter() -> Option<Exporter> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("prometheus-node-exporter")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(child) => Some(Exporter(child, port)),
        Err(e) => {
            #[expect(clippy::disallowed_methods, reason = "a test's own settings")]
            let required = std::env::var_os("PARTS_REQUIRED");
            assert!(required.is_none_or(|v| v != "1"), "prometheus-node-exporter is required: {e}");
            println!("skipped: prometheus-node-exporter is not installed");
            None
        }
    }
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

fn theirs(text: &str) -> BTreeMap<String, f64> {
    let mut parser = Parser::new(Format::Text, text.as_bytes());
    let mut out = BTreeMap::new();
    while let Some(entry) = parser.next().expect("valid") {
        if let Entry::Sample(s) = entry {
            let mut labels = LabelsBuilder::default();
            Parser::labels_of_text(parser.kind(), s.text, &mut labels);
            out.insert(labels.build().to_string(), s.value);
        }
    }
    out
}

#[test]
fn names_labels_and_values_are_node_exporters() {
    let Some(exporter) = exporter() else { return };
    let text = (0..100)
        .find_map(|_| {
            let text = get(exporter.1);
            if text.is_none() {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            text
        })
        .expect("it answers within ten seconds");
    let ours: BTreeMap<String, f64> =
        read(&Labels::default(), 0).into_iter().map(|(l, v)| (l.to_string(), v)).collect();
    let theirs = theirs(&text);
    let later = self::theirs(&get(exporter.1).expect("it answers again"));
    let families = [
        "node_cpu_",
        "node_memory_",
        "node_load",
        "node_filesystem_",
        "node_disk_",
        "node_network_receive_",
        "node_network_transmit_",
        "node_uname",
        "node_boot",
        "node_filefd",
        "node_vmstat",
        "node_pressure",
        "node_procs_",
        "node_context",
        "node_forks",
        "node_intr",
        "node_netstat",
        "node_sockstat",
        "node_entropy",
    ];
    // Not built: the disk's model, and what node_exporter asks by netlink alone.
    let unbuilt = [
        "node_disk_info",
        "node_disk_filesystem_info",
        "node_disk_device_mapper_info",
        "node_disk_ata",
        "node_network_receive_nohandler",
        "node_cpu_core_throttles",
        "node_cpu_package_throttles",
        "node_cpu_scaling",
        "node_cpu_frequency",
        "node_network_transmit_queue_length",
    ];
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for (series, value) in &theirs {
        let name = series.strip_prefix("{__name__=\"").unwrap_or(series);
        if !families.iter().any(|f| name.starts_with(f)) || unbuilt.iter().any(|f| name.starts_with(f)) {
            continue;
        }
        let Some(our) = ours.get(series) else {
            missing.push(series.clone());
            continue;
        };
        // Read between their two answers; what moved meanwhile moved little.
        let later = later.get(series).copied().unwrap_or(*value);
        let slack = (value - later).abs() * 3.0 + value.abs() * 0.05 + 50.0;
        // What waits for the disk comes and goes in bursts.
        let bursts = name.starts_with("node_memory_Writeback") || name.starts_with("node_memory_Dirty");
        if (our - value).abs() > slack && !bursts {
            different.push(format!("{series}: theirs {value}, ours {our}"));
        }
    }
    assert!(theirs.len() > 300, "{} series", theirs.len());
    assert!(missing.is_empty(), "{} missing: {missing:#?}", missing.len());
    assert!(different.is_empty(), "{different:#?}");
}
