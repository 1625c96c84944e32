//! Wall time never goes back.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_simulated_clock_moves_with_tokio() {
    let clock = Clock::simulated(1_000);
    clock.sleep(Duration::from_secs(5)).await;
    assert_eq!((clock.now_ms(), clock.elapsed()), (6_000, Duration::from_secs(5)));
    clock.sleep_until(Duration::from_secs(7)).await;
    assert_eq!(clock.now_ms(), 8_000);
}

#[tokio::test(start_paused = true)]
async fn a_mark_from_disk_is_the_floor_and_time_goes_on_from_there() {
    let clock = Clock::simulated(1_000);
    clock.raise_to(10_000);
    assert_eq!((clock.now_ms(), clock.wall_ms()), (10_000, 1_000));
    clock.sleep(Duration::from_secs(3)).await;
    assert_eq!(clock.now_ms(), 13_000, "a wall that is behind is not waited for");
    clock.raise_to(12_000);
    assert_eq!(clock.now_ms(), 13_000, "an old mark changes nothing");
}
