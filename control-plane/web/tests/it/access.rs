//! Who may call what: tokens, sessions, services, other sites, other names, and the audit log.

use crate::plane::{ADMIN, Answer, OPERATOR, Running, SERVICE, Setup, VIEWER, encoded};
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::{Arc, Mutex},
};
use web::{Role, RouteInfo, access::Need};

async fn closed() -> Running {
    Setup { tokens: true, ..Setup::default() }.start().await
}

/// A request of a declared route, with something in the place of its parameters.
fn call(vigie: &Running, route: &RouteInfo) -> reqwest::RequestBuilder {
    let path = route.path.replace("{id}", "some-id").replace("{name}", "some-name");
    vigie.request(route.method.as_str(), &path)
}

/// Whether a role is enough for a route; `None` stands for the services' token.
fn enough(role: Option<Role>, need: Need) -> bool {
    match (need, role) {
        (Need::Role(Role::Open), _) => true,
        (Need::Role(wanted), Some(role)) => role >= wanted,
        (Need::Role(_), None) => false,
        (Need::Push, role) => role.is_none_or(|role| role >= Role::Operator),
        // None of them is a heartbeat's token.
        (Need::OwnToken, _) => false,
        (Need::Service, role) => role.is_none_or(|role| role == Role::Admin),
    }
}

