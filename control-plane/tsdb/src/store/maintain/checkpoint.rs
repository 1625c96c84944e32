//! Checkpoints: the head written down, so that the log before is not needed any more.

use crate::{
    disk::{Appender, Disk},
    head::{Head, LoggedRow, Shared, Snapshot},
    log::{LOG_MAGIC, header, publish},
    record,
    row::{Form, Written},
};
use model::Timestamp;
use std::{io, path::Path, sync::Arc};

/// Bytes that are gathered before they become a record.
const RECORD: usize = 256 << 10;
/// Series that one record names.
const NAMES: usize = 4096;

/// The head at one moment.
#[derive(Debug)]
pub(super) struct State {
    next_id: u64,
    min_valid: Timestamp,
    series: Snapshot,
    groups: Vec<(u32, Vec<u64>, Arc<Shared>)>,
}

impl State {
    pub(super) fn of(head: &Head) -> State {
        State {
            next_id: head.next_id(),
            min_valid: head.min_valid,
            series: head.snapshot(None),
            groups: head.groups().collect(),
        }
    }
}

/// Writes a checkpoint and returns how long it is.
pub(super) fn write(disk: &dyn Disk, path: &Path, state: &State) -> io::Result<u64> {
    let tmp = path.with_extension("tmp");
    let outcome = disk.create(&tmp).and_then(|file| put(file, state));
    if outcome.is_err() {
        // It may be what fills the device; the error that counts is the first.
        drop(disk.remove(&tmp));
    }
    let bytes = outcome?;
    publish(disk, &tmp, path)?;
    Ok(bytes)
}

struct Sink {
    file: Box<dyn Appender>,
    out: Vec<u8>,
    bytes: u64,
}

impl Sink {
    fn flush(&mut self) -> io::Result<()> {
        self.bytes += self.out.len() as u64;
        self.file.append(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn flush_if_large(&mut self) -> io::Result<()> {
        if self.out.len() >= RECORD { self.flush() } else { Ok(()) }
    }
}

fn put(file: Box<dyn Appender>, state: &State) -> io::Result<u64> {
    let mut sink = Sink { file, out: header(LOG_MAGIC), bytes: 0 };
    record::put_mark(&mut sink.out, state.next_id, state.min_valid);
    let mut names = Vec::new();
    for (id, labels, _) in state.series.iter() {
        names.push((id, labels));
        if names.len() >= NAMES {
            record::put_series(&mut sink.out, &names);
            names.clear();
            sink.flush_if_large()?;
        }
    }
    if !names.is_empty() {
        record::put_series(&mut sink.out, &names);
    }
    put_own(&mut sink, state)?;
    // Whoever is in a group has joined it last.
    for (group, columns, shared) in &state.groups {
        put_group(&mut sink, *group, columns, shared)?;
    }
    sink.flush()?;
    sink.file.sync()?;
    Ok(sink.bytes)
}

/// What series have for themselves.
fn put_own(sink: &mut Sink, state: &State) -> io::Result<()> {
    let (mut encoded, mut count) = (Vec::new(), 0);
    let mut late = Vec::new();
    for (id, _, held) in state.series.series() {
        let Some(own) = &held.own else { continue };
        let mut put = |chunk: &crate::chunk::Chunk| {
            crate::bytes::put_uvarint(&mut encoded, id);
            chunk.put(&mut encoded, 0);
            count += 1;
        };
        for (matrix, column) in &own.past {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            // A column that does not decode is lost alone; reading it says so.
            let read = matrix.column(*column as usize, |at, v| {
                times.push(at);
                values.push(v);
            });
            if read.is_ok() && !times.is_empty() {
                put(&crate::chunk::Chunk::pack(&times, &values));
            }
        }
        own.sealed.iter().for_each(|c| put(c));
        own.open.iter().for_each(|c| put(&c.seal()));
        late.extend(own.late.iter().cloned());
        if encoded.len() >= RECORD {
            record::put_chunks(&mut sink.out, count, &encoded);
            encoded.clear();
            count = 0;
            sink.flush()?;
        }
        if late.len() >= NAMES {
            record::put_entries(&mut sink.out, &late);
            late.clear();
        }
    }
    if count > 0 {
        record::put_chunks(&mut sink.out, count, &encoded);
    }
    if !late.is_empty() {
        record::put_entries(&mut sink.out, &late);
    }
    sink.flush_if_large()
}

fn put_group(sink: &mut Sink, group: u32, columns: &[u64], shared: &Shared) -> io::Result<()> {
    for sealed in shared.sealed.chunks(record::MAX_SEALED) {
        record::put_group(&mut sink.out, group, columns, sealed);
        sink.flush_if_large()?;
    }
    let mut before = 0;
    for (place, row) in shared.rows.iter().enumerate() {
        let added = columns.get(before..row.columns()).unwrap_or_default().to_vec();
        before = row.columns();
        let (at, columns, bytes) = (row.at, row.columns(), row.bytes().to_vec());
        let written = Written { at, place, columns, form: Form::Packed, bytes };
        let logged = LoggedRow { group, added, written };
        record::put_row(&mut sink.out, &logged);
        sink.flush_if_large()?;
    }
    Ok(())
}
