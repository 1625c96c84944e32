use super::*;
use crate::{
    disk::fake::FakeDisk,
    head::{Head, Taken},
    postings::find,
};
use model::{Labels, MatchOp, Matcher, Value};
use proptest::prelude::*;

fn dir() -> PathBuf {
    PathBuf::from("/b")
}

fn taken(n: u64) -> Vec<Taken> {
    let mut head = Head::new(1000);
    for i in 0..n {
        let labels = Labels::from_pairs([
            ("__name__".to_owned(), format!("m{}", i % 3)),
            ("é".to_owned(), format!("{i}")),
        ]);
        let (id, _) = head.create(&labels);
        for t in 0..20 {
            head.push(id, t * 100, None, &Value::Float((t * 3) as f64 + i as f64)).unwrap();
        }
    }
    head.take_all(0, 999)
}

fn written(disk: &FakeDisk, range: (i64, i64)) -> Block {
    let path = write(disk, &dir(), range, taken(50)).unwrap();
    Block::open(disk, &path).unwrap()
}

fn values(block: &Block, index: &BlockIndex, id: u64) -> Vec<(i64, Value)> {
    let (_, at, len) = index.series(id).unwrap();
    let mut out = Vec::new();
    for chunk in block.chunks(at, len).unwrap() {
        let mut samples = chunk.samples();
        while let Some((at, _, v)) = samples.next().unwrap() {
            out.push((at, v));
        }
    }
    out
}

#[test]
fn series_come_back_in_the_order_of_their_labels() {
    let block = written(&FakeDisk::default(), (0, 1000));
    assert_eq!((block.footer.series, block.footer.samples), (50, 500));
    let index = block.load_index().unwrap();
    let all: Vec<Labels> = (0..50).map(|i| index.series(i).unwrap().0).collect();
    assert!(all.is_sorted());
    for (i, labels) in all.iter().enumerate() {
        let n: f64 = labels.value("é").parse().unwrap();
        let want: Vec<_> = (0..10).map(|t| (t * 100, Value::Float((t * 3) as f64 + n))).collect();
        assert_eq!(values(&block, &index, i as u64), want);
    }
}

#[test]
fn the_index_answers_every_kind_of_matcher() {
    let block = written(&FakeDisk::default(), (0, 1000));
    let index = block.load_index().unwrap();
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
        let want: Vec<u64> = (0..50).filter(|i| m.matches_labels(&index.series(*i).unwrap().0)).collect();
        assert_eq!(find(&index, std::slice::from_ref(&m)).unwrap(), want, "{m}");
    }
    assert_eq!(index.values("__name__").unwrap(), ["m0", "m1", "m2"]);
}

#[test]
fn a_chunk_across_the_border_is_cut() {
    let block = written(&FakeDisk::default(), (250, 650));
    let index = block.load_index().unwrap();
    let times: Vec<i64> = values(&block, &index, 0).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [300, 400, 500, 600]);
    assert_eq!(block.footer.samples, 200);
}

proptest! {
    #[test]
    fn a_damaged_block_gives_errors_and_never_other_values(at in 0usize..100_000, bit in 0u8..8) {
        let disk = FakeDisk::default();
        let sound = written(&disk, (0, 1000));
        let index = sound.load_index().unwrap();
        let want: Vec<_> = (0..50).map(|i| values(&sound, &index, i)).collect();
        disk.damage(&sound.path, |bytes| {
            let i = at % bytes.len();
            bytes[i] ^= 1 << bit;
        });
        let Ok(block) = Block::open(&disk, &sound.path) else { return Ok(()) };
        let Ok(index) = block.load_index() else { return Ok(()) };
        for (i, want) in want.iter().enumerate() {
            let (_, at, len) = index.series(i as u64).unwrap();
            if block.chunks(at, len).is_ok() {
                prop_assert_eq!(&values(&block, &index, i as u64), want);
            }
        }
    }

    #[test]
    fn any_bytes_as_an_index_give_answers_or_errors(bytes: Vec<u8>, small in prop::collection::vec(0u32..6, 7..60)) {
        let words: Vec<u8> = small.iter().flat_map(|w| w.to_le_bytes()).collect();
        for bytes in [bytes, words] {
            let Ok(index) = BlockIndex::parse(bytes, "test".to_owned()) else { continue };
            for id in 0..4 {
                drop(index.series(id));
            }
            drop(index.values("a"));
            drop(find(&index, &[Matcher::new("a", MatchOp::Re, "x.*").unwrap()]));
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
