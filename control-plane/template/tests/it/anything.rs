//! Whatever the text, a template parses or says why not, and runs within its bounds: no panic, no hang.

use proptest::prelude::*;
use template::{FuncSet, Host, Limits, Mode, Template, Value};

struct Nothing;

impl Host for Nothing {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000
    }
}

/// Pieces of templates, so that random sequences often parse.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "{{",
        "}}",
        "{{- ",
        " -}}",
        " ",
        "if ",
        "else",
        "end",
        "range ",
        "with ",
        "define \"x\"",
        "template \"x\" .",
        "{{ . }}",
        "{{ end }}",
        "{{ else }}",
        "{{ if . }}",
        "{{ range . }}",
        "{{ range 3 }}",
        "{{ with .a }}",
        "{{ $x := 1 }}",
        "{{ $x = . }}",
        "{{ $x }}",
        "{{ .a.b }}",
        "{{ break }}",
        "{{ continue }}",
        "|",
        "(",
        ")",
        "{{ printf \"%5.3[2]*d %v\" . . }}",
        "{{ index . 0 }}",
        "{{ slice . 1 2 }}",
        "{{ len . }}",
        "{{ humanize . }}",
        "{{ humanizeDuration . }}",
        "{{ humanizeTimestamp . }}",
        "{{ (toTime .).Format \"Jan _2 15:04:05.000 MST\" }}",
        "{{ toDuration . }}",
        "{{ reReplaceAll \"(.)\" \"$1$1\" . }}",
        "{{ eq . 1 }}",
        "{{ print . . }}",
        "{{ html . }}",
        "{{ js . }}",
        "{{ title . }}",
        "{{ stripDomain . }}",
        "{{ parseDuration . }}",
        "{{ args . . }}",
        "{{ tmpl \"x\" . }}",
        "{{/* c */}}",
        "\"a\\n\"",
        "`raw`",
        "'c'",
        "1.5e3",
        "0x1F",
        "-1",
        "nil",
        "true",
        "<a href=\"",
        "\">",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "\u{e9}\u{4e2d}",
        "\u{0}",
        "$",
        ".",
        ",",
        ":=",
        "=",
    ];
    prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(str::to_owned),
        1 => ".{0,6}",
    ]
}

fn data() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        ".{0,12}".prop_map(Value::from),
        Just(Value::list([Value::Int(1), Value::str("x"), Value::Nil])),
        Just(Value::from_json(&serde_json::json!({"a": {"b": [1, 2.5, "<x>"]}}))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_text_parses_or_is_refused_and_runs_within_its_bounds(
        pieces in proptest::collection::vec(piece(), 0..24), data in data(), html in any::<bool>(),
    ) {
        let text = pieces.concat();
        let limits = Limits { output_bytes: 4096, steps: 20_000, ..Limits::default() };
        for funcs in [FuncSet::prometheus(), FuncSet::alertmanager()] {
            match Template::parse("t", &text, &funcs) {
                Ok(template) => {
                    let mode = if html { Mode::Html } else { Mode::Text };
                    let template = template.with_limits(limits).with_mode(mode);
                    if let Ok(output) = template.execute(&data, &Nothing) {
                        prop_assert!(output.len() <= limits.output_bytes);
                    }
                }
                Err(e) => {
                    let line = text.split('\n').nth(e.line - 1);
                    prop_assert!(line.is_some_and(|l| e.column <= l.chars().count() + 1), "{}: {}", e, text);
                }
            }
        }
    }
}
