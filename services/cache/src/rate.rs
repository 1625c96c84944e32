//! Rate limits: so many calls of one caller in a window.

use crate::{Cache, CacheError};
use std::{sync::Arc, time::Duration};

/// A limit of its own name. Windows begin with a caller's first call.
#[derive(Debug, Clone)]
pub struct RateLimit {
    cache: Arc<dyn Cache>,
    name: &'static str,
    limit: u32,
    window: Duration,
}

/// Whether a call may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// How many more calls the window has room for.
    pub remaining: u32,
    /// Until the window ends.
    pub resets_in: Duration,
}

impl RateLimit {
    pub fn new(cache: Arc<dyn Cache>, name: &'static str, limit: u32, window: Duration) -> Self {
        RateLimit { cache, name, limit, window }
    }

    /// Counts a call of `who`; a refused call counts too.
    ///
    /// # Errors
    /// When the cache is away: the caller decides whether to go on.
    pub async fn check(&self, who: &str) -> Result<Verdict, CacheError> {
        let key = format!("rate:{}:{who}", self.name);
        let counted = self.cache.increment(&key, 1, self.window).await?;
        let remaining = i64::from(self.limit) - counted.value;
        Ok(Verdict {
            allowed: remaining >= 0,
            remaining: u32::try_from(remaining).unwrap_or(0),
            resets_in: counted.resets_in,
        })
    }
}
