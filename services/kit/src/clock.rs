//! The one clock that loops ask.
//!
//! Wall time never goes back, and never stands still: it is monotonic time plus the largest distance to the
//! system's clock seen so far (whose start can be set from a mark kept on disk). A system clock that steps back
//! is outrun, not waited for: samples, `for` and messages go on. Monotonic time is tokio's, so a test with
//! paused time moves both by sleeping.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Where wall time comes from.
#[derive(Debug)]
enum Source {
    System,
    /// Starts at this many milliseconds and follows tokio's (possibly paused) time.
    Simulated(i64),
}

/// Cheap to clone; clones share how far ahead of monotonic time they are.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    epoch: Instant,
    /// Wall time minus monotonic time, in milliseconds: the largest seen so far.
    ahead: AtomicI64,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::with_source(Source::System)
    }

    /// A clock for tests: `start_ms` now, moved by tokio's time alone.
    pub fn simulated(start_ms: i64) -> Self {
        Self::with_source(Source::Simulated(start_ms))
    }

    #[expect(clippy::disallowed_methods, reason = "this is where the process's time comes from")]
    fn with_source(source: Source) -> Self {
        Clock(Arc::new(Inner { source, epoch: Instant::now(), ahead: AtomicI64::new(i64::MIN) }))
    }

    /// Wall time in milliseconds since 1970, never less than it said before.
    pub fn now_ms(&self) -> i64 {
        // The wall first: a pause between the two readings must not look like a wall further ahead.
        let wall = self.wall_ms();
        let elapsed = self.elapsed_ms();
        let ahead = wall.saturating_sub(elapsed);
        self.0.ahead.fetch_max(ahead, Ordering::Relaxed).max(ahead).saturating_add(elapsed)
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// What the source says, even when it stepped back.
    #[expect(clippy::disallowed_methods, reason = "this is where the process's time comes from")]
    pub fn wall_ms(&self) -> i64 {
        match self.0.source {
            Source::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Simulated(start) => start.saturating_add(self.elapsed_ms()),
        }
    }

    /// Never answer less than `mark_ms` from now on: the mark that an earlier process left.
    pub fn raise_to(&self, mark_ms: i64) {
        self.0.ahead.fetch_max(mark_ms.saturating_sub(self.elapsed_ms()), Ordering::Relaxed);
    }

    /// Monotonic time since the clock was made.
    #[expect(clippy::disallowed_methods, reason = "this is where the process's time comes from")]
    pub fn elapsed(&self) -> Duration {
        Instant::now().duration_since(self.0.epoch)
    }

    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Sleeps until [`Clock::elapsed`] reaches `at`.
    pub async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep_until(self.0.epoch + at).await;
    }
}

#[cfg(test)]
mod tests;
