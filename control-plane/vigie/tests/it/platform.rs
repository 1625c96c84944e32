//! The whole platform in processes of their own, with real parts around it and a configuration folder made of the
//! shipped files with shorter times.

use crate::{
    process::{Ports, Process},
    receiver::Receiver,
    until,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The services besides Vigie, those that others call first.
pub(crate) const SERVICES: [&str; 6] = ["db", "auth", "ai", "payment", "notify", "frontend"];

/// How long one step may take; a loaded machine of two cores is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const TOKEN: &str = "the-token-that-services-share";

/// USD per million tokens that the test gives the offline tutor.
pub(crate) const INPUT_PRICE: u64 = 100;
pub(crate) const OUTPUT_PRICE: u64 = 200;

/// How often people were told of one alert, by each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Told {
    pub(crate) mails: usize,
    pub(crate) slack: usize,
    pub(crate) hooks: usize,
}

impl Told {
    pub(crate) fn each(n: usize) -> Told {
        Told { mails: n, slack: n, hooks: n }
    }
}

#[derive(Debug)]
pub(crate) struct Platform {
    // Before the folder: processes end before their files go.
    processes: BTreeMap<String, Process>,
    folder: tempfile::TempDir,
    ports: BTreeMap<String, u16>,
    http: reqwest::Client,
    pub(crate) receiver: Receiver,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// The path of one of our binaries, beside `vigie`'s.
pub(crate) fn binary(name: &str) -> PathBuf {
    let vigie = PathBuf::from(env!("CARGO_BIN_EXE_vigie"));
    if name == "vigie" {
        return vigie;
    }
    let path = vigie.with_file_name(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// A shipped file with some texts replaced; each must be there.
fn shipped(path: &str, replacements: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string(root().join(path)).expect("a shipped file");
    for (old, new) in replacements {
        assert!(text.contains(old), "{path} has no {old:?} any more");
        text = text.replace(old, new);
    }
    text
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, text).expect("a file");
}

/// The shipped configuration with intervals of a second; routes and budgets of the test's own.
fn write_config(folder: &Path, receiver: &Receiver) {
    let rules = shipped(
        "alerts/rules/platform.yaml",
        &[
            ("interval: 15s", "interval: 1s"),
            ("expr: probe_success == 0\n        for: 1m", "expr: probe_success == 0\n        for: 2s"),
        ],
    );
    write(folder, "alerts/rules/platform.yaml", &rules);
    let scrape = shipped(
        "probes/scrape.yaml",
        &[("scrape_interval: 15s", "scrape_interval: 1s"), ("scrape_timeout: 5s", "scrape_timeout: 1s")],
    );
    write(folder, "probes/scrape.yaml", &scrape);
    write(folder, "probes/probes.yaml", &shipped("probes/probes.yaml", &[]));
    write(folder, "dashboards/system-overview.json", &shipped("dashboards/system-overview.json", &[]));
    write(folder, "ops/runbooks/service-down.md", &shipped("ops/runbooks/service-down.md", &[]));
    write(folder, "slack-url", &format!("{}/slack/services/T0/B0/secret\n", receiver.base));
    let routing = format!(
        "global:\n  smtp_require_tls: false\n\
         route:\n  receiver: oncall\n  group_by: [alertname, service]\n  group_wait: 1s\n  group_interval: 1s\n  repeat_interval: 4h\n\
         receivers:\n  - name: oncall\n\
         \x20   email_configs: [{{to: oncall@penpal.example, send_resolved: true}}]\n\
         \x20   slack_configs: [{{channel: '#oncall', send_resolved: true}}]\n\
         \x20   webhook_configs: [{{url: '{}/hook'}}]\n",
        receiver.base
    );
    write(folder, "alerts/routing.yaml", &routing);
    let budgets = format!(
        "budgets:\n  - {{name: platform, limit_usd: 0.40, period: day, timezone: UTC, on_exceed: deny}}\n\
         prices:\n  - {{provider: offline, model: tutor-1, input: {INPUT_PRICE}, output: {OUTPUT_PRICE}}}\n"
    );
    write(folder, "alerts/budgets.yaml", &budgets);
}

impl Platform {
    /// Starts the real parts, the six services and Vigie, in this order. Vigie may still be starting.
    pub(crate) async fn start(maildev: &str, rotel: &str) -> Platform {
        let mut free = Ports::new();
        let mut ports: BTreeMap<String, u16> = BTreeMap::new();
        for name in SERVICES.into_iter().chain(["vigie", "smtp", "mail", "otlp", "otlp-http"]) {
            ports.insert(name.to_owned(), free.free());
        }
        let folder = tempfile::tempdir().expect("a folder");
        let receiver = Receiver::start().await;
        write_config(&folder.path().join("config"), &receiver);
        fs::create_dir(folder.path().join("logs")).expect("a folder");
        let http = kit::client::build(Duration::from_secs(5)).expect("a client");
        let mut platform = Platform { processes: BTreeMap::new(), folder, ports, http, receiver };
        platform.start_parts(maildev, rotel);
        for service in SERVICES {
            platform.start_service(service);
        }
        platform.start_vigie();
        for service in SERVICES {
            platform.answers(service).await;
        }
        platform
    }

    fn start_parts(&mut self, maildev: &str, rotel: &str) {
        let port = |name: &str| self.ports[name].to_string();
        let mut mail = Command::new(maildev);
        mail.args([
            "--ip",
            "127.0.0.1",
            "-s",
            &port("smtp"),
            "--web-ip",
            "127.0.0.1",
            "-w",
            &port("mail"),
            "--silent",
        ]);
        let mut traces = Command::new(rotel);
        traces.args(["start", "--otlp-grpc-endpoint", &format!("127.0.0.1:{}", port("otlp"))]);
        traces.args(["--otlp-http-endpoint", &format!("127.0.0.1:{}", port("otlp-http"))]);
        traces.args([
            "--exporter",
            "blackhole",
            "--debug-log",
            "traces",
            "--debug-log-verbosity",
            "detailed",
        ]);
        self.run("maildev", &mut mail, &[]);
        self.run("rotel", &mut traces, &[]);
    }

    fn run(&mut self, name: &str, command: &mut Command, env: &[(String, String)]) {
        let process = Process::start(name, &self.folder.path().join("logs"), command, env);
        self.processes.insert(name.to_owned(), process);
    }

    /// What every one of our processes is told.
    fn environment(&self) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = SERVICES
            .into_iter()
            .map(|s| (format!("{}_SERVICE_URL", s.to_uppercase()), format!("{}/api/v1", self.base(s))))
            .collect();
        let mut add = |name: &str, value: String| env.push((name.to_owned(), value));
        add("MONITORING_SERVICE_URL", self.base("vigie"));
        add("SERVICE_AUTH_TOKEN", TOKEN.to_owned());
        add("OTEL_EXPORTER_OTLP_ENDPOINT", self.base("otlp"));
        add("OTEL_BSP_SCHEDULE_DELAY", "300".to_owned());
        env
    }

    pub(crate) fn start_service(&mut self, name: &str) {
        let mut env = self.environment();
        env.push(("PORT".to_owned(), self.ports[name].to_string()));
        env.push(("DATA_DIR".to_owned(), self.folder.path().join("data").join(name).display().to_string()));
        self.run(name, &mut Command::new(binary(name)), &env);
    }

    pub(crate) fn start_vigie(&mut self) {
        let folder = self.folder.path();
        let mut env = self.environment();
        let mut add = |name: &str, value: String| env.push((name.to_owned(), value));
        add("HEALTH_CHECK_INTERVAL", "1000".to_owned());
        add("HEALTH_CHECK_TIMEOUT", "1000".to_owned());
        add("SMTP_SMARTHOST", format!("127.0.0.1:{}", self.ports["smtp"]));
        add("SMTP_FROM", "vigie@penpal.example".to_owned());
        add("SLACK_API_URL_FILE", folder.join("config/slack-url").display().to_string());
        add("GRAFANA_URL", format!("{}/grafana", self.receiver.base));
        add("GRAFANA_API_KEY", "grafana-key".to_owned());
        let mut command = Command::new(binary("vigie"));
        command.arg("serve").arg("--config-dir").arg(folder.join("config"));
        command.arg("--data-dir").arg(folder.join("data/vigie"));
        command.args(["--listen", &format!("127.0.0.1:{}", self.ports["vigie"])]);
        self.run("vigie", &mut command, &env);
    }

    pub(crate) fn base(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}", self.ports[name])
    }

