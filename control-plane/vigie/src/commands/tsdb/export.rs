//! `vigie tsdb export`.

use super::{ExportArgs, meter::Meter, open, selectors};
use crate::commands::Answer;
use ::tsdb::prometheus::{Export, ExportOptions, Exported};
use anyhow::Context;
use kit::{clock::Clock, settings::Settings, telemetry::rfc3339};
use serde_json::json;
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

pub(super) fn export(settings: &Settings, args: ExportArgs) -> anyhow::Result<Answer> {
    let block_ms = i64::try_from(args.block_range.as_millis()).context("--block-range is too long")?;
    let options = ExportOptions {
        out: args.out.clone(),
        from: args.range.from,
        to: args.range.to,
        selectors: selectors(&args.range.selectors)?,
        written: args.range.selectors,
        block_ms,
        skip_custom_buckets: args.skip_custom_buckets,
    };
    let opened = open(settings, &args.store, false, |_| {})?;
    let clock = Clock::system();
    let export = Export::open(&opened.store, options)?;
    let before = export.is_done() && export.progress().windows > 0;
    let mut meter = Meter::new(&clock);
    let done = export.run(&opened.store, clock.now_ms(), &mut chance, &mut |p| {
        let what = format!("{} blocks, {} series", p.blocks.len(), p.series);
        meter.tell(p.windows_before, p.windows_done, p.windows, p.samples, &what);
    });
    meter.end();
    let done = done?;
    opened.close()?;
    Ok(answer(&args.out.display().to_string(), &done, before))
}

/// 128 bits by chance, as the standard library's hashers get them from the system.
fn chance() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    (half() << 64) | half()
}

fn answer(out: &str, done: &Exported, before: bool) -> Answer {
    let range = done.range.map(|(from, to)| (rfc3339(from), rfc3339(to)));
    let mut notes = Vec::new();
    if done.start_times_left_out > 0 {
        notes.push(format!(
            "{} start times of samples are not in the blocks: their format has no place for them",
            done.start_times_left_out
        ));
    }
    if done.custom_buckets > 0 {
        notes.push(format!(
            "{} histograms have custom buckets, which Prometheus before 3.0 does not understand (--skip-custom-buckets leaves them out)",
            done.custom_buckets
        ));
    }
    if done.custom_buckets_left_out > 0 {
        notes.push(format!("{} histograms with custom buckets were left out", done.custom_buckets_left_out));
    }
    let mut text = match &range {
        None => "there are no samples to export".to_owned(),
        Some(_) if before => {
            format!("nothing is left: {out} has this export already; another folder takes what came since")
        }
        Some((from, to)) => {
            format!("{} samples in {} blocks in {out}, from {from} to {to}", done.samples, done.blocks.len(),)
        }
    };
    if done.windows_before > 0 && !before {
        text.push_str(&format!(" (went on after {} of {} windows)", done.windows_before, done.windows));
    }
    notes.iter().for_each(|n| text.push_str(&format!("\n{n}")));
    let blocks: Vec<String> = done.blocks.iter().map(ToString::to_string).collect();
    let json = json!({
        "out": out,
        "from": range.as_ref().map(|r| &r.0),
        "to": range.as_ref().map(|r| &r.1),
        "windows": done.windows,
        "windows_before": done.windows_before,
        "blocks": blocks,
        "samples": done.samples,
        "start_times_left_out": done.start_times_left_out,
        "custom_buckets": done.custom_buckets,
        "custom_buckets_left_out": done.custom_buckets_left_out,
    });
    Answer { good: true, text, json }
}
