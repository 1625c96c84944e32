use super::*;
use crate::{
    StdDisk, TsdbConfig,
    disk::{Disk, fake::FakeDisk},
};
use model::{Append, Batch, Select, SelectRequest, Value};
use std::{collections::BTreeMap, time::Duration};

const HOUR: i64 = 3_600_000;

fn config(dir: &str) -> TsdbConfig {
    let ahead = Duration::from_hours(1000);
    TsdbConfig {
        sync_every: None,
        late_window: Duration::from_hours(3),
        max_ahead: ahead,
        ..TsdbConfig::new(dir)
    }
}

fn open(disk: &FakeDisk) -> Tsdb {
    Tsdb::open(config("/data"), Arc::new(disk.clone())).expect("opens").0
}

fn labels(i: usize) -> Labels {
    Labels::from_pairs([("__name__".to_owned(), format!("m{}", i % 2)), ("i".to_owned(), i.to_string())])
}

type Contents = BTreeMap<(String, i64), f64>;

fn contents(db: &Tsdb) -> Contents {
    let mut stream = db.select(&SelectRequest::new(&[], i64::MIN, i64::MAX)).expect("selects");
    let (mut columns, mut out) = (SampleColumns::default(), Contents::new());
    while let Some((_, labels)) = stream.next(&mut columns).expect("reads") {
        assert!(columns.times.is_sorted_by(|a, b| a < b), "{labels}: {:?}", columns.times);
        for (at, v) in columns.times.iter().zip(&columns.values) {
            out.insert((labels.value("i").to_owned(), *at), *v);
        }
    }
    out
}

/// Six series, a sample every ten minutes from `from` to `to`, in rows.
fn fill(db: &Tsdb, from: i64, to: i64) -> Contents {
    let refs: Vec<_> = (0..6).map(|i| db.resolve(&labels(i)).expect("resolves")).collect();
    let mut out = Contents::new();
    for at in (from..to).step_by(600_000) {
        let mut batch = Batch::at(at);
        for (i, r) in refs.iter().enumerate() {
            let v = (at / 600_000) as f64 + i as f64;
            batch.push(*r, v);
            out.insert((i.to_string(), at), v);
        }
        assert_eq!(db.append(&batch).expect("appends").rejected, []);
    }
    out
}

fn deletion() -> Deletion {
    Deletion { sets: vec![vec![Matcher::eq("__name__", "m1")]], start: 3 * HOUR, end: 5 * HOUR }
}

fn without(mut want: Contents) -> Contents {
    want.retain(|(i, at), _| i.parse::<usize>().unwrap() % 2 == 0 || *at < 3 * HOUR || *at > 5 * HOUR);
    want
}

#[test]
fn a_deletion_takes_what_is_there_and_nothing_that_comes_later() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    let mut want = fill(&db, 0, 4 * HOUR);
    db.maintain(4 * HOUR).unwrap();
    want.extend(fill(&db, 4 * HOUR, 6 * HOUR));
    db.delete(&deletion()).unwrap();
    let mut want = without(want);
    assert_eq!(contents(&db), want);
    let back = db.resolve(&labels(1)).unwrap();
    let mut batch = Batch::at(6 * HOUR);
    batch.entries.push(model::Entry {
        series: back,
        at: Some(4 * HOUR),
        start: None,
        value: Value::Float(9.0),
    });
    assert_eq!(db.append(&batch).unwrap().rejected, []);
    want.insert(("1".to_owned(), 4 * HOUR), 9.0);
    assert_eq!(contents(&db), want);
    db.flush().unwrap();
    assert_eq!(contents(&db), want);
    drop(db);
    assert_eq!(contents(&open(&disk)), want);
}

#[test]
fn a_deletion_that_a_crash_cuts_off_is_finished_by_the_next_maintenance() {
    for step in 0..60 {
        let disk = FakeDisk::default();
        let db = open(&disk);
        let mut want = fill(&db, 0, 4 * HOUR);
        db.flush().unwrap();
        want.extend(fill(&db, 4 * HOUR, 6 * HOUR));
        db.sync().unwrap();
        disk.crash_in(step, step as u64);
        db.delete(&deletion()).unwrap();
        let Some(image) = disk.image() else { continue };
        let db = open(&image);
        let got = contents(&db);
        assert!(got.iter().all(|(k, v)| want.get(k) == Some(v)), "step {step}: only what was there");
        let gone = without(want);
        assert!(gone.keys().all(|k| got.contains_key(k)), "step {step}: what was not to go is there");
        let asked = image.read(std::path::Path::new("/data/deletion")).is_ok();
        db.maintain(6 * HOUR).unwrap();
        let whole = contents(&db).len() > gone.len();
        assert!(!(asked && whole), "step {step}: it was on disk, and is carried out");
    }
}