#[tokio::test]
async fn every_route_enforces_what_it_declares() {
    let vigie = closed().await;
    assert!(vigie.routes.len() > 30, "{}", vigie.routes.len());
    let callers = [
        (VIEWER, Some(Role::Viewer)),
        (OPERATOR, Some(Role::Operator)),
        (ADMIN, Some(Role::Admin)),
        (SERVICE, None),
    ];
    for route in &vigie.routes {
        let name = format!("{} {}", route.method, route.path);
        let open = route.need == Need::Role(Role::Open);
        for nobody in [None, Some("Bearer"), Some("Bearer "), Some("Bearer wrong"), Some("Basic dmVyYTp4")] {
            let mut request = call(&vigie, route);
            if let Some(header) = nobody {
                request = request.header("authorization", header);
            }
            let answer = Answer::of(request).await;
            // A login without a token is refused as well, by the route itself.
            if !open {
                assert_eq!(
                    (answer.status, answer.json()["code"].as_str()),
                    (401, Some("unauthorized")),
                    "{name}"
                );
                assert_eq!(answer.header("www-authenticate"), "Bearer", "{name}");
            }
        }
        for (token, role) in callers {
            if route.path.ends_with("/live") {
                // Its answer has no end.
                let status = call(&vigie, route).bearer_auth(token).send().await.expect("an answer").status();
                assert_eq!(status.is_success(), enough(role, route.need), "{name} for {role:?}: {status}");
                continue;
            }
            let answer = Answer::of(call(&vigie, route).bearer_auth(token)).await;
            let refused = matches!(answer.status, 401 | 403) && route.path != "/login";
            assert_eq!(
                !refused,
                enough(role, route.need),
                "{name} for {role:?}: {} {}",
                answer.status,
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn what_is_open_is_little() {
    let vigie = closed().await;
    let open = |r: &&RouteInfo| r.need == Need::Role(Role::Open);
    let mut paths: Vec<&str> = vigie.routes.iter().filter(open).map(|r| r.path).collect();
    paths.dedup();
    let expected = ["/-/healthy", "/-/ready", "/status", "/login", "/logout"];
    assert_eq!(
        paths.iter().filter(|p| !p.starts_with("/assets/")).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    // Nothing that changes anything asks for less than an operator, but for queries by POST.
    for route in &vigie.routes {
        let changes = route.method != http::Method::GET;
        let queries = [
            "/api/v1/query",
            "/api/v1/query_range",
            "/api/v1/query_exemplars",
            "/api/v1/format_query",
            "/api/v1/parse_query",
            "/api/v1/read",
            "/api/v1/series",
            "/api/v1/labels",
            "/api/vigie/v1/explain",
        ];
        let free = queries.contains(&route.path) || matches!(route.path, "/login" | "/logout");
        let weak = matches!(route.need, Need::Role(Role::Open | Role::Viewer));
        assert!(!(changes && weak && !free), "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn reloading_takes_an_operator_and_tells_what_is_wrong() {
    let vigie = closed().await;
    let reload = |token: &'static str, method: &'static str| {
        Answer::of(vigie.request(method, "/-/reload").bearer_auth(token))
    };
    let refused = reload(VIEWER, "POST").await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("forbidden")));
    assert_eq!(refused.json()["message"], "this needs the role operator; vera is viewer");
    assert_eq!(reload(SERVICE, "POST").await.status, 401);
    for method in ["POST", "PUT"] {
        assert_eq!(reload(OPERATOR, method).await.status, 200);
    }
    assert_eq!(Answer::of(vigie.request("GET", "/-/reload").bearer_auth(ADMIN)).await.status, 405);
    *vigie.reload.lock().expect("lock") = Err("rules.yaml:3:7: no such thing".to_owned());
    let bad = reload(OPERATOR, "POST").await;
    assert_eq!((bad.status, bad.json()["message"].as_str()), (400, Some("rules.yaml:3:7: no such thing")));
}

#[tokio::test]
async fn a_browser_is_led_to_the_door_and_back() {
    let vigie = closed().await;
    let browse = |method: &str, path: &str| {
        vigie.request(method, path).header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
    };
    for (path, next) in [
        ("/", "%2F"),
        (
            "/graph?g0.expr=up%7Ba%3D%22b%22%7D&x=1",
            "%2Fgraph%3Fg0.expr%3Dup%257Ba%253D%2522b%2522%257D%26x%3D1",
        ),
        ("/runbooks/service-down", "%2Frunbooks%2Fservice-down"),
    ] {
        let answer = Answer::of(browse("GET", path)).await;
        assert_eq!((answer.status, answer.header("location")), (303, format!("/login?next={next}").as_str()));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(Answer::of(browse("HEAD", path)).await.status, 303);
        assert_eq!(vigie.get(path).await.status, 401, "no browser");
    }
    for (method, path) in
        [("GET", "/api/v1/query?query=1"), ("POST", "/-/reload"), ("GET", "/api/vigie/v1/budgets")]
    {
        assert_eq!(Answer::of(browse(method, path)).await.status, 401, "{path} is no page");
    }

    let door = Answer::of(browse("GET", "/login?next=%2Fgraph%3Fa%3D%22%3E%3Cscript%3E")).await;
    assert_eq!(door.status, 200);
    assert!(
        door.text.contains("name=\"token\" type=\"password\"") && !door.text.contains("<script>"),
        "{}",
        door.text
    );
    let log_in = |token: &str, next: &str| {
        let form = encoded(&[("token", token), ("next", next)]);
        let kind = "application/x-www-form-urlencoded";
        Answer::of(browse("POST", "/login").header("content-type", kind).body(form))
    };
    let wrong = log_in("wrong", "/graph?x=1").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, ""));
    assert!(
        wrong.text.contains("not known") && wrong.text.contains("value=\"/graph?x=1\""),
        "{}",
        wrong.text
    );
    for (next, leads) in [
        ("/graph?g0.expr=up", "/graph?g0.expr=up"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("/\t/evil.example", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let answer = log_in(VIEWER, next).await;
        assert_eq!((answer.status, answer.header("location")), (303, leads), "{next:?}");
    }
}

fn session(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().expect("a cookie").to_owned()
}

#[tokio::test]
async fn a_session_has_the_role_of_its_token_and_ends_when_told() {
    let vigie = closed().await;
    let log_in = |token: &str| {
        let kind = "application/x-www-form-urlencoded";
        let form = encoded(&[("token", token)]);
        Answer::of(vigie.request("POST", "/login").header("content-type", kind).body(form))
    };
    let with = |method: &str, path: &str, cookie: &str| {
        Answer::of(vigie.request(method, path).header("cookie", cookie.to_owned()))
    };
    let viewer = log_in(VIEWER).await;
    let cookie = viewer.header("set-cookie");
    for part in ["vigie_session=", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain HTTP: {cookie}");
    let (viewer, operator) = (session(&viewer), session(&log_in(&format!(" {OPERATOR} ")).await));
    assert_ne!(viewer, operator);
    for (cookie, page, reload) in [
        (viewer.as_str(), 200, 403),
        (&operator, 200, 200),
        ("vigie_session=", 401, 401),
        ("vigie_session=0123", 401, 401),
        ("other=1", 401, 401),
    ] {
        assert_eq!(with("GET", "/graph", cookie).await.status, page, "{cookie}");
        assert_eq!(with("POST", "/-/reload", cookie).await.status, reload, "{cookie}");
    }
    let gone = with("POST", "/logout", &operator).await;
    assert_eq!((gone.status, gone.header("location")), (303, "/login"));
    assert!(gone.header("set-cookie").contains("Max-Age=0"), "{}", gone.header("set-cookie"));
    assert_eq!(with("GET", "/graph", &operator).await.status, 401);
    assert_eq!(with("GET", "/graph", &viewer).await.status, 200, "others stay");

    let secure = Setup { tokens: true, external_url: "https://vigie.test", ..Setup::default() }.start().await;
    let kind = "application/x-www-form-urlencoded";
    let form = encoded(&[("token", VIEWER)]);
    let answer = Answer::of(secure.request("POST", "/login").header("content-type", kind).body(form)).await;
    assert!(answer.header("set-cookie").ends_with("; Secure"), "{}", answer.header("set-cookie"));
}

#[tokio::test]
async fn other_sites_change_nothing() {
    for vigie in [Setup::default().start().await, closed().await] {
        let host = vigie.base.trim_start_matches("http://").to_owned();
        let own = format!("http://{host}");
        for (headers, passes) in [
            (vec![], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "none")], true),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("origin", "https://evil.example")], false),
            (vec![("origin", "null")], false),
            (vec![("origin", own.as_str())], true),
        ] {
            for (method, path) in [
                ("POST", "/-/reload"),
                ("PUT", "/-/reload"),
                ("DELETE", "/api/vigie/v1/ai/reservations/x"),
                ("POST", "/logout"),
            ] {
                let mut request = vigie.request(method, path).bearer_auth(ADMIN);
                for (name, value) in &headers {
                    request = request.header(*name, *value);
                }
                let answer = Answer::of(request).await;
                assert_eq!(answer.status != 403, passes, "{method} {path} {headers:?}: {}", answer.text);
                if !passes {
                    assert_eq!(answer.json()["code"], "forbidden");
                }
            }
            // Reading is another matter: browsers let no other site see the answer.
            let mut request = vigie.request("GET", "/api/v1/labels").bearer_auth(ADMIN);
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let answer = Answer::of(request).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
        }
    }
}

#[tokio::test]
async fn open_access_is_for_this_machine_by_its_own_name() {
    let vigie = Setup::default().start().await;
    let named =
        |host: &str, path: &str| Answer::of(vigie.request("GET", path).header("host", host.to_owned()));
    for path in ["/", "/graph", "/api/v1/labels", "/api/vigie/v1/budgets"] {
        let answer = named("rebound.evil.example:3005", path).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (421, Some("strange_host")), "{path}");
        assert_eq!(named("localhost:3005", path).await.status, 200, "{path}");
    }
    assert_eq!(
        named("status.example", "/status").await.status,
        200,
        "what is open to all is open by any name"
    );

    let told = Setup { listen: "0.0.0.0:3005", ..Setup::default() }.start().await;
    let answer =
        Answer::of(told.request("GET", "/api/v1/labels").header("host", "vigie.internal:3005")).await;
    assert_eq!(answer.status, 200, "opened to everybody in as many words");
    let vigie = closed().await;
    let request = vigie.request("GET", "/api/v1/labels").header("host", "vigie.internal").bearer_auth(VIEWER);
    assert_eq!(Answer::of(request).await.status, 200, "with tokens any name will do");
}

#[tokio::test]
async fn answers_carry_security_headers_and_never_a_secret() {
    let vigie = closed().await;
    for path in ["/login", "/status", "/", "/api/v1/labels", "/nowhere", "/assets/console.css"] {
        let answer = Answer::of(vigie.request("GET", path).bearer_auth(VIEWER)).await;
        for (name, part) in [
            ("content-security-policy", "default-src 'self'"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("strict-transport-security", "max-age="),
        ] {
            assert!(answer.header(name).contains(part), "{path} {name}: {}", answer.header(name));
        }
        assert!(!answer.header("content-security-policy").contains("unsafe"));
        assert!(!answer.text.contains(VIEWER), "{path}");
    }
}

/// A log that a test reads.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// What the audit log has since it was last asked: who, method, path, status.
    fn audited(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("lock"));
        let text = String::from_utf8(bytes).expect("text");
        let here = format!("{:?}", std::thread::current().id());
        assert!(
            !text.contains(OPERATOR) && !text.contains(ADMIN) && !text.contains(SERVICE),
            "a secret: {text}"
        );
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .filter(|event| event["target"] == "audit" && event["threadId"] == here.as_str())
            .map(|event| {
                let field = |name: &str| event["fields"][name].as_str().unwrap_or("").to_owned();
                assert_eq!(field("ip"), "127.0.0.1", "{event}");
                format!(
                    "{} {} {} {}",
                    field("who"),
                    field("method"),
                    field("path"),
                    event["fields"]["status"]
                )
            })
            .collect()
    }
}

