use super::{MAX_DEPTH, MAX_NESTING, parse, parse_metric_selector, series};
use crate::ast::Expr;

fn check_prints(input: &str, expect: &str) {
    let tree = parse(input).unwrap_or_else(|e| panic!("{input}: {e}"));
    assert_eq!(tree.to_string(), expect, "{input}");
    assert_eq!(parse(expect).expect("prints what parses"), tree, "{input}");
}

fn check_error(input: &str, expect: &[&str]) {
    let errors = parse(input).err().unwrap_or_else(|| panic!("{input}: parsed"));
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts, expect, "{input}");
}

#[test]
fn an_expression_prints_in_prometheus_layout() {
    check_prints("sum(rate(a{b=\"c\"}[5m]))by(d)", "sum by (d) (rate(a{b=\"c\"}[5m]))");
    check_prints("a+on(b)group_left(c)d", "a + on (b) group_left (c) d");
    check_prints("-1^2", "-1 ^ 2");
    check_prints("1_000 + 0x1f + 017 + 1e3", "1000 + 31 + 15 + 1000");
    check_prints("{\"a.b\", \"c d\"=~\"x\"}", "{\"c d\"=~\"x\",__name__=\"a.b\"}");
    check_prints("foo[5m:] @ end() offset -1m", "foo[5m:] @ end() offset -1m");
    check_prints("foo[max_of(step(), 5s)*2] anchored", "foo[max_of(step(), 5s) * 2] anchored");
    check_prints("a </ 5 >/ 3", "a </ 5 >/ 3");
    check_prints("a + fill(0) b - fill_left(1) fill", "a + fill (0) b - fill_left (1) fill");
    check_prints("sum without() (a) # the end", "sum without () (a)");
    check_prints("topk by (\"a b\") (3, a)", "topk by (\"a b\") (3, a)");
    check_prints("a @ 1.5 or b atan2 c", "a @ 1.500 or b atan2 c");
}

#[test]
fn an_error_says_where_and_what_was_meant() {
    check_error("sum(rte(a[5m]))", &["1:5: parse error: unknown function \"rte\", did you mean \"rate\"?"]);
    check_error(
        "sum(\n  a",
        &["2:4: parse error: unclosed left parenthesis: the one at 1:4 is never closed"],
    );
    check_error(
        "rate(a) + floor(1)",
        &[
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector: rate needs a range, a[5m]",
            "1:17: parse error: expected type instant vector in call to function \"floor\", got scalar: write vector(1)",
        ],
    );
    check_error(
        "foo[5m1h]",
        &[
            "1:5: parse error: not a valid duration string: \"5m1h\": write units from large to small, each once, like 1d12h30m",
        ],
    );
    check_error("a{b=~\"(\"}", &["1:3: parse error: bad regular expression \"(\": unclosed group"]);
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let deep = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&deep(MAX_NESTING - 1)).is_ok());
    for text in [
        deep(100_000),
        "-".repeat(100_000),
        "a+".repeat(100_000),
        "abs(".repeat(100_000),
        format!("a{}", "[1m:]".repeat(100_000)),
        format!("a[{}1", "(".repeat(100_000)),
        format!("a[{}1]", "1+".repeat(100_000)),
        format!("a offset {}", "(".repeat(100_000)),
        "sum by(a)(".repeat(100_000),
        "{".repeat(100_000),
        format!("{}a{}", "(".repeat(100), "+a+a+a+a+a)".repeat(100)),
    ] {
        assert!(parse(&text).is_err());
    }
}

#[test]
fn the_deepest_tree_fits_a_thread_of_two_mebibytes() {
    let deepest = format!("{}a{}", "-(".repeat(MAX_NESTING / 2 - 1), ")+a+a".repeat(MAX_NESTING / 2 - 1));
    let long = "a+".repeat(MAX_DEPTH) + "a";
    for text in [&deepest, &long] {
        assert!(parse(text).is_ok());
    }
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let tree = parse(&deepest).expect("within the limit");
        let copy: Expr = tree.clone();
        drop(tree);
        copy.to_string().len()
    });
    assert!(thread.expect("a thread").join().expect("no overflow") > 0);
}

