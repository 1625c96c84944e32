//! Places for queries: so many run, so many wait, and not for long.
//!
//! Whoever comes beyond that is told at once to come again, rather than to wait for an answer that nobody will want
//! any more. Rules are evaluated elsewhere and need no place here: no user can keep them waiting.

use kit::clock::Clock;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

#[derive(Debug)]
pub struct Queries {
    places: Arc<Semaphore>,
    queue: Semaphore,
    most: (usize, usize),
    wait: Duration,
}

/// Why a query has no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Busy {
    #[error(
        "{running} queries run and {waiting} wait: the limits are VIGIE_QUERY_CONCURRENCY and VIGIE_QUERY_QUEUE; try again"
    )]
    Full { running: usize, waiting: usize },
    #[error(
        "the query waited {} s for a place among {running}: the limits are VIGIE_QUERY_QUEUE_WAIT and VIGIE_QUERY_CONCURRENCY; try again",
        wait.as_secs_f64()
    )]
    Waited { running: usize, wait: Duration },
}

impl Queries {
    /// `places` queries run at the same time, `queue` more wait for at most `wait`.
    pub fn new(places: usize, queue: usize, wait: Duration) -> Self {
        let clamp = |n: usize| n.min(Semaphore::MAX_PERMITS);
        Queries {
            places: Arc::new(Semaphore::new(clamp(places))),
            queue: Semaphore::new(clamp(queue)),
            most: (places, queue),
            wait,
        }
    }

    /// A place if one is free now.
    pub(crate) fn place_now(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// A place, which is free again when it is dropped.
    pub(crate) async fn place(&self, clock: &Clock) -> Result<OwnedSemaphorePermit, Busy> {
        let (running, waiting) = self.most;
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let Ok(_turn) = self.queue.try_acquire() else { return Err(Busy::Full { running, waiting }) };
        tokio::select! {
            biased;
            place = Arc::clone(&self.places).acquire_owned() => {
                // Nobody closes it; if somebody did, no query could run.
                place.map_err(|_| Busy::Full { running, waiting })
            }
            () = clock.sleep(self.wait) => Err(Busy::Waited { running, wait: self.wait }),
        }
    }
}
