//! Blocks against a real Prometheus: promtool and the server open what is written here, and what they write is read
//! here. Both come from `PATH`, where `ops/test` puts them; without them the tests say that they skip, or fail
//! where `PARTS_REQUIRED=1`.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests ask for their parts and tell; a real server has a real clock"
)]

mod server;

use model::{CounterReset, Histogram, Labels, SampleColumns, Span, Value, is_stale_nan, stale_nan};
use serde_json::Value as Json;
use server::{Server, promtool, remote_write, skipped};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tsdb::prometheus::{Block, BlockOptions, BlockWriter, Directory, Kind, Ulid};

const HOUR: i64 = 3_600_000;
/// A border of blocks in November 2023.
const THEN: i64 = 1_700_006_400_000;

type Series = BTreeMap<Labels, SampleColumns>;

fn labels(name: &str, i: usize) -> Labels {
    Labels::from_pairs([("__name__", name.to_owned()), ("instance", format!("host-{i}:9100"))])
}

fn floats() -> Series {
    let mut out = Series::new();
    for i in 0..50 {
        let mut samples = SampleColumns::default();
        for n in 0..480 {
            // Some scrapes are late, some are missed.
            let at = THEN + n * 15_000 + (n * 7919 + i64::try_from(i).unwrap()) % 40;
            let step = f64::from(u32::try_from(n).unwrap());
            let value = match (i % 5, n) {
                (_, 200) => continue,
                (0, _) => step * 3.0,
                (1, _) => (step / 10.0).sin() * 1e-7,
                (2, 100..110) => f64::NAN,
                (2, 110) => f64::INFINITY,
                (3, 300) => stale_nan(),
                _ => 42.5,
            };
            samples.push(at, Value::Float(value), None);
        }
        out.insert(labels("metric_total", i), samples);
    }
    out
}

fn histogram(step: u32, kind: usize) -> Histogram {
    let n = f64::from(step);
    let part = if kind == 1 { 0.5 } else { 1.0 };
    let positive = vec![n * part, 2.0 * n * part, 7.0 * part];
    let negative = vec![3.0 * part];
    Histogram {
        reset: if kind == 2 { CounterReset::Gauge } else { CounterReset::Unknown },
        schema: 1,
        zero_threshold: 0.001,
        zero_count: part,
        count: positive.iter().sum::<f64>() + 3.0 * part + part,
        sum: n * 1.5 - 4.0,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
        positive,
        negative_spans: vec![Span { offset: 1, length: 1 }],
        negative,
        custom_bounds: None,
    }
}

/// Integers, fractions, a gauge; with resets, and staleness markers for the kinds `marked`.
fn histograms(from: i64, marked: &[usize], gauge_falls: bool) -> Series {
    let mut out = Series::new();
    for kind in 0..3 {
        let mut samples = SampleColumns::default();
        for n in 0..300u32 {
            let at = from + i64::from(n) * 15_000;
            let made = match n {
                150 if marked.contains(&kind) => Histogram { sum: stale_nan(), ..Histogram::default() },
                n if n > 220 && (gauge_falls || kind < 2) => histogram(n - 200, kind),
                n => histogram(n, kind),
            };
            samples.push(at, Value::Histogram(Arc::new(made)), None);
        }
        out.insert(labels("latency_seconds", kind), samples);
    }
    out
}

fn write(out: &Path, chance: u128, range: (i64, i64), series: &Series) -> Ulid {
    let ulid = Ulid::new(THEN, chance);
    let mut writer = BlockWriter::create(out, BlockOptions::new(ulid, range.0, range.1)).unwrap();
    for (labels, samples) in series {
        writer.series(labels, samples).unwrap();
    }
    writer.finish().unwrap().expect("a block");
    ulid
}

