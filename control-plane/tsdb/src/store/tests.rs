use super::*;
use crate::{disk::fake::FakeDisk, log::segment_path};
use model::{
    Cancel, CancelReason, Entry, Histogram, MatchOp, Matcher, Reject, SampleColumns, Select, SelectError,
    SelectRequest, Value, is_stale_nan, stale_nan,
};
use std::time::Duration;

const HOUR: i64 = 3_600_000;

fn config() -> TsdbConfig {
    TsdbConfig { sync_every: None, ..TsdbConfig::new("/data") }
}

fn open(disk: &FakeDisk) -> (Tsdb, OpenReport) {
    Tsdb::open(config(), Arc::new(disk.clone())).expect("opens")
}

fn labels(name: &str, instance: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("instance", instance)])
}

fn put(db: &Tsdb, labels: &Labels, at: i64, v: f64) {
    let mut batch = Batch::at(at);
    batch.push(db.resolve(labels).unwrap(), v);
    assert_eq!(db.append(&batch).unwrap(), Appended { accepted: 1, rejected: vec![] });
}

type Read = Vec<(Labels, Vec<(i64, f64)>)>;

fn read(db: &Tsdb, matchers: &[Matcher], start: i64, end: i64) -> Read {
    let request = SelectRequest::new(matchers, start, end);
    let mut stream = db.select(&request).unwrap();
    let mut columns = SampleColumns::default();
    let mut out = Vec::new();
    while let Some((_, labels)) = stream.next(&mut columns).unwrap() {
        out.push((labels, columns.times.iter().copied().zip(columns.values.iter().copied()).collect()));
    }
    out
}

fn all(db: &Tsdb) -> Read {
    read(db, &[], i64::MIN, i64::MAX)
}

#[test]
fn what_was_appended_is_read_in_the_order_of_labels() {
    let (db, _) = open(&FakeDisk::default());
    for name in ["b", "a"] {
        for i in ["2", "1"] {
            put(&db, &labels(name, i), 1000, 1.0);
            put(&db, &labels(name, i), 2000, 2.0);
        }
    }
    let got = all(&db);
    let want: Read = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
        .map(|(n, i)| (labels(n, i), vec![(1000, 1.0), (2000, 2.0)]))
        .to_vec();
    assert_eq!(got, want);
    assert_eq!(read(&db, &[Matcher::eq("__name__", "a")], 1500, 2000)[0].1, [(2000, 2.0)]);
    assert_eq!(read(&db, &[], 2001, 9000), []);
}

#[test]
fn a_closed_store_opens_as_it_was() {
    let disk = FakeDisk::default();
    let (db, _) = open(&disk);
    for t in 0..500 {
        put(&db, &labels("m", "1"), t * 1000, t as f64 / 3.0);
    }
    let before = all(&db);
    db.close().unwrap();
    db.close().unwrap();
    assert!(matches!(db.append(&Batch::at(1)), Err(AppendError::Closed)));
    let (db, report) = open(&disk);
    assert_eq!((report.series, report.samples, report.dropped_samples), (1, 500, 0));
    assert_eq!(all(&db), before);
    put(&db, &labels("m", "1"), 500_000, 1.0);
}

#[test]
fn a_directory_in_use_is_refused_clearly() {
    let disk = FakeDisk::default();
    let (db, _) = open(&disk);
    let error = Tsdb::open(config(), Arc::new(disk.clone())).unwrap_err();
    assert_eq!(error.to_string(), "the data directory /data is in use by another process");
    db.close().unwrap();
    open(&disk);
}

/// Six hours of two series, sample by sample, with maintenance in between.
fn six_hours(db: &Tsdb) {
    for minute in 0..360 {
        let at = minute * 60_000;
        put(db, &labels("m", "1"), at, minute as f64);
        if minute < 100 {
            put(db, &labels("gone", "1"), at, 1.5);
        }
        if minute % 5 == 0 {
            db.maintain(at).unwrap();
        }
    }
    db.maintain(6 * HOUR).unwrap();
}

