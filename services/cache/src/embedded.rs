//! The twin inside the process: a map behind a mutex, bounded in keys and in bytes.

use crate::{Answer, Cache, CacheError, Counted, check_size};
use kit::clock::Clock;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Most keys at once.
const MAX_KEYS: usize = 100_000;

/// Most bytes of keys and values at once.
const MAX_BYTES: usize = 64 << 20;

#[derive(Debug)]
enum Held {
    Bytes(Vec<u8>),
    Count(i64),
}

#[derive(Debug)]
struct Entry {
    held: Held,
    /// In the clock's monotonic time.
    ends: Duration,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<String, Entry>,
    /// The same keys by when they end: what ends first goes first when there is no room.
    by_end: BTreeSet<(Duration, String)>,
    bytes: usize,
}

/// A cache in this process. It forgets everything when the process ends.
#[derive(Debug)]
pub struct Embedded {
    clock: Clock,
    table: Mutex<Table>,
}

fn size(key: &str, held: &Held) -> usize {
    2 * key.len()
        + match held {
            Held::Bytes(bytes) => bytes.len(),
            Held::Count(_) => 8,
        }
}

impl Table {
    fn remove(&mut self, key: &str) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.by_end.remove(&(entry.ends, key.to_owned()));
        self.bytes -= size(key, &entry.held);
        Some(entry)
    }

    fn insert(&mut self, key: &str, held: Held, ends: Duration) {
        self.remove(key);
        self.bytes += size(key, &held);
        self.by_end.insert((ends, key.to_owned()));
        self.entries.insert(key.to_owned(), Entry { held, ends });
        while self.entries.len() > MAX_KEYS || self.bytes > MAX_BYTES {
            let Some((_, first)) = self.by_end.first().cloned() else { return };
            self.remove(&first);
        }
    }

    /// Drops what has ended; every call does a little of it.
    fn expire(&mut self, now: Duration) {
        while let Some((ends, key)) = self.by_end.first().cloned() {
            if ends > now {
                return;
            }
            self.remove(&key);
        }
    }
}

fn bytes_of(held: &Held) -> Vec<u8> {
    match held {
        Held::Bytes(bytes) => bytes.clone(),
        Held::Count(n) => n.to_string().into_bytes(),
    }
}

impl Embedded {
    pub fn new(clock: Clock) -> Self {
        Embedded { clock, table: Mutex::default() }
    }

    /// The table with nothing in it that has ended, and the time.
    fn table(&self) -> (MutexGuard<'_, Table>, Duration) {
        let now = self.clock.elapsed();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        (table, now)
    }

    fn count(&self, key: &str, by: i64, window: Duration) -> Result<Counted, CacheError> {
        let (mut table, now) = self.table();
        let (old, ends) = match table.entries.get(key) {
            None => (0, now + window.max(Duration::from_millis(1))),
            Some(Entry { held: Held::Count(n), ends }) => (*n, *ends),
            Some(Entry { held: Held::Bytes(bytes), ends }) => {
                let number = std::str::from_utf8(bytes).ok().and_then(|t| t.parse().ok());
                (number.ok_or_else(|| CacheError::NotANumber(key.to_owned()))?, *ends)
            }
        };
        let value = old.saturating_add(by);
        table.insert(key, Held::Count(value), ends);
        Ok(Counted { value, resets_in: ends - now })
    }
}

impl Cache for Embedded {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        let found = self.table().0.entries.get(key).map(|e| bytes_of(&e.held));
        Box::pin(async { Ok(found) })
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a [u8], ttl: Duration) -> Answer<'a, ()> {
        let written = check_size(value).map(|()| {
            let (mut table, now) = self.table();
            table.insert(key, Held::Bytes(value.to_vec()), now + ttl.max(Duration::from_millis(1)));
        });
        Box::pin(async { written })
    }

    fn set_if_absent<'a>(&'a self, key: &'a str, value: &'a [u8], ttl: Duration) -> Answer<'a, bool> {
        let written = check_size(value).map(|()| {
            let (mut table, now) = self.table();
            let free = !table.entries.contains_key(key);
            if free {
                table.insert(key, Held::Bytes(value.to_vec()), now + ttl.max(Duration::from_millis(1)));
            }
            free
        });
        Box::pin(async { written })
    }

    fn take<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        let taken = self.table().0.remove(key).map(|e| bytes_of(&e.held));
        Box::pin(async { Ok(taken) })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        let gone = self.table().0.remove(key).is_some();
        Box::pin(async move { Ok(gone) })
    }

    fn increment<'a>(&'a self, key: &'a str, by: i64, window: Duration) -> Answer<'a, Counted> {
        let counted = self.count(key, by, window);
        Box::pin(async { counted })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn kind(&self) -> &'static str {
        "embedded"
    }
}

#[cfg(test)]
mod tests;
