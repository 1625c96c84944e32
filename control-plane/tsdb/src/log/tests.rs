use super::*;
use crate::{disk::fake::FakeDisk, record::Record, store::OpenError};
use proptest::prelude::*;

fn dir() -> PathBuf {
    PathBuf::from("/log")
}

fn log(disk: &FakeDisk, segment_bytes: u64) -> Log {
    let replayed = replay(disk, &dir(), |_| {}).unwrap();
    Log::after(Arc::new(disk.clone()), dir(), &replayed, segment_bytes, 1 << 20)
}

fn put(log: &Log, at: i64) {
    record::put_samples(log.begin().unwrap().records(), at, &[1], &[at as f64]);
}

fn times(disk: &FakeDisk) -> (Vec<i64>, Replayed) {
    let mut out = Vec::new();
    let replayed = replay(disk, &dir(), |r| match r {
        Record::Samples { at, .. } => out.push(at),
        other => panic!("{other:?}"),
    });
    (out, replayed.unwrap())
}

/// Five records, each synced, in segments of one or of five.
fn five(disk: &FakeDisk, segment_bytes: u64) {
    let log = log(disk, segment_bytes);
    for at in 1..=5 {
        put(&log, at);
        log.sync().unwrap();
    }
    log.close().unwrap();
}

#[test]
fn records_come_back_in_order_from_one_segment_or_many() {
    for (segment_bytes, files) in [(1 << 20, 1), (1, 5)] {
        let disk = FakeDisk::default();
        five(&disk, segment_bytes);
        assert_eq!(disk.files().len(), files);
        assert_eq!(times(&disk).0, [1, 2, 3, 4, 5]);
    }
}

#[test]
fn a_torn_tail_is_cut_once_and_reported() {
    let disk = FakeDisk::default();
    five(&disk, 1 << 20);
    let path = segment_path(&dir(), 1);
    disk.damage(&path, |b| b.truncate(b.len() - 3));
    let (got, replayed) = times(&disk);
    assert_eq!(got, [1, 2, 3, 4]);
    assert!(replayed.torn_bytes > 0 && replayed.damage.is_empty());
    let (got, replayed) = times(&disk);
    assert_eq!((got.len(), replayed.torn_bytes), (4, 0));
}

#[test]
fn damage_in_the_middle_costs_what_it_hit() {
    let disk = FakeDisk::default();
    five(&disk, 1 << 20);
    let path = segment_path(&dir(), 1);
    disk.damage(&path, |b| {
        let middle = HEADER + (b.len() - HEADER) / 2;
        b[middle] ^= 0x10;
    });
    let (got, replayed) = times(&disk);
    assert_eq!(got, [1, 2, 4, 5]);
    assert_eq!((replayed.damage.len(), replayed.torn_bytes), (1, 0));
}

#[test]
fn a_damaged_header_hides_no_record() {
    let disk = FakeDisk::default();
    five(&disk, 1 << 20);
    disk.damage(&segment_path(&dir(), 1), |b| b[3] = 0);
    let (got, replayed) = times(&disk);
    assert_eq!((got.len(), replayed.damage.len()), (5, 1));
}

#[test]
fn a_newer_log_is_refused_with_a_sentence() {
    let disk = FakeDisk::default();
    five(&disk, 1 << 20);
    disk.damage(&segment_path(&dir(), 1), |b| {
        b[8] = 7;
        let crc = crc32fast::hash(&b[..12]);
        b[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let error = replay(&disk, &dir(), |_| {}).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 7, supported: 2, .. }));
    assert!(error.to_string().contains("was written by a newer Vigie"), "{error}");
}

#[test]
fn a_failed_sync_ends_writing_until_the_log_is_opened_again() {
    let disk = FakeDisk::default();
    let first = log(&disk, 1 << 20);
    put(&first, 1);
    disk.fail_syncs(1);
    assert!(matches!(first.sync(), Err(AppendError::Io(_))));
    assert!(matches!(first.begin().map(drop), Err(AppendError::Poisoned)));
    assert!(matches!(first.sync(), Err(AppendError::Poisoned)));
    let second = log(&disk, 1 << 20);
    put(&second, 2);
    second.sync().unwrap();
}

#[test]
fn a_full_device_keeps_what_waits_and_goes_on_when_there_is_room() {
    let disk = FakeDisk::default();
    let log = log(&disk, 1 << 20);
    put(&log, 1);
    log.sync().unwrap();
    disk.set_room(Some(5));
    put(&log, 2);
    assert!(matches!(log.sync(), Err(AppendError::Io(e)) if e.kind() == io::ErrorKind::StorageFull));
    put(&log, 3);
    assert!(log.sync().is_err());
    disk.set_room(None);
    log.sync().unwrap();
    put(&log, 4);
    log.sync().unwrap();
    assert_eq!(times(&disk).0, [1, 2, 3, 4]);
}

#[test]
fn what_waits_is_bounded() {
    let disk = FakeDisk::default();
    let log = log(&disk, 1 << 20);
    disk.set_room(Some(0));
    let mut n = 0;
    while let Ok(mut buffer) = log.begin() {
        record::put_samples(buffer.records(), n, &[1; 1000], &[0.1; 1000]);
        n += 1;
        assert!(n < 10_000, "it grows without end");
    }
    drop(log.sync());
    assert!(
        matches!(log.begin().map(drop), Err(AppendError::Io(e)) if e.kind() == io::ErrorKind::StorageFull)
    );
}

proptest! {
    #[test]
    fn any_bytes_as_a_segment_are_read_or_skipped(bytes: Vec<u8>, with_header: bool, parts in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..10)) {
        let disk = FakeDisk::default();
        let mut all = if with_header { header(LOG_MAGIC) } else { Vec::new() };
        all.extend(&bytes);
        for (kind, payload) in parts {
            let mut body = vec![kind % 6];
            body.extend(payload);
            let len = u32::try_from(body.len()).unwrap();
            all.extend(record::MARKER);
            put_u32(&mut all, len);
            put_u32(&mut all, record::checksum(len, &body));
            all.extend(body);
        }
        disk.create(&segment_path(&dir(), 1)).unwrap().append(&all).unwrap();
        let outcome = replay(&disk, &dir(), |_| {});
        prop_assert!(outcome.is_ok());
    }
}
