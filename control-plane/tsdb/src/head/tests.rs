use super::*;
use crate::row::ABSENT;
use model::{Batch, Value, stale_nan};
use proptest::prelude::*;

fn head() -> (Head, u64) {
    let mut head = Head::new(1000);
    let id = head.create(&Labels::from_pairs([("__name__", "m")]));
    (head, id)
}

fn samples(head: &Head, id: u64) -> Vec<(Timestamp, f64)> {
    let mut columns = model::SampleColumns::default();
    let Some(taken) = head.take(id, i64::MIN, i64::MAX) else { return Vec::new() };
    read(&taken.held, (i64::MIN, i64::MAX), &model::Cancel::default(), &mut columns).unwrap();
    columns.times.into_iter().zip(columns.values).collect()
}

proptest! {
    /// The model: a sample is taken when it is later than all before it.
    #[test]
    fn the_head_takes_what_ascends_and_says_why_not(steps in prop::collection::vec((-3i64..2000, -2i32..3), 1..300)) {
        let (mut head, id) = head();
        let mut model: Vec<(Timestamp, f64)> = Vec::new();
        let mut at = 0;
        for (step, v) in steps {
            at += step;
            let v = f64::from(v) / 2.0;
            let want = match model.last() {
                Some((last, _)) if at < *last => Err(Reject::OutOfOrder),
                Some((last, have)) if at == *last && *have == v => Ok(false),
                Some((last, _)) if at == *last => Err(Reject::Duplicate),
                _ => Ok(true),
            };
            if want == Ok(true) {
                model.push((at, v));
            }
            prop_assert_eq!(head.push(id, at, None, &Value::Float(v)), want);
        }
        prop_assert_eq!(samples(&head, id), model);
    }
}

#[test]
fn chunks_end_at_the_borders_of_blocks() {
    let (mut head, id) = head();
    for at in [-1, 0, 999, 1000, 1500, 2000] {
        head.push(id, at, None, &Value::Float(1.0)).unwrap();
    }
    let own = head.take(id, i64::MIN, i64::MAX).unwrap().held.own.unwrap();
    let sealed = own.sealed.iter().map(|c| (c.min, c.max));
    let open = own.open.iter().map(|c| (c.min(), c.max()));
    assert_eq!(sealed.chain(open).collect::<Vec<_>>(), [(-1, -1), (0, 999), (1000, 1500), (2000, 2000)]);
}

#[test]
fn what_moved_to_a_block_leaves_and_its_time_is_closed() {
    let (mut head, id) = head();
    let idle = head.create(&Labels::from_pairs([("__name__", "idle")]));
    head.push(idle, 10, None, &Value::Float(1.0)).unwrap();
    for at in [10, 1010] {
        head.push(id, at, None, &Value::Float(1.0)).unwrap();
    }
    assert_eq!(head.drop_before(1000), 1);
    head.set_min_valid(1000);
    assert_eq!((head.len(), head.min_time), (1, 1010));
    assert_eq!(samples(&head, id), [(1010, 1.0)]);
    assert_eq!(head.push(idle, 2000, None, &Value::Float(1.0)), Err(Reject::UnknownSeries));
    let again = head.create(&Labels::from_pairs([("__name__", "idle")]));
    assert!(again > idle, "numbers are not given twice");
    assert_eq!(head.push(again, 999, None, &Value::Float(1.0)), Err(Reject::TooOld));
}

#[test]
fn a_repeated_sample_is_known_also_after_it_was_sealed() {
    let (mut head, id) = head();
    for v in [1.0, stale_nan()] {
        let at = v.to_bits().count_ones().into();
        head.push(id, at, None, &Value::Float(v)).ok();
    }
    let at = head.max_time;
    let last = samples(&head, id).last().unwrap().1;
    let mut restored = Head::new(1000);
    restored.insert(id, &Labels::from_pairs([("__name__", "m")]));
    let own = head.take(id, i64::MIN, i64::MAX).unwrap().held.own.unwrap();
    assert!(restored.restore(id, own.open.as_ref().unwrap().seal()));
    assert_eq!(restored.push(id, at, None, &Value::Float(last)), Ok(false));
    assert_eq!(restored.push(id, at, None, &Value::Float(7.0)), Err(Reject::Duplicate));
}

