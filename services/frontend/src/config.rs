//! The service's settings, read and checked all at once.

use kit::{problem::Problems, program::Place, settings::Settings};

/// What the service needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    pub place: Place,
    pub auth: Option<String>,
    pub ai: Option<String>,
}

impl Config {
    /// # Errors
    /// Every problem with the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let place = crate::PROGRAM.place(settings, true, &mut problems);
        let mut url = |name: &str, public: &str| {
            settings.service_url(name, &mut problems).or_else(|| settings.service_url(public, &mut problems))
        };
        let auth = url("AUTH_SERVICE_URL", "NEXT_PUBLIC_AUTH_SERVICE_URL");
        let ai = url("AI_SERVICE_URL", "NEXT_PUBLIC_AI_SERVICE_URL");
        problems.into_result(Config { place, auth, ai })
    }
}
