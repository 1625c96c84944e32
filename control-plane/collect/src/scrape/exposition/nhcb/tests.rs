use super::*;
use crate::scrape::exposition::tests::suite;
use serde_json::Value as Json;

const CUSTOM: Forms = Forms { native: false, classic: false, custom: true };

/// A histogram of the suite: buckets as differences.
fn wanted(v: &Json) -> (f64, f64, Vec<f64>, Vec<f64>) {
    let numbers = |name: &str| -> Vec<f64> {
        v[name].as_array().map(|a| a.iter().filter_map(Json::as_f64).collect()).unwrap_or_default()
    };
    let mut at = 0.0;
    let counts = numbers("PositiveBuckets").into_iter().map(|d| {
        at += d;
        at
    });
    let count = v["Count"].as_f64().unwrap_or(0.0);
    (count, v["Sum"].as_f64().unwrap_or(0.0), counts.collect(), numbers("CustomValues"))
}

#[test]
fn prometheus_own_documents_are_converted_as_prometheus_does() {
    for case in suite("prometheus-textparse/nhcb_conversion.json").unwrap_or_default() {
        let body = case["input"].as_str().expect("a text");
        let decoded = collate(Format::OpenMetrics, body.as_bytes(), CUSTOM).expect("reads");
        let entries = case["entries"].as_array().expect("a list");
        let want: Vec<&Json> = entries.iter().filter(|e| e.get("lset").is_some()).collect();
        let mut got: Vec<String> = Vec::new();
        let mut expected: Vec<String> = Vec::new();
        for item in &decoded.items {
            let mut b = LabelsBuilder::default();
            Parser::labels_of_text(item.kind, decoded.text(item), &mut b);
            let value = match &item.value {
                Value::Float(v) => format!("{v}"),
                Value::Histogram(h) => {
                    let bounds = h.custom_bounds.as_deref().unwrap_or_default();
                    format!("{:?}", (h.count, h.sum, &h.positive, bounds))
                }
            };
            got.push(format!("{} {value} {:?} {}", b.build(), item.at, item.exemplars.len()));
        }
        for want in want {
            let lset = want["lset"].as_object().expect("labels");
            let labels = Labels::from_pairs(lset.iter().map(|(k, v)| (&**k, v.as_str().expect("a text"))));
            let value = match want.get("shs").or(want.get("fhs")) {
                Some(h) => format!("{:?}", wanted(h)),
                None => format!("{}", want.get("v").map_or(0.0, |v| v.as_f64().unwrap_or(f64::NAN))),
            };
            let exemplars = want["es"].as_array().map_or(0, Vec::len);
            expected.push(format!("{labels} {value} {:?} {exemplars}", want["t"].as_i64()));
        }
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!(got, expected, "{}", case["test"]);
        }
        assert_eq!(got.len(), expected.len());
    }
}

#[test]
fn parts_that_contradict_each_other_make_no_histogram() {
    let check = |buckets: &[(f64, f64)], count: Option<f64>, want: Option<&[f64]>| {
        let classic = Classic { buckets: buckets.to_vec(), count, sum: 1.0 };
        let got = classic.convert();
        assert_eq!(got.as_ref().map(|h| &*h.positive), want, "{buckets:?}");
    };
    let inf = f64::INFINITY;
    check(&[(1.0, 2.0), (inf, 5.0)], Some(5.0), Some(&[2.0, 3.0]));
    check(&[(inf, 5.0), (1.0, 2.0)], None, Some(&[2.0, 3.0]));
    check(&[(1.0, 2.0)], Some(5.0), Some(&[2.0, 3.0]));
    check(&[], Some(5.0), Some(&[5.0]));
    check(&[], None, None);
    check(&[(1.0, 0.0), (2.0, 1.0), (3.0, 1.0), (4.0, 2.0), (5.0, 2.0)], Some(2.0), Some(&[1.0, 0.0, 1.0]));
    check(&[(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0), (5.0, 2.0)], None, Some(&[1.0, 1.0]));
    check(&[(1.0, 4.0), (2.0, 2.0)], Some(5.0), None);
    check(&[(1.0, 2.0), (inf, 5.0)], Some(4.0), None);
    check(&[(1.0, f64::NAN)], Some(4.0), None);
}

#[test]
fn classic_series_stay_where_they_are_asked_for() {
    let body = b"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\nh_count 3\n";
    let texts = |forms| -> Vec<String> {
        let decoded = collate(Format::Text, body, forms).expect("reads");
        decoded.items.iter().map(|i| String::from_utf8_lossy(decoded.text(i)).into_owned()).collect()
    };
    assert_eq!(texts(CUSTOM), ["h"]);
    let all = ["h_bucket{le=\"1\"}", "h_bucket{le=\"+Inf\"}", "h_sum", "h_count", "h"];
    assert_eq!(texts(Forms { classic: true, ..CUSTOM }), all);
}
