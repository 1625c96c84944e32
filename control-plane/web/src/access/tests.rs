//! Open on loopback, closed elsewhere, and never by mistake.

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> http::HeaderMap {
    pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().expect("value"))).collect()
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
        access.check(need, &headers(&[("authorization", token)]), 0).map_err(|e| e.status.as_u16())
    };
    let viewer = Need::Role(Role::Viewer);
    let operator = Need::Role(Role::Operator);
    assert_eq!(access.check(Need::Role(Role::Open), &headers(&[]), 0).expect("open").name, "anyone");
    assert_eq!(access.check(viewer, &headers(&[]), 0).map_err(|e| e.status.as_u16()), Err(401));
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
    let id = access.log_in("ann-token-0123456789", 0).expect("in");
    let cookie = headers(&[("cookie", &format!("a=b; {SESSION_COOKIE}={id}"))]);
    assert_eq!(access.check(Need::Role(Role::Viewer), &cookie, 1).expect("in").name, "ann");
    assert!(access.check(Need::Role(Role::Viewer), &cookie, SESSION_MS + 1).is_err());
    access.log_out(&cookie);
    assert!(access.check(Need::Role(Role::Viewer), &cookie, 1).is_err());
}

#[test]
fn open_access_answers_to_local_names_only() {
    let access = Access::new("127.0.0.1:3005".parse().expect("address"), None, None, false).expect("access");
    for (host, fine) in [
        ("127.0.0.1:3005", true),
        ("localhost:3005", true),
        ("[::1]:3005", true),
        ("evil.example:3005", false),
    ] {
        let outcome = access.check(Need::Role(Role::Viewer), &headers(&[("host", host)]), 0);
        assert_eq!(outcome.is_ok(), fine, "{host}");
    }
}

#[test]
fn a_bad_tokens_file_says_so_without_showing_tokens() {
    let text = "tokens:\n  - {name: x, role: king, token: hunter2}\n";
    let problems = TokensFile::parse("t.yaml", text).expect_err("bad").to_string();
    assert!(problems.contains("\"king\" is no role") && problems.contains("16 characters"), "{problems}");
    assert!(!problems.contains("hunter2"), "{problems}");
}
