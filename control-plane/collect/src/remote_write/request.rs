//! A write request, taken apart without copying it.
//!
//! Samples end up in columns, one for each time that occurs, with the series as numbers in the request's own
//! order; label sets stay where they are in the body, so that a series that is known costs no label.

use super::{
    histogram,
    wire::{Kind, Malformed, Wire, put_varint, varint_len},
};
use model::{Label, Labels, Timestamp, Value, labels::METRIC_NAME};
use std::{collections::HashMap, sync::Arc};

/// Which message the body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// A part of the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    from: u32,
    to: u32,
}

impl Place {
    const NOWHERE: Place = Place { from: 0, to: 0 };

    /// Bodies are shorter than 4 GiB.
    fn new(from: usize, to: usize) -> Place {
        let narrow = |v: usize| u32::try_from(v).unwrap_or(u32::MAX);
        Place { from: narrow(from), to: narrow(to) }
    }

    fn of(w: &Wire<'_>) -> Place {
        Place::new(w.at, w.end)
    }

    fn wire(self, body: &[u8]) -> Wire<'_> {
        Wire::part(body, self.from as usize, self.to as usize)
    }

    fn is_empty(self) -> bool {
        self.from == self.to
    }
}

/// A series of the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeriesIn {
    labels: Place,
    /// Its labels were not in one piece, and are in `Request::copied` instead.
    copied: bool,
    /// What version 2 says about its family.
    metadata: Place,
    /// Whether it brings samples or histograms, and not only exemplars or what is said about it.
    pub(super) sampled: bool,
}

/// A sample that is no plain float.
#[derive(Debug)]
pub(super) struct FullIn {
    pub(super) series: u32,
    pub(super) start: Option<Timestamp>,
    pub(super) value: Value,
}

/// The samples of one time, in the request's order.
#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) at: Timestamp,
    pub(super) series: Vec<u32>,
    pub(super) values: Vec<f64>,
    pub(super) full: Vec<FullIn>,
}

/// A sample among so many times that columns do not pay.
#[derive(Debug)]
pub(super) struct Scattered {
    pub(super) at: Timestamp,
    pub(super) sample: FullIn,
}

/// An exemplar, not read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExemplarIn {
    pub(super) series: u32,
    place: Place,
}

/// An exemplar, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExemplarRead {
    pub(super) labels: Labels,
    pub(super) value: f64,
    pub(super) at: Timestamp,
}

/// What is said about a family of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About<'a> {
    pub(super) family: &'a str,
    pub(super) kind: u64,
    pub(super) help: &'a str,
    pub(super) unit: &'a str,
}

/// Why a label set is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLabels {
    #[error("the series has no metric name")]
    NoName,
    #[error("a label has no name")]
    EmptyName,
    #[error("a label stands there twice")]
    Twice,
    #[error("a label is not UTF-8")]
    NotUtf8,
    #[error("its labels refer to symbols that are not there")]
    NoSymbol,
    #[error("its labels take more than 64 KiB")]
    TooLong,
    #[error("the labels are not well formed")]
    Malformed,
    #[error("the labels of all series together take more than {} MiB", MAX_KEYS >> 20)]
    TooMuch,
}

/// Times that get a column of their own.
const MAX_COLUMNS: usize = 1024;
/// A label set that is longer is none that the store takes.
const MAX_LABELS: usize = 64 << 10;
/// Label text that the references of one request may add up to: they can multiply a text without end.
pub(super) const MAX_KEYS: usize = 64 << 20;

/// A request taken apart. Its memory serves for the next one.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) series: Vec<SeriesIn>,
    columns: Vec<Column>,
    /// How many of the columns are in use.
    used: usize,
    by_time: HashMap<Timestamp, usize>,
    pub(super) scattered: Vec<Scattered>,
    pub(super) exemplars: Vec<ExemplarIn>,
    /// Version 1: what is said about families.
    families: Vec<Place>,
    /// Version 2: the texts.
    symbols: Vec<Place>,
    copied: Vec<u8>,
    /// Histograms whose parts contradict each other, each by its series.
    pub(super) bad_histograms: Vec<u32>,
}

