//! Taking in what was taken apart before: protobuf, and texts whose histograms were put together.

use super::{Fault, Ingest, Renewed, Round, Scraped, line_number, native};
use crate::scrape::{exposition::Decoded, target::Target, template::Place};
use model::Value;
use std::sync::Arc;

impl Ingest {
    pub(super) fn read_decoded(
        &mut self,
        target: &Target,
        mut decoded: Decoded<'_>,
        round: &mut Round,
        out: &mut Scraped,
    ) -> Result<(), Fault> {
        for about in std::mem::take(&mut decoded.about) {
            self.note(about);
        }
        let mut place = Place::default();
        let mut renewed = self.retry(&place);
        for item in &decoded.items {
            out.samples += 1;
            let own = item.at.filter(|_| target.job.honor_timestamps);
            let live = own.is_none() || target.job.track_timestamps;
            let text = decoded.text(item);
            let here = self.locate(target, item.kind, text, live, &mut place, &mut renewed, out)?;
            let Some((series, line)) = here else { continue };
            out.kept += 1;
            self.check_sample_limit(target, out)?;
            let at = own.unwrap_or(round.batch.at);
            let histogram = matches!(item.value, Value::Histogram(_));
            for exemplar in item.exemplars.iter().filter(|e| e.at.is_some() || !histogram) {
                self.exemplars.note(series, exemplar.clone(), at, || {
                    self.labels_of(target, item.kind, text).ok().flatten()
                });
            }
            let value = match &item.value {
                Value::Float(v) if own.is_none() && item.start.is_none() => {
                    round.batch.push(series, *v);
                    round.columns.push(line_number(line));
                    continue;
                }
                Value::Float(v) => Value::Float(*v),
                Value::Histogram(h) => {
                    let limits = &target.job.native;
                    let fitted = native::fit(h, limits.buckets, limits.max_schema).map_err(Fault::Text)?;
                    Value::Histogram(fitted.map_or_else(|| Arc::clone(h), Arc::new))
                }
            };
            round.batch.entries.push(model::Entry { series, at: own, start: item.start, value });
            round.entries.push(line_number(line));
        }
        self.conclude(renewed, &place, round, out);
        Ok(())
    }

    /// A renewal from the beginning, where it is time to ask again for series without room.
    pub(super) fn retry<'a>(&mut self, place: &Place<'a>) -> Option<Renewed<'a>> {
        if self.retry_in == 0 {
            return None;
        }
        self.retry_in -= 1;
        (self.retry_in == 0).then(|| Renewed { retry: true, ..Renewed::after(&self.template, place) })
    }
}
