//! The notify service as a program of its own.

use kit::settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    notify::PROGRAM.main(
        notify::VERSION,
        Settings::from_env(),
        notify::Config::from_settings,
        |c| &c.place,
        notify::start,
    )
}
