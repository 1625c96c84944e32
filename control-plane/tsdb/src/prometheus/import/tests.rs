use super::*;
use crate::prometheus::{
    Directory,
    tests::{
        Series,
        random::{HOUR, Random, assert_same, random_series, within},
        ulid, write_with,
    },
    writer::BlockOptions,
};
use model::Value;
use std::path::PathBuf;

/// A store in memory, which can be told to break.
#[derive(Debug, Default)]
struct Double {
    finished: BTreeMap<(i64, i64), BTreeMap<Labels, SampleColumns>>,
    open: Option<((i64, i64), BTreeMap<Labels, SampleColumns>)>,
    /// Windows that are finished before it breaks.
    breaks_after: Option<usize>,
    begun: Vec<(i64, i64)>,
}

impl BulkSink for Double {
    fn begin(&mut self, min: Timestamp, max: Timestamp) -> Result<(), BulkError> {
        self.begun.push((min, max));
        self.open = Some(((min, max), BTreeMap::new()));
        Ok(())
    }

    fn series(&mut self, labels: &Labels, samples: &SampleColumns) -> Result<(), BulkError> {
        if self.breaks_after == Some(self.finished.len()) {
            return Err(BulkError::new("the disk is full"));
        }
        let (window, all) = self.open.as_mut().expect("a window is open");
        assert!(samples.times.iter().all(|t| *t >= window.0 && *t < window.1));
        assert!(all.last_key_value().is_none_or(|(last, _)| last < labels));
        all.insert(labels.clone(), samples.clone());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BulkError> {
        let (window, all) = self.open.take().expect("a window is open");
        let into = self.finished.entry(window).or_default();
        for (labels, samples) in all {
            let known = into.entry(labels).or_default();
            for (i, at) in samples.times.iter().enumerate() {
                if !known.times.contains(at) {
                    assert!(known.times.last().is_none_or(|last| last < at), "a test that appends only");
                    known.push(*at, samples.value(i), None);
                }
            }
        }
        Ok(())
    }
}

impl Double {
    fn all(&self) -> Series {
        let mut out: BTreeMap<Labels, SampleColumns> = BTreeMap::new();
        for window in self.finished.values() {
            for (labels, samples) in window {
                let into = out.entry(labels.clone()).or_default();
                (0..samples.len()).for_each(|i| into.push(samples.times[i], samples.value(i), None));
            }
        }
        out.into_iter().collect()
    }
}

const QUARTER: i64 = HOUR / 2;

/// Two blocks beside each other and one that overlaps both, as out-of-order samples make them.
fn blocks(dir: &Path, series: &Series) -> Vec<Found> {
    for (n, (from, to)) in (1..).zip([(0, HOUR), (HOUR, 2 * HOUR)]) {
        write_with(dir, BlockOptions::new(ulid(n), from, to), &within(series, from, to - 1));
    }
    Directory::open(dir).unwrap().blocks
}

fn journal(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("import.journal")
}

#[test]
fn windows_of_the_store_are_filled_in_order_from_all_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let series = random_series(&mut Random(21), 30);
    let mut blocks = blocks(dir.path(), &series);
    // The same block twice is read once, and one that overlaps adds nothing new here.
    blocks.push(blocks[0].clone());
    let overlapping = within(&series, HOUR / 2, 3 * HOUR / 2 - 1);
    write_with(dir.path(), BlockOptions::new(ulid(7), HOUR / 2, 3 * HOUR / 2), &overlapping);
    let mut blocks2 = Directory::open(dir.path()).unwrap().blocks;
    blocks2.push(blocks[0].clone());
    let import = Import::open(blocks2, &journal(&dir), QUARTER).unwrap();
    let mut sink = Double::default();
    let mut reports = 0;
    let done = import.run(&mut sink, &mut |_| reports += 1).unwrap();
    assert_same(&sink.all(), &series);
    assert_eq!(sink.begun, (0..4).map(|n| (n * QUARTER, (n + 1) * QUARTER)).collect::<Vec<_>>());
    assert_eq!((done.blocks, done.windows, done.windows_done, done.windows_before), (3, 4, 4, 0));
    let samples: usize = series.iter().map(|(_, s)| s.len()).sum();
    assert_eq!(done.samples, samples as u64);
    assert!(reports >= 4);
}

#[test]
fn an_interrupted_import_goes_on_with_the_window_that_was_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let series = random_series(&mut Random(22), 30);
    let found = blocks(dir.path(), &series);
    let mut sink = Double { breaks_after: Some(2), ..Double::default() };
    let error = Import::open(found.clone(), &journal(&dir), QUARTER).unwrap().run(&mut sink, &mut |_| {});
    let Err(ImportError::Store { min, source, .. }) = error else { panic!("{error:?}") };
    assert_eq!((min, source.to_string().as_str()), (2 * QUARTER, "the disk is full"));
    sink.breaks_after = None;
    sink.begun.clear();
    let import = Import::open(found.clone(), &journal(&dir), QUARTER).unwrap();
    assert_eq!((import.progress().windows_before, import.progress().windows), (2, 4));
    import.run(&mut sink, &mut |_| {}).unwrap();
    assert_eq!(sink.begun, [(2 * QUARTER, 3 * QUARTER), (3 * QUARTER, 4 * QUARTER)]);
    assert_same(&sink.all(), &series);
    // Nothing is left.
    sink.begun.clear();
    let done = Import::open(found, &journal(&dir), QUARTER).unwrap().run(&mut sink, &mut |_| {}).unwrap();
    assert_eq!((done.windows_before, done.samples, sink.begun.len()), (4, 0, 0));
}