fn read(dir: &Path) -> Series {
    let directory = Directory::open(dir).unwrap();
    let mut out = Series::new();
    for found in &directory.blocks {
        let block = Block::open(&found.dir).unwrap();
        let mut reader = block.series(i64::MIN, i64::MAX);
        let mut samples = SampleColumns::default();
        while let Some(labels) = reader.next(&mut samples).unwrap() {
            let into = out.entry(labels).or_default();
            for (i, at) in samples.times.iter().enumerate() {
                assert!(into.times.last().is_none_or(|last| last < at));
                into.push(*at, samples.value(i), None);
            }
        }
    }
    out
}

/// A sample as Prometheus shows it: a float, or count, sum and the counts of buckets that have any, from the lowest.
#[derive(Debug, Clone, PartialEq)]
enum Shown {
    Float(u64),
    Histogram(f64, f64, Vec<f64>),
}

fn show(value: &Value) -> Option<Shown> {
    match value {
        Value::Float(v) if is_stale_nan(*v) => None,
        // The text NaN has lost which one it was.
        Value::Float(v) if v.is_nan() => Some(Shown::Float(f64::NAN.to_bits())),
        Value::Float(v) => Some(Shown::Float(v.to_bits())),
        Value::Histogram(h) if is_stale_nan(h.sum) => None,
        Value::Histogram(h) => {
            let zero = [h.zero_count];
            let all = h.negative.iter().rev().chain(&zero).chain(&h.positive);
            let counts = all.copied().filter(|c| *c != 0.0).collect();
            Some(Shown::Histogram(h.count, h.sum, counts))
        }
    }
}

type Answer = BTreeMap<Labels, Vec<(i64, Shown)>>;

fn shown(series: &Series) -> Answer {
    let one = |s: &SampleColumns| {
        s.times.iter().enumerate().filter_map(|(i, at)| Some((*at, show(&s.value(i))?))).collect::<Vec<_>>()
    };
    series.iter().map(|(l, s)| (l.clone(), one(s))).filter(|(_, s)| !s.is_empty()).collect()
}

fn number(text: &Json) -> f64 {
    text.as_str().expect("a number in quotes").parse().expect("a number")
}

fn millis(seconds: &Json) -> i64 {
    let ms = seconds.as_f64().expect("seconds") * 1000.0;
    format!("{ms:.0}").parse().expect("milliseconds")
}

/// All samples of `latency_seconds`. One series at a time, because 2.42 mixes up the histograms of several series
/// in one answer.
fn ask_histograms(server: &Server, end_ms: i64) -> Answer {
    let one = |kind| ask(server, &format!("latency_seconds{{instance=\"host-{kind}:9100\"}}"), end_ms);
    (0..3).flat_map(one).collect()
}

/// All samples that match, as the query API of `server` gives them.
fn ask(server: &Server, selector: &str, end_ms: i64) -> Answer {
    let query = format!("{selector}[3h]");
    let body = server.query(&query, end_ms);
    let mut out = Answer::new();
    for series in body["data"]["result"].as_array().expect("a matrix") {
        let labels: Labels = serde_json::from_value(series["metric"].clone()).unwrap();
        let mut samples = Vec::new();
        for v in series["values"].as_array().into_iter().flatten() {
            let value = number(&v[1]);
            let value = if value.is_nan() { f64::NAN } else { value };
            samples.push((millis(&v[0]), Shown::Float(value.to_bits())));
        }
        for h in series["histograms"].as_array().into_iter().flatten() {
            let buckets = h[1]["buckets"].as_array().into_iter().flatten();
            let counts = buckets.map(|b| number(&b[3])).collect();
            samples.push((
                millis(&h[0]),
                Shown::Histogram(number(&h[1]["count"]), number(&h[1]["sum"]), counts),
            ));
        }
        out.insert(labels, samples);
    }
    out
}

fn assert_same(got: &Answer, want: &Answer) {
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (labels, got) in got {
        let want = &want[labels];
        for (a, b) in got.iter().zip(want) {
            assert_eq!(a, b, "{labels}");
        }
        assert_eq!(got.len(), want.len(), "{labels}");
    }
}

