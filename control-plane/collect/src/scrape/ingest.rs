//! From a target's text to samples in the store.
//!
//! A target sends nearly the same lines every time, so a text is compared with the one before ([`Template`]): as
//! long as the lines come as they came, a sample costs one comparison and one number. Where they do not, the
//! rest is read by the grammar, and becomes the template of the next time.
//!
//! A scrape is taken whole or not at all. After one that failed, and for a series that did not come again, a
//! staleness marker is written, as Prometheus does; samples that bring their own timestamp get none.

mod decoded;
mod exemplars;
pub(crate) mod native;

use super::{
    exposition::{Entry, Format, MetricType, Parser, Sample, nhcb, protobuf},
    fetch::TOO_LONG,
    relabel::relabel,
    target::Target,
    template::{Place, Template, What, plain_number},
};
use exemplars::Exemplars;
use model::{
    Append, AppendError, Batch, ExemplarSink, Label, Labels, LabelsBuilder, Reject, SeriesRef, Timestamp,
    Value, is_stale_nan,
    labels::{METRIC_NAME, is_legacy_metric_name, is_legacy_name},
    stale_nan,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

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
    exemplars: Exemplars,
    template: Template,
    /// Whether the template's series have been ended: the last scrape failed.
    ended: bool,
    /// Scrapes until series for which there was no room are tried again.
    retry_in: u8,
    /// Series that are left out, as the scrapes since all were tried know it.
    left_out: usize,
    reports: [Option<SeriesRef>; REPORTS.len()],
    families: Arc<Families>,
    /// Series whose end the store did not take; they end with the next scrape that it takes.
    owed: Vec<SeriesRef>,
}

/// What one scrape writes.
#[derive(Debug, Default)]
struct Round {
    batch: Batch,
    /// Which line each sample of the batch belongs to: columns, then entries.
    columns: Vec<u32>,
    entries: Vec<u32>,
}

/// No line: a marker, or a series about the scrape.
const NO_LINE: u32 = u32::MAX;
/// Scrapes until the store is asked again for a series that it had no room for.
const RETRY: u8 = 10;

/// A text that is not the template's any more, and becomes the next one.
struct Renewed<'a> {
    template: Template,
    before: &'a [u8],
    /// The lines of the old template by their texts, the first of each.
    old: HashMap<Box<[u8]>, usize>,
    /// Which of them came again.
    used: Vec<bool>,
    /// What is new.
    fresh: HashMap<&'a [u8], (Option<SeriesRef>, MetricType)>,
    added: usize,
    /// Whether series for which there was no room are tried again.
    retry: bool,
}

impl<'a> Renewed<'a> {
    fn after(old: &Template, place: &Place<'a>) -> Renewed<'a> {
        let mut used = vec![false; old.len()];
        used[..place.line()].fill(true);
        let mut texts = HashMap::with_capacity(old.len());
        old.each(|i, text| {
            if matches!(old.line(i), Some((What::Series(_), ..))) {
                texts.entry(Box::from(text)).or_insert(i);
            }
        });
        let template = old.until(place);
        Renewed {
            template,
            before: place.before(),
            old: texts,
            used,
            fresh: HashMap::new(),
            added: 0,
            retry: false,
        }
    }

    fn push(&mut self, text: &'a [u8], kind: MetricType, what: What, live: bool) {
        self.template.push(self.before, text, kind, what, live);
        self.before = text;
    }
}

/// The series about a scrape itself.
const REPORTS: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    // With `extra_scrape_metrics` only.
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];
/// Those that every job has.
const COMMON_REPORTS: usize = 5;