#[test]
fn an_inconsistent_histogram_is_refused() {
    let (mut head, id) = head();
    let bad = model::Histogram { positive: vec![1.0], ..model::Histogram::default() };
    assert_eq!(head.push(id, 1, None, &Value::Histogram(Arc::new(bad))), Err(Reject::BadHistogram));
}

#[test]
fn readers_keep_what_they_took() {
    let (mut head, id) = head();
    head.push(id, 1, None, &Value::Float(1.0)).unwrap();
    let taken = head.take(id, 0, 10).unwrap();
    head.push(id, 2, None, &Value::Float(2.0)).unwrap();
    assert_eq!(taken.held.own.unwrap().open.as_ref().unwrap().max(), 1);
    assert_eq!(samples(&head, id).len(), 2);
}

#[test]
fn a_late_sample_that_comes_while_others_are_written_stays() {
    let (mut head, id) = head();
    head.late_window = 1000;
    for at in [500, 100] {
        head.push(id, at, None, &Value::Float(1.0)).unwrap();
    }
    let written = head.snapshot(None);
    head.push(id, 200, None, &Value::Float(2.0)).unwrap();
    head.drop_late(0, 1000, &written);
    assert_eq!(samples(&head, id), [(200, 2.0), (500, 1.0)]);
}

#[test]
fn rows_behind_one_that_is_lost_are_refused_until_the_next_whole_one() {
    let mut head = Head::new(1_000_000);
    let ids: Vec<u64> = (0..4).map(|i| head.create(&Labels::from_pairs([("i", format!("{i}"))]))).collect();
    let mut rows = Vec::new();
    for at in 0..200i64 {
        let mut batch = Batch::at(at);
        ids.iter().for_each(|id| batch.push(model::SeriesRef(*id), (at * 3) as f64));
        let mut taking = Taking::default();
        head.append(&batch, &mut taking);
        rows.extend(taking.rows);
    }
    // A damaged stretch across the border of two sets: what follows would decode, to something else.
    let kept = rows.iter().enumerate().filter(|(i, _)| !(60..70).contains(i)).map(|(_, r)| r);
    let mut again = Head::new(1_000_000);
    (0..4).for_each(|i| again.insert(ids[i], &Labels::from_pairs([("i", format!("{i}"))])));
    for row in kept {
        again.restore_row(row.group, row.added.clone(), &row.written);
    }
    let got = samples(&again, ids[0]);
    assert!(got.iter().all(|(at, v)| *v == (*at * 3) as f64), "{got:?}");
    assert!(got.len() > 120 && got.len() < 190, "{}", got.len());
}

/// What writers may do, in random order, against a map of samples.
mod model_of_writers {
    use super::*;
    use crate::{log::LOG_MAGIC, record};
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    enum Step {
        /// Which of the series, in which order; values; how far time goes on.
        Batch {
            of: Vec<usize>,
            v: i32,
            step: i64,
        },
        /// A sample of one series with a time of its own, counted back from now.
        Entry {
            of: usize,
            v: i32,
            back: i64,
        },
        Drop {
            back: i64,
        },
    }

    const SERIES: usize = 12;

    fn step() -> impl Strategy<Value = Step> {
        let all: Vec<usize> = (0..SERIES).collect();
        let same = all.clone();
        let of = prop_oneof![
            6 => Just(same),
            2 => prop::sample::subsequence(all.clone(), 0..=SERIES),
            1 => Just(all).prop_shuffle(),
            1 => prop::collection::vec(0..SERIES, 0..6),
        ];
        prop_oneof![
            12 => (of, -50i32..1000, -20i64..200).prop_map(|(of, v, step)| Step::Batch { of, v, step }),
            2 => (0..SERIES, -50i32..1000, -50i64..300).prop_map(|(of, v, back)| Step::Entry { of, v, back }),
            1 => (0i64..2000).prop_map(|back| Step::Drop { back }),
        ]
    }

    fn value(v: i32, series: usize) -> f64 {
        match (v + i32::try_from(series).unwrap()) % 17 {
            3 => stale_nan(),
            5 => f64::from(v) / 3.0,
            7 => f64::from(v) / 100.0,
            9 => ABSENT,
            _ => f64::from(v),
        }
    }

