//! Series that senders named before: from the bytes of their labels to the store's reference.
//!
//! Senders repeat the same labels in every request; what is found here costs a hash and a comparison, and no
//! label. Bounded by bytes in two generations: when the young one is full the old one goes, and what is used
//! moves from old to young; so what is in use stays, and what is not takes no more than half.

use model::SeriesRef;
use std::collections::HashMap;

/// What an entry takes beside its key.
const ENTRY: usize = 48;

#[derive(Debug)]
pub(super) struct Known {
    young: HashMap<Box<[u8]>, SeriesRef>,
    old: HashMap<Box<[u8]>, SeriesRef>,
    young_bytes: usize,
    /// Bytes of one generation.
    room: usize,
}

/// Where a key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Young(SeriesRef),
    /// It has to be put in again to stay.
    Old(SeriesRef),
}

impl Known {
    /// `bytes` for both generations together.
    pub(super) fn new(bytes: usize) -> Known {
        Known { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, room: bytes / 2 }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<Found> {
        match self.young.get(key) {
            Some(series) => Some(Found::Young(*series)),
            None => self.old.get(key).map(|series| Found::Old(*series)),
        }
    }

    pub(super) fn put(&mut self, key: &[u8], series: SeriesRef) {
        if let Some(have) = self.young.get_mut(key) {
            *have = series;
            return;
        }
        let bytes = key.len() + ENTRY;
        if self.young_bytes + bytes > self.room {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if bytes > self.room {
            return;
        }
        let key = match self.old.remove_entry(key) {
            Some((key, _)) => key,
            None => Box::from(key),
        };
        self.young.insert(key, series);
        self.young_bytes += bytes;
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut known = Known::new(2 * 3 * (ENTRY + 1));
        for (i, key) in (0..).zip([b"a", b"b", b"c", b"d"]) {
            known.put(key, SeriesRef(i));
        }
        assert_eq!(known.find(b"a"), Some(Found::Old(SeriesRef(0))));
        assert_eq!(known.find(b"d"), Some(Found::Young(SeriesRef(3))));
        known.put(b"a", SeriesRef(0));
        known.put(b"e", SeriesRef(4));
        known.put(b"f", SeriesRef(5));
        assert_eq!(known.find(b"b"), None, "its generation went");
        assert_eq!(known.find(b"a"), Some(Found::Old(SeriesRef(0))));
        assert_eq!(known.len(), 4);
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let mut known = Known::new(64);
        known.put(&[0; 100], SeriesRef(1));
        assert_eq!(known.len(), 0);
    }
}