#[test]
fn a_snapshot_is_a_store_and_stays_as_it_was() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    let (db, _) = Tsdb::open(config(&dir.display().to_string()), Arc::new(StdDisk)).unwrap();
    let want = fill(&db, 0, 3 * HOUR);
    let copy = db.snapshot("one").unwrap();
    fill(&db, 3 * HOUR, 4 * HOUR);
    db.delete(&deletion()).unwrap();
    let (snapshot, report) = Tsdb::open(config(&copy.display().to_string()), Arc::new(StdDisk)).unwrap();
    assert!(report.damage.is_empty());
    assert_eq!(contents(&snapshot), want);
}

#[test]
fn a_window_is_taken_in_whole_beside_what_is_there_and_may_come_twice() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    let mut want = fill(&db, 6 * HOUR, 9 * HOUR);
    let mut columns = SampleColumns::default();
    for at in (0..2 * HOUR).step_by(600_000) {
        columns.push(at, Value::Float(1.0), None);
        want.insert(("0".to_owned(), at), 1.0);
    }
    for _ in 0..2 {
        let before = contents(&db);
        let mut importer = db.import(0, 2 * HOUR).unwrap();
        importer.series(&labels(0), &columns).unwrap();
        assert_eq!(contents(&db), before);
        importer.finish().unwrap();
        assert_eq!(contents(&db), want);
    }
    // An import says nothing of what is still to come: the log is read back whole.
    db.sync().unwrap();
    drop(db);
    let db = open(&disk);
    assert_eq!(contents(&db), want);
    for _ in 0..4 {
        db.maintain(9 * HOUR).unwrap();
    }
    assert_eq!(contents(&db), want);
    assert_eq!(db.time_range(), Some((0, 9 * HOUR - 600_000)));
}

#[test]
fn blocks_are_joined_as_they_age_and_answer_as_before() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    let mut want = Contents::new();
    for hour in 0..40 {
        want.extend(fill(&db, hour * HOUR, (hour + 1) * HOUR));
        db.maintain((hour + 1) * HOUR).unwrap();
    }
    for _ in 0..20 {
        db.maintain(40 * HOUR).unwrap();
    }
    let blocks = db.stats().blocks;
    assert!(blocks <= 6, "{blocks} blocks of two hours each");
    assert_eq!(contents(&db), want);
    drop(db);
    assert_eq!(contents(&open(&disk)), want);
}

#[test]
fn late_samples_are_read_in_order_also_from_blocks() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    let mut want = fill(&db, 0, 5 * HOUR);
    db.maintain(5 * HOUR).unwrap();
    let series = db.resolve(&labels(0)).unwrap();
    let mut batch = Batch::at(5 * HOUR);
    for at in [2 * HOUR + 1, 4 * HOUR + 1, 4 * HOUR + 7] {
        batch.entries.push(model::Entry { series, at: Some(at), start: None, value: Value::Float(7.0) });
        want.insert(("0".to_owned(), at), 7.0);
    }
    // Out of the window.
    batch.entries.push(model::Entry { series, at: Some(HOUR + 1), start: None, value: Value::Float(7.0) });
    assert_eq!(db.append(&batch).unwrap().rejected.len(), 1);
    assert_eq!(contents(&db), want);
    db.sync().unwrap();
    drop(db);
    // What was taken stays, whatever the window is now.
    let closed = TsdbConfig { late_window: Duration::ZERO, ..config("/data") };
    let db = Tsdb::open(closed, Arc::new(disk.clone())).unwrap().0;
    assert_eq!(contents(&db), want);
    drop(db);
    let db = open(&disk);
    assert_eq!(contents(&db), want);
    want.extend(fill(&db, 5 * HOUR, 8 * HOUR));
    for _ in 0..5 {
        db.maintain(8 * HOUR).unwrap();
        assert_eq!(contents(&db), want);
    }
    drop(db);
    assert_eq!(contents(&open(&disk)), want);
}

