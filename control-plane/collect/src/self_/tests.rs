use super::*;
use crate::testing::Store;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};

#[test]
fn a_registry_gives_the_series_of_its_text() {
    let registry = Registry::new();
    let counter = IntCounterVec::new(Opts::new("c_total", "c"), &["a"]).unwrap();
    let histogram = HistogramVec::new(HistogramOpts::new("h", "h").buckets(vec![0.5, 1.0]), &["a"]).unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    registry.register(Box::new(histogram.clone())).unwrap();
    counter.with_label_values(&["x"]).inc_by(3);
    histogram.with_label_values(&["x"]).observe(0.7);
    let base = Labels::from_pairs([("job", "vigie"), ("a", "base")]);
    let mut got: Vec<String> =
        based(&base, registry.read(0)).iter().map(|(l, v)| format!("{l} {v}")).collect();
    got.sort();
    assert_eq!(
        got,
        [
            "{__name__=\"c_total\", a=\"x\", job=\"vigie\"} 3",
            "{__name__=\"h_bucket\", a=\"x\", job=\"vigie\", le=\"+Inf\"} 1",
            "{__name__=\"h_bucket\", a=\"x\", job=\"vigie\", le=\"0.5\"} 0",
            "{__name__=\"h_bucket\", a=\"x\", job=\"vigie\", le=\"1.0\"} 1",
            "{__name__=\"h_count\", a=\"x\", job=\"vigie\"} 1",
            "{__name__=\"h_sum\", a=\"x\", job=\"vigie\"} 0.7",
        ]
    );
}

#[test]
fn the_store_tells_its_figures() {
    let store = Store::new();
    store.append().resolve(&Labels::from_pairs([("a", "b")])).unwrap();
    let all = tsdb_source(store.db.clone()).read(0);
    let series = all.iter().find(|(l, _)| l.metric_name() == "vigie_tsdb_series");
    assert_eq!(series.map(|(_, v)| *v), Some(1.0));
}
