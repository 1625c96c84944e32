//! Memory that all queries of an engine hold together, besides what each of them may hold.
//!
//! A query takes what it holds at its peak, in slices, and gives it back when its result is gone. Its first slice is
//! free: what is small is never refused for what is large, and does not touch the counter that all share.

use super::EvalError;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const SLICE: usize = 1 << 20;

/// So many bytes for all queries together.
#[derive(Debug)]
pub struct MemoryPool {
    limit: usize,
    lent: AtomicUsize,
}

impl MemoryPool {
    pub fn new(limit: usize) -> Self {
        MemoryPool { limit, lent: AtomicUsize::new(0) }
    }

    /// What queries have of it.
    pub fn lent(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }
}

/// What a query has of a pool, if there is one.
#[derive(Debug, Default)]
pub struct Lease {
    pool: Option<Arc<MemoryPool>>,
    /// Beyond the first slice.
    bytes: usize,
}

impl Lease {
    pub(super) fn of(pool: Option<&Arc<MemoryPool>>) -> Self {
        Lease { pool: pool.cloned(), bytes: 0 }
    }

    /// Gives back what is beyond so many bytes.
    pub fn keep(&mut self, bytes: usize) {
        if let Some(pool) = &self.pool {
            let more = self.bytes.saturating_sub(bytes);
            self.bytes -= more;
            pool.lent.fetch_sub(more, Ordering::Relaxed);
        }
    }

    /// Makes sure that there are so many bytes.
    pub(super) fn cover(&mut self, bytes: usize) -> Result<(), EvalError> {
        let Some(pool) = &self.pool else { return Ok(()) };
        let wanted = bytes.saturating_sub(SLICE);
        if wanted <= self.bytes {
            return Ok(());
        }
        let more = wanted.div_ceil(SLICE).saturating_mul(SLICE) - self.bytes;
        let fits = |lent: usize| lent.checked_add(more).filter(|sum| *sum <= pool.limit);
        match pool.lent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += more;
                Ok(())
            }
            Err(_) => Err(EvalError::TooMuchMemoryTogether(pool.limit)),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.lent.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_queries_hold_together_is_bounded_and_comes_back() {
        let pool = Arc::new(MemoryPool::new(4 * SLICE));
        let lease = || Lease::of(Some(&pool));
        let (mut one, mut other) = (lease(), lease());
        for held in [0, SLICE, 10, 3 * SLICE + 1, 2 * SLICE] {
            one.cover(held).expect("there is room");
        }
        assert_eq!(pool.lent(), 3 * SLICE, "the peak, but for the first slice");
        other.cover(2 * SLICE).expect("the rest");
        let refused = other.cover(2 * SLICE + 1).expect_err("no room").to_string();
        assert!(refused.contains("4194304 bytes (VIGIE_QUERY_MAX_TOTAL_MEMORY)"), "{refused}");
        lease().cover(SLICE).expect("what is small is not refused");
        other.keep(0);
        assert_eq!(pool.lent(), 3 * SLICE, "what is not kept is free");
        drop(one);
        other.cover(5 * SLICE).expect("there is room again");
        drop(other);
        assert_eq!(pool.lent(), 0);
        Lease::default().cover(usize::MAX).expect("without a pool there is no limit");
    }
}
