//! The life of an alert.

use super::*;

const MINUTE: i64 = 60_000;

fn found(value: f64) -> Vec<Found> {
    vec![Found { labels: Labels::from_pairs([("alertname", "X")]), annotations: Labels::default(), value }]
}

fn timing() -> Timing {
    Timing { hold: MINUTE, keep_firing: 0, may_end: true }
}

fn phase(alerts: &Alerts) -> &'static str {
    alerts.all.values().next().map_or("none", |a| a.phase.as_str())
}

#[test]
fn pending_then_firing_then_resolved_then_forgotten() {
    let mut alerts = Alerts { rule: "r".into(), ..Alerts::default() };
    assert_eq!(alerts.follow(0, found(1.0), timing()).put.len(), 1);
    assert_eq!((phase(&alerts), alerts.to_hand_over("").len()), ("pending", 0));
    assert!(alerts.follow(MINUTE - 1, found(2.0), timing()).put.is_empty(), "a value alone is not saved");
    assert_eq!(alerts.follow(MINUTE, found(1.0), timing()).put.len(), 1);
    let told = alerts.to_hand_over("http://g");
    assert_eq!(
        (told[0].starts_at, told[0].ends_at, told[0].generator_url.as_str()),
        (MINUTE, None, "http://g")
    );
    alerts.follow(2 * MINUTE, vec![], timing());
    assert_eq!(alerts.to_hand_over("")[0].ends_at, Some(2 * MINUTE));
    assert_eq!(alerts.to_hand_over("").len(), 1, "until it is taken over");
    assert_eq!(alerts.handed_over().len(), 1);
    assert!(alerts.to_hand_over("").is_empty());
    assert!(alerts.follow(16 * MINUTE, vec![], timing()).forget.is_empty());
    assert_eq!(alerts.follow(18 * MINUTE, vec![], timing()).forget.len(), 1);
    assert_eq!(phase(&alerts), "none");
}

#[test]
fn what_blinks_while_pending_leaves_no_trace() {
    let mut alerts = Alerts::default();
    alerts.follow(0, found(1.0), timing());
    let changes = alerts.follow(1, vec![], timing());
    assert_eq!((phase(&alerts), changes.forget.len()), ("none", 1));
}

#[test]
fn keep_firing_for_outlasts_a_gap_and_begins_anew_with_each() {
    let timing = Timing { hold: 0, keep_firing: 5 * MINUTE, may_end: true };
    let mut alerts = Alerts::default();
    alerts.follow(0, found(1.0), timing);
    alerts.follow(MINUTE, vec![], timing);
    alerts.follow(5 * MINUTE, found(1.0), timing);
    alerts.follow(6 * MINUTE, vec![], timing);
    alerts.follow(10 * MINUTE, vec![], timing);
    assert_eq!(phase(&alerts), "firing");
    alerts.follow(11 * MINUTE, vec![], timing);
    assert_eq!(phase(&alerts), "resolved");
}

#[test]
fn nothing_ends_before_the_targets_have_been_seen() {
    let mut alerts = Alerts::default();
    let unsettled = Timing { hold: 0, keep_firing: 0, may_end: false };
    alerts.follow(0, found(1.0), unsettled);
    alerts.follow(MINUTE, vec![], unsettled);
    assert_eq!(phase(&alerts), "firing");
    alerts.follow(2 * MINUTE, vec![], Timing { may_end: true, ..unsettled });
    assert_eq!(phase(&alerts), "resolved");
}

#[test]
fn a_resolved_alert_that_returns_begins_anew() {
    let mut alerts = Alerts::default();
    let at_once = Timing { hold: 0, keep_firing: 0, may_end: true };
    alerts.follow(0, found(1.0), at_once);
    alerts.follow(1, vec![], at_once);
    alerts.follow(2, found(1.0), at_once);
    let alert = alerts.all.values().next().expect("one");
    assert_eq!(
        (alert.phase, alert.active_at, alert.fired_at, alert.resolved_at),
        (AlertPhase::Firing, 2, Some(2), None)
    );
}
