//! No grant passes a budget; money is never lost or made.

use super::*;
use proptest::prelude::*;

const DAY: i64 = 86_400_000;

fn request(attempt: &str, amount: i64, limit: i64, now: i64) -> HoldRequest {
    HoldRequest {
        id: format!("hold-{attempt}"),
        attempt_id: attempt.into(),
        request: format!("amount {amount}"),
        amount: NanoUsd(amount),
        now,
        expires_at: now + 1_000,
        charges: vec![Charge {
            budget: "platform".into(),
            scope: String::new(),
            period_start: now - now.rem_euclid(DAY),
            period_end: now - now.rem_euclid(DAY) + DAY,
            limit: Some(NanoUsd(limit)),
        }],
    }
}

fn money(state: &State, now: i64) -> (i64, i64, i64, i64) {
    let b = state.balances(now).expect("read").pop().expect("one balance");
    (b.spent.0, b.reserved.0, b.unconfirmed.0, b.refusals)
}

fn open() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().expect("dir");
    let state = State::open(dir.path()).expect("open");
    (dir, state)
}

#[test]
fn a_hold_lives_its_life_and_every_step_can_be_repeated() {
    let (_dir, state) = open();
    let granted = state.reserve(request("a", 60, 100, 5)).wait().expect("asked");
    assert_eq!(granted, Granted::Yes { id: "hold-a".into(), amount: NanoUsd(60), expires_at: 1_005 });
    assert_eq!(state.reserve(request("a", 60, 100, 7)).wait().expect("asked"), granted, "the same answer");
    assert_eq!(state.reserve(request("a", 61, 100, 7)).wait().expect("asked"), Granted::Conflict);
    assert_eq!(money(&state, 5), (0, 60, 0, 0));
    let refused = state.reserve(request("b", 41, 100, 5)).wait().expect("asked");
    assert!(
        matches!(&refused, Granted::No(r) if r.budget == "platform" && r.committed == 60 && r.resets_at == DAY)
    );
    assert_eq!(state.reserve(request("b", 41, 100, 5)).wait().expect("asked"), refused);
    assert_eq!(money(&state, 5), (0, 60, 0, 1), "a repeated refusal is counted once");

    assert!(matches!(state.start_hold("hold-a", 10).wait(), Ok(Step::Done(_))));
    assert!(matches!(state.start_hold("hold-a", 10).wait(), Ok(Step::Repeated(_))));
    assert!(matches!(state.progress_hold("hold-a", NanoUsd(20)).wait(), Ok(Step::Done(_))));
    assert_eq!(money(&state, 5), (20, 40, 0, 1));
    assert!(matches!(state.cancel_hold("hold-a").wait(), Ok(Step::Conflict(_))));
    assert!(matches!(state.settle_hold("hold-a", NanoUsd(70), "u".into()).wait(), Ok(Step::Done(_))));
    assert_eq!(money(&state, 5), (70, 0, 0, 1), "usage above the hold is recorded in full");
    assert!(matches!(state.settle_hold("hold-a", NanoUsd(70), "u".into()).wait(), Ok(Step::Repeated(_))));
    assert!(matches!(state.settle_hold("hold-a", NanoUsd(1), "v".into()).wait(), Ok(Step::Conflict(_))));
    assert_eq!(state.settle_hold("none", NanoUsd(1), "v".into()).wait().expect("asked"), Step::Unknown);
    state.close();
}

#[test]
fn expiry_frees_what_never_started_and_keeps_what_did() {
    let (_dir, state) = open();
    for attempt in ["a", "b"] {
        state.reserve(request(attempt, 30, 100, 0)).wait().expect("asked");
    }
    state.start_hold("hold-b", 1).wait().expect("asked");
    assert_eq!(state.expire_holds(999).wait().expect("asked"), (0, 0));
    assert_eq!(state.expire_holds(1_000).wait().expect("asked"), (1, 1));
    assert_eq!(money(&state, 0), (0, 0, 30, 0));
    assert!(matches!(state.start_hold("hold-a", 1_001).wait(), Ok(Step::Conflict(_))), "too late to start");
    assert_eq!(state.unconfirmed_holds().expect("read").len(), 1);
    assert!(matches!(state.settle_hold("hold-b", NanoUsd(7), "late".into()).wait(), Ok(Step::Done(_))));
    assert_eq!(money(&state, 0), (7, 0, 0, 0));
    state.close();
}

#[test]
fn a_period_never_moves_back() {
    let (_dir, state) = open();
    state.reserve(request("a", 30, 100, DAY + 5)).wait().expect("asked");
    state.reserve(request("b", 30, 100, DAY - 5)).wait().expect("asked");
    assert_eq!(money(&state, DAY + 5), (0, 60, 0, 0));
    assert!(state.balances(DAY - 5).expect("read").is_empty());
    state.close();
}

