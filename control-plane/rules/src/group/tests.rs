//! A group's rules see each other's results, and what vanishes is marked.

use super::*;
use crate::config::RuleFile;
use model::{SampleColumns, SelectRequest, is_stale_nan};
use promql::memory::MemoryStore;

fn group(text: &str) -> GroupState {
    let file = RuleFile::parse("r", text).unwrap_or_else(|e| panic!("{e}"));
    GroupState::new(Arc::new(file.groups[0].clone()), &mut BTreeMap::new(), |_| Alerts::default())
}

fn put(store: &MemoryStore, labels: &[(&str, &str)], at: i64, v: f64) {
    store.push(&Labels::from_pairs(labels.iter().copied()), at, Value::Float(v), None).expect("pushed");
}

fn evaluate(group: &mut GroupState, store: &MemoryStore, at: i64) -> Changes {
    let (engine, cancel) = (Engine::default(), Cancel::default());
    let world = World {
        engine: &engine,
        select: store,
        append: store,
        cancel: &cancel,
        external_url: "http://vigie",
        external_labels: &[],
        settled_at: i64::MIN,
    };
    group.evaluate(at, world, &|| Duration::ZERO)
}

fn values(store: &MemoryStore, name: &str) -> Vec<(String, Vec<f64>)> {
    let matchers = [model::Matcher::eq(METRIC_NAME, name)];
    let mut stream = store.select(&SelectRequest::new(&matchers, 0, i64::MAX)).expect("select");
    let (mut all, mut columns) = (Vec::new(), SampleColumns::default());
    while let Some((_, labels)) = stream.next(&mut columns).expect("series") {
        all.push((labels.drop(&[METRIC_NAME]).to_string(), columns.values.clone()));
    }
    all
}

#[test]
fn later_rules_see_earlier_ones_and_series_that_vanish_end() {
    let store = MemoryStore::new();
    let mut group = group(
        "groups: [{name: g, rules: [{record: twice, expr: x * 2, labels: {by: us}}, {record: again, expr: twice + 1}]}]",
    );
    put(&store, &[("__name__", "x"), ("i", "1")], 1000, 5.0);
    evaluate(&mut group, &store, 1000);
    assert_eq!(values(&store, "again"), [(r#"{by="us", i="1"}"#.to_owned(), vec![11.0])]);
    put(&store, &[("__name__", "x"), ("i", "1")], 2000, stale_nan());
    evaluate(&mut group, &store, 2000);
    let twice = values(&store, "twice");
    assert_eq!(twice[0].1[0], 10.0);
    assert!(is_stale_nan(twice[0].1[1]));
}

#[test]
fn alerts_carry_expanded_labels_and_write_their_series() {
    let store = MemoryStore::new();
    let mut group = group(
        r#"groups: [{name: g, rules: [{alert: Hot, expr: temp > 30, labels: {zone: "{{ $labels.room }}-z"},
            annotations: {summary: "{{ $labels.room }} is at {{ $value }}, {{ with query \"limit\" }}{{ . | first | value }}{{ end }} is the limit"}}]}]"#,
    );
    put(&store, &[("__name__", "temp"), ("room", "attic")], 1000, 35.0);
    put(&store, &[("__name__", "limit")], 1000, 30.0);
    let changes = evaluate(&mut group, &store, 1000);
    assert_eq!(changes.put[0].labels.to_string(), r#"{alertname="Hot", room="attic", zone="attic-z"}"#);
    assert_eq!(changes.put[0].annotations.value("summary"), "attic is at 35, 30 is the limit");
    assert_eq!(
        values(&store, "ALERTS")[0].0,
        r#"{alertname="Hot", alertstate="firing", room="attic", zone="attic-z"}"#
    );
    assert_eq!(values(&store, "ALERTS_FOR_STATE")[0].1, [1.0]);
}

#[test]
fn a_failed_evaluation_resolves_nothing() {
    let store = MemoryStore::new();
    let mut group = group(
        "groups: [{name: g, limit: 1, rules: [{alert: A, expr: x > 0}, {alert: B, expr: 'x > 0', labels: {i: same}}]}]",
    );
    put(&store, &[("__name__", "x"), ("i", "1")], 1000, 1.0);
    evaluate(&mut group, &store, 1000);
    put(&store, &[("__name__", "x"), ("i", "2")], 2000, 1.0);
    evaluate(&mut group, &store, 2000);
    let (a, b) = (&group.rules[0], &group.rules[1]);
    assert_eq!(a.last_error.as_deref(), Some("the rule gives 2 results, its group allows 1"));
    assert_eq!((a.failures, a.alerts.all.len(), b.alerts.all.len()), (1, 1, 1));
    assert!(a.alerts.all.values().all(|alert| alert.phase == AlertPhase::Firing));
}

