//! Why a result is empty: a selector that names what the store has not.
//!
//! Remarks only, as infos. They cost some look-ups of names, so they are made for people who wrote a query, not for
//! rules, and only when nothing came of it.

use crate::{
    Expr, QueryResult, QueryValue,
    ast::{ExprKind, Selector},
    error::{Span, shortened},
    function::closest,
    value::Annotations,
};
use model::{Cancel, MatchOp, Matcher, Select, SelectError, SelectRequest, Timestamp, labels::METRIC_NAME};

/// How long before the query's first time something must have been there to be known.
const MEMORY_MS: i64 = 24 * 3_600_000;

/// Selectors that are looked at, and names that a misspelt one is compared with.
const MOST_SELECTORS: usize = 10;
const MOST_NAMES: usize = 100_000;

/// Adds to an empty result what its selectors name and the store does not have.
///
/// # Errors
/// Only when the store fails or `cancel` says so; the result is good all the same.
pub fn explain_empty(
    select: &dyn Select,
    expr: &Expr,
    result: &mut QueryResult,
    (start, end): (Timestamp, Timestamp),
    cancel: &Cancel,
) -> Result<(), SelectError> {
    let empty = match &result.value {
        QueryValue::Vector(v) => v.is_empty(),
        QueryValue::Matrix(m) => m.is_empty(),
        QueryValue::Scalar { .. } | QueryValue::String { .. } => false,
    };
    if !empty {
        return Ok(());
    }
    let store = Store { select, start: start.saturating_sub(MEMORY_MS), end, cancel };
    let mut selectors = Vec::new();
    expr.walk(&mut |e| {
        if let ExprKind::Selector(s) = &e.kind {
            selectors.push((e.span, &**s));
        }
    });
    for (span, s) in selectors.into_iter().take(MOST_SELECTORS) {
        store.look(span, s, &mut result.annotations)?;
    }
    Ok(())
}

struct Store<'a> {
    select: &'a dyn Select,
    start: Timestamp,
    end: Timestamp,
    cancel: &'a Cancel,
}

impl Store<'_> {
    fn request<'m>(&self, matchers: &'m [Matcher]) -> SelectRequest<'m> {
        SelectRequest { cancel: self.cancel.clone(), ..SelectRequest::new(matchers, self.start, self.end) }
    }

    fn look(&self, span: Span, s: &Selector, notes: &mut Annotations) -> Result<(), SelectError> {
        let is_name = |m: &&Matcher| &*m.name == METRIC_NAME && m.op == MatchOp::Eq;
        let name = s.matchers.iter().find(is_name).cloned();
        let of = match &name {
            Some(name) => {
                let known =
                    self.select.label_values(METRIC_NAME, &self.request(std::slice::from_ref(name)))?;
                if known.is_empty() {
                    let all = self.select.label_values(METRIC_NAME, &self.request(&[]))?;
                    // A store may know the name from other times.
                    let others = all.iter().map(String::as_str).filter(|n| *n != &*name.value);
                    let meant = closest(&name.value, others.take(MOST_NAMES));
                    let meant = match meant {
                        Some(meant) => format!(", did you mean {meant}?"),
                        None => " at that time or in the day before".to_owned(),
                    };
                    notes.info(span, format!("no metric named {}{meant}", shortened(&name.value)));
                    return Ok(());
                }
                format!("no series of {}", shortened(&name.value))
            }
            None => "no series".to_owned(),
        };
        let context: Vec<Matcher> = name.into_iter().collect();
        let labels = self.select.label_names(&self.request(&context))?;
        for m in s.matchers.iter().filter(|m| &*m.name != METRIC_NAME && !m.matches_empty()) {
            if !labels.iter().any(|l| *l == *m.name) {
                let meant = closest(&m.name, labels.iter().map(String::as_str));
                let meant = match meant {
                    Some(meant) => format!(", did you mean {meant}?"),
                    None if context.is_empty() => String::new(),
                    None => format!(": they have {}", listed(&labels)),
                };
                notes.info(span, format!("{of} has label {}{meant}", shortened(&m.name)));
            } else if m.op == MatchOp::Eq {
                self.value(span, &of, m, &context, notes)?;
            }
        }
        Ok(())
    }

    /// Whether a value that a matcher wants is there.
    fn value(
        &self,
        span: Span,
        of: &str,
        m: &Matcher,
        context: &[Matcher],
        notes: &mut Annotations,
    ) -> Result<(), SelectError> {
        let values = self.select.label_values(&m.name, &self.request(context))?;
        if values.iter().any(|v| *v == *m.value) {
            return Ok(());
        }
        let pattern = Matcher::new(&*m.name, MatchOp::Re, &*m.value);
        let meant = if pattern.is_ok_and(|p| values.iter().take(MOST_NAMES).any(|v| p.matches(v))) {
            format!(", did you mean {}=~{:?}?", m.name, shortened(&m.value))
        } else {
            match closest(&m.value, values.iter().take(MOST_NAMES).map(String::as_str)) {
                Some(meant) => format!(", did you mean {meant:?}?"),
                None => String::new(),
            }
        };
        notes.info(span, format!("{of} has {}={:?}{meant}", m.name, shortened(&m.value)));
        Ok(())
    }
}

