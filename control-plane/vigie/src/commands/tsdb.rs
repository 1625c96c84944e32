//! `vigie tsdb`: a store at rest, taken out as Prometheus blocks, filled from them, and looked at.

mod analyze;
mod export;
mod import;
mod meter;

use super::{Answer, Output};
use ::tsdb::{StdDisk, Tsdb, TsdbConfig};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kit::{program::DataDir, settings::Settings};
use model::{Matcher, Timestamp};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

#[derive(Debug, Subcommand)]
pub(super) enum TsdbCommand {
    /// Write the store's samples as blocks that a Prometheus opens.
    #[command(
        after_help = "Vigie must not be running on the data directory. What was interrupted goes on when the same command is given again.\n\nExamples:\n  vigie tsdb export --data-dir ./data --out ./blocks\n  vigie tsdb export --out ./blocks --match '{job=\"api\"}' --from 2026-11-01T00:00:00Z --block-range 18h\n\nThen give the blocks to a Prometheus whose retention reaches back that far, or it deletes them:\n  mv ./blocks/01* /var/lib/prometheus/ && systemctl restart prometheus\n"
    )]
    Export(ExportArgs),
    /// Take the samples of Prometheus blocks into the store.
    #[command(
        after_help = "A SOURCE is a block, a snapshot, or a whole data directory of Prometheus. Of a data directory the blocks are read and the write-ahead log is not: a snapshot has the last hours too. It is made by a Prometheus that runs with --web.enable-admin-api:\n  curl -X POST http://localhost:9090/api/v1/admin/tsdb/snapshot\n\nVigie must not be running on the data directory. What was interrupted goes on when the same command is given again.\n\nExamples:\n  vigie tsdb import --data-dir ./data /var/lib/prometheus/snapshots/20261125T120000Z-3f0c1e2d4b5a6978\n  vigie tsdb import /var/lib/prometheus/01JD*\n"
    )]
    Import(ImportArgs),
    /// Show which metrics and labels have the most series, and which come and go.
    #[command(
        after_help = "Vigie must not be running on the data directory.\n\nExamples:\n  vigie tsdb analyze --data-dir ./data\n  vigie tsdb analyze --match '{job=\"api\"}' --from 2026-11-24T00:00:00Z --limit 50 --output json\n"
    )]
    Analyze(AnalyzeArgs),
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub(super) struct StoreArgs {
    /// Where Vigie keeps its files [default: DATA_DIR, else ./data]
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// Which samples.
#[derive(Debug, Clone, Args)]
pub(super) struct RangeArgs {
    /// From when: seconds since 1970 or RFC 3339
    #[arg(long, value_parser = time, allow_negative_numbers = true)]
    from: Option<Timestamp>,
    /// Up to when, inclusive
    #[arg(long, value_parser = time, allow_negative_numbers = true)]
    to: Option<Timestamp>,
    /// Only series that match this selector; may be given several times
    #[arg(long = "match", value_name = "SELECTOR")]
    selectors: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The folder for the blocks, made when it is missing
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    range: RangeArgs,
    /// The length of a block: a multiple of 2h, at most 31d
    #[arg(long, value_parser = duration, default_value = "2h")]
    block_range: Duration,
    /// Leave out histograms with custom buckets, which Prometheus before 3.0 does not understand
    #[arg(long)]
    skip_custom_buckets: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Blocks, snapshots or data directories of Prometheus
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct AnalyzeArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// How long the lists are
    #[arg(long, default_value_t = 10)]
    limit: usize,
}

pub(super) fn run(settings: &Settings, command: TsdbCommand, output: Output) -> Answer {
    let answer = match command {
        TsdbCommand::Export(args) => export::export(settings, args),
        TsdbCommand::Import(args) => import::import(settings, &args, output),
        TsdbCommand::Analyze(args) => analyze::analyze(settings, &args),
    };
    answer.unwrap_or_else(|e| {
        let text = format!("{e:#}");
        Answer { good: false, text: format!("vigie: {text}"), json: json!({"error": text}) }
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    model::duration::parse(text).map_err(|e| e.to_string())
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        // Beyond it there is no calendar either.
        if ms.is_nan() || ms.abs() > 1e15 {
            return Err("is out of range".to_owned());
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
        return Ok(ms as Timestamp);
    }
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed
        .map(|t| t.as_millisecond())
        .map_err(|_| "is neither seconds since 1970 nor RFC 3339, like 2026-11-25T12:00:00Z".to_owned())
}

fn selectors(texts: &[String]) -> anyhow::Result<Vec<Vec<Matcher>>> {
    let parse = |text: &String| {
        promql::parse_metric_selector(text).map_err(|e| anyhow::anyhow!("--match {text}: {e}"))
    };
    texts.iter().map(parse).collect()
}

/// A store that this process alone uses.
#[derive(Debug)]
struct Opened {
    dir: PathBuf,
    store: Tsdb,
    _claimed: DataDir,
}

/// Opens the store of a data directory; `create`: also where none is yet.
fn open(
    settings: &Settings,
    args: &StoreArgs,
    create: bool,
    change: impl FnOnce(&mut TsdbConfig),
) -> anyhow::Result<Opened> {
    let dir = args.data_dir.clone().or_else(|| settings.path("DATA_DIR")).unwrap_or_else(|| "./data".into());
    let series = dir.join("series");
    if !create && !series.is_dir() {
        let inner = dir.join("vigie");
        if inner.join("series").is_dir() {
            bail!("{} has no store; the whole platform keeps Vigie's in {}", dir.display(), inner.display());
        }
        bail!("{} has no store: {} is not there (--data-dir says where)", dir.display(), series.display());
    }
    let claimed = claim(&dir)?;
    let mut config = TsdbConfig::new(series);
    change(&mut config);
    let (store, report) = Tsdb::open(config, Arc::new(StdDisk))?;
    for damage in &report.damage {
        meter::say(&format!("damaged and left out: {damage}"));
    }
    Ok(Opened { dir, store, _claimed: claimed })
}

fn claim(dir: &Path) -> anyhow::Result<DataDir> {
    DataDir::claim(dir).context(
        "a store is exported, imported into and analyzed at rest: stop the Vigie that uses it, or work on a copy",
    )
}

impl Opened {
    /// Closes the store in order.
    fn close(self) -> anyhow::Result<()> {
        self.store.close().context("the store could not be closed in order")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        let check = |text: &str, expect: Option<Timestamp>| assert_eq!(time(text).ok(), expect, "{text}");
        check("0", Some(0));
        check("1700000000.5", Some(1_700_000_000_500));
        check("-1", Some(-1000));
        check("2026-11-25T12:00:00Z", Some(1_795_608_000_000));
        check("2026-11-25T13:00:00.25+01:00", Some(1_795_608_000_250));
        for bad in ["", "yesterday", "NaN", "inf", "1e300", "2026-11-25"] {
            check(bad, None);
        }
    }
}
