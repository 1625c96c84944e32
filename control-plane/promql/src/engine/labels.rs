//! Functions on labels: `label_replace`, `label_join`, and natural order for `sort_by_label`.

use super::{
    EvalError,
    column::{Column, Grid},
    eval::{Evaluator, execution, merge_same_labels},
    quota::LABEL_BYTES,
};
use crate::{ast::Call, error::shortened};
use model::{
    labels::METRIC_NAME,
    matcher::{anchored_regex, expand},
};
use std::cmp::Ordering;

impl Evaluator<'_> {
    fn texts(&mut self, call: &Call, grid: &Grid) -> Result<Vec<String>, EvalError> {
        call.args.iter().skip(1).map(|a| self.eval_text(a, grid)).collect()
    }

    pub(crate) fn label_replace(&mut self, call: &Call, grid: &Grid) -> Result<Vec<Column>, EvalError> {
        let texts = self.texts(call, grid)?;
        let [to, replacement, from, pattern] = &texts[..] else {
            return execution("label_replace needs four strings");
        };
        // Checked before anything is read, and kept only while it is needed: calls nest.
        if let Err(e) = anchored_regex(pattern) {
            let (pattern, reason) = (shortened(pattern), e.reason);
            return execution(format!("invalid regular expression in label_replace(): {pattern}: {reason}"));
        }
        if to.is_empty() {
            return execution(format!("invalid destination label name in label_replace(): {to}"));
        }
        let mut columns = self.eval_vector(&call.args[0], grid)?;
        let Ok(regex) = anchored_regex(pattern) else { return Ok(columns) };
        let references = replacement.matches('$').count();
        for c in &mut columns {
            self.cancel.check()?;
            let source = c.labels.value(from);
            let Some(captures) = regex.captures(source) else { continue };
            // What is longer than this at worst is not even tried.
            let most = references.saturating_mul(source.len()).saturating_add(replacement.len());
            if most > 16 * LABEL_BYTES {
                return execution(format!(
                    "label_replace would make a label value of up to {most} bytes: at most {LABEL_BYTES} are allowed"
                ));
            }
            let text = expand(replacement, &captures);
            self.quota.keep_label("label_replace", &text)?;
            c.labels = c.labels.with(to.as_str(), text);
            if to == METRIC_NAME {
                c.drop_name = false;
            }
        }
        merge_same_labels(columns)
    }

    pub(crate) fn label_join(&mut self, call: &Call, grid: &Grid) -> Result<Vec<Column>, EvalError> {
        let texts = self.texts(call, grid)?;
        let [to, separator, from @ ..] = &texts[..] else {
            return execution("label_join needs a label and a separator");
        };
        if let Some(bad) = from.iter().find(|n| n.is_empty()) {
            return execution(format!("invalid source label name in label_join(): {bad}"));
        }
        if to.is_empty() {
            return execution(format!("invalid destination label name in label_join(): {to}"));
        }
        let mut columns = self.eval_vector(&call.args[0], grid)?;
        for c in &mut columns {
            let values: Vec<&str> = from.iter().map(|n| c.labels.value(n)).collect();
            let length = values.iter().map(|v| v.len() + separator.len()).sum::<usize>();
            if length > LABEL_BYTES + separator.len() {
                return execution(format!(
                    "label_join would make a label value of {length} bytes: at most {LABEL_BYTES} are allowed"
                ));
            }
            let joined = values.join(separator);
            self.quota.keep_label("label_join", &joined)?;
            c.labels = c.labels.with(to.as_str(), joined);
            if to == METRIC_NAME {
                c.drop_name = false;
            }
        }
        merge_same_labels(columns)
    }

    pub(crate) fn sort_by_label(
        &mut self,
        call: &Call,
        grid: &Grid,
        descending: bool,
    ) -> Result<Vec<Column>, EvalError> {
        let names = self.texts(call, grid)?;
        let mut columns = self.eval_vector(&call.args[0], grid)?;
        columns.sort_by(|a, b| {
            let by_names = names.iter().map(|n| natural(a.labels.value(n), b.labels.value(n)));
            let order = by_names.fold(Ordering::Equal, Ordering::then).then_with(|| a.labels.cmp(&b.labels));
            if descending { order.reverse() } else { order }
        });
        Ok(columns)
    }
}

/// Compares text as people do: runs of digits by their number.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) else {
            return a.is_empty().cmp(&b.is_empty()).reverse();
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
            let (left, rest_a) = a.split_at(digits(a));
            let (right, rest_b) = b.split_at(digits(b));
            let (l, r) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            let order =
                l.len().cmp(&r.len()).then_with(|| l.cmp(r)).then_with(|| left.len().cmp(&right.len()));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (rest_a, rest_b);
        } else {
            if x != y {
                return x.cmp(&y);
            }
            a = a.split_at(x.len_utf8()).1;
            b = b.split_at(y.len_utf8()).1;
        }
    }
}
