//! Series descriptions, the notation of test scripts and rule unit tests: `metric{a="b"} 1 2 _ 3x5 stale`.
//!
//! | Written | Means |
//! |---|---|
//! | `1.5` | one sample |
//! | `1x3` | the sample and three more of the same |
//! | `1+2x3` | the sample and three more, each 2 above the one before |
//! | `_`, `_x3` | no sample, three times no sample |
//! | `stale` | the series ends |
//! | `{{schema:0 sum:3 count:2 buckets:[1 1]}}` | a native histogram; `x3`, `+{{...}}x3`, `-{{...}}x3` as above |
//!
//! After `metric{...}@st` the values are start times: durations relative to the sample's own time.

use super::{Kind, Parser, literal};
use crate::{
    ast::Number,
    error::{ParseError, ParseErrors, Span},
    histogram,
};
use model::{CounterReset, Histogram, Labels, LabelsBuilder, labels::METRIC_NAME, stale_nan};
use std::sync::Arc;

/// How many samples one description may expand to.
pub const MAX_VALUES: usize = 1_000_000;

/// A parsed series description.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesDescription {
    pub labels: Labels,
    /// Whether the values are start times, in seconds relative to the sample of the same place.
    pub is_start_times: bool,
    pub values: Vec<SeriesValue>,
}

/// One place in a series description.
#[derive(Debug, Clone, PartialEq)]
pub enum SeriesValue {
    Omitted,
    Float(f64),
    Histogram {
        histogram: Arc<Histogram>,
        /// Whether `counter_reset_hint` was written, so that a comparison should look at it.
        reset_given: bool,
    },
}

/// Parses `metric{a="b"} values...`.
pub fn parse_series(input: &str) -> Result<SeriesDescription, ParseErrors> {
    let mut parser = Parser::new(input);
    let labels = if parser.peek()?.kind == Kind::End { Labels::default() } else { parser.metric()? };
    let mut reader = Reader { input, at: parser.last_end, durations: false };
    if reader.rest().starts_with("@st") {
        reader.at += 3;
        reader.durations = true;
    }
    let values = reader.values()?;
    Ok(SeriesDescription { labels, is_start_times: reader.durations, values })
}

/// Parses one histogram, `{{...}}`.
pub fn parse_histogram(input: &str) -> Result<Histogram, ParseErrors> {
    let mut reader = Reader { input, at: 0, durations: false };
    let (h, _) = reader.histogram()?;
    if reader.at != input.len() {
        return Err(reader.error("nothing more may follow the histogram").into());
    }
    Ok(h)
}

/// Parses a label set with an optional metric name, `name{a="b"}`.
pub fn parse_labels(input: &str) -> Result<Labels, ParseErrors> {
    let mut parser = Parser::new(input);
    let labels = parser.metric()?;
    parser.expect_end("a sample or the end")?;
    Ok(labels)
}

/// Writes a histogram in the notation of [`parse_histogram`]; what is zero is left out, gaps are written as zeros.
pub fn print_histogram(h: &Histogram) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut number = |key: &str, v: f64| {
        if v != 0.0 {
            parts.push(format!("{key}:{}", Number { value: v, duration: false }));
        }
    };
    number("schema", f64::from(h.schema));
    number("count", h.count);
    number("sum", h.sum);
    number("z_bucket", h.zero_count);
    number("z_bucket_w", h.zero_threshold);
    let list = |values: &mut dyn Iterator<Item = f64>| {
        let all: Vec<String> = values.map(|value| Number { value, duration: false }.to_string()).collect();
        format!("[{}]", all.join(" "))
    };
    if let Some(bounds) = &h.custom_bounds {
        parts.push(format!("custom_values:{}", list(&mut bounds.iter().copied())));
    }
    let hint = match h.reset {
        CounterReset::Unknown => None,
        CounterReset::Reset => Some("reset"),
        CounterReset::NotReset => Some("not_reset"),
        CounterReset::Gauge => Some("gauge"),
    };
    parts.extend(hint.map(|hint| format!("counter_reset_hint:{hint}")));
    for (prefix, spans, counts) in
        [("", &h.positive_spans, &h.positive), ("n_", &h.negative_spans, &h.negative)]
    {
        let buckets = histogram::unpack(spans, counts);
        let (Some((first, _)), Some((last, _))) = (buckets.first(), buckets.last()) else { continue };
        if *first != 0 {
            parts.push(format!("{prefix}offset:{first}"));
        }
        let at = |index| buckets.binary_search_by_key(&index, |(i, _)| *i).map_or(0.0, |k| buckets[k].1);
        // A damaged histogram must not make a text without end.
        let until = (*last).min(first.saturating_add(100_000));
        parts.push(format!("{prefix}buckets:{}", list(&mut (*first..=until).map(at))));
    }
    format!("{{{{{}}}}}", parts.join(" "))
}