#[test]
fn what_the_disk_did_not_take_is_saved_with_the_next_change() {
    let store = MemoryStore::default();
    let mut group = group("groups: [{name: g, rules: [{alert: Down, expr: up == 0}]}]");
    for job in ["a", "b"] {
        put(&store, &[("__name__", "up"), ("job", job)], 1_000, 0.0);
    }
    assert_eq!(evaluate(&mut group, &store, 1_000).put.len(), 2);
    assert!(group.with_unsaved(Changes::default()).put.is_empty());
    let key = group.rules[0].alerts.rule.clone();
    let labels = |job: &str| Labels::from_pairs([("alertname", "Down"), ("job", job)]);
    // The disk is full: an end that was not recorded, and one whose alert has come back since.
    group.unsaved = Some(vec![(key.clone(), labels("gone")), (key.clone(), labels("a"))]);
    let changes = evaluate(&mut group, &store, 2_000);
    let again = group.with_unsaved(changes);
    assert_eq!(again.put.len(), 2, "nothing has changed, and all is saved");
    assert_eq!(again.forget, [(key, labels("gone"))]);
}

#[test]
fn after_a_start_an_alert_ends_only_when_its_whole_range_has_been_seen() {
    let store = MemoryStore::new();
    let mut group = group(
        "groups: [{name: g, rules: [{alert: A, expr: 'max_over_time(x[10s]) > 0'}, {alert: B, expr: x > 0}]}]",
    );
    put(&store, &[("__name__", "x")], 1000, 1.0);
    let phases = |group: &GroupState| {
        let of = |r: &RuleState| r.alerts.all.values().next().map_or("none", |a| a.phase.as_str());
        group.rules.iter().map(of).collect::<Vec<_>>()
    };
    evaluate(&mut group, &store, 1000);
    let (engine, cancel) = (Engine::default(), Cancel::default());
    let after_start = |group: &mut GroupState, at: i64| {
        let world = World {
            engine: &engine,
            select: &store,
            append: &store,
            cancel: &cancel,
            external_url: "",
            external_labels: &[],
            settled_at: 1_000_000,
        };
        group.evaluate(at, world, &|| Duration::ZERO);
    };
    after_start(&mut group, 999_999);
    assert_eq!(phases(&group), ["firing", "firing"], "nothing has been seen yet");
    after_start(&mut group, 1_000_000);
    assert_eq!(phases(&group), ["firing", "resolved"], "rates need their range");
    after_start(&mut group, 1_010_000);
    assert_eq!(phases(&group), ["resolved", "resolved"]);
}

/// Counts what is read of a store.
#[derive(Debug)]
struct Counting<'a>(&'a MemoryStore, std::sync::atomic::AtomicUsize);

impl Select for Counting<'_> {
    fn select<'a>(
        &'a self,
        request: &SelectRequest<'_>,
    ) -> Result<Box<dyn model::SeriesStream + 'a>, model::SelectError> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.select(request)
    }
    fn series(&self, request: &SelectRequest<'_>) -> Result<Vec<Labels>, model::SelectError> {
        self.0.series(request)
    }
    fn label_names(&self, request: &SelectRequest<'_>) -> Result<Vec<String>, model::SelectError> {
        self.0.label_names(request)
    }
    fn label_values(
        &self,
        name: &str,
        request: &SelectRequest<'_>,
    ) -> Result<Vec<String>, model::SelectError> {
        self.0.label_values(name, request)
    }
}

#[test]
fn what_rules_have_in_common_is_evaluated_once_unless_a_rule_wrote_it() {
    let store = MemoryStore::new();
    for i in 0..3 {
        put(&store, &[("__name__", "x"), ("i", &i.to_string())], 1000, f64::from(i));
    }
    let mut group = group(
        "groups: [{name: g, rules: [
            {record: a, expr: '  sum(x) + count(x)'},
            {record: b, expr: 'sum(x) * 2'},
            {record: c, expr: 'sum(a) + sum(x)'},
            {record: a, expr: 'b', labels: {second: 'yes'}},
            {record: d, expr: 'sum(a) + sum(x)'},
            {record: e, expr: 'max_over_time(sum(x)[1m:1s])'}]}]",
    );
    let counting = Counting(&store, std::sync::atomic::AtomicUsize::new(0));
    let (engine, cancel) = (Engine::default(), Cancel::default());
    let world = World {
        engine: &engine,
        select: &counting,
        append: &store,
        cancel: &cancel,
        external_url: "",
        external_labels: &[],
        settled_at: i64::MIN,
    };
    group.evaluate(1000, world, &|| Duration::ZERO);
    let one = |name: &str| values(&store, name).into_iter().map(|(l, v)| (l, v[0])).collect::<Vec<_>>();
    assert_eq!(one("b"), [("{}".to_owned(), 6.0)]);
    assert_eq!(one("c"), [("{}".to_owned(), 6.0 + 3.0)]);
    // The second `a` counts for what follows it.
    assert_eq!(one("d"), [("{}".to_owned(), 6.0 + 6.0 + 3.0)]);
    assert_eq!(one("e"), [("{}".to_owned(), 3.0)]);
    // sum(x) once, count(x), a twice, b, and x of the subquery, whose times are others.
    assert_eq!(counting.1.load(std::sync::atomic::Ordering::Relaxed), 6);
}