// The server runs on this test's thread, by which its lines are told from those of other tests: a log of one
// thread only would be left out by whatever other threads logged first.
#[tokio::test(flavor = "current_thread")]
async fn every_change_is_in_the_audit_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().json().with_thread_ids(true).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    tracing::callsite::rebuild_interest_cache();
    let vigie = closed().await;
    let call =
        |method: &str, path: &str, token: &str| Answer::of(vigie.request(method, path).bearer_auth(token));

    for (method, path, token) in [
        ("GET", "/", OPERATOR),
        ("GET", "/api/v1/labels", VIEWER),
        ("POST", "/api/v1/query?query=1", VIEWER),
        ("POST", "/api/vigie/v1/ai/reservations/x/start", SERVICE),
        ("POST", "/nowhere", ADMIN),
    ] {
        call(method, path, token).await;
        assert_eq!(log.audited(), [""; 0], "{method} {path} changes nothing, or is a service's");
    }
    for (method, path, token, line) in [
        ("POST", "/-/reload", OPERATOR, "otto POST /-/reload 200"),
        ("PUT", "/-/reload", ADMIN, "ada PUT /-/reload 200"),
        ("POST", "/-/reload", VIEWER, "vera POST /-/reload 403"),
        ("POST", "/-/reload", "wrong", "anyone POST /-/reload 401"),
        (
            "DELETE",
            "/api/vigie/v1/ai/reservations/x",
            ADMIN,
            "ada DELETE /api/vigie/v1/ai/reservations/x 404",
        ),
    ] {
        call(method, path, token).await;
        assert_eq!(log.audited(), [line]);
    }
    let resolve = "/api/vigie/v1/ai/reservations/x/resolve";
    Answer::of(vigie.request("POST", resolve).bearer_auth(ADMIN).json(&json!({"cost_usd": "1"}))).await;
    assert_eq!(log.audited(), [format!("ada POST {resolve} 404")]);

    let log_in = |token: &str| {
        let kind = "application/x-www-form-urlencoded";
        let form = encoded(&[("token", token)]);
        Answer::of(vigie.request("POST", "/login").header("content-type", kind).body(form))
    };
    log_in("wrong").await;
    assert_eq!(log.audited(), ["anyone POST /login 401"]);
    let cookie = session(&log_in(OPERATOR).await);
    assert_eq!(log.audited(), ["otto POST /login 303"]);
    Answer::of(vigie.request("POST", "/-/reload").header("cookie", &cookie)).await;
    assert_eq!(log.audited(), ["otto POST /-/reload 200"]);
    Answer::of(vigie.request("POST", "/logout").header("cookie", &cookie)).await;
    assert_eq!(log.audited(), ["otto POST /logout 303"]);
}
