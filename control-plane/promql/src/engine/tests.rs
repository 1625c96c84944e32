use crate::{
    Engine, EngineConfig, EvalError, MemoryStore, QueryValue, parse,
    parse::{MAX_DEPTH, MAX_NESTING, series::parse_series},
};
use model::{Cancel, CancelReason, Value};

fn store(series: &[&str]) -> MemoryStore {
    let store = MemoryStore::new();
    for s in series {
        store.load(&parse_series(s).expect("a series"), None, 0, 10_000).expect("in order");
    }
    store
}

/// The result of an instant query as text, one series after the other.
fn show(engine: &Engine, store: &MemoryStore, query: &str, at: i64) -> Result<String, EvalError> {
    let result = engine.instant(store, &parse(query).expect("parses"), at, &Cancel::default())?;
    Ok(match result.value {
        QueryValue::Scalar { value, .. } => value.to_string(),
        QueryValue::String { value, .. } => value,
        QueryValue::Vector(samples) => {
            let one = |s: &crate::InstantSample| match &s.value {
                Value::Float(v) => format!("{} {v}", s.labels),
                Value::Histogram(h) => format!("{} count:{}", s.labels, h.count),
            };
            samples.iter().map(one).collect::<Vec<_>>().join("; ")
        }
        QueryValue::Matrix(series) => format!("{} series", series.len()),
    })
}

fn check(config: EngineConfig, series: &[&str], query: &str, expect: &str) {
    let got = show(&Engine::new(config), &store(series), query, 60_000);
    let got = got.unwrap_or_else(|e| format!("error: {e}"));
    assert_eq!(got, expect, "{query}");
}

fn experimental() -> EngineConfig {
    EngineConfig { experimental: true, ..EngineConfig::default() }
}

#[test]
fn names_are_dropped_at_once_unless_they_are_to_stay_until_the_end() {
    let series = ["a_total 0+1x10", "b_total 0+2x10"];
    // Kept until the end, names still make groups; then they go, and what they told apart collides.
    let late = EngineConfig { delayed_name_removal: true, ..EngineConfig::default() };
    let query = "sum by (__name__) (rate({__name__=~\"._total\"}[1m]))";
    check(late.clone(), &series, query, "error: vector cannot contain metrics with the same labelset");
    check(
        late,
        &series,
        "count by (__name__) ({__name__=~\"._total\"})",
        "{__name__=\"a_total\"} 1; {__name__=\"b_total\"} 1",
    );
    check(
        EngineConfig::default(),
        &series,
        query,
        "error: vector cannot contain metrics with the same labelset",
    );
    check(EngineConfig::default(), &series, "-a_total", "{} -6");
    check(EngineConfig::default(), &series, "a_total > bool 1", "{} 1");
    check(EngineConfig::default(), &series, "last_over_time(a_total[1m])", "{__name__=\"a_total\"} 6");
    check(EngineConfig::default(), &series, "abs(a_total) or b_total", "{} 6");
    check(
        EngineConfig::default(),
        &series,
        "label_replace(abs(a_total), \"x\", \"$1\", \"\", \"()\")",
        "{} 6",
    );
}

#[test]
fn experimental_features_are_refused_unless_they_are_enabled() {
    let series = ["a 1x10"];
    for (query, what) in [
        ("limitk(1, a)", "aggregation \"limitk\""),
        ("mad_over_time(a[1m])", "function \"mad_over_time\""),
        ("rate(a[1m] anchored)", "an anchored or smoothed selector"),
        ("a + fill(0) a", "a fill modifier"),
    ] {
        let expect =
            format!("error: {what} is experimental and not enabled: VIGIE_QUERY_EXPERIMENTAL=true allows it");
        check(EngineConfig::default(), &series, query, &expect);
        let got = show(&Engine::new(experimental()), &store(&series), query, 60_000);
        assert!(got.is_ok(), "{query}: {got:?}");
    }
    for query in [
        "a offset -1m",
        "a offset 5",
        "sum_over_time(a[1m30s])",
        "max_over_time(a[5m:1m] offset 1m)",
        "first_over_time(a[1m])",
        "rate(a[1m * 2])",
        "a offset (1m)",
        "max_over_time(a[1m:(30s)])",
    ] {
        let got = show(&Engine::default(), &store(&series), query, 60_000);
        assert!(got.is_ok(), "{query}: {got:?}");
    }
}

