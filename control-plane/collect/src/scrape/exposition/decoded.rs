//! A body that is taken apart before it is taken in: protobuf, or lines that have to be put together first.
//!
//! Each series has a text, as a line of the text format would have it, so that it is known again the same way.
//! What a body may unfold to is bounded, whatever its bytes say.

use super::{Entry, MetricType};
use model::{Labels, Timestamp, Value, labels::is_legacy_metric_name, labels::is_legacy_name};
use std::ops::Range;

/// Series of one body, at most.
const MAX_ITEMS: usize = 2_000_000;
/// Bytes of all their texts, at most.
const MAX_TEXTS: usize = 128 << 20;

/// An observation beside a sample, as the target wrote it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    pub(crate) at: Option<Timestamp>,
}

/// One sample.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where the text of its series is.
    text: Range<usize>,
    pub(crate) kind: MetricType,
    pub(crate) value: Value,
    pub(crate) at: Option<Timestamp>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) exemplars: Vec<Exemplar>,
}

#[derive(Debug, Default)]
pub(crate) struct Decoded<'a> {
    texts: Vec<u8>,
    pub(crate) items: Vec<Item>,
    /// What it says about families.
    pub(crate) about: Vec<Entry<'a>>,
}

/// Which forms of a histogram are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forms {
    /// Native histograms.
    pub(crate) native: bool,
    /// Classic series even of those that have another form too.
    pub(crate) classic: bool,
    /// Classic histograms as native ones with custom bounds.
    pub(crate) custom: bool,
}

/// When samples of one metric were taken, and since when they count.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) at: Option<Timestamp>,
    pub(super) start: Option<Timestamp>,
}

impl Decoded<'_> {
    pub(crate) fn text(&self, item: &Item) -> &[u8] {
        self.texts.get(item.text.clone()).unwrap_or_default()
    }

    /// Adds a sample whose series has this text.
    pub(super) fn push_text(
        &mut self,
        text: &[u8],
        kind: MetricType,
        value: Value,
        times: Times,
        exemplars: Vec<Exemplar>,
    ) -> Result<(), String> {
        let begin = self.texts.len();
        self.texts.extend_from_slice(text);
        self.finish(begin, kind, value, times, exemplars)
    }

    /// Adds a sample of the series with this name and these labels, and perhaps one more.
    pub(super) fn push(
        &mut self,
        name: (&str, &str),
        labels: &[(&str, &str)],
        more: Option<(&str, &str)>,
        (kind, value): (MetricType, Value),
        times: Times,
        exemplars: Vec<Exemplar>,
    ) -> Result<(), String> {
        let begin = self.texts.len();
        write_series(&mut self.texts, name, labels.iter().copied().chain(more));
        self.finish(begin, kind, value, times, exemplars)
    }

    fn finish(
        &mut self,
        begin: usize,
        kind: MetricType,
        value: Value,
        times: Times,
        exemplars: Vec<Exemplar>,
    ) -> Result<(), String> {
        if self.items.len() >= MAX_ITEMS || self.texts.len() > MAX_TEXTS {
            return Err(format!(
                "the body unfolds to more than {MAX_ITEMS} samples, or {MAX_TEXTS} bytes of series"
            ));
        }
        let text = begin..self.texts.len();
        self.items.push(Item { text, kind, value, at: times.at, start: times.start, exemplars });
        Ok(())
    }
}

/// Writes a series as a line of the text format begins.
fn write_series<'l>(
    out: &mut Vec<u8>,
    (name, ending): (&str, &str),
    labels: impl Iterator<Item = (&'l str, &'l str)>,
) {
    let mut open = false;
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(ending.as_bytes());
    } else {
        out.extend_from_slice(b"{\"");
        escape(out, name);
        escape(out, ending);
        out.push(b'"');
        open = true;
    }
    for (name, value) in labels {
        out.push(if open { b',' } else { b'{' });
        open = true;
        if is_legacy_name(name) {
            out.extend_from_slice(name.as_bytes());
        } else {
            out.push(b'"');
            escape(out, name);
            out.push(b'"');
        }
        out.extend_from_slice(b"=\"");
        escape(out, value);
        out.push(b'"');
    }
    if open {
        out.push(b'}');
    }
}

fn escape(out: &mut Vec<u8>, text: &str) {
    for b in text.bytes() {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b => out.push(b),
        }
    }
}