impl Ingest {
    pub(crate) fn new(append: Arc<dyn Append>, exemplars: Arc<dyn ExemplarSink>) -> Self {
        Ingest {
            append,
            exemplars: Exemplars::new(exemplars),
            template: Template::default(),
            ended: false,
            retry_in: 0,
            left_out: 0,
            reports: [None; REPORTS.len()],
            families: Arc::default(),
            owed: Vec::new(),
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
        let mut out = Scraped::default();
        let mut round = Round { batch: Batch::at(at), ..Round::default() };
        // As in Prometheus: less than none is too much.
        let body_bytes = match &answer {
            Ok((bytes, _)) => bytes.len() as f64,
            Err(e) if e.starts_with(TOO_LONG) => -1.0,
            Err(_) => 0.0,
        };
        let outcome = match answer {
            Ok((bytes, format)) => self.read_as(target, bytes, format, &mut round, &mut out),
            Err(e) => Err(Fault::Text(e)),
        };
        if let Err(fault) = outcome {
            out.error = Some(match fault {
                Fault::Text(text) => text,
                Fault::Store(e) => not_stored(&e),
            });
            out.added = 0;
            self.exemplars.forget();
            round = Round { batch: Batch::at(at), ..Round::default() };
            self.end_all(&mut round);
        }
        let up = f64::from(u8::from(out.error.is_none()));
        let figures = [
            up,
            seconds,
            out.samples as f64,
            out.kept as f64,
            out.added as f64,
            target.timeout.as_secs_f64(),
            target.job.limits.samples.unwrap_or(0) as f64,
            body_bytes,
        ];
        let reports = if target.job.extra_metrics { REPORTS.len() } else { COMMON_REPORTS };
        match self.write(target, round, &figures[..reports], &mut out) {
            Ok(()) => self.exemplars.hand_on(),
            Err(e) => {
                self.exemplars.forget();
                out.error.get_or_insert_with(|| not_stored(&e));
            }
        }
        out
    }

    fn read_as(
        &mut self,
        target: &Target,
        bytes: &[u8],
        format: Format,
        round: &mut Round,
        out: &mut Scraped,
    ) -> Result<(), Fault> {
        let forms = target.job.forms;
        let decoded = match format {
            Format::Protobuf => protobuf::decode(bytes, forms).map_err(Fault::Text)?,
            Format::Text | Format::OpenMetrics if forms.custom => nhcb::collate(format, bytes, forms)
                .map_err(|e| Fault::Text(format!("the text is not valid: {e}")))?,
            Format::Text | Format::OpenMetrics => return self.read(target, bytes, format, round, out),
        };
        self.read_decoded(target, decoded, round, out)
    }

    fn read(
        &mut self,
        target: &Target,
        bytes: &[u8],
        format: Format,
        round: &mut Round,
        out: &mut Scraped,
    ) -> Result<(), Fault> {
        let mut parser = Parser::new(format, bytes);
        let plain = parser.is_plain();
        let mut place = Place::default();
        let mut renewed = self.retry(&place);
        let columns = self.template.kept();
        round.batch.series.reserve_exact(columns + REPORTS.len());
        round.batch.values.reserve_exact(columns + REPORTS.len());
        round.columns.reserve_exact(columns + REPORTS.len());
        loop {
            if renewed.is_none() && plain {
                self.follow(&mut parser, &mut place, round, out);
                self.check_sample_limit(target, out)?;
            }
            let start = parser.at();
            let entry = parser.next().map_err(|e| Fault::Text(format!("the text is not valid: {e}")))?;
            let Some(entry) = entry else { break };
            let (about, sample) = match entry {
                Entry::Sample(sample) => (&bytes[start..sample.begin], Some(sample)),
                other => {
                    self.note(other);
                    (parser.since(start), None)
                }
            };
            if !about.is_empty() {
                let kind = parser.kind();
                match &mut renewed {
                    None if self.template.is_next(&place, about)
                        && self.template.line(place.line()) == Some((What::Comment, kind, false)) =>
                    {
                        self.template.skip(&mut place, about);
                    }
                    None => renewed.insert(Renewed::after(&self.template, &place)).push(
                        about,
                        kind,
                        What::Comment,
                        false,
                    ),
                    Some(renewed) => renewed.push(about, kind, What::Comment, false),
                }
            }
            if let Some(sample) = sample {
                out.samples += 1;
                self.sample(target, &parser, &sample, &mut place, &mut renewed, round, out)?;
            }
        }
        self.conclude(renewed, &place, round, out);
        Ok(())
    }

    /// What was read becomes the template, where it is another one.
    fn conclude<'a>(
        &mut self,
        mut renewed: Option<Renewed<'a>>,
        place: &Place<'a>,
        round: &mut Round,
        out: &mut Scraped,
    ) {
        if renewed.is_none() && place.line() < self.template.len() {
            renewed = Some(Renewed::after(&self.template, place));
        }
        match renewed {
            None => out.added = if self.ended { out.kept } else { 0 },
            Some(renewed) => {
                self.left_out = if renewed.retry { out.refused } else { self.left_out + out.refused };
                out.added = if self.ended { out.kept } else { renewed.added };
                if !self.ended {
                    self.end_absent(&renewed, round);
                }
                self.template = renewed.template;
                self.template.shrink();
            }
        }
        self.ended = false;
        if out.refused > 0 && self.retry_in == 0 {
            self.retry_in = RETRY;
        }
    }

