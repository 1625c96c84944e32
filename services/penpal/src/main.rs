//! The whole platform in one process: `cargo run --release`.

use kit::settings::Settings;
use penpal::{PROGRAM, Platform, VERSION};
use std::{io::Write, process::ExitCode, time::Duration};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kit::boot::small_pages();
    let settings = match PROGRAM.arguments(VERSION, Settings::from_env()) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    kit::boot::main(PROGRAM.name, VERSION, settings, |boot| async move {
        let platform = Box::pin(Platform::start(&boot.settings, &boot.tasks)).await?;
        // For people: stdout carries the log. Nobody may be reading.
        let _lost = write!(std::io::stderr().lock(), "{}", platform.welcome());
        loop {
            tokio::select! {
                () = boot.stop.cancelled() => break,
                () = boot.reload.notified() => platform.reload().await,
            }
        }
        platform.stop().await;
        boot.tasks.stop(Duration::from_secs(2)).await;
        tracing::info!("stopped");
        Ok(())
    })
}