#[test]
fn a_query_stops_at_its_limits() {
    let store = store(&["a{i=\"1\"} 0+1x100", "a{i=\"2\"} 0+1x100"]);
    let engine = Engine::new(EngineConfig { max_samples: 50, max_steps: 100, ..EngineConfig::default() });
    let run = |query: &str, end: i64, step: i64| {
        engine.range(&store, &parse(query).expect("parses"), 0, end, step, &Cancel::default()).err()
    };
    assert!(run("a", 100_000, 10_000).is_none());
    assert!(matches!(run("a", 1_010_000, 10_000), Some(EvalError::BadData(_))));
    assert!(matches!(run("a", 1_000_000, 10_000), Some(EvalError::TooManySamples(50))));
    assert!(matches!(run("a", 800_000, 10_000), Some(EvalError::TooManySamples(50))));
    assert!(matches!(run("rate(a[15m])", 900_000, 900_000), Some(EvalError::TooManySamples(50))));
    assert!(matches!(run("max_over_time(vector(1)[1h:1ms])", 0, 1), Some(EvalError::TooManySamples(50))));
    assert!(matches!(run("a", -1, 1000), Some(EvalError::BadData(_))));
    assert!(matches!(run("a", 10, 0), Some(EvalError::BadData(_))));
    assert!(matches!(run("a[5m]", 10, 10), Some(EvalError::BadData(_))));
    assert!(matches!(run("\"text\"", 10, 10), Some(EvalError::BadData(_))));
}