    fn name(i: usize) -> Labels {
        Labels::from_pairs([("__name__".to_owned(), "m".to_owned()), ("i".to_owned(), i.to_string())])
    }

    fn contents(head: &Head) -> BTreeMap<(usize, Timestamp), u64> {
        let mut out = BTreeMap::new();
        for i in 0..SERIES {
            let Some(id) = head.id(&name(i)) else { continue };
            for (at, v) in samples(head, id) {
                assert!(out.insert((i, at), v.to_bits()).is_none(), "twice");
            }
        }
        out
    }

    fn again(log: &[u8]) -> Head {
        use crate::disk::Disk as _;
        let disk = crate::disk::fake::FakeDisk::default();
        let dir = std::path::Path::new("/log");
        let mut file = disk.create(&crate::log::segment_path(dir, 1)).unwrap();
        file.append(&crate::log::header(LOG_MAGIC)).unwrap();
        file.append(log).unwrap();
        let mut head = Head::new(1000);
        head.late_window = 150;
        let mut report = crate::store::OpenReport::default();
        let replayed =
            crate::log::replay(&disk, dir, |r| crate::store::restore(&mut head, r, &mut report)).unwrap();
        assert!(replayed.damage.is_empty() && report.dropped_samples == 0, "{report:?}");
        head
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn writers_in_any_order_leave_what_the_model_says_and_the_log_repeats_it(
            steps in prop::collection::vec(step(), 1..120),
        ) {
            let mut head = Head::new(1000);
            head.late_window = 150;
            let mut model: BTreeMap<(usize, Timestamp), u64> = BTreeMap::new();
            let (mut now, mut log, mut cut) = (5000i64, Vec::new(), i64::MIN);
            for step in steps {
                let mut batch = Batch::at(now);
                let mut which = Vec::new();
                let id = |head: &mut Head, log: &mut Vec<u8>, i: usize| {
                    let labels = name(i);
                    model::SeriesRef(head.id(&labels).unwrap_or_else(|| {
                        let id = head.create(&labels);
                        record::put_series(log, &[(id, labels)]);
                        id
                    }))
                };
                match step {
                    Step::Batch { of, v, step } => {
                        now += step;
                        batch.at = now;
                        for i in of {
                            batch.push(id(&mut head, &mut log, i), value(v, i));
                            which.push((i, now, value(v, i)));
                        }
                    }
                    Step::Entry { of, v, back } => {
                        let (at, v) = (now - back, value(v, of));
                        let series = id(&mut head, &mut log, of);
                        batch.entries.push(model::Entry { series, at: Some(at), start: None, value: Value::Float(v) });
                        which.push((of, at, v));
                    }
                    Step::Drop { back } => {
                        cut = cut.max((now - back).div_euclid(1000) * 1000);
                        head.close(cut);
                        let written = head.snapshot(None);
                        head.drop_before(cut);
                        head.drop_late(i64::MIN, cut, &written);
                        head.set_min_valid(cut);
                        model.retain(|(_, at), _| *at >= cut);
                    }
                }
                let mut taking = Taking::default();
                head.append(&batch, &mut taking);
                taking.rows.iter().for_each(|r| record::put_row(&mut log, r));
                if !taking.series.is_empty() {
                    record::put_samples(&mut log, batch.at, &taking.series, &taking.values);
                }
                if !taking.entries.is_empty() {
                    record::put_entries(&mut log, &taking.entries);
                }
                let rejected: BTreeMap<usize, Reject> = taking.rejected.into_iter().collect();
                for (n, (i, at, v)) in which.into_iter().enumerate() {
                    let newest = model.range((i, i64::MIN)..=(i, i64::MAX)).next_back().map(|((_, at), _)| *at);
                    let have = model.get(&(i, at)).copied();
                    match rejected.get(&n) {
                        None => {
                            // It was there in the same bits, or it is new.
                            prop_assert!(have.is_none_or(|have| have == v.to_bits()) || newest != Some(at));
                            model.entry((i, at)).or_insert(v.to_bits());
                        }
                        Some(Reject::Duplicate) => prop_assert!(have.is_some_and(|have| have != v.to_bits())),
                        Some(Reject::OutOfOrder | Reject::TooOld) => {
                            prop_assert!(newest.is_some_and(|newest| at < newest) || at < cut || at < now - 150, "{i} {at}");
                        }
                        Some(other) => prop_assert!(false, "{other}"),
                    }
                }
                let got = contents(&head);
                prop_assert_eq!(&got, &model);
            }
            // The log knows nothing of what went to blocks, so it brings that back too.
            let mut again = contents(&again(&log));
            again.retain(|key, _| key.1 >= cut || model.contains_key(key));
            prop_assert_eq!(again, model);
        }
    }
}

