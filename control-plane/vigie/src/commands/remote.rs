//! Commands that ask a running Vigie: `query`, `alerts`, `budget status`.

use super::{Answer, cli::RemoteArgs, table};
use serde_json::{Value, json};
use std::time::Duration;

/// Asks, and gives the JSON of a good answer; else a sentence.
fn get(remote: &RemoteArgs, path: &str, params: &[(&str, &str)]) -> Result<Value, String> {
    let base = kit::settings::base_url(&remote.url)?;
    let token = match &remote.token_file {
        Some(file) => {
            let text =
                std::fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
            Some(text.trim().to_owned())
        }
        None => None,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let client = kit::client::build(Duration::from_secs(150)).map_err(|e| e.to_string())?;
        let mut request = client.get(format!("{base}{path}")).query(params);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|e| {
            format!(
                "{base} cannot be asked: {}; is Vigie running there? (--url says where)",
                kit::client::sentence(&e)
            )
        })?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| e.to_string())?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(body);
        }
        let said = body["error"].as_str().or_else(|| body["message"].as_str()).unwrap_or("");
        Err(format!("{base} answered {status}: {said}"))
    })
}

fn failed(message: &str) -> Answer {
    Answer { good: false, text: format!("vigie: {message}"), json: json!({"error": message}) }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Labels of a JSON object as Prometheus prints them.
fn labels(value: &Value) -> String {
    let parsed: Result<model::Labels, _> = serde_json::from_value(value.clone());
    parsed.map(|l| l.to_string()).unwrap_or_default()
}

pub(super) fn query(remote: &RemoteArgs, query: &str, time: Option<&str>) -> Answer {
    let mut params = vec![("query", query)];
    params.extend(time.map(|t| ("time", t)));
    let body = match get(remote, "/api/v1/query", &params) {
        Ok(body) => body,
        Err(e) => return failed(&e),
    };
    let data = &body["data"];
    let mut out = String::new();
    match data["resultType"].as_str() {
        Some("vector") => {
            let rows: Vec<Vec<String>> = data["result"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|s| vec![text(&s["value"][1]), labels(&s["metric"])])
                .collect();
            out = if rows.is_empty() { "no series".to_owned() } else { table(&["VALUE", "SERIES"], &rows) };
        }
        Some("matrix") => {
            for series in data["result"].as_array().into_iter().flatten() {
                out.push_str(&format!("{}\n", labels(&series["metric"])));
                for point in series["values"].as_array().into_iter().flatten() {
                    out.push_str(&format!("  {}  {}\n", point[0], text(&point[1])));
                }
            }
        }
        _ => out = text(&data["result"][1]),
    }
    for kind in ["warnings", "infos"] {
        for note in body[kind].as_array().into_iter().flatten() {
            out.push_str(&format!("\n{}", text(note)));
        }
    }
    Answer { good: true, text: out, json: body }
}

pub(super) fn alerts(remote: &RemoteArgs) -> Answer {
    let body = match get(remote, "/api/v1/alerts", &[]) {
        Ok(body) => body,
        Err(e) => return failed(&e),
    };
    let rows: Vec<Vec<String>> = body["data"]["alerts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|a| {
            let summary = text(&a["annotations"]["summary"]);
            vec![
                text(&a["state"]).to_uppercase(),
                text(&a["labels"]["alertname"]),
                text(&a["activeAt"]),
                if summary == "null" { labels(&a["labels"]) } else { summary },
            ]
        })
        .collect();
    let out = if rows.is_empty() {
        "no alert is pending or firing".to_owned()
    } else {
        table(&["STATE", "ALERT", "SINCE", "SUMMARY"], &rows)
    };
    Answer { good: true, text: out, json: body }
}

pub(super) fn budgets(remote: &RemoteArgs) -> Answer {
    let body = match get(remote, "/api/vigie/v1/budgets", &[]) {
        Ok(body) => body,
        Err(e) => return failed(&e),
    };
    let rows: Vec<Vec<String>> = body["budgets"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|b| {
            let name = match text(&b["scope"]) {
                scope if scope.is_empty() => text(&b["budget"]),
                scope => format!("{} {scope}", text(&b["budget"])),
            };
            let fields = [
                "limit_usd",
                "spent_usd",
                "reserved_usd",
                "unconfirmed_usd",
                "committed_usd",
                "forecast_usd",
                "refusals",
                "resets_at",
            ];
            std::iter::once(name).chain(fields.iter().map(|f| text(&b[*f]))).collect()
        })
        .collect();
    let head =
        ["BUDGET", "LIMIT", "SPENT", "RESERVED", "UNCONFIRMED", "COMMITTED", "FORECAST", "REFUSED", "RESETS"];
    let out = if rows.is_empty() {
        "no budget is configured".to_owned()
    } else {
        format!("USD\n{}", table(&head, &rows))
    };
    Answer { good: true, text: out, json: body }
}
