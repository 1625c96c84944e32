//! When scrapes and probes run: the n-th run at `start + n * interval`, however long the runs take.
//!
//! Each target starts at its own place in the interval, told by a stable hash: so the load is spread, and a
//! restart goes on at the same beat. A target waits for nobody but itself; a run that overlaps the next beat
//! makes that one be left out and counted.

use kit::clock::Clock;
use model::Timestamp;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The time that its samples carry, in milliseconds since 1970.
    pub(crate) at: Timestamp,
    /// Beats left out since the one before.
    pub(crate) missed: u64,
}

/// How late a run may be and still be stamped with the time it was due: equal distances compress to nothing.
const TOLERANCE: Duration = Duration::from_millis(3);

/// How long from `now_ms` (wall time) to the first beat of the target that `seed` stands for.
pub(crate) fn first_delay(now_ms: i64, interval: Duration, seed: u64) -> Duration {
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let offset = seed % interval;
    let phase = u64::try_from(now_ms.max(0)).unwrap_or(0) % interval;
    Duration::from_millis((offset + interval - phase) % interval)
}

/// The beats of one target.
#[derive(Debug)]
pub(crate) struct Beats {
    clock: Clock,
    stop: CancellationToken,
    interval: Duration,
    due: Duration,
    begun: bool,
}

impl Beats {
    pub(crate) fn new(clock: &Clock, interval: Duration, seed: u64, stop: CancellationToken) -> Beats {
        let due = clock.elapsed() + first_delay(clock.now_ms(), interval, seed);
        Beats { clock: clock.clone(), stop, interval, due, begun: false }
    }

    /// Waits for the next beat; `None` once it was told to stop. To be called when the run before has ended.
    pub(crate) async fn next(&mut self) -> Option<Tick> {
        let mut missed = 0;
        if self.begun {
            let behind = self.clock.elapsed().saturating_sub(self.due).as_nanos();
            missed = u64::try_from(behind / self.interval.as_nanos().max(1)).unwrap_or(u64::MAX);
            self.due += self.interval * u32::try_from(missed.saturating_add(1)).unwrap_or(u32::MAX);
        }
        self.begun = true;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            () = self.clock.sleep_until(self.due) => {}
        }
        let late = self.clock.elapsed().saturating_sub(self.due);
        let mut at = self.clock.now_ms();
        if late <= TOLERANCE.min(self.interval / 100) {
            at -= i64::try_from(late.as_millis()).unwrap_or(0);
        }
        Some(Tick { at, missed })
    }
}

#[cfg(test)]
mod tests;
