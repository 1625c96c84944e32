//! Grafana's dashboards as code: folder, data source and dashboards pushed by uid, always to what Git says.
//!
//! By Grafana's HTTP API: `/api/folders`, `/api/datasources`, `/api/dashboards/db`. Everything is idempotent, so
//! the push runs at start and every five minutes and repairs what somebody changed by hand.

use kit::{client, secret::Secret};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

const FOLDER_UID: &str = "vigie";
/// The uid that dashboards name as their data source.
pub const DATASOURCE_UID: &str = "vigie";

/// Where Grafana is.
#[derive(Debug, Clone)]
pub struct GrafanaConfig {
    pub url: String,
    pub token: Option<Secret>,
    pub org: Option<String>,
    /// Where Grafana finds Vigie's Prometheus API.
    pub prometheus_url: String,
    /// What Grafana presents there, where Vigie wants a token: a viewer's.
    pub prometheus_token: Option<Secret>,
}

/// Pushes to one Grafana.
#[derive(Debug)]
pub struct Grafana {
    http: reqwest::Client,
    config: GrafanaConfig,
}

/// A dashboard of `dashboards/`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dashboard {
    pub file: String,
    pub uid: String,
    pub model: Value,
}

/// Reads `dir/*.json`. Every file must be a dashboard with a uid of its own and a title.
///
/// # Errors
/// Every problem of every file, in lines.
pub fn read_dashboards(dir: &Path) -> Result<Vec<Dashboard>, kit::problem::Problems> {
    use kit::problem::{Problem, Problems};
    let mut problems = Problems::default();
    let mut all: Vec<Dashboard> = Vec::new();
    for path in kit::files::matching(&dir.join("*.json")) {
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) => {
                problems.push(Problem::unplaced(&file, format!("cannot be read: {e}")));
                continue;
            }
        };
        let model: Value = match serde_json::from_str(&text) {
            Ok(model) => model,
            Err(e) => {
                let source = text.lines().nth(e.line().saturating_sub(1)).unwrap_or("").to_owned();
                let message = e.to_string().split(" at line ").next().unwrap_or("not JSON").to_owned();
                problems.push(Problem {
                    file,
                    line: e.line(),
                    column: e.column().max(1),
                    message,
                    help: None,
                    source,
                });
                continue;
            }
        };
        let field = |name: &str| model[name].as_str().unwrap_or("").to_owned();
        let (uid, title) = (field("uid"), field("title"));
        if uid.is_empty() || uid.len() > 40 {
            problems.push(Problem::unplaced(&file, "a dashboard needs a `uid` of 1 to 40 characters"));
        }
        if title.is_empty() {
            problems.push(Problem::unplaced(&file, "a dashboard needs a `title`"));
        }
        if let Some(other) = all.iter().find(|d| d.uid == uid && !uid.is_empty()) {
            problems
                .push(Problem::unplaced(&file, format!("the uid {uid} belongs to {} already", other.file)));
        }
        for (place, query) in queries(&model) {
            if let Err(e) = promql::parse(&without_variables(&query)) {
                problems.push(Problem::unplaced(&file, format!("{place}: {e}")));
            }
        }
        all.push(Dashboard { file, uid, model });
    }
    problems.into_result(all)
}

/// Every PromQL expression of a dashboard, with the panel it stands in.
pub fn queries(model: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut open: Vec<&Value> = model["panels"].as_array().into_iter().flatten().collect();
    while let Some(panel) = open.pop() {
        open.extend(panel["panels"].as_array().into_iter().flatten());
        let title = panel["title"].as_str().unwrap_or("untitled");
        for target in panel["targets"].as_array().into_iter().flatten() {
            if let Some(expr) = target["expr"].as_str() {
                all.push((format!("panel {title}"), expr.to_owned()));
            }
        }
    }
    all
}

/// The expression with Grafana's variables replaced by something of their kind, so that it parses.
fn without_variables(query: &str) -> String {
    query.replace("$__rate_interval", "5m").replace("$__interval", "1m").replace("$__range", "1h")
}

