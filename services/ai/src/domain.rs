//! What the tutor is asked and answers, apart from HTTP.

mod ask;
mod metrics;
mod prompts;

pub(crate) use ask::{Analysis, AnalysisType, Ask, ChatBody, Defaults};
pub(crate) use metrics::Metrics;
