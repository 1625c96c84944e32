//! The service's settings, read and checked all at once.

use kit::{
    problem::Problems,
    program::Place,
    settings::{Settings, setting_problem},
};

/// What the service needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    pub place: Place,
    /// db's base address; without it the service says that it cannot work.
    pub db: Option<String>,
    pub trial_days: u32,
}

impl Config {
    /// # Errors
    /// Every problem with the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let config = Config {
            place: crate::PROGRAM.place(settings, false, &mut problems),
            db: settings.service_url("DB_SERVICE_URL", &mut problems),
            trial_days: settings.parsed("TRIAL_PERIOD_DAYS", 30, &mut problems),
        };
        if config.trial_days > 366 {
            problems.push(setting_problem("TRIAL_PERIOD_DAYS", "must be 0 to 366"));
        }
        problems.into_result(config)
    }
}
