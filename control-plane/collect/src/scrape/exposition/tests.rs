use super::*;
use model::Labels;
use proptest::prelude::*;
use serde_json::Value;
use std::path::PathBuf;

type Line = (Labels, f64, Option<Timestamp>, Option<Timestamp>);

fn parse(format: Format, body: &[u8]) -> Result<Vec<Line>, ParseError> {
    let mut parser = Parser::new(format, body);
    let mut out = Vec::new();
    while let Some(entry) = parser.next()? {
        if let Entry::Sample(s) = entry {
            let mut b = LabelsBuilder::default();
            parser.labels(&mut b);
            out.push((b.build(), s.value, s.at, parser.start()));
        }
    }
    Ok(out)
}

/// A suite's file, or `None` with a word where the suites are not there.
pub(crate) fn suite(file: &str) -> Option<Vec<Value>> {
    #[expect(clippy::disallowed_methods, reason = "a test's own settings")]
    let (dir, required) = (std::env::var_os("SUITES_DIR"), std::env::var_os("SUITES_REQUIRED"));
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let dir = dir.map_or_else(|| root.join("../shared/suites"), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(dir.join(file)) else {
        assert!(required.is_none_or(|v| v != "1"), "{file} is not in {}", dir.display());
        println!("skipped: no {file} in {}", dir.display());
        return None;
    };
    let all: Value = serde_json::from_str(&text).unwrap();
    Some(all["cases"].as_array().unwrap().clone())
}

/// The input of a case: text, or bytes in hexadecimal digits.
fn bytes(v: &Value) -> Vec<u8> {
    if let Some(text) = v.as_str() {
        return text.as_bytes().to_vec();
    }
    let hex = v["$bytes"].as_str().unwrap();
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(hex.get(i..i + 2).unwrap(), 16).unwrap()).collect()
}

