//! Entries for fuzzing: each reader of the store's own bytes, on bytes that may be anything.
//!
//! That an entry returns, in little time and memory, is what it shows. It tells whether the bytes were good to their
//! end, so that a corpus can be held to be one. Checksums stand before most readers and would stop nearly every
//! change, so the entries begin behind them.

use crate::{
    block::{Block, BlockIndex, Cursor, Window},
    bytes::Reader,
    chunk::Chunk,
    disk::{Disk, fake::FakeDisk},
    log::{LOG_MAGIC, header, replay, segment_path},
    pack::{BLOCK, Packed, Slot},
    postings::Index,
    record::{MARKER, Record, checksum, decode},
    row::{Form, Reading, Row, Written},
    store::{Tsdb, TsdbConfig},
};
use model::{SampleColumns, Select, SelectRequest, Timestamp};
use std::{io, path::Path, sync::Arc};

/// Series of an index that are looked at.
const MOST: usize = 4096;

/// A block of packed numbers; the first byte is how many there are.
pub fn pack(bytes: &[u8]) -> bool {
    let Some((&count, bytes)) = bytes.split_first() else { return false };
    let count = usize::from(count).min(BLOCK);
    let Ok(packed) = Packed::read(bytes, count) else { return false };
    let mut slots = [Slot::Absent; BLOCK];
    let good = packed.all(&mut slots[..count]).is_ok();
    for (i, slot) in slots[..count].iter().enumerate() {
        let one = packed.get(i);
        assert!(!good || one.is_ok_and(|one| one == *slot), "place {i}: {one:?} is not {slot:?}");
    }
    good
}

/// A row; the first two bytes are how many columns it has.
pub fn row(bytes: &[u8]) -> bool {
    let Some((&columns, bytes)) = bytes.split_first_chunk() else { return false };
    Row::read(0, usize::from(u16::from_le_bytes(columns)), bytes).is_ok_and(|row| read_row(&row))
}

/// Chunks behind each other.
pub fn chunk(bytes: &[u8]) -> bool {
    let mut r = Reader::new(bytes, "chunk");
    while !r.is_empty() {
        if !Chunk::get(&mut r, 0).is_ok_and(|chunk| read_chunk(&chunk)) {
            return false;
        }
    }
    true
}

/// A record of the log, behind its checksum.
pub fn record(bytes: &[u8]) -> bool {
    decode(bytes).is_ok_and(|record| read_record(&record))
}

/// The index of a block, behind its checksum.
pub fn index(bytes: &[u8]) -> bool {
    let Ok(index) = BlockIndex::parse(bytes.to_vec(), "memory".to_owned()) else { return false };
    let index = Arc::new(index);
    let mut good = true;
    for name in ["__name__", "instance", "le", "nowhere"] {
        good &= index.values(name).is_ok() && index.postings(name, "a").is_ok();
    }
    let mut cursor = Cursor::new(Arc::clone(&index), first_series(&index));
    loop {
        match cursor.next() {
            Ok(Some(_)) => {}
            Ok(None) => return good,
            Err(_) => good = false,
        }
    }
}

/// A whole block file.
pub fn block(bytes: &[u8]) -> bool {
    let path = Path::new("/data/0_1.block");
    disk_with(path, bytes).is_ok_and(|disk| read_block(&disk, path).unwrap_or(false))
}

/// A whole segment of the log.
pub fn log(bytes: &[u8]) -> bool {
    let dir = Path::new("/data/log");
    let Ok(disk) = disk_with(&segment_path(dir, 1), bytes) else { return false };
    let mut good = true;
    let replayed = replay(&disk, dir, |record| good &= read_record(&record));
    good && replayed.is_ok_and(|r| r.damage.is_empty() && r.torn_bytes == 0)
}

/// Records that a store opens with, and then makes blocks of; each stands behind its length in two bytes.
pub fn store(bytes: &[u8]) -> bool {
    open_store(bytes).unwrap_or(false)
}

fn open_store(mut bytes: &[u8]) -> Option<bool> {
    let mut log = header(LOG_MAGIC);
    while let Some((len, rest)) = bytes.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (payload, rest) = rest.split_at(len);
        let len = u32::try_from(len).ok()?;
        log.extend_from_slice(&MARKER);
        log.extend_from_slice(&len.to_le_bytes());
        log.extend_from_slice(&checksum(len, payload).to_le_bytes());
        log.extend_from_slice(payload);
        bytes = rest;
    }
    let config = TsdbConfig { sync_every: None, ..TsdbConfig::new("/data") };
    let disk = disk_with(&segment_path(&config.dir.join("log"), 1), &log).ok()?;
    let (db, report) = Tsdb::open(config, Arc::new(disk)).ok()?;
    read_store(&db)?;
    db.flush().ok()?;
    // How many samples it has is not compared: records that contradict each other, such as two columns of one series,
    // are one series in a block.
    read_store(&db)?;
    Some(report.damage.is_empty())
}

fn read_store(db: &Tsdb) -> Option<()> {
    let mut stream = db.select(&SelectRequest::new(&[], Timestamp::MIN, Timestamp::MAX)).ok()?;
    let mut columns = SampleColumns::default();
    while stream.next(&mut columns).ok()?.is_some() {}
    Some(())
}

fn disk_with(path: &Path, bytes: &[u8]) -> io::Result<FakeDisk> {
    let disk = FakeDisk::default();
    disk.create(path)?.append(bytes)?;
    Ok(disk)
}

fn first_series(index: &BlockIndex) -> Vec<u64> {
    (0..u64::from(index.series_count())).take(MOST).collect()
}

fn read_block(disk: &FakeDisk, path: &Path) -> Option<bool> {
    let block = Block::open(disk, path).ok()?;
    let index = Arc::new(block.load_index().ok()?);
    let mut cursor = Cursor::new(Arc::clone(&index), first_series(&index));
    let (mut window, mut good) = (Window::default(), true);
    while let Some((_, place)) = cursor.next().ok()? {
        good &= block.chunks(place, &mut window).is_ok_and(|all| all.iter().all(read_chunk));
    }
    Some(good)
}

fn read_chunk(chunk: &Chunk) -> bool {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let unpacked = chunk.unpack(&mut times, &mut values);
    let mut samples = chunk.samples();
    loop {
        match samples.next() {
            Ok(Some(_)) => {}
            Ok(None) => return unpacked.is_ok(),
            Err(_) => return false,
        }
    }
}

fn read_row(row: &Row) -> bool {
    let (columns, bytes) = (row.columns(), row.bytes().to_vec());
    read_written(&Written { at: row.at, place: 0, columns, form: Form::Packed, bytes })
}

fn read_written(written: &Written) -> bool {
    let mut reading = Reading::default();
    // Twice, because the second one goes on from the first; a told row goes on from whatever guesses there are.
    (0..2).all(|_| reading.next(written, |_, _| ()).is_ok())
}

fn read_record(record: &Record) -> bool {
    match record {
        Record::Chunks(chunks) => chunks.iter().all(|(_, chunk)| read_chunk(chunk)),
        Record::Row { written, .. } => read_written(written),
        Record::Group { columns, sealed, .. } => {
            sealed.iter().all(|m| (0..columns.len().min(MOST)).all(|c| m.column(c, |_, _| ()).is_ok()))
        }
        Record::Series(_) | Record::Samples { .. } | Record::Entries(_) | Record::Mark { .. } => true,
    }
}

#[cfg(test)]
mod tests;