#[test]
fn an_error_asks_whether_something_else_was_meant() {
    for (query, at, part) in [
        ("rte(a[5m])", "1:1", "unknown function \"rte\", did you mean \"rate\"?"),
        ("SUMM(a)", "1:1", "did you mean \"sum\"?"),
        ("rate(a)", "1:6", "rate needs a range, a[5m]"),
        ("rate(sum(a))", "1:6", "of an expression that is a subquery, sum(a)[5m:1m]"),
        ("sum by (job) (\n  rate(abs(a))\n)", "2:8", "abs(a)[5m:1m]"),
        ("abs(a[5m])", "1:5", "abs takes no range"),
        ("clamp_max(a, a)", "1:14", "write scalar(a)"),
        ("rate(a[5min])", "1:8", "did you mean \"5m\"?"),
        ("rate(a[2hours])", "1:8", "did you mean \"2h\"?"),
        ("rate(a[5M])", "1:8", "did you mean \"5m\"?"),
        ("a{b=c}", "1:5", "values of labels stand in quotes, \"c\""),
        ("a{b=1}", "1:5", "values of labels stand in quotes, \"1\""),
        ("a{b==\"c\"}", "1:4", "did you mean \"=\"?"),
        ("a = 1", "1:3", "did you mean \"==\"?"),
        ("a =~ \"b\"", "1:3", "labels are matched in braces"),
        ("a && b", "1:3", "did you mean \"and\"?"),
        ("a || b", "1:3", "did you mean \"or\"?"),
        ("a unles b", "1:3", "did you mean \"unless\"?"),
        ("a ofset 5m", "1:3", "did you mean \"offset\"?"),
        ("sum(a) bi (c)", "1:8", "did you mean \"by\"?"),
        ("sum by job (a)", "1:5", "labels in parentheses, like sum by (job) (up)"),
        ("a on (job) b", "1:3", "it stands right after an operator"),
        ("rate(a[300y])", "1:8", "the longest one has 292 years"),
        ("rate(a[1m1h])", "1:8", "write units from large to small"),
        ("(a + b", "1:7", "the one at 1:1 is never closed"),
        ("sum(a))", "1:7", "it closes nothing"),
        ("a{b=\u{201c}c\u{201d}}", "1:5", "write plain quotes"),
    ] {
        let e = parse(query).expect_err(query).to_string();
        assert!(e.starts_with(&format!("{at}: parse error: ")) && e.contains(part), "{query}: {e}");
    }
}

#[test]
fn matchers_print_in_the_order_of_their_texts() {
    let expr =
        parse("up{z=\"1\",job=~\"a\",\"b c\"=\"2\",job!=\"x\"} / {z=\"1\",__name__=~\"a\"}").expect("parses");
    let text = "up{\"b c\"=\"2\",job!=\"x\",job=~\"a\",z=\"1\"} / {__name__=~\"a\",z=\"1\"}";
    assert_eq!(expr.to_string(), text);
    assert_eq!(parse(text).expect("parses"), expr);
}

#[test]
fn a_grouping_label_has_a_name() {
    for query in
        ["sum by (\"\") (a)", "sum without (b, '') (a)", "a + on (\"\") a", "a + on (b) group_left (``) a"]
    {
        let e = parse(query).expect_err(query).to_string();
        assert!(e.contains("invalid label name for grouping: \"\""), "{query}: {e}");
    }
}

#[test]
fn an_error_does_not_suggest_what_was_written() {
    for query in ["a bool 1", "a group_left b", "a[999999999999y]", "a[99999999999999h]"] {
        let e = parse(query).expect_err(query).to_string();
        assert!(!e.contains("did you mean"), "{query}: {e}");
    }
}

