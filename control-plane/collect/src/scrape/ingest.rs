//! From a target's text to samples in the store.
//!
//! A target sends nearly the same lines every time. So each line's series is remembered by its bytes, in the
//! order of the lines: as long as they come as they came, a sample costs one comparison and one number.
//!
//! A scrape is taken whole or not at all. After one that failed, and for a series that did not come again, a
//! staleness marker is written, as Prometheus does; samples that bring their own timestamp get none.

use super::{
    exposition::{Entry, Format, MetricType, Parser, Sample},
    relabel::relabel,
    target::Target,
};
use model::{
    Append, AppendError, Batch, Labels, LabelsBuilder, Reject, SeriesRef, Timestamp, Value, is_stale_nan,
    labels::METRIC_NAME, stale_nan,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A line of the target, as it was understood.
#[derive(Debug)]
struct Line {
    text: Arc<[u8]>,
    /// The type of its family then, which says how its labels are written.
    kind: MetricType,
    labels: Labels,
    /// `None`: relabelling dropped it, or the store has no room for it.
    series: Option<SeriesRef>,
    /// The last scrape that had it.
    seen: u64,
    /// Whether the last good scrape wrote a sample for it, which has to be ended some time.
    live: bool,
}

/// What a target says about a family of its metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    pub kind: MetricType,
    pub help: String,
    /// Empty when there is none.
    pub unit: String,
}

/// The families of a target by name.
pub type Families = BTreeMap<String, Metadata>;

/// Families of which one target can tell something.
pub(crate) const MAX_FAMILIES: usize = 10_000;
/// Characters of a help text that are kept.
pub(crate) const MAX_HELP: usize = 2048;

/// What became of one scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scraped {
    /// Samples in the text.
    pub(crate) samples: usize,
    /// Those that relabelling left.
    pub(crate) kept: usize,
    /// Series that the scrape before did not have.
    pub(crate) added: usize,
    /// Samples that the store did not take.
    pub(crate) rejected: usize,
    /// Series that the store had no room for.
    pub(crate) refused: usize,
    pub(crate) error: Option<String>,
}

/// Why a text is not taken.
enum Fault {
    Text(String),
    Store(AppendError),
}

#[derive(Debug)]
pub(crate) struct Ingest {
    append: Arc<dyn Append>,
    lines: Vec<Line>,
    by_text: HashMap<Arc<[u8]>, usize>,
    round: u64,
    reports: Vec<(Labels, Option<SeriesRef>)>,
    families: Arc<Families>,
    /// Series whose line means another one now; they end with this scrape.
    orphans: Vec<SeriesRef>,
    batch: Batch,
    /// Which line each sample of the batch belongs to: columns, then entries.
    columns: Vec<usize>,
    entries: Vec<usize>,
}

/// The series about a scrape itself.
const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