impl Grafana {
    /// # Errors
    /// When no HTTP client can be set up.
    pub fn new(config: GrafanaConfig) -> anyhow::Result<Self> {
        Ok(Grafana { http: client::build(Duration::from_secs(10))?, config })
    }

    /// Brings folder, data source and dashboards to what they should be. Returns how many dashboards were pushed.
    ///
    /// # Errors
    /// The first step that Grafana refused, in a sentence.
    pub async fn push(&self, dashboards: &[Dashboard]) -> anyhow::Result<usize> {
        self.folder().await?;
        self.datasource().await?;
        for dashboard in dashboards {
            let mut model = dashboard.model.clone();
            // The id is Grafana's own; with one from elsewhere it would look for that.
            model["id"] = Value::Null;
            let body = json!({"dashboard": model, "folderUid": FOLDER_UID, "overwrite": true, "message": "pushed by Vigie"});
            let (status, answer) = self.call(Method::POST, "/api/dashboards/db", Some(body)).await?;
            if !status.is_success() {
                anyhow::bail!("Grafana did not take {}: {status} {}", dashboard.file, message(&answer));
            }
        }
        Ok(dashboards.len())
    }

    async fn folder(&self) -> anyhow::Result<()> {
        let (status, answer) = self.call(Method::GET, &format!("/api/folders/{FOLDER_UID}"), None).await?;
        if status.is_success() {
            return Ok(());
        }
        if status != StatusCode::NOT_FOUND {
            anyhow::bail!("Grafana does not show its folders: {status} {}", message(&answer));
        }
        let body = json!({"uid": FOLDER_UID, "title": "Vigie"});
        let (status, answer) = self.call(Method::POST, "/api/folders", Some(body)).await?;
        // Somebody else may have made it in between.
        if status.is_success() || matches!(status, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED) {
            return Ok(());
        }
        anyhow::bail!("Grafana did not make the folder: {status} {}", message(&answer))
    }

    async fn datasource(&self) -> anyhow::Result<()> {
        let mut wanted = json!({
            "uid": DATASOURCE_UID, "name": "Vigie", "type": "prometheus", "access": "proxy",
            "url": self.config.prometheus_url, "isDefault": true,
            "jsonData": {"httpMethod": "POST", "timeInterval": "15s", "prometheusType": "Prometheus"},
        });
        if let Some(token) = &self.config.prometheus_token {
            wanted["jsonData"]["httpHeaderName1"] = "Authorization".into();
            wanted["secureJsonData"] = json!({"httpHeaderValue1": format!("Bearer {}", token.expose())});
        }
        let path = format!("/api/datasources/uid/{DATASOURCE_UID}");
        let (status, found) = self.call(Method::GET, &path, None).await?;
        let (method, path) = if status == StatusCode::NOT_FOUND {
            (Method::POST, "/api/datasources".to_owned())
        } else if status.is_success() {
            // Grafana never shows a secret again, so one that is configured is written every time.
            let same = found["url"] == wanted["url"] && found["type"] == wanted["type"];
            if same && self.config.prometheus_token.is_none() {
                return Ok(());
            }
            (Method::PUT, path)
        } else {
            anyhow::bail!("Grafana does not show its data sources: {status} {}", message(&found));
        };
        let (status, answer) = self.call(method, &path, Some(wanted)).await?;
        if status.is_success() || status == StatusCode::CONFLICT {
            return Ok(());
        }
        anyhow::bail!("Grafana did not take the data source: {status} {}", message(&answer))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut request =
            self.http.request(method, format!("{}{path}", self.config.url.trim_end_matches('/')));
        if let Some(token) = &self.config.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(org) = &self.config.org {
            request = request.header("x-grafana-org-id", org);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request
            .send()
            .await
            .map_err(|e| anyhow::anyhow!("Grafana cannot be reached: {}", client::sentence(&e)))?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or("")
}

#[cfg(test)]
mod tests;
