use super::*;
use crate::{
    Tsdb, TsdbConfig,
    disk::fake::FakeDisk,
    prometheus::{
        Block, Directory,
        tests::{Series, random::HOUR, read},
    },
};
use model::{Append, Batch, Entry, Histogram, Labels, Value};
use std::{collections::BTreeMap, sync::Arc};

const BLOCK: i64 = 2 * HOUR;

fn name(n: &str, i: i64) -> Labels {
    Labels::from_pairs([("__name__", n.to_owned()), ("i", i.to_string())])
}

/// A store with a sample a minute for seven hours, a gap of a day, and one hour more.
fn store() -> (Tsdb, Series) {
    let config = TsdbConfig { sync_every: None, ..TsdbConfig::new("/data") };
    let (db, _) = Tsdb::open(config, Arc::new(FakeDisk::default())).unwrap();
    let mut want: BTreeMap<Labels, SampleColumns> = BTreeMap::new();
    let minutes = (0..7 * 60).chain(31 * 60..32 * 60);
    for m in minutes {
        let at = 10 * BLOCK + m * 60_000;
        db.maintain(at).unwrap();
        let mut batch = Batch::at(at);
        for i in 0..3 {
            let value = Value::Float(f64::from(u32::try_from(m * 3 + i).unwrap()));
            batch.entries.push(Entry {
                series: db.resolve(&name("m", i)).unwrap(),
                at: None,
                start: None,
                value: value.clone(),
            });
            want.entry(name("m", i)).or_default().push(at, value, None);
        }
        let h = Value::Histogram(Arc::new(Histogram { count: 1.0, zero_count: 1.0, ..Histogram::default() }));
        batch.entries.push(Entry {
            series: db.resolve(&name("h", 0)).unwrap(),
            at: None,
            start: Some(at - 1),
            value: h.clone(),
        });
        want.entry(name("h", 0)).or_default().push(at, h, None);
        assert_eq!(db.append(&batch).unwrap().rejected, []);
    }
    (db, want.into_iter().collect())
}

fn options(out: &tempfile::TempDir) -> ExportOptions {
    ExportOptions { out: out.path().join("out"), block_ms: BLOCK, ..ExportOptions::default() }
}

fn run(db: &dyn Select, options: ExportOptions) -> Result<Exported, ExportError> {
    run_with(db, options, 1)
}

fn run_with(db: &dyn Select, options: ExportOptions, chance: u128) -> Result<Exported, ExportError> {
    let mut chance = chance << 64;
    let mut chance = move || {
        chance += 1;
        chance
    };
    Export::open(db, options)?.run(db, 1_700_000_000_000, &mut chance, &mut |_| {})
}

fn exported(options: &ExportOptions) -> Series {
    let mut out: BTreeMap<Labels, SampleColumns> = BTreeMap::new();
    for found in Directory::open(&options.out).unwrap().blocks {
        let block = Block::open(&found.dir).unwrap();
        for (labels, samples) in read(&block, i64::MIN, i64::MAX).unwrap() {
            let into = out.entry(labels).or_default();
            (0..samples.len()).for_each(|i| into.push(samples.times[i], samples.value(i), None));
        }
    }
    out.into_iter().collect()
}

fn assert_same(got: &Series, want: &Series) {
    crate::prometheus::tests::random::assert_same(got, want);
}

#[test]
fn each_window_with_samples_becomes_a_block() {
    let (out, (db, want)) = (tempfile::tempdir().unwrap(), store());
    let done = run(&db, options(&out)).unwrap();
    assert_eq!(done.range, Some((10 * BLOCK, 26 * BLOCK - 1)));
    assert_eq!((done.windows, done.windows_done, done.blocks.len()), (16, 16, 5));
    assert_eq!(done.samples, 480 * 4);
    assert_eq!(done.start_times_left_out, 480);
    assert_same(&exported(&options(&out)), &want);
    let metas = Directory::open(&options(&out).out).unwrap().blocks;
    let (last, others) = metas.split_last().unwrap();
    assert!(metas.iter().all(|b| b.meta.min_time % BLOCK == 0));
    assert!(others.iter().all(|b| b.meta.max_time - b.meta.min_time == BLOCK));
    // The newest ends with its samples: a Prometheus takes nothing from before the end of its newest block.
    assert_eq!(last.meta.max_time, want[0].1.times.last().unwrap() + 1);
    assert!(metas.iter().all(|b| b.meta.compaction.level == 1));
}

