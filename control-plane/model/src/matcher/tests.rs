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

#[test]
fn patterns_mean_what_re2_makes_of_them() {
    for (pattern, good, bad) in [
        // A brace that counts nothing is itself, and so is one that closes nothing.
        ("a{b}", "a{b}", "ab"),
        ("a{,2}", "a{,2}", "aa"),
        ("a{01}", "a{01}", "a"),
        ("a{2}", "aa", "a{2}"),
        (".{2,}?", "abc", "a"),
        ("a]", "a]", "a"),
        // Classes of ASCII.
        (r"\d+", "123", "١٢٣"),
        (r"\w+", "a_1", "é"),
        (r"[\w-]+", "a-b", "é"),
        (r"\W", "é", "e"),
        (r"a\sb", "a b", "a\u{a0}b"),
        (r"[^\S]", " ", "a"),
        (r"é\bb", "éb", "e"),
        (r".*a\B.", "xab", "xa."),
        // No sets within sets, no operations on them.
        ("[a&&b]+", "a&b", "c"),
        ("[+--c]+", "+,-c", "b"),
        ("[a~~b]+", "~a", "c"),
        ("[a[b]c]", "[c]", "b"),
        ("[a[]", "[", "]"),
        ("[]a]", "]", "b"),
        ("[^]a]", "b", "]"),
        ("[[:^alpha:]x]", "x", "a"),
        ("[a-]", "-", "b"),
        (r"[\]\x41-C\101]+", "]ABC", "D"),
        (r"[\d-z]+", "1-z", "a"),
        (r"\p{^Greek}", "a", "α"),
        (r"\P{^Greek}", "α", "a"),
        (r"\pL[\PL]", "a1", "ab"),
        // Escapes.
        (r"\<a\>", "<a>", "a"),
        (r"\Qa.b\E+", "a.bb", "axb"),
        (r"\Q(*", "(*", ""),
        (r"\101\x42\x{43}\_\-", "ABC_-", "abc_-"),
        (r"\0", "\0", "0"),
        (r"(?i)a(?-i:b)(?P<n>c)(?<m>d)", "AbCD", "ABCD"),
    ] {
        check(MatchOp::Re, pattern, good, true);
        check(MatchOp::Re, pattern, bad, false);
    }
}

#[test]
fn what_re2_does_not_know_is_refused() {
    for (pattern, why) in [
        ("x)|(?s:.*", "unexpected )"),
        ("a**", "invalid nested repetition operator"),
        ("a+{2}", "invalid nested repetition operator"),
        ("a{1001}", "invalid repeat count {1001}"),
        ("a{3,2}", "invalid repeat count {3,2}"),
        ("(?x)a b", "invalid or unsupported syntax"),
        ("(?=a)", "invalid or unsupported syntax"),
        (r"\u0041", r"invalid escape sequence"),
        (r"(a)\1", r"invalid escape sequence"),
        (r"[\b]", r"invalid escape sequence"),
        (r"[a-\d]", r"invalid escape sequence"),
        (r"\x{110000}", r"invalid escape sequence"),
        (r"\x{+1}", r"invalid escape sequence"),
        (r"a\", "incomplete escape sequence"),
        ("[b-a]", "invalid character class range"),
        ("[a--c]", "invalid character class range"),
        ("[[:nope:]]", "invalid character class range"),
        ("[a", "unclosed character class"),
        ("*", "repetition operator missing expression"),
    ] {
        let e = Matcher::new("l", MatchOp::Re, pattern).expect_err(pattern);
        assert!(e.reason.contains(why), "{pattern}: {e}");
    }
}

#[test]
fn a_regex_of_go_matches_anywhere_and_no_newline_by_a_dot() {
    let found = |pattern: &str, text: &str| regex(pattern).expect("compiles").is_match(text);
    assert!(found("b.d", "abcde") && !found("b.d", "b\nd") && found(r"^\d+$", "12") && !found(r"\d", "٣"));
    let e = regex("a)|(b").expect_err("refused");
    assert_eq!(e.to_string(), r#"bad regular expression "a)|(b": unexpected )"#);
}