#[test]
fn a_match_parameter_gives_its_matchers() {
    let matchers = parse_metric_selector("up{job=~\"a|b\", x!=\"\"}").expect("parses");
    let shown: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["job=~\"a|b\"", "x!=\"\"", "__name__=\"up\""]);
    assert!(parse_metric_selector("up[5m]").is_err());
    let refused = parse_metric_selector("up offset 5m").expect_err("refused").to_string();
    assert_eq!(
        refused,
        "1:4: parse error: unexpected identifier \"offset\", expected the end of the selector"
    );
    assert!(parse_metric_selector("{}").is_err());
    assert!(parse_metric_selector("").is_err());
}

#[test]
fn a_series_description_expands() {
    let check = |input: &str, expect: &str| {
        let parsed = series::parse_series(input).unwrap_or_else(|e| panic!("{input}: {e}"));
        let values: Vec<String> = parsed
            .values
            .iter()
            .map(|v| match v {
                series::SeriesValue::Omitted => "_".to_owned(),
                series::SeriesValue::Float(v) if model::is_stale_nan(*v) => "stale".to_owned(),
                series::SeriesValue::Float(v) => v.to_string(),
                series::SeriesValue::Histogram { histogram, .. } => format!("h{}", histogram.sum),
            })
            .collect();
        assert_eq!(format!("{} {}", parsed.labels, values.join(" ")), expect, "{input}");
    };
    check(
        "a{b=\"c\"} 1 2x1 3-1x2 _ _x2 stale -1 +Inf",
        "{__name__=\"a\", b=\"c\"} 1 2 2 3 2 1 _ _ _ stale -1 inf",
    );
    check("{} {{sum:1}}+{{sum:2}}x2", "{} h1 h3 h5");
    check("a@st -30s-1mx2 _", "{__name__=\"a\"} -30 -90 -150 _");
    for bad in [
        "{} 1+1",
        "{} 1 2a",
        "{} -3-3 -3",
        "{} 3+3x4-4",
        "{} _a4",
        "{} 1x99999999999",
        "{} {{foo:1}}",
        "{} {{",
    ] {
        assert!(series::parse_series(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_histogram_prints_as_it_is_written() {
    for text in [
        "{{schema:1 count:3.1 sum:-0.3 z_bucket:7.1 z_bucket_w:0.05 offset:-3 buckets:[5.1 10 7] n_offset:-5 n_buckets:[4.1 5]}}",
        "{{schema:1 sum:-0.3 counter_reset_hint:reset buckets:[1 0 7]}}",
        "{{schema:-53 count:3 custom_values:[5 10] buckets:[1 2]}}",
        "{{}}",
    ] {
        let parsed = series::parse_histogram(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(series::print_histogram(&parsed), text);
    }
    let gap = model::Histogram {
        positive_spans: vec![model::Span { offset: -3, length: 1 }, model::Span { offset: 4, length: 2 }],
        positive: vec![5.1, 10.0, 7.0],
        ..model::Histogram::default()
    };
    assert_eq!(series::print_histogram(&gap), "{{offset:-3 buckets:[5.1 0 0 0 0 10 7]}}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        drop(parse(&text));
        drop(series::parse_series(&text));
        drop(series::parse_histogram(&text));
    }

    #[test]
    fn what_parses_prints_and_parses_to_the_same(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "a", "b{c=\"d\"}", "(", ")", "[5m]", "[1h:]", "[10s:5s]", "+", "-", "*", "^", "/", "%", "==", "bool", "and", "or",
                "unless", "on(x)", "ignoring(y)", "group_left", "group_right(z)", "fill(1)", "sum", "sum by (q)", "rate(", "abs(",
                "topk(2,", "offset 1m", "offset -(1+2)", "@ 5", "@ end()", "1", "2.5e3", "0x1f", "5m", "Inf", "NaN", "'s'", ",",
                "anchored", "smoothed", "</", ">/", "without (w)", "atan2", "{__name__=~'x.*'}", "histogram_quantile(0.9,",
                "label_replace(", "[step()]", "# end\n",
            ]),
            0..14,
        )
    ) {
        let text = words.join(" ");
        if let Ok(tree) = parse(&text) {
            let printed = tree.to_string();
            let again = parse(&printed);
            proptest::prop_assert_eq!(again.as_ref().ok(), Some(&tree), "{} printed as {}", text, printed);
        }
    }
}
