//! The service's settings, read and checked all at once.

use kit::{
    problem::{Problem, Problems},
    program::Place,
    settings::Settings,
};
use std::path::PathBuf;

/// What the service needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    pub place: Place,
    pub data_dir: PathBuf,
}

impl Config {
    /// # Errors
    /// Every problem with the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let place = crate::PROGRAM.place(settings, false, &mut problems);
        if settings.get("MONGODB_URI").is_some() {
            problems.push(
                Problem::unplaced(
                    "environment",
                    "MONGODB_URI is set, and this version keeps documents in SQLite only",
                )
                .with_help("unset it; documents are kept under --data-dir"),
            );
        }
        let data_dir = settings.path("DATA_DIR").unwrap_or_else(|| PathBuf::from("./data/db"));
        problems.into_result(Config { place, data_dir })
    }
}
