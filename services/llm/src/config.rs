//! Which provider, which model, and where the budget authority is.

use kit::{
    problem::Problems,
    secret::Secret,
    settings::{Settings, base_url, setting_problem},
};
use std::time::Duration;

/// How to reach a provider.
#[derive(Debug, Clone)]
pub enum ProviderConfig {
    /// The deterministic tutor in this process.
    Offline,
    /// OpenAI's chat completions, or another server that speaks them.
    OpenAi { key: Secret, organisation: Option<String>, base: String, model: String },
}

/// Everything the client needs to know.
#[derive(Debug, Clone)]
pub struct LlmConfig {
    pub provider: ProviderConfig,
    /// Vigie's base address; without one every call is refused.
    pub authority: Option<String>,
    pub token: Option<Secret>,
    /// The longest that a provider may take.
    pub patience: Duration,
    /// Calls under way at once.
    pub most_calls: usize,
}

const OPENAI: &str = "https://api.openai.com/v1";

impl LlmConfig {
    /// Reads `DEFAULT_AI_PROVIDER`, `OPENAI_*`, `MONITORING_SERVICE_URL`, `SERVICE_AUTH_TOKEN`. With a key and no
    /// provider named it is OpenAI; without a key the offline tutor.
    pub fn from_settings(settings: &Settings, problems: &mut Problems) -> Self {
        let key = settings.secret("OPENAI_API_KEY", problems);
        let wanted = settings.get("DEFAULT_AI_PROVIDER");
        let provider = match (wanted, key) {
            (None | Some("openai"), Some(key)) => openai(settings, key, problems),
            // The default is openai; without a key that means: offline, said aloud at start.
            (None | Some("openai" | "offline"), _) => ProviderConfig::Offline,
            (Some(other), _) => {
                problems.push(setting_problem(
                    "DEFAULT_AI_PROVIDER",
                    format!("{other:?} is not a provider here: openai or offline"),
                ));
                ProviderConfig::Offline
            }
        };
        LlmConfig {
            provider,
            authority: settings.service_url("MONITORING_SERVICE_URL", problems),
            token: settings.secret("SERVICE_AUTH_TOKEN", problems),
            patience: Duration::from_secs(60),
            most_calls: 64,
        }
    }
}

fn openai(settings: &Settings, key: Secret, problems: &mut Problems) -> ProviderConfig {
    let base = settings.get("OPENAI_BASE_URL").unwrap_or(OPENAI);
    if let Err(e) = base_url(base) {
        problems.push(setting_problem("OPENAI_BASE_URL", e));
    }
    ProviderConfig::OpenAi {
        key,
        organisation: settings.get("OPENAI_ORG_ID").map(str::to_owned),
        base: base.trim_end_matches('/').to_owned(),
        model: "gpt-4o-mini".to_owned(),
    }
}
