//! Writing a block.

use super::{BLOCK_MAGIC, Footer, file_name};
use crate::{
    bytes::{put_u32, put_uvarint},
    chunk::OpenChunk,
    disk::{Appender, Disk},
    head::{Piece, Taken},
    log::{header, publish},
};
use model::Timestamp;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the index of a block would pass 4 GiB")
}

fn to_u32(n: usize) -> io::Result<u32> {
    u32::try_from(n).map_err(|_| too_large())
}

/// Writes the samples of `series` from `start` to before `end` and returns the finished file.
pub(crate) fn write(
    disk: &dyn Disk,
    dir: &Path,
    (start, end): (Timestamp, Timestamp),
    mut series: Vec<Taken>,
) -> io::Result<PathBuf> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let path = dir.join(file_name(start, end));
    let tmp = path.with_extension("tmp");
    let outcome = put_block(disk.create(&tmp)?, (start, end), &series);
    if outcome.is_err() {
        // It may be what fills the device; the error that counts is the first.
        drop(disk.remove(&tmp));
    }
    outcome?;
    publish(disk, &tmp, &path)?;
    Ok(path)
}

fn put_block(
    mut file: Box<dyn Appender>,
    (start, end): (Timestamp, Timestamp),
    series: &[Taken],
) -> io::Result<()> {
    let mut buffer = header(BLOCK_MAGIC);
    let mut at = buffer.len() as u64;
    let mut places = Vec::with_capacity(series.len());
    let mut samples = 0;
    for s in series {
        let begin = buffer.len();
        put_u32(&mut buffer, 0);
        samples += put_pieces(&mut buffer, &s.pieces, start, end);
        let crc = crc32fast::hash(&buffer[begin + 4..]);
        buffer[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
        let len = (buffer.len() - begin) as u64;
        places.push((at, len));
        at += len;
        if buffer.len() >= 1 << 20 {
            file.append(&buffer)?;
            buffer.clear();
        }
    }
    file.append(&buffer)?;
    let index = encode_index(series, &places)?;
    let footer = Footer {
        index_at: at,
        index_len: index.len() as u64,
        index_crc: crc32fast::hash(&index),
        start,
        end,
        series: series.len() as u64,
        samples,
    };
    file.append(&index)?;
    let mut tail = Vec::new();
    footer.put(&mut tail);
    file.append(&tail)?;
    file.sync()
}

/// Writes the chunks of a series; returns how many samples they hold.
fn put_pieces(out: &mut Vec<u8>, pieces: &[Piece], start: Timestamp, end: Timestamp) -> u64 {
    let inside = |p: &Piece| {
        let (min, max) = p.range();
        min >= start && max < end
    };
    if pieces.iter().all(inside) {
        for p in pieces {
            p.put(out);
        }
        return pieces.iter().map(|p| u64::from(p.count())).sum();
    }
    // Only after the block range was changed do chunks reach across a border.
    let mut count = 0;
    let mut open: Option<OpenChunk> = None;
    for p in pieces {
        let mut decoder = p.samples();
        while let Ok(Some((at, begun, value))) = decoder.next() {
            if at < start || at >= end {
                continue;
            }
            count += 1;
            match &mut open {
                Some(o) if o.fits(begun, &value) => o.push(at, begun, &value),
                _ => {
                    if let Some(full) = open.replace(OpenChunk::new(at, begun, &value)) {
                        full.put_to(out);
                    }
                }
            }
        }
    }
    if let Some(last) = open {
        last.put_to(out);
    }
    count
}

/// The index; see `index` for the reading side.
fn encode_index(series: &[Taken], places: &[(u64, u64)]) -> io::Result<Vec<u8>> {
    let mut symbols: BTreeMap<&str, u32> = BTreeMap::new();
    for l in series.iter().flat_map(|s| s.labels.iter()) {
        symbols.insert(&l.name, 0);
        symbols.insert(&l.value, 0);
    }
    for (i, number) in symbols.values_mut().enumerate() {
        *number = to_u32(i)?;
    }
    let mut texts = Vec::new();
    let mut text_ends = vec![0];
    for s in symbols.keys() {
        texts.extend_from_slice(s.as_bytes());
        text_ends.push(to_u32(texts.len())?);
    }
    let mut entries = Vec::new();
    let mut entry_ends = vec![0];
    let mut postings: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
    for (i, (s, (at, len))) in series.iter().zip(places).enumerate() {
        put_uvarint(&mut entries, s.labels.len() as u64);
        for l in s.labels.iter() {
            let (name, value) = (symbols[&*l.name], symbols[&*l.value]);
            put_uvarint(&mut entries, u64::from(name));
            put_uvarint(&mut entries, u64::from(value));
            postings.entry((name, value)).or_default().push(to_u32(i)?);
        }
        put_uvarint(&mut entries, *at);
        put_uvarint(&mut entries, *len);
        entry_ends.push(to_u32(entries.len())?);
    }
    let mut names: Vec<[u32; 3]> = Vec::new();
    let mut values: Vec<[u32; 3]> = Vec::new();
    let mut lists = Vec::new();
    for ((name, value), ids) in &postings {
        match names.last_mut() {
            Some(last) if last[0] == *name => last[2] += 1,
            _ => names.push([*name, to_u32(values.len())?, 1]),
        }
        values.push([*value, to_u32(lists.len())?, to_u32(ids.len())?]);
        let mut last = 0;
        for id in ids {
            put_uvarint(&mut lists, u64::from(id - last));
            last = *id;
        }
    }
    let mut out = Vec::new();
    for n in [symbols.len(), series.len(), names.len(), values.len(), texts.len(), entries.len(), lists.len()]
    {
        put_u32(&mut out, to_u32(n)?);
    }
    let tables = text_ends.iter().chain(&entry_ends).chain(names.as_flattened()).chain(values.as_flattened());
    for word in tables {
        put_u32(&mut out, *word);
    }
    for part in [texts, entries, lists] {
        out.extend_from_slice(&part);
    }
    to_u32(out.len())?;
    Ok(out)
}
