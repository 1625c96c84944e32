use super::*;
use crate::{Tsdb, TsdbConfig, disk::fake::FakeDisk};
use model::{Append, Batch, Labels};

const MINUTE: i64 = 60_000;

#[test]
fn series_are_counted_by_metric_name_and_pair_and_so_is_what_comes_and_goes() {
    let config = TsdbConfig { sync_every: None, ..TsdbConfig::new("/data") };
    let (db, _) = Tsdb::open(config, Arc::new(FakeDisk::default())).unwrap();
    for m in 0..60 {
        let mut batch = Batch::at(m * MINUTE);
        let mut put = |pairs: &[(&str, String)]| {
            let labels: Labels = pairs.iter().map(|(n, v)| (*n, v.clone())).collect();
            batch.push(db.resolve(&labels).unwrap(), 1.0);
        };
        for i in 0..3 {
            put(&[("__name__", "up".to_owned()), ("job", "}a{".to_owned()), ("i", i.to_string())]);
        }
        // A new pod every twenty minutes.
        put(&[("__name__", "pod".to_owned()), ("job", "k8s".to_owned()), ("pod", (m / 20).to_string())]);
        db.append(&batch).unwrap();
    }
    let question = Question { from: 0, to: 60 * MINUTE, limit: 2, ..Question::default() };
    let got = analyze(&db, &question, &mut |_, _| {}).unwrap();
    assert_eq!((got.series, got.samples, got.histograms), (6, 240, 0));
    assert_eq!((got.metrics, got.names, got.pairs), (2, 4, 10));
    assert_eq!((got.began, got.ended), (2, 2));
    let names =
        |list: &[Counted]| list.iter().map(|c| (c.name.clone(), c.series, c.values)).collect::<Vec<_>>();
    assert_eq!(names(&got.by_metric), [("pod".to_owned(), 3, 1), ("up".to_owned(), 3, 1)]);
    assert_eq!(names(&got.by_name), [("i".to_owned(), 3, 3), ("pod".to_owned(), 3, 3)]);
    assert_eq!(names(&got.by_pair)[0], ("__name__=\"pod\"".to_owned(), 3, 1));
    assert_eq!(names(&got.by_churn), [("pod".to_owned(), 3, 1)]);
    assert_eq!((got.by_churn[0].began, got.by_churn[0].ended), (2, 2));

    let chosen = Question { selectors: vec![vec![Matcher::eq("job", "}a{")]], limit: 9, ..question };
    let got = analyze(&db, &chosen, &mut |_, _| {}).unwrap();
    assert_eq!((got.series, got.by_churn.len()), (3, 0));
    assert!(got.by_pair.iter().any(|c| c.name == "job=\"}a{\""));
}
