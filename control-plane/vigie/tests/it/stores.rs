//! The same queries of a store whose samples are in rows, in columns and in blocks, and of one that only keeps a list.

use model::{Append, Batch, Cancel, Labels, STALE_NAN_BITS, Select, SeriesRef, Value};
use promql::{Engine, EngineConfig, MemoryStore, QueryValue, parse};
use std::{collections::BTreeMap, sync::Arc};
use tsdb::{Tsdb, TsdbConfig, disk::fake::FakeDisk};

const TARGETS: i64 = 3;
const SERIES: i64 = 12;
const ROWS: i64 = 700;
const STEP: i64 = 15_000;

const QUERIES: [&str; 34] = [
    "c_total",
    "g",
    "g offset 7m",
    "g @ 4000",
    "{job='a'}",
    "{job=~'a|b', n!~'[0-3]'}",
    "count({__name__!=''})",
    "sum(c_total)",
    "sum by (job) (g)",
    "avg without (n) (c_total)",
    "min by (nothing) (g)",
    "max by (job, n) (c_total offset 13s)",
    "topk by (job) (2, c_total)",
    "stddev(g)",
    "count by (job) (rate(c_total[5m]))",
    "sum by (n) (rate(c_total[2m]))",
    "avg(increase(c_total[1h]))",
    "delta(g[31s])",
    "irate(c_total[1m])",
    "changes(g[10m])",
    "resets(c_total[1h])",
    "max by (job) (max_over_time(g[20m]))",
    "sum(last_over_time(g[1m]))",
    "count_over_time(g{job='b'}[9m])",
    "absent(g{n='5'})",
    "absent_over_time(g{n='5'}[2m])",
    "timestamp(g)",
    "quantile_over_time(0.5, g[16m])",
    "deriv(c_total[15m])",
    "max_over_time(sum by (job) (g)[10m:1m])",
    "c_total / on (job, n) g",
    "g{n='3'} or c_total{n='4'}",
    "rate(c_total[5m] @ 9000)",
    "sum by (__name__) ({job='c'})",
];

fn mix(a: i64, b: i64) -> u64 {
    let z = (a.cast_unsigned() ^ b.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 7
}

/// The labels and the value of a target's series in one row, if it is there then.
fn sample(target: i64, series: i64, row: i64) -> Option<(Labels, f64)> {
    let job = ["a", "b", "c"].get(usize::try_from(target).ok()?)?;
    let chance = mix(target * 1000 + series, row);
    // Series come late, leave early, miss rows, and end for a while.
    let here = row >= series * 3 && !(series == 5 && row % 200 > 150) && !chance.is_multiple_of(97);
    let ends = (series == 5 && row % 200 == 150) || chance.is_multiple_of(89);
    let counter = series % 2 == 0;
    let value = match (ends, counter) {
        (true, _) => f64::from_bits(STALE_NAN_BITS),
        (_, true) => f64::from(u32::try_from((row % 311) * (series + 1) + target).ok()?),
        _ if chance.is_multiple_of(53) => f64::INFINITY,
        _ => f64::from(u32::try_from(chance % 41).ok()?) / 8.0 - 2.0,
    };
    let name = if counter { "c_total" } else { "g" };
    let n = (series / 2).to_string();
    here.then(|| (Labels::from_pairs([("__name__", name), ("job", job), ("n", &n)]), value))
}

fn fill(store: &dyn Append, rows: std::ops::Range<i64>) {
    let mut refs: BTreeMap<Labels, SeriesRef> = BTreeMap::new();
    for row in rows {
        for target in 0..TARGETS {
            let mut batch = Batch::at(row * STEP + target * 2_000);
            for place in 0..SERIES {
                // For a while a target tells its series in another order.
                let series = if target == 1 && row % 100 > 60 { SERIES - 1 - place } else { place };
                let Some((labels, value)) = sample(target, series, row) else { continue };
                let series =
                    *refs.entry(labels.clone()).or_insert_with(|| store.resolve(&labels).expect("resolves"));
                batch.push(series, value);
            }
            let done = store.append(&batch).expect("there is room");
            assert_eq!(done.rejected, [], "row {row}");
        }
    }
    store.sync().expect("the disk works");
}

/// A result without the order that nobody promises.
fn shown(value: QueryValue) -> BTreeMap<(i64, String), String> {
    let text = |v: &Value| match v {
        Value::Float(v) => format!("{v:.9e}"),
        Value::Histogram(h) => format!("{h:?}"),
    };
    match value {
        QueryValue::Vector(found) => {
            found.iter().map(|s| ((s.at, s.labels.to_string()), text(&s.value))).collect()
        }
        QueryValue::Matrix(found) => found
            .iter()
            .flat_map(|s| s.points.iter().map(|(t, v)| ((*t, s.labels.to_string()), text(v))))
            .collect(),
        other => BTreeMap::from([((0, String::new()), format!("{other:?}"))]),
    }
}

/// Every query, at some times and over some ranges.
fn agree(plain: &MemoryStore, store: &dyn Select, until: i64, state: &str) {
    let engine = Engine::new(EngineConfig::default());
    let cancel = Cancel::default();
    for (k, query) in (0i64..).zip(QUERIES) {
        let expr = parse(query).expect("parses");
        for i in 0..12 {
            let at = (i + 1) * until / 12 + i64::try_from(mix(k, i) % 20_000).expect("small");
            let ask = |s: &dyn Select| shown(engine.instant(s, &expr, at, &cancel).expect("an answer").value);
            assert_eq!(ask(store), ask(plain), "{state}: {query} at {at}");
            let step = [1_000, 15_000, 61_000, 600_000][usize::try_from(mix(i, k) % 4).expect("small")];
            let start = at - step * 7;
            let ask = |s: &dyn Select| {
                shown(engine.range(s, &expr, start, at, step, &cancel).expect("an answer").value)
            };
            assert_eq!(ask(store), ask(plain), "{state}: {query} from {start} to {at} by {step}");
        }
    }
}

#[test]
fn rows_columns_and_blocks_answer_as_a_list_of_samples_does() {
    let config = || TsdbConfig { sync_every: None, ..TsdbConfig::new("/data") };
    let disk = FakeDisk::default();
    let open = || Tsdb::open(config(), Arc::new(disk.clone())).expect("it opens").0;
    let plain = MemoryStore::new();
    let store = open();
    fill(&plain, 0..400);
    fill(&store, 0..400);
    agree(&plain, &store, 400 * STEP, "in the head");
    drop(store);
    let store = open();
    agree(&plain, &store, 400 * STEP, "read back from the log");
    store.flush().expect("the disk works");
    agree(&plain, &store, 400 * STEP, "in blocks");
    fill(&plain, 400..ROWS);
    fill(&store, 400..ROWS);
    agree(&plain, &store, ROWS * STEP, "in blocks and in the head");
    store.maintain(ROWS * STEP).expect("the disk works");
    agree(&plain, &store, ROWS * STEP, "after maintenance");
    store.flush().expect("the disk works");
    drop(store);
    agree(&plain, &open(), ROWS * STEP, "in blocks of another process");
}
