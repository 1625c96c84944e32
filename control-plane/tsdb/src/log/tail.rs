//! Following the log: pieces of it from a position on, and positions that are kept.
//!
//! A follower reads the segments themselves, up to what has been synced; he takes no lock that writers wait for.
//! How far he came stands in a file of his own beside the log. Segments that a checkpoint replaced stay while
//! somebody has not read them, and with them the checkpoint before, which names the series that they speak of;
//! up to bounds of bytes and age, beyond which the oldest go and he finds a gap.

use super::{
    HEADER, Header, LOG_MAGIC, Log, checkpoint_path, publish, read_header, replay::Frames, segment_path,
};
use crate::{
    disk::Disk,
    record::{self, FRAME, Record},
    row::{Reading, Written},
    store::OpenError,
};
use model::{
    Batch, Entry, Kept, Labels, Position, SeriesRef, Stretch, Tail, TailBounds, TailError, Timestamp,
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What is held back where nobody said otherwise.
const BOUNDS: TailBounds = TailBounds { bytes: 4 << 30, age: Duration::from_hours(48) };

const SUFFIX: &str = ".keep";

/// Who follows the log, and how far he came.
#[derive(Debug)]
pub(crate) struct Keeps {
    followers: BTreeMap<String, Kept>,
    bounds: TailBounds,
    /// When segments were first seen to have ended.
    ended: BTreeMap<u64, Timestamp>,
}

impl Default for Keeps {
    fn default() -> Self {
        Keeps { followers: BTreeMap::new(), bounds: BOUNDS, ended: BTreeMap::new() }
    }
}

fn keep_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}{SUFFIX}"))
}

/// A name that a file can have.
fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn line(kept: Kept) -> String {
    let under_way = kept.under_way.map_or("-".to_owned(), |p| p.to_string());
    let text = format!("keep {} {under_way}", kept.done);
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

fn read_line(bytes: &[u8]) -> Option<Kept> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.split(' ').skip(1);
    let kept = Kept { done: words.next()?.parse().ok()?, under_way: words.next()?.parse().ok() };
    (line(kept) == text).then_some(kept)
}

impl Keeps {
    /// Reads what followers left. One whose file makes no sense gets everything anew, rather than nothing.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Keeps {
        let mut keeps = Keeps::default();
        for file in disk.list(dir).unwrap_or_default() {
            if let Some(name) = file.strip_suffix(SUFFIX) {
                let kept = disk.read(&dir.join(&file)).ok().and_then(|b| read_line(&b));
                keeps.followers.insert(name.to_owned(), kept.unwrap_or_default());
            }
        }
        keeps
    }

    /// The checkpoint that has to stay, and with it all segments after it: that before the oldest position.
    /// Without followers everything may go that is not in force.
    pub(crate) fn needed(&self, checkpoints: &[u64]) -> u64 {
        let Some(oldest) = self.followers.values().map(|k| k.done.segment).min() else { return u64::MAX };
        checkpoints.iter().copied().filter(|c| *c < oldest).max().unwrap_or(0)
    }
}

fn numbers(names: &[String], suffix: &str) -> Vec<u64> {
    let mut out: Vec<u64> = names.iter().filter_map(|n| n.strip_suffix(suffix)?.parse().ok()).collect();
    out.sort_unstable();
    out
}

impl Log {
    fn keeps(&self) -> MutexGuard<'_, Keeps> {
        self.keeps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The checkpoint that followers need, now that one replaced all segments up to `ended`: it and what comes
    /// after it have to stay. Whoever is too far behind is left behind.
    pub(crate) fn needed(&self, ended: u64, now: Timestamp) -> io::Result<u64> {
        let names = self.disk.list(&self.dir)?;
        let checkpoints = numbers(&names, ".checkpoint");
        let segments: Vec<u64> = numbers(&names, ".log").into_iter().filter(|n| *n <= ended).collect();
        let mut sizes = Vec::new();
        for number in &segments {
            let mut bytes = self.disk.open(&segment_path(&self.dir, *number))?.len()?;
            if *number < ended && checkpoints.contains(number) {
                bytes += self.disk.open(&checkpoint_path(&self.dir, *number))?.len()?;
            }
            sizes.push((*number, bytes));
        }
        let mut keeps = self.keeps();
        keeps.ended.retain(|n, _| segments.contains(n));
        for number in segments {
            keeps.ended.entry(number).or_insert(now);
        }
        let age = i64::try_from(keeps.bounds.age.as_millis()).unwrap_or(i64::MAX);
        let mut held = 0u64;
        let mut floor = 0;
        for (number, bytes) in sizes.iter().rev() {
            held = held.saturating_add(*bytes);
            let old = keeps.ended.get(number).is_some_and(|at| at.saturating_add(age) < now);
            if held > keeps.bounds.bytes || old {
                floor = *number;
                break;
            }
        }
        let needed = keeps.needed(&checkpoints);
        if needed >= floor {
            return Ok(needed);
        }
        // Up to the bounds, and with a checkpoint that names the series of what remains.
        Ok(checkpoints.iter().copied().filter(|c| *c >= floor).min().unwrap_or(ended))
    }

