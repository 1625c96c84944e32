//! Exemplars in memory: a ring in which the newest takes the place of the oldest.
//!
//! Exemplars of one series are linked, so a query looks at the series' labels and at what matches, not at the
//! ring. They are not on disk: after a restart there are none.

use model::{Exemplar, ExemplarReject, ExemplarSelect, ExemplarSink, Labels, Matcher, Timestamp};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many are kept where nobody says otherwise.
pub const DEFAULT_EXEMPLARS: usize = 100_000;

/// Characters of an exemplar's labels together, as OpenMetrics has it.
const MAX_LABELS: usize = 128;

/// Exemplars of all series. Clones are the same store.
#[derive(Debug, Clone)]
pub struct Exemplars(Arc<Mutex<Ring>>);

#[derive(Debug)]
struct Slot {
    series: Labels,
    exemplar: Exemplar,
    /// The next newer one of the same series.
    next: Option<usize>,
}

/// A series' place in the ring.
#[derive(Debug, Clone, Copy)]
struct Ends {
    oldest: usize,
    newest: usize,
}

#[derive(Debug, Default)]
struct Ring {
    slots: Vec<Slot>,
    capacity: usize,
    /// The slot that is written next, once the ring is full: the oldest.
    at: usize,
    series: HashMap<Labels, Ends>,
}

