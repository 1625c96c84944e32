//! Queries made up at random, answered in all the ways that the engine has: they must agree.

use model::{
    Cancel, Histogram, Labels, SampleColumns, Select, SelectError, SelectRequest, SeriesRef, SeriesStream,
    Value,
};
use promql::{
    Annotations, Engine, EngineConfig, EvalError, InstantSample, MemoryStore, QueryResult, QueryValue,
    Repeats, parse, parse::series::parse_series,
};
use proptest::{prelude::*, sample::select, test_runner::RngSeed};
use std::{collections::BTreeMap, sync::Arc};

const SERIES: [&str; 22] = [
    r#"c_total{job="a", instance="1"} 0+10x8 3 _x3 4+7x20 0+1x30"#,
    r#"c_total{job="a", instance="2"} 5 7 stale _x4 0+3x30 stale 100+1x20"#,
    r#"c_total{job="b", instance="1"} 1000+0.5x60"#,
    r#"g{job="a", instance="1"} 1 -2 3.5 NaN 4 4 4 Inf 2 -Inf 0 _x6 1e300 -1e300 1-0.25x30"#,
    r#"g{job="a", instance="2"} 5x20 _x10 6x25"#,
    r#"g{job="b"} 0 1 0 1 stale 0 1 1 1 _ _ 0 1 0 1 0 0 0 1 1 stale"#,
    r#"up{job="a", instance="1"} 1x60"#,
    r#"up{job="a", instance="2"} 1x20 0x39"#,
    r#"up{job="b", instance="1"} 0x30 stale _x5 1x20"#,
    r#"b_bucket{job="a", le="0.1"} 0+1x60"#,
    r#"b_bucket{job="a", le="1"} 0+3x20 50x10 62+3x20"#,
    r#"b_bucket{job="a", le="+Inf"} 0+4x60"#,
    r#"b_bucket{job="b", le="0.1"} 0 1 1 0 2 3 _ 4 4 4 5 6 7 7"#,
    r#"b_bucket{job="b", le="+Inf"} 0 1 2 1 3 4 _ 5 6 7 8 8 9 9"#,
    r#"h{job="a"} {{schema:1 count:10 sum:4 buckets:[4 6]}}+{{schema:1 count:5 sum:2 buckets:[2 3]}}x25 {{schema:1 count:2 sum:2 buckets:[2]}}x20"#,
    r#"h{job="b"} {{schema:0 count:4 sum:9 z_bucket:1 n_buckets:[1] buckets:[1 0 1]}}x10 _x8 {{schema:2 count:2 sum:1 buckets:[2]}}x30"#,
    r#"m{job="a"} 1 2 {{count:3 sum:2 buckets:[1 2]}}x6 stale 4 5 6 {{count:3 sum:2 buckets:[1 2]}}x20 7x20"#,
    r#"m{job="b"} {{schema:-53 count:3 sum:2 custom_values:[1 5] buckets:[1 1 1]}}x30 3x20"#,
    r#"t_total{job="a", __type__="counter", __unit__="s"} 0+1x60"#,
    r#"t_total{job="a", __type__="gauge"} 0+2x60"#,
    r#"target_info{job="a", instance="1", version="1"} 1x30"#,
    r#"target_info{job="a", instance="1", version="2"} _x31 1x20"#,
];

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    for text in SERIES {
        store.load(&parse_series(text).expect("a series"), None, 0, 15_000).expect("in order");
    }
    store
}

/// A store that does no more than the hints ask of it.
#[derive(Debug)]
struct Sparing(MemoryStore);

struct Stream<'a> {
    inner: Box<dyn SeriesStream + 'a>,
    newest: bool,
    labels: Option<Vec<String>>,
}

impl SeriesStream for Stream<'_> {
    fn next(&mut self, into: &mut SampleColumns) -> Result<Option<(SeriesRef, Labels)>, SelectError> {
        let Some((series, labels)) = self.inner.next(into)? else { return Ok(None) };
        if self.newest
            && let Some(last) = into.len().checked_sub(1)
        {
            let (at, value) = (into.times[last], into.value(last));
            let start = into.starts.get(last).copied();
            into.clear();
            into.push(at, value, start);
        }
        let labels = self.labels.as_ref().map_or(labels.clone(), |names| labels.keep(names));
        Ok(Some((series, labels)))
    }
}

