//! Several sources of series, each in the order of labels, as one.

use model::{Labels, SampleColumns, Value};
use std::sync::Arc;

/// Gives series in the order of their labels.
pub(crate) trait Ascending {
    type Error;

    fn next(&mut self, into: &mut SampleColumns) -> Result<Option<Labels>, Self::Error>;
}

/// The sources and the series at which each stands.
#[derive(Debug)]
pub(crate) struct Merged<S> {
    sources: Vec<Standing<S>>,
    begun: bool,
    both: SampleColumns,
}

#[derive(Debug)]
struct Standing<S> {
    source: S,
    labels: Option<Labels>,
    samples: SampleColumns,
}

impl<S: Ascending> Standing<S> {
    fn advance(&mut self) -> Result<(), S::Error> {
        self.labels = self.source.next(&mut self.samples)?;
        Ok(())
    }
}

impl<S: Ascending> Merged<S> {
    pub(crate) fn new(sources: impl IntoIterator<Item = S>) -> Merged<S> {
        let standing = |source| Standing { source, labels: None, samples: SampleColumns::default() };
        Merged {
            sources: sources.into_iter().map(standing).collect(),
            begun: false,
            both: SampleColumns::default(),
        }
    }

    /// The next series with the samples of all sources that have it; of two at one time, that of the first.
    pub(crate) fn next(&mut self, into: &mut SampleColumns) -> Result<Option<Labels>, S::Error> {
        into.clear();
        if !self.begun {
            self.sources.iter_mut().try_for_each(Standing::advance)?;
            self.begun = true;
        }
        let Some(least) = self.sources.iter().filter_map(|s| s.labels.as_ref()).min().cloned() else {
            return Ok(None);
        };
        for s in self.sources.iter_mut().filter(|s| s.labels.as_ref() == Some(&least)) {
            if into.is_empty() {
                std::mem::swap(into, &mut s.samples);
            } else {
                merge(into, &s.samples, &mut self.both);
                std::mem::swap(into, &mut self.both);
            }
            s.advance()?;
        }
        Ok(Some(least))
    }
}

/// Walks columns from the front.
struct Walk<'a> {
    columns: &'a SampleColumns,
    at: usize,
    histogram: usize,
}

impl<'a> Walk<'a> {
    fn new(columns: &'a SampleColumns) -> Walk<'a> {
        Walk { columns, at: 0, histogram: 0 }
    }

    fn time(&self) -> Option<i64> {
        self.columns.times.get(self.at).copied()
    }

    fn take(&mut self, into: Option<&mut SampleColumns>) {
        let c = self.columns;
        let histogram = c.histograms.get(self.histogram).filter(|(i, _)| *i == self.at);
        self.histogram += usize::from(histogram.is_some());
        if let Some(into) = into {
            let value =
                histogram.map_or(Value::Float(c.values[self.at]), |(_, h)| Value::Histogram(Arc::clone(h)));
            let start = c.starts.get(self.at).copied().filter(|s| *s != 0);
            into.push(c.times[self.at], value, start);
        }
        self.at += 1;
    }
}

fn merge(a: &SampleColumns, b: &SampleColumns, out: &mut SampleColumns) {
    out.clear();
    let (mut a, mut b) = (Walk::new(a), Walk::new(b));
    loop {
        match (a.time(), b.time()) {
            (None, None) => return,
            (Some(x), Some(y)) if x == y => {
                a.take(Some(out));
                b.take(None);
            }
            (Some(x), Some(y)) if y < x => b.take(Some(out)),
            (Some(_), _) => a.take(Some(out)),
            (None, Some(_)) => b.take(Some(out)),
        }
    }
}

#[cfg(test)]
mod tests;