#[test]
fn a_longer_period_begins_once_the_shorter_one_is_over() {
    let (_dir, state) = open();
    state.reserve(request("a", 30, 100, 3 * DAY + 5)).wait().expect("asked");
    let by_the_month = |attempt: &str, now: i64| {
        let mut request = request(attempt, 30, 100, now);
        (request.charges[0].period_start, request.charges[0].period_end) = (0, 30 * DAY);
        request
    };
    state.reserve(by_the_month("b", 3 * DAY + 10)).wait().expect("asked");
    assert_eq!(money(&state, 3 * DAY + 10), (0, 60, 0, 0), "the day goes on to its end");
    state.reserve(by_the_month("c", 5 * DAY)).wait().expect("asked");
    assert_eq!(
        money(&state, 5 * DAY),
        (0, 30, 0, 0),
        "not in the day that is over, where nobody would see it"
    );
    state.close();
}

#[test]
fn at_any_concurrency_the_grants_stay_within_the_limit() {
    let (_dir, state) = open();
    let granted = std::sync::atomic::AtomicI64::new(0);
    std::thread::scope(|scope| {
        for t in 0..8 {
            let (state, granted) = (state.clone(), &granted);
            scope.spawn(move || {
                for i in 0..25 {
                    let answer =
                        state.reserve(request(&format!("{t}-{i}"), 7, 500, 5)).wait().expect("asked");
                    if matches!(answer, Granted::Yes { .. }) {
                        granted.fetch_add(7, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(granted.into_inner(), 497, "all that fits, and nothing more");
    assert_eq!(money(&state, 5), (0, 497, 0, 200 - 71));
    state.close();
}

#[derive(Debug, Clone)]
enum Act {
    Reserve(i64),
    Start(usize),
    Progress(usize, i64),
    Settle(usize, i64),
    Cancel(usize),
    Expire,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (1i64..60).prop_map(Act::Reserve),
        (0usize..12).prop_map(Act::Start),
        ((0usize..12), 0i64..80).prop_map(|(i, n)| Act::Progress(i, n)),
        ((0usize..12), 0i64..80).prop_map(|(i, n)| Act::Settle(i, n)),
        (0usize..12).prop_map(Act::Cancel),
        Just(Act::Expire),
    ];
    proptest::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: the balance is the sum of the holds, nothing is negative, and no
    /// grant passes the limit.
    #[test]
    fn balances_are_the_sum_of_their_holds(acts in acts()) {
        let (_dir, state) = open();
        let (mut now, limit) = (0, 100);
        for (n, act) in acts.into_iter().enumerate() {
            now += 100;
            match act {
                Act::Reserve(amount) => {
                    let before = state.balances(now).expect("read").first().map_or(0, |b| b.committed().0);
                    let answer = state.reserve(request(&format!("{}", n % 12), amount, limit, now)).wait().expect("asked");
                    let after = state.balances(now).expect("read").first().map_or(0, |b| b.committed().0);
                    prop_assert!(after <= limit || after <= before, "{answer:?}: {before} -> {after}");
                }
                Act::Start(i) => { state.start_hold(&format!("hold-{i}"), now).wait().expect("asked"); }
                Act::Progress(i, n) => { state.progress_hold(&format!("hold-{i}"), NanoUsd(n)).wait().expect("asked"); }
                Act::Settle(i, n) => { state.settle_hold(&format!("hold-{i}"), NanoUsd(n), format!("{n}")).wait().expect("asked"); }
                Act::Cancel(i) => { state.cancel_hold(&format!("hold-{i}")).wait().expect("asked"); }
                Act::Expire => { state.expire_holds(now).wait().expect("asked"); }
            }
            let (mut spent, mut reserved, mut unconfirmed) = (0, 0, 0);
            for i in 0..12 {
                if let Some(h) = state.hold(&format!("hold-{i}")).expect("read") {
                    spent += h.spent;
                    match h.phase {
                        Phase::Held | Phase::Started => reserved += h.amount - h.spent,
                        Phase::Unconfirmed => unconfirmed += h.amount - h.spent,
                        _ => {}
                    }
                }
            }
            if let Some(b) = state.balances(now).expect("read").first() {
                prop_assert_eq!((b.spent.0, b.reserved.0, b.unconfirmed.0), (spent, reserved, unconfirmed));
                prop_assert!(spent >= 0 && reserved >= 0 && unconfirmed >= 0);
            }
        }
        state.close();
    }
}
