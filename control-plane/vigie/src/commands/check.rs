//! `vigie check`: every file, every problem, nothing else touched.

use super::{Answer, cli::ConfigArgs, serve};
use crate::Loaded;
use kit::{problem::Problems, settings::Settings};
use serde_json::json;

pub(super) fn check(settings: &Settings, args: ConfigArgs) -> Answer {
    let loaded = serve::options(settings, &args).and_then(|options| Loaded::read(&options));
    match loaded {
        Ok(loaded) => {
            let counts = json!({
                "files": loaded.files.len(),
                "probes": loaded.collect.probe_count(),
                "targets": loaded.collect.target_count(),
                "remote_writes": loaded.remote_write.len(),
                "rules": loaded.rule_count(),
                "receivers": loaded.routing.receivers.len(),
                "budgets": loaded.budgets.budgets.len(),
                "dashboards": loaded.dashboards.len(),
            });
            let text = format!(
                "{} files are good: {} probes, {} targets, {} rules, {} receivers, {} budgets, {} dashboards",
                counts["files"],
                counts["probes"],
                counts["targets"],
                counts["rules"],
                counts["receivers"],
                counts["budgets"],
                counts["dashboards"],
            );
            Answer { good: true, text, json: json!({"good": true, "counts": counts, "files": loaded.files}) }
        }
        Err(problems) => bad(&problems),
    }
}

fn bad(problems: &Problems) -> Answer {
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    Answer {
        good: false,
        text: format!("{problems}\n\n{count} {noun}"),
        json: json!({"good": false, "problems": problems}),
    }
}
