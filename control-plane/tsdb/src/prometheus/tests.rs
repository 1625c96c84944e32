//! Writer and reader together: what is written comes back; what is damaged is an error or the right answer.

pub(super) mod random;

use super::*;
use model::{CounterReset, Histogram, Labels, SampleColumns, Timestamp, Value};
use proptest::prelude::*;
use random::{HOUR, Random, assert_same, random_series};
use std::{fs, path::Path};

pub(super) type Series = Vec<(Labels, SampleColumns)>;

pub(super) fn ulid(n: u128) -> Ulid {
    Ulid::new(1_700_000_000_000, n)
}

/// Writes a block of two hours from time 0.
pub(super) fn write(out: &Path, n: u128, series: &Series) -> Written {
    write_with(out, BlockOptions::new(ulid(n), 0, 2 * HOUR), series)
}

pub(super) fn write_with(out: &Path, options: BlockOptions, series: &Series) -> Written {
    let mut writer = BlockWriter::create(out, options).unwrap();
    for (labels, samples) in series {
        writer.series(labels, samples).unwrap();
    }
    writer.finish().unwrap().expect("there are samples")
}

pub(super) fn read(block: &Block, from: Timestamp, to: Timestamp) -> Result<Series, BlockError> {
    let (mut out, mut samples) = (Vec::new(), SampleColumns::default());
    let mut reader = block.series(from, to);
    while let Some(labels) = reader.next(&mut samples)? {
        out.push((labels, samples.clone()));
    }
    Ok(out)
}

fn read_all(dir: &Path) -> Result<Series, BlockError> {
    read(&Block::open(dir)?, i64::MIN, i64::MAX)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(seed in any::<u64>()) {
        let series = random_series(&mut Random(seed), 12);
        let dir = tempfile::tempdir().unwrap();
        let written = write(dir.path(), 1, &series);
        assert_same(&read_all(&written.dir).unwrap(), &series);
        let samples: usize = series.iter().map(|(_, s)| s.len()).sum();
        prop_assert_eq!(written.meta.stats.num_samples, samples as u64);
        prop_assert_eq!(written.meta.stats.num_series, series.len() as u64);
        // A part is the part of the whole.
        let (from, to) = (HOUR / 3, HOUR);
        let block = Block::open(&written.dir).unwrap();
        assert_same(&read(&block, from, to).unwrap(), &random::within(&series, from, to));
    }
}

#[test]
fn segments_are_cut_and_read_together() {
    let series = random_series(&mut Random(7), 40);
    let dir = tempfile::tempdir().unwrap();
    let options = BlockOptions { segment_bytes: Some(600), ..BlockOptions::new(ulid(1), 0, 2 * HOUR) };
    let written = write_with(dir.path(), options, &series);
    let segments: Vec<_> = fs::read_dir(written.dir.join("chunks")).unwrap().collect();
    assert!(segments.len() > 3, "{}", segments.len());
    assert_same(&read_all(&written.dir).unwrap(), &series);
    fs::remove_file(written.dir.join("chunks/000002")).unwrap();
    assert!(matches!(read_all(&written.dir), Err(BlockError::Unsupported { .. })));
}

