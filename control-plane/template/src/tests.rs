use super::*;

struct TestHost;

impl Host for TestHost {
    fn now_ms(&self) -> i64 {
        1_353_755_652_000
    }

    fn query(&self, expr: &str) -> Result<Vec<Sample>, CallError> {
        let sample = |instance: &str, v| Sample {
            labels: vec![("instance".into(), instance.into())],
            value: Value::Float(v),
        };
        match expr {
            "up" => Ok(vec![sample("b", 1.0), sample("a", 0.0)]),
            "none" => Ok(Vec::new()),
            _ => Err(CallError::new("no such series")),
        }
    }

    fn external_url(&self) -> &str {
        "http://vigie.test/prefix"
    }
}

fn run(text: &str, data: &Value) -> Result<String, String> {
    let template = Template::parse("t", text, &FuncSet::prometheus()).map_err(|e| e.to_string())?;
    template.execute(data, &TestHost).map_err(|e| e.to_string())
}

fn data() -> Value {
    Value::from_json(&serde_json::json!({
        "name": "Ada", "n": 3, "x": 1.5, "empty": "", "list": ["a", "b", "c"],
        "map": {"k1": "v1", "k2": "v2"}, "deep": {"a": {"b": "c"}},
    }))
}

#[test]
fn the_language_is_gos() {
    let check = |text: &str, expect: &str| assert_eq!(run(text, &data()).as_deref(), Ok(expect), "{text}");
    check("a {{- \" b \" -}} c", "a b c");
    check("x{{/* a comment */}}y", "xy");
    check("x {{- /* trims */ -}} y", "xy");
    check("{{ if .name }}yes{{ else }}no{{ end }}", "yes");
    check("{{ if .empty }}1{{ else if eq .n 4 }}2{{ else if eq .n 3 }}3{{ else }}4{{ end }}", "3");
    check("{{ with .deep.a }}{{ .b }}{{ end }}", "c");
    check("{{ with .empty }}1{{ else with .name }}{{ . }}{{ end }}", "Ada");
    check("{{ range .list }}{{ . }},{{ end }}", "a,b,c,");
    check("{{ range $i, $x := .list }}{{ $i }}{{ $x }} {{ end }}", "0a 1b 2c ");
    check("{{ range $k, $v := .map }}{{ $k }}={{ $v }};{{ end }}", "k1=v1;k2=v2;");
    check("{{ range 3 }}{{ . }}{{ end }}", "012");
    check("{{ range .none }}x{{ else }}nothing{{ end }}", "nothing");
    check("{{ range .list }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "ac");
    check("{{ range .list }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "a");
    check("{{ $x := 1 }}{{ range .list }}{{ $x = . }}{{ end }}{{ $x }}", "c");
    check("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21");
    check("{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" .name }}", "<Ada>");
    check("{{ block \"b\" .name }}[{{ . }}]{{ end }}", "[Ada]");
    check("{{ range .list }}{{ $.name }}{{ end }}", "AdaAdaAda");
    check("{{ .name | printf \"%s-%s\" \"x\" }}", "x-Ada");
    check("{{ (index .list 1) | toUpper }}", "B");
    check("{{ index .map \"k2\" }}{{ len .list }}{{ slice .name 1 }}", "v23da");
    check("{{ and 1 0 }}{{ and 1 2 }}{{ or 0 \"\" 7 }}{{ not 0 }}", "027true");
    check("{{ or true (index .list 99) }}", "true");
    check(
        "{{ eq .n 1 2 3 }} {{ ne .n 3 }} {{ lt 1 2 }} {{ ge 1.5 1.5 }} {{ gt \"b\" \"a\" }}",
        "true false true true true",
    );
    check("{{ html \"<a>\" }}{{ js \"it's\" }}{{ urlquery \"a b&c\" }}", "&lt;a&gt;it\\'sa+b%26c");
    check("{{ print 1 2 \"x\" }}|{{ println 1 \"x\" }}", "1 2x|1 x\n");
    check(
        "{{ .list }} {{ .map }} {{ .x }} {{ true }} {{ 'a' }} {{ 1e3 }}",
        "[a b c] map[k1:v1 k2:v2] 1.5 true 97 1000",
    );
    check("{{ .missing }}", "<no value>");
    check("{{ urlQueryEscape \"a b{c=\\\"d\\\"}\" }}", "a+b%7Bc%3D%22d%22%7D");
    check(
        "{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }}{{ .Value }} {{ end }}",
        "a0 b1 ",
    );
    check("{{ \"{{\" }}", "{{");
    check("{{`raw\\n`}}", "raw\\n");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let check = |text: &str, line: usize, column: usize, part: &str| {
        let error = Template::parse("t", text, &FuncSet::prometheus()).expect_err(text);
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    };
    check("ok\n  {{ .x", 2, 3, "unclosed action");
    check("{{ foo 1 }}", 1, 4, "function \"foo\" not defined");
    check("\u{e9}{{ $x }}", 1, 5, "undefined variable \"$x\"");
    check("{{ if .x }}", 1, 1, "not closed");
    check("a{{ end }}", 1, 2, "unexpected {{end}}");
    check("{{ if }}x{{ end }}", 1, 7, "missing value for if");
    check("{{ \"abc }}", 1, 4, "unterminated");
    check("{{ (1 }}", 1, 4, "not closed");
    check("{{ 1) }}", 1, 5, "right parenthesis");
    check("{{ 1 | 2 }}", 1, 8, "only a function");
    check("{{ break }}", 1, 1, "outside");
    check("{{ .x | }}", 1, 7, "missing command");
    check("{{ 12x }}", 1, 4, "bad number");
    check("{{/* x }}", 1, 1, "comment");
    check("{{ \u{a0} }}", 1, 4, "U+00A0");
    check("{{ template x }}", 1, 13, "quoted name");
    check("{{ .a$b }}", 1, 6, "right after a word");
    check(&format!("{{{{ {}1{} }}}}", "(".repeat(500), ")".repeat(500)), 1, 64, "nested deeper");
    check(&"{{ if 1 }}".repeat(500), 1, 601, "nested deeper");
}

#[test]
fn what_fails_while_running_is_said_with_its_place() {
    let check = |text: &str, column: usize, part: &str| {
        let template = Template::parse("t", text, &FuncSet::prometheus()).expect(text);
        let error = template.execute(&data(), &TestHost).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    };
    check("{{ humanize \"one\" }}", 4, "not a number");
    check("{{ .name.first }}", 4, "can't evaluate field first in type string");
    check("{{ query \"none\" | first }}", 19, "no elements");
    check("{{ query \"bad\" }}", 4, "no such series");
    check("{{ eq 1 1.0 }}", 4, "incompatible types");
    check("{{ template \"x\" }}", 1, "not defined");
    check("{{ index .list 3 }}", 4, "out of range");
    check("{{ .name 1 }}", 4, "not a method");
    check("{{ humanize 1 2 }}", 4, "wrong number of args");
    check("{{ range 1.5 }}{{ end }}", 10, "range can't iterate");
}

#[test]
fn no_template_runs_away() {
    let check = |text: &str, part: &str| {
        let funcs = FuncSet::alertmanager();
        let template = Template::parse("t", text, &funcs).expect(text);
        let error = template.execute(&data(), &TestHost).expect_err(text);
        assert!(error.message.contains(part), "{text}: {error}");
    };
    check("{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}", "depth");
    check("{{ range 1000000000 }}{{ end }}", "steps");
    check("{{ range 1000000 }}0123456789{{ end }}", "larger");
    check("{{ $x := \"ab\" }}{{ range 100 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}", "too long");
    check("{{ $x := list }}{{ range 1000 }}{{ $x = list $x $x }}{{ end }}", "nests too deep");
    check("{{ $x := list 1 }}{{ range 20 }}{{ $x = list $x $x $x $x }}{{ end }}{{ $x }}", "larger");
    check("{{ $x := printf \"%100000d\" 1 }}{{ reReplaceAll \" \" $x $x }}", "too long");
    check("{{ printf \"%9999999d\" 1 }}", "too long");
    check("{{ range 100000 }}{{ $x := list . . . . . . . . }}{{ end }}", "steps");
}

#[test]
fn the_deepest_recursion_fits_a_small_stack() {
    let body = "{{ if 1 }}{{ with 1 }}{{ range 1 }}{{ (print (print (tmpl \"x\" (print 1)))) }}{{ end }}{{ end }}{{ end }}";
    let text = format!("{{{{ define \"x\" }}}}{body}{{{{ end }}}}{{{{ template \"x\" }}}}");
    // Test threads have 2 MiB, like tokio's.
    let error = run(&text, &Value::Nil).expect_err("endless");
    assert!(error.contains("depth"), "{error}");
}

#[test]
fn an_alerts_texts_know_its_labels_and_value() {
    let labels = [("instance".to_owned(), "db:3001".to_owned())];
    let about = AlertText {
        labels: &labels,
        external_labels: &[],
        external_url: "http://vigie.test/prefix",
        value: &Value::Float(0.25),
    };
    let check = |text: &str, expect: &str| {
        let template = parse_alert("summary", text).expect(text);
        assert_eq!(expand_alert(&template, about, &TestHost).expect(text), expect);
    };
    check("{{ $labels.instance }} at {{ $value | humanizePercentage }}", "db:3001 at 25%");
    check("{{ .Labels.instance }} {{ .Value }} [{{ $labels.gone }}]", "db:3001 0.25 []");
    check("{{ $externalURL }}{{ pathPrefix }}", "http://vigie.test/prefix/prefix");
    check(
        "{{ with printf \"up{instance='%s'}\" $labels.instance }}{{ . }}{{ end }}",
        "up{instance='db:3001'}",
    );
    let error = parse_alert("summary", "{{ $label.x }}").expect_err("a misspelt variable");
    assert_eq!((error.line, error.column), (1, 4));
}

#[test]
fn a_library_lends_its_definitions() {
    let mut library = Library::new(FuncSet::alertmanager());
    library.add("a.tmpl", "{{ define \"greet\" }}Hello {{ . }}{{ end }}").expect("valid");
    let template = library.parse("subject", "{{ template \"greet\" \"<you>\" }}!").expect("valid");
    assert_eq!(template.execute(&Value::Nil, &TestHost).as_deref(), Ok("Hello <you>!"));
    let html = template.with_mode(Mode::Html);
    assert_eq!(html.execute(&Value::Nil, &TestHost).as_deref(), Ok("Hello &lt;you&gt;!"));
}

#[test]
fn durations_and_layouts_print_as_go_prints_them() {
    let check =
        |text: &str, expect: &str| assert_eq!(run(text, &Value::Nil).as_deref(), Ok(expect), "{text}");
    check("{{ toDuration 0.0015 }}", "1.5ms");
    check("{{ toDuration 90 }} {{ toDuration -3661.5 }}", "1m30s -1h1m1.5s");
    check(
        "{{ (toTime 0).Format \"Mon Jan _2 3:04PM 2006 -0700 MST\" }}",
        "Thu Jan  1 12:00AM 1970 +0000 UTC",
    );
    check("{{ (toTime 1.25).Format \"2006-01-02T15:04:05.000Z07:00\" }}", "1970-01-01T00:00:01.250Z");
    check("{{ ((toTime 100).Sub (toTime 40)).Seconds }}", "60");
}
