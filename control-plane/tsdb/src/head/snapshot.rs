//! The head at one moment, to be written down: no label set is built before its turn comes.

use super::{Held, Pairs};
use model::{Label, Labels};

#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(super) series: Vec<(u64, Pairs, Held)>,
    /// The label of each pair by its number.
    pub(super) labels: Vec<Option<Label>>,
}

impl Snapshot {
    /// Brings the series into the order of their labels.
    pub(crate) fn sort(&mut self) {
        let mut order: Vec<u32> = (0u32..).take(self.labels.len()).collect();
        order.sort_by_key(|n| self.labels[*n as usize].as_ref());
        let mut ranks = vec![0u32; order.len()];
        for (rank, number) in (0u32..).zip(&order) {
            ranks[*number as usize] = rank;
        }
        // Pairs ranked by name, then value, compare as label sets do.
        let rank = |p: &u32| ranks.get(*p as usize).copied().unwrap_or(0);
        self.series.sort_by(|(_, a, _), (_, b, _)| a.iter().map(rank).cmp(b.iter().map(rank)));
    }

    /// Numbers and what is held, without building labels.
    pub(crate) fn series(&self) -> impl Iterator<Item = (u64, &Pairs, &Held)> {
        self.series.iter().map(|(id, pairs, held)| (*id, pairs, held))
    }

    /// The series, with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Labels, &Held)> {
        self.series.iter().map(|(id, pairs, held)| {
            let labels = pairs.iter().filter_map(|p| self.labels.get(*p as usize)?.clone()).collect();
            (*id, Labels::from_sorted(labels).unwrap_or_default(), held)
        })
    }
}
