//! From matchers to series: set algebra on postings, the same for the head and for blocks.
//!
//! A postings list holds the numbers of the series that carry one label pair, ascending. An absent label is an
//! empty value; so a matcher that accepts the empty value cannot be answered by adding lists, only by taking
//! away the series whose value it refuses.

use model::{Labels, MatchOp, Matcher, SelectError};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// Gives the postings of the value at hand.
pub(crate) type List<'a> = dyn Fn() -> Result<Vec<u64>, SelectError> + 'a;
/// Is shown a value.
pub(crate) type Visit<'a> = dyn FnMut(&str, &List<'_>) -> Result<(), SelectError> + 'a;

/// An index that can be asked for postings.
pub(crate) trait Index {
    /// All series, ascending.
    fn all(&self) -> Result<Vec<u64>, SelectError>;

    /// The series with this label pair, ascending.
    fn postings(&self, name: &str, value: &str) -> Result<Cow<'_, [u64]>, SelectError>;

    /// Calls `visit` with every value of a label and its postings, in the order of the values.
    fn each_value(&self, name: &str, visit: &mut Visit<'_>) -> Result<(), SelectError>;

    fn labels(&self, id: u64) -> Result<Labels, SelectError>;
}

/// Up to so many candidates it is cheaper to look at each than to join lists.
const FEW: usize = 512;

/// The series that satisfy all matchers, ascending by number.
pub(crate) fn find(index: &dyn Index, matchers: &[Matcher]) -> Result<Vec<u64>, SelectError> {
    let (exact, mut rest): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|m| m.op == MatchOp::Eq && !m.value.is_empty());
    let mut found: Option<Vec<u64>> = None;
    let mut lists = Vec::new();
    for m in exact {
        lists.push(index.postings(&m.name, &m.value)?);
    }
    lists.sort_by_key(|l| l.len());
    for list in lists {
        let next = match found {
            None => list.into_owned(),
            Some(have) => intersect(&have, &list),
        };
        if next.is_empty() {
            return Ok(next);
        }
        found = Some(next);
    }
    // Those that refuse the empty value first: they narrow, the others only take away.
    rest.sort_by_key(|m| m.matches_empty());
    for m in rest {
        if found.as_ref().is_some_and(|f| f.len() <= FEW) {
            let candidates = found.take().unwrap_or_default();
            found = Some(check_each(index, candidates, m)?);
            continue;
        }
        let takes_away = m.matches_empty();
        let listed = union_of_values(index, &m.name, |value| m.matches(value) != takes_away)?;
        found = Some(match (found, takes_away) {
            (None, false) => listed,
            (None, true) => subtract(&index.all()?, &listed),
            (Some(have), false) => intersect(&have, &listed),
            (Some(have), true) => subtract(&have, &listed),
        });
    }
    found.map_or_else(|| index.all(), Ok)
}

fn check_each(index: &dyn Index, candidates: Vec<u64>, m: &Matcher) -> Result<Vec<u64>, SelectError> {
    let mut out = Vec::new();
    for id in candidates {
        if m.matches_labels(&index.labels(id)?) {
            out.push(id);
        }
    }
    Ok(out)
}

fn union_of_values(
    index: &dyn Index,
    name: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<u64>, SelectError> {
    let mut out = Vec::new();
    let mut lists = 0;
    index.each_value(name, &mut |value, postings| {
        if wanted(value) {
            out.extend(postings()?);
            lists += 1;
        }
        Ok(())
    })?;
    // A series has one value of a label, so nothing occurs twice.
    if lists > 1 {
        out.sort_unstable();
    }
    Ok(out)
}

fn intersect(a: &[u64], b: &[u64]) -> Vec<u64> {
    let (small, large) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if large.len() / 16 > small.len() {
        return small.iter().copied().filter(|id| large.binary_search(id).is_ok()).collect();
    }
    let mut out = Vec::with_capacity(small.len());
    let mut rest = large;
    for id in small {
        let skip = rest.iter().take_while(|x| *x < id).count();
        rest = &rest[skip..];
        if rest.first() == Some(id) {
            out.push(*id);
        }
    }
    out
}

fn subtract(from: &[u64], what: &[u64]) -> Vec<u64> {
    let mut rest = what;
    from.iter()
        .copied()
        .filter(|id| {
            let skip = rest.iter().take_while(|x| *x < id).count();
            rest = &rest[skip..];
            rest.first() != Some(id)
        })
        .collect()
}

/// Postings in memory: name, value, series.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    names: HashMap<Arc<str>, BTreeMap<Arc<str>, Vec<u64>>>,
}

impl Postings {
    /// `id` is greater than all before it, except after a damaged log.
    pub(crate) fn add(&mut self, id: u64, labels: &Labels) {
        for l in labels.iter() {
            let list =
                self.names.entry(Arc::clone(&l.name)).or_default().entry(Arc::clone(&l.value)).or_default();
            match list.last() {
                Some(last) if *last >= id => {
                    if let Err(i) = list.binary_search(&id) {
                        list.insert(i, id);
                    }
                }
                _ => list.push(id),
            }
        }
    }

    pub(crate) fn remove(&mut self, gone: &[(u64, Labels)]) {
        let ids: HashSet<u64> = gone.iter().map(|(id, _)| *id).collect();
        let pairs: HashSet<(&str, &str)> =
            gone.iter().flat_map(|(_, l)| l.iter()).map(|l| (&*l.name, &*l.value)).collect();
        for (name, value) in pairs {
            let Some(values) = self.names.get_mut(name) else { continue };
            if let Some(list) = values.get_mut(value) {
                list.retain(|id| !ids.contains(id));
                if list.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.names.remove(name);
            }
        }
    }

    pub(crate) fn get(&self, name: &str, value: &str) -> &[u64] {
        self.names.get(name).and_then(|v| v.get(value)).map_or(&[], |l| l)
    }

    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, &Vec<u64>)> {
        self.names.get(name).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests;
