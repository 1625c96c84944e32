use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn bits_read_back_in_any_widths(parts in prop::collection::vec((any::<u64>(), 0u32..=64), 0..200)) {
        let mut w = BitWriter::default();
        for (v, n) in &parts {
            w.put(*v, *n);
        }
        let total: u32 = parts.iter().map(|(_, n)| n).sum();
        prop_assert_eq!(w.bytes().len(), total.div_ceil(8) as usize);
        let mut r = BitReader::new(w.bytes());
        for (v, n) in parts {
            let kept = if n == 64 { v } else { v & ((1u64 << n) - 1) };
            prop_assert_eq!(r.get(n), Some(kept));
        }
    }
}

#[test]
fn the_end_is_none() {
    let mut r = BitReader::new(&[0xff]);
    assert_eq!(r.get(9), None);
    assert_eq!(r.get(8), Some(0xff));
    assert_eq!(r.get(1), None);
    assert_eq!(r.get(0), Some(0));
}
