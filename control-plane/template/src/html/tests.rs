use super::*;

#[test]
fn a_value_is_escaped_for_where_it_lands() {
    let check = |before: &str, value: Value, expect: &str| {
        let mut escaper = Escaper::default();
        escaper.text(before);
        let mut out = Out::new(1000);
        escaper.value(&value, &mut out).expect("small");
        assert_eq!(out.into_string(), expect, "{before}");
    };
    check("<p>", Value::str("<b>&+"), "&lt;b&gt;&amp;&#43;");
    check("<p>", Value::Safe(Safe::Html, "<b>".into()), "<b>");
    check("<p title=\"", Value::Safe(Safe::Html, "<b>x</b>".into()), "x");
    check("<p title=\"a\">", Value::str("<"), "&lt;");
    check("<p title=", Value::str("a b"), "a&#32;b");
    check("<a href=\"", Value::str("javascript:alert(1)"), "#ZgotmplZ");
    check("<a href=\"", Value::str("https://x/?a=b c"), "https://x/?a=b%20c");
    check("<a href=\"/s?", Value::str("q=a&b"), "q%3da%26b");
    check("<a href='x' onclick=\"f(", Value::str("\"</script>"), "&#34;\\&#34;\\u003c/script\\u003e&#34;");
    check("<script>var x = ", Value::str("</script>"), "\"\\u003c/script\\u003e\"");
    check("<script>x</script><p>", Value::str("<"), "&lt;");
    check("<style>p {color: ", Value::str("red; x: url(y)"), "ZgotmplZ");
    check("<p style=\"color: ", Value::str("#ff0000"), "#ff0000");
    check("<!-- ", Value::str("secret"), "");
    check("<!-- x --><p>", Value::str("seen"), "seen");
    check("1 < 2 ", Value::str("<"), "&lt;");
}