/// Some of the labels, for a sentence.
fn listed(labels: &[String]) -> String {
    let shown: Vec<&str> = labels.iter().map(String::as_str).filter(|l| *l != METRIC_NAME).take(8).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Engine, MemoryStore, parse};
    use model::{Labels, Value};

    /// A store that tells names from any time, as one does whose index has no times.
    #[derive(Debug)]
    struct Timeless(MemoryStore);

    impl Select for Timeless {
        fn select<'a>(
            &'a self,
            request: &SelectRequest<'_>,
        ) -> Result<Box<dyn model::SeriesStream + 'a>, SelectError> {
            self.0.select(request)
        }
        fn series(&self, request: &SelectRequest<'_>) -> Result<Vec<Labels>, SelectError> {
            self.0.series(request)
        }
        fn label_names(&self, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
            self.0.label_names(request)
        }
        fn label_values(&self, name: &str, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
            let ever = SelectRequest::new(request.matchers, Timestamp::MIN, Timestamp::MAX);
            self.0.label_values(name, if request.matchers.is_empty() { &ever } else { request })
        }
    }

    #[test]
    fn what_is_there_at_another_time_is_not_suggested_to_whoever_wrote_it() {
        let store = Timeless(MemoryStore::new());
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "api")]);
        store.0.push(&labels, 60_000, Value::Float(1.0), None).expect("pushed");
        let (expr, cancel, late) = (parse("up").expect("parses"), Cancel::default(), 3 * MEMORY_MS);
        let mut result = Engine::default().instant(&store, &expr, late, &cancel).expect("evaluates");
        explain_empty(&store, &expr, &mut result, (late, late), &cancel).expect("looks");
        let (_, infos) = result.annotations.texts("up", 0);
        assert_eq!(infos, ["PromQL info: no metric named up at that time or in the day before (1:1)"]);
    }

    #[test]
    fn an_empty_result_says_what_is_not_there() {
        let store = MemoryStore::new();
        for (name, job) in [("up", "api"), ("up", "db"), ("http_requests_total", "api")] {
            let labels = Labels::from_pairs([("__name__", name), ("job", job), ("instance", "a:1")]);
            store.push(&labels, 60_000, Value::Float(1.0), None).expect("pushed");
        }
        for (query, expect) in [
            (
                "http_request_total",
                "PromQL info: no metric named http_request_total, did you mean http_requests_total? (1:1)",
            ),
            (
                "rate(up[5m]) / http_request_total",
                "PromQL info: no metric named http_request_total, did you mean http_requests_total? (1:16)",
            ),
            (
                "nothing_like_it",
                "PromQL info: no metric named nothing_like_it at that time or in the day before (1:1)",
            ),
            (
                "up{instnce=\"a:1\"}",
                "PromQL info: no series of up has label instnce, did you mean instance? (1:1)",
            ),
            ("up{pod=\"x\"}", "PromQL info: no series of up has label pod: they have instance, job (1:1)"),
            (
                "sum(\n  up{job=\"apii\"})",
                "PromQL info: no series of up has job=\"apii\", did you mean \"api\"? (2:3)",
            ),
            (
                "up{job=\"a.*\"}",
                "PromQL info: no series of up has job=\"a.*\", did you mean job=~\"a.*\"? (1:1)",
            ),
            ("{jbo=\"api\"}", "PromQL info: no series has label jbo, did you mean job? (1:1)"),
            ("up{pod=\"\", job=\"api\"} > 5", ""),
            ("up > 5", ""),
            ("up", ""),
        ] {
            let expr = parse(query).expect("parses");
            let cancel = Cancel::default();
            let mut result = Engine::default().instant(&store, &expr, 60_000, &cancel).expect("evaluates");
            explain_empty(&store, &expr, &mut result, (60_000, 60_000), &cancel).expect("looks");
            let (_, infos) = result.annotations.texts(query, 0);
            // What the evaluation remarks by itself is not asked for here.
            let hints: Vec<&String> =
                infos.iter().filter(|i| !i.contains("might not be a counter")).collect();
            assert_eq!(hints.first().map_or("", |h| h.as_str()), expect, "{query}");
        }
    }
}
