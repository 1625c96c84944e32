//! The formats that targets answer with: Prometheus text 0.0.4, OpenMetrics 1.0, protobuf.
//!
//! What is accepted is what a Prometheus server accepts when it scrapes, which is more than the OpenMetrics
//! specification allows; a real exporter must not be lost over a blank. Start times are found in `_created` lines, wherever they stand
//! in their family; those lines are no series then.

mod created;
mod cursor;
pub(crate) mod decoded;
mod labels;
pub(crate) mod nhcb;
mod openmetrics;
pub(crate) mod protobuf;
mod text;

pub(crate) use decoded::{Decoded, Exemplar, Forms};

use crate::scrape::exposition::{created::Created, cursor::Cursor, labels::LabelSpans};
use model::{LabelsBuilder, Timestamp};
use std::borrow::Cow;

/// Which grammar the body is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
    /// Not for [`Parser`]: [`protobuf::decode`] reads it.
    Protobuf,
}

/// What a family says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    #[default]
    Unknown,
}

impl MetricType {
    /// As the metadata API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
            MetricType::Unknown => "unknown",
        }
    }
}

/// The body is not in its format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct ParseError {
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// One sample line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample<'a> {
    /// The series as written, name and labels: the same text is the same series.
    pub(crate) text: &'a [u8],
    /// Where it begins.
    pub(crate) begin: usize,
    pub(crate) value: f64,
    /// The line's own timestamp.
    pub(crate) at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry<'a> {
    Help { family: Cow<'a, str>, text: Cow<'a, str> },
    Type { family: Cow<'a, str>, kind: MetricType },
    Unit { family: Cow<'a, str>, unit: &'a str },
    Sample(Sample<'a>),
}

/// Reads a body entry by entry.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    format: Format,
    cursor: Cursor<'a>,
    /// The family and type that the last TYPE line named.
    family: Cow<'a, str>,
    kind: MetricType,
    /// The labels of the last sample line.
    spans: LabelSpans<'a>,
    created: Option<Created>,
    /// The exemplar of the last sample line.
    pub(crate) exemplar: Option<Exemplar>,
    ended: bool,
}

/// Go's NaN, as Prometheus stores every NaN that it scrapes.
pub(crate) const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0001);

impl<'a> Parser<'a> {
    pub(crate) fn new(format: Format, body: &'a [u8]) -> Self {
        let mut parser = Self::bare(format, body);
        if format == Format::OpenMetrics && memchr::memmem::find(body, b"_created").is_some() {
            parser.created = Some(Created::collect(body));
        }
        parser
    }

    /// A parser that leaves `_created` lines as they are.
    fn bare(format: Format, body: &'a [u8]) -> Self {
        Parser {
            format,
            cursor: Cursor::new(body),
            family: Cow::Borrowed(""),
            kind: MetricType::Unknown,
            spans: LabelSpans::default(),
            created: None,
            exemplar: None,
            ended: false,
        }
    }

    fn error(&self, what: impl Into<String>) -> ParseError {
        ParseError { line: self.cursor.line(), what: what.into() }
    }

    /// An error that shows what stands there instead.
    fn expected(&self, what: &str) -> ParseError {
        self.error(format!("expected {what}, found {}", self.cursor.shown()))
    }

    /// The next entry, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        loop {
            let entry = match self.format {
                Format::OpenMetrics => self.next_open()?,
                Format::Text | Format::Protobuf => self.next_text()?,
            };
            match &entry {
                Some(Entry::Type { family, kind }) => {
                    self.family = family.clone();
                    self.kind = *kind;
                }
                Some(Entry::Sample(_)) if self.created.is_some() && self.is_created_line() => continue,
                _ => {}
            }
            return Ok(entry);
        }
    }

    /// The type that the last TYPE line gave. It changes how some labels are written, so that one text can mean
    /// two series.
    pub(crate) fn kind(&self) -> MetricType {
        self.kind
    }

    /// Whether the last sample line is the `_created` line of its family.
    fn is_created_line(&self) -> bool {
        matches!(self.kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
            && self.spans.name().is_some_and(|n| n.strip_suffix("_created") == Some(&*self.family))
    }

    /// Puts the labels of the last sample line, its name among them, into `into`.
    fn labels(&self, into: &mut LabelsBuilder) {
        self.spans.fill(self.kind, into);
    }

    /// Puts the labels of a series that was read before, by its text, into `into`.
    pub(crate) fn labels_of_text(kind: MetricType, text: &'a [u8], into: &mut LabelsBuilder) {
        // The grammar of 0.0.4 reads every series of OpenMetrics too.
        let mut parser = Parser::bare(Format::Text, text);
        parser.kind = kind;
        if parser.text_series().is_ok() {
            parser.labels(into);
        }
    }

    /// When the series of the last sample line began to count, in milliseconds since 1970.
    pub(crate) fn start(&self) -> Option<Timestamp> {
        self.created.as_ref()?.get(&self.family, self.kind, &self.spans)
    }

    /// Whether start times may be known, so that hints cannot replace reading the labels.
    pub(crate) fn has_starts(&self) -> bool {
        self.created.as_ref().is_some_and(|c| !c.is_empty())
    }

    /// Whether lines mean the same wherever they stand: else start times, which stand on lines of their own,
    /// have to be looked up for each.
    pub(crate) fn is_plain(&self) -> bool {
        self.created.is_none()
    }

    /// Where the next entry begins.
    pub(crate) fn at(&self) -> usize {
        self.cursor.at()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.cursor.rest()
    }

    /// What was read since `from`.
    pub(crate) fn since(&self, from: usize) -> &'a [u8] {
        self.cursor.since(from)
    }

    /// Skips `n` bytes, lines that were recognised otherwise, behind which families are of this type.
    pub(crate) fn skip(&mut self, n: usize, kind: MetricType) {
        self.cursor.take(n);
        self.kind = kind;
    }

    /// A float as Go's `ParseFloat` reads it, every NaN being the same one.
    fn float(&self, text: &[u8]) -> Result<f64, ParseError> {
        let bad = || self.error(format!("{} is not a number", String::from_utf8_lossy(text).escape_debug()));
        let text = std::str::from_utf8(text).map_err(|_| bad())?;
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let signed = unsigned.len() != text.len();
        let word = unsigned.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        let v: f64 = text.parse().map_err(|_| bad())?;
        if v.is_nan() {
            return if signed { Err(bad()) } else { Ok(NAN) };
        }
        // Digits beyond the range are an error, not infinity.
        if v.is_infinite() && !word { Err(bad()) } else { Ok(v) }
    }
}

#[cfg(test)]
pub(super) mod tests;
