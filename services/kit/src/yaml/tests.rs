//! Files are read with their places, and every problem is found.

use super::*;

fn read(text: &str) -> String {
    let doc = match Document::parse("f.yaml", text) {
        Ok(doc) => doc,
        Err(problems) => return problems.to_string(),
    };
    let mut problems = Problems::default();
    let mut out = String::new();
    if let Some(mut root) = doc.reader(&mut problems) {
        for item in root.list("probes") {
            if let Some(mut r) = root.item(item) {
                let name = r.required_text("name").unwrap_or("?");
                let count = r.u64("count").unwrap_or(0);
                let on = r.bool("on").unwrap_or(false);
                out.push_str(&format!("{name} {count} {on}\n"));
                r.finish();
            }
        }
        root.finish();
    }
    if problems.is_empty() { out } else { problems.to_string() }
}

#[test]
fn a_good_file_reads() {
    assert_eq!(
        read("probes:\n  - {name: a, count: 3, on: true}\n  - name: \"5\"\n"),
        "a 3 true\n5 0 false\n"
    );
    assert_eq!(read(""), "");
}

#[test]
fn every_problem_is_reported_with_its_place() {
    let text = "probes:\n  - nam: a\n    count: many\n  - name: b\n    on: maybe\nprobs: 1\n";
    let expect = "\
f.yaml:2:5: missing field `name`
  |
2 |   - nam: a
  |     ^
f.yaml:3:12: `count`: \"many\" is not a whole number
  |
3 |     count: many
  |            ^
f.yaml:2:5: unknown field `nam`
  |
2 |   - nam: a
  |     ^
  = did you mean `name`?
f.yaml:5:9: `on`: \"maybe\" is neither true nor false
  |
5 |     on: maybe
  |         ^
f.yaml:6:1: unknown field `probs`
  |
6 | probs: 1
  | ^
  = did you mean `probes`?";
    assert_eq!(read(text), expect);
}

#[test]
fn a_syntax_error_has_its_place() {
    let message = read("probes:\n  - {name: a\n  - b\n");
    assert!(message.starts_with("f.yaml:3:") || message.starts_with("f.yaml:2:"), "{message}");
}

#[test]
fn scalars_keep_the_text_as_it_was_written() {
    let doc = Document::parse("f", "a: 1.0\nb: 0x10\nc: yes\nd: 30s\ne: '007'\nf: 1e3\n").expect("parses");
    let texts: Vec<_> =
        ["a", "b", "c", "d", "e", "f"].iter().map(|k| doc.root.get(k).and_then(Node::text)).collect();
    assert_eq!(texts, [Some("1.0"), Some("0x10"), Some("yes"), Some("30s"), Some("007"), Some("1e3")]);
}

#[test]
fn a_place_inside_a_value_is_found_in_each_style() {
    for (text, expect) in [
        ("expr: up == zero\n", (1, 13)),
        ("expr: 'up == zero'\n", (1, 14)),
        ("expr: |\n  sum(\n    up == zero\n  )\n", (3, 11)),
    ] {
        let doc = Document::parse("f", text).expect("parses");
        let node = doc.root.get("expr").expect("expr");
        let offset = node.text().expect("text").find("zero").expect("zero");
        let p = doc.problem_within(node, offset, "x");
        assert_eq!((p.line, p.column), expect, "{text}");
    }
}

#[test]
fn a_second_document_is_seen() {
    assert_eq!(Document::parse_documents("f", "a: 1\n---\nb: 2\n").expect("parses").len(), 2);
}