#[test]
fn old_samples_move_to_blocks_and_are_read_with_the_rest() {
    let disk = FakeDisk::default();
    let (db, _) = open(&disk);
    six_hours(&db);
    let stats = db.stats();
    // The head holds from hour 4 on; hours 0 to 2 and 2 to 4 are blocks.
    assert_eq!((stats.blocks, stats.series, stats.series_removed_total), (2, 1, 1));
    let m: Vec<(i64, f64)> = (0..360).map(|i| (i * 60_000, i as f64)).collect();
    let want = vec![
        (labels("gone", "1"), (0..100).map(|i| (i * 60_000, 1.5)).collect()),
        (labels("m", "1"), m.clone()),
    ];
    assert_eq!(all(&db), want);
    assert_eq!(read(&db, &[Matcher::eq("__name__", "m")], 119 * 60_000, 121 * 60_000)[0].1, m[119..122]);
    assert_eq!(read(&db, &[Matcher::new("__name__", MatchOp::Nre, "m").unwrap()], 0, 6 * HOUR).len(), 1);

    db.close().unwrap();
    let (db, report) = open(&disk);
    assert_eq!(report.blocks, 2);
    assert!(report.samples < 180, "only the recent log is read, not {} samples", report.samples);
    assert_eq!(all(&db), want);
    let mut late = Batch::at(HOUR);
    late.push(db.resolve(&labels("late", "1")).unwrap(), 1.0);
    assert_eq!(db.append(&late).unwrap().rejected, [(0, Reject::TooOld)]);
}

#[test]
fn a_window_is_not_closed_on_somebody_who_brings_the_past_in() {
    let (db, _) = open(&FakeDisk::default());
    let now = 5 * HOUR + HOUR / 2;
    db.maintain(now).unwrap();
    put(&db, &labels("now", "1"), now, 1.0);
    for minute in 0..60 {
        // Hours 2 to 4 would have closed at hour 5.
        put(&db, &labels("past", "1"), 3 * HOUR + minute * 60_000, minute as f64);
        db.maintain(now + minute * 5_000).unwrap();
    }
    assert_eq!(db.stats().blocks, 0);
    db.maintain(now + 59 * 5_000 + 59_000).unwrap();
    assert_eq!(db.stats().blocks, 0, "a minute's pause is not over");
    db.maintain(now + 59 * 5_000 + 60_000).unwrap();
    assert_eq!(db.stats().blocks, 1);
    assert_eq!(read(&db, &[Matcher::eq("__name__", "past")], 0, now)[0].1.len(), 60);
    // Who never pauses does not keep it open for ever.
    let much_later = 9 * HOUR;
    db.maintain(much_later).unwrap();
    put(&db, &labels("now", "1"), much_later, 1.0);
    put(&db, &labels("past", "1"), 5 * HOUR, 1.0);
    db.maintain(much_later).unwrap();
    assert_eq!(db.stats().blocks, 2);
}

#[test]
fn retention_deletes_whole_blocks() {
    let disk = FakeDisk::default();
    let (db, _) =
        Tsdb::open(TsdbConfig { retention: Duration::from_hours(3), ..config() }, Arc::new(disk.clone()))
            .unwrap();
    six_hours(&db);
    assert_eq!(db.stats().blocks, 1);
    assert_eq!(all(&db)[0].1[0].0, 2 * HOUR);
    let blocks = disk.files().into_iter().filter(|(p, _)| p.extension().is_some_and(|e| e == "block"));
    assert_eq!(blocks.count(), 1);
}

#[test]
fn a_retired_series_is_said_to_be_unknown_and_can_be_resolved_again() {
    let (db, _) = open(&FakeDisk::default());
    let old = db.resolve(&labels("gone", "1")).unwrap();
    six_hours(&db);
    let mut batch = Batch::at(7 * HOUR - 3_000_000);
    batch.push(old, 1.0);
    assert_eq!(db.append(&batch).unwrap().rejected, [(0, Reject::UnknownSeries)]);
    batch.series[0] = db.resolve(&labels("gone", "1")).unwrap();
    assert_eq!(db.append(&batch).unwrap().accepted, 1);
}

