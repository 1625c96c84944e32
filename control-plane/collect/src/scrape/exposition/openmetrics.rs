//! OpenMetrics 1.0: one blank where one belongs, `# EOF` at the end, exemplars, timestamps in seconds.

use super::{
    Entry, Exemplar, MetricType, ParseError, Parser, Sample,
    labels::{LabelSpans, Text, unescape},
};
use model::{Labels, Timestamp};

impl<'a> Parser<'a> {
    pub(super) fn next_open(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        if self.ended {
            return Ok(None);
        }
        match self.cursor.peek() {
            None => Err(self.error("the body does not end with `# EOF`")),
            Some(b'#') => self.open_comment(),
            Some(_) => self.open_sample().map(|s| Some(Entry::Sample(s))),
        }
    }

    fn open_comment(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        if self.cursor.eat(b"# EOF") {
            self.cursor.eat(b"\n");
            self.ended = true;
            return match self.cursor.peek() {
                None => Ok(None),
                Some(_) => Err(self.error("there is something after `# EOF`")),
            };
        }
        let what = [&b"# HELP "[..], b"# TYPE ", b"# UNIT "].into_iter().find(|w| self.cursor.eat(w));
        let Some(what) = what else { return Err(self.expected("`# HELP`, `# TYPE`, `# UNIT` or `# EOF`")) };
        let family = self.family_name()?;
        if !self.cursor.eat(b" ") {
            return Err(self.expected("a blank and a text after the metric name"));
        }
        if memchr::memchr(b'\n', self.cursor.rest()).is_none() {
            return Err(self.error("the body does not end with `# EOF`"));
        }
        let text = self.cursor.line_rest();
        let text = self.utf8(text)?;
        match what {
            b"# HELP " => Ok(Some(Entry::Help { family, text: unescape(text) })),
            b"# UNIT " => {
                let prefix = family.strip_suffix(text);
                if !text.is_empty() && !prefix.is_some_and(|p| p.ends_with('_')) {
                    return Err(self.error(format!("unit {text:?} is not the ending of {family:?}")));
                }
                Ok(Some(Entry::Unit { family, unit: text }))
            }
            _ => {
                let kind = match text {
                    "counter" => MetricType::Counter,
                    "gauge" => MetricType::Gauge,
                    "histogram" => MetricType::Histogram,
                    "gaugehistogram" => MetricType::GaugeHistogram,
                    "summary" => MetricType::Summary,
                    "info" => MetricType::Info,
                    "stateset" => MetricType::StateSet,
                    "unknown" => MetricType::Unknown,
                    other => return Err(self.error(format!("{other:?} is not a metric type"))),
                };
                Ok(Some(Entry::Type { family, kind }))
            }
        }
    }

