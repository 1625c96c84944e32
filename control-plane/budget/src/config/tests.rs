//! Good files read; bad ones say everything that is wrong.

use super::*;

#[test]
fn the_documented_file_reads() {
    let text = "
budgets:
  - name: platform
    limit_usd: 25.00
    period: day
    timezone: UTC
    scope: {}
    per: []
    on_exceed: deny
    alert_at: [0.5, 0.8, 1.0]
  - name: each-user
    limit_usd: 0.50
    scope: {plan: trial}
    per: [user]
    on_exceed: warn
prices:
  - {provider: openai, model: my-model, input: 0.15, output: 0.60}
";
    let config = BudgetConfig::parse("alerts/budgets.yaml", text).expect("reads");
    assert_eq!(config.budgets.len(), 2);
    assert_eq!(config.budgets[0].limit.to_string(), "25.00");
    assert_eq!(config.budgets[1].scope, [(Field::Plan, "trial".to_owned())]);
    assert_eq!(config.budgets[1].per, [Field::User]);
    assert!(config.prices.price("openai", "my-model").is_some());
    assert_eq!(BudgetConfig::parse("f", "").expect("reads"), BudgetConfig::default());
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = "
budgets:
  - name: a
    limit_usd: lots
    period: fortnight
    per: [users]
  - limit_usd: 1
    timezone: Mars/Olympus
    alert_at: [80]
prices:
  - {provider: x, model: y, input: -1, output: 1}
";
    let problems = BudgetConfig::parse("b.yaml", text).expect_err("bad").to_string();
    for part in [
        "b.yaml:4:16: `limit_usd`: \"lots\" is not an amount in USD",
        "b.yaml:5:13: `period`: \"fortnight\" is not a period",
        "b.yaml:6:11: \"users\" is not something to split by",
        "b.yaml:7:5: missing field `name`",
        "b.yaml:8:15: `timezone`: \"Mars/Olympus\" is no time zone",
        "b.yaml:9:16: \"80\" is not a fraction of the limit",
        "b.yaml:11:36: `input`: must not be negative",
    ] {
        assert!(problems.contains(part), "{part}\n\n{problems}");
    }
}