    /// The end of what is synced.
    fn synced(&self) -> Position {
        let files = self.lock_files();
        let offset = if files.current.is_some() { files.safe } else { 0 };
        Position { segment: files.number, offset }
    }
}

/// What later rows of a group are told from.
#[derive(Debug, Clone, Default)]
struct Group {
    columns: Vec<u64>,
    reading: Reading,
    /// The place of the next row.
    next: usize,
}

/// What the records from a position on are told from.
#[derive(Debug, Clone, Default)]
struct Context {
    groups: HashMap<u32, Group>,
}

/// Contexts that are kept, each with where it stands: one for each of some followers.
const CONTEXTS: usize = 8;

/// The log of a store, to be followed.
pub(crate) struct LogTail {
    log: Arc<Log>,
    contexts: Mutex<Vec<(Position, Context)>>,
    labels: Box<dyn Fn(u64) -> Option<Labels> + Send + Sync>,
}

impl fmt::Debug for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogTail").field("dir", &self.log.dir).finish_non_exhaustive()
    }
}

fn failed(what: impl fmt::Display, path: &Path, source: io::Error) -> TailError {
    TailError { what: format!("{what} {} failed", path.display()), source: Some(source) }
}

fn unread(e: OpenError) -> TailError {
    match e {
        OpenError::Io { path, source } => failed("reading", &path, source),
        other => TailError { what: other.to_string(), source: None },
    }
}

impl LogTail {
    pub(crate) fn new(
        log: Arc<Log>,
        labels: impl Fn(u64) -> Option<Labels> + Send + Sync + 'static,
    ) -> LogTail {
        LogTail { log, contexts: Mutex::default(), labels: Box::new(labels) }
    }

    fn names(&self) -> Result<Vec<String>, TailError> {
        self.log.disk.list(&self.log.dir).map_err(|e| failed("listing", &self.log.dir, e))
    }

    /// Where reading goes on, and up to where: in the segment of `from`, or in the next one that is there.
    fn place(&self, from: Position, end: Position) -> Result<Option<(Position, u64)>, TailError> {
        let names = self.names()?;
        for segment in numbers(&names, ".log").into_iter().filter(|n| *n >= from.segment) {
            if segment > end.segment {
                break;
            }
            let len = if segment == end.segment { end.offset } else { self.len(segment)? };
            let offset = if segment == from.segment { from.offset.max(HEADER as u64) } else { HEADER as u64 };
            if offset < len {
                return Ok(Some((Position { segment, offset }, len)));
            }
        }
        Ok(None)
    }

    fn len(&self, segment: u64) -> Result<u64, TailError> {
        let path = segment_path(&self.log.dir, segment);
        let source = self.log.disk.open(&path).and_then(|s| s.len());
        source.map_err(|e| failed("reading", &path, e))
    }

    /// Hands the records of a file to `visit` from an offset on, while it wants more. Returns where it stopped,
    /// and how many bytes could not be read.
    fn records(
        &self,
        path: &Path,
        from: u64,
        to: u64,
        mut visit: impl FnMut(Record, u64) -> bool,
    ) -> Result<(u64, u64), TailError> {
        let mut frames = Frames::open(&*self.log.disk, path).map_err(unread)?;
        // What lies behind is not synced: it may still be cut away.
        frames.len = frames.len.min(to);
        let (mut at, mut damaged) = (from, 0);
        loop {
            if let Some(payload) = frames.frame(at).map_err(unread)? {
                let next = at + (FRAME + payload.len()) as u64;
                let go_on = match record::decode(payload) {
                    Ok(record) => visit(record, next - from),
                    Err(_) => {
                        damaged += next - at;
                        true
                    }
                };
                at = next;
                if !go_on {
                    return Ok((at, damaged));
                }
            } else if at >= frames.len {
                return Ok((at, damaged));
            } else {
                let next = frames.next_frame(at).map_err(unread)?.unwrap_or(frames.len);
                damaged += next - at;
                at = next;
            }
        }
    }
}