#[test]
fn promtool_lists_analyzes_and_dumps_what_is_written() {
    if skipped("promtool", "promtool on written blocks") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let series = floats();
    let ulid = write(dir.path(), 1, (THEN, THEN + 2 * HOUR), &series);
    let folder = dir.path().to_str().unwrap();
    let list = promtool(&["tsdb", "list", folder]);
    assert!(list.contains(&ulid.to_string()), "{list}");
    let samples: usize = series.values().map(SampleColumns::len).sum();
    assert!(list.contains(&samples.to_string()), "{list}");
    let analysis = promtool(&["tsdb", "analyze", folder]);
    assert!(analysis.contains(&ulid.to_string()), "{analysis}");
    assert!(analysis.contains("Series: 50"), "{analysis}");
    assert!(analysis.contains("metric_total"), "{analysis}");

    // It wants a data directory, with a write-ahead log.
    std::fs::create_dir(dir.path().join("wal")).unwrap();
    let mut dumped: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    for line in promtool(&["tsdb", "dump", folder]).lines() {
        let (labels, rest) = line.rsplit_once("} ").unwrap_or_else(|| panic!("{line}"));
        let (value, at) = rest.split_once(' ').unwrap();
        dumped.entry(format!("{labels}}}")).or_default().push((at.parse().unwrap(), value.parse().unwrap()));
    }
    assert_eq!(dumped.len(), 50);
    for (labels, samples) in &series {
        let got = &dumped[&labels.to_string()];
        let want: Vec<(i64, f64)> =
            samples.times.iter().copied().zip(samples.values.iter().copied()).collect();
        assert_eq!(got.len(), want.len(), "{labels}");
        for ((t, v), (at, value)) in got.iter().zip(&want) {
            assert!(
                t == at && (v == value || v.is_nan() && value.is_nan()),
                "{labels}: {t} {v}, not {at} {value}"
            );
        }
    }
}

#[test]
fn a_server_answers_from_what_is_written() {
    if skipped("prometheus", "a server on written blocks") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let (floats, histograms) = (floats(), histograms(THEN + 2 * HOUR, &[0, 1, 2], true));
    write(&data, 1, (THEN, THEN + 2 * HOUR), &floats);
    write(&data, 2, (THEN + 2 * HOUR, THEN + 4 * HOUR), &histograms);
    let server = Server::start(dir.path(), &data);
    assert_same(&ask(&server, "metric_total", THEN + 2 * HOUR), &shown(&floats));
    assert_same(&ask_histograms(&server, THEN + 4 * HOUR), &shown(&histograms));
    // Postings and values of labels lead to the series.
    let one = ask(&server, "{instance=~\"host-1.*\", __name__!=\"latency_seconds\"}", THEN + 2 * HOUR);
    assert_eq!(one.len(), 11);
    let count = server.query("sum(count_over_time(metric_total[3h]))", THEN + 2 * HOUR);
    let total: usize = shown(&floats).values().map(Vec::len).sum();
    assert_eq!(count["data"]["result"][0]["value"][1], total.to_string());
    let names = server.get("/api/v1/label/instance/values?start=1700000000&end=1700020800");
    assert_eq!(names["data"].as_array().map(Vec::len), Some(50));
    let log = server.stop();
    assert!(!log.contains("level=error") && !log.contains("corrupt"), "{log}");
}

