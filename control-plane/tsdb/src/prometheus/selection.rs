//! What a store holds for several selectors: its series, each once, and the range of its samples.

use super::merge::{Ascending, Merged};
use model::{Labels, Matcher, SampleColumns, Select, SelectError, SelectRequest, SeriesStream, Timestamp};

pub(crate) struct Stream<'a>(Box<dyn SeriesStream + 'a>);

impl Ascending for Stream<'_> {
    type Error = SelectError;

    fn next(&mut self, into: &mut SampleColumns) -> Result<Option<Labels>, SelectError> {
        Ok(self.0.next(into)?.map(|(_, labels)| labels))
    }
}

/// The series that one of the selectors matches, each once; all series when there is no selector.
pub(crate) fn merged<'a>(
    select: &'a dyn Select,
    selectors: &[Vec<Matcher>],
    from: Timestamp,
    to: Timestamp,
) -> Result<Merged<Stream<'a>>, SelectError> {
    let all = [Vec::new()];
    let selectors = if selectors.is_empty() { &all[..] } else { selectors };
    let streams = selectors.iter().map(|m| select.select(&SelectRequest::new(m, from, to)).map(Stream));
    Ok(Merged::new(streams.collect::<Result<Vec<_>, _>>()?))
}

/// Where samples that match begin and end within `asked`, both inclusive and rounded outwards to a multiple of
/// `step`; `None` when there is none. Found by halving, because a store is asked by ranges only.
pub fn range_of(
    select: &dyn Select,
    selectors: &[Vec<Matcher>],
    asked: (Option<Timestamp>, Option<Timestamp>),
    step: i64,
) -> Result<Option<(Timestamp, Timestamp)>, SelectError> {
    let (from, to) = (asked.0.unwrap_or(Timestamp::MIN), asked.1.unwrap_or(Timestamp::MAX));
    let mut samples = SampleColumns::default();
    let mut any = |from: Timestamp, to: Timestamp| -> Result<bool, SelectError> {
        Ok(from <= to && merged(select, selectors, from, to)?.next(&mut samples)?.is_some())
    };
    if !any(from, to)? {
        return Ok(None);
    }
    let (lowest, highest) = (from.div_euclid(step), to.div_euclid(step));
    let end_of = |n: i64| n.saturating_add(1).saturating_mul(step).saturating_sub(1).min(to);
    let start_of = |n: i64| n.saturating_mul(step).max(from);
    let (mut low, mut high) = (lowest, highest);
    while low < high {
        let middle = low.midpoint(high);
        if any(from, end_of(middle))? { high = middle } else { low = middle + 1 }
    }
    let first = low;
    (low, high) = (first, highest);
    while low < high {
        // The upper one of two middles, so that it ends.
        let middle = high - (high - low) / 2;
        if any(start_of(middle), to)? { low = middle } else { high = middle - 1 }
    }
    Ok(Some((start_of(first), end_of(low))))
}
