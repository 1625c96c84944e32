//! Flags and what they call.

use super::{
    Answer, Output, check, remote, serve, test,
    tsdb::{self, TsdbCommand},
};
use clap::{Args, Parser, Subcommand};
use kit::settings::Settings;
use std::{path::PathBuf, process::ExitCode, time::Duration};

#[derive(Debug, Parser)]
#[command(
    name = "vigie",
    version,
    about = "The monitoring control plane: watches, counts, decides, tells.",
    after_help = "Examples:\n  vigie serve                                   watch what ./probes says, on http://127.0.0.1:3005\n  vigie serve --prometheus-config prometheus.yml  take over from a Prometheus\n  vigie check                                   every file, every problem, with its place\n  vigie test alerts/tests/*.yaml                rule unit tests\n  vigie query 'up == 0'                         ask the running one\n  vigie budget status                           what AI has cost today\n  vigie tsdb import SNAPSHOT                    take a Prometheus's history over\n"
)]
struct Cli {
    /// How to print the answer.
    #[arg(long, global = true, value_enum, default_value = "text")]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the control plane.
    #[command(
        after_help = "Settings come from flags, then the environment, then defaults.\n\nExamples:\n  vigie serve\n  vigie serve --config-dir /etc/vigie --data-dir /var/lib/vigie --listen 0.0.0.0:3005\n  HEALTH_CHECK_INTERVAL=10000 vigie serve\n"
    )]
    Serve(ServeArgs),
    /// Validate every configuration file; all problems at once.
    #[command(after_help = "Example:\n  vigie check --config-dir .\n")]
    Check(ConfigArgs),
    /// Run rule unit tests (the files that promtool test rules reads).
    #[command(after_help = "Example:\n  vigie test alerts/tests/*.yaml\n")]
    Test {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Let fields pass that are not known.
        #[arg(long)]
        ignore_unknown_fields: bool,
    },
    /// Ask a running Vigie (or any Prometheus) a PromQL query.
    #[command(
        after_help = "Examples:\n  vigie query 'sum by (service) (rate(http_requests_total[5m]))'\n  vigie query up --time 2026-11-22T12:00:00Z --output json\n"
    )]
    Query {
        query: String,
        /// When: seconds since 1970 or RFC 3339; now by default.
        #[arg(long)]
        time: Option<String>,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Alerts that are pending or firing.
    Alerts {
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// AI budgets.
    Budget {
        #[command(subcommand)]
        command: BudgetCommand,
    },
    /// The series store at rest: export to and import from Prometheus, and analysis.
    Tsdb {
        #[command(subcommand)]
        command: TsdbCommand,
    },
}

#[derive(Debug, Subcommand)]
enum BudgetCommand {
    /// What is spent, reserved and left in every budget.
    Status {
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// Where the running Vigie is.
#[derive(Debug, Clone, Args)]
pub(crate) struct RemoteArgs {
    #[arg(long, env = "MONITORING_SERVICE_URL", default_value = "http://127.0.0.1:3005")]
    pub(crate) url: String,
    /// A file with a bearer token of VIGIE_TOKENS_FILE.
    #[arg(long, env = "VIGIE_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Which files make the configuration.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// Where alerts/, probes/ and dashboards/ are [default: . unless a file is named below]
    #[arg(long)]
    pub(crate) config_dir: Option<PathBuf>,
    /// A whole prometheus.yml in place of probes/scrape.yaml and alerts/rules/
    #[arg(long)]
    pub(crate) prometheus_config: Option<PathBuf>,
    /// An Alertmanager configuration in place of alerts/routing.yaml
    #[arg(long)]
    pub(crate) alertmanager_config: Option<PathBuf>,
    /// Probes in place of probes/probes.yaml
    #[arg(long)]
    pub(crate) probes: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Where the stores keep their files [default: DATA_DIR, else ./data]
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address and port to listen on [default: LISTEN_ADDRESS:PORT, else 127.0.0.1:3005]
    #[arg(long)]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// How people reach it, for links in messages
    #[arg(long)]
    pub(crate) external_url: Option<String>,
    /// How long series are kept, such as 90d
    #[arg(long, value_parser = duration)]
    pub(crate) retention: Option<Duration>,
    /// Listen beyond loopback with everything open to everybody
    #[arg(long)]
    pub(crate) insecure_listen_without_tokens: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    model::duration::parse(text).map_err(|e| e.to_string())
}

/// The whole `main` of the binary.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let settings = Settings::from_env();
    let answer: Answer = match cli.command {
        Command::Serve(args) => return serve::serve(settings, args),
        Command::Check(args) => check::check(&settings, args),
        Command::Test { files, ignore_unknown_fields } => test::test(&files, ignore_unknown_fields),
        Command::Query { query, time, remote } => remote::query(&remote, &query, time.as_deref()),
        Command::Alerts { remote } => remote::alerts(&remote),
        Command::Budget { command: BudgetCommand::Status { remote } } => remote::budgets(&remote),
        Command::Tsdb { command } => tsdb::run(&settings, command, cli.output),
    };
    answer.print(cli.output)
}
