//! Matchers are anchored, see newlines, treat absence as empty, and stay bounded.

use super::*;

fn check(op: MatchOp, pattern: &str, value: &str, expect: bool) {
    let m = Matcher::new("l", op, pattern).expect("compiles");
    assert_eq!(m.matches(value), expect, "{m} on {value:?}");
}

#[test]
fn the_four_operators_compare_as_prometheus_does() {
    check(MatchOp::Eq, "a", "a", true);
    check(MatchOp::Ne, "a", "a", false);
    check(MatchOp::Re, "a|b", "b", true);
    check(MatchOp::Re, "a", "xa", false);
    check(MatchOp::Re, "a.c", "a\nc", true);
    check(MatchOp::Re, "", "", true);
    check(MatchOp::Nre, ".+", "", true);
}

#[test]
fn a_regex_that_would_explode_is_refused_with_a_sentence() {
    let e = Matcher::new("l", MatchOp::Re, "((((a{1,100}){1,100}){1,100}){1,100})").expect_err("too large");
    assert!(e.to_string().contains("bytes once compiled"), "{e}");
    let e = Matcher::new("l", MatchOp::Re, "(").expect_err("does not parse");
    assert_eq!(e.to_string(), r#"bad regular expression "(": unclosed group"#);
}