    fn open_sample(&mut self) -> Result<Sample<'a>, ParseError> {
        let begin = self.cursor.at();
        self.exemplar = None;
        let text = self.open_series()?;
        let value = self.open_word("a value after the series")?;
        let value = self.float(value)?;
        let mut at = None;
        if !matches!(self.cursor.peek(), Some(b'\n')) && !self.cursor.rest().starts_with(b" # {") {
            let word = self.open_word("a timestamp, an exemplar or the end of the line")?;
            at = Some(self.seconds(word)?);
        }
        if self.cursor.eat(b" # {") {
            self.exemplar = Some(self.read_exemplar(text)?);
        }
        self.open_end()?;
        Ok(Sample { text, begin, value, at })
    }

    fn open_end(&mut self) -> Result<(), ParseError> {
        match self.cursor.peek() {
            Some(b'\n') => {
                self.cursor.take(1);
                Ok(())
            }
            None => Err(self.error("the body does not end with `# EOF`")),
            Some(_) => Err(self.expected("the end of the line")),
        }
    }

    /// One blank and what stands before the next blank.
    fn open_word(&mut self, what: &str) -> Result<&'a [u8], ParseError> {
        if !self.cursor.eat(b" ") {
            return Err(self.expected(what));
        }
        match self.cursor.take_while(|b| b != b' ' && b != b'\n') {
            [] => Err(self.expected(what)),
            word => Ok(word),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float beyond the range becomes its end, as it should"
    )]
    fn seconds(&self, word: &[u8]) -> Result<Timestamp, ParseError> {
        let v = self.float(word)?;
        if v.is_finite() { Ok((v * 1000.0) as i64) } else { Err(self.error("a timestamp must be finite")) }
    }

    fn open_series(&mut self) -> Result<&'a [u8], ParseError> {
        self.spans.clear();
        let from = self.cursor.at();
        if self.cursor.peek() != Some(b'{') {
            let name = self.cursor.metric_name().ok_or_else(|| self.expected("a metric name"))?;
            self.spans.name = Some(Text { text: self.utf8(name)?, quoted: false });
        }
        if self.cursor.eat(b"{") {
            let mut spans = std::mem::take(&mut self.spans);
            let outcome = self.open_labels(&mut spans, true);
            self.spans = spans;
            outcome?;
        }
        if self.spans.name.is_none() {
            return Err(self.error("the series has no metric name"));
        }
        if let Some(fault) = self.spans.fault() {
            return Err(self.error(fault));
        }
        Ok(self.cursor.since(from))
    }

    /// Labels up to the closing brace. Only a series may have a quoted metric name among them.
    fn open_labels(&mut self, into: &mut LabelSpans<'a>, series: bool) -> Result<(), ParseError> {
        if self.cursor.eat(b"}") {
            return Ok(());
        }
        loop {
            let (name, quoted) = match self.cursor.quoted(true) {
                Some(text) => (text, true),
                None => (self.cursor.label_name().ok_or_else(|| self.expected("a label name"))?, false),
            };
            let name = Text { text: self.utf8(name)?, quoted };
            if series && quoted && matches!(self.cursor.peek(), Some(b',' | b'}')) {
                if into.name.replace(name).is_some() {
                    return Err(self.error("the series has two metric names"));
                }
            } else {
                if !self.cursor.eat(b"=") {
                    return Err(self.expected("`=`"));
                }
                let value =
                    self.cursor.quoted(false).ok_or_else(|| self.expected("a label value in quotes"))?;
                let value = self.utf8(value)?;
                into.pairs.push((name, value));
            }
            if self.cursor.eat(b"}") {
                return Ok(());
            }
            if !self.cursor.eat(b",") {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    /// Reads an exemplar behind its opening brace.
    fn read_exemplar(&mut self, series: &[u8]) -> Result<Exemplar, ParseError> {
        if let Some(why) = self.refuses_exemplars(series) {
            return Err(self.error(format!("{why} has no exemplars")));
        }
        let mut spans = LabelSpans::default();
        self.open_labels(&mut spans, false)?;
        let value = self.open_word("a value after the exemplar's labels")?;
        let value = self.float(value)?;
        let mut at = None;
        if !matches!(self.cursor.peek(), Some(b'\n') | None) {
            let word = self.open_word("a timestamp or the end of the line")?;
            at = Some(self.seconds(word)?);
        }
        let labels = Labels::from_pairs(spans.pairs.iter().map(|(n, v)| (n.read(), unescape(v))));
        Ok(Exemplar { labels, value, at })
    }

    /// Which kinds of series may carry none.
    fn refuses_exemplars(&self, series: &[u8]) -> Option<&'static str> {
        let name = match self.spans.name() {
            Some(name) => name,
            None => String::from_utf8_lossy(series.split(|b| *b == b'{').next().unwrap_or_default()),
        };
        if name.ends_with("_bucket") || name.ends_with("_total") {
            return None;
        }
        let ending = name.strip_prefix(&*self.family)?;
        match (self.kind, ending) {
            (MetricType::Gauge, _) => Some("a gauge"),
            (MetricType::Info, _) => Some("an info"),
            (MetricType::StateSet, _) => Some("a stateset"),
            (MetricType::Histogram | MetricType::GaugeHistogram, "_sum") => Some("the sum of a histogram"),
            (MetricType::Counter, "_created") => Some("a creation time"),
            _ => None,
        }
    }
}
