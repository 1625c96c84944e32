use super::*;

fn check(text: &str, expect: &str, unknown: &[(&str, usize)]) {
    let value = |name: &str| match name {
        "HOST" => Some("example".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let mut missing = Vec::new();
    let got = expand_text(text, &value, |name, at| missing.push((name.to_owned(), at)));
    assert_eq!(got, expect);
    assert_eq!(missing.iter().map(|(n, at)| (n.as_str(), *at)).collect::<Vec<_>>(), unknown);
}

#[test]
fn names_are_replaced_and_everything_else_stays() {
    check("http://${HOST}:80/", "http://example:80/", &[]);
    check("${HOST}${HOST}", "exampleexample", &[]);
    check("${GONE:-a:b}-${EMPTY:-c}", "a:b-c", &[]);
    check("[${EMPTY}]", "[]", &[]);
    check("${1}_${group} $HOST ${ ${HOST", "${1}_${group} $HOST ${ ${HOST", &[]);
}

#[test]
fn an_unset_name_is_told_with_its_place() {
    check("é${HOST}/${GONE}/${AWAY}", "éexample//", &[("GONE", 9), ("AWAY", 17)]);
}

#[test]
fn the_problem_points_at_the_name() {
    let mut doc = Document::parse("p.yaml", "a:\n  - b: x${GONE}\n").unwrap();
    let mut problems = Problems::default();
    expand(&mut doc, &|_| None, &mut problems);
    assert!(problems.to_string().starts_with("p.yaml:2:9: GONE is not set"), "{problems}");
}
