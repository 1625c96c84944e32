//! The payment service as a program of its own.

use kit::settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    payment::PROGRAM.main(
        payment::VERSION,
        Settings::from_env(),
        payment::Config::from_settings,
        |c| &c.place,
        payment::start,
    )
}
