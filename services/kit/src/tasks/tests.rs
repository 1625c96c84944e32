//! Loops keep their time, survive panics, and stop.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_slow_run_does_not_shift_the_next_ones() {
    let clock = Clock::simulated(0);
    let tasks = Tasks::new(clock.clone());
    let starts = Arc::new(Mutex::new(Vec::new()));
    let (seen, c) = (Arc::clone(&starts), clock.clone());
    tasks.reconciler("loop", Schedule::Every(SECOND), move || {
        let (seen, c) = (Arc::clone(&seen), c.clone());
        async move {
            seen.lock().unwrap().push(c.now_ms());
            c.sleep(Duration::from_millis(if c.now_ms() == 1_000 { 1_500 } else { 10 })).await;
            Ok("done".into())
        }
    });
    clock.sleep(Duration::from_millis(4_500)).await;
    assert_eq!(*starts.lock().unwrap(), [0, 1_000, 3_000, 4_000]);
    assert!(tasks.stop(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_poke_runs_at_once_and_a_panic_is_counted_not_fatal() {
    let clock = Clock::simulated(0);
    let tasks = Tasks::new(clock.clone());
    let runs = Arc::new(AtomicU32::new(0));
    let r = Arc::clone(&runs);
    let poke = tasks.reconciler("poked", Schedule::Poked, move || {
        let n = r.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(n != 0, "first run fails");
            anyhow::bail!("second run fails")
        }
    });
    for _ in 0..2 {
        poke.poke();
        clock.sleep(SECOND).await;
    }
    let status = tasks.status().pop().expect("one loop");
    assert_eq!((runs.load(Ordering::SeqCst), status.panics, status.failures), (2, 1, 1));
    assert_eq!(status.last_error.as_deref(), Some("second run fails"));
    assert!(tasks.stop(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_group_stops_without_its_parent_and_with_it() {
    let tasks = Tasks::new(Clock::simulated(0));
    let (early, late) = (tasks.group(), tasks.group());
    let waits = |t: &Tasks| {
        let stop = t.stopping();
        async move { stop.cancelled().await }
    };
    early.spawn("early", waits(&early));
    late.spawn("late", waits(&late));
    assert!(early.stop(SECOND).await);
    assert!(!tasks.stopping().is_cancelled());
    tasks.stop(SECOND).await;
    assert!(late.stop(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_a_group_waits_for_the_groups_made_from_it() {
    let clock = Clock::simulated(0);
    let tasks = Tasks::new(clock.clone());
    let inner = tasks.group().group();
    let (ended, seen) = (Arc::new(AtomicU32::new(0)), inner.stopping());
    let done = Arc::clone(&ended);
    inner.spawn("slow to end", async move {
        seen.cancelled().await;
        clock.sleep(SECOND).await;
        done.store(1, Ordering::SeqCst);
    });
    assert!(tasks.stop(2 * SECOND).await);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}
