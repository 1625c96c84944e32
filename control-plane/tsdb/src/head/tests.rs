use super::*;
use model::stale_nan;
use proptest::prelude::*;

fn head() -> (Head, u64) {
    let mut head = Head::new(1000);
    let (id, _) = head.create(&Labels::from_pairs([("__name__", "m")]));
    (head, id)
}

fn read(head: &Head, id: u64) -> Vec<(Timestamp, f64)> {
    let mut out = Vec::new();
    for p in head.take(id, i64::MIN, i64::MAX).map(|t| t.pieces).unwrap_or_default() {
        let mut samples = p.samples();
        while let Some((at, _, v)) = samples.next().unwrap() {
            let Value::Float(v) = v else { panic!("no histogram went in") };
            out.push((at, v));
        }
    }
    out
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
        prop_assert_eq!(read(&head, id), model);
    }
}

#[test]
fn chunks_end_at_the_borders_of_blocks() {
    let (mut head, id) = head();
    for at in [-1, 0, 999, 1000, 1500, 2000] {
        head.push(id, at, None, &Value::Float(1.0)).unwrap();
    }
    let pieces = head.take(id, i64::MIN, i64::MAX).unwrap().pieces;
    assert_eq!(
        pieces.iter().map(Piece::range).collect::<Vec<_>>(),
        [(-1, -1), (0, 999), (1000, 1500), (2000, 2000)]
    );
}

#[test]
fn what_moved_to_a_block_leaves_and_its_time_is_closed() {
    let (mut head, id) = head();
    let (idle, _) = head.create(&Labels::from_pairs([("__name__", "idle")]));
    head.push(idle, 10, None, &Value::Float(1.0)).unwrap();
    for at in [10, 1010] {
        head.push(id, at, None, &Value::Float(1.0)).unwrap();
    }
    assert_eq!(head.drop_before(1000), 1);
    assert_eq!((head.len(), head.min_time), (1, 1010));
    assert_eq!(read(&head, id), [(1010, 1.0)]);
    assert_eq!(head.push(idle, 2000, None, &Value::Float(1.0)), Err(Reject::UnknownSeries));
    let (again, _) = head.create(&Labels::from_pairs([("__name__", "idle")]));
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
    let last = read(&head, id).last().unwrap().1;
    let mut restored = Head::new(1000);
    restored.insert(id, &Labels::from_pairs([("__name__", "m")]));
    for p in head.take(id, i64::MIN, i64::MAX).unwrap().pieces {
        let mut bytes = Vec::new();
        p.put(&mut bytes);
        let chunk = Chunk::get(&mut crate::bytes::Reader::new(&bytes, "chunk")).unwrap();
        assert!(restored.restore(id, chunk));
    }
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
    assert_eq!(taken.pieces[0].range(), (1, 1));
    assert_eq!(read(&head, id).len(), 2);
}