    pub(crate) fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).expect("a process of the platform")
    }

    pub(crate) fn log(&self, name: &str) -> String {
        self.processes[name].log()
    }

    /// Waits until a program answers its health check, whatever it says there.
    pub(crate) async fn answers(&mut self, name: &str) {
        let url = format!("{}/api/v1/health", self.base(name));
        let http = self.http.clone();
        let process = self.process(name);
        until(&format!("{name} answers"), PATIENCE, || {
            let running = process.check();
            let request = http.get(&url);
            async move {
                if let Err(e) = running {
                    panic!("{e}");
                }
                request.send().await.map(drop).map_err(|e| kit::client::sentence(&e))
            }
        })
        .await;
    }

    /// Sends SIGTERM to everything and waits; everything of ours must end with 0.
    pub(crate) async fn stop(mut self) {
        for name in SERVICES.into_iter().chain(["vigie"]) {
            self.process(name).terminate();
        }
        for name in SERVICES.into_iter().chain(["vigie"]) {
            let status = self.process(name).ended(Duration::from_secs(30)).await;
            assert_eq!(status.code(), Some(0), "{name} did not stop in order");
        }
    }

    // --- asking -------------------------------------------------------------

    pub(crate) async fn get(&self, name: &str, path: &str) -> Result<Value, String> {
        let answer = self.http.get(format!("{}{path}", self.base(name))).send().await;
        let answer = answer.map_err(|e| kit::client::sentence(&e))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| kit::client::sentence(&e))?;
        if !status.is_success() {
            return Err(format!("{path} answered {status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|e| format!("{path} is no JSON: {e}: {text}"))
    }

    /// A page's text.
    pub(crate) async fn page(&self, url: &str) -> Result<String, String> {
        let answer = self.http.get(url).send().await.map_err(|e| kit::client::sentence(&e))?;
        let answer = answer.error_for_status().map_err(|e| e.to_string())?;
        answer.text().await.map_err(|e| kit::client::sentence(&e))
    }

    /// An instant query by Prometheus's API: labels and value of each series.
    pub(crate) async fn query(&self, expr: &str) -> Result<Vec<(BTreeMap<String, String>, f64)>, String> {
        let request = self.http.get(format!("{}/api/v1/query", self.base("vigie"))).query(&[("query", expr)]);
        let answer = request.send().await.map_err(|e| kit::client::sentence(&e))?;
        let body: Value = answer.json().await.map_err(|e| kit::client::sentence(&e))?;
        if body["status"] != "success" {
            return Err(format!("{expr}: {body}"));
        }
        let series = body["data"]["result"].as_array().cloned().unwrap_or_default();
        let read = |s: &Value| {
            let labels = serde_json::from_value(s["metric"].clone()).ok()?;
            Some((labels, s["value"][1].as_str()?.parse().ok()?))
        };
        Ok(series.iter().filter_map(read).collect())
    }

    /// The value of the only series that a query gives.
    pub(crate) async fn value(&self, expr: &str) -> Result<f64, String> {
        match self.query(expr).await?.as_slice() {
            [(_, value)] => Ok(*value),
            other => Err(format!("{expr} gives {} series, not one: {other:?}", other.len())),
        }
    }

    /// `POST /api/v1/ai/chat` as a service does it. Gives status, `Retry-After` and body.
    pub(crate) async fn chat(&self, body: &Value) -> (u16, Option<u64>, Value) {
        let request = self.http.request(Method::POST, format!("{}/api/v1/ai/chat", self.base("ai")));
        let answer = request.bearer_auth(TOKEN).json(body).send().await.expect("ai answers");
        let status = answer.status().as_u16();
        let wait = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
        (status, wait, answer.json().await.expect("JSON"))
    }

    /// A learner's message by the frontend's form, under a trace of the caller's.
    pub(crate) async fn demo(&self, message: &str, traceparent: &str) -> (u16, String) {
        let form = [("message", message), ("language", "en"), ("level", "beginner"), ("mode", "tutor")];
        let request = self.http.post(format!("{}/en/demo", self.base("frontend")));
        let answer = request.header("traceparent", traceparent).form(&form).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a page"))
    }

    /// The alerts of one name that are in the given state, by Prometheus's API.
    pub(crate) async fn alerts(&self, name: &str, state: &str) -> Result<Vec<Value>, String> {
        let body = self.get("vigie", "/api/v1/alerts").await?;
        let all = body["data"]["alerts"].as_array().cloned().unwrap_or_default();
        Ok(all.into_iter().filter(|a| a["labels"]["alertname"] == name && a["state"] == state).collect())
    }

    /// Mails that the real SMTP server took.
    pub(crate) async fn mails(&self) -> Result<Vec<Value>, String> {
        Ok(self.get("mail", "/email").await?.as_array().cloned().unwrap_or_default())
    }

    /// How often people were told that `alert` of `service` is `status`: `firing` or `resolved`.
    pub(crate) async fn told(&self, alert: &str, service: &str, status: &str) -> Result<Told, String> {
        let title = format!("{}: {alert} ({service})", status.to_uppercase());
        let mails = self.mails().await?.iter().filter(|m| m["subject"] == title.as_str()).count();
        let taken = |path: &str, is: &dyn Fn(&Value) -> bool| {
            self.receiver.seen(path).iter().filter(|s| s.taken && is(&s.body)).count()
        };
        let slack = taken("/slack", &|body| body["text"] == title.as_str());
        let hooks = taken("/hook", &|body| {
            let labels = &body["commonLabels"];
            body["status"] == status && labels["alertname"] == alert && labels["service"] == service
        });
        Ok(Told { mails, slack, hooks })
    }

    /// Waits until people were told so by all three ways, once each.
    pub(crate) async fn told_once(&self, alert: &str, service: &str, status: &str) {
        until(&format!("{alert} of {service} is told as {status}"), PATIENCE, || async {
            let told = self.told(alert, service, status).await?;
            if told == Told::each(1) { Ok(()) } else { Err(format!("{told:?}")) }
        })
        .await;
    }

    /// Waits for so many evaluations of the rules, each of them a chance to say something twice.
    pub(crate) async fn evaluations(&self, n: usize) {
        let mut times: Vec<String> = Vec::new();
        while times.len() <= n {
            let last = until("the rules are evaluated", PATIENCE, || async {
                let body = self.get("vigie", "/api/v1/rules").await?;
                let groups = body["data"]["groups"].as_array().cloned().unwrap_or_default();
                let group = groups.into_iter().find(|g| g["name"] == "services");
                let at = group.and_then(|g| g["lastEvaluation"].as_str().map(str::to_owned));
                match at {
                    Some(at) if !at.starts_with("0001") && times.last() != Some(&at) => Ok(at),
                    other => Err(format!("the last evaluation is {other:?}")),
                }
            })
            .await;
            times.push(last);
        }
    }

    /// Runs a command of `vigie` against the running one. Gives its output.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let url = self.base("vigie");
        let output = Command::new(binary("vigie")).args(args).args(["--url", &url]).output().expect("vigie");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "vigie {args:?}: {}\n{out}{err}", output.status);
        out.into_owned()
    }
}

/// What a chat of so many tokens costs by the test's price table, in USD.
pub(crate) fn cost(usage: &Value) -> f64 {
    let tokens = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("{name} is missing: {usage}"));
    let micro = tokens("promptTokens") * INPUT_PRICE + tokens("completionTokens") * OUTPUT_PRICE;
    micro as f64 / 1e6
}

/// A chat of one message.
pub(crate) fn message(text: &str, max_tokens: u32) -> Value {
    json!({"message": text, "language": "en", "maxTokens": max_tokens})
}