/// Where the current series' samples go.
#[derive(Debug, Clone, Copy)]
struct Hint {
    first: usize,
    next: usize,
}

impl Request {
    fn reset(&mut self) {
        for column in &mut self.columns[..self.used] {
            column.series.clear();
            column.values.clear();
            column.full.clear();
        }
        self.used = 0;
        self.series.clear();
        self.by_time.clear();
        self.scattered.clear();
        self.exemplars.clear();
        self.families.clear();
        self.symbols.clear();
        self.copied.clear();
        self.bad_histograms.clear();
    }

    /// Bytes that are kept for the next request.
    pub(super) fn memory(&self) -> usize {
        let columns: usize =
            self.columns.iter().map(|c| c.series.capacity() * 12 + c.full.capacity() * 40 + 80).sum();
        columns + self.series.capacity() * 24 + self.scattered.capacity() * 48 + self.symbols.capacity() * 8
    }

    /// Takes a body apart.
    ///
    /// # Errors
    /// When it is not a message of its protocol; then nothing of it counts.
    pub(super) fn read(&mut self, protocol: Protocol, body: &[u8]) -> Result<(), Malformed> {
        self.reset();
        let mut hint = Hint { first: 0, next: 0 };
        let mut w = Wire::new(body);
        while let Some(tag) = w.tag()? {
            match (protocol, tag.field, tag.kind) {
                (Protocol::V1, 1, Kind::Bytes) | (Protocol::V2, 5, Kind::Bytes) => {
                    let inner = w.nested()?;
                    self.series(protocol, inner, &mut hint)?;
                }
                (Protocol::V1, 3, Kind::Bytes) => self.families.push(Place::of(&w.nested()?)),
                (Protocol::V2, 4, Kind::Bytes) => self.symbols.push(Place::of(&w.nested()?)),
                (Protocol::V1, 1 | 3, _) | (Protocol::V2, 4 | 5, _) => return Err(w.wrong_kind()),
                (_, _, kind) => w.skip(kind)?,
            }
        }
        self.columns[..self.used].sort_by_key(|c| c.at);
        Ok(())
    }

    /// Samples and histograms, those that contradict themselves too.
    pub(super) fn samples(&self) -> usize {
        let columns: usize = self.columns().iter().map(|c| c.series.len() + c.full.len()).sum();
        columns + self.scattered.len() + self.bad_histograms.len()
    }

