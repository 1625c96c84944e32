//! `vigie tsdb analyze`.

use super::{AnalyzeArgs, meter::Meter, open, selectors};
use crate::commands::{Answer, table};
use ::tsdb::{
    analyze::{Analysis, Counted, Question, analyze as read},
    prometheus::range_of,
};
use kit::{clock::Clock, settings::Settings, telemetry::rfc3339};
use serde_json::{Value, json};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

pub(super) fn analyze(settings: &Settings, args: &AnalyzeArgs) -> anyhow::Result<Answer> {
    let selectors = selectors(&args.range.selectors)?;
    let opened = open(settings, &args.store, false, |_| {})?;
    let asked = (args.range.from, args.range.to);
    let Some((first, to)) = range_of(&opened.store, &selectors, asked, MINUTE_MS)? else {
        opened.close()?;
        let text = "there are no samples in this range".to_owned();
        return Ok(Answer { good: true, text, json: json!({"series": 0, "samples": 0}) });
    };
    // Unless more is asked for, the newest day tells enough.
    let from = args.range.from.unwrap_or_else(|| first.max(to.saturating_sub(DAY_MS - 1)));
    let question = Question { selectors, from, to, limit: args.limit };
    let mut meter = Meter::new(&Clock::system());
    let got = read(&opened.store, &question, &mut |series, samples| {
        meter.tell(0, 0, 0, samples, &format!("{series} series"));
    });
    meter.end();
    let got = got?;
    opened.close()?;
    Ok(answer(&question, &got))
}

fn answer(question: &Question, got: &Analysis) -> Answer {
    let (from, to) = (rfc3339(question.from), rfc3339(question.to));
    let mut text = format!(
        "{} series with {} samples ({} histograms) from {from} to {to}\n{} metrics, {} label names, {} label pairs; {} series began and {} ended in between\n",
        got.series, got.samples, got.histograms, got.metrics, got.names, got.pairs, got.began, got.ended,
    );
    let mut list = |title: &str, head: &[&str], all: &[Counted], row: &dyn Fn(&Counted) -> Vec<String>| {
        if !all.is_empty() {
            let rows: Vec<Vec<String>> = all.iter().map(row).collect();
            text.push_str(&format!("\n{title}\n{}", table(head, &rows)));
        }
    };
    let series = |c: &Counted| vec![c.series.to_string(), c.samples.to_string(), c.name.clone()];
    list("Metrics with the most series", &["SERIES", "SAMPLES", "METRIC"], &got.by_metric, &series);
    let churn =
        |c: &Counted| vec![c.began.to_string(), c.ended.to_string(), c.series.to_string(), c.name.clone()];
    list("Metrics whose series come and go", &["BEGAN", "ENDED", "SERIES", "METRIC"], &got.by_churn, &churn);
    let names = |c: &Counted| vec![c.values.to_string(), c.series.to_string(), c.name.clone()];
    list("Label names with the most values", &["VALUES", "SERIES", "LABEL"], &got.by_name, &names);
    list("Label pairs with the most series", &["SERIES", "SAMPLES", "PAIR"], &got.by_pair, &series);
    let json = json!({
        "from": from,
        "to": to,
        "series": got.series,
        "samples": got.samples,
        "histograms": got.histograms,
        "began": got.began,
        "ended": got.ended,
        "metrics": got.metrics,
        "label_names": got.names,
        "label_pairs": got.pairs,
        "by_metric": rows(&got.by_metric),
        "by_churn": rows(&got.by_churn),
        "by_label_name": rows(&got.by_name),
        "by_label_pair": rows(&got.by_pair),
    });
    Answer { good: true, text, json }
}

fn rows(all: &[Counted]) -> Vec<Value> {
    let row = |c: &Counted| {
        json!({
            "name": c.name,
            "series": c.series,
            "samples": c.samples,
            "values": c.values,
            "began": c.began,
            "ended": c.ended,
        })
    };
    all.iter().map(row).collect()
}