impl Select for Sparing {
    fn select<'a>(&'a self, request: &SelectRequest<'_>) -> Result<Box<dyn SeriesStream + 'a>, SelectError> {
        let inner = self.0.select(request)?;
        Ok(Box::new(Stream { inner, newest: request.hints.newest, labels: request.hints.labels.clone() }))
    }

    fn series(&self, request: &SelectRequest<'_>) -> Result<Vec<Labels>, SelectError> {
        self.0.series(request)
    }

    fn label_names(&self, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        self.0.label_names(request)
    }

    fn label_values(&self, name: &str, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        self.0.label_values(name, request)
    }
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    select(words).prop_map(str::to_owned)
}

fn selector() -> impl Strategy<Value = String> + Clone {
    let names = word(&["c_total", "g", "up", "b_bucket", "h", "m", "t_total", "{__name__=~'c_total|g'}"]);
    let matchers =
        word(&["", "", "{job='a'}", "{job!='a'}", "{instance=~'1|'}", "{le='+Inf'}", "{job=~'a|b'}"]);
    (names, matchers).prop_map(|(name, m)| if name.starts_with('{') { name } else { name + &m })
}

fn times() -> impl Strategy<Value = String> + Clone {
    word(&["", "", "", "", " offset 1m", " offset -31s", " @ 601", " @ 300 offset 45s"])
}

/// An instant vector.
fn vector() -> impl Strategy<Value = String> {
    let ranged = (
        word(&[
            "rate",
            "increase",
            "delta",
            "irate",
            "idelta",
            "changes",
            "resets",
            "deriv",
            "avg_over_time",
            "count_over_time",
            "last_over_time",
            "first_over_time",
            "max_over_time",
            "sum_over_time",
            "stddev_over_time",
            "mad_over_time",
            "present_over_time",
            "absent_over_time",
            "ts_of_max_over_time",
        ]),
        selector(),
        word(&["[1m]", "[5m]", "[47s]", "[20m]"]),
        times(),
    )
        .prop_map(|(f, s, range, times)| format!("{f}({s}{range}{times})"));
    let extended = (
        word(&["rate", "increase", "delta"]),
        selector(),
        word(&["[1m] anchored", "[5m] smoothed", "[47s] smoothed"]),
    )
        .prop_map(|(f, s, range)| format!("{f}({s}{range})"));
    let leaf = prop_oneof![
        3 => (selector(), times()).prop_map(|(s, t)| s + &t),
        4 => ranged,
        1 => extended,
        1 => word(&["vector(time())", "b_bucket", "predict_linear(g[5m], 60)", "c_total smoothed"]),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        let by = word(&["", " by (job)", " by (job, le)", " without (instance)", " by (__name__)", " by (__type__, job)"]);
        let aggregation = word(&[
            "sum(", "avg(", "min(", "max(", "count(", "group(", "stddev(", "stdvar(", "topk(1, ", "bottomk(2, ",
            "quantile(0.4, ", "limitk(1, ", "limit_ratio(0.5, ", "count_values('job', ",
        ]);
        let function = word(&[
            "abs(", "ceil(", "-(", "(", "absent(", "sgn(", "timestamp(", "hour(", "histogram_count(",
            "histogram_sum(", "histogram_quantile(0.9, ", "histogram_fraction(0, 1, ", "vector(scalar(", "sort(", "info(",
            "clamp_max(2, ",
        ]);
        let operator = word(&[
            " + ", " - on (job) ", " / ignoring (instance) group_left ", " * on (job) group_right (le) ", " > ", " == bool ",
            " and ", " or ", " unless on (job) ", " + fill (0) ", " </ ", " % ",
        ]);
        let subquery = (
            word(&["max_over_time", "rate", "sum_over_time", "count_over_time", "deriv", "absent_over_time"]),
            word(&["[2m:30s]", "[5m:1m]", "[1m:7s]", "[3m:]"]),
            times(),
        );
        prop_oneof![
            4 => (aggregation, inner.clone(), by).prop_map(|(a, v, by)| format!("{a}{v}){by}")),
            3 => (function, inner.clone()).prop_map(|(f, v)| match &*f {
                "clamp_max(2, " => format!("clamp_max({v}, 2)"),
                "vector(scalar(" => format!("vector(scalar({v}))"),
                f => format!("{f}{v})"),
            }),
            3 => (inner.clone(), operator, inner.clone()).prop_map(|(l, o, r)| format!("({l}{o}{r})")),
            1 => (inner.clone(), word(&[" + 1", " > 2", " == bool 0", " / 0"])).prop_map(|(v, o)| format!("({v}{o})")),
            1 => (subquery, inner).prop_map(|((f, range, times), v)| format!("{f}(({v}){range}{times})")),
        ]
    })
}