#[test]
fn histograms_start_times_and_staleness_survive_log_and_block() {
    let disk = FakeDisk::default();
    let (db, _) = open(&disk);
    let series = db.resolve(&labels("h", "1")).unwrap();
    let float = db.resolve(&labels("m", "1")).unwrap();
    let h = Arc::new(Histogram { count: 3.0, sum: 1.5, zero_count: 3.0, ..Histogram::default() });
    for t in 0..4 {
        let mut batch = Batch::at(t * HOUR);
        batch.push(float, if t == 1 { stale_nan() } else { 1.0 });
        let value = Value::Histogram(Arc::clone(&h));
        batch.entries.push(Entry { series, at: Some(t * HOUR + 7), start: Some(5), value });
        assert_eq!(db.append(&batch).unwrap().accepted, 2);
    }
    let check = |db: &Tsdb| {
        let request = SelectRequest::new(&[], 0, 9 * HOUR);
        let mut stream = db.select(&request).unwrap();
        let mut c = SampleColumns::default();
        assert_eq!(stream.next(&mut c).unwrap().unwrap().1, labels("h", "1"));
        assert_eq!((c.len(), c.starts.clone()), (4, vec![5; 4]));
        assert_eq!(c.value(2), Value::Histogram(Arc::clone(&h)));
        assert_eq!(c.times[3], 3 * HOUR + 7);
        assert_eq!(stream.next(&mut c).unwrap().unwrap().1, labels("m", "1"));
        assert!(is_stale_nan(c.values[1]) && !is_stale_nan(c.values[2]) && c.starts.is_empty());
    };
    check(&db);
    db.maintain(4 * HOUR).unwrap();
    assert_eq!(db.stats().blocks, 1);
    check(&db);
    db.close().unwrap();
    check(&open(&disk).0);
}

#[test]
fn one_bad_sample_never_rejects_its_neighbours() {
    let (db, _) = open(&FakeDisk::default());
    db.maintain(0).unwrap();
    let (a, b) = (db.resolve(&labels("a", "1")).unwrap(), db.resolve(&labels("b", "1")).unwrap());
    let mut batch = Batch::at(1000);
    batch.push(a, 1.0);
    batch.push(SeriesRef(999), 1.0);
    batch.push(b, 1.0);
    batch.push(a, 2.0);
    batch.entries.push(Entry { series: a, at: Some(500), start: None, value: Value::Float(1.0) });
    batch.entries.push(Entry { series: b, at: Some(HOUR), start: None, value: Value::Float(1.0) });
    let done = db.append(&batch).unwrap();
    assert_eq!(done.accepted, 2);
    assert_eq!(
        done.rejected,
        [
            (1, Reject::UnknownSeries),
            (3, Reject::Duplicate),
            (4, Reject::OutOfOrder),
            (5, Reject::TooFarAhead)
        ]
    );
}

#[test]
fn limits_stop_series_samples_and_time() {
    let (db, _) =
        Tsdb::open(TsdbConfig { max_series: Some(3), ..config() }, Arc::new(FakeDisk::default())).unwrap();
    for i in ["1", "2", "3"] {
        put(&db, &labels("m", i), 1, 1.0);
        put(&db, &labels("m", i), 2, 1.0);
    }
    assert!(matches!(db.resolve(&labels("m", "4")), Err(AppendError::Limit(_))));
    assert!(matches!(db.resolve(&Labels::default()), Err(AppendError::BadLabels(_))));
    let run = |change: &dyn Fn(&mut SelectRequest<'_>)| -> Result<usize, SelectError> {
        let mut request = SelectRequest::new(&[], 0, 10);
        change(&mut request);
        let mut stream = db.select(&request)?;
        let (mut c, mut n) = (SampleColumns::default(), 0);
        while stream.next(&mut c)?.is_some() {
            n += 1;
        }
        Ok(n)
    };
    assert_eq!(run(&|_| {}).unwrap(), 3);
    assert!(matches!(
        run(&|r| r.limits.series = Some(2)),
        Err(SelectError::Limit { what: "series", limit: 2 })
    ));
    assert!(matches!(
        run(&|r| r.limits.samples = Some(5)),
        Err(SelectError::Limit { what: "samples", limit: 5 })
    ));
    assert_eq!(run(&|r| r.limits.samples = Some(6)).unwrap(), 3);
    let cancelled = run(&|r| {
        let cancel = Cancel::default();
        cancel.cancel(CancelReason::ClientGone);
        r.cancel = cancel;
    });
    assert!(matches!(cancelled, Err(SelectError::Cancelled(CancelReason::ClientGone))));
}

