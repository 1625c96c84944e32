//! Requests as callers send them, and the one question that they become.

use super::prompts;
use llm::{ChatRequest, Message, Mode, Role};
use serde::Deserialize;

/// The longest single message, in characters.
const MAX_MESSAGE: usize = 4000;
/// The longest conversation handed over, in characters and in turns.
const MAX_ALL: usize = 20_000;
const MAX_TURNS: usize = 50;

/// How far a learner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Beginner,
    #[default]
    Intermediate,
    Advanced,
}

impl Level {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Level::Beginner => "beginner",
            Level::Intermediate => "intermediate",
            Level::Advanced => "advanced",
        }
    }
}

/// The body of a chat call: one `message`, or the `messages` of a conversation.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChatBody {
    message: Option<String>,
    conversation_id: Option<String>,
    messages: Option<Vec<Message>>,
    system_prompt: Option<String>,
    language: Option<String>,
    #[serde(default)]
    level: Level,
    #[serde(default)]
    mode: Mode,
    temperature: Option<f64>,
    max_tokens: Option<u32>,
}

/// The body of an analysis.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Analysis {
    text: String,
    #[serde(default)]
    analysis_type: AnalysisType,
    language: Option<String>,
    #[serde(default)]
    level: Level,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AnalysisType {
    #[default]
    Grammar,
    Style,
    Vocabulary,
}

/// A question that may be asked.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) request: ChatRequest,
    pub(crate) conversation_id: Option<String>,
    /// One of the languages taught, or `other`: a label of metrics.
    pub(crate) language: &'static str,
    pub(crate) level: &'static str,
}

/// What a caller does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) max_tokens: u32,
    pub(crate) temperature: f64,
}

fn language_label(language: Option<&str>) -> &'static str {
    let known = llm::OFFLINE_LANGUAGES.into_iter();
    language.and_then(|given| known.into_iter().find(|k| given.eq_ignore_ascii_case(k))).unwrap_or("other")
}

fn check_length(what: &str, text: &str, most: usize) -> Result<(), String> {
    let length = text.chars().count();
    if length > most {
        return Err(format!("{what} may have at most {most} characters; this one has {length}"));
    }
    Ok(())
}

impl ChatBody {
    /// # Errors
    /// A sentence about the field that is wrong.
    pub(crate) fn into_ask(self, defaults: Defaults) -> Result<Ask, String> {
        let language = self.language.as_deref().map(str::trim).filter(|l| !l.is_empty());
        check_length("language", language.unwrap_or_default(), 20)?;
        check_length("conversationId", self.conversation_id.as_deref().unwrap_or_default(), 64)?;
        let prompt = prompts::chat(self.mode, language, self.level.as_str());
        let (system, said) = match (self.message, self.messages) {
            (Some(text), None) => (
                Some(self.system_prompt.unwrap_or(prompt)),
                vec![Message { role: Role::User, content: text }],
            ),
            (None, Some(messages)) => {
                let own = messages.iter().any(|m| m.role == Role::System);
                (self.system_prompt.or_else(|| (!own).then_some(prompt)), messages)
            }
            (Some(_), Some(_)) => return Err("send either message or messages, not both".to_owned()),
            (None, None) => return Err("message (or messages) is missing".to_owned()),
        };
        if said.len() > MAX_TURNS {
            return Err(format!("messages may have at most {MAX_TURNS} turns"));
        }
        for message in &said {
            check_length("a message", &message.content, MAX_MESSAGE)?;
        }
        if !said.iter().any(|m| m.role == Role::User && !m.content.trim().is_empty()) {
            return Err("there is no message of the user to answer".to_owned());
        }
        let system = system.map(|content| Message { role: Role::System, content });
        let messages: Vec<Message> = system.into_iter().chain(said).collect();
        let all: usize = messages.iter().map(|m| m.content.chars().count()).sum();
        if all > MAX_ALL {
            return Err(format!("the conversation may have at most {MAX_ALL} characters; it has {all}"));
        }
        let temperature = self.temperature.unwrap_or(defaults.temperature);
        if !(0.0..=2.0).contains(&temperature) {
            return Err("temperature must be 0 to 2".to_owned());
        }
        let max_tokens = self.max_tokens.unwrap_or(defaults.max_tokens.min(1000));
        if !(1..=defaults.max_tokens).contains(&max_tokens) {
            return Err(format!("maxTokens must be 1 to {}", defaults.max_tokens));
        }
        Ok(Ask {
            language: language_label(language),
            level: self.level.as_str(),
            conversation_id: self.conversation_id,
            request: ChatRequest {
                messages,
                temperature,
                max_tokens,
                language: language.map(str::to_owned),
                mode: self.mode,
            },
        })
    }
}

impl Analysis {
    pub(crate) fn kind(&self) -> AnalysisType {
        self.analysis_type
    }

    /// # Errors
    /// A sentence about the field that is wrong.
    pub(crate) fn into_ask(self, defaults: Defaults) -> Result<Ask, String> {
        let prompt = prompts::analysis(self.analysis_type, self.language.as_deref(), self.level.as_str());
        let body = ChatBody {
            message: Some(self.text),
            system_prompt: Some(prompt),
            language: self.language,
            level: self.level,
            temperature: Some(0.3),
            ..ChatBody::default()
        };
        body.into_ask(defaults)
    }
}

#[cfg(test)]
mod tests;