impl Parser<'_> {
    fn metric(&mut self) -> Result<Labels, Box<ParseError>> {
        const CONTEXT: &str = "label set";
        let mut labels = LabelsBuilder::default();
        let first = self.peek()?;
        if first.kind == Kind::Word {
            self.advance()?;
            labels.set(METRIC_NAME, self.text(first.span));
            // What follows the name may be no token at all (a value), so look before lexing.
            let rest = self.input.get(self.last_end..).unwrap_or("");
            if !rest.trim_start().starts_with('{') || rest.trim_start().starts_with("{{") {
                return Ok(labels.build());
            }
        }
        self.expect(Kind::LeftBrace, CONTEXT, "metric name or \"{\"")?;
        loop {
            if self.eat(Kind::RightBrace)?.is_some() {
                return Ok(labels.build());
            }
            let t = self.peek()?;
            let name = match t.kind {
                Kind::Word => self.text(t.span).to_owned(),
                Kind::Text => self.unquote(t.span)?,
                _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
            };
            self.advance()?;
            if self.eat(Kind::Assign)?.is_some() {
                let value = self.expect(Kind::Text, CONTEXT, "string")?;
                let value = self.unquote(value.span)?;
                labels.set(name, value);
            } else if t.kind == Kind::Text {
                labels.set(METRIC_NAME, name);
            } else {
                return Err(self.unexpected(CONTEXT, "\"=\""));
            }
            if self.eat(Kind::Comma)?.is_none() && self.peek()?.kind != Kind::RightBrace {
                return Err(self.unexpected(CONTEXT, "\",\" or \"}\""));
            }
        }
    }
}