#[test]
fn a_part_can_be_chosen_and_blocks_can_be_longer() {
    let (out, (db, want)) = (tempfile::tempdir().unwrap(), store());
    let (from, to) = (10 * BLOCK + HOUR, 10 * BLOCK + 5 * HOUR);
    let chosen = vec![vec![Matcher::eq("i", "1")], vec![Matcher::eq("__name__", "h"), Matcher::eq("i", "0")]];
    let options = ExportOptions {
        from: Some(from),
        to: Some(to),
        selectors: chosen,
        written: vec!["{i=\"1\"}".to_owned(), "h{i=\"0\"}".to_owned()],
        block_ms: 3 * BLOCK,
        ..options(&out)
    };
    let done = run(&db, options.clone()).unwrap();
    assert_eq!(done.range, Some((from, to)));
    let want = crate::prometheus::tests::random::within(&want, from, to);
    let want: Series = want.into_iter().filter(|(l, _)| *l == name("m", 1) || *l == name("h", 0)).collect();
    assert_same(&exported(&options), &want);
    let blocks = Directory::open(&options.out).unwrap().blocks;
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[0].meta.compaction.level, 2);
    assert_eq!(blocks[0].meta.min_time, 9 * BLOCK);
}

#[test]
fn an_interrupted_export_goes_on_and_writes_no_window_twice() {
    let (out, (db, want)) = (tempfile::tempdir().unwrap(), store());
    let whole = run(&db, options(&out)).unwrap();
    let dir = options(&out).out;
    let journal = dir.join(JOURNAL);
    let lines: Vec<String> = fs::read_to_string(&journal).unwrap().lines().map(str::to_owned).collect();
    // A crash after any line of the journal: what is not in it has not happened, but for a block that may
    // have got its name already, or is half written.
    for kept in 1..=lines.len() {
        for half_written in [false, true] {
            let mut named: Vec<String> = Vec::new();
            fs::write(&journal, lines[..kept].join("\n") + "\n").unwrap();
            for line in &lines[..kept] {
                if let Ok(Line::Begin { block, .. }) = serde_json::from_str(line) {
                    named.push(block.to_string());
                }
            }
            let last_begins = lines[kept - 1].contains("begin");
            for found in Directory::open(&dir).unwrap().blocks {
                let ulid = found.meta.ulid.to_string();
                if !named.contains(&ulid) {
                    fs::remove_dir_all(&found.dir).unwrap();
                } else if half_written && last_begins && named.last() == Some(&ulid) {
                    fs::rename(&found.dir, dir.join(format!("{ulid}{UNFINISHED}"))).unwrap();
                }
            }
            let done = run_with(&db, options(&out), 2).unwrap();
            assert_eq!(done.windows_done, whole.windows);
            assert_same(&exported(&options(&out)), &want);
            assert_eq!(Directory::open(&dir).unwrap().blocks.len(), 5, "after line {kept}");
            assert!(
                !fs::read_dir(&dir).unwrap().any(|e| e
                    .unwrap()
                    .path()
                    .to_string_lossy()
                    .ends_with(UNFINISHED))
            );
            // For the next round as the first run left it.
            fs::remove_dir_all(&dir).unwrap();
            fs::create_dir(&dir).unwrap();
            run(&db, options(&out)).unwrap();
            let again: Vec<String> =
                fs::read_to_string(&journal).unwrap().lines().map(str::to_owned).collect();
            assert_eq!(again, lines);
        }
    }
}

#[test]
fn what_is_finished_is_not_done_again_and_other_options_are_refused() {
    let (out, (db, _)) = (tempfile::tempdir().unwrap(), store());
    run(&db, options(&out)).unwrap();
    let export = Export::open(&db, options(&out)).unwrap();
    assert!(export.is_done());
    drop(export);
    let other = ExportOptions { to: Some(11 * BLOCK), ..options(&out) };
    assert!(matches!(run(&db, other), Err(ExportError::OtherOptions { .. })));
    for block_ms in [0, -BLOCK, HOUR, 32 * 24 * HOUR] {
        assert!(matches!(
            run(&db, ExportOptions { block_ms, ..options(&out) }),
            Err(ExportError::BlockRange)
        ));
    }
}

#[test]
fn an_empty_store_makes_no_block_and_may_be_asked_again() {
    let out = tempfile::tempdir().unwrap();
    let config = TsdbConfig { sync_every: None, ..TsdbConfig::new("/data") };
    let (empty, _) = Tsdb::open(config, Arc::new(FakeDisk::default())).unwrap();
    let done = run(&empty, options(&out)).unwrap();
    assert_eq!((done.windows, done.range), (0, None));
    let (db, want) = store();
    run(&db, options(&out)).unwrap();
    assert_same(&exported(&options(&out)), &want);
}
