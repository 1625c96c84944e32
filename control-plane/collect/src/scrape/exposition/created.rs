//! When series began to count: the `_created` lines of an OpenMetrics body, found before its samples are read,
//! since they may stand behind them.

use super::{Entry, Format, MetricType, Parser, labels::LabelSpans};
use model::{Labels, LabelsBuilder, Timestamp};
use std::collections::HashMap;

/// Creation times by family and the labels that all series of one metric share.
#[derive(Debug, Default)]
pub(super) struct Created(HashMap<(String, Labels), Timestamp>);

/// The labels without those in which the parts of one metric differ.
fn shared(kind: MetricType, spans: &LabelSpans<'_>) -> Labels {
    let mut builder = LabelsBuilder::default();
    spans.fill(kind, &mut builder);
    builder.remove(model::labels::METRIC_NAME);
    match kind {
        MetricType::Histogram => builder.remove("le"),
        MetricType::Summary => builder.remove("quantile"),
        _ => &mut builder,
    };
    builder.build()
}

impl Created {
    /// Errors of the body are left to whoever reads its samples.
    #[expect(clippy::cast_possible_truncation, reason = "a float beyond the range becomes its end")]
    pub(super) fn collect(body: &[u8]) -> Created {
        let mut parser = Parser::bare(Format::OpenMetrics, body);
        let mut found = Created::default();
        while let Ok(Some(entry)) = parser.next() {
            if let Entry::Sample(sample) = entry
                && parser.is_created_line()
                && sample.value.is_finite()
            {
                let key = (parser.family.to_string(), shared(parser.kind, &parser.spans));
                found.0.insert(key, (sample.value * 1000.0) as i64);
            }
        }
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, family: &str, kind: MetricType, spans: &LabelSpans<'_>) -> Option<Timestamp> {
        if !matches!(kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary) {
            return None;
        }
        let name = spans.name()?;
        let ending = name.strip_prefix(family)?;
        matches!(ending, "" | "_total" | "_count" | "_sum" | "_bucket")
            .then(|| self.0.get(&(family.to_owned(), shared(kind, spans))).copied())
            .flatten()
    }
}