struct Reader<'a> {
    input: &'a str,
    at: usize,
    durations: bool,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.input.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> u8 {
        self.rest().bytes().next().unwrap_or(0)
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::at(self.input, Span::new(self.at, self.input.len()), message)
    }

    fn blanks(&mut self) -> bool {
        let n = self.rest().len() - self.rest().trim_start().len();
        self.at += n;
        n > 0
    }

    fn values(&mut self) -> Result<Vec<SeriesValue>, ParseError> {
        let mut out = Vec::new();
        self.blanks();
        while !self.rest().is_empty() {
            self.item(&mut out)?;
            if out.len() > MAX_VALUES {
                return Err(self.error(format!("a series may have at most {MAX_VALUES} values")));
            }
            if !self.blanks() && !self.rest().is_empty() {
                return Err(self.error("expected a blank between values"));
            }
        }
        Ok(out)
    }

    /// `xN`, if it comes next.
    fn times(&mut self) -> Result<Option<usize>, ParseError> {
        let Some(rest) = self.rest().strip_prefix('x') else { return Ok(None) };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let n = rest.get(..digits).and_then(|d| d.parse().ok()).filter(|n| *n <= MAX_VALUES);
        let Some(n) = n else {
            return Err(self.error(format!("expected how often to repeat after x, at most {MAX_VALUES}")));
        };
        self.at += 1 + digits;
        Ok(Some(n))
    }

    fn item(&mut self, out: &mut Vec<SeriesValue>) -> Result<(), ParseError> {
        if self.rest().starts_with("{{") {
            return self.histogram_item(out);
        }
        if self.peek() == b'_' {
            self.at += 1;
            let n = self.times()?.unwrap_or(1);
            out.extend(std::iter::repeat_n(SeriesValue::Omitted, n));
            return Ok(());
        }
        if let Some(rest) = self.rest().strip_prefix("stale") {
            if rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Err(self.error("expected a blank after stale"));
            }
            self.at += 5;
            out.push(SeriesValue::Float(stale_nan()));
            return Ok(());
        }
        let base = self.signed()?;
        let step = if matches!(self.peek(), b'+' | b'-') { Some(self.signed()?) } else { None };
        match (self.times()?, step) {
            (None, None) => out.push(SeriesValue::Float(base)),
            (None, Some(_)) => return Err(self.error("expected x and a number of repetitions, as in 1+2x3")),
            (Some(n), step) => {
                // One addition after the other, as Prometheus does, so that rounding agrees.
                let mut value = base;
                out.push(SeriesValue::Float(value));
                for _ in 0..n {
                    value += step.unwrap_or(0.0);
                    out.push(SeriesValue::Float(value));
                }
            }
        }
        Ok(())
    }

    fn signed(&mut self) -> Result<f64, ParseError> {
        let sign = match self.peek() {
            b'-' => -1.0,
            _ => 1.0,
        };
        if matches!(self.peek(), b'-' | b'+') {
            self.at += 1;
        }
        let bytes = self.rest().as_bytes();
        let mut n = 0;
        while n < bytes.len()
            && (bytes[n].is_ascii_digit()
                || bytes[n] == b'.'
                || (bytes[n].is_ascii_alphabetic() && bytes[n] != b'x')
                || (matches!(bytes[n], b'+' | b'-') && n > 0 && matches!(bytes[n - 1], b'e' | b'E')))
        {
            n += 1;
        }
        let text = self.rest().get(..n).unwrap_or("");
        let value = match text.to_ascii_lowercase().as_str() {
            "inf" => Some(f64::INFINITY),
            "nan" => Some(f64::NAN),
            _ => literal::number(text),
        };
        let value = value.or_else(|| {
            if self.durations { model::duration::parse(text).ok().map(|d| d.as_secs_f64()) } else { None }
        });
        let Some(value) = value else {
            return Err(self.error(format!(
                "unexpected {text:?} in series values, expected a number, _, stale or {{{{...}}}}"
            )));
        };
        self.at += n;
        Ok(sign * value)
    }

    fn histogram_item(&mut self, out: &mut Vec<SeriesValue>) -> Result<(), ParseError> {
        let (base, reset_given) = self.histogram()?;
        let minus = match self.peek() {
            b'+' => false,
            b'-' => true,
            _ => {
                let n = self.times()?.unwrap_or(0);
                let value = SeriesValue::Histogram { histogram: Arc::new(base), reset_given };
                out.extend(std::iter::repeat_n(value, n + 1));
                return Ok(());
            }
        };
        self.at += 1;
        let (step, _) = self.histogram()?;
        let Some(n) = self.times()? else {
            return Err(self.error("expected x and a number of repetitions after the second histogram"));
        };
        let mut current = base;
        for i in 0..=n {
            if i > 0 {
                if current.schema > step.schema {
                    return Err(self.error(format!(
                        "error combining histograms: cannot merge from schema {} to {}",
                        step.schema, current.schema
                    )));
                }
                let combined =
                    if minus { histogram::sub(&current, &step) } else { histogram::add(&current, &step) };
                current = combined.map_err(|e| self.error(format!("error combining histograms: {e}")))?.0;
            }
            out.push(SeriesValue::Histogram { histogram: Arc::new(current.clone()), reset_given });
        }
        Ok(())
    }

    fn number_in_histogram(&mut self) -> Result<f64, ParseError> {
        let negative = self.peek() == b'-';
        if negative {
            self.at += 1;
        }
        let n = self.rest().bytes().take_while(|b| !matches!(b, b' ' | b']' | b'}')).count();
        let text = self.rest().get(..n).unwrap_or("");
        let value = match text.to_ascii_lowercase().as_str() {
            "inf" | "+inf" => f64::INFINITY,
            "nan" => f64::NAN,
            _ => match literal::number(text) {
                Some(v) => v,
                None => return Err(self.error(format!("{text:?} is not a number"))),
            },
        };
        self.at += n;
        Ok(if negative { -value } else { value })
    }

    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number within range")]
    fn integer_in_histogram(&mut self) -> Result<i32, ParseError> {
        let v = self.number_in_histogram()?;
        if v.fract() != 0.0 || v.abs() > f64::from(i32::MAX) {
            return Err(self.error(format!("{v} is not a whole number in range")));
        }
        Ok(v as i32)
    }

    fn list_in_histogram(&mut self) -> Result<Vec<f64>, ParseError> {
        if self.peek() != b'[' {
            return Err(self.error("expected a list like [1 2 3]"));
        }
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let blank = self.rest().bytes().take_while(|b| *b == b' ').count();
            if blank > 0 && out.is_empty() && !self.rest().trim_start().starts_with(']') {
                return Err(self.error("unexpected \" \" in series values"));
            }
            self.at += blank;
            if self.peek() == b']' {
                self.at += 1;
                return Ok(out);
            }
            out.push(self.number_in_histogram()?);
        }
    }

    /// `{{key:value key:[list]}}`; whether a counter reset hint was among the keys.
    fn histogram(&mut self) -> Result<(Histogram, bool), ParseError> {
        if !self.rest().starts_with("{{") {
            return Err(self.error("expected a histogram like {{schema:0 sum:3 count:2 buckets:[1 1]}}"));
        }
        self.at += 2;
        let mut h = Histogram::default();
        let mut seen: Vec<&str> = Vec::new();
        let (mut offset, mut negative_offset) = (0, 0);
        loop {
            let blank = self.blanks();
            if self.rest().starts_with("}}") {
                self.at += 2;
                break;
            }
            if blank && seen.is_empty() {
                return Err(self.error("unexpected \" \" in series values, expected a key right after {{"));
            }
            let n = self.rest().bytes().take_while(|b| *b == b'_' || b.is_ascii_alphabetic()).count();
            let key = self.rest().get(..n).unwrap_or("");
            if self.rest().as_bytes().get(n) != Some(&b':') && !key.is_empty() {
                return Err(self.error(format!("missing `:` for histogram descriptor {key:?}")));
            }
            if seen.contains(&key) {
                return Err(self.error(format!("duplicate key {key:?} in histogram")));
            }
            let key_at = self.at;
            self.at += n + 1;
            match key {
                "schema" => h.schema = self.integer_in_histogram()?,
                "sum" => h.sum = self.number_in_histogram()?,
                "count" => h.count = self.number_in_histogram()?,
                "z_bucket" => h.zero_count = self.number_in_histogram()?,
                "z_bucket_w" => h.zero_threshold = self.number_in_histogram()?,
                "offset" => offset = self.integer_in_histogram()?,
                "n_offset" => negative_offset = self.integer_in_histogram()?,
                "buckets" => h.positive = self.list_in_histogram()?,
                "n_buckets" => h.negative = self.list_in_histogram()?,
                "custom_values" => h.custom_bounds = Some(self.list_in_histogram()?.into()),
                "counter_reset_hint" => h.reset = self.reset_hint()?,
                _ => {
                    self.at = key_at;
                    return Err(self.error(format!("bad histogram descriptor found: {key:?}")));
                }
            }
            seen.push(key);
        }
        let span = |offset, counts: &[f64]| match u32::try_from(counts.len()) {
            Ok(0) | Err(_) => Vec::new(),
            Ok(length) => vec![model::Span { offset, length }],
        };
        h.positive_spans = span(offset, &h.positive);
        h.negative_spans = span(negative_offset, &h.negative);
        Ok((h, seen.contains(&"counter_reset_hint")))
    }

    fn reset_hint(&mut self) -> Result<CounterReset, ParseError> {
        let n = self.rest().bytes().take_while(|b| *b == b'_' || b.is_ascii_alphabetic()).count();
        let hint = match self.rest().get(..n).unwrap_or("") {
            "unknown" => CounterReset::Unknown,
            "reset" => CounterReset::Reset,
            "not_reset" => CounterReset::NotReset,
            "gauge" => CounterReset::Gauge,
            other => {
                return Err(self.error(format!(
                    "bad histogram descriptor found: {other:?}: a hint is unknown, reset, not_reset or gauge"
                )));
            }
        };
        self.at += n;
        Ok(hint)
    }
}
