use crate::{Tsdb, TsdbConfig, disk::fake::FakeDisk};
use model::{Append, Batch, Entry, Kept, Labels, Position, SeriesRef, Stretch, Tail, TailBounds, Value};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const HOUR: i64 = 3_600_000;

fn open(disk: &FakeDisk) -> Tsdb {
    let config =
        TsdbConfig { sync_every: None, segment_bytes: 200, checkpoint_bytes: 1, ..TsdbConfig::new("/data") };
    Tsdb::open(config, Arc::new(disk.clone())).expect("opens").0
}

fn put(db: &Tsdb, name: &str, at: i64) {
    let series = db.resolve(&Labels::from_pairs([("__name__", name)])).expect("resolves");
    let mut batch = Batch::at(at);
    batch.push(series, 1.0);
    assert_eq!(db.append(&batch).expect("appends").accepted, 1, "{name} {at}");
}

fn done(position: Position) -> Kept {
    Kept { done: position, under_way: None }
}

/// The samples of a stretch, by the names that its series have.
fn samples(stretch: &Stretch, names: &mut BTreeMap<SeriesRef, String>) -> Vec<String> {
    for (series, labels) in &stretch.series {
        names.insert(*series, labels.metric_name().to_owned());
    }
    let mut out = Vec::new();
    for batch in &stretch.batches {
        let columns = batch.series.iter().map(|s| (s, batch.at));
        let entries = batch.entries.iter().map(|e| (&e.series, e.at.unwrap_or(batch.at)));
        out.extend(columns.chain(entries).map(|(s, at)| format!("{}@{at}", names[s])));
    }
    out
}

/// Everything from a position on, in pieces as small as they come.
fn all(tail: &dyn Tail, from: Position) -> (Vec<String>, Position) {
    let (mut names, mut at, mut out) = (BTreeMap::new(), from, Vec::new());
    tail.named_before(from, &mut |series, labels| {
        names.insert(series, labels.metric_name().to_owned());
    })
    .expect("reads");
    loop {
        let stretch = tail.read(at, None, 1).expect("reads");
        if stretch.next == at {
            assert!(stretch.batches.is_empty() && stretch.series.is_empty());
            return (out, at);
        }
        assert_eq!(stretch.damaged_bytes, 0);
        out.extend(samples(&stretch, &mut names));
        at = stretch.next;
    }
}

#[test]
fn a_follower_sees_what_is_on_disk_in_its_order() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    let tail = db.tail();
    assert_eq!(
        tail.read(tail.end(), None, 1000).expect("reads"),
        Stretch { next: tail.end(), ..Stretch::default() }
    );
    for i in 0..20 {
        put(&db, if i % 2 == 0 { "a" } else { "b" }, 1000 + i);
        db.sync().expect("syncs");
    }
    let series = db.resolve(&Labels::from_pairs([("__name__", "a")])).expect("resolves");
    let entry = Entry { series, at: Some(2000), start: Some(5), value: Value::Float(2.0) };
    db.append(&Batch { entries: vec![entry], ..Batch::default() }).expect("appends");
    db.sync().expect("syncs");
    put(&db, "c", 3000);
    let (seen, end) = all(&tail, Position::default());
    let mut expect: Vec<String> =
        (0..20).map(|i| format!("{}@{}", if i % 2 == 0 { "a" } else { "b" }, 1000 + i)).collect();
    expect.push("a@2000".to_owned());
    assert_eq!(seen, expect, "what is not synced is not seen");
    assert_eq!(tail.end(), end);
    assert_eq!(tail.behind(end).expect("reads"), 0);
    assert!(tail.behind(Position::default()).expect("reads") > 200);
    db.sync().expect("syncs");
    assert_eq!(all(&tail, end).0, ["c@3000"]);
    let part = tail.read(Position::default(), Some(end), u64::MAX).expect("reads");
    assert_eq!((part.next, samples(&part, &mut BTreeMap::new()).len()), (end, 21), "up to a position");
    let kept = Kept { done: Position::default(), under_way: Some(end) };
    tail.keep("other", kept).expect("kept");
    assert_eq!(super::Keeps::read(&disk, "/data/log".as_ref()).followers["other"], kept);
    let whole = tail.read(Position::default(), None, u64::MAX).expect("reads");
    assert_eq!(samples(&whole, &mut BTreeMap::new()).len(), 22, "and all at once");
}