#[test]
fn a_query_stops_when_told_and_says_why() {
    let store = store(&["a 0+1x100"]);
    let expr = parse("sum(rate(a[1m]))").expect("parses");
    for (reason, timeout) in
        [(CancelReason::Deadline, true), (CancelReason::ClientGone, false), (CancelReason::Shutdown, false)]
    {
        let cancel = Cancel::default();
        cancel.cancel(reason);
        match Engine::default().instant(&store, &expr, 0, &cancel) {
            Err(EvalError::Timeout) => assert!(timeout),
            Err(EvalError::Cancelled) => assert!(!timeout),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_deepest_expressions_evaluate_on_a_stack_of_two_mebibytes() {
    let nested =
        format!("{}1{}", "abs(vector(".repeat(MAX_NESTING / 2 - 1), "))".repeat(MAX_NESTING / 2 - 1));
    let chain = "a + ".repeat(MAX_DEPTH) + "a";
    let summed = format!("{}a{}", "sum(".repeat(MAX_NESTING - 1), ")".repeat(MAX_NESTING - 1));
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let store = store(&["a 0+1x100"]);
        let run = |query: &str| match parse(query) {
            Ok(expr) => Engine::default().range(&store, &expr, 0, 60_000, 10_000, &Cancel::default()).is_ok(),
            // abs(vector(1)) of abs is no scalar: a type error is fine, an overflow is not.
            Err(_) => true,
        };
        run(&nested) && run(&chain) && run(&summed)
    });
    assert!(thread.expect("a thread").join().expect("no overflow"));
}

#[test]
fn odd_input_gives_errors_or_values_and_never_a_panic() {
    let series = ["a{x=\"1\"} 0+1x10", "h {{schema:0 count:4 sum:5 buckets:[1 2 1]}}x10"];
    for query in [
        "a[1ms]",
        "a offset 100y",
        "a @ -9e15",
        "a @ 9e15",
        "topk(NaN, a)",
        "topk(-1, a)",
        "topk(1e300, a)",
        "quantile(2, a)",
        "year(vector(1e300))",
        "year(vector(-1e300))",
        "day_of_week(vector(NaN))",
        "round(a, 0)",
        "clamp(a, 2, 1)",
        "clamp(a, NaN, 1)",
        "a % 0",
        "0 ^ -1",
        "h / 0",
        "h * NaN",
        "h </ NaN",
        "h >/ NaN",
        "histogram_quantile(NaN, h)",
        "histogram_fraction(-Inf, +Inf, h)",
        "label_replace(a, \"\", \"\", \"\", \"\")",
        "label_replace(a, \"b\", \"$9\", \"x\", \"(.*)\")",
        "label_replace(a, \"b\", \"\", \"x\", \"(\")",
        "count_values(\"\", a)",
        "predict_linear(a[1m], Inf)",
        "rate(a[1y])",
        "a[1m:1y]",
        "max_over_time(a[1m:1ms] @ 0)",
        "limit_ratio(NaN, a)",
        "histogram_quantiles(h, \"q\", 2)",
        "sort_by_label(a)",
        "label_join(a, \"d\", \",\")",
        "double_exponential_smoothing(a[1m], 5, 0.5)",
        "a + on(x) group_left(y) h",
        "h == h",
        "-h",
        "a atan2 h",
        "absent(a[1m:])",
        "absent_over_time(nothing{a=\"1\",b!=\"2\"}[1m])",
        "scalar(h)",
        "timestamp(h)",
        "info(a)",
        "vector(scalar(a))",
        "sum_over_time(h[1m])",
        "a[(1s - 5s)]",
        "a[step()]",
        "stddev(a offset -1m)",
    ] {
        let Ok(expr) = parse(query) else { continue };
        let store = store(&series);
        for at in [0, 60_000, i64::MIN / 4, i64::MAX / 4] {
            drop(Engine::new(experimental()).instant(&store, &expr, at, &Cancel::default()));
            drop(Engine::new(experimental()).range(
                &store,
                &expr,
                at,
                at + 50_000,
                10_000,
                &Cancel::default(),
            ));
        }
    }
}

#[test]
fn an_annotation_of_uneven_buckets_sums_them_up() {
    let store = store(&["b_bucket{le=\"1\"} 5x10", "b_bucket{le=\"2\"} 3x10", "b_bucket{le=\"+Inf\"} 9x10"]);
    let query = "histogram_quantile(0.5, b_bucket)";
    let expr = parse(query).expect("parses");
    let result =
        Engine::default().range(&store, &expr, 0, 20_000, 10_000, &Cancel::default()).expect("evaluates");
    let (warnings, infos) = result.annotations.texts(query, 10);
    assert!(warnings.is_empty());
    assert_eq!(
        infos,
        [
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets 2 to 2, with a max diff of 2, over 3 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:20Z (1:25)"
        ]
    );
}

#[test]
fn clamp_lets_infinity_win_over_nan_as_go_does() {
    for (query, expect) in [
        ("clamp_min(vector(NaN), Inf)", "{} inf"),
        ("clamp_min(vector(Inf), NaN)", "{} inf"),
        ("clamp_max(vector(NaN), -Inf)", "{} -inf"),
        ("clamp_max(vector(-Inf), NaN)", "{} -inf"),
        ("clamp(vector(1), Inf, NaN)", "{} inf"),
        ("clamp(vector(-Inf), -1, NaN)", "{} -1"),
        ("clamp_max(vector(NaN), 1)", "{} NaN"),
        ("clamp_min(vector(1), NaN)", "{} NaN"),
    ] {
        check(EngineConfig::default(), &[], query, expect);
    }
}

#[test]
fn label_replace_fills_in_as_go_does() {
    for (template, expect) in [
        ("$1-$2", "x-y"),
        ("${1}0 ${b} $b$$", "x0 y y$"),
        ("$10$c$1_", ""),
        ("$01", ""),
        ("$0", "x:y"),
        // Malformed references are text.
        ("${a b} ${1 $ ${} $-$", "${a b} ${1 $ ${} $-$"),
    ] {
        let query = format!("label_replace(m, \"l\", \"{template}\", \"l\", \"(.*):(?P<b>.*)\")");
        let labels = if expect.is_empty() { String::new() } else { format!(", l=\"{expect}\"") };
        let expect = format!("{{__name__=\"m\"{labels}}} 1");
        check(EngineConfig::default(), &["m{l=\"x:y\"} 1x9"], &query, &expect);
    }
}

#[test]
fn remarks_write_numbers_as_go_does() {
    let engine = Engine::new(experimental());
    for (query, number) in [
        ("quantile(1234567, vector(1))", "got 1.234567e+06"),
        ("quantile(-0.00001, vector(1))", "got -1e-05"),
        ("quantile(100000.5, vector(1))", "got 100000.5"),
        ("quantile(-Inf, vector(1))", "got -Inf"),
        ("quantile(NaN, vector(1))", "got NaN"),
        ("limit_ratio(2e9, vector(1))", "got 2e+09, capping to 1"),
    ] {
        let expr = parse(query).expect("parses");
        let result = engine.instant(&store(&[]), &expr, 0, &Cancel::default()).expect("an answer");
        let (warnings, _) = result.annotations.texts(query, 0);
        assert!(warnings.len() == 1 && warnings[0].contains(number), "{query}: {warnings:?}");
    }
}

#[test]
fn a_light_engine_answers_what_is_small_and_gives_up_on_the_rest() {
    let many: Vec<String> = (0..1000).map(|i| format!("m{{i=\"{i}\"}} 1x9")).collect();
    let store = store(&many.iter().map(String::as_str).chain(["one 5+1x9"]).collect::<Vec<_>>());
    let engine = Engine::new(experimental());
    for (query, light, answered) in [
        ("one", true, true),
        ("rate(one[1m]) > 0 or absent(nothing)", true, true),
        ("m", true, false),
        ("sum(m) + count(m)", true, false),
        ("one{i=~'.*'}", false, false),
        ("max_over_time(one[1h:1s])", false, false),
        ("label_replace(one, 'a', 'b', 'c', 'd')", false, false),
    ] {
        let expr = parse(query).expect("parses");
        let Some(small) = engine.light(&expr, 1) else {
            assert!(!light, "{query}");
            continue;
        };
        assert!(light, "{query}");
        let full = engine.instant(&store, &expr, 60_000, &Cancel::default()).expect("an answer");
        match small.instant(&store, &expr, 60_000, &Cancel::default()) {
            Ok(result) => assert!(answered && result.value == full.value, "{query}"),
            Err(_) => assert!(!answered, "{query}"),
        }
    }
    assert!(engine.light(&parse("one").expect("parses"), 10_000).is_none());
}

#[test]
fn a_light_engine_does_not_look_at_the_same_samples_for_long() {
    let store = store(&["m 1+1x3000"]);
    let engine = Engine::new(experimental());
    for (query, answered) in [
        ("rate(m[4h])", true),
        ("mad_over_time(m[5m])", true),
        ("mad_over_time(m[4h])", false),
        ("mad_over_time(m[4h] @ 20000)", true),
    ] {
        let expr = parse(query).expect("parses");
        let small = engine.light(&expr, 1000).expect("looks small");
        let outcome = small.range(&store, &expr, 20_000_000, 29_990_000, 10_000, &Cancel::default());
        assert_eq!(outcome.is_ok(), answered, "{query}: {outcome:?}");
    }
}

#[test]
fn what_is_folded_and_then_not_is_counted_once() {
    let config = EngineConfig { count_steps: true, ..EngineConfig::default() };
    let run = |series: &[&str]| {
        let expr = parse("sum(rate(a_total[1m]))").expect("parses");
        let result = Engine::new(config.clone()).instant(&store(series), &expr, 90_000, &Cancel::default());
        let result = result.expect("an answer");
        (result.steps, result.stats.samples_read, result.stats.series_read)
    };
    let plain = run(&["a_total{n=\"1\"} 0+1x9", "a_total{n=\"2\"} 0+1x9"]);
    // A type is seen only when its series comes: the one before it was folded by then.
    let typed = run(&["a_total{n=\"1\"} 0+1x9", "a_total{n=\"2\", __type__=\"counter\"} 0+1x9"]);
    assert_eq!(plain, typed);
}
