use super::*;
use model::Histogram;
use std::convert::Infallible;

struct Table(std::vec::IntoIter<(&'static str, SampleColumns)>);

impl Ascending for Table {
    type Error = Infallible;

    fn next(&mut self, into: &mut SampleColumns) -> Result<Option<Labels>, Infallible> {
        let Some((name, samples)) = self.0.next() else { return Ok(None) };
        *into = samples;
        Ok(Some(Labels::from_pairs([("__name__", name)])))
    }
}

fn floats(samples: &[(i64, f64)]) -> SampleColumns {
    let mut out = SampleColumns::default();
    samples.iter().for_each(|(t, v)| out.push(*t, Value::Float(*v), None));
    out
}

fn all(sources: Vec<Vec<(&'static str, SampleColumns)>>) -> Vec<(String, SampleColumns)> {
    let mut merged = Merged::new(sources.into_iter().map(|s| Table(s.into_iter())));
    let (mut out, mut columns) = (Vec::new(), SampleColumns::default());
    while let Ok(Some(labels)) = merged.next(&mut columns) {
        out.push((labels.metric_name().to_owned(), columns.clone()));
    }
    out
}

#[test]
fn series_come_in_order_and_samples_interleave() {
    let got = all(vec![
        vec![("a", floats(&[(1, 1.0), (3, 3.0)])), ("c", floats(&[(1, 1.0)]))],
        vec![("a", floats(&[(2, 2.0), (3, 9.0), (4, 4.0)])), ("b", floats(&[(5, 5.0)]))],
        vec![],
    ]);
    assert_eq!(
        got,
        [
            ("a".to_owned(), floats(&[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)])),
            ("b".to_owned(), floats(&[(5, 5.0)])),
            ("c".to_owned(), floats(&[(1, 1.0)])),
        ]
    );
}

#[test]
fn histograms_and_start_times_stay_with_their_samples() {
    let h = |count: f64| Value::Histogram(Arc::new(Histogram { count, ..Histogram::default() }));
    let mut a = SampleColumns::default();
    a.push(1, h(1.0), Some(7));
    a.push(3, Value::Float(3.0), None);
    let mut b = SampleColumns::default();
    b.push(2, Value::Float(2.0), None);
    b.push(3, h(9.0), None);
    b.push(4, h(4.0), Some(8));
    let got = all(vec![vec![("a", a)], vec![("a", b)]]);
    let mut want = SampleColumns::default();
    want.push(1, h(1.0), Some(7));
    want.push(2, Value::Float(2.0), None);
    want.push(3, Value::Float(3.0), None);
    want.push(4, h(4.0), Some(8));
    assert_eq!(got[0].1.histograms, want.histograms);
    assert_eq!((&got[0].1.times, &got[0].1.starts), (&want.times, &want.starts));
}