impl Context {
    /// Reads a record into a stretch; `false` when it does not follow what was read before.
    fn put(&mut self, record: Record, out: &mut Stretch) -> bool {
        match record {
            Record::Series(series) => out.series.extend(series.into_iter().map(|(id, l)| (SeriesRef(id), l))),
            Record::Samples { at, series, values } => {
                let series = series.into_iter().map(SeriesRef).collect();
                out.batches.push(Batch { at, series, values, entries: Vec::new() });
            }
            Record::Row { group, added, written } => {
                let mut batch = Batch::at(written.at);
                let sound = self.row(group, added, &written, |id, v| batch.push(SeriesRef(id), v));
                if !sound {
                    return false;
                }
                out.batches.push(batch);
            }
            Record::Entries(entries) => {
                let Some(at) = entries.first().map(|e| e.at) else { return true };
                let entry = |e: record::Full| Entry {
                    series: SeriesRef(e.series),
                    at: Some(e.at),
                    start: e.start,
                    value: e.value,
                };
                out.batches
                    .push(Batch { entries: entries.into_iter().map(entry).collect(), ..Batch::at(at) });
            }
            // Of checkpoints, which repeat what segments said.
            Record::Chunks(_) | Record::Group { .. } | Record::Mark { .. } => {}
        }
        true
    }

    fn row(
        &mut self,
        group: u32,
        added: Vec<u64>,
        written: &Written,
        mut take: impl FnMut(u64, f64),
    ) -> bool {
        let group = self.groups.entry(group).or_default();
        if written.place == 0 {
            *group = Group::default();
        }
        group.columns.extend(added);
        if group.next != written.place || group.columns.len() != written.columns {
            // What follows is told from a row that is not there.
            group.next = usize::MAX;
            return false;
        }
        group.next += 1;
        let Group { columns, reading, .. } = &mut *group;
        let read = reading.next(written, |column, v| {
            if let Some(id) = columns.get(column).filter(|id| **id != 0) {
                take(*id, v);
            }
        });
        if read.is_err() {
            group.next = usize::MAX;
        }
        read.is_ok()
    }
}

impl LogTail {
    fn contexts(&self) -> MutexGuard<'_, Vec<(Position, Context)>> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the records from a position on are told from: where somebody stopped reading, or read anew from the
    /// checkpoint before.
    fn context(&self, at: Position) -> Result<Context, TailError> {
        let known = {
            let mut contexts = self.contexts();
            let place = contexts.iter().position(|(position, _)| *position == at);
            place.map(|i| contexts.remove(i).1)
        };
        if let Some(context) = known {
            return Ok(context);
        }
        let mut context = Context::default();
        let mut nothing = Stretch::default();
        self.before(at, &mut |record| {
            context.put(record, &mut nothing);
            nothing = Stretch::default();
            true
        })?;
        Ok(context)
    }

    fn keep_context(&self, at: Position, context: Context) {
        let mut contexts = self.contexts();
        contexts.retain(|(position, _)| *position != at);
        contexts.push((at, context));
        if contexts.len() > CONTEXTS {
            contexts.remove(0);
        }
    }

    /// Hands out the records from the checkpoint before a position up to it, while `visit` wants more of a file.
    fn before(&self, position: Position, visit: &mut dyn FnMut(Record) -> bool) -> Result<(), TailError> {
        let names = self.names()?;
        let before = numbers(&names, ".checkpoint").into_iter().filter(|c| *c < position.segment).max();
        if let Some(number) = before {
            let path = checkpoint_path(&self.log.dir, number);
            self.records(&path, HEADER as u64, u64::MAX, |record, _| visit(record))?;
        }
        for segment in numbers(&names, ".log") {
            if before.is_some_and(|c| segment <= c) || segment > position.segment {
                continue;
            }
            let to = if segment == position.segment { position.offset } else { u64::MAX };
            let path = segment_path(&self.log.dir, segment);
            self.records(&path, HEADER as u64, to, |record, _| visit(record))?;
        }
        Ok(())
    }
}

impl Tail for LogTail {
    fn end(&self) -> Position {
        self.log.synced()
    }

