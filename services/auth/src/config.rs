//! The service's settings, read and checked all at once.

use cache::CacheConfig;
use kit::{problem::Problems, program::Place, settings::Settings};

/// What the service needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    pub place: Place,
    /// db's base address; without it the service says that it cannot work.
    pub db: Option<String>,
    pub cache: CacheConfig,
}

impl Config {
    /// # Errors
    /// Every problem with the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let config = Config {
            place: crate::PROGRAM.place(settings, false, &mut problems),
            db: settings.service_url("DB_SERVICE_URL", &mut problems),
            cache: CacheConfig::from_settings(settings, &mut problems),
        };
        problems.into_result(config)
    }
}
