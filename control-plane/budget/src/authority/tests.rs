//! What services are answered.

use super::*;

const CONFIG: &str = "
budgets:
  - {name: platform, limit_usd: 0.001, alert_at: [0.05, 0.5]}
  - {name: each-user, limit_usd: 0.0005, per: [user]}
  - {name: watched, limit_usd: 0.0000001, on_exceed: warn}
prices:
  - {provider: offline, model: tutor-1, input: 1, output: 2}
";

fn open() -> (tempfile::TempDir, Arc<Authority>) {
    let dir = tempfile::tempdir().expect("dir");
    let state = State::open(dir.path()).expect("open");
    let config = BudgetConfig::parse("budgets.yaml", CONFIG).expect("config");
    (dir, Authority::new(state, Clock::simulated(1_000_000), config))
}

fn ask(user: &str, input: u64, output: u64) -> ReservationRequest {
    ReservationRequest {
        attempt_id: uuid::Uuid::new_v4().to_string(),
        service: "ai".into(),
        provider: "offline".into(),
        model: "tutor-1".into(),
        user: Some(user.into()),
        plan: None,
        input_tokens: input,
        max_output_tokens: output,
    }
}

#[tokio::test]
async fn a_call_is_held_started_settled_and_counted() {
    let (_dir, authority) = open();
    let held = authority.reserve(ask("u", 100, 100)).await.expect("granted");
    assert_eq!(held.reserved.to_string(), "0.0003");
    authority.start_call(&held.id).await.expect("started");
    let usage = Usage { input_tokens: 50, output_tokens: 10, ..Usage::default() };
    for _ in 0..2 {
        let cost = authority.settle(&held.id, &usage).await.expect("settled");
        assert_eq!(cost.to_string(), "0.00007");
    }
    let other = Usage { output_tokens: 11, ..usage };
    assert!(matches!(authority.settle(&held.id, &other).await, Err(BudgetError::Conflict(_))));
    let series = authority.series().expect("series");
    let find = |name: &str, part: &str| {
        let found = series.iter().find(|(n, l, _)| *n == name && l.to_string().contains(part));
        found.map(|(_, _, v)| *v)
    };
    assert_eq!(find("ai_tokens_total", "type=\"output\""), Some(10.0), "counted once");
    assert_eq!(find("ai_cost_usd_total", "type=\"input\""), Some(0.00005));
    assert_eq!(find("ai_budget_spent_usd", "platform"), Some(0.00007));
    assert_eq!(find("ai_budget_limit_usd", "platform"), Some(0.001));
    assert_eq!(find("ai_budget_threshold_reached", "0.05"), Some(1.0));
    assert_eq!(find("ai_budget_threshold_reached", "0.5"), Some(0.0));
}

#[tokio::test]
async fn each_user_has_a_budget_and_a_warning_one_never_refuses() {
    let (_dir, authority) = open();
    authority.reserve(ask("a", 200, 100)).await.expect("granted");
    let refused = authority.reserve(ask("a", 200, 0)).await.expect_err("refused");
    assert!(
        matches!(&refused, BudgetError::Exceeded { budget, scope, .. } if budget == "each-user" && scope == "user=a"),
        "{refused:?}"
    );
    authority.reserve(ask("b", 200, 100)).await.expect("another user");
    let refused = authority.reserve(ask("c", 300, 0)).await.expect_err("refused");
    assert_eq!(refused.to_string(), "the budget platform is used up: 0.0008 USD of 0.001 USD are committed");
    let status = authority.status().expect("status");
    let line: Vec<_> = status.iter().map(|s| (s.budget.as_str(), s.scope.as_str(), s.refusals)).collect();
    assert_eq!(
        line,
        [("platform", "", 1), ("each-user", "user=a", 1), ("each-user", "user=b", 0), ("watched", "", 0)]
    );
}

#[tokio::test]
async fn what_cannot_be_priced_or_is_malformed_is_refused() {
    let (_dir, authority) = open();
    let unpriced = ReservationRequest { provider: "openai".into(), model: "gpt-99".into(), ..ask("u", 1, 1) };
    assert!(matches!(authority.reserve(unpriced).await, Err(BudgetError::Unpriced { .. })));
    let malformed = ReservationRequest { attempt_id: "1".into(), ..ask("u", 1, 1) };
    assert!(matches!(authority.reserve(malformed).await, Err(BudgetError::BadRequest(_))));
    assert!(matches!(authority.reserve(ask("u", u64::MAX, u64::MAX)).await, Err(BudgetError::BadRequest(_))));
    assert!(matches!(authority.start_call("nothing").await, Err(BudgetError::Unknown(_))));
}

#[tokio::test]
async fn an_operator_resolves_what_was_never_settled() {
    let dir = tempfile::tempdir().expect("dir");
    let state = State::open(dir.path()).expect("open");
    let config = BudgetConfig::parse("budgets.yaml", CONFIG).expect("config");
    let clock = Clock::simulated(1_000_000);
    let authority = Authority::new(state, clock.clone(), config);
    let held = authority.reserve(ask("u", 100, 100)).await.expect("granted");
    authority.start_call(&held.id).await.expect("started");
    assert!(matches!(authority.cancel(&held.id).await, Err(BudgetError::Conflict(_))));
    clock.raise_to(1_000_000 + HOLD_LIFETIME_MS);
    assert_eq!(authority.expire().await.expect("expired"), "0 freed, 1 unconfirmed, 0 forgotten");
    let platform = |s: Vec<BudgetStatus>| s.into_iter().find(|s| s.budget == "platform").expect("platform");
    assert_eq!(platform(authority.status().expect("status")).unconfirmed_usd.to_string(), "0.0003");
    let cost = "0.0001".parse().expect("money");
    authority.resolve(&held.id, cost, "ops").await.expect("resolved");
    let after = platform(authority.status().expect("status"));
    assert_eq!((after.unconfirmed_usd, after.spent_usd), (NanoUsd::ZERO, cost));
    assert!(matches!(authority.resolve(&held.id, cost, "ops").await, Err(BudgetError::Conflict(_))));
}
