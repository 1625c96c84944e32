//! One request, once it is taken apart: its series are found, its samples appended, and what is not taken is
//! counted.

use super::{Inner, LATER, Outcome, Refusal, Taken, Work, Written, unsynced};
use crate::remote_write::{
    durable::Unsynced,
    known::Found,
    refusal::Refused,
    request::{BadLabels, ExemplarIn, FullIn, MAX_KEYS, Protocol, labels_of_key, series_labels},
};
use model::{AppendError, Appended, Batch, Entry, Exemplar, Labels, Reject, SeriesRef, Timestamp, Value};
use std::{
    collections::HashMap,
    sync::{PoisonError, atomic::Ordering},
};

/// Why a series has no reference.
#[derive(Debug)]
pub(super) enum Absent {
    Bad(BadLabels),
    /// The store does not take these labels.
    Refused(String),
    /// There is no room for a new one.
    NoRoom,
    /// The store takes nothing now.
    Down,
}

pub(super) struct Run<'a> {
    pub(super) inner: &'a Inner,
    pub(super) protocol: Protocol,
    pub(super) work: &'a mut Work,
    pub(super) absent: HashMap<u32, Absent>,
    pub(super) refused: Refused,
    /// What the store said where there was no room for a series.
    pub(super) no_room: Option<String>,
    /// The store does not take anything now.
    pub(super) failure: Option<Refusal>,
    pub(super) written: Written,
    pub(super) appended: bool,
    /// Samples, histograms and exemplars of the request.
    pub(super) all: usize,
}

