//! Ascending lists of series numbers, as runs: what is created together has numbers in a row, so a list is a few
//! bytes for hundreds of series. The same bytes serve in memory and in blocks (`FORMAT.md`, "Postings").

use crate::bytes::{Malformed, Reader, put_uvarint};

/// Numbers from the first to before the second.
pub(crate) type Run = (u64, u64);

/// A list that grows at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct List {
    bytes: Vec<u8>,
    /// Where the last run in the bytes ends.
    end: u64,
    /// The last run, which may go on; empty only in an empty list.
    open: Run,
    count: usize,
}

fn put_run(out: &mut Vec<u8>, before: u64, run: Run) {
    let (gap, len) = (run.0 - before, run.1 - run.0);
    // A number is below 2^63, so its distance has a bit to spare.
    if len == 1 {
        put_uvarint(out, gap << 1);
    } else {
        put_uvarint(out, gap << 1 | 1);
        put_uvarint(out, len - 2);
    }
}

impl List {
    /// Adds a number, cheaply when it is greater than all others.
    pub(crate) fn add(&mut self, id: u64) {
        if self.count == 0 {
            self.open = (id, id + 1);
        } else if id == self.open.1 {
            self.open.1 += 1;
        } else if id > self.open.1 {
            put_run(&mut self.bytes, self.end, self.open);
            self.end = self.open.1;
            self.open = (id, id + 1);
        } else {
            let mut all = self.ids().collect().unwrap_or_default();
            if let Err(i) = all.binary_search(&id) {
                all.insert(i, id);
                *self = all.into_iter().collect();
            }
            return;
        }
        self.count += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The list's bytes in a file; its length stands elsewhere.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
        if self.count > 0 {
            put_run(out, self.end, self.open);
        }
    }

    pub(crate) fn ids(&self) -> Ids<'_> {
        Ids { bytes: &self.bytes, count: self.count, tail: (self.count > 0).then_some(self.open) }
    }
}

impl FromIterator<u64> for List {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Self {
        let mut list = List::default();
        ids.into_iter().for_each(|id| list.add(id));
        list.bytes.shrink_to_fit();
        list
    }
}

/// A list to read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ids<'a> {
    bytes: &'a [u8],
    count: usize,
    tail: Option<Run>,
}

impl<'a> Ids<'a> {
    /// A list in a file, which says that it has `count` numbers. `bytes` may go on behind it.
    pub(crate) fn read(bytes: &'a [u8], count: usize) -> Self {
        Ids { bytes, count, tail: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    fn runs(self) -> Runs<'a> {
        Runs { bytes: Reader::new(self.bytes, "postings"), at: 0, left: self.count as u64, tail: self.tail }
    }

    /// All numbers.
    pub(crate) fn collect(self) -> Result<Vec<u64>, Malformed> {
        // What a file claims is believed only as far as its bytes go.
        let mut out = Vec::with_capacity(self.count.min(self.bytes.len().saturating_mul(8)));
        let mut runs = self.runs();
        while let Some((begin, end)) = runs.next()? {
            out.extend(begin..end);
        }
        Ok(out)
    }

    /// Keeps in an ascending list those that are here (`wanted`), or those that are not.
    pub(crate) fn retain(self, have: &mut Vec<u64>, wanted: bool) -> Result<(), Malformed> {
        let mut runs = self.runs();
        let mut run = runs.next()?;
        let mut failed = None;
        have.retain(|id| {
            while let Some((_, end)) = run
                && end <= *id
            {
                run = match runs.next() {
                    Ok(next) => next,
                    Err(e) => {
                        failed = Some(e);
                        None
                    }
                };
            }
            run.is_some_and(|(begin, _)| begin <= *id) == wanted
        });
        failed.map_or(Ok(()), Err)
    }
}

struct Runs<'a> {
    bytes: Reader<'a>,
    at: u64,
    left: u64,
    tail: Option<Run>,
}

impl Runs<'_> {
    fn next(&mut self) -> Result<Option<Run>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        let bad = self.bytes.bad();
        let run = match self.tail {
            Some(tail) if self.bytes.is_empty() => tail,
            _ => {
                let first = self.bytes.uvarint()?;
                let len = if first & 1 == 0 { 1 } else { self.bytes.uvarint()?.checked_add(2).ok_or(bad)? };
                let begin = self.at.checked_add(first >> 1).ok_or(bad)?;
                (begin, begin.checked_add(len).ok_or(bad)?)
            }
        };
        self.left = self.left.checked_sub(run.1 - run.0).ok_or(bad)?;
        self.at = run.1;
        Ok(Some(run))
    }
}

#[cfg(test)]
mod tests;