#[test]
fn a_limit_on_bytes_takes_the_oldest_blocks() {
    let disk = FakeDisk::default();
    let limited = TsdbConfig { max_block_bytes: Some(1), ..config("/data") };
    let db = Tsdb::open(limited, Arc::new(disk)).unwrap().0;
    fill(&db, 0, 4 * HOUR);
    let done = db.maintain(4 * HOUR).unwrap();
    assert_eq!((done.blocks_written, done.blocks_deleted, db.stats().blocks), (1, 1, 0));
}

#[test]
fn a_block_that_does_not_read_stops_no_other_work() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    for hour in 0..10 {
        fill(&db, hour * HOUR, (hour + 1) * HOUR);
    }
    let one = lock(&db.0.blocks).first().map(|b| b.path.clone());
    assert_eq!(one, None);
    db.0.flush().unwrap();
    let path = lock(&db.0.blocks)[1].path.clone();
    disk.damage(&path, |bytes| bytes[30] ^= 1);
    assert!(matches!(db.maintain(10 * HOUR), Err(MaintainError::Read(_))));
    for _ in 0..4 {
        db.maintain(10 * HOUR).expect("the damage was said once, and the rest goes on");
    }
    assert!(db.stats().blocks_written_total > 5);
}

#[test]
fn what_fills_the_head_is_told() {
    let db = open(&FakeDisk::default());
    fill(&db, 0, HOUR);
    let got = db.cardinality(2);
    assert_eq!((got.series, got.label_pairs), (6, 8));
    assert_eq!(got.metrics, [("m0".to_owned(), 3), ("m1".to_owned(), 3)]);
    assert_eq!(got.names, [("i".to_owned(), 6), ("__name__".to_owned(), 2)]);
    assert_eq!(got.pairs, [("__name__=m0".to_owned(), 3), ("__name__=m1".to_owned(), 3)]);
    assert_eq!(got.range, Some((0, HOUR - 600_000)));
}

#[test]
fn a_deletion_is_read_back_or_refused() {
    let what = Deletion {
        sets: vec![vec![Matcher::eq("a", "b"), Matcher::new("c", MatchOp::Nre, "d.*").unwrap()], vec![]],
        ..deletion()
    };
    let bytes = what.encode();
    assert_eq!(Deletion::decode(&bytes).unwrap().encode(), bytes);
    for i in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[i] ^= 4;
        assert!(Deletion::decode(&bad).is_none());
    }
}

#[test]
fn a_block_that_could_not_be_written_makes_nothing_old() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    let want = fill(&db, 0, 5 * HOUR);
    db.sync().unwrap();
    // Room for nothing more: neither the block nor a checkpoint.
    disk.set_room(Some(0));
    assert!(db.flush().is_err());
    assert_eq!(contents(&db), want);
    disk.set_room(None);
    let more = fill(&db, 5 * HOUR, 6 * HOUR);
    db.sync().unwrap();
    drop(db);
    let mut all = want;
    all.extend(more);
    assert_eq!(contents(&open(&disk)), all);
}

#[test]
fn a_flush_in_the_middle_of_a_window_refuses_nothing_afterwards() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    let mut want = fill(&db, 2 * HOUR, 3 * HOUR);
    db.flush().unwrap();
    // A scrape that was on its way: its time is before the newest sample that went to the block.
    let series = db.resolve(&labels(9)).unwrap();
    let mut batch = Batch::at(2 * HOUR + 1);
    batch.push(series, 4.0);
    assert_eq!(db.append(&batch).unwrap().rejected, []);
    want.insert(("9".to_owned(), 2 * HOUR + 1), 4.0);
    want.extend(fill(&db, 3 * HOUR, 6 * HOUR));
    for _ in 0..4 {
        db.maintain(6 * HOUR).unwrap();
        assert_eq!(contents(&db), want);
    }
    drop(db);
    assert_eq!(contents(&open(&disk)), want);
}

#[test]
fn a_store_that_is_told_of_full_memory_refuses_new_series_alone() {
    let db = open(&FakeDisk::default());
    let mut want = fill(&db, 0, HOUR);
    db.refuse_new_series(true);
    assert!(matches!(db.resolve(&labels(77)), Err(model::AppendError::Limit(_))));
    want.extend(fill(&db, HOUR, 2 * HOUR));
    assert_eq!(contents(&db), want);
    db.refuse_new_series(false);
    assert!(db.resolve(&labels(77)).is_ok());
}