impl Run<'_> {
    /// Finds the store's reference of every series that has samples.
    pub(super) fn resolve(&mut self) {
        let Work { body, request, refs, scratch, .. } = &mut *self.work;
        refs.clear();
        refs.resize(request.series.len(), None);
        let mut missing = Vec::new();
        let mut spelled = 0;
        {
            let known = self.inner.known.read().unwrap_or_else(PoisonError::into_inner);
            for (i, series) in (0u32..).zip(&request.series) {
                let key = request.key(self.protocol, body, *series, scratch).and_then(|key| {
                    // Version 1 has every label in the body; references can multiply them.
                    spelled += if self.protocol == Protocol::V2 { key.len() } else { 0 };
                    if spelled > MAX_KEYS { Err(BadLabels::TooMuch) } else { Ok(key) }
                });
                let found = match key {
                    Ok(key) => known.find(key),
                    Err(why) => {
                        self.absent.insert(i, Absent::Bad(why));
                        continue;
                    }
                };
                match found {
                    Some(Found::Young(reference)) => refs[i as usize] = Some(reference),
                    Some(Found::Old(reference)) => {
                        refs[i as usize] = Some(reference);
                        missing.push(i);
                    }
                    None => missing.push(i),
                }
            }
        }
        for i in missing {
            self.find(i);
        }
        if self.protocol == Protocol::V1 {
            let Work { body, request, .. } = &*self.work;
            request.families(body).for_each(|about| self.inner.note(&about));
        }
    }

    /// Finds a series that is not among the known ones, or not for sure any more, and makes it known.
    fn find(&mut self, i: u32) {
        let found = self.try_find(i);
        let why = match found {
            Ok(reference) => {
                self.work.refs[i as usize] = reference;
                return;
            }
            Err(Ok(why)) => Absent::Bad(why),
            Err(Err(AppendError::BadLabels(why))) => Absent::Refused(why),
            Err(Err(AppendError::Limit(why))) => {
                self.no_room = Some(why);
                Absent::NoRoom
            }
            Err(Err(e)) => {
                self.fail(&e);
                Absent::Down
            }
        };
        self.work.refs[i as usize] = None;
        self.absent.insert(i, why);
    }

    /// `None` where it brings no sample, and so needs no place in the store.
    fn try_find(&mut self, i: u32) -> Result<Option<SeriesRef>, Result<BadLabels, AppendError>> {
        let Work { body, request, refs, scratch, .. } = &mut *self.work;
        let series = request.series[i as usize];
        let key = request.key(self.protocol, body, series, scratch).map_err(Ok)?;
        let reference = match refs[i as usize] {
            Some(reference) => reference,
            None => {
                let labels = series_labels(key).map_err(Ok)?;
                if let Some(about) = request.about(body, series, labels.metric_name()) {
                    self.inner.note(&about);
                }
                if !series.sampled {
                    return Ok(None);
                }
                self.inner.append.resolve(&labels).map_err(Err)?
            }
        };
        self.inner.known.write().unwrap_or_else(PoisonError::into_inner).put(key, reference);
        Ok(Some(reference))
    }

    fn fail(&mut self, e: &AppendError) {
        self.failure.get_or_insert_with(|| match e {
            AppendError::Limit(message) => Refusal::Limit { message: message.clone(), after: LATER },
            other => unsynced(Unsynced::of(other)),
        });
    }

    /// Counts a sample of a series that has no reference.
    fn count_absent(&mut self, i: u32) {
        let why = match self.absent.get(&i) {
            Some(Absent::Bad(why)) => why.to_string(),
            Some(Absent::Refused(why)) => why.clone(),
            Some(Absent::NoRoom | Absent::Down) | None => return,
        };
        self.refuse(&why, i);
    }

    fn refuse(&mut self, why: &str, i: u32) {
        // The name costs more than the count: it is made where it is shown.
        let name = if self.refused.wants(why) { self.name(i) } else { String::new() };
        self.refused.add(why, || name);
    }

    /// What a series is called in a message.
    fn name(&mut self, i: u32) -> String {
        let Work { body, request, scratch, .. } = &mut *self.work;
        let key = request.key(self.protocol, body, request.series[i as usize], scratch);
        match key.and_then(labels_of_key) {
            Ok(labels) => labels.to_string(),
            Err(_) => format!("series number {}", u64::from(i) + 1),
        }
    }

    /// Appends all samples, by ascending time.
    pub(super) fn append(&mut self) {
        self.all = self.work.request.samples() + self.work.request.exemplars.len();
        self.work.request.scatter_thin_columns();
        for i in std::mem::take(&mut self.work.request.bad_histograms) {
            self.refuse(&Reject::BadHistogram.to_string(), i);
        }
        for i in 0..self.work.request.columns().len() {
            self.fill_from_column(i);
            self.append_batch();
        }
        self.fill_from_scattered();
        self.append_batch();
    }

    fn fill_from_column(&mut self, i: usize) {
        let Work { request, refs, batch, owners, .. } = &mut *self.work;
        let column = &request.columns()[i];
        batch.reset(column.at);
        owners.clear();
        let mut absent = Vec::new();
        for (series, value) in column.series.iter().zip(&column.values) {
            match refs[*series as usize] {
                Some(reference) => {
                    batch.push(reference, *value);
                    owners.push(*series);
                }
                None => absent.push(*series),
            }
        }
        for sample in &column.full {
            match entry(refs, None, sample) {
                Some(entry) => {
                    batch.entries.push(entry);
                    owners.push(sample.series);
                }
                None => absent.push(sample.series),
            }
        }
        for series in absent {
            self.count_absent(series);
        }
    }

    fn fill_from_scattered(&mut self) {
        let Work { request, refs, batch, owners, .. } = &mut *self.work;
        batch.reset(0);
        owners.clear();
        let mut absent = Vec::new();
        for scattered in &request.scattered {
            match entry(refs, Some(scattered.at), &scattered.sample) {
                Some(entry) => {
                    batch.entries.push(entry);
                    owners.push(scattered.sample.series);
                }
                None => absent.push(scattered.sample.series),
            }
        }
        for series in absent {
            self.count_absent(series);
        }
    }

    /// Appends the batch that is filled, and once more what the store did not know any more.
    fn append_batch(&mut self) {
        if self.work.batch.is_empty() || self.failure.is_some() {
            return;
        }
        let done = match self.inner.append.append(&self.work.batch) {
            Ok(done) => done,
            Err(e) => return self.fail(&e),
        };
        let again = self.count(done, true);
        if again.is_empty() {
            return;
        }
        let mut batch = Batch::at(self.work.batch.at);
        let mut owners = Vec::new();
        for index in again {
            let i = self.work.owners[index];
            // Only the first of its samples has it resolved anew.
            let old = self.work.batch.series.get(index).copied();
            let columns = self.work.batch.series.len();
            let old = old.unwrap_or_else(|| self.work.batch.entries[index - columns].series);
            if self.work.refs[i as usize] == Some(old) {
                self.work.refs[i as usize] = None;
                self.find(i);
            }
            let Some(series) = self.work.refs[i as usize] else {
                self.count_absent(i);
                continue;
            };
            match self.work.batch.values.get(index) {
                // Entries come behind all columns: so a batch that has both keeps its order.
                Some(value) => batch.push(series, *value),
                None => {
                    let entry = self.work.batch.entries[index - columns].clone();
                    batch.entries.push(Entry { series, ..entry });
                }
            }
            owners.push(i);
        }
        if batch.is_empty() || self.failure.is_some() {
            return;
        }
        (self.work.batch, self.work.owners) = (batch, owners);
        match self.inner.append.append(&self.work.batch) {
            Ok(done) => drop(self.count(done, false)),
            Err(e) => self.fail(&e),
        }
    }

    /// Counts what became of the batch. Returns the samples whose series the store does not know, where they are
    /// to be tried again.
    fn count(&mut self, done: Appended, again: bool) -> Vec<usize> {
        self.appended |= done.accepted > 0;
        let columns = self.work.batch.series.len();
        let histogram = |batch: &Batch, index: usize| {
            index >= columns && matches!(batch.entries[index - columns].value, Value::Histogram(_))
        };
        let all = self.work.batch.len();
        let histograms = (columns..all).filter(|i| histogram(&self.work.batch, *i)).count();
        let (mut samples, mut histograms) = (all - histograms, histograms);
        let mut unknown = Vec::new();
        for (index, why) in done.rejected {
            if histogram(&self.work.batch, index) {
                histograms -= 1;
            } else {
                samples -= 1;
            }
            if why == Reject::UnknownSeries && again {
                unknown.push(index);
            } else if why == Reject::UnknownSeries {
                let message = "the store is making room".to_owned();
                self.failure.get_or_insert(Refusal::Busy { message, after: super::SOON });
            } else {
                self.refuse(&why.to_string(), self.work.owners[index]);
            }
        }
        self.written.samples += samples as u64;
        self.written.histograms += histograms as u64;
        unknown
    }

    pub(super) fn exemplars(&mut self) {
        let exemplars = std::mem::take(&mut self.work.request.exemplars);
        let mut last: Option<(u32, Option<Labels>)> = None;
        for exemplar in &exemplars {
            if last.as_ref().is_none_or(|(series, _)| *series != exemplar.series) {
                last = Some((exemplar.series, self.labels(exemplar.series)));
            }
            match &last {
                Some((_, Some(labels))) => self.exemplar(labels, *exemplar),
                _ => self.count_absent(exemplar.series),
            }
        }
        self.work.request.exemplars = exemplars;
    }

    /// The labels of a series that is good, whether the store has it or not.
    fn labels(&mut self, i: u32) -> Option<Labels> {
        if self.absent.contains_key(&i) {
            return None;
        }
        let Work { body, request, scratch, .. } = &mut *self.work;
        request.key(self.protocol, body, request.series[i as usize], scratch).and_then(series_labels).ok()
    }

    fn exemplar(&mut self, labels: &Labels, exemplar: ExemplarIn) {
        let Work { body, request, .. } = &*self.work;
        let outcome = match request.exemplar(self.protocol, body, exemplar) {
            Ok(read) => {
                let exemplar = Exemplar { labels: read.labels, value: read.value, at: read.at };
                self.inner.exemplars.add(labels, exemplar).map_err(|e| e.to_string())
            }
            Err(why) => Err(format!("an exemplar's labels: {why}")),
        };
        match outcome {
            Ok(()) => self.written.exemplars += 1,
            Err(why) => self.refused.add(&why, || labels.to_string()),
        }
    }

    pub(super) fn end(self) -> Taken {
        let Run { all, refused, no_room, failure, written, appended, inner, .. } = self;
        inner.counters.rejected.fetch_add(refused.total(), Ordering::Relaxed);
        let refusal = failure
            .or_else(|| no_room.map(|message| Refusal::Limit { message, after: LATER }))
            .or_else(|| (!refused.is_empty()).then(|| Refusal::Invalid(refused.sentence(all as u64))));
        Taken { outcome: Outcome { written, refusal }, appended }
    }
}

fn entry(refs: &[Option<SeriesRef>], at: Option<Timestamp>, sample: &FullIn) -> Option<Entry> {
    let series = refs[sample.series as usize]?;
    Some(Entry { series, at, start: sample.start, value: sample.value.clone() })
}
