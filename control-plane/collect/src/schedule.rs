//! When scrapes and probes run: the n-th run at `start + n * interval`, however long the runs take.
//!
//! Each target starts at its own place in the interval, told by a stable hash: so the load is spread, and a
//! restart goes on at the same beat. Where there are many, some share a place: a wake-up with cold caches costs
//! more than the work itself, so it should serve several. Whoever starts it should not wait a whole interval to see something, so a
//! target whose place is far off has one look ahead of its beats. A target waits for nobody but itself; a run
//! that overlaps the next beat makes that one be left out and counted.

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

/// Targets that share a place in the interval, about.
const COMPANY: usize = 8;
/// Places in the interval, at least.
const PLACES: usize = 8;

/// How long from `now_ms` (wall time) to the first beat of the target that `seed` stands for, one of `crowd`.
pub(crate) fn first_delay(now_ms: i64, interval: Duration, seed: u64, crowd: usize) -> Duration {
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    // A power of two: where the crowd doubles, half of it keeps its places.
    let places = (crowd / COMPANY).next_power_of_two().max(PLACES);
    let places = u64::try_from(places).unwrap_or(u64::MAX).min(interval);
    let offset = u128::from(seed % interval) * u128::from(places) / u128::from(interval);
    let offset = u64::try_from(offset * u128::from(interval) / u128::from(places)).unwrap_or(0);
    let phase = u64::try_from(now_ms.max(0)).unwrap_or(0) % interval;
    Duration::from_millis((offset + interval - phase) % interval)
}

/// The first looks of all targets are spread over this time, or a tenth of the interval where that is shorter; a
/// target whose first beat comes sooner has none.
const FIRST_LOOKS: Duration = Duration::from_secs(3);

/// The beats of one target.
#[derive(Debug)]
pub(crate) struct Beats {
    clock: Clock,
    stop: CancellationToken,
    interval: Duration,
    /// When the look ahead of the beats is due.
    look: Option<Duration>,
    due: Duration,
    begun: bool,
}

impl Beats {
    pub(crate) fn new(
        clock: &Clock,
        interval: Duration,
        (seed, crowd): (u64, usize),
        stop: CancellationToken,
    ) -> Beats {
        let (now, delay) = (clock.elapsed(), first_delay(clock.now_ms(), interval, seed, crowd));
        let spread = FIRST_LOOKS.min(interval / 10);
        let look = (delay > spread).then(|| {
            now + Duration::from_millis(seed % u64::try_from(spread.as_millis()).unwrap_or(1).max(1))
        });
        Beats { clock: clock.clone(), stop, interval, look, due: now + delay, begun: false }
    }

    /// Waits for the next beat; `None` once it was told to stop. To be called when the run before has ended.
    pub(crate) async fn next(&mut self) -> Option<Tick> {
        if let Some(look) = self.look.take() {
            return self.wait_until(look).await.map(|at| Tick { at, missed: 0 });
        }
        let mut missed = 0;
        if self.begun {
            let behind = self.clock.elapsed().saturating_sub(self.due).as_nanos();
            missed = u64::try_from(behind / self.interval.as_nanos().max(1)).unwrap_or(u64::MAX);
            self.due += self.interval * u32::try_from(missed.saturating_add(1)).unwrap_or(u32::MAX);
        }
        self.begun = true;
        self.wait_until(self.due).await.map(|at| Tick { at, missed })
    }

    /// Waits, and gives the time for the samples.
    async fn wait_until(&self, due: Duration) -> Option<Timestamp> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            () = self.clock.sleep_until(due) => {}
        }
        let late = self.clock.elapsed().saturating_sub(due);
        let mut at = self.clock.now_ms();
        if late <= TOLERANCE.min(self.interval / 100) {
            at -= i64::try_from(late.as_millis()).unwrap_or(0);
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests;
