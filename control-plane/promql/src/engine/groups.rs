//! Which group of an aggregation a series belongs to.

use super::{column::Column, eval::IDENTITY};
use crate::ast::Aggregate;
use hashbrown::{DefaultHashBuilder, HashTable};
use model::{Labels, labels::METRIC_NAME};
use std::hash::{BuildHasher, Hash, Hasher};

/// The groups of an aggregation, in the order in which they come up.
pub(super) struct Groups<'a> {
    by: &'a Aggregate,
    /// Whether labels that name a metric do not count: the name is gone, though the labels still have it.
    nameless: bool,
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
    pub(super) labels: Vec<Labels>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(by: &'a Aggregate, nameless: bool) -> Self {
        let (index, hasher) = (HashTable::new(), DefaultHashBuilder::default());
        Groups { by, nameless, index, hasher, labels: Vec::new() }
    }

    fn keeps(&self, name: &str) -> bool {
        let named = self.by.grouping.iter().any(|n| **n == *name);
        let identity = || if self.nameless { IDENTITY.contains(&name) } else { name == METRIC_NAME };
        if self.by.without { !named && !identity() } else { named && !(self.nameless && identity()) }
    }

    /// The group of a series; no label set is built for one that is known.
    pub(super) fn of(&mut self, labels: &Labels) -> usize {
        let mut state = self.hasher.build_hasher();
        for l in labels.iter().filter(|l| self.keeps(&l.name)) {
            l.hash(&mut state);
        }
        let hash = state.finish();
        let same = |g: &usize| labels.iter().filter(|l| self.keeps(&l.name)).eq(self.labels[*g].iter());
        if let Some(found) = self.index.find(hash, same) {
            return *found;
        }
        let mut edit = labels.edit();
        edit.retain(|l| self.keeps(&l.name));
        let (hasher, all) = (&self.hasher, &mut self.labels);
        all.push(edit.build());
        let rehash = |g: &usize| {
            let mut state = hasher.build_hasher();
            all[*g].iter().for_each(|l| l.hash(&mut state));
            state.finish()
        };
        self.index.insert_unique(hash, all.len() - 1, rehash);
        all.len() - 1
    }

    /// The group of each column, and the groups' labels.
    pub(super) fn sort(a: &'a Aggregate, columns: &[Column]) -> (Vec<usize>, Vec<Labels>) {
        let mut groups = Groups::new(a, false);
        let of = columns.iter().map(|c| groups.of(&c.labels)).collect();
        (of, groups.labels)
    }
}
