use super::*;
use crate::head::Head;
use model::Labels;
use proptest::prelude::*;

/// Small alphabets, so that everything collides.
fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[a-c]", "[x-z]{1,2}", 1..4).prop_map(Labels::from_pairs)
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![Just(MatchOp::Eq), Just(MatchOp::Ne), Just(MatchOp::Re), Just(MatchOp::Nre)];
    let value = prop_oneof![
        "[x-z]{0,2}",
        Just("x.*".to_owned()),
        Just(".*".to_owned()),
        Just("|x|yy".to_owned()),
        Just(".+".to_owned())
    ];
    ("[a-d]", op, value).prop_map(|(n, op, v)| Matcher::new(n, op, v).unwrap())
}

proptest! {
    #[test]
    fn the_index_finds_what_looking_at_every_series_finds(
        sets in prop::collection::vec(labels(), 0..60),
        matchers in prop::collection::vec(matcher(), 0..4),
        repeat in 1usize..30,
    ) {
        let mut head = Head::new(1000);
        let mut all = Vec::new();
        for (i, l) in sets.iter().enumerate() {
            for r in 0..repeat {
                // Many series, so that lists are joined and not only looked through.
                let l = l.with("n", format!("{i}-{r}"));
                let id = head.create(&l);
                all.push((id, l));
            }
        }
        let want: Vec<u64> =
            all.iter().filter(|(_, l)| matchers.iter().all(|m| m.matches_labels(l))).map(|(id, _)| *id).collect();
        prop_assert_eq!(find(&head, &matchers).unwrap(), want);
    }
}
