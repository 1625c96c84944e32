use super::*;
use proptest::prelude::*;

fn answer() -> Answer {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-version", "1.2.3".parse().unwrap());
    Answer {
        status: 200,
        latency: Duration::from_millis(250),
        headers,
        body: r#"{"status":"ok","checks":[{"name":"db","up":true,"ms":3}],"gone":null,"tags":["a","b"]}"#
            .to_owned(),
        certificate_left: Some(Duration::from_hours(24 * 20)),
        url: "https://example.com/in".to_owned(),
        redirects: 2,
        rcode: "NOERROR".to_owned(),
        answers: vec!["a. 60 IN A 10.0.0.1".to_owned(), "a. 60 IN A 10.0.0.2".to_owned()],
        json: OnceCell::new(),
    }
}

fn check(text: &str, expect: Result<(), &str>) {
    let got = Condition::parse(text).unwrap_or_else(|f| panic!("{text}: {f:?}")).check(&answer());
    assert_eq!(got, expect.map_err(str::to_owned), "{text}");
}

#[test]
fn conditions_hold_or_say_what_was_found() {
    for good in [
        "status == 200",
        "status == 2xx",
        "status<300",
        "status != 5xx",
        "latency < 1s",
        "latency >= 250ms",
        "body.status == \"ok\"",
        "body.status == ok",
        "body.checks[0].up == true",
        "body.checks[0].ms < 10",
        "body.gone == null",
        "body.absent != 1",
        "body.tags contains a",
        "body contains \"db\"",
        "body matches \"\\\"ms\\\":\\\\d\"",
        "header.X-Version == 1.2.3",
        "header.x-version matches ^1\\.",
        "certificate_expiry > 14d",
        "url == https://example.com/in",
        "url matches ^https:",
        "redirects <= 2",
        "rcode == NOERROR",
        "answers == 2",
        "answer contains 10.0.0.2",
        "answer matches \"A 10\\\\.0\\\\.0\\\\.[0-9]+$\"",
        "answer != \"a. 60 IN A 10.0.0.3\"",
    ] {
        check(good, Ok(()));
    }
    check("status == 204", Err("status is 200, wanted status == 204"));
    check("redirects == 0", Err("redirects is 2, wanted redirects == 0"));
    check("url contains login", Err("url is \"https://example.com/in\", wanted url contains login"));
    check("rcode == NXDOMAIN", Err("rcode is NOERROR, wanted rcode == NXDOMAIN"));
    check(
        "answer contains 10.0.0.9",
        Err("the first answer of 2 is \"a. 60 IN A 10.0.0.1\", wanted answer contains 10.0.0.9"),
    );
    check("latency < 100ms", Err("latency is 250ms, wanted latency < 100ms"));
    check("body.status == down", Err("body.status is \"\\\"ok\\\"\", wanted body.status == down"));
    check("body.absent == 1", Err("body.absent is not there, wanted body.absent == 1"));
    check("header.y == 1", Err("there is no header y, wanted header.y == 1"));
    check(
        "certificate_expiry > 30d",
        Err("the certificate is valid for 20d, wanted certificate_expiry > 30d"),
    );
}

#[test]
fn a_body_that_is_no_json_fails_its_paths() {
    let condition = Condition::parse("body.status == ok").unwrap();
    let error = condition.check(&Answer { body: "<html>".to_owned(), ..answer() }).unwrap_err();
    assert!(error.starts_with("the body is not JSON"), "{error}");
}

fn fault(text: &str, offset: usize, what: &str) {
    let got = Condition::parse(text).expect_err("it is wrong");
    assert!(got.offset == offset && got.what.contains(what), "{text}: {got:?}");
}

#[test]
fn faults_are_told_with_their_place() {
    fault("statis == 200", 0, "did you mean `status`?");
    fault("weather == 200", 0, "unknown subject");
    fault("status = 200", 7, "expected an operator");
    fault("status == ok", 10, "is not a status");
    fault("status contains 2", 7, "cannot be used with");
    fault("latency < fast", 10, "is not a duration");
    fault("body == two words", 8, "double quotes");
    fault("body matches (", 13, "regular expression");
    fault("body.a[x] == 1", 0, "[x] is not the number");
    fault("redirects == few", 13, "is not a whole number");
    fault("url < 1", 4, "cannot be used with");
    fault("status ==", 9, "expected a value");
    fault("", 0, "unknown subject");
}

proptest! {
    #[test]
    fn any_text_is_a_condition_or_a_fault(text in "(status|latency|body|header\\.|\\.|\\[|\\]|==|<|contains|matches|\"| |1|xx|é|\\(){0,9}") {
        match Condition::parse(&text) {
            Ok(c) => drop(c.check(&answer())),
            Err(f) => prop_assert!(f.offset <= text.chars().count()),
        }
    }
}