fn close(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

fn same_histograms(a: &Histogram, b: &Histogram) -> bool {
    let all = |x: &[f64], y: &[f64]| x.len() == y.len() && x.iter().zip(y).all(|(x, y)| close(*x, *y));
    a.schema == b.schema
        && a.custom_bounds == b.custom_bounds
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && all(&[a.count, a.sum, a.zero_count], &[b.count, b.sum, b.zero_count])
        && all(&a.positive, &b.positive)
        && all(&a.negative, &b.negative)
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => close(*a, *b),
        (Value::Histogram(a), Value::Histogram(b)) => same_histograms(a, b),
        _ => false,
    }
}

/// What a result says: values by time and labels, and remarks; an error by its kind, since which of several comes first
/// is nobody's promise.
type Said = Result<(BTreeMap<(i64, String), Value>, Vec<String>), String>;

fn said(query: &str, outcome: Result<QueryResult, EvalError>) -> Said {
    let result = outcome.map_err(|e| match e {
        EvalError::Execution(_) => "execution".to_owned(),
        e => e.to_string(),
    })?;
    let samples = |samples: Vec<InstantSample>| -> Vec<(i64, Labels, Value)> {
        samples.into_iter().map(|s| (s.at, s.labels, s.value)).collect()
    };
    let all = match result.value {
        QueryValue::Vector(vector) => samples(vector),
        QueryValue::Matrix(series) => series
            .into_iter()
            .flat_map(|s| {
                s.points.into_iter().map(move |(t, v)| (t, s.labels.clone(), v)).collect::<Vec<_>>()
            })
            .collect(),
        value => return Err(format!("a {}", value.type_name())),
    };
    let mut values = BTreeMap::new();
    for (at, labels, value) in all {
        let twice = values.insert((at, labels.to_string()), value);
        if twice.is_some() {
            return Err(format!("{labels} comes twice at {at}"));
        }
    }
    Ok((values, remarks(query, &result.annotations)))
}

/// Remarks without figures that add up over the steps.
fn remarks(query: &str, annotations: &Annotations) -> Vec<String> {
    let (mut warnings, infos) = annotations.texts(query, 0);
    warnings.extend(infos);
    let mut texts: Vec<String> = warnings
        .into_iter()
        .map(|text| match (text.split_once(", from buckets"), text.rsplit_once(" (")) {
            (Some((before, _)), Some((_, place))) => format!("{before} ({place}"),
            _ => text,
        })
        .collect();
    texts.sort();
    texts.dedup();
    texts
}

fn agree(one: &Said, other: &Said, what: &str) -> Result<(), TestCaseError> {
    match (one, other) {
        (Ok((one, remarks)), Ok((other, others))) => {
            let missing = one
                .keys()
                .find(|k| !other.contains_key(*k))
                .or_else(|| other.keys().find(|k| !one.contains_key(*k)));
            prop_assert!(missing.is_none(), "{what}: {missing:?} is on one side only");
            let differs = one.iter().find(|(k, v)| !same(v, &other[*k]));
            prop_assert!(differs.is_none(), "{what}: {differs:?}, or {:?}", differs.map(|(k, _)| &other[k]));
            prop_assert_eq!(remarks, others, "{}", what);
        }
        (Err(one), Err(other)) => prop_assert_eq!(one, other, "{}", what),
        (one, other) => prop_assert!(false, "{what}: {one:?}, or {other:?}"),
    }
    Ok(())
}