impl Exemplars {
    /// A store for `capacity` exemplars; with none, all are accepted and none is kept.
    pub fn new(capacity: usize) -> Exemplars {
        Exemplars(Arc::new(Mutex::new(Ring { capacity, ..Ring::default() })))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for another number, and keeps the newest.
    pub fn resize(&self, capacity: usize) {
        let mut ring = self.ring();
        if ring.capacity == capacity {
            return;
        }
        let Ring { mut slots, at, .. } = std::mem::take(&mut *ring);
        slots.rotate_left(at);
        ring.capacity = capacity;
        let surplus = slots.len().saturating_sub(capacity);
        for slot in slots.drain(..).skip(surplus) {
            ring.push(&slot.series, slot.exemplar);
        }
    }

    pub fn len(&self) -> usize {
        self.ring().slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Ring {
    fn push(&mut self, series: &Labels, exemplar: Exemplar) {
        if self.capacity == 0 {
            return;
        }
        let slot = Slot { series: series.clone(), exemplar, next: None };
        let place = if self.slots.len() < self.capacity {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let place = self.at;
            let gone = std::mem::replace(&mut self.slots[place], slot);
            match (gone.next, self.series.get_mut(&gone.series)) {
                (Some(next), Some(ends)) => ends.oldest = next,
                _ => drop(self.series.remove(&gone.series)),
            }
            self.at = (place + 1) % self.capacity;
            place
        };
        match self.series.get_mut(series) {
            Some(ends) => {
                self.slots[ends.newest].next = Some(place);
                ends.newest = place;
            }
            None => drop(self.series.insert(series.clone(), Ends { oldest: place, newest: place })),
        }
    }

    fn of(&self, ends: Ends) -> impl Iterator<Item = &Exemplar> {
        let first = self.slots.get(ends.oldest);
        std::iter::successors(first, |slot| self.slots.get(slot.next?)).map(|slot| &slot.exemplar)
    }
}

impl ExemplarSink for Exemplars {
    fn add(&self, series: &Labels, exemplar: Exemplar) -> Result<(), ExemplarReject> {
        let long = exemplar.labels.iter().map(|l| l.name.chars().count() + l.value.chars().count());
        if long.sum::<usize>() > MAX_LABELS {
            return Err(ExemplarReject::LabelsTooLong);
        }
        let mut ring = self.ring();
        let newest = ring.series.get(series).map(|ends| &ring.slots[ends.newest].exemplar);
        if let Some(newest) = newest {
            if *newest == exemplar {
                return Ok(());
            }
            if exemplar.at < newest.at || (exemplar.at == newest.at && exemplar.value < newest.value) {
                return Err(ExemplarReject::OutOfOrder);
            }
        }
        ring.push(series, exemplar);
        Ok(())
    }
}

impl ExemplarSelect for Exemplars {
    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        start: Timestamp,
        end: Timestamp,
    ) -> Vec<(Labels, Vec<Exemplar>)> {
        let ring = self.ring();
        let mut found = Vec::new();
        for (series, ends) in &ring.series {
            if !sets.iter().any(|set| set.iter().all(|m| m.matches_labels(series))) {
                continue;
            }
            let inside = ring.of(*ends).filter(|e| (start..=end).contains(&e.at)).cloned();
            let inside: Vec<Exemplar> = inside.collect();
            if !inside.is_empty() {
                found.push((series.clone(), inside));
            }
        }
        drop(ring);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(i: usize) -> Labels {
        Labels::from_pairs([("__name__", "m".to_owned()), ("i", i.to_string())])
    }

    fn exemplar(at: Timestamp) -> Exemplar {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let value = at as f64;
        Exemplar { labels: Labels::from_pairs([("trace_id", "t")]), value, at }
    }

    fn all(store: &Exemplars) -> Vec<(Labels, Vec<Timestamp>)> {
        let found = store.exemplars(&[vec![]], i64::MIN, i64::MAX);
        found.into_iter().map(|(l, e)| (l, e.iter().map(|e| e.at).collect())).collect()
    }

    #[test]
    fn the_oldest_makes_room_and_queries_take_sets_and_times() {
        let store = Exemplars::new(4);
        for (i, at) in [(0, 1), (1, 2), (0, 3), (0, 4), (2, 5), (1, 6)] {
            store.add(&series(i), exemplar(at)).expect("is taken");
        }
        assert_eq!(all(&store), [(series(0), vec![3, 4]), (series(1), vec![6]), (series(2), vec![5])]);
        let of = |i: usize| vec![Matcher::eq("i", i.to_string())];
        let found = store.exemplars(&[of(0), of(2)], 4, 5);
        assert_eq!(found.iter().map(|(l, _)| l.clone()).collect::<Vec<_>>(), [series(0), series(2)]);
        assert_eq!(found[0].1, [exemplar(4)]);
        store.resize(2);
        assert_eq!(all(&store), [(series(1), vec![6]), (series(2), vec![5])]);
        store.resize(0);
        store.add(&series(0), exemplar(9)).expect("is accepted");
        assert!(store.is_empty());
    }

    #[test]
    fn what_is_older_or_too_long_is_refused_and_what_is_there_is_taken() {
        let store = Exemplars::new(4);
        let add = |e: Exemplar| store.add(&series(0), e);
        assert_eq!(add(exemplar(5)), Ok(()));
        assert_eq!(add(exemplar(5)), Ok(()));
        assert_eq!(add(exemplar(4)), Err(ExemplarReject::OutOfOrder));
        let long = Exemplar { labels: Labels::from_pairs([("k", "x".repeat(128))]), ..exemplar(6) };
        assert_eq!(add(long), Err(ExemplarReject::LabelsTooLong));
        assert_eq!(store.len(), 1);
    }

    proptest! {
        #[test]
        fn the_ring_holds_the_newest_whatever_came(
            which in proptest::collection::vec(0usize..5, 0..60),
            sizes in (1usize..8, 1usize..8),
        ) {
            let store = Exemplars::new(sizes.0);
            let mut model: Vec<(usize, Timestamp)> = Vec::new();
            let half = which.len() / 2;
            for (n, i) in which.iter().enumerate() {
                let capacity = if n < half { sizes.0 } else { sizes.1 };
                store.resize(capacity);
                let at = i64::try_from(n).expect("small");
                store.add(&series(*i), exemplar(at)).expect("is taken");
                let surplus = model.len().saturating_sub(capacity);
                model.drain(..surplus);
                model.push((*i, at));
                let surplus = model.len().saturating_sub(capacity);
                model.drain(..surplus);
            }
            let want: Vec<(Labels, Vec<Timestamp>)> = (0..5)
                .map(|i| (series(i), model.iter().filter(|m| m.0 == i).map(|m| m.1).collect::<Vec<_>>()))
                .filter(|(_, times)| !times.is_empty())
                .collect();
            prop_assert_eq!(all(&store), want);
        }
    }
}
