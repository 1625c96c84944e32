//! Power loss at any moment: on a disk that forgets what was not synced, every acknowledged sample comes back,
//! once and unchanged, and nothing comes back that was never written.

use model::{Append, Batch, Labels, SampleColumns, Select, SelectRequest, SeriesRef};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tsdb::{Tsdb, TsdbConfig, disk::fake::FakeDisk};

const SERIES: u64 = 5;

fn config() -> TsdbConfig {
    TsdbConfig {
        block_range: Duration::from_secs(20),
        segment_bytes: 700,
        checkpoint_bytes: 1500,
        sync_every: None,
        ..TsdbConfig::new("/data")
    }
}

fn open(disk: &FakeDisk) -> Tsdb {
    Tsdb::open(config(), Arc::new(disk.clone())).expect("it opens without help").0
}

fn labels(i: u64) -> Labels {
    Labels::from_pairs([("__name__".to_owned(), "m".to_owned()), ("i".to_owned(), i.to_string())])
}

type Samples = BTreeMap<(u64, i64), u64>;

fn contents(db: &Tsdb) -> Samples {
    let request = SelectRequest::new(&[], i64::MIN, i64::MAX);
    let mut stream = db.select(&request).expect("selects");
    let (mut columns, mut out) = (SampleColumns::default(), Samples::new());
    while let Some((_, labels)) = stream.next(&mut columns).expect("reads") {
        let i = labels.value("i").parse().expect("ours");
        for (at, v) in columns.times.iter().zip(&columns.values) {
            assert!(out.insert((i, *at), v.to_bits()).is_none(), "a sample came back twice");
        }
    }
    out
}

fn mix(a: u64, b: u64) -> u64 {
    let z = (a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 7
}

/// What a run wrote and what of it was acknowledged.
#[derive(Default)]
struct Model {
    written: Samples,
    acknowledged: Samples,
    step: u64,
}

impl Model {
    /// Writes until the disk takes an image of a crash; returns that image.
    fn run(&mut self, disk: &FakeDisk, seed: u64) -> FakeDisk {
        let db = open(disk);
        let mut refs: BTreeMap<u64, SeriesRef> = BTreeMap::new();
        loop {
            self.step += 1;
            let chance = mix(seed, self.step);
            let at = i64::try_from(self.step).expect("few steps") * 1000;
            let mut batch = Batch::at(at);
            for i in 0..SERIES {
                if (chance >> i) & 3 != 0 {
                    let v = if i == 0 { self.step as f64 } else { f64::from_bits(mix(chance, i)) };
                    batch
                        .push(*refs.entry(i).or_insert_with(|| db.resolve(&labels(i)).expect("resolves")), v);
                    self.written.insert((i, at), v.to_bits());
                }
            }
            let done = db.append(&batch).expect("the disk has room");
            // A series that was idle for long is retired: its writer resolves it again, the sample is gone.
            for (rejected, _) in &done.rejected {
                let gone = batch.series[*rejected];
                let i = *refs.iter().find(|(_, r)| **r == gone).expect("one of ours").0;
                refs.remove(&i);
                self.written.remove(&(i, at));
            }
            let synced = chance.is_multiple_of(3);
            if synced {
                db.sync().expect("the disk works");
            }
            if chance.is_multiple_of(5) {
                db.maintain(at).expect("the disk works");
            }
            if let Some(image) = disk.image() {
                return image;
            }
            if synced {
                self.acknowledged = self.written.clone();
            }
        }
    }

    fn check(&self, got: &Samples) {
        for (key, bits) in &self.acknowledged {
            assert_eq!(got.get(key), Some(bits), "acknowledged sample {key:?}");
        }
        for (key, bits) in got {
            assert_eq!(self.written.get(key), Some(bits), "sample {key:?} was never written");
        }
    }
}

#[test]
fn every_acknowledged_sample_survives_crashes_at_any_moment() {
    for seed in 0..150 {
        let mut disk = FakeDisk::default();
        let mut model = Model::default();
        for life in 0..4 {
            disk.crash_in(usize::try_from(mix(seed, life) % 120).unwrap(), mix(seed, life + 100));
            disk = model.run(&disk, seed * 10 + life);
            let db = open(&disk);
            let got = contents(&db);
            model.check(&got);
            // What came back has to stay; what did not is gone for good.
            model.written = got.clone();
            model.acknowledged = got;
            db.close().expect("closes");
        }
    }
}

#[test]
fn a_disk_that_lies_about_syncs_costs_samples_but_never_invents_any() {
    for seed in 0..40 {
        let disk = FakeDisk::default();
        let mut model = Model::default();
        disk.crash_in(5, 1);
        drop(model.run(&disk, seed));
        disk.lie_about_syncs(true);
        disk.crash_in(60, seed);
        let image = model.run(&disk, seed + 1);
        model.acknowledged.clear();
        model.check(&contents(&open(&image)));
    }
}

#[test]
fn a_full_device_never_crashes_and_heals_when_there_is_room() {
    for room in (0..6000).step_by(250) {
        let disk = FakeDisk::default();
        let db = open(&disk);
        disk.set_room(Some(room));
        let mut written = Samples::new();
        for step in 1..150i64 {
            let at = step * 1000;
            let mut batch = Batch::at(at);
            batch.push(db.resolve(&labels(1)).unwrap(), step as f64);
            db.append(&batch).expect("what waits is far below its bound");
            written.insert((1, at), (step as f64).to_bits());
            drop(db.sync());
            drop(db.maintain(at));
        }
        assert_eq!(contents(&db), written);
        disk.set_room(None);
        db.sync().expect("there is room again");
        db.maintain(150_000).expect("there is room again");
        drop(db);
        assert_eq!(contents(&open(&disk.crash(room as u64))), written);
    }
}