    /// Goes on while the text goes on as the template does.
    fn follow<'a>(
        &self,
        parser: &mut Parser<'a>,
        place: &mut Place<'a>,
        round: &mut Round,
        out: &mut Scraped,
    ) {
        let mut kind = parser.kind();
        let rest = parser.rest();
        let mut at = 0;
        loop {
            let here = *place;
            match self.template.follow(place, &rest[at..]) {
                Some((What::Comment, behind, len)) => {
                    kind = behind;
                    at += len;
                }
                Some((What::Series(series), of, len)) if of == kind => {
                    let Some((value, n)) = plain_number(&rest[at + len..]) else {
                        *place = here;
                        break;
                    };
                    at += len + n + 1;
                    out.samples += 1;
                    if let Some(series) = series {
                        out.kept += 1;
                        round.batch.push(series, value);
                        round.columns.push(line_number(here.line()));
                    }
                }
                _ => {
                    *place = here;
                    break;
                }
            }
        }
        parser.skip(at, kind);
    }

    /// Takes a sample that the grammar read.
    #[expect(clippy::too_many_arguments, reason = "the state of one reading, which `read` holds")]
    fn sample<'a>(
        &self,
        target: &Target,
        parser: &Parser<'a>,
        sample: &Sample<'a>,
        place: &mut Place<'a>,
        renewed: &mut Option<Renewed<'a>>,
        round: &mut Round,
        out: &mut Scraped,
    ) -> Result<(), Fault> {
        let kind = parser.kind();
        let own = sample.at.filter(|_| target.job.honor_timestamps);
        let live = own.is_none() || target.job.track_timestamps;
        let here = self.locate(target, kind, sample.text, live, place, renewed, out)?;
        let Some((series, line)) = here else { return Ok(()) };
        out.kept += 1;
        self.check_sample_limit(target, out)?;
        if let Some(exemplar) = &parser.exemplar {
            self.exemplars.note(series, exemplar.clone(), own.unwrap_or(round.batch.at), || {
                self.labels_of(target, kind, sample.text).ok().flatten()
            });
        }
        let start = if parser.has_starts() { parser.start() } else { None };
        if own.is_none() && start.is_none() {
            round.batch.push(series, sample.value);
            round.columns.push(line_number(line));
        } else {
            let value = Value::Float(sample.value);
            round.batch.entries.push(model::Entry { series, at: own, start, value });
            round.entries.push(line_number(line));
        }
        Ok(())
    }

    /// The series of the next line and the line's number, `None` when it is not stored.
    #[expect(clippy::too_many_arguments, reason = "the state of one reading, which `read` holds")]
    #[inline]
    fn locate<'a>(
        &self,
        target: &Target,
        kind: MetricType,
        text: &'a [u8],
        live: bool,
        place: &mut Place<'a>,
        renewed: &mut Option<Renewed<'a>>,
        out: &mut Scraped,
    ) -> Result<Option<(SeriesRef, usize)>, Fault> {
        let known = self.template.line(place.line()).filter(|_| self.template.is_next(place, text));
        let series = match (&mut *renewed, known) {
            (None, Some((What::Series(series), of, was)))
                if of == kind && (was == live || series.is_none()) =>
            {
                self.template.skip(place, text);
                series
            }
            (renewed, _) => {
                let renewed = renewed.get_or_insert_with(|| Renewed::after(&self.template, place));
                let series = self.renew(target, kind, text, renewed, out)?;
                renewed.push(text, kind, What::Series(series), live);
                series
            }
        };
        let line = renewed.as_ref().map_or(place.line(), |r| r.template.len()) - 1;
        Ok(series.map(|series| (series, line)))
    }

    fn check_sample_limit(&self, target: &Target, out: &Scraped) -> Result<(), Fault> {
        match target.job.limits.samples {
            Some(limit) if out.kept as u64 > limit => {
                Err(Fault::Text(format!("there are more samples than the sample_limit of {limit}")))
            }
            _ => Ok(()),
        }
    }

    /// The series of a line that does not stand where it stood, `None` when it is not to be stored.
    fn renew<'a>(
        &self,
        target: &Target,
        kind: MetricType,
        text: &'a [u8],
        renewed: &mut Renewed<'a>,
        out: &mut Scraped,
    ) -> Result<Option<SeriesRef>, Fault> {
        if let Some(i) = renewed.old.get(text)
            && let Some((What::Series(series), of, _)) = self.template.line(*i)
            && of == kind
            && (series.is_some() || !renewed.retry)
        {
            renewed.used[*i] = true;
            return Ok(series);
        }
        if let Some((series, of)) = renewed.fresh.get(text)
            && *of == kind
        {
            return Ok(*series);
        }
        let series = match self.labels_of(target, kind, text)? {
            None => None,
            Some(labels) => {
                let full = target.job.limits.series.is_some_and(|l| renewed.template.kept() as u64 >= l);
                let series = if full { None } else { self.resolve(&labels)? };
                out.refused += usize::from(series.is_none());
                series
            }
        };
        renewed.added += usize::from(series.is_some());
        renewed.fresh.insert(text, (series, kind));
        Ok(series)
    }

    /// The store's reference, `None` when it has no room.
    fn resolve(&self, labels: &Labels) -> Result<Option<SeriesRef>, Fault> {
        match self.append.resolve(labels) {
            Ok(series) => Ok(Some(series)),
            Err(AppendError::Limit(_)) => Ok(None),
            Err(AppendError::BadLabels(why)) => Err(Fault::Text(why)),
            Err(e) => Err(Fault::Store(e)),
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

    /// Series of the target that there is no room for.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    /// What the target says about its metrics.
    pub(crate) fn families(&self) -> Arc<Families> {
        Arc::clone(&self.families)
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
        if job.legacy_names {
            let fits = |l: &Label| match &*l.name {
                METRIC_NAME => is_legacy_metric_name(&l.value),
                name => is_legacy_name(name),
            };
            if !labels.iter().all(fits) {
                return Err(Fault::Text(format!("series {labels} has a name beyond the classic alphabet")));
            }
        }
        if labels.metric_name().is_empty() {
            return Err(Fault::Text("relabelling left a series without a metric name".to_owned()));
        }
        check_limits(target, &labels)?;
        Ok(Some(labels))
    }

    /// Adds staleness markers for what the last good scrape had and this one has not.
    fn end_absent(&self, renewed: &Renewed<'_>, round: &mut Round) {
        let gone: Vec<SeriesRef> =
            self.template.live().filter(|(i, _)| !renewed.used[*i]).map(|(_, series)| series).collect();
        if gone.is_empty() {
            return;
        }
        // Several lines may mean one series.
        let here: HashSet<SeriesRef> =
            round.batch.series.iter().copied().chain(round.batch.entries.iter().map(|e| e.series)).collect();
        for series in gone.into_iter().filter(|s| !here.contains(s)) {
            round.batch.push(series, stale_nan());
            round.columns.push(NO_LINE);
        }
    }

    /// Adds staleness markers for everything.
    fn end_all(&mut self, round: &mut Round) {
        if !std::mem::replace(&mut self.ended, true) {
            for (_, series) in self.template.live() {
                round.batch.push(series, stale_nan());
                round.columns.push(NO_LINE);
            }
        }
    }

    /// Writes the samples, and the series about the scrape itself.
    fn write(
        &mut self,
        target: &Target,
        mut round: Round,
        figures: &[f64],
        out: &mut Scraped,
    ) -> Result<(), AppendError> {
        if !self.owed.is_empty() {
            let here: HashSet<SeriesRef> = round.batch.series.iter().copied().collect();
            for series in std::mem::take(&mut self.owed).into_iter().filter(|s| !here.contains(s)) {
                round.batch.push(series, stale_nan());
                round.columns.push(NO_LINE);
            }
        }
        let first_report = round.batch.series.len();
        for (i, v) in figures.iter().enumerate() {
            let series = self.report(target, i)?;
            round.batch.push(series, *v);
            round.columns.push(NO_LINE);
        }
        let done = match self.append.append(&round.batch) {
            Ok(done) => done,
            Err(e) => {
                let all = round.batch.series.iter().zip(&round.batch.values);
                self.owed.extend(all.filter(|(_, v)| is_stale_nan(**v)).map(|(series, _)| *series));
                return Err(e);
            }
        };
        if done.rejected.is_empty() {
            return Ok(());
        }
        // The store retired some series. What has ended anyway needs no marker; the rest is written once more,
        // under new references.
        let mut lines: HashMap<u32, Option<Labels>> = HashMap::new();
        let mut again = Batch::at(round.batch.at);
        for (n, why) in &done.rejected {
            match (why, round.line_of(*n)) {
                (Reject::UnknownSeries, Some(line)) => drop(lines.insert(line, None)),
                (Reject::UnknownSeries, None) if *n >= first_report && *n < round.columns.len() => {
                    self.reports[*n - first_report] = None;
                    let series = self.report(target, *n - first_report)?;
                    again.push(series, round.batch.values[*n]);
                }
                (Reject::UnknownSeries, None) => {}
                _ => out.rejected += 1,
            }
        }
        if !lines.is_empty() {
            self.template.each(|i, text| {
                if let Some(labels) = lines.get_mut(&line_number(i))
                    && let Some((_, kind, _)) = self.template.line(i)
                {
                    *labels = self.labels_of(target, kind, text).ok().flatten();
                }
            });
        }
        for (n, why) in done.rejected {
            let Some(line) = round.line_of(n).filter(|_| why == Reject::UnknownSeries) else { continue };
            let Some(Some(labels)) = lines.get(&line) else { continue };
            let series = match self.append.resolve(labels) {
                Ok(series) => Some(series),
                Err(AppendError::Limit(_)) => None,
                Err(e) => return Err(e),
            };
            self.template.set_series(line as usize, series);
            match (series, n.checked_sub(round.columns.len())) {
                (None, _) => out.refused += 1,
                (Some(series), None) => again.push(series, round.batch.values[n]),
                (Some(series), Some(n)) => {
                    again.entries.push(model::Entry { series, ..round.batch.entries[n].clone() });
                }
            }
        }
        if !again.is_empty() {
            out.rejected += self.append.append(&again)?.rejected.len();
        }
        Ok(())
    }

    /// The reference of a series about the scrape itself.
    fn report(&mut self, target: &Target, i: usize) -> Result<SeriesRef, AppendError> {
        if let Some(series) = self.reports[i] {
            return Ok(series);
        }
        let series = self.append.resolve(&target.labels.with(METRIC_NAME, REPORTS[i]))?;
        self.reports[i] = Some(series);
        Ok(series)
    }

    /// Ends everything, for a target that is not scraped any more.
    pub(crate) fn end(&mut self, target: &Target, at: Timestamp) -> Result<(), AppendError> {
        let mut round = Round { batch: Batch::at(at), ..Round::default() };
        self.end_all(&mut round);
        let reports = if target.job.extra_metrics { REPORTS.len() } else { COMMON_REPORTS };
        self.write(target, round, &[stale_nan(); REPORTS.len()][..reports], &mut Scraped::default())
    }
}

impl Round {
    /// The line of the `n`-th sample, columns first.
    fn line_of(&self, n: usize) -> Option<u32> {
        let line = match n.checked_sub(self.columns.len()) {
            None => self.columns.get(n),
            Some(n) => self.entries.get(n),
        };
        line.copied().filter(|l| *l != NO_LINE)
    }
}

fn line_number(i: usize) -> u32 {
    u32::try_from(i).unwrap_or(NO_LINE)
}

fn not_stored(e: &AppendError) -> String {
    format!("the samples could not be stored: {}", super::fetch::chain(e))
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
