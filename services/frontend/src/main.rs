//! The frontend service as a program of its own.

use kit::settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    frontend::PROGRAM.main(
        frontend::VERSION,
        Settings::from_env(),
        frontend::Config::from_settings,
        |c| &c.place,
        frontend::start,
    )
}