#[test]
fn a_snapshot_of_a_server_is_read_as_the_server_answers() {
    if skipped("prometheus", "the snapshot of a server") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let server = Server::start(dir.path(), &data);
    // An empty head begins at whatever time comes first.
    let (from, to) = (THEN, THEN + 2 * HOUR);
    // 2.42 itself loses what stands before a marker of fractions, and makes no snapshot of a gauge that falls.
    let mut given = histograms(from, &[0, 2], false);
    given.extend(floats());
    // In the order of time: a head takes nothing that is an hour older than its newest sample.
    for begin in (0..480).step_by(60) {
        for (labels, samples) in &given {
            let piece = begin.min(samples.len())..(begin + 60).min(samples.len());
            server.write(&remote_write(labels, samples, piece));
        }
    }
    let answer = server.post("/api/v1/admin/tsdb/snapshot");
    let name = answer["data"]["name"].as_str().expect("a name");
    let snapshot = data.join("snapshots").join(name);
    assert_eq!(Directory::open(&snapshot).unwrap().kind, Kind::Snapshot);
    let mine = read(&snapshot);
    let mut theirs = ask(&server, "metric_total", to);
    server.stop();
    let second = Server::start(dir.path(), &snapshot);
    theirs.extend(ask_histograms(&second, to));
    let here: Series = mine
        .iter()
        .filter(|(l, _)| ["metric_total", "latency_seconds"].contains(&l.metric_name()))
        .map(|(l, s)| (l.clone(), s.clone()))
        .collect();
    assert_eq!(here.len(), given.len());
    assert_same(&shown(&here), &theirs);
    assert_same(&shown(&here), &shown(&given));
    // What the API leaves out is there too: staleness markers, to the bit.
    for (labels, samples) in &given {
        let stale = |s: &SampleColumns| (0..s.len()).filter(|i| s.value(*i).is_stale()).collect::<Vec<_>>();
        assert_eq!(stale(&here[labels]), stale(samples), "{labels}");
    }
    // Written here from what they wrote, and given to another server.
    let again = dir.path().join("again");
    std::fs::create_dir(&again).unwrap();
    write(&again, 9, (from, to), &here);
    let third = Server::start(dir.path(), &again);
    assert_same(&ask(&third, "metric_total", to), &ask(&second, "metric_total", to));
    assert_same(&ask_histograms(&third, to), &ask_histograms(&second, to));
}

#[test]
fn blocks_of_promtool_are_read() {
    if skipped("promtool", "blocks written by promtool") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::from("# TYPE http_requests counter\n");
    let mut given = Series::new();
    for i in 0..20usize {
        let name =
            Labels::from_pairs([("__name__", "http_requests_total".to_owned()), ("path", format!("/p/{i}"))]);
        let mut samples = SampleColumns::default();
        for n in 0..1200u32 {
            let (at, value) = (THEN + i64::from(n) * 15_000, f64::from(n * 3) + 0.125);
            text.push_str(&format!("http_requests_total{{path=\"/p/{i}\"}} {value} {}\n", at / 1000));
            samples.push(at, Value::Float(value), None);
        }
        given.insert(name, samples);
    }
    text.push_str("# EOF\n");
    let input = dir.path().join("input.txt");
    std::fs::write(&input, text).unwrap();
    let out = dir.path().join("data");
    promtool(&["tsdb", "create-blocks-from", "openmetrics", input.to_str().unwrap(), out.to_str().unwrap()]);
    assert!(Directory::open(&out).unwrap().blocks.len() >= 3);
    assert_same(&shown(&read(&out)), &shown(&given));
}

#[test]
fn a_server_goes_on_where_the_newest_block_ends() {
    if skipped("prometheus", "a server that goes on after a block") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let begin = (now - 60_000).div_euclid(2 * HOUR) * 2 * HOUR;
    let at = |t: i64| {
        let mut samples = SampleColumns::default();
        samples.push(t, Value::Float(7.0), None);
        samples
    };
    let whole = BlockOptions::new(Ulid::new(now, 1), begin, begin + 2 * HOUR);
    let mut writer = BlockWriter::create(&data, BlockOptions { end_with_samples: true, ..whole }).unwrap();
    writer.series(&labels("metric_total", 1), &at(now - 60_000)).unwrap();
    assert_eq!(writer.finish().unwrap().unwrap().meta.max_time, now - 60_000 + 1);
    let server = Server::start(dir.path(), &data);
    // It takes nothing from before the end of its newest block.
    server.write(&remote_write(&labels("metric_total", 1), &at(now), 0..1));
    let all = ask(&server, "metric_total", now);
    assert_eq!(all[&labels("metric_total", 1)].len(), 2);
}
