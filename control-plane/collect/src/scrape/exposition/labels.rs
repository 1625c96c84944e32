//! The labels of a line: where they stand, and what they mean.

use super::MetricType;
use model::LabelsBuilder;
use std::borrow::Cow;

/// A text between quotes or bare.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) quoted: bool,
}

impl<'a> Text<'a> {
    pub(super) fn read(self) -> Cow<'a, str> {
        if self.quoted { unescape(self.text) } else { Cow::Borrowed(self.text) }
    }
}

/// The spans of one line; the memory is used again for the next.
#[derive(Debug, Default)]
pub(super) struct LabelSpans<'a> {
    pub(super) name: Option<Text<'a>>,
    pub(super) pairs: Vec<(Text<'a>, &'a str)>,
}

impl<'a> LabelSpans<'a> {
    pub(super) fn clear(&mut self) {
        self.name = None;
        self.pairs.clear();
    }

    pub(super) fn name(&self) -> Option<Cow<'a, str>> {
        self.name.map(Text::read)
    }

    /// Why the labels cannot be those of a series.
    pub(super) fn fault(&self) -> Option<String> {
        let name = self.name?;
        if name.text.is_empty() {
            return Some("the metric's name is empty".to_owned());
        }
        for (i, (label, _)) in self.pairs.iter().enumerate() {
            let read = label.read();
            if read.is_empty() {
                return Some("a label's name is empty".to_owned());
            }
            if *read == *model::labels::METRIC_NAME || self.pairs[..i].iter().any(|(l, _)| l.read() == read) {
                return Some(format!("label name {read:?} is not unique"));
            }
        }
        None
    }

    /// The labels as they are stored: escapes resolved, bucket bounds and quantiles written as floats.
    pub(super) fn fill(&self, kind: MetricType, into: &mut LabelsBuilder) {
        if let Some(name) = self.name() {
            into.set(model::labels::METRIC_NAME, &*name);
        }
        for (name, value) in &self.pairs {
            let (name, value) = (name.read(), unescape(value));
            let value = if is_float_label(kind, &name) { as_float(&value) } else { value };
            into.set(&*name, &*value);
        }
    }
}

fn is_float_label(kind: MetricType, name: &str) -> bool {
    match kind {
        MetricType::Histogram | MetricType::GaugeHistogram => name == "le",
        MetricType::Summary => name == "quantile",
        _ => false,
    }
}

/// `1` as `1.0`, as OpenMetrics writes floats and Prometheus 3 stores them.
fn as_float(text: &str) -> Cow<'_, str> {
    match text.parse::<f64>() {
        Ok(v) if v.is_finite() => {
            let mut out = model::number::format(v);
            if !out.contains(['.', 'e']) {
                out.push_str(".0");
            }
            if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
        }
        Ok(v) if v.is_infinite() => Cow::Borrowed(if v > 0.0 { "+Inf" } else { "-Inf" }),
        _ => Cow::Borrowed(text),
    }
}

/// Resolves `\"`, `\\` and `\n`; any other backslash stays.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('"' | '\\')) => out.push(c),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
