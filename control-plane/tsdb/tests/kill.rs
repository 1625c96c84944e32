//! `kill -9` of a real process that writes to a real disk: every acknowledged sample is there afterwards.
//!
//! This binary is its own child: called with `child DIR FROM` it writes, syncs and says what is safe.
#![expect(
    clippy::print_stdout,
    reason = "a test without harness reports by itself, and the child by its output"
)]

use model::{Append, Batch, Labels, Matcher, SampleColumns, Select, SelectRequest, SeriesRef};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tsdb::{OpenReport, StdDisk, Tsdb, TsdbConfig};

const SERIES: u64 = 200;
/// Unless `KILLS` says otherwise.
const KILLS: u64 = 20;

fn open(dir: &Path) -> (Tsdb, OpenReport) {
    let config = TsdbConfig {
        block_range: Duration::from_mins(1),
        segment_bytes: 50_000,
        checkpoint_bytes: 100_000,
        ..TsdbConfig::new(dir)
    };
    Tsdb::open(config, Arc::new(StdDisk)).expect("opens")
}

fn value(step: u64, series: u64) -> f64 {
    (step * 31 + series) as f64 / if series.is_multiple_of(2) { 1.0 } else { 7.0 }
}

fn at(step: u64) -> i64 {
    i64::try_from(step).expect("few steps") * 1000
}

/// Writes step after step, and names each on standard output once it is safe.
fn child(dir: &Path, from: u64) {
    let (db, _) = open(dir);
    let series: Vec<SeriesRef> = (0..SERIES)
        .map(|i| {
            Labels::from_pairs([("__name__".to_owned(), "m".to_owned()), ("i".to_owned(), i.to_string())])
        })
        .map(|labels| db.resolve(&labels).expect("resolves"))
        .collect();
    let mut out = std::io::stdout();
    for step in from.. {
        let mut batch = Batch::at(at(step));
        for (i, s) in series.iter().enumerate() {
            batch.push(*s, value(step, i as u64));
        }
        assert_eq!(db.append(&batch).expect("appends").accepted, series.len());
        db.sync().expect("syncs");
        writeln!(out, "{step}").and_then(|()| out.flush()).expect("the parent reads");
        if step.is_multiple_of(10) {
            db.maintain(at(step)).expect("maintains");
        }
    }
}

/// Checks that all steps up to `last` are there; returns the step to go on from.
fn check(dir: &Path, last: u64) -> u64 {
    let (db, report) = open(dir);
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    assert_eq!(report.dropped_samples, 0);
    let matchers = [Matcher::eq("__name__", "m")];
    let mut stream = db.select(&SelectRequest::new(&matchers, i64::MIN, i64::MAX)).expect("selects");
    let (mut columns, mut seen, mut next) = (SampleColumns::default(), 0, 0);
    while let Some((_, labels)) = stream.next(&mut columns).expect("reads") {
        let i: u64 = labels.value("i").parse().expect("ours");
        let steps = columns.len() as u64;
        assert!(steps > last, "series {i} has {steps} steps, {last} was acknowledged");
        for step in 0..steps {
            let n = usize::try_from(step).expect("few steps");
            assert_eq!((columns.times[n], columns.values[n]), (at(step), value(step, i)));
        }
        next = next.max(steps);
        seen += 1;
    }
    assert_eq!(seen, SERIES);
    db.close().expect("closes");
    next
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, dir, from] = &args[..]
        && mode == "child"
    {
        return child(Path::new(dir), from.parse().expect("a number"));
    }
    // Runners such as nextest ask a binary for its tests before they run it; this one is a single test.
    if args.iter().any(|a| a == "--list") {
        if !args.iter().any(|a| a == "--ignored") {
            println!("kill: test");
        }
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = scratch.path().join("data");
    #[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long it may take")]
    let kills = std::env::var("KILLS").map_or(KILLS, |n| n.parse().expect("KILLS is a number"));
    let (mut from, mut seed) = (0, 1u64);
    for _ in 0..kills {
        let me = std::env::current_exe().expect("this binary");
        let mut process = Command::new(me)
            .args(["child", &dir.display().to_string(), &from.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wanted = 1 + (seed >> 33) % 40;
        let mut last = from;
        for _ in 0..wanted {
            last = lines.next().expect("it goes on").expect("text").parse().expect("a number");
        }
        process.kill().expect("SIGKILL");
        process.wait().expect("ends");
        // What it still managed to say is acknowledged too.
        last = lines.map_while(Result::ok).filter_map(|l| l.parse().ok()).last().unwrap_or(last);
        from = check(&dir, last);
    }
    println!("{kills} kills, {from} steps of {SERIES} series, nothing lost");
}
