//! Problems print the way people read them.

use super::*;

#[test]
fn a_problem_shows_its_place_and_what_was_meant() {
    let p = Problem {
        file: "alerts/rules/a.yaml".into(),
        line: 12,
        column: 9,
        message: "unknown field `exprr`".into(),
        help: Some("did you mean `expr`?".into()),
        source: "        exprr: up == 0".into(),
    };
    assert_eq!(
        p.to_string(),
        "alerts/rules/a.yaml:12:9: unknown field `exprr`\n   |\n12 |         exprr: up == 0\n   |         ^\n  = did you mean `expr`?"
    );
}

#[test]
fn the_nearest_word_is_offered_only_when_it_is_near() {
    assert_eq!(nearest("exprr", ["record", "expr"]), Some("expr"));
    assert_eq!(nearest("rte", ["rate", "irate"]), Some("rate"));
    assert_eq!(nearest("banana", ["rate", "expr"]), None);
}
