//! Which series there are: label sets, what stands for them, and the postings of their pairs.
//!
//! A label set is kept as the numbers of its pairs, each pair once with both its texts. So a series costs some
//! bytes a label, and comparing two label sets compares numbers.

use crate::ids::{Ids, List};
use model::{Label, Labels};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// The numbers of a label set's pairs, in the order of the labels' names.
pub(crate) type Pairs = Box<[u32]>;

#[derive(Debug)]
struct Pair {
    label: Label,
    /// The series that have it.
    series: List,
}

#[derive(Debug, Default)]
pub(crate) struct LabelIndex {
    pairs: Vec<Option<Pair>>,
    free: Vec<u32>,
    numbers: BTreeMap<Arc<str>, HashMap<Arc<str>, u32>>,
    /// Names and values, each text kept once.
    texts: HashSet<Arc<str>>,
}

impl LabelIndex {
    /// The pairs of a label set, or `None` when one of them is not known: no series has this set then.
    pub(crate) fn find(&self, labels: &Labels) -> Option<Pairs> {
        labels.iter().map(|l| self.number(&l.name, &l.value)).collect()
    }

    fn number(&self, name: &str, value: &str) -> Option<u32> {
        self.numbers.get(name)?.get(value).copied()
    }

    /// Adds a series and returns its pairs. `id` is greater than all before it, except after a damaged log.
    pub(crate) fn add(&mut self, id: u64, labels: &Labels) -> Pairs {
        labels
            .iter()
            .map(|l| {
                let number = self.number(&l.name, &l.value).unwrap_or_else(|| self.create(l));
                if let Some(Some(pair)) = self.pairs.get_mut(number as usize) {
                    pair.series.add(id);
                }
                number
            })
            .collect()
    }

    fn create(&mut self, label: &Label) -> u32 {
        let label = Label { name: self.text(&label.name), value: self.text(&label.value) };
        let number = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            u32::try_from(self.pairs.len() - 1).expect("four billion label pairs fit into no memory")
        });
        let values = self.numbers.entry(Arc::clone(&label.name)).or_default();
        values.insert(Arc::clone(&label.value), number);
        self.pairs[number as usize] = Some(Pair { label, series: List::default() });
        number
    }

    fn text(&mut self, s: &Arc<str>) -> Arc<str> {
        if let Some(have) = self.texts.get(s) {
            return Arc::clone(have);
        }
        // A copy: the caller's may be part of something larger.
        let kept: Arc<str> = Arc::from(&**s);
        self.texts.insert(Arc::clone(&kept));
        kept
    }

    /// Forgets series; ascending by number.
    pub(crate) fn remove(&mut self, gone: &[(u64, Pairs)]) {
        let mut of: HashMap<u32, Vec<u64>> = HashMap::new();
        for (id, pairs) in gone {
            for pair in pairs {
                of.entry(*pair).or_default().push(*id);
            }
        }
        for (number, ids) in of {
            let Some(Some(pair)) = self.pairs.get_mut(number as usize) else { continue };
            let mut left = pair.series.ids().collect().unwrap_or_default();
            left.retain(|id| ids.binary_search(id).is_err());
            pair.series = left.into_iter().collect();
            if !pair.series.is_empty() {
                continue;
            }
            if let Some(values) = self.numbers.get_mut(&pair.label.name) {
                values.remove(&pair.label.value);
                if values.is_empty() {
                    self.numbers.remove(&pair.label.name);
                }
            }
            self.pairs[number as usize] = None;
            self.free.push(number);
        }
        self.texts.retain(|t| Arc::strong_count(t) > 1);
    }

    pub(super) fn label(&self, pair: u32) -> Option<&Label> {
        Some(&self.pairs.get(pair as usize)?.as_ref()?.label)
    }

    /// The label of each pair by its number.
    pub(crate) fn all(&self) -> Vec<Option<Label>> {
        self.pairs.iter().map(|p| p.as_ref().map(|p| p.label.clone())).collect()
    }

    pub(crate) fn labels(&self, pairs: &Pairs) -> Labels {
        let all = pairs.iter().filter_map(|p| self.label(*p).cloned()).collect();
        Labels::from_sorted(all).unwrap_or_default()
    }

    /// The value of a label, empty when there is none.
    pub(crate) fn value<'a>(&'a self, pairs: &Pairs, name: &str) -> &'a str {
        pairs.iter().filter_map(|p| self.label(*p)).find(|l| &*l.name == name).map_or("", |l| &*l.value)
    }

    pub(crate) fn postings(&self, name: &str, value: &str) -> Ids<'_> {
        let pair = self.number(name, value).and_then(|n| self.pairs.get(n as usize));
        pair.and_then(Option::as_ref).map_or(Ids::default(), |p| p.series.ids())
    }

    /// Every value of a label, with the series that have it.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, Ids<'_>)> {
        let numbers = self.numbers.get(name).into_iter().flatten();
        numbers.filter_map(|(value, n)| Some((value, self.pairs.get(*n as usize)?.as_ref()?.series.ids())))
    }

    /// Every label name, with its values and how many series have each.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.numbers.iter().map(|(name, values)| (name, values.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_series_leave_no_trace() {
        let mut index = LabelIndex::default();
        let (a, b) =
            (Labels::from_pairs([("n", "1"), ("j", "x")]), Labels::from_pairs([("n", "2"), ("j", "x")]));
        let (first, second) = (index.add(1, &a), index.add(2, &b));
        assert_eq!((index.labels(&first), index.labels(&second)), (a.clone(), b.clone()));
        assert_eq!(index.find(&a), Some(first.clone()));
        index.remove(&[(1, first)]);
        assert_eq!(index.find(&a), None);
        assert_eq!(index.postings("j", "x").collect().unwrap(), [2]);
        assert_eq!(index.postings("n", "1").len(), 0);
        index.remove(&[(2, second)]);
        assert!(index.numbers.is_empty() && index.texts.is_empty());
        let again = index.add(3, &b);
        assert_eq!(index.labels(&again), b);
    }
}
