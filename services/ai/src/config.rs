//! The service's settings, read and checked all at once.

use cache::CacheConfig;
use kit::{
    problem::Problems,
    program::Place,
    settings::{Settings, setting_problem},
};
use llm::LlmConfig;

/// What the service needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    pub place: Place,
    pub llm: LlmConfig,
    pub cache: CacheConfig,
    /// db's base address; only its health is looked at until conversations are stored.
    pub db: Option<String>,
    /// The most tokens of one answer.
    pub max_tokens: u32,
    pub temperature: f64,
    /// Calls per user and minute.
    pub rate_limit: u32,
}

impl Config {
    /// # Errors
    /// Every problem with the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let config = Config {
            place: crate::PROGRAM.place(settings, false, &mut problems),
            llm: LlmConfig::from_settings(settings, &mut problems),
            cache: CacheConfig::from_settings(settings, &mut problems),
            db: settings.service_url("DB_SERVICE_URL", &mut problems),
            max_tokens: settings.parsed("MAX_TOKENS", 2000, &mut problems),
            temperature: settings.parsed("TEMPERATURE", 0.7, &mut problems),
            rate_limit: settings.parsed("AI_RATE_LIMIT", 60, &mut problems),
        };
        if !(1..=4000).contains(&config.max_tokens) {
            problems.push(setting_problem("MAX_TOKENS", "must be 1 to 4000"));
        }
        if !(0.0..=2.0).contains(&config.temperature) {
            problems.push(setting_problem("TEMPERATURE", "must be 0 to 2"));
        }
        problems.into_result(config)
    }
}