#[test]
fn a_block_without_samples_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = BlockWriter::create(dir.path(), BlockOptions::new(ulid(1), 0, HOUR)).unwrap();
    writer.series(&Labels::from_pairs([("a", "b")]), &SampleColumns::default()).unwrap();
    assert_eq!(writer.finish().unwrap(), None);
    drop(BlockWriter::create(dir.path(), BlockOptions::new(ulid(2), 0, HOUR)).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_does_not_belong_into_a_block_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = BlockWriter::create(dir.path(), BlockOptions::new(ulid(1), 0, HOUR)).unwrap();
    let labels = |v: &str| Labels::from_pairs([("a", v)]);
    let at = |times: &[i64]| {
        let mut s = SampleColumns::default();
        times.iter().for_each(|t| s.push(*t, Value::Float(1.0), None));
        s
    };
    let mut refused = |l: Labels, s: SampleColumns, why: &str| {
        let error = writer.series(&l, &s).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(labels("b"), at(&[HOUR]), "outside the times");
    refused(labels("b"), at(&[-1]), "outside the times");
    refused(labels("b"), at(&[2, 1]), "do not ascend");
    let mut broken = SampleColumns::default();
    let spans = vec![model::Span { offset: 0, length: 2 }];
    let h = Histogram { positive_spans: spans, positive: vec![1.0], ..Histogram::default() };
    broken.push(1, Value::Histogram(h.into()), None);
    refused(labels("b"), broken, "more or fewer buckets");
    writer.series(&labels("b"), &at(&[1])).unwrap();
    let error = writer.series(&labels("a"), &at(&[1])).unwrap_err().to_string();
    assert!(error.contains("does not come after"), "{error}");
}

#[test]
fn custom_buckets_can_be_left_out_and_start_times_are_counted() {
    let custom = |bounds: &[f64]| Histogram {
        schema: model::histogram::CUSTOM_BUCKETS_SCHEMA,
        count: 3.0,
        sum: 1.5,
        positive_spans: vec![model::Span { offset: 0, length: 3 }],
        positive: vec![1.0, 0.0, 2.0],
        custom_bounds: Some(bounds.into()),
        ..Histogram::default()
    };
    let mut samples = SampleColumns::default();
    samples.push(1, Value::Histogram(custom(&[0.005, 0.1, 1e9, -0.0, f64::MIN_POSITIVE]).into()), None);
    samples.push(2, Value::Float(1.0), Some(1));
    let series = vec![(Labels::from_pairs([("a", "b")]), samples)];
    let dir = tempfile::tempdir().unwrap();
    let kept = write(dir.path(), 1, &series);
    assert_eq!((kept.custom_buckets, kept.custom_buckets_left_out, kept.start_times_left_out), (1, 0, 1));
    let back = read_all(&kept.dir).unwrap();
    let (Value::Histogram(a), Value::Histogram(b)) = (back[0].1.value(0), series[0].1.value(0)) else {
        panic!()
    };
    assert_eq!((&a.custom_bounds, &a.positive), (&b.custom_bounds, &b.positive));
    let options = BlockOptions { skip_custom_buckets: true, ..BlockOptions::new(ulid(2), 0, HOUR) };
    let skipped = write_with(dir.path(), options, &series);
    assert_eq!((skipped.custom_buckets, skipped.custom_buckets_left_out), (0, 1));
    assert_eq!(read_all(&skipped.dir).unwrap()[0].1.times, [2]);
}

#[test]
fn deletions_are_honoured() {
    let mut samples = SampleColumns::default();
    (0..500).for_each(|i| samples.push(i * 1000, Value::Float(0.5), None));
    let name = |n: &str| Labels::from_pairs([("__name__", n)]);
    let series = vec![(name("a"), samples.clone()), (name("b"), samples)];
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), 1, &series);
    // The number of series `b`, by its place in the index.
    let index = fs::read(written.dir.join("index")).unwrap();
    let file = file::File::memory(index, false);
    let open = index::Index::open(file.clone()).unwrap();
    let b = open.entry(&mut file::Window::new(file), 1).unwrap().unwrap().id;
    let mut stones = Vec::new();
    for (from, to) in [(10_000i64, 20_000i64), (400_000, i64::MAX)] {
        crate::bytes::put_uvarint(&mut stones, b);
        crate::bytes::put_ivarint(&mut stones, from);
        crate::bytes::put_ivarint(&mut stones, to);
    }
    let mut bytes = 0x0130_BA30u32.to_be_bytes().to_vec();
    bytes.push(1);
    bytes.extend_from_slice(&stones);
    bytes.extend_from_slice(&crc::crc32c(&stones).to_be_bytes());
    fs::write(written.dir.join("tombstones"), bytes).unwrap();
    let got = read_all(&written.dir).unwrap();
    assert_eq!((got[0].1.len(), got[1].1.len()), (500, 400 - 11));
    assert!(!got[1].1.times.iter().any(|t| (10_000..=20_000).contains(t)));
    fs::remove_file(written.dir.join("tombstones")).unwrap();
    assert_eq!(read_all(&written.dir).unwrap()[1].1.len(), 500);
}

#[test]
fn a_reset_and_a_gauge_are_told_by_the_chunks() {
    let h = |count: f64, reset| Histogram {
        reset,
        count,
        positive_spans: vec![model::Span { offset: 1, length: 1 }],
        positive: vec![count],
        ..Histogram::default()
    };
    use CounterReset::{Gauge, NotReset, Reset, Unknown};
    let mut samples = SampleColumns::default();
    let given = [
        (5.0, Unknown),
        (6.0, Unknown),
        (4.0, Unknown),
        (7.0, Reset),
        (8.0, NotReset),
        (9.0, Gauge),
        (1.0, Gauge),
    ];
    for (t, (count, reset)) in (0..).zip(given) {
        samples.push(t, Value::Histogram(h(count, reset).into()), None);
    }
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), 1, &vec![(Labels::from_pairs([("a", "b")]), samples)]);
    assert_eq!(written.meta.stats.num_chunks, 4);
    let back = read_all(&written.dir).unwrap();
    let resets: Vec<CounterReset> = back[0].1.histograms.iter().map(|(_, h)| h.reset).collect();
    assert_eq!(resets, [Unknown, NotReset, Reset, Reset, NotReset, Gauge, Gauge]);
}