/// Compares verdicts case by case; all differences are shown.
fn compare<'a>(cases: impl Iterator<Item = (&'a Value, Format, bool)>) {
    let mut wrong = Vec::new();
    for (input, format, accepted) in cases {
        let body = bytes(input);
        let got = parse(format, &body);
        if got.is_ok() != accepted {
            wrong.push(format!("{:?}: wanted {accepted}, got {got:?}", String::from_utf8_lossy(&body)));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn prometheus_own_documents_give_its_own_series() {
    for case in suite("prometheus-textparse/parse_ok.json").unwrap_or_default() {
        let open = case["content_type"].as_str().unwrap().contains("openmetrics");
        let body = bytes(&case["input"]);
        let got = parse(if open { Format::OpenMetrics } else { Format::Text }, &body).expect("parses");
        let entries = case["entries"].as_array().or(case["expected"].as_array()).unwrap();
        let want: Vec<&Value> = entries.iter().filter(|e| e.get("lset").is_some()).collect();
        assert_eq!(got.len(), want.len());
        for ((labels, value, at, start), want) in got.iter().zip(want) {
            let lset = want["lset"].as_object().unwrap();
            let lset = Labels::from_pairs(lset.iter().map(|(k, v)| (&**k, v.as_str().unwrap())));
            assert_eq!(*labels, lset);
            match want.get("v").map_or(Some(0.0), Value::as_f64) {
                Some(v) => assert_eq!(*value, v, "{labels}"),
                None => assert_eq!(value.to_bits(), NAN.to_bits(), "{labels}"),
            }
            assert_eq!(*at, want["t"].as_i64(), "timestamp of {labels}");
            // Prometheus looks for a start time until another family begins; here it stands behind one.
            if labels.metric_name() != "go.gc_duration_seconds_sum" {
                assert_eq!(*start, want["st"].as_i64().filter(|s| *s != 0), "start of {labels}");
            }
        }
    }
}

#[test]
fn prometheus_own_verdicts_are_ours() {
    let cases = suite("prometheus-textparse/parse_errors.json").unwrap_or_default();
    compare(cases.iter().map(|c| {
        let open = c["format"] == "openmetrics";
        (&c["input"], if open { Format::OpenMetrics } else { Format::Text }, c["ok"].as_bool().unwrap())
    }));
}

#[test]
fn bodies_are_accepted_as_a_scrape_by_prometheus_accepts_them() {
    for file in ["prometheus-common/text_parse_ok.json", "prometheus-common/text_parse_error.json"] {
        let cases = suite(file).unwrap_or_default();
        // The verdicts were measured on a version that knew no quoted names.
        let quoted = |c: &Value| {
            let text = String::from_utf8_lossy(&bytes(&c["in"])).into_owned();
            text.contains("{\"")
                || text.contains("TYPE \"")
                || text.contains("\", \"")
                || text.contains("=\"value\", \"")
        };
        compare(
            cases
                .iter()
                .filter(|c| !quoted(c))
                .map(|c| (&c["in"], Format::Text, c["prometheus_2_42_scrape_accepts"].as_bool().unwrap())),
        );
    }
}

#[test]
fn openmetrics_is_accepted_as_prometheus_accepts_it() {
    let cases = suite("openmetrics/cases.json").unwrap_or_default();
    compare(
        cases
            .iter()
            .map(|c| (&c["input"], Format::OpenMetrics, c["prometheus_2_42_accepts"].as_bool().unwrap())),
    );
}

type Shown<'a> = (&'a str, f64, Option<i64>);

fn check(format: Format, body: &str, expect: Result<&[Shown<'_>], &str>) {
    match (parse(format, body.as_bytes()), expect) {
        (Ok(got), Ok(want)) => {
            let got: Vec<_> = got.iter().map(|(l, v, at, _)| (l.to_string(), *v, *at)).collect();
            let want: Vec<_> = want.iter().map(|(l, v, at)| ((*l).to_owned(), *v, *at)).collect();
            assert_eq!(got, want);
        }
        (Err(got), Err(want)) => assert_eq!(got.to_string(), want),
        (got, want) => panic!("{body:?}: wanted {want:?}, got {got:?}"),
    }
}

#[test]
fn the_text_format_takes_blanks_commas_and_escapes() {
    check(
        Format::Text,
        "  a { b = \"c\\n\\\\\\\"\" , } 1e3\t99 \n\n#junk\nq 2",
        Ok(&[("{__name__=\"a\", b=\"c\\n\\\\\\\"\"}", 1000.0, Some(99)), ("{__name__=\"q\"}", 2.0, None)]),
    );
    check(Format::Text, "a 1\nb x\n", Err("line 2: x is not a number"));
    check(Format::Text, "a{b=\"1\",b=\"2\"} 1\n", Err("line 1: label name \"b\" is not unique"));
    check(Format::Text, "a 1e999\n", Err("line 1: 1e999 is not a number"));
    check(Format::Text, "a +nan\n", Err("line 1: +nan is not a number"));
}

#[test]
fn openmetrics_timestamps_are_seconds_and_the_end_is_required() {
    check(Format::OpenMetrics, "a 1 1.5\n# EOF\n", Ok(&[("{__name__=\"a\"}", 1.0, Some(1500))]));
    check(Format::OpenMetrics, "a 1\n", Err("line 2: the body does not end with `# EOF`"));
}

#[test]
fn bounds_and_quantiles_are_written_as_floats() {
    check(
        Format::Text,
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\n# TYPE s summary\ns{quantile=\".5\"} 1\n",
        Ok(&[
            ("{__name__=\"h_bucket\", le=\"1.0\"}", 1.0, None),
            ("{__name__=\"h_bucket\", le=\"+Inf\"}", 1.0, None),
            ("{__name__=\"s\", quantile=\"0.5\"}", 1.0, None),
        ]),
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>, open: bool) {
        let format = if open { Format::OpenMetrics } else { Format::Text };
        prop_assert!(parse(format, &body).map(|l| l.len() <= body.len() + 1).unwrap_or(true));
    }

    #[test]
    fn near_misses_are_read_or_refused(body in "(#|TYPE|HELP|EOF|a|b|\\{|\\}|\"|=|,| |\n|1|\\\\|_created|counter){0,30}", open: bool) {
        let format = if open { Format::OpenMetrics } else { Format::Text };
        prop_assert!(parse(format, body.as_bytes()).map(|l| l.len() <= body.len() + 1).unwrap_or(true));
    }
}