#[test]
fn names_and_values_are_listed() {
    let (db, _) = open(&FakeDisk::default());
    put(&db, &Labels::from_pairs([("__name__", "early"), ("zone", "a")]), 0, 1.0);
    six_hours(&db);
    put(&db, &labels("ü", "2"), 6 * HOUR, 1.0);
    let matchers = [Matcher::eq("instance", "1")];
    let everything = SelectRequest::new(&[], 0, 9 * HOUR);
    let recent = SelectRequest::new(&[], 5 * HOUR, 9 * HOUR);
    let first = SelectRequest::new(&matchers, 0, 9 * HOUR);
    assert_eq!(db.label_names(&everything).unwrap(), ["__name__", "instance", "zone"], "zone is in a block");
    assert_eq!(db.label_names(&recent).unwrap(), ["__name__", "instance"]);
    assert_eq!(db.label_names(&first).unwrap(), ["__name__", "instance"]);
    let later = SelectRequest::new(&[], 7 * HOUR, 9 * HOUR);
    assert_eq!(db.label_names(&later).unwrap(), [""; 0]);
    assert_eq!(db.label_values("__name__", &later).unwrap(), [""; 0]);
    assert_eq!(db.label_values("__name__", &everything).unwrap(), ["early", "gone", "m", "ü"]);
    assert_eq!(db.label_values("__name__", &recent).unwrap(), ["m", "ü"]);
    assert_eq!(db.label_values("__name__", &first).unwrap(), ["gone", "m"]);
    let names = |s: &Labels| s.metric_name().to_owned();
    let all: Vec<String> = db.series(&everything).unwrap().iter().map(names).collect();
    assert_eq!(all, ["early", "gone", "m", "ü"], "each once, in order, wherever it is");
}

#[test]
fn a_checkpoint_replaces_the_log() {
    let disk = FakeDisk::default();
    let (db, _) =
        Tsdb::open(TsdbConfig { checkpoint_bytes: 1000, ..config() }, Arc::new(disk.clone())).unwrap();
    for t in 0..400 {
        put(&db, &labels("m", "1"), t * 1000, 0.1 * t as f64);
        if t % 10 == 0 {
            db.maintain(t * 1000).unwrap();
        }
    }
    assert!(db.stats().checkpoints_total > 1);
    assert!(!disk.files().iter().any(|(p, _)| *p == segment_path(&db.0.log_dir, 1)));
    let before = all(&db);
    db.close().unwrap();
    let (db, report) = open(&disk);
    assert_eq!((report.samples, report.damage.len()), (400, 0));
    assert_eq!(all(&db), before);
}

#[test]
fn a_damaged_block_is_set_aside_and_reported() {
    let disk = FakeDisk::default();
    let (db, _) = open(&disk);
    six_hours(&db);
    db.close().unwrap();
    let (path, len) =
        disk.files().into_iter().find(|(p, _)| p.to_string_lossy().ends_with("/0_7200000.block")).unwrap();
    disk.damage(&path, |b| b[len - 1] ^= 1);
    let (db, report) = open(&disk);
    assert_eq!((report.blocks, report.damage.len()), (1, 1));
    assert_eq!(all(&db)[0].1[0].0, 2 * HOUR);
}

#[test]
fn the_store_syncs_by_itself() {
    let disk = FakeDisk::default();
    let config = TsdbConfig { sync_every: Some(Duration::from_millis(1)), ..config() };
    let (db, _) = Tsdb::open(config, Arc::new(disk.clone())).unwrap();
    put(&db, &labels("m", "1"), 1, 1.0);
    while disk.syncs() == 0 {
        thread::yield_now();
    }
    db.close().unwrap();
}

#[test]
fn a_sample_from_the_future_does_not_close_the_present() {
    let (db, _) = open(&FakeDisk::default());
    // Before the first maintenance the store knows no time.
    put(&db, &labels("early", "1"), 1_000_000 * HOUR, 1.0);
    for hour in 0..6 {
        db.maintain(hour * HOUR).unwrap();
        put(&db, &labels("m", "1"), hour * HOUR, 1.0);
    }
    assert_eq!(db.stats().blocks, 2);
    assert_eq!(all(&db).iter().map(|(_, s)| s.len()).collect::<Vec<_>>(), [1, 6]);
}