/// The index of a block in version 1: symbols and series are named by their places, nothing is aligned, and the list
/// of all series is not the first.
fn to_version_1(written: &Written, series: &Series) -> Vec<u8> {
    use crate::bytes::{put_str, put_uvarint};
    let frame = |out: &mut Vec<u8>, payload: &[u8]| {
        let at = out.len() as u64;
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        out.extend_from_slice(payload);
        out.extend_from_slice(&crc::crc32c(payload).to_be_bytes());
        at
    };
    let count = |n: usize| u32::try_from(n).unwrap().to_be_bytes().to_vec();
    let mut out = index::MAGIC.to_be_bytes().to_vec();
    out.push(1);
    let texts: std::collections::BTreeSet<&str> =
        series.iter().flat_map(|(l, _)| l.iter()).flat_map(|l| [&*l.name, &*l.value]).collect();
    let mut symbols = count(texts.len());
    let mut places = std::collections::HashMap::new();
    for text in texts {
        places.insert(text, (out.len() + 4 + symbols.len()) as u64);
        put_str(&mut symbols, text);
    }
    let symbols_at = frame(&mut out, &symbols);
    // Chunks stay where they are: what follows the labels is copied from version 2.
    let file = file::File::open(&written.dir.join("index")).unwrap();
    let good = index::Index::open(file.clone()).unwrap();
    let mut window = file::Window::new(file);
    let series_at = out.len() as u64;
    let mut all = count(series.len());
    for (n, (labels, _)) in series.iter().enumerate() {
        let entry = good.entry(&mut window, n).unwrap().unwrap();
        let mut payload = Vec::new();
        put_uvarint(&mut payload, labels.len() as u64);
        for l in labels {
            put_uvarint(&mut payload, places[&*l.name]);
            put_uvarint(&mut payload, places[&*l.value]);
        }
        put_uvarint(&mut payload, entry.chunks.len() as u64);
        for (i, c) in entry.chunks.iter().enumerate() {
            match i.checked_sub(1).map(|b| entry.chunks[b]) {
                None => crate::bytes::put_ivarint(&mut payload, c.min),
                Some(b) => put_uvarint(&mut payload, (c.min - b.max).cast_unsigned()),
            }
            put_uvarint(&mut payload, (c.max - c.min).cast_unsigned());
            match i.checked_sub(1).map(|b| entry.chunks[b]) {
                None => put_uvarint(&mut payload, c.place),
                Some(b) => crate::bytes::put_ivarint(&mut payload, (c.place - b.place).cast_signed()),
            }
        }
        all.extend(count(out.len()));
        put_uvarint(&mut out, payload.len() as u64);
        out.extend_from_slice(&payload);
        out.extend_from_slice(&crc::crc32c(&payload).to_be_bytes());
    }
    let all_at = frame(&mut out, &all);
    let mut table = count(2);
    for (name, value) in [("z", "z"), ("", "")] {
        table.push(2);
        put_str(&mut table, name);
        put_str(&mut table, value);
        put_uvarint(&mut table, all_at);
    }
    let table_at = frame(&mut out, &table);
    let toc: Vec<u8> =
        [symbols_at, series_at, 0, 0, all_at, table_at].iter().flat_map(|p| p.to_be_bytes()).collect();
    out.extend_from_slice(&toc);
    out.extend_from_slice(&crc::crc32c(&toc).to_be_bytes());
    out
}

#[test]
fn an_index_of_version_1_is_read_and_one_of_version_3_is_named() {
    let series = random_series(&mut Random(5), 20);
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), 1, &series);
    let mut old = to_version_1(&written, &series);
    fs::write(written.dir.join("index"), &old).unwrap();
    assert_same(&read_all(&written.dir).unwrap(), &series);
    old[4] = 3;
    fs::write(written.dir.join("index"), &old).unwrap();
    let error = read_all(&written.dir).unwrap_err().to_string();
    assert!(error.contains("version 3 of the index is not known"), "{error}");
}

