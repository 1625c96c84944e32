//! Prometheus text 0.0.4: blanks almost anywhere, a comma after the last label, a missing one between labels.

use super::{
    Entry, MetricType, ParseError, Parser, Sample,
    labels::{Text, unescape},
};
use std::borrow::Cow;

impl<'a> Parser<'a> {
    pub(super) fn next_text(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        loop {
            self.cursor.blanks();
            match self.cursor.peek() {
                None => return Ok(None),
                Some(b'\n') => {
                    self.cursor.take(1);
                }
                Some(b'#') => {
                    self.cursor.take(1);
                    if let Some(entry) = self.comment()? {
                        return Ok(Some(entry));
                    }
                }
                Some(_) => return self.text_sample().map(|s| Some(Entry::Sample(s))),
            }
        }
    }

    /// A line after its `#`: metadata, or words for people.
    fn comment(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        let spaced = self.cursor.blanks();
        let help =
            spaced && (self.cursor.rest().starts_with(b"HELP ") || self.cursor.rest().starts_with(b"HELP\t"));
        let kind =
            spaced && (self.cursor.rest().starts_with(b"TYPE ") || self.cursor.rest().starts_with(b"TYPE\t"));
        if !help && !kind {
            self.cursor.line_rest();
            return Ok(None);
        }
        self.cursor.take(4);
        self.cursor.blanks();
        let family = self.family_name()?;
        let rest = self.cursor.line_rest();
        let text = std::str::from_utf8(rest.get(1..).unwrap_or_default())
            .map_err(|_| self.error("the text is not UTF-8"))?;
        if help {
            return Ok(Some(Entry::Help { family, text: unescape(text) }));
        }
        let kind = match text {
            "counter" => MetricType::Counter,
            "gauge" => MetricType::Gauge,
            "histogram" => MetricType::Histogram,
            "summary" => MetricType::Summary,
            "untyped" => MetricType::Unknown,
            other => return Err(self.error(format!("{other:?} is not a metric type"))),
        };
        Ok(Some(Entry::Type { family, kind }))
    }

    /// A family's name in a metadata line, bare or quoted.
    pub(super) fn family_name(&mut self) -> Result<Cow<'a, str>, ParseError> {
        let (bytes, quoted) = match self.cursor.quoted(true) {
            Some(text) => (text, true),
            None => (self.cursor.metric_name().ok_or_else(|| self.expected("a metric name"))?, false),
        };
        let text = self.utf8(bytes)?;
        Ok(Text { text, quoted }.read())
    }

    pub(super) fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, ParseError> {
        std::str::from_utf8(bytes).map_err(|_| self.error("a text is not UTF-8"))
    }

    fn text_sample(&mut self) -> Result<Sample<'a>, ParseError> {
        let begin = self.cursor.at();
        let text = self.text_series()?;
        self.cursor.blanks();
        let value = self.cursor.take_while(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'{'));
        if value.is_empty() {
            return Err(self.expected("a value after the series"));
        }
        let value = self.float(value)?;
        self.cursor.blanks();
        let digits = self.cursor.take_while(|b| b.is_ascii_digit());
        let at = match digits {
            [] => None,
            digits => Some(
                std::str::from_utf8(digits)
                    .ok()
                    .and_then(|d| d.parse().ok())
                    .ok_or_else(|| self.error("the timestamp is too large"))?,
            ),
        };
        self.cursor.blanks();
        if !matches!(self.cursor.peek(), None | Some(b'\n')) {
            return Err(self.expected("the end of the line"));
        }
        self.cursor.take(1);
        Ok(Sample { text, begin, value, at })
    }

    /// Name and labels; returns them as written.
    pub(super) fn text_series(&mut self) -> Result<&'a [u8], ParseError> {
        self.spans.clear();
        let from = self.cursor.at();
        if self.cursor.peek() != Some(b'{') {
            let name = self.cursor.metric_name().ok_or_else(|| self.expected("a metric name"))?;
            self.spans.name = Some(Text { text: self.utf8(name)?, quoted: false });
        }
        let mut end = self.cursor.at();
        self.cursor.blanks();
        if self.cursor.eat(b"{") {
            self.text_labels()?;
            end = self.cursor.at();
        }
        if self.spans.name.is_none() {
            return Err(self.error("the series has no metric name"));
        }
        if let Some(fault) = self.spans.fault() {
            return Err(self.error(fault));
        }
        let all = self.cursor.since(from);
        Ok(&all[..end - from])
    }

    fn text_labels(&mut self) -> Result<(), ParseError> {
        loop {
            self.cursor.blanks();
            if self.cursor.eat(b"}") {
                return Ok(());
            }
            let (name, quoted) = match self.cursor.quoted(true) {
                Some(text) => (text, true),
                None => (self.cursor.label_name().ok_or_else(|| self.expected("a label name"))?, false),
            };
            let name = Text { text: self.utf8(name)?, quoted };
            self.cursor.blanks();
            if quoted && matches!(self.cursor.peek(), Some(b',' | b'}')) {
                if self.spans.name.replace(name).is_some() {
                    return Err(self.error("the series has two metric names"));
                }
            } else {
                if !self.cursor.eat(b"=") {
                    return Err(self.expected("`=`"));
                }
                self.cursor.blanks();
                let value =
                    self.cursor.quoted(true).ok_or_else(|| self.expected("a label value in quotes"))?;
                let value = self.utf8(value)?;
                self.spans.pairs.push((name, value));
                self.cursor.blanks();
            }
            self.cursor.eat(b",");
        }
    }
}
