//! The corpus begins with what the encoders write; `FUZZ_SEEDS=1` writes it anew after a change of a format.

use super::*;
use crate::{
    log::HEADER,
    pack,
    prometheus::{BlockOptions, BlockWriter, Ulid},
    record::FRAME,
};
use model::{Append, Batch, Entry, Histogram, Labels, SeriesRef, Span, Value};
use std::{collections::BTreeMap, fs, path::PathBuf};

const MINUTE: i64 = 60_000;

/// A store that held one sample of every kind, and what it wrote.
fn files() -> Vec<(PathBuf, Vec<u8>)> {
    let disk = FakeDisk::default();
    let config = TsdbConfig { sync_every: None, checkpoint_bytes: 1, ..TsdbConfig::new("/data") };
    let (db, _) = Tsdb::open(config, Arc::new(disk.clone())).expect("opens");
    let label = |i: u32| {
        Labels::from_pairs([
            ("__name__".to_owned(), format!("m{}", i % 3)),
            ("instance".to_owned(), i.to_string()),
        ])
    };
    let series: Vec<SeriesRef> = (0..6).map(|i| db.resolve(&label(i)).expect("resolves")).collect();
    let histogram = Histogram {
        schema: 2,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 7.0,
        sum: 12.5,
        positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 3, length: 1 }],
        positive: vec![1.0, 2.0, 3.0],
        ..Histogram::default()
    };
    let mut out = Vec::new();
    for step in 0..150i64 {
        let mut batch = Batch::at(step * MINUTE + 17);
        for (i, s) in (0u32..).zip(&series[..4]) {
            // A counter, a gauge that stays, one with fractions, and one that comes and goes.
            let v = [step as f64 * 3.0, 42.0, (step as f64).sin(), f64::from(i)][i as usize];
            if i != 3 || step % 7 != 0 {
                batch.push(*s, v);
            }
        }
        let entry = |series, start, value| Entry { series, at: None, start, value };
        batch.entries.push(entry(series[4], None, Value::Histogram(Arc::new(histogram.clone()))));
        batch.entries.push(entry(series[5], Some(3), Value::Float(step as f64)));
        db.append(&batch).expect("appends");
        if step == 140 {
            db.sync().expect("syncs");
            out.extend(read_files(&disk));
        }
    }
    db.maintain(150 * MINUTE).expect("maintains");
    out.extend(read_files(&disk));
    db.flush().expect("flushes");
    out.extend(read_files(&disk));
    out
}

fn read_files(disk: &FakeDisk) -> Vec<(PathBuf, Vec<u8>)> {
    disk.files().into_iter().map(|(path, _)| (path.clone(), disk.read(&path).expect("reads"))).collect()
}

/// Payloads of the records of a log file.
fn payloads(file: &[u8]) -> Vec<&[u8]> {
    let (mut at, mut out) = (HEADER, Vec::new());
    while let Some(frame) = file.get(at..at + FRAME) {
        let len = u32::from_le_bytes(frame[4..8].try_into().expect("four bytes")) as usize;
        out.push(&file[at + FRAME..at + FRAME + len]);
        at += FRAME + len;
    }
    out
}

/// Each file is one of the things that the entry tries, so nothing is good to all of it.
fn prometheus(bytes: &[u8]) -> bool {
    crate::prometheus::fuzz(bytes);
    true
}

type Entrance = fn(&[u8]) -> bool;

