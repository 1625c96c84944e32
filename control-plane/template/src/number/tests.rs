use super::*;

#[test]
fn floats_print_as_go_prints_them() {
    let check = |v: f64, precision: Option<usize>, expect: &str| {
        assert_eq!(format_g(v, precision), expect, "{v} with {precision:?}");
    };
    check(1_353_755_652.0, None, "1.353755652e+09");
    check(100_000.0, None, "100000");
    check(1_000_000.0, None, "1e+06");
    check(0.0001, None, "0.0001");
    check(0.00001, None, "1e-05");
    check(-0.0, None, "-0");
    check(f64::INFINITY, None, "+Inf");
    check(1000.0, Some(4), "1000");
    check(12345.0, Some(4), "1.234e+04");
    check(1.2345, Some(4), "1.234");
    check(0.0, Some(4), "0");
    assert_eq!(format_e(1234.5, Some(2)), "1.23e+03");
    assert_eq!(format_f(2.0, Some(2)), "2.00");
}

#[test]
fn number_literals_are_gos() {
    let check = |text: &str, expect: Option<Value>| assert_eq!(literal(text), expect, "{text}");
    check("12", Some(Value::Int(12)));
    check("-0x1F", Some(Value::Int(-31)));
    check("1_000", Some(Value::Int(1000)));
    check("017", Some(Value::Int(15)));
    check("1.5e3", Some(Value::Float(1500.0)));
    check(".5", Some(Value::Float(0.5)));
    check("9223372036854775808", None);
    check("1x", None);
    check("", None);
    check("nan", None);
}

#[test]
fn escapes_are_gos() {
    assert_eq!(unquote(r#"a\n\"\x41\u00e9\101"#).as_deref(), Some("a\n\"A\u{e9}A"));
    assert_eq!(unquote(r"\q"), None);
    assert_eq!(unquote(r"\u12"), None);
}
