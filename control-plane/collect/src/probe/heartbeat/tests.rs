use super::*;

const MINUTE: i64 = 60_000;

fn probe(name: &str) -> HeartbeatProbe {
    HeartbeatProbe {
        name: name.to_owned(),
        token: Credential::Given(Secret::new("s3cret")),
        interval: Duration::from_mins(10),
        grace: Duration::from_mins(1),
    }
}

/// What a look at `now` says: `None` while it waits.
async fn look(heartbeats: &Heartbeats, now: i64) -> Option<Result<(), String>> {
    let mut found = Found::new();
    let outcome = run(heartbeats, &probe("backup"), now, &mut found).await;
    (!found.waiting).then_some(outcome)
}

fn good() -> Beat {
    Beat { failed: None }
}

#[tokio::test]
async fn silence_beyond_interval_and_grace_is_a_failure_and_a_beat_ends_it() {
    let heartbeats = Heartbeats::new(None);
    heartbeats.replace([probe("backup")].iter());
    assert_eq!(look(&heartbeats, 0).await, None, "it is waited for");
    assert_eq!(look(&heartbeats, 11 * MINUTE).await, None);
    let never = look(&heartbeats, 12 * MINUTE).await;
    assert_eq!(never, Some(Err("no beat ever came; waited for 12m, longer than 11m".to_owned())));
    heartbeats.beat("backup", "s3cret", good(), 13 * MINUTE).await.unwrap();
    assert_eq!(look(&heartbeats, 24 * MINUTE).await, Some(Ok(())), "at the very end of the grace");
    let late = look(&heartbeats, 24 * MINUTE + 1000).await;
    assert_eq!(late, Some(Err("no beat for 11m1s, longer than 11m".to_owned())));
}

#[tokio::test]
async fn a_service_can_say_that_it_fails_and_that_it_works_again() {
    let heartbeats = Heartbeats::new(None);
    heartbeats.replace([probe("backup")].iter());
    let failed = Beat { failed: Some("disk\n full".to_owned()) };
    heartbeats.beat("backup", "s3cret", failed, 0).await.unwrap();
    let said = look(&heartbeats, MINUTE).await;
    assert_eq!(said, Some(Err("the service says that it fails: disk full".to_owned())));
    heartbeats.beat("backup", "s3cret", good(), 2 * MINUTE).await.unwrap();
    assert_eq!(look(&heartbeats, 3 * MINUTE).await, Some(Ok(())));
}

#[tokio::test]
async fn a_beat_needs_the_token_of_its_heartbeat() {
    let heartbeats = Heartbeats::new(None);
    heartbeats.replace([probe("backup")].iter());
    for (name, token) in [("backup", "other"), ("backup", ""), ("else", "s3cret")] {
        assert_eq!(heartbeats.beat(name, token, good(), 0).await, Err(BeatError::Refused), "{name} {token}");
    }
    // A token that is no longer in the configuration is none.
    heartbeats.replace([].iter());
    assert_eq!(heartbeats.beat("backup", "s3cret", good(), 0).await, Err(BeatError::Refused));
}

#[tokio::test]
async fn the_token_of_a_file_is_read_at_every_beat() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let heartbeats = Heartbeats::new(None);
    heartbeats.replace([HeartbeatProbe { token: Credential::File(path.clone()), ..probe("backup") }].iter());
    assert_eq!(heartbeats.beat("backup", "one", good(), 0).await, Err(BeatError::Refused));
    for token in ["one", "two"] {
        std::fs::write(&path, format!("{token}\n")).unwrap();
        assert_eq!(heartbeats.beat("backup", token, good(), 0).await, Ok(()));
    }
    // An empty file is no way in.
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(heartbeats.beat("backup", "", good(), 0).await, Err(BeatError::Refused));
}

#[tokio::test]
async fn what_is_known_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let restart = || {
        let state = State::open(folder.path()).unwrap();
        let heartbeats = Heartbeats::new(Some(state.clone()));
        heartbeats.replace([probe("backup")].iter());
        (state, heartbeats)
    };
    let (state, heartbeats) = restart();
    assert_eq!(look(&heartbeats, 0).await, None);
    state.close();
    let (state, heartbeats) = restart();
    assert!(
        matches!(look(&heartbeats, 12 * MINUTE).await, Some(Err(_))),
        "a restart gives no new time to wait"
    );
    heartbeats.beat("backup", "s3cret", good(), 20 * MINUTE).await.unwrap();
    state.close();
    let (state, heartbeats) = restart();
    assert_eq!(look(&heartbeats, 25 * MINUTE).await, Some(Ok(())));
    let failed = Beat { failed: Some("no space left".to_owned()) };
    heartbeats.beat("backup", "s3cret", failed, 26 * MINUTE).await.unwrap();
    state.close();
    let (state, heartbeats) = restart();
    let said = look(&heartbeats, 27 * MINUTE).await;
    assert_eq!(said, Some(Err("the service says that it fails: no space left".to_owned())));
    state.close();
    let lost = heartbeats.beat("backup", "s3cret", good(), 28 * MINUTE).await;
    assert!(matches!(lost, Err(BeatError::NotRecorded(_))), "{lost:?}");
    assert_eq!(look(&heartbeats, 29 * MINUTE).await, Some(Ok(())), "it counts all the same");
}

#[tokio::test]
async fn a_reload_forgets_nothing_of_those_that_stay() {
    let heartbeats = Heartbeats::new(None);
    heartbeats.replace([probe("backup"), probe("other")].iter());
    heartbeats.beat("backup", "s3cret", good(), 0).await.unwrap();
    heartbeats.replace([probe("backup")].iter());
    assert_eq!(look(&heartbeats, 5 * MINUTE).await, Some(Ok(())));
}
