use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn numbers() -> impl Strategy<Value = BTreeSet<u64>> {
    prop::collection::vec((0u64..500, 1u64..9), 0..40)
        .prop_map(|runs| runs.into_iter().flat_map(|(begin, len)| begin..begin + len).collect())
}

proptest! {
    #[test]
    fn lists_answer_as_sets_do(a in numbers(), b in numbers()) {
        let list: List = a.iter().copied().collect();
        prop_assert_eq!(list.len(), a.len());
        let mut bytes = Vec::new();
        list.put(&mut bytes);
        bytes.push(7);
        for ids in [list.ids(), Ids::read(&bytes, a.len())] {
            prop_assert_eq!(ids.collect().unwrap(), a.iter().copied().collect::<Vec<_>>());
            for wanted in [true, false] {
                let mut have: Vec<u64> = b.iter().copied().collect();
                ids.retain(&mut have, wanted).unwrap();
                let want: Vec<u64> = b.iter().copied().filter(|id| a.contains(id) == wanted).collect();
                prop_assert_eq!(have, want);
            }
        }
    }

    #[test]
    fn numbers_in_any_order_make_the_same_list(a in prop::collection::vec(0u64..100, 0..60)) {
        let mut list = List::default();
        a.iter().for_each(|id| list.add(*id));
        let want: BTreeSet<u64> = a.into_iter().collect();
        prop_assert_eq!(list.ids().collect().unwrap(), want.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_an_error_or_numbers(bytes: Vec<u8>, count in 0usize..1000) {
        let ids = Ids::read(&bytes, count);
        if let Ok(all) = ids.collect() {
            prop_assert!(all.is_sorted() && all.len() == count);
        }
        let _either = ids.retain(&mut vec![1, 5, 9], true);
    }
}
