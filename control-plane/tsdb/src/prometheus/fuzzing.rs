//! One entry for fuzzing: every reader of a block on bytes that may be anything.

use super::{
    block::{CHUNKS_HEADER, open_segment, read_chunk},
    chunk::{self, Taker},
    file::{File, Window},
    index::{ChunkMeta, Index, Names},
    meta::Meta,
    tombstones::Tombstones,
};
use model::{SampleColumns, Timestamp};
use std::path::Path;

/// Series and chunks that are looked at.
const MOST: usize = 4096;
const ALWAYS: (Timestamp, Timestamp) = (Timestamp::MIN, Timestamp::MAX);

/// Reads `bytes` as an index, a segment of chunks, deletions, a description, and a chunk of each encoding. That it
/// returns, in little time and memory, is all that it shows. Checksums are ignored in a second pass, so that what
/// is behind them is reached too.
pub fn fuzz(bytes: &[u8]) {
    for trusted in [false, true] {
        let file = File::memory(bytes.to_vec(), trusted);
        read_index(file.clone());
        read_segment(file.clone());
        drop(Tombstones::read(&file));
    }
    drop(Meta::parse(Path::new("memory"), bytes));
    for encoding in 0..=6 {
        let mut into = SampleColumns::default();
        drop(chunk::decode(encoding, bytes, &mut taker(&mut into)));
    }
}

fn taker(into: &mut SampleColumns) -> Taker<'_> {
    Taker { into, wanted: ALWAYS, claimed: ALWAYS, deleted: &[], last: None, buckets: 0 }
}

fn read_index(file: File) {
    let Ok(index) = Index::open(file.clone()) else { return };
    let (mut window, mut names) = (Window::new(file), Names::default());
    for n in 0..index.len().min(MOST) {
        if let Ok(Some(entry)) = index.entry(&mut window, n) {
            drop(index.labels(&entry, &mut names));
        }
    }
}

fn read_segment(file: File) {
    let Ok(file) = open_segment(file) else { return };
    let segments = [file];
    let mut open = None;
    // At every place, because a damaged index may name any.
    for at in (CHUNKS_HEADER..segments[0].len).take(MOST) {
        let mut into = SampleColumns::default();
        let meta = ChunkMeta { min: ALWAYS.0, max: ALWAYS.1, place: at };
        let nowhere = || segments[0].damaged(at, "nowhere");
        drop(read_chunk(&segments, &mut open, &meta, taker(&mut into), nowhere));
    }
}
