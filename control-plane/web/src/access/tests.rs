//! Open on loopback, closed elsewhere, and never by mistake.

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> http::HeaderMap {
    pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().expect("value"))).collect()
}

fn uri() -> http::Uri {
    http::Uri::from_static("/x")
}

const TOKENS: &str = "tokens:\n  - {name: ann, role: viewer, token: ann-token-0123456789}\n  - {name: bob, role: admin, token: bob-token-0123456789}\n";

fn guarded() -> Access {
    let tokens = TokensFile::parse("t", TOKENS).expect("tokens");
    Access::new(
        "0.0.0.0:3005".parse().expect("address"),
        Some(tokens),
        Some(Secret::new("service-token")),
        false,
    )
    .expect("access")
}

#[test]
fn beyond_loopback_without_tokens_it_refuses_to_listen_unless_told() {
    let address: SocketAddr = "0.0.0.0:3005".parse().expect("address");
    let refused = Access::new(address, None, None, false).expect_err("refused").to_string();
    assert!(refused.contains("VIGIE_TOKENS_FILE is not set"), "{refused}");
    assert!(Access::new(address, None, None, true).is_ok());
    assert!(
        Access::new("[::1]:3005".parse().expect("address"), None, None, false).expect("loopback").is_open()
    );
}

#[test]
fn roles_are_enforced() {
    let access = guarded();
    let ask = |need, token: &str| {
        access.check(need, &uri(), &headers(&[("authorization", token)]), 0).map_err(|e| e.status.as_u16())
    };
    let viewer = Need::Role(Role::Viewer);
    let operator = Need::Role(Role::Operator);
    assert_eq!(access.check(Need::Role(Role::Open), &uri(), &headers(&[]), 0).expect("open").name, "anyone");
    assert_eq!(access.check(viewer, &uri(), &headers(&[]), 0).map_err(|e| e.status.as_u16()), Err(401));
    assert_eq!(ask(viewer, "Bearer ann-token-0123456789").expect("in").name, "ann");
    assert_eq!(ask(operator, "Bearer ann-token-0123456789"), Err(403));
    assert_eq!(ask(operator, "Bearer bob-token-0123456789").expect("in").name, "bob");
    assert_eq!(ask(viewer, "Bearer nobody"), Err(401));
    assert_eq!(ask(Need::Service, "Bearer service-token").expect("in").role, Role::Open);
    assert_eq!(ask(viewer, "Bearer service-token"), Err(401), "a service is no person");
    assert_eq!(ask(Need::Service, "Bearer ann-token-0123456789"), Err(403));
}

#[test]
fn a_session_carries_the_role_of_its_token_and_ends() {
    let access = guarded();
    assert_eq!(access.log_in("wrong", 0), None);
    let (id, who) = access.log_in("ann-token-0123456789", 0).expect("in");
    assert_eq!((who.name.as_str(), who.role), ("ann", Role::Viewer));
    let cookie = headers(&[("cookie", &format!("a=b; {SESSION_COOKIE}={id}"))]);
    assert_eq!(access.check(Need::Role(Role::Viewer), &uri(), &cookie, 1).expect("in").name, "ann");
    assert!(access.check(Need::Role(Role::Viewer), &uri(), &cookie, SESSION_SECONDS * 1000 + 1).is_err());
    assert_eq!(access.log_out(&cookie), Some(who));
    assert_eq!(access.log_out(&cookie), None);
    assert!(access.check(Need::Role(Role::Viewer), &uri(), &cookie, 1).is_err());
}

#[test]
fn open_access_answers_to_local_names_only() {
    let access = Access::new("127.0.0.1:3005".parse().expect("address"), None, None, false).expect("access");
    for (host, fine) in [
        ("127.0.0.1:3005", true),
        ("localhost:3005", true),
        ("[::1]:3005", true),
        ("LocalHost", true),
        ("evil.example:3005", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("[::1].evil.example", false),
        ("", false),
    ] {
        let outcome = access.check(Need::Role(Role::Viewer), &uri(), &headers(&[("host", host)]), 0);
        assert_eq!(outcome.is_ok(), fine, "{host}");
    }
    // As HTTP/2 has it.
    for (address, fine) in [("http://localhost:3005/x", true), ("http://evil.example/x", false)] {
        let uri = http::Uri::from_static(address);
        let outcome = access.check(Need::Role(Role::Viewer), &uri, &headers(&[]), 0);
        assert_eq!(outcome.map_err(|e| e.status.as_u16()).err(), (!fine).then_some(421), "{address}");
    }
}

#[test]
fn what_was_opened_to_everybody_answers_to_every_name() {
    let access = Access::new("0.0.0.0:3005".parse().expect("address"), None, None, true).expect("access");
    let outcome =
        access.check(Need::Role(Role::Operator), &uri(), &headers(&[("host", "vigie.internal:3005")]), 0);
    assert_eq!(outcome.expect("in").role, Role::Admin);
}

#[test]
fn a_bad_tokens_file_says_so_without_showing_tokens() {
    let text = "tokens:\n  - {name: x, role: king, token: hunter2}\n";
    let problems = TokensFile::parse("t.yaml", text).expect_err("bad").to_string();
    assert!(problems.contains("\"king\" is no role") && problems.contains("16 characters"), "{problems}");
    assert!(!problems.contains("hunter2"), "{problems}");
}
