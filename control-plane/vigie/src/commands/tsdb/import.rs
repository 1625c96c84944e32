//! `vigie tsdb import`.

use super::{
    ImportArgs, Output,
    meter::{Meter, say},
    open,
};
use crate::commands::Answer;
use ::tsdb::prometheus::{Directory, Import, Kind, StoreSink};
use kit::{clock::Clock, settings::Settings, telemetry::rfc3339};
use serde_json::json;
use std::time::Duration;

/// The journal's name in the data directory.
const JOURNAL: &str = "import.journal";
/// How long Vigie keeps series unless it is told otherwise.
const RETENTION: Duration = Duration::from_hours(90 * 24);
/// Nothing that is imported is too old for this run.
const FOREVER: Duration = Duration::from_hours(24 * 366 * 100);

pub(super) fn import(settings: &Settings, args: &ImportArgs, output: Output) -> anyhow::Result<Answer> {
    let (mut blocks, mut notes) = (Vec::new(), Vec::new());
    for source in &args.sources {
        let directory = Directory::open(source)?;
        if directory.kind == Kind::Data {
            notes.push(format!(
                "{} is a data directory: its blocks are read, its write-ahead log, which has the last two to three hours, is not (vigie tsdb import --help says how to make a snapshot that includes them)",
                source.display()
            ));
        }
        blocks.extend(directory.blocks);
    }
    let clock = Clock::system();
    let keeps = clock.now_ms().saturating_sub(i64::try_from(RETENTION.as_millis()).unwrap_or(i64::MAX));
    if let Some(oldest) = blocks.iter().map(|b| b.meta.min_time).min().filter(|oldest| *oldest < keeps) {
        notes.push(format!(
            "the oldest samples are of {}; Vigie deletes what is older than its retention, 90d unless vigie serve --retention says more",
            rfc3339(oldest)
        ));
    }
    if output == Output::Text {
        notes.iter().for_each(|n| say(n));
    }
    let mut window = Duration::ZERO;
    let opened = open(settings, &args.store, true, |config| {
        config.retention = FOREVER;
        window = config.block_range;
    })?;
    let window_ms = i64::try_from(window.as_millis())?;
    let import = Import::open(blocks, &opened.dir.join(JOURNAL), window_ms)?;
    let mut meter = Meter::new(&clock);
    let mut sink = StoreSink::new(opened.store.clone());
    let done = import.run(&mut sink, &mut |p| {
        let what = format!("{} blocks, {} series", p.blocks, p.series);
        meter.tell(p.windows_before, p.windows_done, p.windows, p.samples, &what);
    });
    meter.end();
    let dir = opened.dir.display().to_string();
    let closed = opened.close();
    let done = done?;
    closed?;
    let left_out = sink.left_out();
    let samples = done.samples.saturating_sub(left_out);
    let mut text = if done.windows > 0 && done.windows_before == done.windows {
        format!("nothing is left: {dir} has these blocks already")
    } else {
        format!("{samples} samples of {} blocks are in {dir}", done.blocks)
    };
    if done.windows_before > 0 && done.windows_before < done.windows {
        text.push_str(&format!(" (went on after {} of {} windows)", done.windows_before, done.windows));
    }
    if left_out > 0 {
        text.push_str(&format!("\n{left_out} histograms were left out: their numbers contradict each other"));
    }
    let json = json!({
        "histograms_left_out": left_out,
        "data_dir": dir,
        "blocks": done.blocks,
        "windows": done.windows,
        "windows_before": done.windows_before,
        "samples": samples,
        "notes": notes,
    });
    Ok(Answer { good: true, text, json })
}
