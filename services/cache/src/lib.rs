//! Short-lived keys: cached answers, rate limits, sessions. One trait, two implementations: [`Embedded`], in
//! this process, and [`Redis`]; one behaviour suite (`tests/it`) runs on both.
//!
//! Not here: anything that must outlive its time to live, or a restart of the process that embeds it. What
//! must survive belongs into db.
//!
//! Invariants: every key has a time to live; the embedded twin is bounded; a key is visible only under the
//! prefix it was written with, so services that share a Redis do not share keys.

mod embedded;
mod rate;
mod redis;

pub use embedded::Embedded;
pub use rate::{RateLimit, Verdict};
pub use redis::Redis;

use futures_util::future::BoxFuture;
use kit::{clock::Clock, problem::Problems, settings::Settings};
use std::{fmt, sync::Arc, time::Duration};

/// The cache did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("the cache does not answer")]
    Away(#[source] ::redis::RedisError),
    #[error("a cached value may have at most {limit} bytes; this one has {bytes}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the key {0:?} holds something that is not a number")]
    NotANumber(String),
}

/// Most bytes of one value.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// A counter after it was incremented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub value: i64,
    /// Until the counter is gone and starts again from zero.
    pub resets_in: Duration,
}

/// Answers of a [`Cache`].
pub type Answer<'a, T> = BoxFuture<'a, Result<T, CacheError>>;

/// Keys with a time to live.
pub trait Cache: Send + Sync + fmt::Debug {
    /// The value, unless it is absent or its time is over.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>>;

    /// Writes a value, whatever was there. A `ttl` below a millisecond counts as one.
    fn set<'a>(&'a self, key: &'a str, value: &'a [u8], ttl: Duration) -> Answer<'a, ()>;

    /// Writes a value only where there is none. Says whether it did: of many callers, one.
    fn set_if_absent<'a>(&'a self, key: &'a str, value: &'a [u8], ttl: Duration) -> Answer<'a, bool>;

    /// Removes a key and gives what it held: of many callers, one gets it.
    fn take<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>>;

    /// Removes a key. Says whether it was there.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, bool>;

    /// Adds to a counter, which begins at zero and lives for `window` from its first increment.
    fn increment<'a>(&'a self, key: &'a str, by: i64, window: Duration) -> Answer<'a, Counted>;

    /// Whether it answers; the error is for a health report.
    fn ping(&self) -> Answer<'_, ()>;

    /// `embedded` or `redis`.
    fn kind(&self) -> &'static str;
}

/// Which cache the settings ask for.
#[derive(Debug, Clone, Default)]
pub enum CacheConfig {
    #[default]
    Embedded,
    Redis(redis::RedisConfig),
}

impl CacheConfig {
    /// Redis when `REDIS_HOST` (with `REDIS_PORT`, `REDIS_PASSWORD`) is set, else the embedded twin.
    pub fn from_settings(settings: &Settings, problems: &mut Problems) -> Self {
        let Some(host) = settings.get("REDIS_HOST") else { return CacheConfig::Embedded };
        CacheConfig::Redis(redis::RedisConfig {
            host: host.to_owned(),
            port: settings.parsed("REDIS_PORT", 6379, problems),
            password: settings.secret("REDIS_PASSWORD", problems),
        })
    }

    /// The cache, its keys under `prefix`. Redis is connected to when it is first asked.
    ///
    /// # Errors
    /// When the address of Redis makes no sense.
    pub fn build(self, prefix: &str, clock: Clock) -> Result<Arc<dyn Cache>, CacheError> {
        Ok(match self {
            CacheConfig::Embedded => Arc::new(Embedded::new(clock)),
            CacheConfig::Redis(config) => Arc::new(Redis::new(config, prefix)?),
        })
    }
}

pub use redis::RedisConfig;

pub(crate) fn check_size(value: &[u8]) -> Result<(), CacheError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(CacheError::TooLarge { bytes: value.len(), limit: MAX_VALUE_BYTES });
    }
    Ok(())
}