/// A head with some groups: 3 targets of 6 series, `rows` scrapes, with gaps, guests and a series that leaves.
type Model = Vec<(Labels, Vec<(Timestamp, f64)>)>;

fn grouped(rows: i64) -> (Head, Model) {
    let mut head = Head::new(1_000_000);
    let mut all = Model::new();
    let mut ids = Vec::new();
    for target in 0..3 {
        for k in 0..6 {
            let labels = Labels::from_pairs([
                ("__name__", "m".to_owned()),
                ("k", k.to_string()),
                ("target", target.to_string()),
            ]);
            ids.push(model::SeriesRef(head.create(&labels)));
            all.push((labels, Vec::new()));
        }
    }
    for row in 0..rows {
        for target in 0..3 {
            let at = row * 10 + i64::from(target);
            let mut batch = Batch::at(at);
            for k in 0..6 {
                let i = (target * 6 + k) as usize;
                let value = match (k, row % 7) {
                    (1, 3) => continue,
                    (2, 5) => f64::INFINITY,
                    (3, _) => f64::from(k) + 0.1 * row as f64,
                    (4, 2) => 1e300,
                    _ => (row * i64::from(k)) as f64,
                };
                batch.push(ids[i], value);
                all[i].1.push((at, value));
            }
            head.append(&batch, &mut Taking::default());
        }
    }
    (head, all)
}

#[test]
fn a_select_gives_every_range_of_grouped_series_in_order_or_a_few_labels_of_each() {
    let (head, mut all) = grouped(150);
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let matchers = [Matcher::eq("__name__", "m")];
    for (start, end) in
        [(0, 2000), (900, 1200), (1400, 1500), (1495, 1600), (635, 645), (-5, 3), (1490, 1490)]
    {
        let request = model::SelectRequest::new(&matchers, start, end);
        let within = |samples: &[(Timestamp, f64)]| -> Vec<(Timestamp, f64)> {
            samples.iter().copied().filter(|(at, _)| *at >= start && *at <= end).collect()
        };
        let read = |t: &Taken, newest: bool| {
            let mut columns = model::SampleColumns::default();
            let mut collector = Collector::new(start, end, &mut columns);
            if newest { t.held.collect_newest(&mut collector) } else { t.held.collect(&mut collector) }
                .unwrap();
            collector.finish();
            columns.times.into_iter().zip(columns.values).collect::<Vec<_>>()
        };
        let want: Vec<_> =
            all.iter().map(|(l, s)| (l.clone(), within(s))).filter(|(_, s)| !s.is_empty()).collect();
        let taken = head.take_matching(&request, true).unwrap();
        let got: Vec<_> =
            taken.iter().map(|t| (t.labels.clone(), read(t, false))).filter(|(_, s)| !s.is_empty()).collect();
        assert_eq!(got, want, "from {start} to {end}");
        for (t, (labels, samples)) in taken.iter().filter(|t| !read(t, false).is_empty()).zip(&want) {
            assert_eq!(read(t, true).last(), samples.last(), "the newest of {labels} from {start} to {end}");
        }
        let mut few = request.clone();
        few.hints.labels = Some(vec!["k".to_owned()]);
        let mut got: Vec<_> =
            head.take_matching(&few, true).unwrap().iter().map(|t| (t.labels.clone(), t.id)).collect();
        got.sort();
        let mut want: Vec<_> = taken.iter().map(|t| (t.labels.keep(&["k"]), t.id)).collect();
        want.sort();
        assert_eq!(got, want);
        // What is merged with blocks must come whole, and in order.
        let whole = head.take_matching(&few, false).unwrap();
        assert!(whole.iter().map(|t| &t.labels).eq(taken.iter().map(|t| &t.labels)));
    }
}
