//! The life of a process: settings, logs, work, and an end in order.

use crate::{
    clock::Clock,
    problem::Problems,
    settings::Settings,
    tasks::Tasks,
    telemetry::{Output, Telemetry, TelemetryConfig},
};
use std::{io::Write, process::ExitCode};
use tokio_util::sync::CancellationToken;

/// What a program is given to work with.
#[derive(Debug, Clone)]
pub struct Boot {
    pub settings: Settings,
    pub clock: Clock,
    pub tasks: Tasks,
    /// Cancelled by SIGTERM and by Ctrl-C.
    pub stop: CancellationToken,
    /// Poked by SIGHUP.
    pub reload: std::sync::Arc<tokio::sync::Notify>,
}

/// Has the system give the process memory in small pages. An allocator spreads what it holds, and with pages of
/// two megabytes a process that holds three takes eighteen. To be called first.
pub fn small_pages() {
    // A kernel that does not know the setting has no large pages to take.
    let _unknown = rustix::thread::disable_transparent_huge_pages(true).is_err();
}

/// Runs a long-lived program: logs and traces on, signals caught, `work` run to its end.
///
/// An error is printed as one line (several problems as several) on stderr, and the exit code is 1.
pub fn main<F>(service: &str, version: &str, settings: Settings, work: impl FnOnce(Boot) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    crate::client::install_tls();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return complain(service, &anyhow::anyhow!("the runtime did not start: {e}")),
    };
    runtime.block_on(async {
        let config = TelemetryConfig {
            service: service.to_owned(),
            version: version.to_owned(),
            level: settings.get("LOG_LEVEL").unwrap_or("info").to_owned(),
            otlp_endpoint: settings.get("OTEL_EXPORTER_OTLP_ENDPOINT").map(str::to_owned),
            otlp_protocol: settings.get("OTEL_EXPORTER_OTLP_PROTOCOL").map(str::to_owned),
            output: Output::Stdout,
        };
        let telemetry = match Telemetry::install(&config) {
            Ok(telemetry) => telemetry,
            Err(e) => return complain(service, &e),
        };
        let clock = Clock::system();
        let tasks = Tasks::new(clock.clone());
        let stop = CancellationToken::new();
        let reload = std::sync::Arc::new(tokio::sync::Notify::new());
        if let Err(e) = watch_signals(&tasks, &stop, &reload) {
            return complain(service, &e.into());
        }
        let boot = Boot { settings, clock, tasks, stop, reload };
        let code = match Box::pin(work(boot)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => complain(service, &e),
        };
        // The exporter's shutdown blocks.
        if let Err(e) = tokio::task::spawn_blocking(move || telemetry.shutdown()).await {
            tracing::debug!(error = %e, "ending telemetry failed");
        }
        code
    })
}

/// Prints why the program cannot go on, and gives the exit code 1.
pub fn complain(service: &str, error: &anyhow::Error) -> ExitCode {
    let text = match error.downcast_ref::<Problems>() {
        Some(problems) => problems.to_string(),
        None => {
            let text = format!("{error:#}");
            // A sentence that begins with the program's name needs it no second time.
            if text.starts_with(&format!("{service} ")) { text } else { format!("{service}: {text}") }
        }
    };
    // Nowhere to say that stderr is gone.
    let _lost = writeln!(std::io::stderr().lock(), "{text}");
    ExitCode::FAILURE
}

fn watch_signals(
    tasks: &Tasks,
    stop: &CancellationToken,
    reload: &std::sync::Arc<tokio::sync::Notify>,
) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    let (stop, reload, ending) = (stop.clone(), std::sync::Arc::clone(reload), tasks.stopping());
    tasks.spawn("signals", async move {
        loop {
            tokio::select! {
                () = ending.cancelled() => return,
                _ = term.recv() => { tracing::info!("SIGTERM: stopping"); stop.cancel(); }
                _ = int.recv() => { tracing::info!("interrupted: stopping"); stop.cancel(); }
                _ = hup.recv() => { tracing::info!("SIGHUP: reloading"); reload.notify_one(); }
            }
        }
    });
    Ok(())
}
