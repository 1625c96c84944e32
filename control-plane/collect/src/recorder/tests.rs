use super::*;
use crate::testing::Store;

fn one(name: &str, value: f64) -> Reading {
    reading(name, &Labels::from_pairs([("i", "1")]), value)
}

#[test]
fn series_that_are_not_written_any_more_end() {
    let store = Store::new();
    let mut recorder = Recorder::new(store.append());
    recorder.record(1000, &[one("a", 1.0), one("b", 2.0)]).unwrap();
    recorder.record(2000, &[one("a", 3.0)]).unwrap();
    recorder.record(3000, &[]).unwrap();
    assert_eq!(store.shown(), ["a{i=1}: 1@1000 3@2000 stale@3000", "b{i=1}: 2@1000 stale@2000"]);
}

#[test]
fn a_series_that_the_store_retired_is_resolved_again() {
    let store = Store::new();
    let mut recorder = Recorder::new(store.append());
    recorder.record(1000, &[one("a", 1.0)]).unwrap();
    let hours = |n: i64| n * 3_600_000;
    let other = store.append().resolve(&Labels::from_pairs([("__name__", "other")])).unwrap();
    for hour in 1..=10 {
        let mut batch = Batch::at(hours(hour));
        batch.push(other, 0.0);
        store.append().append(&batch).unwrap();
        store.db.maintain(hours(hour)).unwrap();
    }
    assert_eq!(recorder.record(hours(10), &[one("a", 2.0)]).unwrap(), 1);
    assert_eq!(store.shown()[0], "a{i=1}: 1@1000 2@36000000");
}