#[test]
fn a_folder_is_a_block_a_snapshot_or_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let none = Directory::open(path).unwrap_err().to_string();
    assert!(none.contains("no Prometheus block"), "{none}");
    fs::create_dir(path.join("wal")).unwrap();
    let young = Directory::open(path).unwrap_err().to_string();
    assert!(young.contains("take a snapshot"), "{young}");
    let series = random_series(&mut Random(1), 2);
    let blocks: Vec<Written> = (1..=3).map(|n| write(path, n, &series)).collect();
    // Block 3 was made of block 1; an unfinished one, and one being deleted, are none.
    let mut meta = blocks[2].meta.clone();
    meta.compaction.parents = vec![Parent { ulid: ulid(1), min_time: 0, max_time: 1 }];
    fs::write(blocks[2].dir.join("meta.json"), serde_json::to_vec(&meta).unwrap()).unwrap();
    fs::create_dir(path.join(format!("{}.tmp-for-creation", ulid(8)))).unwrap();
    fs::create_dir(path.join(ulid(9).to_string())).unwrap();
    let found = Directory::open(path).unwrap();
    let names: Vec<Ulid> = found.blocks.iter().map(|b| b.meta.ulid).collect();
    assert_eq!((found.kind, names), (Kind::Data, vec![ulid(2), ulid(3)]));
    fs::remove_dir(path.join("wal")).unwrap();
    assert_eq!(Directory::open(path).unwrap().kind, Kind::Snapshot);
    let one = Directory::open(&blocks[0].dir).unwrap();
    assert_eq!((one.kind, one.blocks.len()), (Kind::Block, 1));
    for bad in
        ["{}", "not JSON", r#"{"ulid":"01ARYZ6S410000000000000000","minTime":5,"maxTime":5,"version":1}"#]
    {
        fs::write(blocks[0].dir.join("meta.json"), bad).unwrap();
        let error = Directory::open(path).unwrap_err().to_string();
        assert!(error.contains("meta.json: "), "{error}");
    }
}

/// Files of a small block that has everything.
fn specimen(dir: &Path) -> (Written, Series) {
    let series = random_series(&mut Random(3), 5);
    (write(dir, 1, &series), series)
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_or_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (written, series) = specimen(dir.path());
    let mut errors = 0;
    for name in ["index", "chunks/000001", "tombstones"] {
        let path = written.dir.join(name);
        let good = fs::read(&path).unwrap();
        // Every byte of small files, some thousand of large ones; the bit changes with the place.
        let step = good.len().div_ceil(3000).max(1);
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            match read_all(&written.dir) {
                Ok(got) => assert_same(&got, &series),
                Err(BlockError::Damaged { path: named, at, .. }) => {
                    errors += 1;
                    assert!(named.starts_with(&written.dir) && at <= bad.len() as u64);
                }
                Err(BlockError::Unsupported { .. }) => errors += 1,
                Err(other) => panic!("{name} at {at}: {other}"),
            }
        }
        for len in (0..good.len()).step_by(step * 7) {
            fs::write(&path, &good[..len]).unwrap();
            if let Ok(got) = read_all(&written.dir) {
                assert_same(&got, &series);
            }
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(errors > 1000, "only {errors}");
    assert_same(&read_all(&written.dir).unwrap(), &series);
}

#[test]
fn no_bytes_make_the_readers_panic() {
    let dir = tempfile::tempdir().unwrap();
    let (written, _) = specimen(dir.path());
    let mut random = Random(11);
    for name in ["index", "chunks/000001", "tombstones", "meta.json"] {
        let good = fs::read(written.dir.join(name)).unwrap();
        fuzz(&good);
        let good = &good[..good.len().min(3000)];
        for _ in 0..150 {
            let mut bad = good.to_vec();
            for _ in 0..=random.below(8) {
                let at = random.index(bad.len());
                match random.below(4) {
                    0 => bad[at] = random.byte(),
                    1 => bad[at] = 0xff,
                    2 => bad.truncate(at.max(1)),
                    _ => bad[at] ^= 1 << random.below(8),
                }
            }
            fuzz(&bad);
        }
    }
    for len in 0..200 {
        let bytes: Vec<u8> = (0..len).map(|_| random.byte()).collect();
        fuzz(&bytes);
    }
}

#[test]
fn ulids_sort_by_time_and_come_back() {
    let check = |at: i64, chance: u128, text: &str| {
        let ulid = Ulid::new(at, chance);
        assert_eq!(ulid.to_string(), text);
        assert_eq!(Ulid::parse(text), Some(ulid));
    };
    check(0, 0, "00000000000000000000000000");
    check(1_469_918_176_385, 0, "01ARYZ6S410000000000000000");
    check(0xffff_ffff_ffff, u128::MAX, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    for bad in
        ["", "01ARYZ6S41000000000000000", "01ARYZ6S41000000000000000U", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "wal"]
    {
        assert_eq!(Ulid::parse(bad), None, "{bad}");
    }
    assert!(Ulid::new(2, 0) > Ulid::new(1, u128::MAX));
}