impl Ingest {
    pub(crate) fn new(append: Arc<dyn Append>, target: &Target) -> Self {
        Ingest {
            append,
            lines: Vec::new(),
            by_text: HashMap::new(),
            round: 0,
            reports: REPORTS.iter().map(|name| (target.labels.with(METRIC_NAME, *name), None)).collect(),
            families: Arc::default(),
            orphans: Vec::new(),
            batch: Batch::default(),
            columns: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Takes a target's answer, or the sentence that says why there is none. `seconds` is how long it took.
    pub(crate) fn take(
        &mut self,
        target: &Target,
        at: Timestamp,
        seconds: f64,
        answer: Result<(&[u8], Format), String>,
    ) -> Scraped {
        self.round += 1;
        self.batch.reset(at);
        self.columns.clear();
        self.entries.clear();
        let mut out = Scraped::default();
        let outcome = match answer {
            Ok((bytes, format)) => self.read(target, bytes, format, &mut out),
            Err(e) => Err(Fault::Text(e)),
        };
        if let Err(fault) = outcome {
            out.error = Some(match fault {
                Fault::Text(text) => text,
                Fault::Store(e) => format!("the samples could not be stored: {}", super::fetch::chain(&e)),
            });
            self.batch.reset(at);
            self.columns.clear();
            self.entries.clear();
            out.added = 0;
        }
        let good = out.error.is_none();
        self.end_absent(good);
        if let Err(e) = self.write(&mut out) {
            out.error.get_or_insert_with(|| {
                format!("the samples could not be stored: {}", super::fetch::chain(&e))
            });
        }
        let figures =
            [f64::from(u8::from(good)), seconds, out.samples as f64, out.kept as f64, out.added as f64];
        if let Err(e) = self.report(at, &figures) {
            out.error.get_or_insert_with(|| {
                format!("the samples could not be stored: {}", super::fetch::chain(&e))
            });
        }
        self.forget();
        out
    }

    fn read(
        &mut self,
        target: &Target,
        bytes: &[u8],
        format: Format,
        out: &mut Scraped,
    ) -> Result<(), Fault> {
        let mut parser = Parser::new(format, bytes);
        let mut next = 0;
        loop {
            let hint: &[u8] = self.lines.get(next).map_or(b"", |l| &l.text);
            let entry = parser.next(hint).map_err(|e| Fault::Text(format!("the text is not valid: {e}")))?;
            let sample = match entry {
                None => return Ok(()),
                Some(Entry::Sample(sample)) => sample,
                Some(about) => {
                    self.note(about);
                    continue;
                }
            };
            out.samples += 1;
            let i = self.line(target, &parser, &sample, next, out)?;
            next = i + 1;
            let line = &mut self.lines[i];
            line.seen = self.round;
            let Some(series) = line.series else { continue };
            out.kept += 1;
            if let Some(limit) = target.job.limits.samples
                && out.kept as u64 > limit
            {
                return Err(Fault::Text(format!("there are more samples than the sample_limit of {limit}")));
            }
            let own = sample.at.filter(|_| target.job.honor_timestamps);
            let start = if parser.has_starts() { parser.start() } else { None };
            if own.is_none() && start.is_none() {
                self.batch.push(series, sample.value);
                self.columns.push(i);
            } else {
                let value = Value::Float(sample.value);
                self.batch.entries.push(model::Entry { series, at: own, start, value });
                self.entries.push(i);
            }
        }
    }

    /// Keeps what a line says about its family.
    fn note(&mut self, about: Entry<'_>) {
        let (family, help, kind, unit) = match about {
            Entry::Help { family, text } => (family, Some(text), None, None),
            Entry::Type { family, kind } => (family, None, Some(kind), None),
            Entry::Unit { family, unit } => (family, None, None, Some(unit)),
            Entry::Sample(_) => return,
        };
        let mut wanted = self.families.get(&*family).cloned().unwrap_or_default();
        if let Some(help) = help
            && wanted.help != *help
        {
            wanted.help = help.chars().take(MAX_HELP).collect();
        }
        wanted.kind = kind.unwrap_or(wanted.kind);
        if let Some(unit) = unit {
            unit.clone_into(&mut wanted.unit);
        }
        let known = self.families.get(&*family);
        if known != Some(&wanted) && (known.is_some() || self.families.len() < MAX_FAMILIES) {
            Arc::make_mut(&mut self.families).insert(family.into_owned(), wanted);
        }
    }

    /// What the target says about its metrics.
    pub(crate) fn families(&self) -> Arc<Families> {
        Arc::clone(&self.families)
    }

    /// The number of the line that a sample is of; `next` is the likely one.
    fn line(
        &mut self,
        target: &Target,
        parser: &Parser<'_>,
        sample: &Sample<'_>,
        next: usize,
        out: &mut Scraped,
    ) -> Result<usize, Fault> {
        let known = match self.lines.get(next) {
            Some(line) if *line.text == *sample.text => Some(next),
            _ => self.by_text.get(sample.text).copied(),
        };
        if let Some(i) = known
            && self.lines[i].kind == parser.kind()
        {
            let line = &mut self.lines[i];
            out.added += usize::from(line.seen + 1 < self.round && line.series.is_some());
            return Ok(i);
        }
        let labels = self.labels_of(target, parser.kind(), sample.text)?;
        let series = match &labels {
            None => None,
            Some(labels) => match self.append.resolve(labels) {
                Ok(series) => Some(series),
                Err(AppendError::Limit(_)) => {
                    out.refused += 1;
                    None
                }
                Err(AppendError::BadLabels(why)) => return Err(Fault::Text(why)),
                Err(e) => return Err(Fault::Store(e)),
            },
        };
        out.added += usize::from(series.is_some());
        let line = Line {
            text: Arc::from(sample.text),
            kind: parser.kind(),
            labels: labels.unwrap_or_default(),
            series,
            seen: 0,
            live: false,
        };
        Ok(match known {
            Some(i) => {
                let old = std::mem::replace(&mut self.lines[i], line);
                self.orphans.extend(old.series.filter(|_| old.live));
                i
            }
            None => {
                self.by_text.insert(Arc::clone(&line.text), self.lines.len());
                self.lines.push(line);
                self.lines.len() - 1
            }
        })
    }

    /// The labels under which a line's samples are stored, `None` when relabelling drops them.
    fn labels_of(&self, target: &Target, kind: MetricType, text: &[u8]) -> Result<Option<Labels>, Fault> {
        let job = &target.job;
        let mut builder = LabelsBuilder::default();
        Parser::labels_of_text(kind, text, &mut builder);
        let own = builder.build();
        let mut labels = own.edit();
        for l in target.labels.iter() {
            match own.get(&l.name) {
                None => {
                    labels.set(Arc::clone(&l.name), Arc::clone(&l.value));
                }
                Some(_) if job.honor_labels => {}
                Some(theirs) => {
                    let mut name = format!("exported_{}", l.name);
                    while own.get(&name).is_some() || target.labels.get(&name).is_some() {
                        name = format!("exported_{name}");
                    }
                    labels.set(name, theirs);
                    labels.set(Arc::clone(&l.name), Arc::clone(&l.value));
                }
            }
        }
        if !relabel(&job.metric_relabel, &mut labels) {
            return Ok(None);
        }
        let labels = labels.build();
        if labels.metric_name().is_empty() {
            return Err(Fault::Text("relabelling left a series without a metric name".to_owned()));
        }
        check_limits(target, &labels)?;
        Ok(Some(labels))
    }

    /// Adds staleness markers for what the last good scrape had and this one has not.
    fn end_absent(&mut self, good: bool) {
        for series in self.orphans.drain(..) {
            self.batch.push(series, stale_nan());
            self.columns.push(usize::MAX);
        }
        let own_time: std::collections::HashSet<usize> = self
            .entries
            .iter()
            .zip(&self.batch.entries)
            .filter(|(_, e)| e.at.is_some())
            .map(|(i, _)| *i)
            .collect();
        for (i, line) in self.lines.iter_mut().enumerate() {
            let here = good && line.seen == self.round && line.series.is_some();
            if here {
                line.live = own_time.is_empty() || !own_time.contains(&i);
            } else if std::mem::replace(&mut line.live, false)
                && let Some(series) = line.series
            {
                self.batch.push(series, stale_nan());
                self.columns.push(i);
            }
        }
    }

    fn write(&mut self, out: &mut Scraped) -> Result<(), AppendError> {
        let done = self.append.append(&self.batch)?;
        let mut again = Batch::at(self.batch.at);
        for (n, why) in done.rejected {
            if why != Reject::UnknownSeries {
                out.rejected += 1;
                continue;
            }
            let column = n.checked_sub(self.columns.len());
            // The store retired the series. What has ended anyway needs no marker; the rest is written once more,
            // under a new reference.
            if column.is_none() && is_stale_nan(self.batch.values[n]) {
                continue;
            }
            let i = column.map_or_else(|| self.columns[n], |n| self.entries[n]);
            let series = match self.append.resolve(&self.lines[i].labels) {
                Ok(series) => series,
                Err(AppendError::Limit(_)) => {
                    out.refused += 1;
                    self.lines[i].series = None;
                    continue;
                }
                Err(e) => return Err(e),
            };
            self.lines[i].series = Some(series);
            match column {
                None => again.push(series, self.batch.values[n]),
                Some(n) => again.entries.push(model::Entry { series, ..self.batch.entries[n].clone() }),
            }
        }
        if !again.is_empty() {
            out.rejected += self.append.append(&again)?.rejected.len();
        }
        Ok(())
    }

    /// Writes the series about the scrape itself.
    fn report(&mut self, at: Timestamp, figures: &[f64]) -> Result<(), AppendError> {
        for attempt in 0..2 {
            let mut batch = Batch::at(at);
            for ((labels, series), v) in self.reports.iter_mut().zip(figures) {
                let series = match *series {
                    Some(series) => series,
                    None => *series.insert(self.append.resolve(labels)?),
                };
                batch.push(series, *v);
            }
            let done = self.append.append(&batch)?;
            if attempt > 0 || !done.rejected.iter().any(|(_, why)| *why == Reject::UnknownSeries) {
                break;
            }
            self.reports.iter_mut().for_each(|(_, series)| *series = None);
        }
        Ok(())
    }

    /// Drops lines that no longer come, once they are many.
    fn forget(&mut self) {
        let absent = self.lines.iter().filter(|l| l.seen < self.round).count();
        // After a failed scrape all of them are absent; they are likely to come back.
        if absent < 64 + self.lines.len() / 4 || absent == self.lines.len() {
            return;
        }
        let round = self.round;
        self.lines.retain(|l| l.seen == round);
        self.by_text = self.lines.iter().enumerate().map(|(i, l)| (Arc::clone(&l.text), i)).collect();
    }

    /// Ends everything, for a target that is not scraped any more.
    pub(crate) fn end(&mut self, at: Timestamp) -> Result<(), AppendError> {
        self.batch.reset(at);
        self.columns.clear();
        self.entries.clear();
        self.end_absent(false);
        self.write(&mut Scraped::default())?;
        self.report(at, &[stale_nan(); REPORTS.len()])
    }
}

fn check_limits(target: &Target, labels: &Labels) -> Result<(), Fault> {
    let limits = &target.job.limits;
    let over = |limit: Option<u64>, n: usize| limit.filter(|l| n as u64 > *l);
    if let Some(limit) = over(limits.labels, labels.len()) {
        return Err(Fault::Text(format!("series {labels} has more labels than the label_limit of {limit}")));
    }
    for l in labels.iter() {
        if let Some(limit) = over(limits.label_name_bytes, l.name.len()) {
            return Err(Fault::Text(format!("label {:?} is longer than {limit} bytes, its limit", l.name)));
        }
        if let Some(limit) = over(limits.label_value_bytes, l.value.len()) {
            return Err(Fault::Text(format!(
                "the value of label {:?} is longer than {limit} bytes, its limit",
                l.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
