//! Settings are found under the right name, secrets stay hidden.

use super::*;

#[test]
fn a_prefix_beats_the_common_name_and_a_port_is_never_common() {
    let s =
        Settings::from_pairs([("PORT", "1"), ("AUTH_PORT", "2"), ("LOG_LEVEL", "debug"), ("REDIS_HOST", "")]);
    let (auth, db) = (s.scoped("auth", &["PORT"]), s.scoped("db", &["PORT"]));
    assert_eq!((auth.get("PORT"), db.get("PORT"), db.get("LOG_LEVEL")), (Some("2"), None, Some("debug")));
    assert_eq!(s.get("REDIS_HOST"), None);
}

#[test]
fn a_secret_comes_from_a_file_and_shows_nowhere() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("token");
    std::fs::write(&file, "hunter2\n").expect("write");
    let s = Settings::from_pairs([("TOKEN_FILE", file.to_string_lossy())]);
    let mut problems = Problems::default();
    let secret = s.secret("TOKEN", &mut problems).expect("secret");
    assert!(secret.matches("hunter2") && !secret.matches("hunter"));
    assert!(!format!("{secret:?} {s:?}").contains("hunter"));
    let s = Settings::from_pairs([("TOKEN_FILE", "/no/such/file")]);
    assert!(s.secret("TOKEN", &mut problems).is_none());
    assert!(
        problems.to_string().starts_with("environment: TOKEN_FILE: cannot read /no/such/file"),
        "{problems}"
    );
}

#[test]
fn service_addresses_lose_their_api_prefix() {
    for (given, expect) in [
        ("http://auth:3002", "http://auth:3002"),
        ("http://auth:3002/", "http://auth:3002"),
        ("http://auth:3002/api/v1", "http://auth:3002"),
        ("https://x.org/pen/api/v1/", "https://x.org/pen"),
    ] {
        assert_eq!(base_url(given).as_deref(), Ok(expect));
    }
    assert!(base_url("auth:3002").is_err());
    assert!(base_url("ftp://x").is_err());
    assert_eq!(host_port("http://auth").as_deref(), Some("auth:80"));
    assert_eq!(host_port("http://127.0.0.1:3002").as_deref(), Some("127.0.0.1:3002"));
}

#[test]
fn what_does_not_read_is_a_problem_with_its_meaning() {
    let s = Settings::from_pairs([("PORT", "http")]);
    let mut problems = Problems::default();
    assert_eq!(s.parsed("PORT", 3000u16, &mut problems), 3000);
    assert_eq!(
        problems.to_string(),
        "environment: PORT: \"http\" is not valid here\n  = PORT is the port to listen on"
    );
}