#[test]
fn a_block_that_comes_later_adds_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let name = |n: &str| Labels::from_pairs([("__name__", n)]);
    let mut samples = SampleColumns::default();
    (0..100).for_each(|i| samples.push(i * 1000, Value::Float(1.0), None));
    let one = |n, series: &str| {
        write_with(dir.path(), BlockOptions::new(ulid(n), 0, HOUR), &vec![(name(series), samples.clone())])
    };
    one(1, "a");
    let mut sink = Double::default();
    let found = || Directory::open(dir.path()).unwrap().blocks;
    Import::open(found(), &journal(&dir), 2 * HOUR).unwrap().run(&mut sink, &mut |_| {}).unwrap();
    one(2, "b");
    let done = Import::open(found(), &journal(&dir), 2 * HOUR).unwrap().run(&mut sink, &mut |_| {}).unwrap();
    assert_eq!((done.windows, done.windows_before, done.series), (1, 0, 1));
    assert_same(&sink.all(), &vec![(name("a"), samples.clone()), (name("b"), samples.clone())]);
}

#[test]
fn a_block_that_claims_an_age_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = blocks(dir.path(), &random_series(&mut Random(22), 3));
    found[0].meta.min_time = i64::MIN;
    let error = Import::open(found, &journal(&dir), HOUR).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("more than ten years"));
}

/// Breaks after some series, as a full disk or a killed process does.
struct Breaking {
    sink: crate::prometheus::StoreSink,
    series: usize,
}

impl BulkSink for Breaking {
    fn begin(&mut self, min: Timestamp, max: Timestamp) -> Result<(), BulkError> {
        self.sink.begin(min, max)
    }

    fn series(&mut self, labels: &Labels, samples: &SampleColumns) -> Result<(), BulkError> {
        self.series = self.series.checked_sub(1).ok_or_else(|| BulkError::new("killed"))?;
        self.sink.series(labels, samples)
    }

    fn finish(&mut self) -> Result<(), BulkError> {
        self.sink.finish()
    }
}

#[test]
fn our_store_takes_blocks_a_window_again_and_what_is_older() {
    use crate::{Tsdb, TsdbConfig, disk::fake::FakeDisk, prometheus::StoreSink};
    use model::{Select, SelectRequest};
    let series = random_series(&mut Random(31), 30);
    // The store wants histograms whose counts make sense.
    let floats = |s: &SampleColumns| {
        let mut out = SampleColumns::default();
        (0..s.len())
            .filter(|i| matches!(s.value(*i), Value::Float(_)))
            .for_each(|i| out.push(s.times[i], s.value(i), None));
        out
    };
    let series: Series =
        series.iter().map(|(l, s)| (l.clone(), floats(s))).filter(|(_, s)| !s.is_empty()).collect();
    let dir = tempfile::tempdir().unwrap();
    let found = blocks(dir.path(), &series);
    let disk = FakeDisk::default();
    let open = || {
        let range = std::time::Duration::from_millis(QUARTER.cast_unsigned());
        let config = TsdbConfig { sync_every: None, block_range: range, ..TsdbConfig::new("/data") };
        Tsdb::open(config, Arc::new(disk.clone())).unwrap().0
    };
    let import = || Import::open(found.clone(), &journal(&dir), QUARTER).unwrap();
    let mut runs = 0;
    loop {
        let db = open();
        let mut sink = Breaking { sink: StoreSink::new(db.clone()), series: series.len() * 2 / 3 + runs };
        let outcome = import().run(&mut sink, &mut |_| {});
        db.close().unwrap();
        runs += 1;
        if outcome.is_ok() {
            break;
        }
        assert!(runs < 100);
    }
    assert!(runs > 2, "{runs}");
    let db = open();
    let mut stream = db.select(&SelectRequest::new(&[], i64::MIN, i64::MAX)).unwrap();
    let (mut got, mut columns) = (Series::new(), SampleColumns::default());
    while let Some((_, labels)) = stream.next(&mut columns).unwrap() {
        got.push((labels, columns.clone()));
    }
    assert_same(&got, &series);
    // What the store finds wrong is left out and counted.
    let bad = tempfile::tempdir().unwrap();
    let mut one = SampleColumns::default();
    let negative = model::Histogram { count: -1.0, ..model::Histogram::default() };
    one.push(3 * HOUR, Value::Histogram(negative.into()), None);
    one.push(3 * HOUR + 1, Value::Float(1.0), None);
    let options = BlockOptions::new(ulid(98), 2 * HOUR, 4 * HOUR);
    write_with(bad.path(), options, &vec![(Labels::from_pairs([("a", "b")]), one)]);
    let mut sink = StoreSink::new(db.clone());
    let blocks = Directory::open(bad.path()).unwrap().blocks;
    Import::open(blocks, &journal(&bad), QUARTER).unwrap().run(&mut sink, &mut |_| {}).unwrap();
    assert_eq!(sink.left_out(), 1);
    // What is older finds its place, whatever is newer.
    let older = tempfile::tempdir().unwrap();
    let mut one = SampleColumns::default();
    one.push(1, Value::Float(-77.5), None);
    write_with(older.path(), BlockOptions::new(ulid(99), 0, HOUR), &vec![(series[0].0.clone(), one)]);
    let blocks = Directory::open(older.path()).unwrap().blocks;
    let mut sink = StoreSink::new(db.clone());
    Import::open(blocks, &journal(&older), QUARTER).unwrap().run(&mut sink, &mut |_| {}).unwrap();
    let matchers: Vec<_> =
        series[0].0.iter().map(|l| model::Matcher::eq(Arc::clone(&l.name), Arc::clone(&l.value))).collect();
    let mut stream = db.select(&SelectRequest::new(&matchers, 0, 1)).unwrap();
    stream.next(&mut columns).unwrap().unwrap();
    assert_eq!(columns.values, [-77.5]);
}