    /// The columns, by ascending time.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns[..self.used]
    }

    fn series(&mut self, protocol: Protocol, mut w: Wire<'_>, hint: &mut Hint) -> Result<(), Malformed> {
        let number = u32::try_from(self.series.len()).map_err(|_| w.wrong_kind())?;
        let mut labels = Labelling::default();
        let mut metadata = Place::NOWHERE;
        let mut created = 0;
        let (mut sampled, mut exemplars) = (false, false);
        hint.next = hint.first;
        // It may stand behind the samples that it speaks of.
        if protocol == Protocol::V2 {
            created = created_in(w)?;
        }
        loop {
            let from = w.at;
            let Some(tag) = w.tag()? else { break };
            match (protocol, tag.field, tag.kind) {
                (Protocol::V1, 1, Kind::Bytes) => {
                    w.nested()?;
                    labels.add(&mut self.copied, w.body, from, w.at);
                }
                (Protocol::V2, 1, Kind::Bytes) => {
                    let list = w.nested()?;
                    labels.add(&mut self.copied, w.body, list.at, list.end);
                }
                (Protocol::V2, 1, Kind::Varint) => {
                    let at = w.at;
                    w.uint32()?;
                    labels.add(&mut self.copied, w.body, at, w.at);
                }
                (_, 2, Kind::Bytes) => {
                    let (at, start, value) = sample(w.nested()?)?;
                    sampled = true;
                    let start = if start == 0 { created } else { start };
                    if start == 0 {
                        self.put_float(number, at, value, hint);
                    } else {
                        self.put_full(number, at, Some(start), Value::Float(value), hint);
                    }
                }
                (Protocol::V1, 4, Kind::Bytes) | (Protocol::V2, 3, Kind::Bytes) => {
                    let read = histogram::read(w.nested()?)?;
                    sampled = true;
                    let start = if read.start == 0 { created } else { read.start };
                    match read.histogram {
                        Some(h) => {
                            let value = Value::Histogram(Arc::new(h));
                            self.put_full(number, read.at, Some(start).filter(|s| *s != 0), value, hint);
                        }
                        None => self.bad_histograms.push(number),
                    }
                }
                (Protocol::V1, 3, Kind::Bytes) | (Protocol::V2, 4, Kind::Bytes) => {
                    let place = Place::of(&w.nested()?);
                    self.exemplars.push(ExemplarIn { series: number, place });
                    exemplars = true;
                }
                (Protocol::V2, 5, Kind::Bytes) => metadata = Place::of(&w.nested()?),
                (_, 1..=4, _) | (Protocol::V2, 5, _) => return Err(w.wrong_kind()),
                (_, _, kind) => w.skip(kind)?,
            }
        }
        let place = labels.place(self.copied.len());
        if sampled || exemplars || !metadata.is_empty() {
            self.series.push(SeriesIn { labels: place, copied: labels.pieces > 1, metadata, sampled });
        }
        Ok(())
    }

    /// The column of a time: most often the one behind that of the sample before.
    #[inline]
    fn column(&mut self, at: Timestamp, hint: &mut Hint, first_of_series: bool) -> Option<&mut Column> {
        let likely = if first_of_series { hint.first } else { hint.next };
        let i = if likely < self.used && self.columns[likely].at == at {
            likely
        } else if let Some(i) = self.by_time.get(&at) {
            *i
        } else if self.used < MAX_COLUMNS {
            if self.used == self.columns.len() {
                self.columns.push(Column::default());
            }
            self.columns[self.used].at = at;
            self.by_time.insert(at, self.used);
            self.used += 1;
            self.used - 1
        } else {
            return None;
        };
        if first_of_series {
            hint.first = i;
        }
        hint.next = i + 1;
        Some(&mut self.columns[i])
    }

    #[inline]
    fn put_float(&mut self, series: u32, at: Timestamp, value: f64, hint: &mut Hint) {
        let first = hint.next == hint.first;
        match self.column(at, hint, first) {
            Some(column) => {
                column.series.push(series);
                column.values.push(value);
            }
            None => self.scatter(series, at, None, Value::Float(value)),
        }
    }

    fn put_full(&mut self, series: u32, at: Timestamp, start: Option<i64>, value: Value, hint: &mut Hint) {
        let first = hint.next == hint.first;
        match self.column(at, hint, first) {
            Some(column) => column.full.push(FullIn { series, start, value }),
            None => self.scatter(series, at, start, value),
        }
    }

    fn scatter(&mut self, series: u32, at: Timestamp, start: Option<i64>, value: Value) {
        self.scattered.push(Scattered { at, sample: FullIn { series, start, value } });
    }

    /// Where columns hold next to nothing each, all samples as they are, by ascending time; the columns are empty
    /// afterwards.
    pub(super) fn scatter_thin_columns(&mut self) {
        let samples: usize = self.columns().iter().map(|c| c.series.len() + c.full.len()).sum();
        if self.scattered.is_empty() && (self.used <= 64 || samples / self.used >= 16) {
            return;
        }
        for column in &mut self.columns[..self.used] {
            let at = column.at;
            let floats = column.series.drain(..).zip(column.values.drain(..));
            self.scattered.extend(floats.map(|(series, v)| Scattered {
                at,
                sample: FullIn { series, start: None, value: Value::Float(v) },
            }));
            self.scattered.extend(column.full.drain(..).map(|sample| Scattered { at, sample }));
        }
        self.used = 0;
        self.scattered.sort_by_key(|s| s.at);
    }

    /// The bytes that stand for a series' labels in both protocols: the label messages of version 1. In version 1
    /// they are in the body as they are, else they are written to `scratch`.
    pub(super) fn key<'a>(
        &'a self,
        protocol: Protocol,
        body: &'a [u8],
        series: SeriesIn,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], BadLabels> {
        let w = self.labels_of(body, series);
        if protocol == Protocol::V1 {
            return if w.end - w.at > MAX_LABELS { Err(BadLabels::TooLong) } else { Ok(w.bytes()) };
        }
        scratch.clear();
        self.spell(body, w, scratch)?;
        Ok(scratch)
    }

    fn labels_of<'a>(&'a self, body: &'a [u8], series: SeriesIn) -> Wire<'a> {
        series.labels.wire(if series.copied { &self.copied } else { body })
    }

    fn symbol<'a>(&self, body: &'a [u8], reference: u32) -> Result<&'a [u8], BadLabels> {
        let place = self.symbols.get(reference as usize).ok_or(BadLabels::NoSymbol)?;
        Ok(place.wire(body).bytes())
    }

    fn spell(&self, body: &[u8], mut refs: Wire<'_>, out: &mut Vec<u8>) -> Result<(), BadLabels> {
        while !refs.is_empty() {
            let mut text = || {
                let reference = refs.uint32().map_err(|_| BadLabels::Malformed)?;
                self.symbol(body, reference)
            };
            let (name, value) = (text()?, text()?);
            let field = |t: &[u8]| 1 + varint_len(t.len() as u64) + t.len();
            let len = field(name) + field(value);
            if out.len() + len > MAX_LABELS {
                return Err(BadLabels::TooLong);
            }
            out.push(0x0a);
            put_varint(out, len as u64);
            for (tag, text) in [(0x0a, name), (0x12, value)] {
                out.push(tag);
                put_varint(out, text.len() as u64);
                out.extend_from_slice(text);
            }
        }
        Ok(())
    }

    /// Reads an exemplar.
    pub(super) fn exemplar(
        &self,
        protocol: Protocol,
        body: &[u8],
        exemplar: ExemplarIn,
    ) -> Result<ExemplarRead, BadLabels> {
        let bad = |_| BadLabels::Malformed;
        let mut w = exemplar.place.wire(body);
        let (mut value, mut at, mut key) = (0.0, 0, Vec::new());
        loop {
            let from = w.at;
            let Some(tag) = w.tag().map_err(bad)? else { break };
            match (protocol, tag.field, tag.kind) {
                (Protocol::V1, 1, Kind::Bytes) => {
                    w.nested().map_err(bad)?;
                    key.extend_from_slice(&body[from..w.at]);
                }
                (Protocol::V2, 1, Kind::Bytes) => {
                    let refs = w.nested().map_err(bad)?;
                    self.spell(body, refs, &mut key)?;
                }
                (_, 2, Kind::Fixed64) => value = w.double().map_err(bad)?,
                (_, 3, Kind::Varint) => at = w.int64().map_err(bad)?,
                (_, 1..=3, _) => return Err(BadLabels::Malformed),
                (_, _, kind) => w.skip(kind).map_err(bad)?,
            }
            if key.len() > MAX_LABELS {
                return Err(BadLabels::TooLong);
            }
        }
        Ok(ExemplarRead { labels: labels_of_key(&key)?, value, at })
    }

    /// What version 1 says about families.
    pub(super) fn families<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = About<'a>> {
        self.families.iter().filter_map(move |place| {
            let mut w = place.wire(body);
            let mut about = About { family: "", kind: 0, help: "", unit: "" };
            while let Ok(Some(tag)) = w.tag() {
                match (tag.field, tag.kind) {
                    (1, Kind::Varint) => about.kind = w.varint().ok()?,
                    (2, Kind::Bytes) => about.family = text(w.nested().ok()?)?,
                    (4, Kind::Bytes) => about.help = text(w.nested().ok()?)?,
                    (5, Kind::Bytes) => about.unit = text(w.nested().ok()?)?,
                    (_, kind) => w.skip(kind).ok()?,
                }
            }
            (!about.family.is_empty()).then_some(about)
        })
    }

    /// What version 2 says about the family of a series.
    pub(super) fn about<'a>(&self, body: &'a [u8], series: SeriesIn, metric: &'a str) -> Option<About<'a>> {
        let mut w = series.metadata.wire(body);
        let mut about = About { family: metric, kind: 0, help: "", unit: "" };
        let symbol = |reference| self.symbol(body, reference).ok().and_then(|b| std::str::from_utf8(b).ok());
        while let Ok(Some(tag)) = w.tag() {
            match (tag.field, tag.kind) {
                (1, Kind::Varint) => about.kind = w.varint().ok()?,
                (3, Kind::Varint) => about.help = symbol(w.uint32().ok()?)?,
                (4, Kind::Varint) => about.unit = symbol(w.uint32().ok()?)?,
                (_, kind) => w.skip(kind).ok()?,
            }
        }
        (!series.metadata.is_empty()).then_some(about)
    }
}

