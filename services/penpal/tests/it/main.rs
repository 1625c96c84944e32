//! The program as people start it: the real binary on free ports.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

const SERVICES: [&str; 7] = ["vigie", "db", "auth", "ai", "payment", "notify", "frontend"];

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penpal"));
    // The shipped configuration, whatever folder the test runs in.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    command
        .current_dir(root)
        .env_clear()
        .arg("--data-dir")
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for service in SERVICES {
        command.env(format!("{}_PORT", service.to_uppercase()), "0");
    }
    command
}

struct Penpal {
    child: Child,
    bases: BTreeMap<String, String>,
    welcome: String,
}

impl Penpal {
    /// Starts it and reads what it says until it has said everything.
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("start");
        let stderr = child.stderr.take().expect("stderr");
        let mut bases = BTreeMap::new();
        let mut welcome = String::new();
        for line in BufReader::new(stderr).lines() {
            let line = line.expect("line");
            welcome.push_str(&line);
            welcome.push('\n');
            let mut words = line.split_whitespace();
            if let (Some(name), Some(base)) = (words.next(), words.next())
                && SERVICES.contains(&name)
            {
                bases.insert(name.to_owned(), base.trim_end_matches('/').to_owned());
            }
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        Penpal { child, bases, welcome }
    }

    fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        let mut log = String::new();
        self.child.stdout.take().expect("stdout").read_to_string(&mut log).expect("log");
        (self.child.wait().expect("wait").code(), log)
    }
}

impl Drop for Penpal {
    fn drop(&mut self) {
        // Only matters when a test fails half-way; it has ended otherwise.
        drop(self.child.kill());
    }
}

async fn get(base: &str, path: &str) -> (u16, Value) {
    let http = kit::client::build(Duration::from_secs(5)).expect("client");
    let answer = http.get(format!("{base}{path}")).send().await.expect("answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn one_command_starts_everything_and_a_signal_stops_it() {
    let folder = tempfile::tempdir().expect("folder");
    let penpal = Penpal::start(&mut command(folder.path()));
    assert_eq!(penpal.bases.len(), SERVICES.len(), "{}", penpal.welcome);
    assert!(penpal.welcome.contains("  3. "), "three things to try: {}", penpal.welcome);
    for (name, base) in &penpal.bases {
        let (_, health) = get(base, "/api/v1/health").await;
        assert_eq!(health["service"].as_str(), Some(name.as_str()));
        let own = format!("service=\"{name}\"");
        let (_, metrics) = get(base, "/metrics").await;
        let metrics = metrics.as_str().expect("text");
        let series = metrics.lines().filter(|l| l.starts_with("http_requests_total"));
        assert!(
            series.clone().count() > 0 && series.clone().all(|l| l.contains(&own)),
            "one registry a service"
        );
    }
    for name in ["db", "auth", "payment", "notify"] {
        assert_eq!(
            get(&penpal.bases[name], "/api/v1/health").await.0,
            200,
            "{name} knows where the others are"
        );
    }
    assert_eq!(get(&penpal.bases["auth"], "/api/v1/users/metrics").await.1["totalUsers"], 0);
    let user = serde_json::json!({"email": "ada@example.org", "firstName": "Ada", "lastName": "L"});
    let http = kit::client::build(Duration::from_secs(5)).expect("client");
    let added = http.post(format!("{}/api/v1/users", penpal.bases["db"])).json(&user).send().await;
    assert_eq!(added.expect("answer").status(), 201);

    let question = serde_json::json!({"message": "He go to school", "language": "en"});
    let chat = http.post(format!("{}/api/v1/ai/chat", penpal.bases["ai"])).json(&question).send().await;
    let chat: Value = chat.expect("answer").json().await.expect("json");
    assert_eq!(chat["corrections"][0]["corrected"], "He goes", "{chat}");
    assert_eq!(chat["cost"], 0.0, "Vigie has settled it");

    let (code, log) = penpal.stop("-INT");
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).expect("a JSON line")).collect();
    for name in SERVICES {
        let begun = |l: &Value| l["message"] == "listening" || l["message"] == "Vigie is ready";
        assert!(lines.iter().any(|l| l["service"] == name && begun(l)), "{name}: {log}");
    }
    // A question of one service to another belongs to the request that caused it; another request does not.
    let trace = |service: &str, route: &str| {
        let of = |l: &&Value| l["service"] == service && l["route"] == route && l["message"] == "request";
        lines
            .iter()
            .find(of)
            .map(|l| l["trace_id"].to_string())
            .unwrap_or_else(|| panic!("{service} {route}: {log}"))
    };
    let (asked, answered) = (trace("auth", "/api/v1/users/metrics"), trace("db", "/api/v1/users/metrics"));
    assert_eq!(asked, answered);
    assert_ne!(asked, trace("db", "/api/v1/users"));
    assert_eq!(trace("ai", "/api/v1/ai/chat"), trace("vigie", "/api/vigie/v1/ai/reservations"));

    let again = Penpal::start(&mut command(folder.path()));
    assert_eq!(get(&again.bases["auth"], "/api/v1/users/metrics").await.1["totalUsers"], 1, "it goes on");
    assert_eq!(again.stop("-TERM").0, Some(0));
}

