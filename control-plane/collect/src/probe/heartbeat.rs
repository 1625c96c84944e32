//! Heartbeats: a service calls in, and its silence is what tells.
//!
//! Where the others ask, this one looks when the last call came. The time of the last beat is on disk before the
//! call is answered, so a restart forgets none. A heartbeat that never came is waited for from the moment when it
//! was first configured, which is on disk too.

use super::Found;
use crate::scrape::config::auth::Credential;
use kit::secret::Secret;
use model::{Timestamp, duration};
use state::State;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeartbeatProbe {
    pub(super) name: String,
    pub(super) token: Credential,
    pub(super) interval: Duration,
    /// How much later than the interval a beat may come.
    pub(super) grace: Duration,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// What the service says is wrong with it; `None` when it says that it works.
    pub failed: Option<String>,
}

/// Why a call does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeatError {
    /// There is no such heartbeat, or the token is another. They are not told apart, so that nobody finds names.
    #[error("there is no heartbeat of this name with this token")]
    Refused,
    /// It counts until the process ends, but its time is not on disk.
    #[error("the beat could not be recorded: {0}")]
    NotRecorded(String),
}

/// A message is cut here.
const MAX_MESSAGE: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Last {
    /// Waited for since then.
    Never {
        since: Timestamp,
    },
    Good {
        at: Timestamp,
    },
    Failed {
        at: Timestamp,
        message: String,
    },
}

impl Last {
    fn at(&self) -> Timestamp {
        match self {
            Last::Never { since: at } | Last::Good { at } | Last::Failed { at, .. } => *at,
        }
    }

    /// As a mark: `good 1700000000000`, with the message behind it.
    fn mark(&self) -> String {
        match self {
            Last::Never { since } => format!("never {since}"),
            Last::Good { at } => format!("good {at}"),
            Last::Failed { at, message } => format!("failed {at} {message}"),
        }
    }

    fn read(mark: &str) -> Option<Last> {
        let (word, rest) = mark.split_once(' ')?;
        let (time, message) = rest.split_once(' ').unwrap_or((rest, ""));
        let at = time.parse().ok()?;
        match word {
            "never" => Some(Last::Never { since: at }),
            "good" => Some(Last::Good { at }),
            "failed" => Some(Last::Failed { at, message: message.to_owned() }),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    token: Credential,
    /// `None` until it was read from disk or a beat came.
    last: Option<Last>,
}

/// The heartbeats of the running configuration. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heartbeats {
    state: Option<State>,
    entries: Arc<Mutex<HashMap<String, Entry>>>,
}

fn mark_name(name: &str) -> String {
    format!("heartbeat/{name}")
}

impl Heartbeats {
    /// Without a state the beats are forgotten at the end of the process.
    pub(crate) fn new(state: Option<State>) -> Heartbeats {
        Heartbeats { state, entries: Arc::default() }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another configuration over; what is known of those that stay is kept.
    pub(crate) fn replace<'a>(&self, wanted: impl Iterator<Item = &'a HeartbeatProbe>) {
        let mut entries = self.entries();
        let mut old = std::mem::take(&mut *entries);
        for probe in wanted {
            let last = old.remove(&probe.name).and_then(|e| e.last);
            entries.insert(probe.name.clone(), Entry { token: probe.token.clone(), last });
        }
        // Should it ever come back, it is waited for anew.
        for gone in self.state.iter().flat_map(|state| old.keys().map(move |name| (state, name))) {
            drop(gone.0.set_mark(&mark_name(gone.1), "gone"));
        }
    }

    /// A call came.
    ///
    /// # Errors
    /// When it does not count, or is not on disk.
    pub(crate) async fn beat(
        &self,
        name: &str,
        token: &str,
        beat: Beat,
        now: Timestamp,
    ) -> Result<(), BeatError> {
        let known = self.entries().get(name).map(|e| e.token.clone());
        let wanted = match &known {
            Some(credential) => credential.secret().map_err(|e| {
                tracing::warn!(heartbeat = name, error = %e, "the token of a heartbeat cannot be read");
                BeatError::Refused
            })?,
            // Compared all the same, so that time does not tell names.
            None => Secret::new("no heartbeat has this name"),
        };
        if !wanted.matches(token) || known.is_none() || token.is_empty() {
            return Err(BeatError::Refused);
        }
        let last = match beat.failed {
            None => Last::Good { at: now },
            Some(message) => {
                let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
                Last::Failed { at: now, message: message.chars().take(MAX_MESSAGE).collect() }
            }
        };
        let mark = last.mark();
        if let Some(entry) = self.entries().get_mut(name) {
            entry.last = Some(last);
        }
        let Some(state) = &self.state else { return Ok(()) };
        let written = state.set_mark(&mark_name(name), mark).await;
        written.map_err(|e| BeatError::NotRecorded(e.to_string()))
    }

    /// What is known of one; read from disk the first time.
    async fn last(&self, name: &str, now: Timestamp) -> Last {
        let known = |this: &Self| this.entries().get(name).and_then(|e| e.last.clone());
        if let Some(last) = known(self) {
            return last;
        }
        let read = match self.state.clone() {
            Some(state) => {
                let mark = mark_name(name);
                let read = tokio::task::spawn_blocking(move || state.mark(&mark)).await;
                match read.map_err(|e| e.to_string()).and_then(|r| r.map_err(|e| e.to_string())) {
                    Ok(mark) => mark.as_deref().and_then(Last::read),
                    Err(e) => {
                        tracing::error!(heartbeat = name, error = %e, "the last beat cannot be read");
                        None
                    }
                }
            }
            None => None,
        };
        let is_new = read.is_none();
        let last = {
            let mut entries = self.entries();
            // A beat may have come while the disk was asked.
            let found = read.unwrap_or(Last::Never { since: now });
            match entries.get_mut(name) {
                Some(entry) => entry.last.get_or_insert(found).clone(),
                None => found,
            }
        };
        if is_new
            && matches!(last, Last::Never { .. })
            && let Some(state) = &self.state
            && let Err(e) = state.set_mark(&mark_name(name), last.mark()).await
        {
            tracing::error!(heartbeat = name, error = %e, "a new heartbeat could not be recorded");
        }
        last
    }
}

/// Looks whether the last beat came in time.
pub(super) async fn run(
    heartbeats: &Heartbeats,
    probe: &HeartbeatProbe,
    now: Timestamp,
    found: &mut Found,
) -> Result<(), String> {
    let last = heartbeats.last(&probe.name, now).await;
    let silence = Duration::from_millis(u64::try_from(now.saturating_sub(last.at())).unwrap_or(0));
    let late = silence > probe.interval + probe.grace;
    if !matches!(last, Last::Never { .. }) {
        found.set("probe_heartbeat_last_timestamp_seconds", last.at() as f64 / 1000.0);
    }
    let silence = duration::format(Duration::from_secs(silence.as_secs()));
    let due = duration::format(probe.interval + probe.grace);
    match last {
        Last::Never { .. } if !late => {
            found.waiting = true;
            Ok(())
        }
        Last::Never { .. } => Err(format!("no beat ever came; waited for {silence}, longer than {due}")),
        _ if late => Err(format!("no beat for {silence}, longer than {due}")),
        Last::Good { .. } => Ok(()),
        Last::Failed { message, .. } if message.is_empty() => {
            Err("the service says that it fails".to_owned())
        }
        Last::Failed { message, .. } => Err(format!("the service says that it fails: {message}")),
    }
}

#[cfg(test)]
mod tests;
