//! Exemplars of one target, on their way to where they are kept.
//!
//! A target shows the same exemplar until it has a newer one; each is handed on once.

use crate::scrape::exposition::Exemplar;
use model::{ExemplarSink, Labels, SeriesRef, Timestamp};
use std::{cell::RefCell, collections::HashMap, sync::Arc};

/// Series of one target that may have exemplars.
const MAX_SERIES: usize = 10_000;

/// A series that has some.
#[derive(Debug)]
struct Known {
    labels: Labels,
    /// The newest that was handed on; for a histogram, the newest of its many.
    last: Option<Exemplar>,
}

#[derive(Debug)]
pub(super) struct Exemplars {
    sink: Arc<dyn ExemplarSink>,
    known: RefCell<HashMap<SeriesRef, Known>>,
    /// Those of the scrape that is being read.
    waiting: RefCell<Vec<(SeriesRef, Exemplar, Timestamp)>>,
}

impl Exemplars {
    pub(super) fn new(sink: Arc<dyn ExemplarSink>) -> Exemplars {
        Exemplars { sink, known: RefCell::default(), waiting: RefCell::default() }
    }

    /// Notes one of the scrape that is being read. `at` is the time of its sample.
    pub(super) fn note(
        &self,
        series: SeriesRef,
        exemplar: Exemplar,
        at: Timestamp,
        labels: impl FnOnce() -> Option<Labels>,
    ) {
        let mut known = self.known.borrow_mut();
        if !known.contains_key(&series) {
            // Series come and go; those that still have exemplars are soon here again.
            if known.len() >= MAX_SERIES {
                known.clear();
            }
            let Some(labels) = labels() else { return };
            known.insert(series, Known { labels, last: None });
        }
        if known.get(&series).is_some_and(|k| k.last.as_ref() != Some(&exemplar)) {
            self.waiting.borrow_mut().push((series, exemplar, at));
        }
    }

    /// The scrape that was read is not taken.
    pub(super) fn forget(&self) {
        self.waiting.borrow_mut().clear();
    }

    /// The scrape that was read is taken.
    pub(super) fn hand_on(&self) {
        let mut known = self.known.borrow_mut();
        for (series, exemplar, at) in self.waiting.borrow_mut().drain(..) {
            let Some(known) = known.get_mut(&series) else { continue };
            let model = model::Exemplar {
                labels: exemplar.labels.clone(),
                value: exemplar.value,
                at: exemplar.at.unwrap_or(at),
            };
            // What is refused was refused the last time too, or is too long: a scrape does not fail by it.
            if self.sink.add(&known.labels, model).is_ok() {
                known.last = Some(exemplar);
            }
        }
    }
}
