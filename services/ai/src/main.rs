//! The ai service as a program of its own.

use kit::settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    ai::PROGRAM.main(ai::VERSION, Settings::from_env(), ai::Config::from_settings, |c| &c.place, ai::start)
}
