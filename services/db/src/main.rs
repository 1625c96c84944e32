//! The db service as a program of its own.

use kit::settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    db::PROGRAM.main(db::VERSION, Settings::from_env(), db::Config::from_settings, |c| &c.place, db::start)
}