/// Where the labels of one series are, while it is read.
#[derive(Debug, Default)]
struct Labelling {
    pieces: usize,
    from: usize,
    to: usize,
}

impl Labelling {
    /// One more piece. Pieces that touch are one; what comes apart is copied together.
    fn add(&mut self, copied: &mut Vec<u8>, body: &[u8], from: usize, to: usize) {
        if from == to {
            return;
        }
        if self.pieces == 1 && self.to == from {
            self.to = to;
            return;
        }
        match self.pieces {
            0 => (self.from, self.to) = (from, to),
            1 => {
                let begin = copied.len();
                copied.extend_from_slice(&body[self.from..self.to]);
                copied.extend_from_slice(&body[from..to]);
                self.from = begin;
            }
            _ => copied.extend_from_slice(&body[from..to]),
        }
        self.pieces = (self.pieces + 1).min(2);
    }

    fn place(&self, copied: usize) -> Place {
        if self.pieces > 1 { Place::new(self.from, copied) } else { Place::new(self.from, self.to) }
    }
}

fn text(w: Wire<'_>) -> Option<&str> {
    std::str::from_utf8(w.bytes()).ok()
}

/// Time, start and value of a sample.
#[inline]
fn sample(mut w: Wire<'_>) -> Result<(Timestamp, Timestamp, f64), Malformed> {
    let (mut at, mut start, mut value) = (0, 0, 0.0);
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Fixed64) => value = w.double()?,
            (2, Kind::Varint) => at = w.int64()?,
            (3, Kind::Varint) => start = w.int64()?,
            (1..=3, _) => return Err(w.wrong_kind()),
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok((at, start, value))
}