#[tokio::test]
async fn a_chat_costs_what_the_file_says_and_one_over_the_budget_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir(folder.path().join("alerts")).expect("alerts");
    let budgets = "budgets:\n  - {name: tiny, limit_usd: 0.50, period: day, timezone: UTC, on_exceed: deny}\n\
                   prices:\n  - {provider: offline, model: tutor-1, input: 100, output: 400}\n";
    std::fs::write(folder.path().join("alerts/budgets.yaml"), budgets).expect("budgets");
    let penpal = Penpal::start(command(&folder.path().join("data")).current_dir(folder.path()));
    let http = kit::client::build(Duration::from_secs(5)).expect("client");
    let ask = |max_tokens: u32| {
        let body = serde_json::json!({"message": "He go", "language": "en", "maxTokens": max_tokens});
        http.post(format!("{}/api/v1/ai/chat", penpal.bases["ai"])).json(&body).send()
    };
    let answer: Value = ask(100).await.expect("answer").json().await.expect("json");
    let tokens = |name: &str| answer["usage"][name].as_f64().unwrap_or_default();
    let cost = (tokens("promptTokens") * 100.0 + tokens("completionTokens") * 400.0) / 1e6;
    let told = answer["cost"].as_f64().unwrap_or_default();
    assert!(cost > 0.0 && (told - cost).abs() < 1e-12, "{answer}");
    let refused = ask(2000).await.expect("answer");
    let status = refused.status().as_u16();
    let retry_after = refused.headers().get("retry-after").cloned();
    let body: Value = refused.json().await.expect("json");
    assert_eq!(
        (status, body["code"].as_str(), body["budget"].as_str()),
        (429, Some("budget_exceeded"), Some("tiny"))
    );
    assert!(retry_after.is_some(), "{body}");
    assert_eq!(penpal.stop("-TERM").0, Some(0));
}

fn refused(mut command: Command) -> String {
    let output = command.output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn a_data_directory_in_use_is_one_line() {
    let folder = tempfile::tempdir().expect("folder");
    let first = Penpal::start(&mut command(folder.path()));
    let line = refused(command(folder.path()));
    assert!(line.contains("in use by another process") && line.trim().lines().count() == 1, "{line}");
    assert_eq!(first.stop("-TERM").0, Some(0));
}

#[test]
fn a_taken_port_is_one_line_and_nothing_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = taken.local_addr().expect("address").port().to_string();
    let folder = tempfile::tempdir().expect("folder");
    let mut second = command(folder.path());
    second.env("FRONTEND_PORT", &port);
    let line = refused(second);
    assert!(line.contains("the port is taken") && line.trim().lines().count() == 1, "{line}");
    assert!(!folder.path().join("db").exists(), "nothing was started");
}

#[test]
fn every_problem_with_the_settings_is_reported_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let mut command = command(folder.path());
    command
        .env("AI_MAX_TOKENS", "lots")
        .env("PAYMENT_TRIAL_PERIOD_DAYS", "9999")
        .env("AUTH_DB_SERVICE_URL", "x");
    let text = refused(command);
    for part in ["MAX_TOKENS", "TRIAL_PERIOD_DAYS", "DB_SERVICE_URL"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn help_and_version_teach_and_end() {
    let run = |flag: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_penpal")).arg(flag).output().expect("run");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert!(run("--version").starts_with("penpal "));
    let help = run("--help");
    assert!(help.contains("--data-dir") && help.contains("AI_PORT") && !help.contains("--port"), "{help}");
}
