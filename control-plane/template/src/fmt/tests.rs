use super::*;

fn printf(format: &str, args: &[Value]) -> String {
    let mut out = Out::new(10_000);
    sprintf(&mut out, format, args).expect("small");
    out.into_string()
}

#[test]
fn printf_speaks_gos_verbs() {
    let check =
        |format: &str, arg: Value, expect: &str| assert_eq!(printf(format, &[arg]), expect, "{format}");
    check("%d", Value::Int(5), "5");
    check("%05d|", Value::Int(-42), "-0042|");
    check("%-5d|", Value::Int(42), "42   |");
    check("%+d", Value::Int(42), "+42");
    check("%x", Value::Int(255), "ff");
    check("%#X", Value::Int(255), "0XFF");
    check("%c", Value::Int(0x263a), "\u{263a}");
    check("%.2f", Value::Float(1.005), "1.00");
    check("%8.3f|", Value::Float(-1.5), "  -1.500|");
    check("%08.3f|", Value::Float(-1.5), "-001.500|");
    check("%g", Value::Float(1e21), "1e+21");
    check("%.3g", Value::Float(1234.0), "1.23e+03");
    check("%e", Value::Float(0.00012), "1.200000e-04");
    check("%f", Value::Float(f64::NEG_INFINITY), "-Inf");
    check("%s", Value::str("hi"), "hi");
    check("%10s|", Value::str("hi"), "        hi|");
    check("%.1s", Value::str("h\u{e9}"), "h");
    check("%q", Value::str("a\"b\n"), r#""a\"b\n""#);
    check("%x", Value::str("hi"), "6869");
    check("%t", Value::Bool(true), "true");
    check("%v", Value::list([Value::Int(1), Value::str("a")]), "[1 a]");
    check("%T", Value::Float(1.0), "float64");
    check("%d", Value::str("x"), "%!d(string=x)");
    check("%.2f", Value::Int(1), "%!f(int=1)");
    check("100%", Value::Int(1), "100%!(NOVERB)%!(EXTRA int=1)");
    check("%d%d", Value::Int(1), "1%!d(MISSING)");
    check("%%", Value::Int(1), "%%!(EXTRA int=1)");
    assert_eq!(printf("%[2]d %[1]d", &[Value::Int(1), Value::Int(2)]), "2 1");
    assert_eq!(printf("%*d", &[Value::Int(4), Value::Int(2)]), "   2");
}

#[test]
fn what_does_not_fit_is_refused_and_not_built() {
    let mut out = Out::new(100);
    assert!(sprintf(&mut out, "%999999d", &[Value::Int(1)]).is_err());
    assert!(sprintf(&mut out, "%.999999f", &[Value::Float(1.0)]).is_err());
    assert!(sprintf(&mut out, "%99999999999999999999d", &[Value::Int(1)]).is_err());
}

#[test]
fn print_separates_what_is_not_text() {
    let mut out = Out::new(100);
    sprint(&mut out, &[Value::Int(1), Value::Int(2), Value::str("a"), Value::Int(3)]).expect("small");
    assert_eq!(out.into_string(), "1 2a3");
}