/// `created_timestamp` of a series, where release candidates of version 2 had it.
fn created_in(mut w: Wire<'_>) -> Result<Timestamp, Malformed> {
    let mut created = 0;
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (6, Kind::Varint) => created = w.int64()?,
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok(created)
}

/// Builds the label set that a key stands for.
pub(super) fn labels_of_key(key: &[u8]) -> Result<Labels, BadLabels> {
    let bad = |_| BadLabels::Malformed;
    let mut w = Wire::new(key);
    let mut labels = Vec::new();
    while let Some(tag) = w.tag().map_err(bad)? {
        if tag.field != 1 || tag.kind != Kind::Bytes {
            return Err(BadLabels::Malformed);
        }
        let mut inner = w.nested().map_err(bad)?;
        let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
        while let Some(tag) = inner.tag().map_err(bad)? {
            match (tag.field, tag.kind) {
                (1, Kind::Bytes) => name = inner.nested().map_err(bad)?.bytes(),
                (2, Kind::Bytes) => value = inner.nested().map_err(bad)?.bytes(),
                (_, kind) => inner.skip(kind).map_err(bad)?,
            }
        }
        let utf8 = |b| std::str::from_utf8(b).map_err(|_| BadLabels::NotUtf8);
        let (name, value) = (utf8(name)?, utf8(value)?);
        if name.is_empty() {
            return Err(BadLabels::EmptyName);
        }
        // An empty value is the same as no label.
        if !value.is_empty() {
            labels.push(Label { name: Arc::from(name), value: Arc::from(value) });
        }
    }
    labels.sort_by(|a, b| a.name.cmp(&b.name));
    Labels::from_sorted(labels).ok_or(BadLabels::Twice)
}

/// The label set of a series, which needs a metric name.
pub(super) fn series_labels(key: &[u8]) -> Result<Labels, BadLabels> {
    let labels = labels_of_key(key)?;
    if labels.get(METRIC_NAME).is_none() { Err(BadLabels::NoName) } else { Ok(labels) }
}
