use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The times of the first `n` beats, without the look ahead of them, when each run takes what `takes` says.
async fn beats(n: usize, interval: Duration, seed: u64, takes: impl Fn(usize) -> Duration) -> Vec<Tick> {
    let clock = Clock::simulated(1_000_000);
    let mut beats = Beats::new(&clock, interval, (seed, 1 << 20), CancellationToken::new());
    if beats.look.is_some() {
        beats.next().await.unwrap();
    }
    let mut ticks = Vec::new();
    while ticks.len() < n {
        let pause = takes(ticks.len());
        ticks.push(beats.next().await.unwrap());
        clock.sleep(pause).await;
    }
    ticks
}

#[tokio::test(start_paused = true)]
async fn beats_never_drift_whatever_the_runs_take() {
    for takes in [0, 1, 999, 4_999, 29_999] {
        let got = beats(200, 30 * SECOND, 7_000, |i| Duration::from_millis(takes * (i as u64 % 3) / 2)).await;
        for (n, tick) in got.iter().enumerate() {
            assert_eq!(*tick, Tick { at: 1_027_000 + 30_000 * i64::try_from(n).unwrap(), missed: 0 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_longer_than_the_interval_leaves_beats_out_and_keeps_the_beat() {
    let got = beats(4, 10 * SECOND, 0, |i| if i == 1 { 25 * SECOND } else { Duration::ZERO }).await;
    let times: Vec<(i64, u64)> = got.iter().map(|t| ((t.at - 1_000_000) / 1000, t.missed)).collect();
    assert_eq!(times, [(0, 0), (10, 0), (40, 2), (50, 0)]);
}

#[test]
fn the_first_beat_keeps_its_place_in_the_interval_across_restarts() {
    for now in [0, 1, 12_345, 29_999, 1_700_000_000_123] {
        let first = now
            + i64::try_from(first_delay(now, 30 * SECOND, 123_456_789, usize::MAX / 2).as_millis()).unwrap();
        assert_eq!(first % 30_000, 123_456_789 % 30_000);
        assert!(first >= now && first < now + 30_000);
    }
}

#[test]
fn targets_spread_over_the_interval() {
    let mut tenths = [0; 10];
    for i in 0..1000 {
        let labels = model::Labels::from_pairs([("instance", format!("host-{i}:9100"))]);
        let delay = first_delay(0, 10 * SECOND, labels.stable_hash(), 1000);
        tenths[usize::try_from(delay.as_millis() / 1000).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|n| (60..140).contains(n)), "{tenths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_waiting() {
    let stop = CancellationToken::new();
    let mut beats = Beats::new(&Clock::simulated(0), 30 * SECOND, (5, 1 << 20), stop.clone());
    stop.cancel();
    assert_eq!(beats.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_target_whose_beat_is_far_off_is_looked_at_within_three_seconds() {
    let clock = Clock::simulated(1_000_000);
    let mut beats = Beats::new(&clock, 30 * SECOND, (7_000, 1 << 20), CancellationToken::new());
    let times =
        [beats.next().await.unwrap().at, beats.next().await.unwrap().at, beats.next().await.unwrap().at];
    assert_eq!(times, [1_001_000, 1_027_000, 1_057_000]);
    let mut soon = Beats::new(&clock, 2 * SECOND, (1_100, 1 << 20), CancellationToken::new());
    assert!(soon.look.is_none());
    assert_eq!(soon.next().await.unwrap().at, 1_057_100);
    // Who is asked every second has not a whole one to wait for after a restart.
    let mut quick = Beats::new(&clock, SECOND, (900, 1 << 20), CancellationToken::new());
    assert_eq!((quick.next().await.unwrap().at, quick.next().await.unwrap().at), (1_057_100, 1_057_900));
}

#[test]
fn in_a_crowd_some_share_a_place_and_where_it_doubles_half_keep_theirs() {
    let place = |i: u64, crowd| {
        let labels = model::Labels::from_pairs([("instance", format!("host-{i}:9100"))]);
        first_delay(0, 10 * SECOND, labels.stable_hash(), crowd)
    };
    let places = |n: u64| (0..n).map(|i| place(i, usize::try_from(n).unwrap())).collect::<Vec<_>>();
    for (n, most) in [(50, 8), (400, 64), (4000, 512)] {
        let mut found = places(n);
        found.sort();
        found.dedup();
        assert!(found.len() <= most && found.len() * 2 > most, "{n} targets are at {} places", found.len());
    }
    let kept = (0..400).filter(|i| place(*i, 400) == place(*i, 800)).count();
    assert!((150..250).contains(&kept), "{kept} kept their places");
}
