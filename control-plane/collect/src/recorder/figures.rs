//! Writing the figures of a probe, whose names are known when the program is built: after the first round no label
//! is built, hashed or looked up any more.

use model::{
    Append, AppendError, Batch, Labels, Reject, SeriesRef, Timestamp, labels::METRIC_NAME, stale_nan,
};
use std::sync::Arc;

/// The label that tells the parts of one figure apart, and its value.
pub(crate) type Part = Option<(&'static str, &'static str)>;

/// One value of a source: name, part, value.
pub(crate) type Figure = (&'static str, Part, f64);

/// A series that is written.
#[derive(Debug)]
struct Slot {
    name: &'static str,
    part: Part,
    series: SeriesRef,
    round: u64,
}

/// Keeps the series of one source, as [`super::Recorder`] does for any label set: resolves again what the store
/// retired, ends what is not written any more.
#[derive(Debug)]
pub(crate) struct FigureRecorder {
    append: Arc<dyn Append>,
    /// What all its series carry.
    base: Labels,
    slots: Vec<Slot>,
    round: u64,
    // Kept for their memory.
    batch: Batch,
    of: Vec<usize>,
}

impl FigureRecorder {
    pub(crate) fn new(append: Arc<dyn Append>, base: Labels) -> Self {
        FigureRecorder { append, base, slots: Vec::new(), round: 0, batch: Batch::default(), of: Vec::new() }
    }

    fn resolve(&self, name: &'static str, part: Part) -> Result<SeriesRef, AppendError> {
        let mut labels = self.base.edit();
        labels.set(METRIC_NAME, name);
        if let Some((key, value)) = part {
            labels.set(key, value);
        }
        self.append.resolve(&labels.build())
    }

    /// Where a figure's series is. Rounds are alike, so the `hint`-th slot is nearly always the one.
    fn place(&mut self, hint: usize, name: &'static str, part: Part) -> Result<usize, AppendError> {
        let is = |s: &Slot| s.name == name && s.part == part;
        if self.slots.get(hint).is_some_and(is) {
            return Ok(hint);
        }
        if let Some(place) = self.slots.iter().position(is) {
            return Ok(place);
        }
        let series = self.resolve(name, part)?;
        self.slots.push(Slot { name, part, series, round: 0 });
        Ok(self.slots.len() - 1)
    }

    /// Writes one round at one time; what the last round had and this one has not ends. Of two figures of one
    /// series the first counts. Returns how many samples were taken.
    pub(crate) fn record(&mut self, at: Timestamp, figures: &[Figure]) -> Result<usize, AppendError> {
        self.round += 1;
        self.batch.reset(at);
        self.of.clear();
        for (hint, (name, part, value)) in figures.iter().enumerate() {
            let place = self.place(hint, name, *part)?;
            let slot = &mut self.slots[place];
            if slot.round != self.round {
                slot.round = self.round;
                self.batch.push(slot.series, *value);
                self.of.push(place);
            }
        }
        for ended in self.slots.iter().filter(|s| s.round != self.round) {
            self.batch.push(ended.series, stale_nan());
        }
        let done = self.append.append(&self.batch)?;
        let mut again = Batch::at(at);
        for (i, why) in done.rejected {
            if why == Reject::UnknownSeries
                && let Some(&place) = self.of.get(i)
            {
                let Slot { name, part, .. } = self.slots[place];
                let series = self.resolve(name, part)?;
                self.slots[place].series = series;
                again.push(series, self.batch.values[i]);
            }
        }
        self.slots.retain(|s| s.round == self.round);
        let more = if again.is_empty() { 0 } else { self.append.append(&again)?.accepted };
        Ok(done.accepted + more)
    }

    /// Ends all series, for a source that is gone for good.
    pub(crate) fn end(&mut self, at: Timestamp) -> Result<(), AppendError> {
        self.record(at, &[]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Store;

    fn recorder(store: &Store) -> FigureRecorder {
        FigureRecorder::new(store.append(), Labels::from_pairs([("probe", "p")]))
    }

    #[test]
    fn figures_come_and_go_and_parts_are_series_of_their_own() {
        let store = Store::new();
        let mut recorder = recorder(&store);
        let part = |value| Some(("phase", value));
        recorder.record(1000, &[("a", None, 1.0), ("b", part("x"), 2.0), ("b", part("y"), 3.0)]).unwrap();
        assert_eq!(recorder.record(2000, &[("b", part("y"), 4.0), ("a", None, 5.0)]).unwrap(), 3);
        recorder.record(3000, &[("a", None, 6.0), ("a", None, 7.0)]).unwrap();
        recorder.end(4000).unwrap();
        assert_eq!(
            store.shown(),
            [
                "a{probe=p}: 1@1000 5@2000 6@3000 stale@4000",
                "b{phase=x,probe=p}: 2@1000 stale@2000",
                "b{phase=y,probe=p}: 3@1000 4@2000 stale@3000",
            ]
        );
    }

    #[test]
    fn a_series_that_the_store_retired_is_resolved_again() {
        let store = Store::new();
        let mut recorder = recorder(&store);
        recorder.record(1000, &[("a", None, 1.0)]).unwrap();
        let hours = |n: i64| n * 3_600_000;
        let other = store.append().resolve(&Labels::from_pairs([("__name__", "other")])).unwrap();
        for hour in 1..=10 {
            let mut batch = Batch::at(hours(hour));
            batch.push(other, 0.0);
            store.append().append(&batch).unwrap();
            store.db.maintain(hours(hour)).unwrap();
        }
        assert_eq!(recorder.record(hours(10), &[("a", None, 2.0)]).unwrap(), 1);
        assert_eq!(store.shown()[0], "a{probe=p}: 1@1000 2@36000000");
    }
}