#[test]
fn what_a_follower_has_not_read_outlives_checkpoints_blocks_and_restarts() {
    let disk = FakeDisk::default();
    let mut db = open(&disk);
    put(&db, "early", 1000);
    db.sync().expect("syncs");
    let from = db.tail().end();
    db.tail().keep("backup", done(from)).expect("kept");
    let mut expect = Vec::new();
    for round in 1..8 {
        for name in ["a", &format!("only{round}")] {
            put(&db, name, round * HOUR);
            expect.push(format!("{name}@{}", round * HOUR));
        }
        // Cuts blocks and checkpoints; series that are not written any more leave the head.
        db.maintain((round + 1) * HOUR - 1).expect("maintains");
        if round % 3 == 0 {
            db.close().expect("closes");
            db = open(&disk);
        }
    }
    let tail = db.tail();
    assert_eq!(tail.kept(), BTreeMap::from([("backup".to_owned(), done(from))]));
    assert!(db.stats().series < 5, "{}", db.stats().series);
    let (seen, end) = all(&tail, from);
    assert_eq!(seen, expect);
    let id = db.resolve(&Labels::from_pairs([("__name__", "a")])).expect("resolves");
    assert_eq!(tail.labels(id).expect("is there").metric_name(), "a");
    assert_eq!(tail.labels(SeriesRef(9999)), None);
    // Once it is read it goes.
    let files = disk.files().len();
    tail.keep("backup", done(end)).expect("kept");
    for round in 8..12 {
        put(&db, "a", round * HOUR);
        db.maintain((round + 1) * HOUR - 1).expect("maintains");
    }
    assert!(disk.files().len() < files, "{:?}", disk.files());
    let expect: Vec<String> = (8..12).map(|round| format!("a@{}", round * HOUR)).collect();
    assert_eq!(all(&tail, end).0, expect);
    tail.release("backup").expect("released");
    tail.release("backup").expect("again");
    for round in 12..16 {
        put(&db, "a", round * HOUR);
        db.maintain((round + 1) * HOUR - 1).expect("maintains");
    }
    let logs =
        |suffix| disk.files().iter().filter(|(p, _)| p.extension().is_some_and(|e| e == suffix)).count();
    assert!(logs("log") <= 2 && logs("checkpoint") == 1, "{:?}", disk.files());
}

#[test]
fn a_crash_takes_nothing_that_was_kept() {
    for seed in 0..20 {
        let disk = FakeDisk::default();
        let db = open(&disk);
        put(&db, "a", 1000);
        db.sync().expect("syncs");
        let from = db.tail().end();
        db.tail().keep("backup", done(from)).expect("kept");
        for at in [1, 2, 3] {
            put(&db, "a", at * HOUR);
            db.maintain((at + 1) * HOUR - 1).expect("maintains");
        }
        put(&db, "a", 4 * HOUR);
        let disk = disk.crash(seed);
        let db = open(&disk);
        let tail = db.tail();
        assert_eq!(tail.kept()["backup"], done(from));
        let seen = all(&tail, from).0;
        assert_eq!(seen[..3], [format!("a@{HOUR}"), format!("a@{}", 2 * HOUR), format!("a@{}", 3 * HOUR)]);
    }
}

#[test]
fn beyond_the_bounds_the_oldest_goes_and_the_follower_is_told() {
    for bounds in [
        TailBounds { bytes: 1500, age: Duration::from_hours(1000) },
        TailBounds { bytes: u64::MAX, age: Duration::from_hours(5) },
    ] {
        let disk = FakeDisk::default();
        let db = open(&disk);
        let tail = db.tail();
        tail.bound(bounds);
        put(&db, "a", 1000);
        db.sync().expect("syncs");
        let from = tail.end();
        tail.keep("backup", done(from)).expect("kept");
        for round in 1..40 {
            put(&db, "a", round * HOUR);
            put(&db, &format!("only{round}"), round * HOUR);
            db.maintain((round + 1) * HOUR - 1).expect("maintains");
        }
        let first = tail.read(from, None, 1).expect("reads");
        assert!(first.gap, "{first:?}");
        let (seen, _) = all(&tail, first.next);
        assert!(seen.len() > 2 && seen.len() < 40, "{} samples", seen.len());
        assert!(seen.contains(&format!("a@{}", 39 * HOUR)));
        let bytes: usize =
            disk.files().iter().filter(|(p, _)| p.starts_with("/data/log")).map(|(_, n)| n).sum();
        assert!(bytes < 8000, "{bytes}");
        assert!(!tail.read(first.next, None, 1).expect("reads").gap, "it is told once");
    }
}

#[test]
fn a_position_that_makes_no_sense_means_everything_that_is_there() {
    let disk = FakeDisk::default();
    let db = open(&disk);
    put(&db, "a", 1000);
    db.sync().expect("syncs");
    let tail = db.tail();
    tail.keep("backup", done(tail.end())).expect("kept");
    let far = Position { segment: 99, offset: 7 };
    let stretch = tail.read(far, None, u64::MAX).expect("reads");
    assert!(stretch.gap && stretch.batches.len() == 1, "{stretch:?}");
    assert!(tail.keep("../other", done(far)).is_err());
    db.close().expect("closes");
    drop(db);
    disk.damage("/data/log/backup.keep".as_ref(), |b| b[6] ^= 1);
    let db = open(&disk);
    assert_eq!(db.tail().kept()["backup"], Kept::default());
}
