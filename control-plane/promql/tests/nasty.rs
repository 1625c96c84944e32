//! Queries that mean harm: each ends with an answer or with an error that says why, within limits that are counted.

use model::{Cancel, Labels, Value};
use promql::{Engine, EngineConfig, EvalError, MemoryStore, parse};

const SAMPLES: usize = 100_000;
const BYTES: usize = 64 << 20;

/// What must come of a query.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// With an answer.
    Well,
    /// With an error of the parser that has this in it.
    Refused(&'static str),
    /// With an error of the evaluation that has this in it.
    Stopped(&'static str),
    /// One way or another.
    Somehow,
}
use Ends::{Refused, Somehow, Stopped, Well};

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    for n in 0..200 {
        let value = n.to_string();
        let labels = Labels::from_pairs([("__name__", "a"), ("n", &value), ("long", &"x".repeat(100))]);
        for step in 0..60 {
            let v = f64::from(n * 1000 + step);
            store.push(&labels, i64::from(step) * 10_000, Value::Float(v), None).expect("in order");
        }
    }
    store
}

fn config() -> EngineConfig {
    EngineConfig {
        max_samples: SAMPLES,
        max_series: 100_000,
        max_bytes: BYTES,
        experimental: true,
        ..EngineConfig::default()
    }
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

fn check(store: &MemoryStore, query: &str, ends: Ends) {
    let name = cut(query);
    let expr = match (parse(query), ends) {
        (Ok(expr), Refused(why)) => panic!("{name}: parses as {}, not {why}", cut(&expr.to_string())),
        (Ok(expr), _) => expr,
        (Err(e), Refused(why)) => {
            let text = e.to_string();
            assert!(text.contains(why), "{name}: {}", cut(&text));
            assert!(text.len() < 1000 && e.iter().count() <= 20, "{name}: the message is large, too");
            return;
        }
        (Err(_), Somehow) => return,
        (Err(e), _) => panic!("{name}: {}", cut(&e.to_string())),
    };
    // What is printed means the same, however deep it is.
    assert_eq!(parse(&expr.to_string()).as_ref(), Ok(&expr), "{name}");
    let engine = Engine::new(config());
    for (start, end, step) in [(590_000, 590_000, 1), (0, 590_000, 60_000), (0, 10_999, 1)] {
        let outcome = engine.range(store, &expr, start, end, step, &Cancel::default());
        match (&outcome, ends) {
            (Ok(result), Well | Somehow) => {
                assert!(result.stats.peak_samples <= SAMPLES && result.stats.peak_bytes <= BYTES, "{name}");
            }
            (Err(EvalError::TooManySamples(_) | EvalError::TooMuchMemory(_)), _) if step == 1 => {}
            (Err(e), Stopped(why)) => assert!(e.to_string().contains(why), "{name}: {}", cut(&e.to_string())),
            // A thousand steps of anything are many samples here.
            (Ok(_), Stopped(_)) if step != 1 => {}
            (Err(EvalError::TooManySamples(_) | EvalError::TooMuchMemory(_)), Somehow) => {}
            (Err(e), Somehow) => assert!(e.to_string().len() < 1000, "{name}"),
            (outcome, _) => {
                let text = outcome.as_ref().map_or_else(ToString::to_string, |_| "an answer".to_owned());
                panic!("{name}: {} steps of {step}: {}, not {ends:?}", end - start, cut(&text));
            }
        }
    }
}

fn nested(open: &str, middle: &str, close: &str, times: usize) -> String {
    format!("{}{middle}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn every_nasty_query_ends_with_an_answer_or_a_clear_error() {
    let store = store();
    let doubled = |times| nested("label_replace(", "a", ", \"long\", \"$1$1\", \"long\", \"(.*)\")", times);
    let joined = |times| nested("label_join(", "a", ", \"long\", \"\", \"long\", \"long\")", times);
    let labels = (0..50_000).map(|n| format!("l{n}")).collect::<Vec<_>>().join(",");
    let many = |item: &str, count: usize| vec![item; count].join(",");
    let alternatives = (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>().join("|");
    let table: Vec<(String, Ends)> = vec![
        // Depth.
        ("(".repeat(1 << 20), Refused("nests deeper than")),
        ("((((".to_owned(), Refused("unexpected end of input")),
        (nested("(", "a", ")", 100_000), Refused("nests deeper than")),
        (nested("sum(", "a", ")", 100_000), Refused("nests deeper than")),
        (nested("abs(", "a", ")", 120), Well),
        (format!("{}1", "-".repeat(100_000)), Refused("nests deeper than")),
        (format!("{}a", "- ".repeat(100)), Well),
        (format!("1{}", "+1".repeat(100_000)), Refused("that many operators in a row")),
        (format!("1{}", "^1".repeat(100_000)), Refused("nests deeper than")),
        (format!("a{}", " or a".repeat(100_000)), Refused("that many operators in a row")),
        (format!("a{}", " or a".repeat(300)), Well),
        (format!("a{}", "[1m:1s]".repeat(100_000)), Refused("")),
        (nested("max_over_time(", "a", "[1m:30s])", 40_000), Refused("nests deeper than")),
        (nested("max_over_time(", "a", "[1m:30s])", 20), Somehow),
        (format!("a[{}1s]", "-".repeat(100_000)), Refused("")),
        (format!("a[{}]", nested("(", "1s", ")", 100_000)), Refused("nests deeper than")),
        (format!("a[1s{}]", "+1s".repeat(100_000)), Refused("")),
        (format!("a offset {}1s", "-".repeat(100_000)), Refused("")),
        // Regular expressions.
        ("{a=~\"((((a{1,100}){1,100}){1,100}){1,100})\"}".to_owned(), Refused("bytes once compiled")),
        (format!("{{a=~\"{}\"}}", nested("(", "a", ")", 10_000)), Refused("bad regular expression")),
        (format!("{{a=~\"{}\"}}", r"\\pL".repeat(200_000)), Refused("bad regular expression")),
        (format!("{{a=~\"{}\"}}", r"\\w".repeat(2_000)), Refused("more than 1000 classes")),
        (format!("{{__name__=\"a\", n=~\"{alternatives}\"}}"), Well),
        (format!("{{{}}}", many("a=~\"x.{1,900}\"", 20_000)), Refused("large regular expressions")),
        (format!("{{{}}}", many("a=~\"x\"", 100_000)), Refused("more than 1000 regular expressions")),
        (nested("label_replace(", "a", ", \"x\", \"$1\", \"n\", \"(.{0,500}){0,3}\")", 60), Well),
        (
            "label_replace(a, \"x\", \"\", \"n\", \"(((a{1,100}){1,100}){1,100}){1,100}\")".to_owned(),
            Stopped("invalid regular expression"),
        ),
        // Steps and ranges.
        ("max_over_time(vector(1)[1y:1ms])".to_owned(), Stopped("too many samples")),
        ("max_over_time(max_over_time(a[1y:1ms])[1y:1ms])".to_owned(), Stopped("too many samples")),
        ("sum_over_time(sum_over_time(vector(1)[1h:1s])[1h:1s])".to_owned(), Somehow),
        ("rate(a[290y])".to_owned(), Well),
        ("a offset 290y".to_owned(), Well),
        ("a[290y:1ms] offset -290y".to_owned(), Somehow),
        ("sum(a @ 590)".to_owned(), Well),
        ("a @ 590".to_owned(), Well),
        // Explosions.
        ("a + on () group_left () a".to_owned(), Stopped("many-to-many")),
        ("a * on () a".to_owned(), Stopped("")),
        (format!("sum by ({labels}) (a)"), Well),
        (format!("sum without ({labels}) (a)"), Well),
        (format!("a + on ({labels}) group_left (n) a"), Stopped("")),
        ("count_values(\"v\", a)".to_owned(), Somehow),
        ("count_values(\"v\", count_values(\"w\", a))".to_owned(), Somehow),
        (doubled(5), Well),
        (doubled(60), Stopped("label_replace would make a label value")),
        (joined(60), Stopped("label_join would make a label value")),
        (
            format!("label_replace(a, \"x\", \"{}\", \"long\", \"(.*)\")", "$1".repeat(400_000)),
            Stopped("label_replace would make a label value"),
        ),
        (
            format!("label_join(a, \"x\", \",\", {})", many("\"long\"", 100_000)),
            Stopped("label_join would make"),
        ),
        (
            format!("label_join(a, \"x\", \"{}\", \"n\", \"n\")", "s".repeat(900_000)),
            Stopped("label_join would make"),
        ),
        ("absent(nothing)".to_owned(), Well),
        (format!("absent(nothing{{{}}})", many("a=\"b\"", 100_000)), Well),
        (
            format!(
                "absent(nothing{{{}}})",
                (0..4_000).map(|n| format!("l{n}=\"v\"")).collect::<Vec<_>>().join(",")
            ),
            Well,
        ),
        ("topk(1e18, a)".to_owned(), Well),
        ("quantile(1e300, a)".to_owned(), Well),
        // Texts.
        ("a".repeat(1 << 20), Somehow),
        ("a".repeat((1 << 20) + 1), Refused("at most 1048576 are read")),
        (" ".repeat(1 << 20), Refused("no expression found")),
        ("#".repeat(1 << 20), Refused("no expression found")),
        (format!("abs({})", many("r(1)", 200_000)), Refused("unknown function \"r\"")),
        (format!("abs({})", many("rate(a)", 100_000)), Refused("expected 1 argument(s)")),
        (format!("label_join({})", many("sum", 250_000)), Refused("")),
        (format!("{}(1)", "f".repeat(1_000_000)), Refused("unknown function")),
        ("1".repeat(1 << 20), Refused("too large")),
        (format!("0.{}", "1".repeat(1_000_000)), Well),
        (format!("1e{}", "9".repeat(1_000_000)), Refused("")),
        (format!("\"{}\"", "x".repeat(1_000_000)), Somehow),
        (format!("\"{}", "x".repeat(1_000_000)), Refused("unterminated quoted string")),
        (format!("\"{}\"", "\\x41".repeat(200_000)), Somehow),
        (format!("a{{b={}}}", "x".repeat(1_000_000)), Refused("values of labels stand in quotes")),
        (format!("{{{}", "a=\"b\",".repeat(150_000)), Refused("inside braces")),
        ("\u{1F980}".repeat(200_000), Refused("unexpected character")),
        ("\0".repeat(1000), Refused("unexpected character")),
    ];
    for (query, ends) in table {
        check(&store, &query, ends);
    }
}

#[test]
fn every_limit_says_its_name_its_value_and_its_setting() {
    let store = store();
    let run = |config: EngineConfig, query: &str| {
        let expr = parse(query).expect("parses");
        let engine = Engine::new(config);
        engine
            .range(&store, &expr, 0, 590_000, 10_000, &Cancel::default())
            .expect_err("a refusal")
            .to_string()
    };
    let wide = EngineConfig::default;
    for (config, query, parts) in [
        (EngineConfig { max_samples: 500, ..wide() }, "a", ["samples", "500", "VIGIE_QUERY_MAX_SAMPLES"]),
        (EngineConfig { max_series: 199, ..wide() }, "a", ["series", "199", "VIGIE_QUERY_MAX_SERIES"]),
        (
            EngineConfig { max_series: 399, ..wide() },
            "a or rate(a[1m])",
            ["series", "399", "VIGIE_QUERY_MAX_SERIES"],
        ),
        (EngineConfig { max_bytes: 5000, ..wide() }, "a", ["memory", "5000 bytes", "VIGIE_QUERY_MAX_MEMORY"]),
        (
            EngineConfig { max_bytes: 400_000, ..wide() },
            "count by (n) (a)",
            ["memory", "400000", "VIGIE_QUERY_MAX_MEMORY"],
        ),
        (EngineConfig { max_steps: 20, ..wide() }, "1", ["points", "20", "VIGIE_QUERY_MAX_STEPS"]),
    ] {
        let message = run(config, query);
        assert!(parts.iter().all(|p| message.contains(p)), "{query}: {message}");
    }
}

#[test]
fn a_series_for_each_pair_that_ever_met_counts_towards_the_limits() {
    // Each step has another one on the right side: the left side's series meet a new one at every step.
    let store = MemoryStore::new();
    for step in 0..300i64 {
        let value = step.to_string();
        let one = Labels::from_pairs([("__name__", "one"), ("version", &value)]);
        store.push(&one, step * 600_000, Value::Float(1.0), None).expect("in order");
    }
    for n in 0..300 {
        let value = n.to_string();
        let labels = Labels::from_pairs([("__name__", "many"), ("n", &value)]);
        for step in 0..300i64 {
            store.push(&labels, step * 600_000, Value::Float(1.0), None).expect("in order");
        }
    }
    let expr = parse("many * on () group_left (version) one").expect("parses");
    let engine = Engine::new(EngineConfig { max_samples: 1_000_000, ..EngineConfig::default() });
    let outcome = engine.range(&store, &expr, 0, 299 * 600_000, 600_000, &Cancel::default());
    assert!(matches!(outcome, Err(EvalError::TooManySamples(1_000_000))), "{outcome:?}");
}

#[test]
fn the_deepest_trees_print_and_drop_on_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        for query in [
            nested("abs(", "a", ")", promql::parse::MAX_NESTING - 1),
            format!("a{}", " + a".repeat(promql::parse::MAX_DEPTH - 1)),
            "a[1m:1s]".to_owned(),
            format!("sum({}a{})", "-(".repeat(60), ")".repeat(60)),
        ] {
            let expr = parse(&query).expect("parses");
            let text = expr.to_string();
            assert_eq!(parse(&text).as_ref(), Ok(&expr));
            drop(expr.clone());
        }
    });
    thread.expect("a thread").join().expect("no overflow");
}