/// Each target with its entry and its first files.
fn seeds() -> Vec<(&'static str, Entrance, Vec<Vec<u8>>)> {
    let files = files();
    let of = |end: &str| -> Vec<Vec<u8>> {
        let named = |p: &PathBuf| p.to_str().is_some_and(|p| p.ends_with(end));
        files.iter().filter(|(path, _)| named(path)).map(|(_, bytes)| bytes.clone()).collect()
    };
    let (logs, checkpoints, blocks) = (of(".log"), of(".checkpoint"), of(".block"));
    // One record of each kind and length, of the log and of a checkpoint.
    let mut records = BTreeMap::new();
    for file in logs.iter().chain(&checkpoints) {
        for payload in payloads(file) {
            records.entry((payload[0], payload.len() / 64)).or_insert(payload.to_vec());
        }
    }
    let whole = |file: &Vec<u8>| {
        let mut out = Vec::new();
        for payload in payloads(file).iter().take(40) {
            out.extend_from_slice(&u16::try_from(payload.len()).expect("a small record").to_le_bytes());
            out.extend_from_slice(payload);
        }
        out
    };
    let (mut rows, mut packs) = (BTreeMap::new(), Vec::new());
    for payload in records.values() {
        if let Ok(Record::Row { written, .. }) = decode(payload)
            && written.form == Form::Packed
        {
            let columns = u16::try_from(written.columns).expect("few columns");
            rows.insert(written.bytes.len(), [&columns.to_le_bytes()[..], &written.bytes].concat());
        }
    }
    let slots = [
        vec![Slot::Number(5); 64],
        (0..50).map(|n| Slot::Number(1000 + n * n)).collect(),
        (0..40).map(|n| if n % 9 == 0 { Slot::Absent } else { Slot::Number(-n) }).collect(),
        vec![
            Slot::Reset(1.5f64.to_bits()),
            Slot::Keep(f64::NAN.to_bits()),
            Slot::Stale,
            Slot::Number(i64::MAX),
        ],
    ];
    for slots in &slots {
        let mut bytes = vec![u8::try_from(slots.len()).expect("a block")];
        pack::put(&mut bytes, slots);
        packs.push(bytes);
    }
    let (mut indexes, mut chunks) = (Vec::new(), Vec::new());
    for bytes in &blocks {
        let path = Path::new("/data/0_1.block");
        let block = Block::open(&disk_with(path, bytes).expect("a disk"), path).expect("opens");
        let index = Arc::new(block.load_index().expect("reads"));
        let mut cursor = Cursor::new(Arc::clone(&index), first_series(&index));
        while let Some((_, place)) = cursor.next().expect("reads") {
            let mut of_series = Vec::new();
            for chunk in block.chunks(place, &mut Window::default()).expect("reads") {
                chunk.put(&mut of_series, 0);
            }
            chunks.push(of_series);
        }
        indexes.push(index.bytes().to_vec());
    }
    for payload in records.values() {
        if let Ok(Record::Chunks(all)) = decode(payload) {
            for (_, chunk) in all {
                let mut bytes = Vec::new();
                chunk.put(&mut bytes, 0);
                chunks.push(bytes);
            }
        }
    }
    vec![
        ("tsdb_pack", pack as Entrance, packs),
        ("tsdb_row", row, rows.into_values().collect()),
        ("tsdb_chunk", chunk, chunks),
        ("tsdb_record", record, records.into_values().collect()),
        ("tsdb_index", index, indexes),
        ("tsdb_block", block, blocks),
        ("tsdb_store", store, logs.iter().chain(&checkpoints).map(whole).filter(|b| !b.is_empty()).collect()),
        ("tsdb_prometheus", prometheus, prometheus_files()),
        ("tsdb_log", log, logs.into_iter().chain(checkpoints).collect()),
    ]
}

/// The files of a block as Prometheus has them.
fn prometheus_files() -> Vec<Vec<u8>> {
    let scratch = tempfile::tempdir().expect("a folder");
    let options = BlockOptions::new(Ulid::new(1_700_000_000_000, 1), 0, 7_200_000);
    let mut writer = BlockWriter::create(scratch.path(), options).expect("begins");
    for i in 0..5 {
        let labels =
            Labels::from_pairs([("__name__".to_owned(), "m".to_owned()), ("i".to_owned(), i.to_string())]);
        let samples = SampleColumns {
            times: (0..130).map(|n| n * 15_000).collect(),
            values: (0..130).map(|n| f64::from(n * i) / 3.0).collect(),
            ..SampleColumns::default()
        };
        writer.series(&labels, &samples).expect("writes");
    }
    let dir = writer.finish().expect("ends").expect("has samples").dir;
    ["index", "chunks/000001", "meta.json"].map(|name| fs::read(dir.join(name)).expect("reads")).to_vec()
}

#[test]
fn what_the_encoders_write_is_good_to_every_entry() {
    #[expect(clippy::disallowed_methods, reason = "the corpus is written only when somebody asks for it")]
    let write = std::env::var("FUZZ_SEEDS").is_ok();
    for (target, entry, mut files) in seeds() {
        files.retain(|bytes| bytes.len() <= 8192);
        files.dedup();
        files.truncate(8);
        assert!(!files.is_empty(), "{target} has no seed");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        for (n, bytes) in files.iter().enumerate() {
            assert!(entry(bytes), "{target}, seed {n} of {} bytes", bytes.len());
            if write {
                fs::create_dir_all(&folder).expect("a folder");
                fs::write(folder.join(format!("seed-{n}")), bytes).expect("writes");
            }
        }
    }
}
