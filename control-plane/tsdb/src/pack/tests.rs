use super::*;
use proptest::prelude::*;

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![
        8 => (0i64..500).prop_map(Slot::Number),
        4 => (-100i64..100).prop_map(Slot::Number),
        2 => any::<i64>().prop_map(Slot::Number),
        1 => Just(Slot::Absent),
        1 => Just(Slot::Stale),
        1 => any::<u64>().prop_map(Slot::Reset),
        1 => any::<u64>().prop_map(Slot::Keep),
    ]
}

fn check(slots: &[Slot]) {
    let mut bytes = Vec::new();
    put(&mut bytes, slots);
    let packed = Packed::read(&bytes, slots.len()).expect("reads");
    let mut all = vec![Slot::Absent; slots.len()];
    packed.all(&mut all).expect("reads");
    assert_eq!(all, slots);
    for (i, s) in slots.iter().enumerate() {
        assert_eq!(packed.get(i), Ok(*s));
    }
    bytes.extend_from_slice(b"more");
    let mut r = Reader::new(&bytes, "test");
    Packed::next(&mut r, slots.len()).expect("reads");
    assert_eq!(r.rest(), b"more");
}

proptest! {
    #[test]
    fn any_block_comes_back(slots in prop::collection::vec(slot(), 0..=BLOCK)) {
        check(&slots);
    }

    #[test]
    fn blocks_of_one_kind_come_back(base: i64, spread in 0u32..64, steps in prop::collection::vec(any::<u64>(), 1..=BLOCK)) {
        let slots: Vec<Slot> =
            steps.iter().map(|s| Slot::Number(base.wrapping_add((s >> spread).cast_signed()))).collect();
        check(&slots);
    }

    #[test]
    fn any_bytes_are_an_error_or_slots(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..=BLOCK) {
        let mut out = vec![Slot::Absent; count];
        if let Ok(packed) = Packed::read(&bytes, count) {
            let _either = packed.all(&mut out);
            for i in 0..count {
                let _either = packed.get(i);
            }
        }
        let _either = Packed::next(&mut Reader::new(&bytes, "test"), count);
    }
}

#[test]
fn equal_numbers_take_no_bits() {
    let mut bytes = Vec::new();
    put(&mut bytes, &[Slot::Number(0); 64]);
    assert_eq!(bytes.len(), 2);
    bytes.clear();
    put(&mut bytes, &[Slot::Number(15_000); 64]);
    assert_eq!(bytes.len(), 5);
}

#[test]
fn an_outlier_does_not_widen_its_neighbours() {
    let mut slots = [Slot::Number(3); 64];
    slots[7] = Slot::Number(1 << 40);
    let mut bytes = Vec::new();
    put(&mut bytes, &slots);
    assert!(bytes.len() < 2 + 64 * 2 / 8 + 10, "{}", bytes.len());
}
