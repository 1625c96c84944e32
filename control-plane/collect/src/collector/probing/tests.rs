use crate::{
    collector::{CollectDeps, Collector},
    config::{CollectConfig, CollectFiles, File},
    probe::config::{Kind, Probe},
    testing::Store,
};
use kit::{clock::Clock, tasks::Tasks};
use model::Labels;
use std::{sync::Arc, time::Duration};

const INTERVAL: i64 = 5000;
const PROBES: usize = 2000;

/// Probes that answer after 20 ms, every fourth of which hangs beyond its timeout.
fn pretending() -> Vec<Arc<Probe>> {
    let text = "probes: [{name: p, kind: tcp, url: 'h:1', interval: 5s, timeout: 4900ms}]";
    let files = CollectFiles {
        scrape: None,
        target_series: None,
        whole_prometheus: false,
        probes: Some(File { name: "p.yaml", text }),
        values: &|_| None,
        probe_defaults: crate::ProbeDefaults::default(),
        host_interval: None,
    };
    let model = Probe::clone(&CollectConfig::parse(&files).unwrap().probes[0]);
    let pretend = |n: usize| {
        let (kind, takes) = if n.is_multiple_of(4) { ("hangs", 3_600_000) } else { ("answers", 20) };
        let kind_of = Kind::Pretend(Duration::from_millis(takes));
        Arc::new(Probe { name: format!("{kind}-{n}"), kind: kind_of, ..model.clone() })
    };
    (0..PROBES).map(pretend).collect()
}

/// The times of a series as [`Store::shown`] writes it, and whether all its values are `wanted`.
fn times(line: &str, wanted: &str) -> (Vec<i64>, bool) {
    let samples = line.split_once("}: ").expect("a series").1.split(' ');
    let pairs: Vec<(&str, i64)> =
        samples.map(|s| s.split_once('@').expect("a sample")).map(|(v, t)| (v, t.parse().unwrap())).collect();
    (pairs.iter().map(|(_, t)| *t).collect(), pairs.iter().all(|(v, _)| *v == wanted))
}

#[tokio::test(start_paused = true)]
async fn thousands_keep_their_beat_while_some_hang_to_their_timeout() {
    let (store, clock) = (Store::new(), Clock::simulated(1_700_000_000_000));
    let deps = CollectDeps {
        append: store.append(),
        exemplars: Arc::new(model::NoExemplars),
        clock: clock.clone(),
        tasks: Tasks::new(clock.clone()),
        sources: Vec::new(),
        self_labels: Labels::default(),
        concurrency: 1,
        state: None,
    };
    let config = CollectConfig { probes: pretending(), ..CollectConfig::default() };
    let collector = Collector::start(deps, config).expect("starts");
    // A look ahead of the beats that hangs may last into the first one, and that one into the second.
    clock.sleep(Duration::from_secs(20)).await;
    let dropped = collector.stats().probes_dropped_total;
    clock.sleep(Duration::from_secs(60)).await;
    let stats = collector.stats();
    assert_eq!(stats.probes_dropped_total, dropped, "{stats:?}");
    assert!(collector.stop(Duration::from_secs(5)).await);
    let all = store.of("probe_success{");
    assert_eq!(all.len(), PROBES);
    for line in all {
        let good = if line.contains("probe=hangs") { "0" } else { "1" };
        let (times, as_wanted) = times(&line, good);
        assert!(as_wanted, "{line}");
        let beats: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).skip(3).collect();
        assert!(beats.len() >= 10 && beats.iter().all(|gap| *gap == INTERVAL), "{line}");
    }
}