proptest! {
    // The same ones each time, and more of them with PROPTEST_CASES.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_way_to_answer_gives_the_same(
        query in vector(),
        start in 60_000i64..800_000,
        step in select(&[1_000i64, 15_000, 31_000, 120_000][..]),
        steps in 1i64..6,
        late_names: bool,
    ) {
        let config = EngineConfig { experimental: true, delayed_name_removal: late_names, ..EngineConfig::default() };
        let (engine, store, cancel) = (Engine::new(config.clone()), store(), Cancel::default());
        // Some have no types that go together.
        let Ok(expr) = parse(&query) else { return Ok(()) };
        let at = |select: &dyn Select, t: i64| said(&query, engine.instant(select, &expr, t, &cancel));
        let end = start + step * (steps - 1);
        let ranged = said(&query, engine.range(&store, &expr, start, end, step, &cancel));

        // A range is its instants.
        let mut joined: Said = Ok(Default::default());
        for i in 0..steps {
            match (at(&store, start + step * i), &mut joined) {
                (Ok((values, remarks)), Ok(all)) => {
                    all.0.extend(values);
                    all.1.extend(remarks);
                }
                (Err(e), _) => joined = Err(e),
                (Ok(_), Err(_)) => {}
            }
        }
        if let Ok((_, remarks)) = &mut joined {
            remarks.sort();
            remarks.dedup();
        }
        // That sorting has no effect is said of ranges only. Which of equals comes first depends on the series of other
        // steps, and at one time they stand in the order that they were put into, so that sums round otherwise.
        const CHOOSE: [&str; 3] = ["topk(", "bottomk(", "limitk("];
        let ordered = match CHOOSE.iter().map(|f| query.matches(f).count()).sum() {
            0 => true,
            1 => CHOOSE.iter().any(|f| query.starts_with(f)) && !query.contains(" or "),
            _ => false,
        };
        if ordered && !query.contains("sort(") {
            // Subqueries are evaluated at steps between the windows, too, and may find something to remark on there.
            match (&ranged, &joined) {
                (Ok((ranged, _)), Ok((joined, _))) if query.contains(':') => {
                    let nothing = Vec::new;
                    agree(&Ok((ranged.clone(), nothing())), &Ok((joined.clone(), nothing())), "a range, and its instants")?;
                }
                (Err(_), _) if query.contains(':') => {}
                _ => agree(&ranged, &joined, "a range, and its instants")?,
            }
        }

        // Hints spare work, and nothing else.
        let sparing = Sparing(self::store());
        let spared = said(&query, engine.range(&sparing, &expr, start, end, step, &cancel));
        agree(&ranged, &spared, "without hints, and with them")?;
        let alone = at(&store, start);
        agree(&alone, &at(&sparing, start), "without hints, and with them, at one time")?;

        // What a light engine answers is the answer.
        if let Some(light) = engine.light(&expr, 1)
            && let Ok(result) = light.instant(&store, &expr, start, &cancel)
        {
            agree(&alone, &said(&query, Ok(result)), "the whole engine, and a light one")?;
        }

        // Counting what steps look at changes nothing.
        let counting = Engine::new(EngineConfig { count_steps: true, ..config });
        let counted = said(&query, counting.range(&store, &expr, start, end, step, &cancel));
        agree(&ranged, &counted, "uncounted, and counted")?;

        // Nor does being one of several.
        let beside = [query.clone(), format!("abs({query}) or 2 *   {query}"), format!("sum({query})"), query.clone()];
        let Ok(parsed) = beside.iter().map(|q| parse(q)).collect::<Result<Vec<_>, _>>() else { return Ok(()) };
        let pairs: Vec<_> = beside.iter().map(String::as_str).zip(&parsed).collect();
        let mut shared = Arc::new(Repeats::of(&pairs)).begin();
        for (i, (text, expr)) in pairs.iter().enumerate() {
            let together = engine.instant_beside(&store, expr, start, &cancel, Some((&mut shared, i)));
            let apart = engine.instant(&store, expr, start, &cancel);
            agree(&said(text, apart), &said(text, together), &format!("alone, and beside others: {text}"))?;
        }
    }
}

#[test]
fn resets_are_noted_whatever_the_store_hands_over() {
    let query = "sum(histogram_count(h offset 1m + h))";
    let expr = parse(query).expect("parses");
    let ask = |select: &dyn Select| {
        let result =
            Engine::default().instant(select, &expr, 345_000, &Cancel::default()).expect("an answer");
        result.annotations.texts(query, 0).0
    };
    let warnings = ask(&store());
    assert_eq!(warnings, ["PromQL warning: conflicting counter resets during histogram addition (1:21)"]);
    assert_eq!(ask(&Sparing(store())), warnings);
}
