//! Label sets behave as Prometheus's do.

use super::*;

#[test]
fn pairs_come_out_sorted_without_empty_values_and_the_last_one_wins() {
    let l = Labels::from_pairs([("b", "1"), ("a", "x"), ("c", ""), ("b", "2")]);
    assert_eq!(l.to_string(), r#"{a="x", b="2"}"#);
    assert_eq!(l.get("c"), None);
    assert_eq!(l.value("c"), "");
}

#[test]
fn setting_an_empty_value_removes() {
    let l = Labels::from_pairs([("a", "1"), ("b", "2")]).with("a", "");
    assert_eq!(l.to_string(), r#"{b="2"}"#);
}

#[test]
fn keep_and_drop_are_complements() {
    let l = Labels::from_pairs([("__name__", "up"), ("job", "x"), ("zone", "y")]);
    assert_eq!(l.keep(&["zone", "job"]).to_string(), r#"{job="x", zone="y"}"#);
    assert_eq!(l.drop(&["zone", "job"]).to_string(), r#"{__name__="up"}"#);
}

#[test]
fn values_are_quoted_and_odd_names_too() {
    let l = Labels::from_pairs([("a.b", "x\"y\\z\n\u{1}é")]);
    assert_eq!(l.to_string(), "{\"a.b\"=\"x\\\"y\\\\z\\n\\x01é\"}");
}

#[test]
fn order_is_pair_by_pair_then_length() {
    let set = |p: &[(&str, &str)]| Labels::from_pairs(p.iter().map(|&(n, v)| (n, v)));
    let mut sets = [set(&[("a", "2")]), set(&[("a", "1"), ("b", "1")]), set(&[("a", "1")]), set(&[])];
    sets.sort();
    let text: Vec<_> = sets.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["{}", r#"{a="1"}"#, r#"{a="1", b="1"}"#, r#"{a="2"}"#]);
}

#[test]
fn the_hash_is_the_same_for_ever_and_separates_fields() {
    assert_eq!(Labels::default().stable_hash(), 0xcbf2_9ce4_8422_2325);
    let (ab, a_b) = (Labels::from_pairs([("ab", "c")]), Labels::from_pairs([("a", "bc")]));
    assert_ne!(ab.stable_hash(), a_b.stable_hash());
}

#[test]
fn from_sorted_refuses_disorder() {
    let label = |n: &str, v: &str| Label { name: n.into(), value: v.into() };
    assert!(Labels::from_sorted(vec![label("a", "1"), label("b", "2")]).is_some());
    assert!(Labels::from_sorted(vec![label("b", "1"), label("a", "2")]).is_none());
    assert!(Labels::from_sorted(vec![label("a", "1"), label("a", "2")]).is_none());
    assert!(Labels::from_sorted(vec![label("a", "")]).is_none());
}