    fn behind(&self, from: Position) -> Result<u64, TailError> {
        let end = self.log.synced();
        let mut bytes = 0;
        for segment in numbers(&self.names()?, ".log").into_iter().filter(|n| *n >= from.segment) {
            let len = match segment.cmp(&end.segment) {
                std::cmp::Ordering::Less => self.len(segment)?,
                std::cmp::Ordering::Equal => end.offset,
                std::cmp::Ordering::Greater => break,
            };
            bytes += len.saturating_sub(if segment == from.segment { from.offset } else { HEADER as u64 });
        }
        Ok(bytes)
    }

    fn read(&self, from: Position, until: Option<Position>, max_bytes: u64) -> Result<Stretch, TailError> {
        let end = self.log.synced();
        let mut out = Stretch { next: from, ..Stretch::default() };
        if from.segment > end.segment {
            // The log was put back to an earlier state: whatever it has now is new.
            (out.gap, out.next) = (true, Position::default());
        } else if from.offset > 0 && from.segment < end.segment {
            // What is followed goes only where it passes the bounds.
            out.gap = self.log.disk.open(&segment_path(&self.log.dir, from.segment)).is_err();
        }
        let end = until.map_or(end, |until| until.min(end));
        let mut left = max_bytes;
        let mut context = self.context(out.next)?;
        while let Some((place, to)) = self.place(out.next, end)? {
            let path = segment_path(&self.log.dir, place.segment);
            if place.offset == HEADER as u64 {
                let mut head = [0; HEADER];
                let source = self.log.disk.open(&path).map_err(|e| failed("reading", &path, e))?;
                source.read_at(0, &mut head).map_err(|e| failed("reading", &path, e))?;
                if let Header::Newer(_) = read_header(&head, LOG_MAGIC) {
                    return Err(TailError {
                        what: format!("{} is of a newer format", path.display()),
                        source: None,
                    });
                }
            }
            let mut used = 0;
            let mut unknown = 0;
            let (offset, damaged) = self.records(&path, place.offset, to, |record, read| {
                if !context.put(record, &mut out) {
                    unknown += read - used;
                }
                used = read;
                read < left
            })?;
            out.damaged_bytes += damaged + unknown;
            out.next = Position { segment: place.segment, offset };
            left = left.saturating_sub(used);
            if left == 0 {
                break;
            }
        }
        self.keep_context(out.next, context);
        Ok(out)
    }

    fn labels(&self, series: SeriesRef) -> Option<Labels> {
        (self.labels)(series.0)
    }

    fn named_before(
        &self,
        position: Position,
        visit: &mut dyn FnMut(SeriesRef, Labels),
    ) -> Result<(), TailError> {
        self.before(position, &mut |record| {
            if let Record::Series(series) = record {
                series.into_iter().for_each(|(id, labels)| visit(SeriesRef(id), labels));
                return true;
            }
            // A checkpoint names all series before their chunks.
            !matches!(record, Record::Chunks(_) | Record::Group { .. })
        })
    }

    fn keep(&self, name: &str, kept: Kept) -> Result<(), TailError> {
        if !is_name(name) {
            return Err(TailError { what: format!("{name:?} is no name for a follower"), source: None });
        }
        let mut keeps = self.log.keeps();
        let (disk, path) = (&*self.log.disk, keep_path(&self.log.dir, name));
        let tmp = self.log.dir.join(format!("{name}.keep-tmp"));
        let write = || {
            // What an earlier attempt left.
            drop(disk.remove(&tmp));
            let mut file = disk.create(&tmp)?;
            file.append(line(kept).as_bytes())?;
            file.sync()?;
            publish(disk, &tmp, &path)
        };
        write().map_err(|e| failed("writing", &path, e))?;
        keeps.followers.insert(name.to_owned(), kept);
        Ok(())
    }

    fn kept(&self) -> BTreeMap<String, Kept> {
        self.log.keeps().followers.clone()
    }

    fn release(&self, name: &str) -> Result<(), TailError> {
        let mut keeps = self.log.keeps();
        if keeps.followers.remove(name).is_none() {
            return Ok(());
        }
        let path = keep_path(&self.log.dir, name);
        let gone = self.log.disk.remove(&path).and_then(|()| self.log.disk.sync_dir(&self.log.dir));
        gone.map_err(|e| failed("removing", &path, e))
    }

    fn bound(&self, bounds: TailBounds) {
        self.log.keeps().bounds = bounds;
    }
}

#[cfg(test)]
mod tests;
