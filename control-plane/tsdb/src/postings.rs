//! From matchers to series: set algebra on postings, the same for the head and for blocks.
//!
//! A postings list holds the numbers of the series that carry one label pair, ascending. An absent label is an
//! empty value; so a matcher that accepts the empty value cannot be answered by adding lists, only by taking
//! away the series whose value it refuses.

use crate::{bytes::Malformed, ids::Ids};
use model::{MatchOp, Matcher, SelectError};

/// Is shown a value and its postings.
pub(crate) type Visit<'a> = dyn FnMut(&str, Ids<'_>) -> Result<(), SelectError> + 'a;

/// An index that can be asked for postings.
pub(crate) trait Index {
    /// All series, ascending.
    fn all(&self) -> Result<Vec<u64>, SelectError>;

    /// The series with this label pair.
    fn postings(&self, name: &str, value: &str) -> Result<Ids<'_>, SelectError>;

    /// Calls `visit` with every value of a label.
    fn each_value(&self, name: &str, visit: &mut Visit<'_>) -> Result<(), SelectError>;

    /// Whether a series satisfies a matcher.
    fn satisfies(&self, id: u64, matcher: &Matcher) -> Result<bool, SelectError>;

    /// What to say of postings that do not read.
    fn corrupt(&self, what: Malformed) -> SelectError;
}

/// Up to so many candidates it is cheaper to look at each than to join lists.
const FEW: usize = 512;
/// A list that is so many times longer than the candidates is not walked either.
const MUCH: usize = 16;

/// The series that satisfy all matchers, ascending by number.
pub(crate) fn find(index: &dyn Index, matchers: &[Matcher]) -> Result<Vec<u64>, SelectError> {
    let (exact, mut rest): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|m| m.op == MatchOp::Eq && !m.value.is_empty());
    let mut lists = Vec::new();
    for m in exact {
        lists.push((m, index.postings(&m.name, &m.value)?));
    }
    lists.sort_by_key(|(_, ids)| ids.len());
    let mut found: Option<Vec<u64>> = None;
    for (m, ids) in lists {
        match &mut found {
            None => found = Some(ids.collect().map_err(|e| index.corrupt(e))?),
            Some(have) if have.len() * MUCH < ids.len() => check_each(index, have, m)?,
            Some(have) => ids.retain(have, true).map_err(|e| index.corrupt(e))?,
        }
        if found.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
    }
    // Those that refuse the empty value first: they narrow, the others only take away.
    rest.sort_by_key(|m| m.matches_empty());
    for m in rest {
        if let Some(have) = &mut found
            && have.len() <= FEW
        {
            check_each(index, have, m)?;
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

fn check_each(index: &dyn Index, have: &mut Vec<u64>, m: &Matcher) -> Result<(), SelectError> {
    let mut kept = Vec::with_capacity(have.len());
    for id in have.iter() {
        if index.satisfies(*id, m)? {
            kept.push(*id);
        }
    }
    *have = kept;
    Ok(())
}

fn union_of_values(
    index: &dyn Index,
    name: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<u64>, SelectError> {
    let mut out = Vec::new();
    let mut lists = 0;
    index.each_value(name, &mut |value, ids| {
        if wanted(value) {
            out.extend(ids.collect().map_err(|e| index.corrupt(e))?);
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
    if large.len() / MUCH > small.len() {
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

#[cfg(test)]
mod tests;
