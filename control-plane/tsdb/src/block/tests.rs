use super::*;
use crate::{
    disk::fake::FakeDisk,
    head::{Head, Snapshot, read},
    postings::{Index, find},
};
use model::{Cancel, Labels, MatchOp, Matcher, SampleColumns, Value};
use proptest::prelude::*;

fn dir() -> PathBuf {
    PathBuf::from("/b")
}

fn snapshot(n: u64, range: (i64, i64)) -> Snapshot {
    let mut head = Head::new(1000);
    for i in 0..n {
        let labels = Labels::from_pairs([
            ("__name__".to_owned(), format!("m{}", i % 3)),
            ("é".to_owned(), format!("{i}")),
        ]);
        let id = head.create(&labels);
        for t in 0..20 {
            head.push(id, t * 100, None, &Value::Float((t * 3) as f64 + i as f64)).unwrap();
        }
    }
    let mut snapshot = head.snapshot(Some((range.0, range.1 - 1)));
    snapshot.sort();
    snapshot
}

fn written(disk: &FakeDisk, range: (i64, i64)) -> Block {
    let mut writer = Writer::create(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &dir(), range, 0).unwrap();
    let mut samples = SampleColumns::default();
    for (_, labels, held) in snapshot(50, range).iter() {
        read(held, (range.0, range.1 - 1), &Cancel::default(), &mut samples).unwrap();
        writer.series(&labels, &samples).unwrap();
    }
    Block::open(disk, &writer.finish().unwrap()).unwrap()
}

/// Every series in the order of the index, with where its samples lie.
fn series(index: &Arc<BlockIndex>) -> Result<Vec<(Labels, Place)>, SelectError> {
    let mut cursor = Cursor::new(Arc::clone(index), (0..u64::from(index.series_count())).collect());
    std::iter::from_fn(|| cursor.next().transpose()).collect()
}

fn values(block: &Block, place: Place) -> Result<Vec<(i64, Value)>, SelectError> {
    let mut out = Vec::new();
    for chunk in block.chunks(place, &mut Window::default())? {
        let mut samples = chunk.samples();
        while let Some((at, _, v)) = samples.next().unwrap() {
            out.push((at, v));
        }
    }
    Ok(out)
}

#[test]
fn series_come_back_in_the_order_of_their_labels() {
    let block = written(&FakeDisk::default(), (0, 1000));
    assert_eq!((block.footer.series, block.footer.samples), (50, 500));
    let index = Arc::new(block.load_index().unwrap());
    let all = series(&index).unwrap();
    assert_eq!(all.len(), 50);
    assert!(all.is_sorted_by_key(|(labels, _)| labels.clone()));
    for (labels, place) in all {
        let n: f64 = labels.value("é").parse().unwrap();
        let want: Vec<_> = (0..10).map(|t| (t * 100, Value::Float((t * 3) as f64 + n))).collect();
        assert_eq!(values(&block, place).unwrap(), want);
    }
}

#[test]
fn the_index_answers_every_kind_of_matcher() {
    let block = written(&FakeDisk::default(), (0, 1000));
    let index = Arc::new(block.load_index().unwrap());
    let all = series(&index).unwrap();
    for (name, op, value) in [
        ("__name__", MatchOp::Eq, "m1"),
        ("__name__", MatchOp::Ne, "m1"),
        ("__name__", MatchOp::Re, "m[12]"),
        ("é", MatchOp::Nre, "1.*"),
        ("absent", MatchOp::Eq, ""),
        ("absent", MatchOp::Ne, ""),
        ("é", MatchOp::Eq, "nothing"),
    ] {
        let m = Matcher::new(name, op, value).unwrap();
        let want: Vec<u64> =
            (0u64..).zip(&all).filter(|(_, (l, _))| m.matches_labels(l)).map(|(i, _)| i).collect();
        assert_eq!(find(&*index, std::slice::from_ref(&m)).unwrap(), want, "{m}");
        for (i, (labels, _)) in (0u64..).zip(&all) {
            assert_eq!(index.satisfies(i, &m).unwrap(), m.matches_labels(labels), "{m} {labels}");
        }
    }
    assert_eq!(index.values("__name__").unwrap(), ["m0", "m1", "m2"]);
}

#[test]
fn a_chunk_across_the_border_is_cut() {
    let block = written(&FakeDisk::default(), (250, 650));
    let index = Arc::new(block.load_index().unwrap());
    let place = series(&index).unwrap()[0].1;
    let times: Vec<i64> = values(&block, place).unwrap().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [300, 400, 500, 600]);
    assert_eq!(block.footer.samples, 200);
}

proptest! {
    #[test]
    fn a_damaged_block_gives_errors_and_never_other_values(at in 0usize..100_000, bit in 0u8..8) {
        let disk = FakeDisk::default();
        let sound = written(&disk, (0, 1000));
        let index = Arc::new(sound.load_index().unwrap());
        let want: Vec<_> = series(&index)
            .unwrap()
            .into_iter()
            .map(|(labels, place)| (labels, values(&sound, place).unwrap()))
            .collect();
        disk.damage(&sound.path, |bytes| {
            let i = at % bytes.len();
            bytes[i] ^= 1 << bit;
        });
        let Ok(block) = Block::open(&disk, &sound.path) else { return Ok(()) };
        let Ok(index) = block.load_index() else { return Ok(()) };
        for ((labels, place), (want_labels, want)) in series(&Arc::new(index)).unwrap().into_iter().zip(&want) {
            prop_assert_eq!(&labels, want_labels);
            if let Ok(got) = values(&block, place) {
                prop_assert_eq!(&got, want);
            }
        }
    }

    #[test]
    fn any_bytes_as_an_index_give_answers_or_errors(bytes: Vec<u8>, small in prop::collection::vec(0u32..6, 7..60)) {
        let words: Vec<u8> = small.iter().flat_map(|w| w.to_le_bytes()).collect();
        for bytes in [bytes, words] {
            let Ok(index) = BlockIndex::parse(bytes, "test".to_owned()) else { continue };
            let index = Arc::new(index);
            drop(Cursor::new(Arc::clone(&index), (0..4).collect()).next());
            drop(series(&index));
            drop(index.values("a"));
            drop(index.satisfies(1, &Matcher::new("a", MatchOp::Re, "x.*").unwrap()));
            drop(find(&*index, &[Matcher::new("a", MatchOp::Re, "x.*").unwrap()]));
        }
    }

    #[test]
    fn any_bytes_as_a_block_are_refused(bytes: Vec<u8>) {
        let disk = FakeDisk::default();
        let path = dir().join("x.block");
        disk.create(&path).unwrap().append(&bytes).unwrap();
        prop_assert!(Block::open(&disk, &path).is_err());
    }
}

#[test]
fn a_newer_block_is_named_as_such() {
    let disk = FakeDisk::default();
    let path = written(&disk, (0, 1000)).path;
    disk.damage(&path, |bytes| {
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let Err(BlockError::Open(e)) = Block::open(&disk, &path) else { panic!("it opened") };
    assert!(e.to_string().contains("newer Vigie (format 9"), "{e}");
}
