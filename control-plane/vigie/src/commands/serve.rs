//! `vigie serve`.

use super::cli::{ConfigArgs, ServeArgs};
use crate::{NAME, Options, VERSION, Vigie};
use kit::{boot, problem::Problems, program::DataDir, settings::Settings};
use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

/// The options that settings and flags make.
pub(super) fn options(settings: &Settings, config: &ConfigArgs) -> Result<Options, Problems> {
    let mut options = Options::from_settings(settings)?;
    let named =
        config.prometheus_config.is_some() || config.alertmanager_config.is_some() || config.probes.is_some();
    options.config_dir = match &config.config_dir {
        Some(dir) => Some(dir.clone()),
        // With a file named, the folders are read only if they are asked for.
        None => (!named).then(|| PathBuf::from(".")),
    };
    options.prometheus_config.clone_from(&config.prometheus_config);
    options.alertmanager_config.clone_from(&config.alertmanager_config);
    options.probes.clone_from(&config.probes);
    Ok(options)
}

pub(super) fn serve(settings: Settings, args: ServeArgs) -> ExitCode {
    boot::main(NAME, VERSION, settings, |boot| async move {
        let mut options = options(&boot.settings, &args.config)?;
        if let Some(dir) = args.data_dir {
            options.data_dir = dir;
        }
        if let Some(listen) = args.listen {
            options.listen = listen;
        }
        if let Some(url) = args.external_url {
            options.external_url = Some(url.trim_end_matches('/').to_owned());
        }
        if let Some(retention) = args.retention {
            options.retention = retention;
        }
        options.insecure = args.insecure_listen_without_tokens;
        let _claimed = DataDir::claim(&options.data_dir)?;
        let bind = Vigie::listen(&options).await?;
        let vigie = Arc::new(Box::pin(Vigie::start(options, bind, &boot.tasks)).await?);
        // For people: stdout carries the log. Nobody may be reading.
        let _lost = writeln!(std::io::stderr().lock(), "Vigie {VERSION} is at {}/", vigie.base());
        loop {
            tokio::select! {
                () = boot.stop.cancelled() => break,
                () = boot.reload.notified() => {
                    // Told in the log, and by a metric.
                    let _told = vigie.reload().await.is_err();
                }
            }
        }
        vigie.stop().await;
        boot.tasks.stop(Duration::from_secs(2)).await;
        tracing::info!("stopped");
        Ok(())
    })
}
