//! The auth service as a program of its own.

use kit::settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    auth::PROGRAM.main(
        auth::VERSION,
        Settings::from_env(),
        auth::Config::from_settings,
        |c| &c.place,
        auth::start,
    )
}
